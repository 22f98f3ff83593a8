//! How the loop learns that a child is over: by a poll that awaits it, by the kernel's announcement, or by asking again
//! and again.
//! Unaware of what an exit means to a job.

use std::time::{Duration, Instant};

use super::{Engine, Look};
use crate::job::Event;
use crate::running::Reaped;
use crate::stream::OurEnd;
use crate::sys::{Kernel, Ready, Signal, Source, Stream, Tenant};

/// What the kernel does not announce, or too early, is asked for by timer: after this, doubled each time up to the
/// maximum.
const ASK_AGAIN_MS_MIN: u64 = 1;
const ASK_AGAIN_MS_MAX: u64 = 256;

/// So many children are awaited by a poll at most: of more, the older ones are watched.
pub(super) const UNWATCHED_MAX: usize = 32;
/// So many polls await a child before it is watched.
pub(super) const POLLS_UNWATCHED_MAX: u32 = 16;

/// A child that the kernel is not asked to announce yet.
#[derive(Debug)]
pub(super) struct Unwatched {
    tenant: Tenant,
    /// How many polls have awaited it.
    polls: u32,
}

/// How long to wait when it was asked for so often already.
pub(super) fn wait_before_asking(asked: u32) -> Duration {
    Duration::from_millis((ASK_AGAIN_MS_MIN << asked.min(16)).min(ASK_AGAIN_MS_MAX))
}

impl<K: Kernel> Engine<K> {
    /// A child was started. For a while, each poll awaits it.
    pub(super) fn keep_unwatched(&mut self, slot: u32) {
        if self.unwatched.len() == UNWATCHED_MAX {
            // Many in a row cost less than each for itself.
            self.watch_oldest(UNWATCHED_MAX / 2);
        }
        self.unwatched.push_back(Unwatched {
            tenant: self.table.tenant(slot),
            polls: 0,
        });
    }

    /// The poll that follows awaits the children that nothing announces yet. A short command is over soon, and to have its
    /// end announced would cost more than that; who is still there after so many polls is watched from here on.
    pub(super) fn await_unwatched(&mut self) {
        for _ in 0..self.unwatched.len() {
            if let Some(unwatched) = self.unwatched.pop_front() {
                self.await_once(unwatched);
            }
        }
    }

    fn await_once(&mut self, mut unwatched: Unwatched) {
        let tenant = unwatched.tenant;
        if !self.table.is_tenant(tenant) {
            return;
        }
        let Some(running) = self.table.running(tenant.slot) else {
            return;
        };
        // What stays ready would end each poll at once.
        let stays_ready = running.is_announced || running.has_paused;
        let may_be_awaited =
            unwatched.polls < POLLS_UNWATCHED_MAX && !stays_ready && !running.may_be_stopped();
        let child = running.child.as_ref().filter(|_| may_be_awaited);
        if !child.is_some_and(|child| self.kernel.await_child(child, tenant)) {
            return self.watch_running(tenant.slot);
        }
        for (our_end, stream) in running.streams.iter().zip(Stream::ALL) {
            // An input is ready long before its program is executed, which is when it begins.
            let is_early = stream == Stream::Stdin && running.is_starting();
            if let Some(pipe) = our_end.copied_pipe().filter(|_| !is_early) {
                self.kernel.await_pipe(pipe, stream, tenant);
            }
        }
        unwatched.polls += 1;
        self.unwatched.push_back(unwatched);
    }

    /// Has the kernel announce what becomes of those children.
    pub(super) fn watch_unwatched(&mut self) {
        self.watch_oldest(self.unwatched.len());
    }

    fn watch_oldest(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(unwatched) = self.unwatched.pop_front() {
                self.watch_tenant(unwatched.tenant);
            }
        }
    }

    fn watch_tenant(&mut self, tenant: Tenant) {
        if self.table.is_tenant(tenant) {
            self.watch_running(tenant.slot);
        }
    }

    /// Has the kernel announce what is still to come of a command. Where it has no room for that, the command is asked
    /// by timer: its program runs already, and neither killing it nor running it twice would be right.
    fn watch_running(&mut self, slot: u32) {
        let tenant = self.table.tenant(slot);
        let Some(running) = self.table.running(slot) else {
            return;
        };
        let mut watched = Ok(());
        for (our_end, stream) in running.streams.iter().zip(Stream::ALL) {
            if let Some(pipe) = our_end.copied_pipe() {
                watched = watched.and(self.kernel.watch_pipe(pipe, stream, tenant));
            }
        }
        if let Some(child) = running.child.as_ref().filter(|_| running.reaped.is_none()) {
            watched = watched.and(self.kernel.watch_child(child, tenant));
        }
        running.is_watched = watched.is_ok();
        if watched.is_err() || running.may_be_stopped() {
            self.ask_again(slot);
        }
    }

    /// The exit of a child is announced.
    pub(super) fn reap(&mut self, slot: u32) {
        let Some(running) = self.table.running(slot) else {
            return;
        };
        running.is_announced = true;
        // Whatever it was asked before: it is about to be there.
        running.asked = 0;
        self.reap_or_ask_again(slot);
    }

    fn reap_or_ask_again(&mut self, slot: u32) {
        let Some(running) = self.table.running(slot) else {
            return;
        };
        if running.reaped.is_none() && !self.try_reap(slot) {
            // Too early, as a kqueue is at times, or as it is traced, or the kernel is short of something.
            self.ask_again(slot);
        }
    }

    /// Before a limit ends a command: what has happened counts, also where the loop was late to learn of it.
    pub(super) fn look_before_limit(&mut self, slot: u32) {
        let Some(running) = self.table.running(slot) else {
            return;
        };
        // Where the exit came in this turn, the ends of its streams may stand in another batch of events.
        let minds_streams = running.job.minds_silence() || running.reaped.is_some();
        if self.try_reap(slot) || minds_streams {
            self.visit_all(slot);
        }
    }

    /// The exit was found in this turn and the limit is later, so the caller could not react yet.
    pub(super) fn exit_is_new_for(&mut self, slot: u32, limit: Instant) -> bool {
        let turn = self.stats.turns;
        let running = self.table.running(slot);
        let reaped = running.and_then(|running| running.reaped.as_ref());
        reaped.is_some_and(|reaped| reaped.turn == turn && limit > reaped.in_loop)
    }

    /// Takes a child's status. `false`: it is not to be had now, or was taken.
    fn try_reap(&mut self, slot: u32) -> bool {
        let (now, in_loop, turn) = (self.clock.real(), self.clock.now(), self.stats.turns);
        let Some(running) = self.table.running(slot) else {
            return false;
        };
        if running.reaped.is_some() {
            return false;
        }
        let leaves_suspended = self.clock.is_stopped() && running.leads_group;
        let leaves_suspended = leaves_suspended && !running.is_detached;
        if leaves_suspended {
            if !running.is_announced {
                return false;
            }
            // Without its leader, not every system finds the group again: who is left of it would stand for ever.
            running.steer(Signal::CONT, &mut self.kernel);
        }
        let exit = running.reap(&mut self.kernel);
        if leaves_suspended {
            running.steer(Signal::STOP, &mut self.kernel);
        }
        let Ok(Some(exit)) = exit else {
            return false;
        };
        if let Some(failure) = exit.failure {
            self.start_failed(slot, failure);
            return true;
        }
        // Whatever ended it, it is not started again.
        running.start = None;
        running.reaped = Some(Reaped {
            usage: exit.usage,
            at: now,
            in_loop,
            turn,
            read_since: 0,
        });
        if running.is_watched {
            self.stop_asking(slot);
        }
        let id = self.table.id_of(slot);
        self.tell_observer(|observer, at| observer.exited(id, at));
        self.step(slot, Event::Exited(exit.status));
        let running = self.table.running(slot);
        if running.is_some_and(|running| running.job.minds_emptiness()) {
            // An empty pipe has nothing to announce.
            self.visit_all(slot);
        }
        self.look_for_silent_ends(slot);
        true
    }

    /// Of a child that is over, looks at the terminals whose end nobody may announce: now, and again until there is none.
    fn look_for_silent_ends(&mut self, slot: u32) {
        let running = self.table.running(slot);
        let Some(running) = running.filter(|running| running.reaped.is_some()) else {
            return;
        };
        let mut pipes = running.streams.iter().filter_map(OurEnd::pipe);
        if !pipes.any(|pipe| self.kernel.may_end_unsaid(pipe)) {
            return;
        }
        self.ask_again(slot);
        let tenant = self.table.tenant(slot);
        for stream in Stream::ALL {
            self.serve(Ready {
                tenant,
                source: Source::Stream(stream),
                hung_up: false,
            });
        }
    }

    /// Asks a child by timer, less and less often.
    fn ask_again(&mut self, slot: u32) {
        let now = self.clock.real();
        let Some(running) = self.table.running(slot) else {
            return;
        };
        let at = now + wait_before_asking(running.asked);
        running.asked += 1;
        let before = running.ask_at.replace(at);
        self.looks.move_to(Look::Ask(slot), before, Some(at));
    }

    pub(super) fn stop_asking(&mut self, slot: u32) {
        if let Some(running) = self.table.running(slot)
            && let Some(before) = running.ask_at.take()
        {
            self.looks.move_to(Look::Ask(slot), Some(before), None);
        }
    }

    /// The time to ask a child has come. Of one that is not watched, its pipes are asked, too.
    pub(super) fn ask(&mut self, slot: u32) {
        let Some(running) = self.table.running(slot) else {
            return;
        };
        running.ask_at = None;
        let is_watched = running.is_watched;
        if running.is_announced {
            self.reap_or_ask_again(slot);
        } else {
            self.try_reap(slot);
        }
        if !is_watched {
            self.visit_all(slot);
            self.watch_running(slot);
        } else if self
            .table
            .running(slot)
            .is_some_and(|running| running.may_be_stopped())
        {
            self.ask_again(slot);
        }
        self.look_for_silent_ends(slot);
    }
}
