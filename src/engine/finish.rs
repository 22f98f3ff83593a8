//! What becomes of a command that is over: its `Finished`, its slot, and its place among those that run.
//! Unaware of how it ended.

use super::{Due, Engine};
use crate::error::{Error, StartError};
use crate::finished::{CommandId, Finished, Usage};
use crate::guard::guarded;
use crate::job::{Job, Streams};
use crate::stream::OurEnd;
use crate::sys::{Kernel, Stream};
use crate::table::Left;

impl<K: Kernel> Engine<K> {
    /// Everything is known of this command: makes its `Finished`, and gives back what it took up.
    pub(super) fn finish(&mut self, slot: u32) {
        self.end_running(slot, Job::take_outcome);
    }

    /// A command that cannot be killed, and is not waited for any longer: the reactor ends. It is not reaped.
    pub(super) fn finish_unkilled(&mut self, slot: u32) {
        self.end_running(slot, |job| Err(job.take_kill_failure()));
    }

    fn end_running(&mut self, slot: u32, outcome: impl FnOnce(&mut Job) -> Result<(), Error>) {
        let now = self.clock.real();
        self.stop_asking(slot);
        self.stop_noticing(slot);
        let mut running = self.table.take_running(slot);
        if running.is_detached {
            self.admission.let_go_ended();
            running.drop_apart();
            self.leave(slot);
            return self.table.vacate(slot);
        }
        if self.clock.is_stopped() {
            // Who is left of its group was suspended with it.
            running.let_go_on(&mut self.kernel);
        }
        let child = running.child.take();
        let lingers = running.streams.iter().any(OurEnd::is_callers);
        self.admission.ended(running.cost);
        self.permits.give_back();
        let mut collected = |stream: Stream| match running.stream(stream) {
            OurEnd::Collected(bytes) => std::mem::take(bytes),
            _ => Vec::new(),
        };
        let (stdout, stderr) = (collected(Stream::Stdout), collected(Stream::Stderr));
        let reaped = running.reaped.as_ref();
        let finished = Box::new(Finished {
            id: self.table.id_of(slot),
            pid: child.as_ref().map(K::pid),
            status: running.job.status(),
            outcome: outcome(&mut running.job),
            stdout,
            stderr,
            usage: reaped.and_then(|reaped| reaped.usage).map(Usage::from),
            leaked: running.job.cut().iter().collect(),
            holders: std::mem::take(&mut running.holders),
            started: Some(running.started),
            reaped: reaped.map(|reaped| reaped.at),
            drained: Some(now),
            data: None,
        });
        // Closed ones too: what the caller closed, or the delay cut, answers as such until the end.
        if lingers {
            running.kept = running.open_pipes();
            self.admission.keep(running.kept);
            // The command's context and limits go on: they end pipes that an orphan holds.
            self.table.linger(slot, running);
        } else {
            running.drop_apart();
            self.leave(slot);
            self.table.vacate(slot);
        }
        let left = if lingers {
            Left::Slot(slot)
        } else {
            Left::nothing()
        };
        self.keep_finished(finished, left);
    }

    /// Pipes of a finished command that its caller has closed, or a limit has cut, no longer count.
    pub(super) fn count_kept(&mut self, slot: u32) {
        if let Some(running) = self.table.begun(slot)
            && running.kept > 0
        {
            let open = running.open_pipes();
            self.admission.taken(running.kept - open);
            running.kept = open;
        }
    }

    /// A command that was taken out of those that wait, or whose start has failed.
    pub(super) fn finish_unstarted(&mut self, slot: u32, error: StartError) {
        let id = self.table.id_of(slot);
        let lends = self.table.lends(slot);
        self.readiness.forget(id.number);
        self.leave(slot);
        self.table.vacate(slot);
        self.keep_unstarted(id, lends, error);
    }

    /// The same of one that was never among those that wait. The caller was to have these pipes of it.
    pub(super) fn keep_unstarted(&mut self, id: CommandId, lends: Streams, error: StartError) {
        let finished = Finished::without_process(id, Error::Start(error));
        self.keep_finished(Box::new(finished), Left::Unopened(lends));
    }

    /// Keeps what became of a command until it is taken, or hands it to who is waiting for just that.
    fn keep_finished(&mut self, mut finished: Box<Finished>, left: Left) {
        let id = finished.id;
        let aside = self.asides.take(id.number);
        finished.data = aside.data;
        self.stats.finished += 1;
        self.tell_observer(|observer, at| observer.finished(&finished, at));
        self.table.keep_finished(finished, left);
        if let Some(reply) = aside.reply
            && let Some(finished) = self.take_finished(id)
        {
            let _ = guarded("callback", || {
                reply(*finished);
                Ok(())
            });
            self.clock.read(self.kernel.now());
        }
    }

    /// Takes a slot's command out of its context and of the deadlines.
    pub(super) fn leave(&mut self, slot: u32) {
        self.arm_slot(slot, None);
        self.move_deadline(slot, None);
        let Some(membership) = self.table.membership(slot).take() else {
            return;
        };
        let (moved, deadline) = self.watches.remove(membership, &self.inbox);
        if let Some(moved) = moved {
            *self.table.membership(moved) = Some(membership);
        }
        if let Some(deadline) = deadline {
            // The deadline may have fired already.
            let due = Due::Context(membership.key);
            self.deadlines.discard(due, deadline);
        }
    }

    /// Takes the next finished command.
    pub(crate) fn pop_finished(&mut self) -> Option<Box<Finished>> {
        let (finished, left) = self.table.pop_finished()?;
        self.end_pipes(finished.id, left);
        Some(finished)
    }

    /// Takes one finished command.
    pub(crate) fn take_finished(&mut self, id: CommandId) -> Option<Box<Finished>> {
        let (finished, left) = self.table.take_finished(id)?;
        self.end_pipes(id, left);
        Some(finished)
    }

    /// The command was taken. Its caller's pipes are closed now (Go: at the end of `Wait`).
    fn end_pipes(&mut self, id: CommandId, left: Left) {
        self.readiness.forget(id.number);
        if let Left::Slot(slot) = left {
            let mut running = self.table.take_lingering(slot);
            running.close_callers_pipes(&mut self.kernel);
            self.admission.taken(running.kept);
            running.drop_apart();
            self.leave(slot);
            self.table.vacate(slot);
        }
    }
}
