//! The pipes that a caller reads and writes himself, turning the loop while they are not ready.
//! Unaware of jobs' outcomes.

use std::io;

use super::reap::wait_before_asking;
use super::{Engine, STREAM_SOURCES};
use crate::error::{Closed, Stream};
use crate::finished::Id;
use crate::stream::OurEnd;
use crate::sys::Kernel;
use crate::table::{Phase, Place};

impl<K: Kernel> Engine<K> {
    /// Whether the caller may use this pipe of this command now or once it is started.
    pub(crate) fn has_held(&mut self, id: Id, stream: Stream) -> bool {
        let Some(slot) = self.slot_of_pipes(id) else {
            return false;
        };
        if let Some(Phase::Queued(spec) | Phase::TextBusy(spec)) =
            self.table.entry(slot).map(|entry| &entry.phase)
        {
            return spec.asks_for_pipe(stream);
        }
        matches!(
            self.table.end(slot, stream),
            Some(OurEnd::Held { .. } | OurEnd::HeldClosed(_))
        )
    }

    fn slot_of_pipes(&self, id: Id) -> Option<u32> {
        match self.place(id)? {
            Place::Slot(slot) | Place::Finished(_, Some(slot)) => Some(*slot),
            Place::Finished(_, None) => None,
        }
    }

    /// Reads from the caller's pipe; the other commands go on while it has nothing.
    pub(crate) fn read_held(
        &mut self,
        id: Id,
        stream: Stream,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.until_done(id, stream, |kernel, scratch, pipe| {
            scratch.clear();
            let read = kernel.read(pipe, scratch, buffer.len())?;
            buffer[..read].copy_from_slice(scratch);
            Ok(read)
        })
    }

    /// Writes to the caller's pipe; the other commands go on while it is full.
    pub(crate) fn write_held(&mut self, id: Id, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.until_done(id, Stream::Stdin, |kernel, _, pipe| {
            kernel.write(pipe, bytes)
        })
    }

    /// Tries until the kernel neither blocks nor is interrupted.
    fn until_done(
        &mut self,
        id: Id,
        stream: Stream,
        mut attempt: impl FnMut(&mut K, &mut Vec<u8>, &K::Pipe) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut was_refused = false;
        let mut asked = 0;
        loop {
            let mut timeout = None;
            let slot = self
                .slot_of_pipes(id)
                .ok_or_else(|| Closed::NeverOpened.error(stream))?;
            let is_waiting = match self.table.entry(slot).map(|entry| &entry.phase) {
                Some(Phase::Queued(spec) | Phase::TextBusy(spec)) => {
                    if spec.closed.contains(stream) {
                        return Err(Closed::ByCaller.error(stream));
                    }
                    true
                }
                _ => false,
            };
            let whose = self.table.whose(slot);
            match self.table.end(slot, stream) {
                Some(OurEnd::Held {
                    pipe,
                    ready,
                    is_watched,
                }) if *ready => match attempt(&mut self.kernel, &mut self.scratch, pipe) {
                    // Events come once, so that the pipe has nothing is believed only when it is said twice.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && !was_refused => {
                        was_refused = true;
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        was_refused = false;
                        if !*is_watched {
                            let source = STREAM_SOURCES[stream as usize];
                            *is_watched = self.kernel.watch_pipe(pipe, source, whose).is_ok();
                        }
                        *ready = !*is_watched;
                        if *ready {
                            timeout = Some(wait_before_asking(asked));
                            asked += 1;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    result => return result,
                },
                Some(OurEnd::Held { .. }) => {}
                Some(OurEnd::HeldClosed(by)) => return Err(by.error(stream)),
                _ if is_waiting => {}
                _ => return Err(Closed::NeverOpened.error(stream)),
            }
            self.turn(timeout)?;
        }
    }

    /// Closes the caller's pipe, once there is one; a second time does nothing.
    pub(crate) fn close_one_held(&mut self, id: Id, stream: Stream) {
        let Some(slot) = self.slot_of_pipes(id) else {
            return;
        };
        if let Some(Phase::Queued(spec) | Phase::TextBusy(spec)) =
            self.table.entry(slot).map(|entry| &mut entry.phase)
        {
            return spec.closed.insert(stream);
        }
        if let Some(end @ OurEnd::Held { .. }) = self.table.end(slot, stream)
            && let OurEnd::Held { pipe, .. } =
                std::mem::replace(end, OurEnd::HeldClosed(Closed::ByCaller))
        {
            self.kernel.close(pipe);
        }
    }

    /// A paused reader or writer can go on.
    pub(crate) fn resume(&mut self, id: Id) {
        let Some(slot) = self
            .table
            .slot_of(id.number)
            .filter(|_| id.reactor == self.reactor)
        else {
            return;
        };
        self.now = self.kernel.now();
        self.visit_all(slot);
    }
}
