//! What is noticed of a command without ending it: that it is slow, that its outputs were read after its exit, and who
//! holds a pipe that is cut. Unaware of what its limits make of that.

use super::{Due, Engine};
use crate::finished::CommandId;
use crate::holders::Holder;
use crate::job::Event;
use crate::pipe_limits::LAST_DRAIN_BYTES_MAX;
use crate::sys::{Kernel, Stream};

impl<K: Kernel> Engine<K> {
    /// Sets the time at which the caller is to be told that this command still runs.
    pub(super) fn notice_slow_later(&mut self, slot: u32) {
        let now = self.clock.now();
        if let Some(running) = self.table.running(slot)
            && let Some(period) = running.job.policy().slow_after
        {
            let at = now.checked_add(period);
            running.slow_at = at;
            self.deadlines.move_to(Due::Slow(slot), None, at);
        }
    }

    /// That time has come.
    pub(super) fn notice_slow(&mut self, slot: u32) {
        let Some(running) = self.table.running(slot) else {
            return;
        };
        let Some(at) = running.slow_at.take() else {
            return;
        };
        if running.reaped.is_some() || running.is_detached {
            return;
        }
        // Once, however often it was due.
        if running.noted_slow.is_none() {
            running.noted_slow = Some(at);
            self.slow.insert((at, slot));
        }
        self.notice_slow_later(slot);
    }

    pub(super) fn stop_noticing(&mut self, slot: u32) {
        let Some(running) = self.table.running(slot) else {
            return;
        };
        if let Some(at) = running.noted_slow.take() {
            self.slow.remove(&(at, slot));
        }
        if let Some(at) = running.slow_at.take() {
            self.deadlines.move_to(Due::Slow(slot), Some(at), None);
        }
    }

    /// The next command that is slow, and still runs.
    pub(crate) fn pop_slow(&mut self) -> Option<CommandId> {
        loop {
            let (_, slot) = self.slow.pop_first()?;
            let Some(running) = self.table.running(slot) else {
                continue;
            };
            running.noted_slow = None;
            if running.reaped.is_none() && !running.is_detached {
                return Some(self.table.id_of(slot));
            }
        }
    }

    /// So much of an output was read after the exit; `is_empty`: until there was no more. Once as much was read as both
    /// pipes can have held, what still comes was written after the exit.
    pub(super) fn note_emptiness(
        &mut self,
        slot: u32,
        stream: Stream,
        read: usize,
        is_empty: bool,
    ) {
        let Some(running) = self.table.running(slot) else {
            return;
        };
        let minds_emptiness = running.job.minds_emptiness();
        let Some(reaped) = running.reaped.as_mut().filter(|_| minds_emptiness) else {
            return;
        };
        reaped.read_since = reaped.read_since.saturating_add(read);
        if is_empty || reaped.read_since > 2 * LAST_DRAIN_BYTES_MAX {
            self.step(slot, Event::Emptied(stream));
        }
    }

    /// Who holds this copied stream's pipe now, beside us.
    pub(crate) fn holders(
        &mut self,
        id: CommandId,
        stream: Stream,
    ) -> std::io::Result<Vec<Holder>> {
        let slot = self.table.slot_of(id);
        let running = slot.and_then(|slot| self.table.running(slot));
        running.map_or(Ok(Vec::new()), |running| {
            running.holders_of(stream, &self.kernel)
        })
    }
}
