//! What becomes of a command that is over: its `Finished`, its slot, and what it held.
//! Unaware of how it ended.

use super::{Due, Engine};
use crate::error::{Error, StartError, Stream};
use crate::finished::{Finished, Id, Usage};
use crate::job::Job;
use crate::stream::{OurEnd, drop_callers};
use crate::sys::Kernel;
use crate::table::Phase;

impl<K: Kernel> Engine<K> {
    /// Everything is known of this command: makes its `Finished`, and gives back what it held.
    pub(super) fn finish(&mut self, slot: u32) {
        self.end_running(slot, Job::take_outcome);
    }

    /// A command that cannot be killed, and is not waited for any longer: the reactor ends. It is not reaped.
    pub(super) fn finish_unkilled(&mut self, slot: u32) {
        self.end_running(slot, |job| Err(job.take_kill_failure()));
    }

    fn end_running(&mut self, slot: u32, outcome: impl FnOnce(&mut Job) -> Result<(), Error>) {
        let now = self.now;
        self.stop_asking(slot);
        let Some(entry) = self.table.entry(slot) else {
            return;
        };
        let number = entry.number;
        let Phase::Running(mut running) = std::mem::replace(&mut entry.phase, Phase::Vacant) else {
            return;
        };
        if running.is_detached {
            self.admission.let_go_ended();
            self.leave(slot);
            return self.vacate(slot);
        }
        self.admission.ended(running.cost);
        let mut collected = |stream: Stream| match &mut running.ends[stream as usize] {
            OurEnd::Collected(bytes) => std::mem::take(bytes),
            _ => Vec::new(),
        };
        let (stdout, stderr) = (collected(Stream::Stdout), collected(Stream::Stderr));
        let finished = Finished {
            id: self.id(number),
            pid: Some(K::pid(&running.child)),
            status: running.job.status(),
            outcome: outcome(&mut running.job),
            stdout,
            stderr,
            usage: running.usage.map(Usage::from),
            leaked: running.job.cut().iter().collect(),
            started: Some(running.started),
            reaped: running.reaped,
            drained: Some(now),
        };
        // Closed ones too: what the caller closed, or the delay cut, answers as such until the end.
        let lingers = running.ends.iter().any(OurEnd::is_callers);
        if lingers && let Some(entry) = self.table.entry(slot) {
            // Its context and its limits go on: they end pipes that an orphan holds.
            entry.phase = Phase::Lingering(running);
        } else {
            drop_callers("command", running);
            self.leave(slot);
            self.vacate(slot);
        }
        self.table.hand_in(finished, lingers.then_some(slot));
    }

    /// A command that ended before it was started.
    pub(super) fn finish_unstarted(&mut self, slot: u32, error: StartError) {
        let Some(entry) = self.table.entry(slot) else {
            return;
        };
        let number = entry.number;
        drop_callers(
            "command",
            std::mem::replace(&mut entry.phase, Phase::Vacant),
        );
        self.waiting -= 1;
        self.leave(slot);
        self.vacate(slot);
        self.hand_in_unstarted(number, error);
    }

    pub(super) fn hand_in_unstarted(&mut self, number: u64, error: StartError) {
        let finished = Finished {
            id: self.id(number),
            pid: None,
            outcome: Err(Error::Start(error)),
            status: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            usage: None,
            leaked: Vec::new(),
            started: None,
            reaped: None,
            drained: None,
        };
        self.table.hand_in(finished, None);
    }

    /// Takes a slot's command out of its context and of the deadlines.
    pub(super) fn leave(&mut self, slot: u32) {
        self.arm_slot(slot, None);
        let Some(seat) = self.table.entry(slot).and_then(|entry| entry.watch.take()) else {
            return;
        };
        let (moved, deadline) = self.watches.remove(seat, &self.inbox);
        if let Some(moved) = moved.and_then(|moved| self.table.entry(moved)) {
            moved.watch = Some(seat);
        }
        if let Some(deadline) = deadline {
            // It may have fired already.
            self.deadlines.discard(Due::Context(seat.0), deadline);
        }
    }

    /// Leaves the slot to the end of the turn: events of this batch may still name it.
    pub(super) fn vacate(&mut self, slot: u32) {
        if let Some(entry) = self.table.entry(slot) {
            entry.phase = Phase::Vacant;
        }
        self.vacant.push(slot);
    }

    pub(super) fn free_vacant(&mut self) {
        for slot in self.vacant.drain(..) {
            self.table.free(slot);
        }
    }

    /// Takes the next finished command.
    pub(crate) fn pop_finished(&mut self) -> Option<Finished> {
        let number = self.table.first_finished()?;
        self.hand_out(number)
    }

    /// Takes one finished command.
    pub(crate) fn take_finished(&mut self, id: Id) -> Option<Finished> {
        self.place(id)?;
        self.hand_out(id.number)
    }

    /// The caller gets the `Finished`, and its pipes are closed now (Go: at the end of `Wait`).
    fn hand_out(&mut self, number: u64) -> Option<Finished> {
        let (finished, lingering) = self.table.take_finished(number)?;
        if let Some(slot) = lingering {
            if let Some(entry) = self.table.entry(slot)
                && let Phase::Lingering(running) =
                    std::mem::replace(&mut entry.phase, Phase::Vacant)
            {
                let mut running = running;
                for end in &mut running.ends {
                    if let OurEnd::Caller(pipe) = end {
                        pipe.close(&mut self.kernel);
                    }
                }
                drop_callers("command", running);
            }
            self.leave(slot);
            self.vacate(slot);
        }
        Some(*finished)
    }
}
