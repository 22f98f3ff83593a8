//! The end of everything: by `shut_down`, which hands all of it out, or by a drop, which only leaves nothing behind.
//! Unaware of single commands' ends but by asking for them.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::Engine;
use super::executed::EXEC_AWAITED_MAX;
use crate::error::StartError;
use crate::finished::Finished;
use crate::guard::drop_callers;
use crate::sys::{Kernel, Signal, Target};

/// How long the reactor's end waits for announcements before it asks for every child.
const REAP_AGAIN: Duration = Duration::from_millis(50);

/// A kernel that refuses the wait itself so often will not be asked for ever.
const REFUSALS_MAX: usize = 10_000;

impl<K: Kernel> Engine<K> {
    /// Ends everything, at once, waits for it, and hands all of it out. What cannot be killed is not waited for.
    pub(crate) fn shut_down(&mut self) -> io::Result<Vec<Finished>> {
        self.kernel.check_process()?;
        self.close_inbox();
        self.abort_all();
        self.let_go_of_survivors();
        // What is left is ended by its limits.
        self.go_on();
        for slot in self.table.slots() {
            let running = self.table.running(slot);
            if running.is_some_and(|running| running.job.kill_failed()) {
                self.finish_unkilled(slot);
            }
        }
        while self.unfinished() > 0 {
            self.turn(None)?;
        }
        let finished = std::iter::from_fn(|| self.pop_finished());
        Ok(finished.map(|finished| *finished).collect())
    }

    /// What waits is not started, what runs is killed.
    fn abort_all(&mut self) {
        self.clock.read(self.kernel.now());
        for slot in self.table.slots() {
            let running = self.table.running(slot);
            if let Some(running) = &running {
                if running.is_left_alone() {
                    continue;
                }
                running.kill_group(&mut self.kernel);
            }
            self.abort(slot, StartError::ShutDown);
        }
    }

    /// Once nobody waits any more who could be started in their places.
    fn let_go_of_survivors(&mut self) {
        for slot in self.table.slots() {
            let running = self.table.running(slot);
            if running.is_some_and(|running| running.survives && !running.is_detached)
                && self.detach(self.table.id_of(slot)).is_none()
            {
                // Its start has failed, and is not to be tried again.
                self.abort(slot, StartError::ShutDown);
            }
        }
    }

    /// Kills what runs, with the groups that commands lead, and reaps it. Calls nothing of the caller's.
    fn kill_and_reap(&mut self) {
        self.watch_unwatched();
        let mut awaited = Vec::new();
        for slot in self.table.slots() {
            let Some(running) = self.table.running(slot) else {
                continue;
            };
            if running.is_left_alone() {
                if self.clock.is_stopped() && !running.is_detached {
                    running.let_go_on(&mut self.kernel);
                }
                continue;
            }
            running.kill_group(&mut self.kernel);
            if running.reaped.is_some() {
                continue;
            }
            let child = running.child.as_ref();
            // A child that took another identity cannot be killed, and must not be waited for.
            if child.is_some_and(|child| {
                let killed = self.kernel.signal(child, Target::Process, Signal::KILL);
                killed.is_ok()
            }) {
                awaited.push(slot);
            }
        }
        let mut refusals = 0;
        while !awaited.is_empty() && refusals < REFUSALS_MAX {
            let mut ready = VecDeque::new();
            // An announcement can have come too early before, or be lost with a poll that fails.
            let polled = self.kernel.poll(Some(REAP_AGAIN), &mut ready);
            let is_quiet = polled.is_err() || ready.is_empty();
            let named: Vec<u32> = ready.iter().map(|event| event.tenant.slot).collect();
            awaited.retain(|slot| {
                let is_named = is_quiet || named.contains(slot);
                let Some(running) = self.table.running(*slot).filter(|_| is_named) else {
                    return true;
                };
                let reaped = running.reap(&mut self.kernel);
                refusals += usize::from(reaped.is_err());
                !matches!(reaped, Ok(Some(_)))
            });
        }
    }
}

impl<K: Kernel> Engine<K> {
    /// Those that the end leaves alone and that are on their way to their exec. Of one that does not get there in time, the
    /// kernel keeps what it needs, also of what is closed here.
    fn let_go_of_starting(&mut self) {
        let until = self.kernel.now() + EXEC_AWAITED_MAX;
        for slot in self.table.slots() {
            let running = self.table.running(slot);
            let Some(running) = running.filter(|running| running.is_left_alone()) else {
                continue;
            };
            if running.is_starting()
                && let Some(child) = &running.child
            {
                self.kernel.await_exec(child, until);
                running.close_pipes(&mut self.kernel);
            }
        }
    }
}

impl<K: Kernel> Drop for Engine<K> {
    fn drop(&mut self) {
        // The children are another process's. And its locks: one of its threads may have held them at the fork.
        if self.kernel.check_process().is_err() {
            return;
        }
        let mut messages = std::mem::take(&mut self.mail);
        messages.extend(self.inbox.close());
        self.watches.clear(&self.inbox);
        self.kill_and_reap();
        self.let_go_of_starting();
        // What is left of the caller's may panic when it is dropped, each for itself.
        messages
            .into_iter()
            .for_each(|message| drop_callers("command", message));
        self.table.drop_all();
        while let Some((finished, _)) = self.table.pop_finished() {
            drop_callers("data", finished);
        }
        drop_callers("observer", self.observer.take());
        for aside in self.asides.drain() {
            aside.drop_apart();
        }
    }
}
