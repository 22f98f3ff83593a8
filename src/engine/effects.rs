//! Steps a job, and performs what it asks for in answer: the one way from an event to its effects.
//! Unaware of why the event came, and of how each act is done (`running`).

use std::time::Instant;

use super::{Due, Engine};
use crate::job::{Effect, Event};
use crate::sys::Kernel;

impl<K: Kernel> Engine<K> {
    /// Steps a job, performs its effects in order with their answers, and puts its deadline in place.
    pub(super) fn step(&mut self, slot: u32, event: Event) {
        let Some(running) = self.table.begun(slot) else {
            return;
        };
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        running.job.step(event, self.clock.now(), &mut effects);
        let mut next = 0;
        while let Some(effect) = effects.get(next).copied() {
            next += 1;
            self.perform(slot, effect, &mut effects);
        }
        self.effects = effects;
        self.arm_job(slot);
    }

    /// Puts a job's deadline in place.
    pub(super) fn arm_job(&mut self, slot: u32) {
        if let Some(running) = self.table.begun(slot) {
            let wake_at = running.job.wake_at().filter(|_| !running.is_detached);
            self.arm_slot(slot, wake_at);
        }
    }

    /// Performs one effect, and tells the job what came of it.
    fn perform(&mut self, slot: u32, effect: Effect, effects: &mut Vec<Effect>) {
        let Some(running) = self.table.begun(slot) else {
            return;
        };
        let kernel = &mut self.kernel;
        let answer = match effect {
            Effect::PerformCancel => {
                let result = running.perform_cancel(kernel);
                // The caller's callback may have taken its time.
                self.clock.read(kernel.now());
                Event::CancelResult(result)
            }
            Effect::PerformRung(rung) => Event::CancelResult(running.perform_rung(rung, kernel)),
            Effect::Kill => Event::KillResult(running.kill(kernel)),
            Effect::KillRest => return running.kill_group(kernel),
            Effect::DrainOnceThenClose => {
                for stream in running.job.open().iter() {
                    let takes_time = running.stream(stream).runs_callbacks();
                    let event = running.serve_last(stream, kernel, &mut self.scratch);
                    if takes_time {
                        self.clock.read(kernel.now());
                    }
                    running.job.step(event, self.clock.now(), effects);
                }
                running.cut_callers_pipes(kernel);
                self.count_kept(slot);
                return self.readiness.note_all(self.table.id_of(slot).number);
            }
            Effect::Finish => return self.finish(slot),
        };
        running.job.step(answer, self.clock.now(), effects);
    }

    /// Moves what its context's deadline is for this command alone: it does not count the queue, or the deadline has come.
    pub(super) fn move_deadline(&mut self, slot: u32, at: Option<Instant>) {
        let armed = self.table.deadline(slot);
        if *armed != at {
            self.deadlines.move_to(Due::Deadline(slot), *armed, at);
            *armed = at;
        }
    }

    /// Moves a slot's deadline.
    pub(super) fn arm_slot(&mut self, slot: u32, at: Option<Instant>) {
        let armed = self.table.armed(slot);
        if *armed != at {
            self.deadlines.move_to(Due::Slot(slot), *armed, at);
            *armed = at;
        }
    }
}
