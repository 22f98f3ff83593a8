//! Tells the observer, if there is one, and counts.
//! Unaware of what either is for.

use std::time::Instant;

use super::Engine;
use crate::error::Cause;
use crate::guard::{drop_callers, guarded};
use crate::job::Event;
use crate::observer::{Observer, Stats};
use crate::sys::{Kernel, Stream};

impl<K: Kernel> Engine<K> {
    pub(crate) fn observe(&mut self, observer: Box<dyn Observer>) {
        let before = self.observer.replace(observer);
        drop_callers("observer", before);
    }

    pub(crate) fn stats(&self) -> Stats {
        let moved = self.kernel.moved();
        Stats {
            bytes_read: moved.read,
            bytes_written: moved.written,
            ..self.stats
        }
    }

    pub(super) fn tell_observer(&mut self, tell: impl FnOnce(&mut dyn Observer, Instant)) {
        let Some(observer) = &mut self.observer else {
            return;
        };
        let now = self.clock.real();
        let told = guarded("observer", || {
            tell(observer.as_mut(), now);
            Ok(())
        });
        if told.is_err() {
            drop_callers("observer", self.observer.take());
        }
        self.clock.read(self.kernel.now());
    }

    /// So much of a command's output was read, or nothing. An idle timeout and an output limit want to know.
    pub(super) fn note_output(&mut self, slot: u32, stream: Stream, read: usize) {
        let running = self.table.running(slot).filter(|_| read > 0);
        let Some(running) = running else {
            return;
        };
        let is_first = !running.heard.contains(stream);
        running.heard.insert(stream);
        running.output_bytes = running.output_bytes.saturating_add(read as u64);
        let limit = running.job.output_limit();
        let is_too_much = limit.is_some_and(|limit| running.output_bytes > limit);
        if is_first {
            let id = self.table.id_of(slot);
            self.tell_observer(|observer, at| observer.first_output(id, stream, at));
        }
        if let Some(running) = self.table.running(slot)
            && running.job.minds_silence()
        {
            self.step(slot, Event::Output);
        }
        if is_too_much {
            self.step(slot, Event::Stop(Cause::OutputLimit));
        }
    }
}
