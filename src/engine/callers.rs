//! The pipes that a caller reads and writes himself, turning the loop while they are not ready.
//! Unaware of jobs' outcomes.

use std::io;
use std::time::Duration;

use super::Engine;
use super::reap::wait_before_asking;
use crate::caller_pipe::CallerPipe;
use crate::error::Closed;
use crate::finished::CommandId;
use crate::pipe_limits::REFUSALS_BELIEVED;
use crate::stream::OurEnd;
use crate::sys::{Kernel, Stream};

/// How often a caller reads or writes in a row before all other commands have a turn. His pipe may always be ready.
const CALLER_PIECES_PER_TURN_MAX: usize = 16;

impl<K: Kernel> Engine<K> {
    /// Whether the caller may use this pipe of this command now or once it is started.
    pub(crate) fn has_callers_pipe(&mut self, id: CommandId, stream: Stream) -> bool {
        let Some(slot) = self.table.slot_of_pipes(id) else {
            return false;
        };
        if let Some((spec, _)) = self.table.unstarted(slot) {
            return spec.duties.asks_for_pipe(stream);
        }
        let our_end = self.table.stream(slot, stream);
        our_end.is_some_and(|our_end| our_end.is_callers())
    }

    /// Reads from the caller's pipe; the other commands go on while it has nothing.
    pub(crate) fn read_callers_pipe(
        &mut self,
        id: CommandId,
        stream: Stream,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.until_done(id, stream, |kernel, scratch, pipe| {
            pipe.read(kernel, stream, scratch, buffer)
        })?;
        // The caller has heard from his command.
        if read > 0
            && let Some(slot) = self.table.slot_of_pipes(id)
        {
            self.note_output(slot);
        }
        Ok(read)
    }

    /// Writes to the caller's pipe; the other commands go on while it is full.
    pub(crate) fn write_callers_pipe(&mut self, id: CommandId, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.until_done(id, Stream::Stdin, |kernel, _, pipe| {
            pipe.write(kernel, bytes)
        })
    }

    /// Tries until the kernel neither blocks nor is interrupted. The loop turns while it blocks, and now and then when it
    /// does not: a pipe that is always ready would keep the command's own time limits waiting, and all other commands.
    fn until_done(
        &mut self,
        id: CommandId,
        stream: Stream,
        mut attempt: impl FnMut(&mut K, &mut Vec<u8>, &mut CallerPipe<K::Pipe>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.is_turn_due() {
            self.turn(Some(Duration::ZERO))?;
        }
        self.caller_pieces += 1;
        let mut refusals = 0;
        let mut asked = 0;
        loop {
            let mut timeout = None;
            let slot = self
                .table
                .slot_of_pipes(id)
                .ok_or_else(|| Closed::NeverOpened.error(stream))?;
            if let Some((spec, _)) = self.table.unstarted(slot) {
                if spec.closed.contains(stream) {
                    return Err(Closed::ByCaller.error(stream));
                }
                self.turn(None)?;
                continue;
            }
            let tenant = self.table.tenant(slot);
            // Of a start that fails and is tried again, the caller is to see neither the end nor a loss.
            let running = self.table.running(slot);
            if running.is_some_and(|running| running.is_starting()) {
                // The child's exec is not announced, and the turn may find it out before it sleeps: it must not sleep for long.
                let wait = self.look_again_after().unwrap_or(Duration::ZERO);
                self.turn(Some(wait))?;
                continue;
            }
            let Some(OurEnd::Caller(pipe)) = self.table.stream(slot, stream) else {
                return Err(Closed::NeverOpened.error(stream));
            };
            if !matches!(pipe, CallerPipe::Open { ready: false, .. }) {
                match attempt(&mut self.kernel, &mut self.scratch, pipe) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result,
                }
                refusals += 1;
                if refusals < REFUSALS_BELIEVED {
                    continue;
                }
                refusals = 0;
            }
            if let CallerPipe::Open {
                pipe,
                ready,
                is_watched,
            } = pipe
            {
                if !*is_watched {
                    *is_watched = self.kernel.watch_pipe(pipe, stream, tenant).is_ok();
                }
                *ready = !*is_watched;
                if *ready {
                    timeout = Some(wait_before_asking(asked));
                    asked += 1;
                }
            }
            self.turn(timeout)?;
        }
    }

    fn is_turn_due(&self) -> bool {
        let is_due = |at| at <= self.kernel.now();
        self.caller_pieces >= CALLER_PIECES_PER_TURN_MAX
            || self.inbox.has_messages()
            || self.earliest().is_some_and(is_due)
    }

    /// Closes the caller's pipe, once there is one; a second time does nothing.
    pub(crate) fn close_callers_pipe(&mut self, id: CommandId, stream: Stream) {
        let Some(slot) = self.table.slot_of_pipes(id) else {
            return;
        };
        if let Some((spec, _)) = self.table.unstarted(slot) {
            return spec.closed.insert(stream);
        }
        if let Some(OurEnd::Caller(pipe)) = self.table.stream(slot, stream) {
            pipe.close(&mut self.kernel);
        }
    }

    /// A paused reader or writer can go on.
    pub(crate) fn resume(&mut self, id: CommandId) {
        let Some(slot) = self.table.slot_of(id) else {
            return;
        };
        self.now = self.kernel.now();
        self.visit_all(slot);
    }
}
