//! Turns the loop of a simulation as its callers do: by waiting, from an outer loop, for one command; and takes what is over.
//! Unaware of what a command is.

use std::time::Duration;

use super::Driver;
use super::check::{Evidence, check};
use super::speaker::Told;
use super::waiting::Outlook;
use crate::engine::Engine;
use crate::error::Cause;
use crate::finished::Finished;
use crate::sys::simulated::Simulated;

/// Who sent a command hears of its end within this.
const REPLY_SLACK: Duration = Duration::from_millis(1);

impl Driver {
    /// One turn, as `Reactor::wait_any` and an outer loop make it.
    pub(super) fn turn(&mut self) {
        if self.engine().unfinished() == 0 {
            self.engine().take_messages();
        }
        let is_pending = self.engine().is_pending() || self.holds_queue();
        if self.engine().unfinished() == 0 && !is_pending {
            // Only others can bring something now.
            return self.turn_for(Some(Duration::from_millis(1)));
        }
        if self.is_suspended() {
            // Who stands brings nothing.
            let micros = self.random.below(20_000) as u64;
            return self.turn_for(Some(Duration::from_micros(micros)));
        }
        if self.is_embedded && self.random.one_in(2) {
            return self.turn_from_outside();
        }
        let timeout = match self.random.below(6) {
            0 => Some(Duration::ZERO),
            1 => Some(Duration::from_micros(self.random.below(3000) as u64)),
            _ if is_pending => Some(Duration::ZERO),
            _ => None,
        };
        self.turn_for(timeout);
    }

    pub(super) fn turn_for(&mut self, timeout: Option<Duration>) {
        let outlook = self.look_at_queue();
        self.turn_after(&outlook, timeout);
    }

    fn turn_after(&mut self, outlook: &Outlook, timeout: Option<Duration>) {
        self.world.borrow_mut().is_hurried = timeout == Some(Duration::ZERO);
        let turned = self.engine().turn(timeout);
        self.world.borrow_mut().is_hurried = false;
        assert!(turned.is_ok() || self.may_fail, "{turned:?}");
        if self.is_broken {
            self.engine().backlog.clear();
        }
        self.check_queue(outlook);
    }

    /// An outer loop polls the descriptor, and calls when that is readable.
    pub(super) fn turn_from_outside(&mut self) {
        let outlook = self.look_at_queue();
        self.engine().prepare_sleep();
        if self.engine().is_unannounced() {
            self.engine().inbox().wake();
        }
        Simulated::sleep_outside(&self.world, self.minds_edges);
        self.turn_after(&outlook, Some(Duration::ZERO));
    }

    /// Waits for one command, as `Reactor::wait` does.
    pub(super) fn wait_for_one(&mut self) {
        let Some((number, id)) = self.pick() else {
            return;
        };
        self.unsuspend();
        loop {
            self.note_told();
            if self.book.borrow()[number].is_over {
                return;
            }
            if let Some(finished) = self.take(|engine| engine.take_finished(id)) {
                return self.note_taken(finished);
            }
            if !self.engine().knows(id) {
                self.engine().take_messages();
                self.note_told();
                let is_over = self.book.borrow()[number].is_over;
                // There may be more than a turn has time for.
                let is_sent = self.engine().has_messages();
                let is_known = is_sent || self.engine().knows(id);
                assert!(is_over || is_known, "{id} is lost");
                continue;
            }
            if self.holds_queue() {
                // Else it would wait for ever, if it is in the queue.
                self.take_one();
            } else {
                self.turn_for(None);
            }
        }
    }

    /// What waits in the queue waits for the caller to take something.
    pub(super) fn holds_queue(&mut self) -> bool {
        self.takes_first && self.engine().len() > self.engine().unfinished()
    }

    /// Turns until those exit that were let go.
    pub(super) fn outlive_detached(&mut self) {
        self.world.borrow_mut().let_stopped_go_on();
        while self.detached() > 0 {
            self.turn_for(Some(Duration::from_secs(1)));
        }
    }

    pub(super) fn take_one(&mut self) {
        if self.takes_events {
            // Out of order, as the end of a command comes after what its pipes have for the caller.
            if let Some(finished) = self.take(Engine::pop_read) {
                self.note_taken(finished);
            }
            return;
        }
        if let Some(finished) = self.take(Engine::pop_finished) {
            assert!(
                finished.drained.is_none() || finished.drained >= self.last_drained,
                "out of order"
            );
            self.last_drained = finished.drained.or(self.last_drained);
            self.note_taken(finished);
        }
    }

    /// Only what had said that it would block is told, and each time once.
    pub(super) fn take_ready(&mut self) {
        while let Some(ready) = self.engine().pop_ready() {
            assert!(self.wanted.contains(&ready), "{ready:?} was not asked for");
            self.wanted.retain(|wanted| *wanted != ready);
            assert!(self.engine().knows(ready.0), "{ready:?} is over");
        }
    }

    /// Only what runs is said to be slow, and at most once a period.
    pub(super) fn take_slow(&mut self) {
        while let Some(id) = self.engine().pop_slow() {
            let number = self.speaker.numbers.borrow()[&id.number];
            let now = self.world.borrow().now();
            let slot = self.engine().table.slot_of(id).expect("it runs");
            let running = self.engine().table.running(slot).expect("it runs");
            let started = running.started;
            let job = &mut self.book.borrow_mut()[number];
            if job.slow_notices.0 != Some(started) {
                job.slow_notices = (Some(started), 0);
            }
            job.slow_notices.1 += 1;
            let due = job.slow_after.expect("it was asked for") * job.slow_notices.1;
            assert!(!job.is_over && !job.is_detached, "{job:#?}");
            // What it was suspended does not count.
            let ran = now - started - self.pauses.within(started, now);
            assert!(ran >= due, "not yet slow: {job:#?}");
        }
    }

    /// What came back to those who had sent it.
    pub(super) fn note_told(&mut self) {
        for Told { finished, at } in self.speaker.told.take() {
            let (number, drained) = (self.number_of(&finished), finished.drained);
            assert!(self.book.borrow()[number].has_reply, "nobody's reply");
            let world = self.world.borrow();
            let is_late = drained
                .is_some_and(|drained| at > drained + REPLY_SLACK + world.spent_since(drained));
            drop(world);
            assert!(!is_late || self.is_dawdling, "a late reply");
            self.note(finished);
        }
    }

    /// What the loop itself hands out was not to go to a reply.
    pub(super) fn note_taken(&mut self, finished: Finished) {
        let number = self.number_of(&finished);
        assert!(!self.book.borrow()[number].has_reply, "a reply's");
        if self.takes_first && !self.is_shut_down {
            let world = self.world.borrow();
            let last = world.attempts.last().map(|attempt| attempt.at);
            let is_first = finished.drained.is_none_or(|drained| last <= Some(drained));
            assert!(
                is_first,
                "started before this was taken: {:?}",
                world.attempts.last()
            );
        }
        self.note(finished);
    }

    fn number_of(&self, finished: &Finished) -> usize {
        let number = self
            .speaker
            .numbers
            .borrow()
            .get(&finished.id.number)
            .copied();
        number.expect("a command of ours")
    }

    /// A command is handed out: for the first time, and truly.
    fn note(&mut self, mut finished: Finished) {
        let number = self.number_of(&finished);
        assert_eq!(finished.take_data(), Some(number), "what it carried");
        self.live.retain(|live| *live != number);
        let job = &mut self.book.borrow_mut()[number];
        assert!(!job.is_over && !job.is_detached, "finished again: {job:#?}");
        job.is_over = true;
        let now = self.world.borrow().now();
        let mut context_end = job.context.and_then(|at| self.contexts[at].end(now));
        if let (false, Some((deadline, Cause::DeadlineExceeded))) = (job.counts_queue, context_end)
        {
            let left = job.queued.map(|queued| deadline - queued);
            let started = finished.started.zip(left);
            context_end = started.map(|(started, left)| {
                let at = self.pauses.after(started, left);
                (at, Cause::DeadlineExceeded)
            });
        }
        if let Some((at, cause @ Cause::DeadlineExceeded)) = context_end {
            context_end = Some((self.pauses.put_off(at), cause));
        }
        let tries_more = job.script.busy_times + job.script.refusals;
        if let (Some(started), false, 0) = (finished.started, job.is_sent, tries_more) {
            let id = finished.id.number;
            self.order
                .push((job.pool_name(), job.priority, id, started));
        }
        check(Evidence {
            job,
            finished: &finished,
            world: &self.world.borrow(),
            pauses: &self.pauses,
            takes: &self.takes,
            context_end,
            is_shut_down: self.is_shut_down,
            is_dawdling: self.is_dawdling,
        });
    }
}
