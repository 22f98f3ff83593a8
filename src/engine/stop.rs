//! Ending commands: cancels, kills, signals, contexts, messages from other threads, and the engine's own end.
//! Unaware of how commands start.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::cancel::{Action, Child};
use crate::command::Command;
use crate::error::{Cause, StartError};
use crate::finished::{Finished, Id};
use crate::inbox::Message;
use crate::job::Event;
use crate::stream::{OurEnd, guarded};
use crate::sys::{Kernel, Signal, Target, process_gone};
use crate::table::Phase;

impl<K: Kernel> Engine<K> {
    /// Asks a command to stop, by its cancel action. `false`: it is not here or has finished.
    pub(crate) fn cancel(&mut self, id: Id) -> bool {
        self.end(id, |engine, slot| engine.stop(slot, Cause::Cancelled))
    }

    /// Kills a command at once. `false`: it is not here or has finished.
    pub(crate) fn kill(&mut self, id: Id) -> bool {
        self.end(id, |engine, slot| {
            engine.abort(slot, StartError::ContextDone(Cause::Cancelled))
        })
    }

    fn end(&mut self, id: Id, how: impl FnOnce(&mut Engine<K>, u32)) -> bool {
        self.now = self.kernel.now();
        let slot = if id.reactor == self.reactor {
            self.table.slot_of(id.number)
        } else {
            None
        };
        if let Some(slot) = slot {
            how(self, slot);
        }
        slot.is_some()
    }

    /// What a context's end, a timeout or a cancel comes to, wherever the command stands.
    fn stop(&mut self, slot: u32, cause: Cause) {
        match self.table.entry(slot).map(|entry| &entry.phase) {
            Some(Phase::Running(_)) => self.step(slot, Event::Stop(cause)),
            Some(Phase::Queued(_) | Phase::TextBusy(_)) => {
                self.end_waiting(slot, StartError::ContextDone(cause));
            }
            _ => {}
        }
    }

    fn abort(&mut self, slot: u32, unstarted: StartError) {
        match self.table.entry(slot).map(|entry| &entry.phase) {
            Some(Phase::Running(_)) => self.step(slot, Event::Abort(Cause::Cancelled)),
            Some(Phase::Queued(_) | Phase::TextBusy(_)) => self.end_waiting(slot, unstarted),
            _ => {}
        }
    }

    /// Ends a command that was not started. One in the queue keeps its slot until the queue comes to it.
    fn end_waiting(&mut self, slot: u32, error: StartError) {
        let is_queued = matches!(
            self.table.entry(slot).map(|entry| &entry.phase),
            Some(Phase::Queued(_))
        );
        self.finish_unstarted(slot, error);
        if is_queued {
            self.vacant.retain(|vacant| *vacant != slot);
        }
    }

    /// Signals a command.
    pub(crate) fn signal(&mut self, id: Id, target: Target, signal: Signal) -> io::Result<()> {
        let slot = if id.reactor == self.reactor {
            self.table.slot_of(id.number)
        } else {
            None
        };
        match slot.and_then(|slot| self.table.running(slot)) {
            Some(running) => self.kernel.signal(&running.child, target, signal),
            None => Err(process_gone()),
        }
    }

    /// Lets a command go: it survives the engine, and its outcome is not told.
    pub(crate) fn detach(&mut self, id: Id) -> Option<u32> {
        let slot = if id.reactor == self.reactor {
            self.table.slot_of(id.number)
        } else {
            None
        }?;
        let running = self.table.running(slot)?;
        if running.reaped.is_some() {
            return None;
        }
        let pid = K::pid(&running.child);
        running.is_detached = true;
        let cost = running.cost;
        self.admission.let_go(cost);
        self.table.forget_place(id.number);
        self.now = self.kernel.now();
        self.leave(slot);
        let open = self.table.running(slot)?.job.open();
        for stream in open.iter() {
            self.close_end(slot, stream);
            self.step(slot, Event::StreamCut(stream));
        }
        self.close_held(slot);
        // Others may have waited for its place.
        self.admit();
        Some(pid)
    }

    fn close_held(&mut self, slot: u32) {
        if let Some(running) = self.table.running(slot) {
            for end in &mut running.ends {
                if let OurEnd::Held { pipe, .. } = std::mem::replace(end, OurEnd::Absent) {
                    self.kernel.close(pipe);
                }
            }
        }
    }

    pub(super) fn perform_cancel(&mut self, slot: u32) -> io::Result<()> {
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
                let lent = Child {
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

    pub(super) fn perform_rung(&mut self, slot: u32, rung: usize) -> io::Result<()> {
        let Some(running) = self.table.running(slot) else {
            return Err(process_gone());
        };
        let cancel = Arc::clone(&running.cancel);
        match cancel.rungs.get(rung) {
            Some((_, signal)) => self.kernel.signal(&running.child, cancel.target, *signal),
            None => Ok(()),
        }
    }

    pub(super) fn kill_child(&mut self, slot: u32) -> io::Result<()> {
        let Some(running) = self.table.running(slot) else {
            return Err(process_gone());
        };
        let target = running.cancel.target;
        self.kernel.signal(&running.child, target, Signal::KILL)
    }

    /// A context has ended, or its deadline has come.
    pub(super) fn context_done(&mut self, key: usize) {
        // The key may be another context's by now, which has not ended.
        let Some(cause) = self
            .watches
            .context(key)
            .and_then(|context| context.cause_at(self.now))
        else {
            return;
        };
        for slot in self.watches.slots(key) {
            self.stop(slot, cause);
        }
    }

    /// Acts on what other threads have said so far.
    pub(crate) fn take_messages(&mut self) {
        for message in self.inbox.take() {
            self.now = self.kernel.now();
            match message {
                Message::ContextDone(key) => self.context_done(key),
                Message::Start(number, mut command) => self.start_sent(number, &mut command),
                Message::Cancel(number) => {
                    self.cancel(self.id(number));
                }
                Message::Kill(number) => {
                    self.kill(self.id(number));
                }
                Message::Signal(number, signal) => {
                    // As with kill(2) from another process: nobody is there to hear of a failure.
                    let _ = self.signal(self.id(number), Target::Process, signal);
                }
                Message::Resume(number) => self.resume(self.id(number)),
            }
        }
    }

    /// Ends everything, at once: what waits is not started, what runs is killed.
    pub(crate) fn abort_all(&mut self) {
        self.now = self.kernel.now();
        let numbers: Vec<_> = self.table.slots().map(|(slot, _)| slot).collect();
        for slot in numbers {
            if self
                .table
                .running(slot)
                .is_none_or(|running| !running.is_detached)
            {
                self.kill_group(slot);
                self.abort(slot, StartError::ShutDown);
            }
        }
    }

    /// No further message is taken; commands that were sent and not started are told as such.
    pub(crate) fn close_inbox(&mut self) {
        for message in self.inbox.close() {
            if let Message::Start(number, command) = message {
                let _: Box<Command> = command;
                self.hand_in_unstarted(number, StartError::ShutDown);
            }
        }
    }

    /// Everything that is finished, in order.
    pub(crate) fn drain_finished(&mut self) -> Vec<Finished> {
        std::iter::from_fn(|| self.pop_finished()).collect()
    }

    /// A cancel that is for the group ends those of it who outlived their leader, before their pipes are cut.
    pub(super) fn kill_rest_of_group(&mut self, slot: u32) {
        if let Some(running) = self.table.running(slot)
            && running.reaped.is_some()
            && running.cancel.target == Target::Group
            && running.job.is_stopped()
        {
            self.kill_group(slot);
        }
    }

    /// Kills the group that a command leads, or what is left of it after the leader's exit. Where the kernel cannot
    /// signal a group by pidfd, only before the leader is reaped.
    fn kill_group(&mut self, slot: u32) {
        if let Some(running) = self.table.running(slot)
            && running.leads_group
        {
            let _ = self
                .kernel
                .signal(&running.child, Target::Group, Signal::KILL);
        }
    }

    /// Kills what runs, with the groups that commands lead, and reaps it. Calls nothing of the caller's.
    fn kill_and_reap(&mut self) {
        self.watch_fresh();
        let slots: Vec<_> = self.table.slots().map(|(slot, _)| slot).collect();
        let mut awaited = Vec::new();
        for slot in slots {
            let Some(running) = self.table.running(slot) else {
                continue;
            };
            if running.is_detached {
                continue;
            }
            self.kill_group(slot);
            let Some(running) = self.table.running(slot) else {
                continue;
            };
            if running.reaped.is_some() {
                continue;
            }
            let killed = self
                .kernel
                .signal(&running.child, Target::Process, Signal::KILL);
            // A child that took another identity cannot be killed, and must not be waited for.
            if killed.is_ok() {
                awaited.push(slot);
            }
        }
        let mut refusals = 0;
        while !awaited.is_empty() && refusals < REFUSALS_MAX {
            let mut ready = Vec::new();
            // An announcement can have come too early before, or be lost with a poll that fails.
            let polled = self.kernel.poll(Some(REAP_AGAIN), &mut ready);
            let is_quiet = polled.is_err() || ready.is_empty();
            let named: Vec<u32> = ready.iter().map(|event| event.whose.slot).collect();
            awaited.retain(|slot| {
                let is_named = is_quiet || named.contains(slot);
                let Some(running) = self.table.running(*slot).filter(|_| is_named) else {
                    return true;
                };
                let reaped = self.kernel.reap(&mut running.child);
                refusals += usize::from(reaped.is_err());
                !matches!(reaped, Ok(Some(_)))
            });
        }
    }
}

/// How long the reactor's end waits for announcements before it asks for every child.
const REAP_AGAIN: Duration = Duration::from_millis(50);

/// A kernel that refuses the wait itself so often will not be asked for ever.
const REFUSALS_MAX: usize = 10_000;

impl<K: Kernel> Drop for Engine<K> {
    fn drop(&mut self) {
        // The children are another process's. And its locks: one of its threads may have held them at the fork.
        if self.kernel.check_process().is_err() {
            return;
        }
        self.inbox.close();
        self.watches.clear(&self.inbox);
        self.kill_and_reap();
    }
}
