//! Who may start now: `max_running`, the budget of descriptors, the queue (`queue.rs`), and how long to wait where the system
//! is short of something. Unaware of processes; of a command it knows its slot and its cost.

use std::time::{Duration, Instant};

use crate::queue::{Pool, Queue, Ticket};

/// Descriptors that are left to the rest of the process.
const FDS_RESERVED: u64 = 32;
/// How long to wait after the kernel refused for want of something, doubled each time up to the maximum.
const BACKOFF_MS_MIN: u64 = 1;
const BACKOFF_MS_MAX: u64 = 1024;
/// After so many such waits of one command, some 20 seconds in all, no end of another command will help it.
const BACKOFFS_MAX: u32 = 30;
/// After so many, a quarter of a second in all, the caller does not take what is finished and holds what is wanted.
const BACKOFFS_UNTAKEN_MAX: u32 = 8;

/// The pidfd of one child.
const FDS_OF_CHILD: u64 = 1;

/// What one command takes: descriptors, and its share of the limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Pipes between us and the child.
    pub(crate) pipes: u32,
    /// Descriptors that the child gets besides its standard ones.
    pub(crate) extra: u32,
    /// As how many it counts for the limit on running commands, and for its pool's depth.
    pub(crate) weight: u32,
    pub(crate) pool: Pool,
}

impl Cost {
    /// One pidfd and our ends, for as long as the command lasts.
    fn while_running(self) -> u64 {
        FDS_OF_CHILD + u64::from(self.pipes)
    }

    /// During its start: the child's ends too, and at most two numbers for each extra descriptor, which is moved to its
    /// own.
    fn at_start(self) -> u64 {
        self.while_running() + u64::from(self.pipes) + 2 * u64::from(self.extra)
    }
}

/// The queue, and what the running commands take.
#[derive(Debug)]
pub(crate) struct Admission {
    running_max: usize,
    fds_max: u64,
    running: usize,
    /// The weights of those that run.
    weight: u64,
    fds: u64,
    /// Those among them that are pipes of the caller's, of commands that are finished and not taken.
    kept: u64,
    /// How patient all are with the caller who has not taken those.
    untaken: Patience,
    queue: Queue,
    /// The kernel was short of something; not before this, unless a command ends.
    retry_at: Option<Instant>,
}

/// How patient one command is with a kernel that is short of something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    backoffs: u32,
    /// The present wait is over then.
    until: Option<Instant>,
}

impl Patience {
    /// The command was refused at `now`. Returns when to try again at the latest; `None`: it is refused for good. A
    /// retry before the wait is over, as some command has ended, does not use up a backoff: where commands are short,
    /// there are many.
    fn wait(&mut self, backoffs_max: u32, now: Instant) -> Option<Instant> {
        if let Some(until) = self.until.filter(|until| *until > now) {
            return Some(until);
        }
        if self.backoffs == backoffs_max {
            return None;
        }
        let wait = (BACKOFF_MS_MIN << self.backoffs.min(16)).min(BACKOFF_MS_MAX);
        self.backoffs += 1;
        self.until = now.checked_add(Duration::from_millis(wait));
        self.until
    }
}

impl Admission {
    /// `fd_limit`: how many descriptors the process may have.
    pub(crate) fn new(running_max: usize, fd_limit: u64) -> Admission {
        Admission {
            running_max: running_max.max(1),
            fds_max: fd_limit.saturating_sub(FDS_RESERVED),
            running: 0,
            weight: 0,
            fds: 0,
            kept: 0,
            untaken: Patience::default(),
            queue: Queue::new(),
            retry_at: None,
        }
    }

    /// From here on at most so many run at once. Those that run go on.
    pub(crate) fn set_running_max(&mut self, running_max: usize) {
        self.running_max = running_max.max(1);
    }

    /// The queue with its pools.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Makes a pool, or changes one.
    pub(crate) fn set_pool(&mut self, name: &str, depth: usize) {
        self.queue.set_pool(name, depth);
    }

    /// Whether the next of the queue may start now, if it has this cost. A lone one always may.
    pub(crate) fn has_room(&self, cost: Cost) -> bool {
        let fits = self.fds.saturating_add(cost.at_start()) <= self.fds_max
            && self.weight + u64::from(cost.weight) <= self.running_max as u64;
        self.retry_at.is_none() && (self.running == 0 || fits)
    }

    /// Puts a command behind all of its priority.
    pub(crate) fn enqueue(&mut self, slot: u32, priority: i32, cost: Cost) -> Ticket {
        self.queue.push(slot, priority, cost.weight, cost.pool)
    }

    /// Puts a command before all of its priority that wait now: it has waited longer.
    pub(crate) fn enqueue_first(&mut self, slot: u32, priority: i32, cost: Cost) -> Ticket {
        self.queue
            .push_first(slot, priority, cost.weight, cost.pool)
    }

    /// Takes a command out of the queue.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.queue.remove(ticket);
    }

    /// How many run: started and not finished.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// A command was started.
    pub(crate) fn started(&mut self, cost: Cost) {
        self.running += 1;
        self.weight += u64::from(cost.weight);
        self.fds += cost.while_running();
        self.queue.started(cost.pool, cost.weight);
    }

    /// A command is finished, and its descriptors are free.
    pub(crate) fn ended(&mut self, cost: Cost) {
        self.fds -= cost.while_running();
        self.give_up_place(cost);
    }

    /// But for so many, which are its caller's until he closes them or takes it.
    pub(crate) fn keep(&mut self, kept: u32) {
        self.fds += u64::from(kept);
        self.kept += u64::from(kept);
    }

    /// Those are free, too.
    pub(crate) fn taken(&mut self, kept: u32) {
        if kept > 0 {
            self.fds -= u64::from(kept);
            self.kept -= u64::from(kept);
            self.untaken = Patience::default();
            self.retry_at = None;
        }
    }

    /// The kernel is short of something for one command, whose patience this is. Returns when to try again at the latest;
    /// `None`: it is refused for good, as nobody gives anything back: no command runs, and the caller takes none.
    pub(crate) fn wait(&mut self, patience: &mut Patience, now: Instant) -> Option<Instant> {
        if self.running > 0 {
            return patience.wait(BACKOFFS_MAX, now);
        }
        if self.kept == 0 {
            return None;
        }
        self.untaken.wait(BACKOFFS_UNTAKEN_MAX, now)
    }

    /// A command was let go: it no longer counts, and its pidfd alone is left until it exits.
    pub(crate) fn let_go(&mut self, cost: Cost) {
        self.fds -= u64::from(cost.pipes);
        self.give_up_place(cost);
    }

    fn give_up_place(&mut self, cost: Cost) {
        self.running -= 1;
        self.weight -= u64::from(cost.weight);
        self.queue.ended(cost.pool, cost.weight);
        self.retry_at = None;
    }

    /// A command that was let go has exited.
    pub(crate) fn let_go_ended(&mut self) {
        self.fds -= FDS_OF_CHILD;
    }

    /// The kernel was short of something while others run. No command starts before one of them ends, or before this
    /// time.
    pub(crate) fn shortage(&mut self, retry_at: Instant) {
        self.retry_at = Some(retry_at);
    }

    /// The kernel was to be asked again before `now`.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| at < now) && !self.queue.is_blocked()
    }

    /// Nothing is counted any more.
    pub(crate) fn is_idle(&self) -> bool {
        (self.running, self.weight, self.fds) == (0, 0, 0) && self.queue.is_idle()
    }

    /// What the running ones weigh, and how much they may.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn load(&self) -> (u64, usize) {
        (self.weight, self.running_max)
    }

    /// The time to try again has come.
    pub(crate) fn retry(&mut self) {
        self.retry_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Cost = Cost {
        pipes: 2,
        extra: 0,
        weight: 1,
        pool: Pool::COMMON,
    };

    #[test]
    fn a_lone_command_may_start_whatever_the_limits() {
        let mut admission = Admission::new(0, 0);
        assert!(admission.has_room(PLAIN));
        admission.started(PLAIN);
        assert!(!admission.has_room(PLAIN));
        admission.ended(PLAIN);
        assert!(admission.has_room(PLAIN));
    }

    #[test]
    fn a_caller_who_takes_a_finished_command_is_waited_for_anew() {
        let mut admission = Admission::new(1, u64::MAX);
        admission.keep(2);
        let (mut at, mut patience) = (crate::sys::now(), Patience::default());
        while let Some(until) = admission.wait(&mut patience, at) {
            at = until;
        }
        admission.taken(1);
        assert!(admission.wait(&mut patience, at).is_some());
        admission.taken(1);
        assert!(
            admission.wait(&mut patience, at).is_none(),
            "none is left to take"
        );
    }

    #[test]
    fn descriptors_are_counted_with_the_childs_ends_at_the_start() {
        let mut admission = Admission::new(usize::MAX, FDS_RESERVED + 8);
        admission.started(PLAIN);
        assert!(
            admission.has_room(PLAIN),
            "3 of one that runs and 5 at the start are 8"
        );
        admission.started(PLAIN);
        assert!(
            !admission.has_room(PLAIN),
            "6 of two that run and 5 are more"
        );
        let with_extra = |extra| {
            admission.has_room(Cost {
                pipes: 0,
                extra,
                ..PLAIN
            })
        };
        assert!(with_extra(0), "1 of one that runs");
        assert!(!with_extra(1), "and 2 at the start are 3");
    }

    #[test]
    fn weights_count_against_the_limit_which_can_be_changed_and_the_heaviest_runs_alone() {
        let heavy = |weight| Cost { weight, ..PLAIN };
        let mut admission = Admission::new(4, u64::MAX);
        assert!(admission.has_room(heavy(9)), "alone");
        admission.started(heavy(3));
        assert!(admission.has_room(PLAIN) && !admission.has_room(heavy(2)));
        admission.set_running_max(5);
        assert!(admission.has_room(heavy(2)) && !admission.has_room(heavy(3)));
        admission.set_running_max(0);
        assert!(!admission.has_room(PLAIN), "those that run go on");
        admission.ended(heavy(3));
        assert!(admission.has_room(heavy(u32::MAX)));
        admission.started(heavy(u32::MAX));
        assert!(!admission.has_room(PLAIN));
        admission.ended(heavy(u32::MAX));
        assert!(admission.is_idle());
    }

    #[test]
    fn a_shortage_closes_the_door_until_its_time_or_an_end() {
        let now = crate::sys::now();
        let mut admission = Admission::new(usize::MAX, u64::MAX);
        admission.started(PLAIN);
        admission.started(PLAIN);
        admission.shortage(now);
        assert!(!admission.has_room(PLAIN));
        admission.retry();
        assert!(admission.has_room(PLAIN));
        admission.shortage(now);
        admission.ended(PLAIN);
        assert!(admission.has_room(PLAIN));
    }

    #[test]
    fn who_is_short_waits_for_a_command_to_end_or_a_while_for_the_caller_to_take_one_or_not_at_all()
    {
        let mut admission = Admission::new(usize::MAX, u64::MAX);
        let mut now = crate::sys::now();
        let mut waits = |admission: &mut Admission| {
            let mut waits = 0;
            let mut patience = Patience::default();
            while let Some(until) = admission.wait(&mut patience, now) {
                (waits, now) = (waits + 1, until);
            }
            waits
        };
        assert_eq!(waits(&mut admission), 0);
        admission.started(PLAIN);
        assert_eq!(waits(&mut admission), BACKOFFS_MAX);
        admission.ended(PLAIN);
        admission.keep(2);
        assert_eq!(waits(&mut admission), BACKOFFS_UNTAKEN_MAX);
        assert_eq!(waits(&mut admission), 0, "that was for all of them");
        admission.taken(1);
        assert_eq!(waits(&mut admission), BACKOFFS_UNTAKEN_MAX);
        admission.taken(1);
        assert_eq!(waits(&mut admission), 0);
        assert!(admission.is_idle());
    }

    #[test]
    fn patience_waits_longer_each_time_and_ends_and_tries_between_the_waits_are_for_free() {
        let start = crate::sys::now();
        let mut patience = Patience::default();
        let (mut now, mut last) = (start, Duration::ZERO);
        let mut waits = 0;
        while let Some(until) = patience.wait(BACKOFFS_MAX, now) {
            for _ in 0..100 {
                assert_eq!(
                    patience.wait(BACKOFFS_MAX, now),
                    Some(until),
                    "one ended, and it did not help"
                );
            }
            assert!(until - now >= last, "each wait is longer");
            (now, last) = (until, until - now);
            waits += 1;
            assert!(waits <= BACKOFFS_MAX, "it never ends");
        }
        assert_eq!(waits, BACKOFFS_MAX);
        assert!(now - start > Duration::from_secs(10), "{:?}", now - start);
    }
}
