//! Who waits in the queue of a simulation, and for what: nobody without a reason, and no longer than for as long as that lasts.
//! Unaware of how the loop admits; the limits and what is used up of them are counted from the machine.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::Driver;
use super::plan::{Feed, Job, POOLS, Take};
use crate::queue::Pool;

/// Starts get this much of a turn (`SHARE_OF_TURN_MAX`). What takes longer puts others off.
const LONG: Duration = Duration::from_millis(5);
/// A poll returns within this, once its time has come.
const LATE: Duration = Duration::from_millis(3);
/// No wait for what the system is short of is longer.
const BACKOFF_MAX: Duration = Duration::from_millis(1024);

/// Why the one that is next waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The brake alone is on, and is to be asked again at this time.
    Brake(Instant),
    Other,
}

/// Before a turn.
#[derive(Debug)]
pub(super) struct Outlook {
    at: Instant,
    reason: Option<(usize, Option<Reason>)>,
}

impl Driver {
    pub(super) fn look_at_queue(&mut self) -> Outlook {
        if let Some(brake) = &self.brake {
            brake.lock().late = Duration::ZERO;
        }
        let reason = self.brake.is_some().then(|| self.next_waits_for());
        let world = self.world.borrow();
        Outlook {
            at: world.now(),
            reason: reason.flatten(),
        }
    }

    /// After a turn: whoever could start has started, and a source that named a time was asked then.
    pub(super) fn check_queue(&mut self, before: &Outlook) {
        if self.world.borrow().spent_since(before.at) >= LONG {
            return;
        }
        if let Some((number, None)) = self.next_waits_for() {
            let (book, world) = (self.book.borrow(), self.world.borrow());
            let running = self.running();
            panic!(
                "it waits for nothing, while {running:?} run: {:?} {:?} {:?} {:?}",
                book[number],
                world.attempts.last(),
                self.tokens,
                self.brake
            );
        }
        if let (Some((_, Some(Reason::Brake(until)))), Some(brake)) = (before.reason, &self.brake) {
            let late = brake.lock().late;
            assert!(
                late <= LATE || until < before.at,
                "asked again {late:?} late"
            );
        }
    }

    /// The one that is next, and what it waits for, as far as that is known here.
    fn next_waits_for(&mut self) -> Option<(usize, Option<Reason>)> {
        self.forget_who_started();
        let next = self.next_of_known();
        if next.is_none_or(|(_, reason)| reason == Some(Reason::Other)) {
            return next;
        }
        self.forget_who_was_stopped();
        self.next_of_known()
    }

    fn next_of_known(&mut self) -> Option<(usize, Option<Reason>)> {
        // Else there are others, of which it is not known here when they came.
        let is_known = self.engine().queued() == self.waiting.len();
        if self.waiting.is_empty() || !is_known || self.holds_queue() || self.is_suspended() {
            return None;
        }
        let book = self.book.borrow();
        let running = self.running();
        let running: Vec<&Job> = running.into_iter().map(|program| &book[program]).collect();
        let number = self.next(&book, &running)?;
        Some((number, self.reason(&book[number], &running, &book)))
    }

    fn forget_who_started(&mut self) {
        let world = self.world.borrow();
        for attempt in &world.attempts[self.waiting_seen..] {
            if attempt.refused.is_none() {
                self.waiting.retain(|number| *number != attempt.program);
            }
        }
        self.waiting_seen = world.attempts.len();
    }

    /// Some were stopped before they have started.
    fn forget_who_was_stopped(&mut self) {
        let table = &self.engine.as_ref().expect("an engine").table;
        let book = self.book.borrow();
        self.waiting.retain(|number| {
            let id = book[*number].id;
            id.is_some_and(|id| table.slot_of(id).is_some())
        });
    }

    /// The first by priority of those whose pool has room for its first.
    fn next(&self, book: &[Job], running: &[&Job]) -> Option<usize> {
        let rank = |number: &usize| (Reverse(book[*number].priority), *number);
        let pools = [None, Some("console")].into_iter().chain(POOLS.map(Some));
        let heads = pools.filter_map(|pool| {
            let those = self.waiting.iter().copied();
            let those = those.filter(|number| book[*number].pool_name() == pool);
            let head = those.min_by_key(rank)?;
            let running = running.iter().filter(|job| job.pool_name() == pool);
            let weight: u64 = running.map(|job| u64::from(job.weight)).sum();
            let all = weight + u64::from(book[head].weight);
            (weight == 0 || all <= self.depth(pool) as u64).then_some(head)
        });
        heads.min_by_key(rank)
    }

    fn depth(&self, pool: Option<&str>) -> usize {
        let queue = self.engine.as_ref().expect("an engine").admission.queue();
        let pool = match pool {
            None => Pool::COMMON,
            Some("console") => Pool::CONSOLE,
            Some(name) => queue.pool(name).expect("a pool of ours"),
        };
        queue.load(pool).1
    }

    /// The programs of the commands that run.
    fn running(&self) -> Vec<usize> {
        let world = self.world.borrow();
        let children = world.open_children();
        let running = children.filter(|(pid, _)| !world.let_go.contains(pid));
        running.map(|(_, program)| program).collect()
    }

    /// Why the one that is next waits; `None`: nobody knows.
    fn reason(&self, job: &Job, running: &[&Job], book: &[Job]) -> Option<Reason> {
        let world = self.world.borrow();
        let now = world.now();
        let since = self.takes.last().copied();
        let mut recent = world.attempts.iter().rev();
        let is_short = recent
            .by_ref()
            .take_while(|attempt| attempt.at + BACKOFF_MAX >= now && Some(attempt.at) > since)
            .any(|attempt| attempt.is_short());
        if is_short || world.starts_under_way() >= world.weather.starts_max {
            return Some(Reason::Other);
        }
        if running.is_empty() {
            return None;
        }
        let (mut weight, mut fds) = (0, 0);
        for job in running {
            weight += u64::from(job.weight);
            fds += 1 + pipes(job);
        }
        if weight + u64::from(job.weight) > self.running_max as u64 {
            return Some(Reason::Other);
        }
        if self.fd_limit < u64::MAX {
            let untaken = book.iter().filter(|job| job.id.is_some() && !job.is_over);
            let lent = untaken.filter(|job| job.has_callers_pipe());
            fds += 3 * lent.count() as u64 + world.let_go.len() as u64;
        }
        if fds + 1 + 2 * pipes(job) > self.fd_limit.saturating_sub(32) {
            return Some(Reason::Other);
        }
        if self
            .tokens
            .as_ref()
            .is_some_and(|tokens| tokens.lock().free == 0)
        {
            return Some(Reason::Other);
        }
        let brake = self.brake.as_ref()?.lock();
        let until = brake.until.filter(|until| *until >= now);
        let is_on = brake.is_on(now);
        is_on.then(|| until.map_or(Reason::Other, Reason::Brake))
    }
}

/// So many pipes at most.
fn pipes(job: &Job) -> u64 {
    let outputs = job.takes.iter().filter(|take| **take != Take::Null);
    let has_input = job.feed != Feed::Null || job.is_on_terminal(0);
    outputs.count() as u64 + u64::from(has_input)
}
