//! Finds out which programs under way are executed, as no system announces that.
//! Unaware of how they are started, and of starts that fail.

use std::time::Duration;

use super::Engine;
use crate::job::Streams;
use crate::running::AwaitsExec;
use crate::sys::{Kernel, Stream};

/// The kernel does not announce that a child has executed. While one has not, no turn sleeps longer than this, doubled each
/// time; where nothing can begin then, no longer than the maximum. A sleep that ends before the next tick of the system's clock costs
/// a timer of its own, which is dear under a hypervisor.
const LOOK_AGAIN_MIN: Duration = Duration::from_micros(250);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(64);

/// Shorter sleeps end by the kernel's timer, as a poll counts in this unit and rounds up.
const POLL_UNIT: Duration = Duration::from_millis(1);

/// Who lets a command go, or closes a pipe of it, waits for what its start still needs no longer than this: it is there with
/// its first instructions, unless somebody stops it.
pub(super) const EXEC_AWAITED_MAX: Duration = Duration::from_millis(1000);

/// So many commands whose exec nobody awaits are listed before they are looked at: what it took to start them is kept until then.
pub(super) const UNSEEN_MAX: usize = 32;

impl<K: Kernel> Engine<K> {
    /// Looks which of the programs under way are executed. Where nobody awaits that, it only frees memory, and is left until it
    /// is worth a look: the child that writes the word runs on another processor.
    pub(super) fn look_at_starting(&mut self) {
        if self.awaits_exec.is_none() && self.starting.len() <= UNSEEN_MAX {
            return;
        }
        let mut starting = std::mem::take(&mut self.starting);
        let mut executed = Vec::new();
        self.awaits_exec = None;
        starting.retain(|tenant| {
            let is_here = self.table.is_tenant(*tenant);
            match is_here.then(|| self.find_executed(tenant.slot)) {
                None => false,
                Some(None) => true,
                Some(Some(missed)) => {
                    if !missed.is_empty() {
                        executed.push((tenant.slot, missed));
                    }
                    false
                }
            }
        });
        self.starting = starting;
        for (slot, missed) in executed {
            self.visit_missed(slot, missed);
        }
    }

    /// Whether a command's program is executed. What it takes to start it again is not kept any longer then, and its input
    /// begins: what a failed start has read of a reader would be lost to the next. Returns the streams to visit for that.
    pub(super) fn find_executed(&mut self, slot: u32) -> Option<Streams> {
        let Some(running) = self.table.running(slot) else {
            return Some(Streams::default());
        };
        let child = running.child.as_ref();
        if child.is_some_and(|child| !self.kernel.has_executed(child)) {
            self.awaits_exec = self.awaits_exec.max(running.awaits_exec());
            return None;
        }
        running.start = None;
        if running.stream(Stream::Stdin).is_copied() {
            // Most input fits the empty pipe at once, and then no event is needed for it.
            running.missed.insert(Stream::Stdin);
        }
        let missed = std::mem::take(&mut running.missed);
        self.readiness.note_all(self.table.id_of(slot).number);
        Some(missed)
    }

    /// Its program is not executed now.
    pub(super) fn is_starting(&mut self, slot: u32) -> bool {
        let running = self.table.running(slot);
        if running.is_none_or(|running| !running.is_starting()) {
            return false;
        }
        let executed = self.find_executed(slot);
        executed
            .map(|missed| self.visit_missed(slot, missed))
            .is_none()
    }

    pub(super) fn visit_missed(&mut self, slot: u32, missed: Streams) {
        for stream in missed.iter() {
            self.visit(slot, stream);
        }
    }

    /// How long a turn may sleep while programs with pipes are under way. To one without, its exec makes no difference.
    pub(crate) fn look_again_after(&self) -> Option<Duration> {
        let wait = match self.awaits_exec? {
            AwaitsExec::ToEnd => LOOK_AGAIN_MAX,
            AwaitsExec::ToBegin => LOOK_AGAIN_MIN * (1 << self.looks_at_starting.min(16)),
        };
        Some(wait.min(LOOK_AGAIN_MAX))
    }

    /// The same for the turn that is about to sleep, as far as its poll is to bound it.
    pub(super) fn sleep_until_look(&mut self) -> Option<Duration> {
        let wait = self.look_again_after()?;
        self.looks_at_starting += 1;
        if wait >= POLL_UNIT {
            return Some(wait);
        }
        self.time_look(Some(wait));
        None
    }

    /// The kernel's timer ends the sleep.
    pub(super) fn time_look(&mut self, wait: Option<Duration>) {
        let again = wait.map(|wait| self.kernel.now() + wait);
        let before = self.starting_due.filter(|_| again.is_some());
        self.starting_due = [before, again].into_iter().flatten().min();
    }
}
