//! Performs what a job asks for: the cancel action, its ladder, the kill, the end of its pipes.
//! Unaware of why it is asked for.

use std::io;
use std::sync::Arc;

use super::Engine;
use crate::cancel::{Action, CancelTarget};
use crate::error::{Closed, Stream};
use crate::job::{Effect, Event};
use crate::stream::{OurEnd, guarded};
use crate::sys::{Kernel, Signal, Target, process_gone};

impl<K: Kernel> Engine<K> {
    /// Performs one effect, and tells the job what came of it.
    pub(super) fn perform(&mut self, slot: u32, effect: Effect, effects: &mut Vec<Effect>) {
        match effect {
            Effect::PerformCancel => {
                let result = self.perform_cancel(slot);
                self.tell(slot, Event::CancelResult(result), effects);
            }
            Effect::PerformRung(rung) => {
                let result = self.perform_rung(slot, rung);
                self.tell(slot, Event::CancelResult(result), effects);
            }
            Effect::Kill => {
                let result = self.kill_child(slot);
                self.tell(slot, Event::KillResult(result), effects);
            }
            Effect::KillRest => self.kill_group(slot),
            Effect::DrainOnceThenClose => self.drain_once_then_close(slot, effects),
            Effect::Finish => self.finish(slot),
        }
    }

    fn perform_cancel(&mut self, slot: u32) -> io::Result<()> {
        let Some(running) = self.table.running(slot) else {
            return Err(process_gone());
        };
        let cancel = Arc::clone(&running.cancel);
        match &cancel.action {
            Action::Nothing => Ok(()),
            Action::Signal(signal) => self.kernel.signal(&running.child, cancel.target, *signal),
            Action::Callback(callback) => {
                let kernel = std::cell::RefCell::new(&mut self.kernel);
                let child = &running.child;
                let signal = |target, signal| kernel.borrow_mut().signal(child, target, signal);
                let lent = CancelTarget {
                    pid: K::pid(child),
                    signal: &signal,
                };
                let mut panicked = true;
                let result = guarded("cancel callback", || {
                    let result = callback(&lent);
                    panicked = false;
                    result
                });
                if panicked {
                    // Nobody knows what it did: make sure that the child ends.
                    let _ = signal(cancel.target, Signal::KILL);
                }
                // The wait delay starts when the callback has returned, however long it took.
                self.now = self.kernel.now();
                result
            }
        }
    }

    fn perform_rung(&mut self, slot: u32, rung: usize) -> io::Result<()> {
        let Some(running) = self.table.running(slot) else {
            return Err(process_gone());
        };
        match running.cancel.rungs.get(rung) {
            Some((_, signal)) => self
                .kernel
                .signal(&running.child, running.cancel.target, *signal),
            None => Ok(()),
        }
    }

    fn kill_child(&mut self, slot: u32) -> io::Result<()> {
        let Some(running) = self.table.running(slot) else {
            return Err(process_gone());
        };
        let target = running.cancel.target;
        self.kernel.signal(&running.child, target, Signal::KILL)
    }

    /// Kills the group that a command leads, or what is left of it after the leader's exit. Where the kernel cannot
    /// signal a group by pidfd, only before the leader is reaped.
    pub(super) fn kill_group(&mut self, slot: u32) {
        if let Some(running) = self.table.running(slot)
            && running.leads_group
        {
            let _ = self
                .kernel
                .signal(&running.child, Target::Group, Signal::KILL);
        }
    }

    fn drain_once_then_close(&mut self, slot: u32, effects: &mut Vec<Effect>) {
        let Some(running) = self.table.begun(slot) else {
            return;
        };
        let open = running.job.open();
        let why = running
            .job
            .cause()
            .map_or(Closed::ByWaitDelay, Closed::ByStop);
        for stream in open.iter() {
            let Some(running) = self.table.running(slot) else {
                break;
            };
            let end = &mut running.ends[stream as usize];
            let ended = match end {
                OurEnd::Drain(drain) => drain.drain_last(&mut self.kernel, &mut self.scratch),
                OurEnd::Fill(fill) => fill.fill_last(&mut self.kernel),
                _ => None,
            };
            if end.runs_callbacks() {
                self.now = self.kernel.now();
            }
            if ended.is_none() {
                self.name_holders(slot, stream);
            }
            let dropped = self.close_end(slot, stream);
            let event = match ended {
                Some(result) => Event::StreamEnded(stream, result.and(dropped)),
                None => Event::StreamCut(stream),
            };
            self.tell(slot, event, effects);
        }
        self.cut_callers_pipes(slot, why);
    }

    /// The caller's own pipes go with the copied ones (Go closes them together).
    fn cut_callers_pipes(&mut self, slot: u32, why: Closed) {
        self.readiness.note_all(self.table.id_of(slot).number);
        if let Some(running) = self.table.begun(slot) {
            for (end, stream) in running.ends.iter_mut().zip(crate::job::Streams::ALL) {
                match end {
                    OurEnd::Caller(pipe) if stream == Stream::Stdin => {
                        pipe.cut_input(&mut self.kernel, why);
                    }
                    OurEnd::Caller(pipe) => pipe.cut_output(&mut self.kernel, why),
                    _ => {}
                }
            }
        }
    }
}
