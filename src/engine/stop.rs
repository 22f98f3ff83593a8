//! Ending commands: cancels, kills, signals, contexts, messages from other threads, and the engine's own end.
//! Unaware of how commands start.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::Engine;
use crate::error::{Cause, StartError};
use crate::finished::{Finished, Id};
use crate::inbox::Message;
use crate::job::Event;
use crate::stream::{OurEnd, drop_callers};
use crate::sys::{Kernel, Signal, Target, process_gone};
use crate::table::{Phase, Place};

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

    /// A finished one is not here any more, but the caller may have a pipe of it that is to be ended.
    fn end(&mut self, id: Id, how: impl FnOnce(&mut Engine<K>, u32)) -> bool {
        self.now = self.kernel.now();
        let is_unfinished = matches!(self.place(id), Some(Place::Slot(_)));
        if let Some(slot) = self.slot_of_pipes(id) {
            how(self, slot);
        }
        is_unfinished
    }

    /// What a context's end, a timeout or a cancel comes to, wherever the command stands.
    fn stop(&mut self, slot: u32, cause: Cause) {
        match self.table.entry(slot).map(|entry| &entry.phase) {
            Some(Phase::Running(_) | Phase::Lingering(_)) => self.step(slot, Event::Stop(cause)),
            Some(Phase::Queued(_) | Phase::TextBusy(_)) => {
                self.end_waiting(slot, StartError::ContextDone(cause));
            }
            _ => {}
        }
    }

    fn abort(&mut self, slot: u32, unstarted: StartError) {
        match self.table.entry(slot).map(|entry| &entry.phase) {
            Some(Phase::Running(_) | Phase::Lingering(_)) => {
                self.step(slot, Event::Abort(Cause::Cancelled));
            }
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
            // Nobody is told how that went.
            let _ = self.close_end(slot, stream);
            self.step(slot, Event::StreamCut(stream));
        }
        self.close_callers_pipes(slot);
        // Others may have waited for its place.
        self.admit();
        Some(pid)
    }

    fn close_callers_pipes(&mut self, slot: u32) {
        if let Some(running) = self.table.running(slot) {
            for end in &mut running.ends {
                if let OurEnd::Caller(pipe) = end {
                    pipe.close(&mut self.kernel);
                }
            }
        }
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
                Message::Start(number, command) => self.start_sent(number, command),
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

    /// Ends everything, at once, waits for it, and hands all of it out. What cannot be killed is not waited for.
    pub(crate) fn shut_down(&mut self) -> io::Result<Vec<Finished>> {
        self.kernel.check_process()?;
        self.close_inbox();
        self.abort_all();
        let is_unkillable = |phase: &Phase<K>| matches!(phase, Phase::Running(running) if running.job.kill_failed());
        let slots = self.table.slots();
        let unkillable: Vec<_> = slots
            .filter(|(_, entry)| is_unkillable(&entry.phase))
            .map(|(slot, _)| slot)
            .collect();
        for slot in unkillable {
            self.finish_unkilled(slot);
        }
        while self.unfinished() > 0 {
            self.turn(None)?;
        }
        Ok(std::iter::from_fn(|| self.pop_finished()).collect())
    }

    /// What waits is not started, what runs is killed.
    fn abort_all(&mut self) {
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
    fn close_inbox(&mut self) {
        for message in self.inbox.close() {
            if let Message::Start(number, command) = message {
                drop_callers("command", command);
                self.hand_in_unstarted(number, StartError::ShutDown);
            }
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
            let mut ready = VecDeque::new();
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
        let messages = self.inbox.close();
        self.watches.clear(&self.inbox);
        self.kill_and_reap();
        // What is left of the caller's may panic when it is dropped, each for itself.
        messages
            .into_iter()
            .for_each(|message| drop_callers("command", message));
        for entry in self.table.drain() {
            drop_callers("command", entry);
        }
    }
}
