//! Whether the loop of a simulation keeps to the descriptors that the process may have, also with pipes of finished commands
//! that nobody has taken, and gives nobody up too soon for want of them. Unaware of how the loop counts.

use std::time::{Duration, Instant};

use super::Driver;
use super::check::Evidence;
use crate::engine::Engine;
use crate::finished::Finished;
use crate::sys::simulated::{Attempt, Simulated};

/// What is left to the rest of the process.
const FDS_RESERVED: u64 = 32;
/// For so long, others that run may give back what a command is short of.
const PATIENCE: Duration = Duration::from_secs(20);
/// And the caller may take what is finished: 1, 2, 4 .. 128 ms.
const PATIENCE_WITH_CALLER: Duration = Duration::from_millis(255);

impl Driver {
    /// Each start had room for it, unless nothing else ran; and one that was refused then is not tried again.
    pub(super) fn check_descriptors(&mut self) {
        let world = self.world.borrow();
        let allowed = self.fd_limit.saturating_sub(FDS_RESERVED);
        for attempt in &world.attempts[self.attempts_seen..] {
            let all = attempt.before.open + attempt.needs;
            let is_alone = attempt.before.running == 0;
            assert!(
                all as u64 <= allowed || is_alone,
                "{all} descriptors, of {allowed}: {attempt:?}"
            );
            assert!(
                !self.hopeless.contains(&attempt.program),
                "tried again, though nobody could give anything back: {attempt:?}"
            );
            if attempt.is_short() && is_alone && attempt.before.kept == 0 {
                self.hopeless.push(attempt.program);
            }
        }
        self.attempts_seen = world.attempts.len();
    }

    /// The caller takes a finished command, and gives back its pipes.
    pub(super) fn take(
        &mut self,
        take: impl FnOnce(&mut Engine<Simulated>) -> Option<Box<Finished>>,
    ) -> Option<Finished> {
        let before = self.world.borrow().budget().kept;
        let finished = take(self.engine());
        let world = self.world.borrow();
        if world.budget().kept < before {
            self.takes.push(world.now());
        }
        finished.map(|finished| *finished)
    }
}

impl Evidence<'_> {
    /// A command that was not started, as the system was short of something, has waited as long as somebody might have given it
    /// back.
    pub(super) fn was_waited_for_room(&self) -> bool {
        let attempts = self.world.attempts.iter();
        let short: Vec<_> = attempts.filter(|attempt| attempt.is_short()).collect();
        let is_ours = |attempt: &&&Attempt| attempt.program == self.job.program;
        let Some(last) = short.iter().rfind(is_ours) else {
            return false;
        };
        let since = |first: Option<&&Attempt>| first.map(|first| last.at - first.at);
        if last.before.running > 0 {
            return since(short.iter().find(is_ours)) >= Some(PATIENCE);
        }
        if last.before.kept == 0 {
            return true;
        }
        let taken: Option<Instant> = self.takes.iter().copied().rfind(|at| *at <= last.at);
        let was_kept = |attempt: &&&Attempt| {
            let (running, kept) = (attempt.before.running, attempt.before.kept);
            running == 0 && kept > 0 && Some(attempt.at) >= taken
        };
        since(short.iter().find(was_kept)) >= Some(PATIENCE_WITH_CALLER)
    }
}
