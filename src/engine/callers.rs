//! The pipes that a caller reads and writes himself, turning the loop while they are not ready.
//! Unaware of jobs' outcomes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use super::Engine;
use super::executed::EXEC_AWAITED_MAX;
use super::ready::Wish;
use super::reap::wait_before_asking;
use crate::caller_pipe::CallerPipe;
use crate::error::Closed;
use crate::finished::{CommandId, Finished};
use crate::pipe_limits::REFUSALS_BELIEVED;
use crate::stream::OurEnd;
use crate::sys::{Kernel, Stream};

/// How often a caller reads or writes in a row before all other commands have a turn. His pipe may always be ready.
const CALLER_PIECES_PER_TURN_MAX: usize = 16;

/// A pipe that the kernel does not announce is tried again after as long as a child that was asked this often already.
const UNWATCHED_ASKED: u32 = 3;

/// Whether the caller sleeps while his pipe has nothing for him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Waits,
    Tries,
}

/// How far a command is.
enum Stage {
    /// There is no pipe yet.
    Unstarted,
    /// There is one, and its program is not known to be executed.
    Starting,
    /// Its pipes are in use.
    Begun(u32),
}

/// What came of one try.
enum Attempt<T> {
    Done(T),
    Unstarted,
    Starting,
    /// `is_watched`: the kernel announces when it is worth another try.
    Blocked {
        is_watched: bool,
    },
}

impl<K: Kernel> Engine<K> {
    /// Whether the caller may use this pipe of this command now or once it is started.
    pub(crate) fn has_callers_pipe(&mut self, id: CommandId, stream: Stream) -> bool {
        let Some(slot) = self.table.slot_of_pipes(id) else {
            // It was asked for, and there will be none.
            return self.table.never_opened(id).contains(stream);
        };
        if let Some((spec, _)) = self.table.unstarted(slot) {
            return spec.duties.asks_for_pipe(stream);
        }
        let our_end = self.table.stream(slot, stream);
        our_end.is_some_and(|our_end| our_end.is_callers())
    }

    /// Reads from the caller's pipe. Who waits while it has nothing has the other commands go on; who only tries gets
    /// `WouldBlock`.
    pub(crate) fn read_callers_pipe(
        &mut self,
        id: CommandId,
        stream: Stream,
        buffer: &mut [u8],
        patience: Patience,
    ) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.with(patience, id, stream, |kernel, scratch, pipe| {
            pipe.read(kernel, stream, scratch, buffer)
        })?;
        self.note_callers_read(id, stream, read);
        Ok(read)
    }

    /// The caller has heard from his command.
    fn note_callers_read(&mut self, id: CommandId, stream: Stream, read: usize) {
        if read > 0
            && let Some(slot) = self.table.slot_of_pipes(id)
        {
            self.note_output(slot, stream, read);
        }
    }

    /// Writes to the caller's pipe, as [`read_callers_pipe`](Engine::read_callers_pipe) reads.
    pub(crate) fn write_callers_pipe(
        &mut self,
        id: CommandId,
        bytes: &[u8],
        patience: Patience,
    ) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.with(patience, id, Stream::Stdin, |kernel, _, pipe| {
            pipe.write(kernel, bytes)
        })
    }

    /// Gives the caller's pipe away; the other commands go on while there is none yet.
    pub(crate) fn give_callers_pipe(
        &mut self,
        id: CommandId,
        stream: Stream,
    ) -> io::Result<OwnedFd> {
        if let Some(slot) = self.table.slot_of_pipes(id)
            && let Some(OurEnd::Caller(CallerPipe::Open { ready, .. })) =
                self.table.stream(slot, stream)
        {
            // However little it has to read or room to write.
            *ready = true;
        }
        let given = self.until_done(id, stream, |kernel, _, pipe| pipe.give(kernel, stream))?;
        self.readiness.forget_one(id.number, stream);
        if let Some(slot) = self.table.slot_of_pipes(id) {
            self.count_kept(slot);
        }
        Ok(given)
    }

    /// The next pipe that the caller was told would block, and that may not any more.
    pub(crate) fn pop_ready(&mut self) -> Option<(CommandId, Stream)> {
        let (number, stream) = self.readiness.pop()?;
        Some((self.table.id(number), stream))
    }

    /// Takes the next finished command of which the caller waits for no output: its end comes after its pipes' end.
    pub(crate) fn pop_read(&mut self) -> Option<Box<Finished>> {
        let id = self.first_read()?;
        self.take_finished(id)
    }

    pub(super) fn first_read(&self) -> Option<CommandId> {
        let readiness = &self.readiness;
        self.table
            .first_finished_of(|number| !readiness.is_output_awaited(number))
    }

    /// There is one.
    pub(crate) fn is_any_ready(&self) -> bool {
        self.readiness.is_any_noted()
    }

    fn with<T>(
        &mut self,
        patience: Patience,
        id: CommandId,
        stream: Stream,
        attempt: impl FnMut(&mut K, &mut Vec<u8>, &mut CallerPipe<K::Pipe>) -> io::Result<T>,
    ) -> io::Result<T> {
        match patience {
            Patience::Waits => self.until_done(id, stream, attempt),
            Patience::Tries => self.at_once(id, stream, attempt),
        }
    }

    /// Tries until the kernel neither blocks nor is interrupted. The loop turns while it blocks, and now and then when it
    /// does not: a pipe that is always ready would keep the command's own time limits waiting, and everybody else.
    fn until_done<T>(
        &mut self,
        id: CommandId,
        stream: Stream,
        mut attempt: impl FnMut(&mut K, &mut Vec<u8>, &mut CallerPipe<K::Pipe>) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.is_turn_due() {
            self.turn(Some(Duration::ZERO))?;
        }
        self.caller_pieces += 1;
        let mut asked = 0;
        loop {
            let timeout = match self.attempt(id, stream, Patience::Waits, &mut attempt)? {
                Attempt::Done(done) => return Ok(done),
                Attempt::Unstarted => None,
                // The child's exec is not announced, and the turn may find it out before it sleeps: it must not sleep for long.
                Attempt::Starting => Some(self.look_again_after().unwrap_or(Duration::ZERO)),
                Attempt::Blocked { is_watched: true } => None,
                Attempt::Blocked { is_watched: false } => {
                    asked += 1;
                    Some(wait_before_asking(asked - 1))
                }
            };
            self.turn(timeout)?;
        }
    }

    /// Tries, and does not wait. The caller is told when it is worth another try.
    fn at_once<T>(
        &mut self,
        id: CommandId,
        stream: Stream,
        mut attempt: impl FnMut(&mut K, &mut Vec<u8>, &mut CallerPipe<K::Pipe>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.kernel.check_process()?;
        match self.attempt(id, stream, Patience::Tries, &mut attempt)? {
            Attempt::Done(done) => return Ok(done),
            Attempt::Blocked { is_watched: false } => {
                self.readiness.wait_unwatched(id.number, stream);
                let soon = self.kernel.now() + wait_before_asking(UNWATCHED_ASKED);
                self.wake_at(soon);
            }
            Attempt::Unstarted | Attempt::Starting | Attempt::Blocked { .. } => {
                self.readiness.wait_for(id.number, stream, Wish::Bytes);
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Which stage the command has reached for this pipe of the caller's.
    fn stage(&mut self, id: CommandId, stream: Stream) -> io::Result<Stage> {
        let slot = self
            .table
            .slot_of_pipes(id)
            .ok_or_else(|| Closed::NeverOpened.error(stream))?;
        if let Some((spec, _)) = self.table.unstarted(slot) {
            if spec.closed.contains(stream) {
                return Err(Closed::ByCaller.error(stream));
            }
            return Ok(Stage::Unstarted);
        }
        // Of a start that fails and is tried again, the caller is to see neither the end nor a loss.
        let running = self.table.running(slot);
        let is_starting = running.is_some_and(|running| {
            running.is_starting() && !running.stream(stream).is_closed_by_caller()
        });
        Ok(if is_starting {
            Stage::Starting
        } else {
            Stage::Begun(slot)
        })
    }

    /// The caller's pipe as a descriptor that stays ours. Where there is none yet, the caller is told of one.
    pub(crate) fn callers_fd(
        &mut self,
        id: CommandId,
        stream: Stream,
    ) -> io::Result<BorrowedFd<'_>> {
        self.kernel.check_process()?;
        let Stage::Begun(slot) = self.stage(id, stream)? else {
            let wish = Wish::Descriptor;
            self.readiness.wait_for(id.number, stream, wish);
            return Err(io::ErrorKind::WouldBlock.into());
        };
        self.readiness.serve(id.number, stream, Wish::Descriptor);
        match self.table.stream(slot, stream) {
            Some(OurEnd::Caller(pipe)) => pipe.fd::<K>(stream),
            _ => Err(Closed::NeverOpened.error(stream)),
        }
    }

    fn attempt<T>(
        &mut self,
        id: CommandId,
        stream: Stream,
        patience: Patience,
        attempt: &mut impl FnMut(&mut K, &mut Vec<u8>, &mut CallerPipe<K::Pipe>) -> io::Result<T>,
    ) -> io::Result<Attempt<T>> {
        let slot = match self.stage(id, stream)? {
            Stage::Unstarted => return Ok(Attempt::Unstarted),
            Stage::Starting => return Ok(Attempt::Starting),
            Stage::Begun(slot) => slot,
        };
        let tenant = self.table.tenant(slot);
        let Some(OurEnd::Caller(pipe)) = self.table.stream(slot, stream) else {
            return Err(Closed::NeverOpened.error(stream));
        };
        // Who waits believes the loop that it would block; who only tries has had no turn that could tell.
        let is_known = matches!(pipe, CallerPipe::Open { ready: false, .. });
        let mut refusals = 0;
        while refusals < REFUSALS_BELIEVED && !(is_known && patience == Patience::Waits) {
            match attempt(&mut self.kernel, &mut self.scratch, pipe) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => refusals += 1,
                result => {
                    self.readiness.serve(id.number, stream, Wish::Bytes);
                    return result.map(Attempt::Done);
                }
            }
        }
        let mut is_announced = false;
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
            is_announced = *is_watched;
        }
        Ok(Attempt::Blocked {
            is_watched: is_announced,
        })
    }

    fn is_turn_due(&self) -> bool {
        let is_due = |at| at <= self.kernel.now();
        self.caller_pieces >= CALLER_PIECES_PER_TURN_MAX
            || self.has_messages()
            || self.earliest().is_some_and(is_due)
    }

    /// Closes the caller's pipe, once there is one; a second time does nothing. Waits for a child that was born just now:
    /// until it has a table of its own, the kernel would keep the pipe for it, and the caller may never come back.
    pub(crate) fn close_callers_pipe(&mut self, id: CommandId, stream: Stream) {
        if self.kernel.check_process().is_ok()
            && let Some(slot) = self.table.slot_of_pipes(id)
            && let Some(running) = self.table.running(slot)
            && running.is_starting()
            && let Some(child) = &running.child
        {
            let until = self.kernel.now() + EXEC_AWAITED_MAX;
            self.kernel.await_table(child, until);
        }
        self.close_callers_pipe_now(id, stream);
    }

    /// The same without that.
    pub(super) fn close_callers_pipe_now(&mut self, id: CommandId, stream: Stream) {
        let Some(slot) = self.table.slot_of_pipes(id) else {
            return;
        };
        self.readiness.forget_one(id.number, stream);
        if let Some((spec, _)) = self.table.unstarted(slot) {
            return spec.closed.insert(stream);
        }
        if let Some(begun) = self.table.begun(slot) {
            begun.close_callers_pipe(stream, &mut self.kernel);
        }
        self.count_kept(slot);
        if stream == Stream::Stdout {
            self.end_keyboard(slot);
        }
    }

    /// A paused reader or writer can go on.
    pub(crate) fn resume(&mut self, id: CommandId) {
        let Some(slot) = self.table.slot_of(id) else {
            return;
        };
        if self.kernel.check_process().is_ok() {
            self.clock.read(self.kernel.now());
            self.visit_all(slot);
        }
    }
}
