//! What the driver of a simulation, or another thread, asks of a command under way: to stop, to hear a signal, to be let go.
//! Unaware of what comes of it.

use std::rc::Rc;
use std::time::Duration;

use super::Driver;
use super::plan::POOLS;
use super::speaker::Word;
use crate::error::Cause;
use crate::finished::CommandId;
use crate::sys::simulated::Simulated;
use crate::sys::{Kernel, Signal, Target};

impl Driver {
    /// Some command that was started or queued and not handed out.
    pub(super) fn pick(&mut self) -> Option<(usize, CommandId)> {
        if self.live.is_empty() {
            return None;
        }
        let number = *self.random.pick(&self.live);
        let id = self.book.borrow()[number].id?;
        Some((number, id))
    }

    pub(super) fn request(&mut self, number: usize, cause: Cause, is_forced: bool) {
        let now = self.world.borrow().now();
        let job = &mut self.book.borrow_mut()[number];
        job.requests.push((now, cause, is_forced));
    }

    pub(super) fn cancel_one(&mut self) {
        if let Some((number, id)) = self.pick() {
            self.request(number, Cause::Cancelled, false);
            self.engine().cancel(id);
        }
    }

    pub(super) fn kill_one(&mut self) {
        if let Some((number, id)) = self.pick() {
            self.request(number, Cause::Cancelled, true);
            self.engine().kill(id);
        }
    }

    pub(super) fn signal_one(&mut self) {
        let signals = [Signal::TERM, Signal::KILL, Signal::INT];
        let signal = *self.random.pick(&signals);
        if let Some((number, id)) = self.pick() {
            self.book.borrow_mut()[number].signals += 1;
            // What it answers is the machine's to decide.
            let _ = self.engine().signal(id, Target::Process, signal);
        }
    }

    pub(super) fn resume_one(&mut self) {
        if let Some((_, id)) = self.pick() {
            self.engine().resume(id);
        }
    }

    pub(super) fn detach_one(&mut self) {
        let Some((number, id)) = self.pick() else {
            return;
        };
        if self.book.borrow()[number].script.stopped_for == Some(Duration::MAX) {
            // It is let go on by its end alone, which nobody would bring about.
            return;
        }
        let pid = self.engine().child(id).map(Simulated::pid);
        // Others may be started by that very call.
        self.world.borrow_mut().let_go.extend(pid);
        let detached = self.engine().detach(id);
        if detached.is_none() && pid.is_some() {
            self.world.borrow_mut().let_go.pop();
        } else if detached.is_some() {
            assert_eq!(detached, pid);
            self.live.retain(|live| *live != number);
            self.book.borrow_mut()[number].is_detached = true;
            assert!(!self.engine().knows(id));
        }
    }

    /// Another thread says something by a handle, a little later.
    pub(super) fn let_another_thread_speak(&mut self) {
        let after = Duration::from_micros(self.random.below(3000) as u64);
        let word = Word::random(&mut self.random);
        let picked = self.pick();
        let speaker = Rc::clone(&self.speaker);
        self.world
            .borrow_mut()
            .outside(after, move || match picked {
                Some((number, _)) => speaker.say(word, number),
                None => speaker.inbox.wake(),
            });
    }

    /// Other limits, for who is not running yet.
    pub(super) fn change_limits(&mut self) {
        let depth = self.random.below(6);
        if self.random.one_in(2) {
            let pool = *self.random.pick(&POOLS);
            self.engine().set_pool(pool, depth);
        } else if self.running_max < usize::MAX {
            self.running_max = 1 + depth * depth;
            let running_max = self.running_max;
            self.engine().set_running_max(running_max);
        }
        let Some(tokens) = self.tokens.clone() else {
            return;
        };
        // Another process gives tokens back, or takes what there are.
        let (inbox, more) = (self.inbox(), self.random.below(4));
        let after = Duration::from_micros(self.random.below(3000) as u64);
        self.world.borrow_mut().outside(after, move || {
            if more == 0 {
                tokens.lock().free = 0;
            } else {
                tokens.lock().free += more;
                inbox.wake();
            }
        });
    }
}
