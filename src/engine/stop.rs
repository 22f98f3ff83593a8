//! Who asks a command to end, or to take a signal: cancel, kill, a context's end, detaching.
//! Unaware of how commands start, and of what ending one takes (`effects`, `job`).

use std::io;

use super::Engine;
use super::executed::EXEC_AWAITED_MAX;
use crate::context::Context;
use crate::error::{Cause, StartError};
use crate::finished::CommandId;
use crate::job::Event;
use crate::sys::{Kernel, Signal, Target, process_gone};

impl<K: Kernel> Engine<K> {
    /// Asks a command to stop, by its cancel action; one that was asked by this before is killed. `false`: it is not here
    /// or has finished.
    pub(crate) fn cancel(&mut self, id: CommandId) -> bool {
        self.cancel_known(id) || self.stop_sent(id)
    }

    /// The same where the loop has heard of the command.
    pub(super) fn cancel_known(&mut self, id: CommandId) -> bool {
        if self.kernel.check_process().is_err() {
            return false;
        }
        let slot = self.table.slot_of_pipes(id);
        if let Some(running) = slot.and_then(|slot| self.table.begun(slot))
            && std::mem::replace(&mut running.is_cancelled, true)
        {
            return self.kill_known(id);
        }
        self.abandon(id)
    }

    /// Asks a command to stop, as nobody waits for it any more. However often: that is no hurry.
    pub(crate) fn abandon(&mut self, id: CommandId) -> bool {
        self.clock.read(self.kernel.now());
        let is_unfinished = self.table.slot_of(id).is_some();
        if let Some(slot) = self.table.slot_of_pipes(id) {
            self.stop(slot, Cause::Cancelled);
        }
        is_unfinished
    }

    /// Kills a command at once. `false`: it is not here or has finished.
    pub(crate) fn kill(&mut self, id: CommandId) -> bool {
        self.kill_known(id) || self.stop_sent(id)
    }

    /// The same where the loop has heard of the command.
    pub(super) fn kill_known(&mut self, id: CommandId) -> bool {
        if self.kernel.check_process().is_err() {
            return false;
        }
        self.clock.read(self.kernel.now());
        let is_unfinished = self.table.slot_of(id).is_some();
        if let Some(slot) = self.table.slot_of_pipes(id) {
            self.abort(slot, StartError::Stopped(Cause::Cancelled));
        }
        is_unfinished
    }

    /// What a context's end, a timeout or a cancel comes to, wherever the command stands. Of one that is finished, the
    /// caller may have a pipe that is to be ended.
    fn stop(&mut self, slot: u32, cause: Cause) {
        if self.table.unstarted(slot).is_some() {
            self.end_unstarted(slot, StartError::Stopped(cause));
        } else if self.table.begun(slot).is_some() {
            self.step(slot, Event::Stop(cause));
        }
    }

    pub(super) fn abort(&mut self, slot: u32, unstarted: StartError) {
        if self.table.unstarted(slot).is_some() {
            self.end_unstarted(slot, unstarted);
        } else if self.table.begun(slot).is_some() {
            self.step(slot, Event::Abort(Cause::Cancelled));
        }
    }

    /// Ends a command that was not started. Whom it has held up in the queue, the next turn starts.
    fn end_unstarted(&mut self, slot: u32, error: StartError) {
        if let Some(ticket) = self.table.take_ticket(slot) {
            self.admission.leave(ticket);
        }
        self.table.take_waiting(slot).drop_apart();
        self.finish_unstarted(slot, error);
    }

    /// A context has ended, or its deadline has come.
    pub(super) fn context_done(&mut self, key: usize) {
        // The key may be another context's by now, which has not ended.
        let Some(cause) = self.watches.cause(key, self.clock.now()) else {
            return;
        };
        let is_cancelled = self.watches.context(key).is_some_and(Context::is_cancelled);
        let deadline = self.watches.deadline(key);
        for slot in self.watches.slots(key) {
            if is_cancelled {
                self.stop(slot, cause);
            } else if self.table.has_own_deadline(slot) {
                // It does not count the queue.
            } else if self.table.unstarted(slot).is_some() {
                self.stop(slot, cause);
            } else {
                self.move_deadline(slot, deadline);
            }
        }
    }

    /// The deadline of a command has come.
    pub(super) fn deadline_came(&mut self, slot: u32) {
        *self.table.deadline(slot) = None;
        self.look_before_limit(slot);
        self.stop(slot, Cause::DeadlineExceeded);
    }

    /// Signals a command.
    pub(crate) fn signal(
        &mut self,
        id: CommandId,
        target: Target,
        signal: Signal,
    ) -> io::Result<()> {
        let slot = self.table.slot_of(id);
        let running = slot.and_then(|slot| self.table.running(slot));
        let child = running.and_then(|running| running.child.as_ref());
        child.map_or(Err(process_gone()), |child| {
            self.kernel.signal(child, target, signal)
        })
    }

    /// Whether the engine's end lets a command go, in place of killing it. `false`: it is not here or has finished.
    pub(crate) fn set_survives(&mut self, id: CommandId, survives: bool) -> bool {
        let Some(slot) = self.table.slot_of(id) else {
            return self.keep_sent(id, survives);
        };
        if let Some((spec, _)) = self.table.unstarted(slot) {
            spec.survives = survives;
        } else if let Some(running) = self.table.running(slot) {
            running.survives = survives;
        }
        true
    }

    /// Lets a command go: it survives the engine, and its outcome is not reported. `None`: it does not run, be it that its
    /// start has just failed.
    pub(crate) fn detach(&mut self, id: CommandId) -> Option<u32> {
        self.kernel.check_process().ok()?;
        let slot = self.table.slot_of(id)?;
        let running = self.table.running(slot)?;
        if running.reaped.is_some() {
            return None;
        }
        let child = running.child.as_ref()?;
        let pid = K::pid(child);
        if self.clock.is_stopped() {
            // Nobody would let it go on.
            running.let_go_on(&mut self.kernel);
        }
        let until = self.kernel.now() + EXEC_AWAITED_MAX;
        if running.is_starting() && !self.kernel.await_exec(child, until) {
            // Its end tells that, and it may be tried again.
            return None;
        }
        running.is_detached = true;
        let cost = running.cost;
        self.admission.let_go(cost);
        self.permits.give_back();
        self.table.forget(id);
        self.asides.take(id.number).drop_apart();
        self.readiness.forget(id.number);
        self.clock.read(self.kernel.now());
        self.leave(slot);
        self.let_go_of_pipes(slot);
        // Others may have waited for its place.
        self.admit();
        Some(pid)
    }

    fn let_go_of_pipes(&mut self, slot: u32) {
        let open = self.table.running(slot).map(|running| running.job.open());
        for stream in open.iter().flat_map(|open| open.iter()) {
            if let Some(running) = self.table.running(slot) {
                // How that went is of no interest any more.
                let _ = running.close_stream(stream, &mut self.kernel);
            }
            self.step(slot, Event::StreamCut(stream));
        }
        if let Some(running) = self.table.running(slot) {
            running.close_callers_pipes(&mut self.kernel);
        }
    }
}
