//! The loop, one turn at a time: starts what waits, polls the kernel, has served what came and what is due, frees what is
//! over. The parts of a turn are in `engine/`.
//! Unaware of Linux, of mio and of the public types around it; generic over `sys::Kernel`.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::Admission;
use crate::deadlines::Deadlines;
use crate::env::Snapshot;
use crate::finished::CommandId;
use crate::inbox::{Inbox, Message};
use crate::job::{Effect, Event};
use crate::loop_clock::LoopClock;
use crate::observer::{Observer, Stats};
use crate::permits::Sources;
use crate::running::AwaitsExec;
use crate::sys::{Kernel, Ready, Stream, Tenant};
use crate::table::{Table, Wait};
use crate::watches::Watches;

use aside::Asides;
pub(crate) use callers::Patience;
use ready::Readiness;
use reap::Unwatched;

mod aside;
mod callers;
mod effects;
mod executed;
mod finish;
mod leak;
mod look;
mod mail;
mod observe;
mod ready;
mod reap;
mod serve;
mod shutdown;
#[cfg(any(test, fuzzing))]
pub(crate) mod simulation;
mod start;
mod stop;
mod suspend;
mod terminals;

/// If `sched_yield` takes longer than this, others are computing: the loop does not yield again for `HOLD_ON_TURNS` turns. It
/// is longer than a short child's whole life, and shorter than the slice of a process that only computes.
const AWAY_MAX: Duration = Duration::from_millis(1);
const HOLD_ON_TURNS: u32 = 1000;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A job's own, or the next try of a busy program.
    Slot(u32),
    /// A context's deadline.
    Context(usize),
    /// A context's deadline for a command that does not count the queue.
    Deadline(u32),
    /// A command still runs.
    Slow(u32),
}

/// What is to be looked at again, also while the loop is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    /// Ask a child.
    Ask(u32),
    /// The caller wants a turn to return.
    Wake,
}

/// A stream that used up its share of a turn.
#[derive(Clone, Copy, Debug)]
struct Leftover {
    tenant: Tenant,
    stream: Stream,
}

/// What others send, and the queue's starts, get no more of a turn than this each, so that what runs has its limits in time.
const SHARE_OF_TURN_MAX: Duration = Duration::from_millis(5);

/// Owns every child.
#[derive(Debug)]
pub(crate) struct Engine<K: Kernel> {
    kernel: K,
    /// As of when the present turn polled, or later: when it last did what may take its time, which are starts and the
    /// caller's own code.
    clock: LoopClock,
    table: Table<K>,
    admission: Admission,
    permits: Sources,
    /// Nothing starts while a finished command was not taken.
    takes_before_start: bool,
    /// Limits, in the loop's time.
    deadlines: Deadlines<Due>,
    /// What is looked at again, in the system's time, as are the two below, of which there is one each.
    looks: Deadlines<Look>,
    /// When to admit from the queue again.
    admission_due: Option<Instant>,
    /// When to look again whether programs are executed, where no poll bounds that sleep.
    starting_due: Option<Instant>,
    /// What the kernel's timer is set to.
    armed: Option<Instant>,
    watches: Watches,
    inbox: Arc<Inbox<K::Waker>>,
    /// Messages that were taken out of the inbox, and not acted on yet.
    mail: VecDeque<Message>,
    /// There was no time for all who may start.
    is_cut_short: bool,
    snapshot: Snapshot,
    asides: Asides,
    readiness: Readiness,
    /// Commands that still run after a while, of which the caller has not heard: since when, and their slots.
    slow: BTreeSet<(Instant, u32)>,
    observer: Option<Box<dyn Observer>>,
    stats: Stats,
    /// Streams that used up their share of a turn. While there are any, no poll sleeps.
    backlog: VecDeque<Leftover>,
    /// Children that the kernel is not asked to announce yet: each poll awaits them.
    unwatched: VecDeque<Unwatched>,
    /// Children whose program is not known to be executed.
    starting: Vec<Tenant>,
    /// The most urgent reason to learn that one of them has executed.
    awaits_exec: Option<AwaitsExec>,
    /// How often they were looked at since the last one began.
    looks_at_starting: u32,
    /// How often the queue's head was put off since the last start, as too many were under way.
    starts_put_off: u32,
    /// For so many turns without sleep, no other process is given the processor.
    turns_to_hold_on: u32,
    /// What the last poll brought and was not served yet.
    ready: VecDeque<Ready>,
    /// The last poll may have left events behind, which the kernel does not announce again.
    is_batch_full: bool,
    /// How often the caller's pipes were read or written since the last turn.
    caller_pieces: usize,
    effects: Vec<Effect>,
    scratch: Vec<u8>,
}

impl<K: Kernel> Engine<K> {
    /// `reactor` marks its ids.
    pub(crate) fn new(kernel: K, admission: Admission, reactor: u32) -> Engine<K> {
        Engine {
            clock: LoopClock::new(kernel.now()),
            inbox: Arc::new(Inbox::new(kernel.waker())),
            mail: VecDeque::new(),
            is_cut_short: false,
            kernel,
            table: Table::new(reactor),
            admission,
            permits: Sources::default(),
            takes_before_start: false,
            deadlines: Deadlines::new(),
            looks: Deadlines::new(),
            admission_due: None,
            armed: None,
            watches: Watches::default(),
            snapshot: Snapshot::default(),
            asides: Asides::default(),
            readiness: Readiness::default(),
            slow: BTreeSet::new(),
            observer: None,
            stats: Stats::default(),
            backlog: VecDeque::new(),
            unwatched: VecDeque::new(),
            starting: Vec::new(),
            awaits_exec: None,
            looks_at_starting: 0,
            starts_put_off: 0,
            starting_due: None,
            turns_to_hold_on: 0,
            ready: VecDeque::new(),
            is_batch_full: false,
            caller_pieces: 0,
            effects: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(crate) fn kernel(&self) -> &K {
        &self.kernel
    }

    /// What marks its ids.
    pub(crate) fn reactor(&self) -> u32 {
        self.table.reactor()
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox<K::Waker>> {
        &self.inbox
    }

    /// Commands that are queued, running or finished and not handed out.
    pub(crate) fn len(&self) -> usize {
        self.unfinished() + self.table.finished()
    }

    /// Commands started and not finished.
    pub(crate) fn running(&self) -> usize {
        self.admission.running()
    }

    /// Commands that wait for their start.
    pub(crate) fn queued(&self) -> usize {
        self.table.waiting()
    }

    /// Commands that will still finish.
    pub(crate) fn unfinished(&self) -> usize {
        self.table.waiting() + self.running()
    }

    /// There is something to do, or to take, without an event.
    pub(crate) fn is_pending(&self) -> bool {
        self.is_left_over() || (self.table.finished() > 0 && self.first_read().is_some())
    }

    /// The next turn begins with something to do.
    fn is_left_over(&self) -> bool {
        let has_events = !self.backlog.is_empty() || !self.ready.is_empty();
        has_events || !self.mail.is_empty() || self.is_cut_short
    }

    /// The next turn has something to do, or the caller to take: also events behind a full batch, which are not announced
    /// again, and places that became free between two turns.
    pub(crate) fn has_more(&self) -> bool {
        let is_any_noted = self.readiness.is_any_noted() || !self.slow.is_empty();
        self.is_pending() || self.is_batch_full || is_any_noted || self.can_admit()
    }

    /// The same for an outer loop, which also sleeps past what the kernel was not told: children that nothing announces, and
    /// deadlines that the timer is not set to.
    pub(crate) fn is_unannounced(&self) -> bool {
        self.has_more() || !self.unwatched.is_empty() || self.is_timer_late()
    }

    /// The next time at which something is due.
    fn earliest(&self) -> Option<Instant> {
        let limit = self.deadlines.earliest();
        let limit = limit.and_then(|at| self.clock.real_of(at));
        let look = self.looks.earliest();
        let times = [limit, look, self.admission_due, self.starting_due];
        times.into_iter().flatten().min()
    }

    fn is_timer_late(&self) -> bool {
        let earliest = self.earliest();
        earliest.is_some_and(|earliest| self.armed.is_none_or(|armed| armed > earliest))
    }

    /// When there is something to do, if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let limit = self.deadlines.earliest();
        let limit = limit.and_then(|at| self.clock.real_of(at));
        let times = [limit, self.looks.earliest(), self.admission_due];
        times.into_iter().flatten().min()
    }

    /// Some turn returns at this time.
    pub(crate) fn wake_at(&mut self, at: Instant) {
        self.looks.discard(Look::Wake, at);
        self.looks.move_to(Look::Wake, None, Some(at));
    }

    /// Sets the kernel's timer, if it would be late. One that is early only costs a turn, later.
    fn set_timer(&mut self) {
        if self.is_timer_late()
            && let Some(earliest) = self.earliest()
            && self.kernel.arm(earliest).is_ok()
        {
            self.armed = Some(earliest);
        }
    }

    /// Tells the kernel what an outer loop will be woken for.
    pub(crate) fn prepare_sleep(&mut self) {
        self.watch_unwatched();
        self.time_look(self.look_again_after());
        self.set_timer();
    }

    /// So much waits for the caller: finished commands, and pipes that are worth another try.
    fn to_take(&self) -> usize {
        self.table.finished() + self.readiness.noted() + self.slow.len()
    }

    /// One pass: what is over already, a poll of at most `timeout`, what it brought, what was left over, what is due.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.kernel.check_process()?;
        let begun = self.kernel.now();
        // What is started now has its time limits from now, however long the caller stayed away.
        self.clock.read(begun);
        let (to_take, finished) = (self.to_take(), self.stats.finished);
        self.take_messages();
        self.is_cut_short = false;
        // Where others have a say, their descriptor tells when to ask them again.
        if !self.admission.queue().is_blocked() && !self.permits.is_refused() {
            self.admit_within(SHARE_OF_TURN_MAX);
        }
        self.table.free_vacant();
        self.look_at_starting();
        self.await_unwatched();
        let timeout = if self.is_left_over() {
            self.give_way();
            Some(Duration::ZERO)
        } else if self.to_take() > to_take || self.stats.finished > finished {
            // No event will announce what was found out just now, also where a reply has taken it.
            Some(Duration::ZERO)
        } else {
            let wait = self.sleep_until_look();
            let timeout = [timeout, wait].into_iter().flatten().min();
            self.arm(timeout)
        };
        let before = self.kernel.now().saturating_duration_since(begun);
        let polled = self.kernel.poll(timeout, &mut self.ready);
        // What a poll that failed would have brought is behind it, too.
        self.is_batch_full = *polled.as_ref().unwrap_or(&true);
        self.caller_pieces = 0;
        self.clock.read(self.kernel.now());
        let awake = self.clock.real();
        if self.armed.is_some_and(|armed| armed <= self.clock.real()) {
            self.armed = None;
        }
        self.look_at_starting();
        let listed = self.backlog.len();
        // One by one out of the lists: should anything panic, the rest is there for the next turn.
        while let Some(event) = self.ready.pop_front() {
            self.serve(event);
        }
        for _ in 0..listed {
            if let Some(leftover) = self.backlog.pop_front() {
                self.revisit(leftover);
            }
        }
        self.take_messages();
        self.expire();
        self.admit_within(SHARE_OF_TURN_MAX);
        self.table.free_vacant();
        debug_assert!(
            !self.admission.is_overdue(self.clock.real()),
            "the kernel is not asked again"
        );
        debug_assert!(
            !self.table.is_empty() || (self.admission.is_idle() && self.watches.is_empty()),
            "nothing is known, but counted: {:?} {:?}",
            self.admission,
            self.watches
        );
        self.stats.turns += 1;
        let took = before + self.kernel.now().saturating_duration_since(awake);
        self.stats.turn_max = self.stats.turn_max.max(took);
        polled.map(drop)
    }

    /// A loop that does not sleep keeps a processor from the very children that it waits for, and reads from its writers
    /// in small pieces. Where others have so much to do that it would not get the processor back soon, it holds on to
    /// it for a while.
    fn give_way(&mut self) {
        if self.turns_to_hold_on > 0 {
            self.turns_to_hold_on -= 1;
            return;
        }
        let before = self.kernel.now();
        self.kernel.give_way();
        if self.kernel.now() - before > AWAY_MAX {
            self.turns_to_hold_on = HOLD_ON_TURNS;
        }
    }

    /// Sets the timer. Where the kernel refuses, the poll itself is bounded.
    fn arm(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        self.set_timer();
        let Some(earliest) = self.earliest().filter(|_| self.is_timer_late()) else {
            return timeout;
        };
        let left = earliest.saturating_duration_since(self.kernel.now());
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }

    /// Acts on the deadlines that have come.
    fn expire(&mut self) {
        let mut put_off = Vec::new();
        while let Some((at, due)) = self.deadlines.pop_due(self.clock.now()) {
            match due {
                // However long this turn takes, a writer that has refused may be resumed before its pipe is cut.
                Due::Slot(slot) if self.exit_is_new_for(slot, at) => {
                    *self.table.armed(slot) = None;
                    put_off.push((self.table.tenant(slot), None));
                }
                Due::Deadline(slot) if self.exit_is_new_for(slot, at) => {
                    *self.table.deadline(slot) = None;
                    put_off.push((self.table.tenant(slot), Some(at)));
                }
                Due::Slot(slot) => {
                    *self.table.armed(slot) = None;
                    if let Some((_, Wait::TextBusy)) = self.table.unstarted(slot) {
                        self.retry_text_busy(slot);
                    } else {
                        self.look_before_limit(slot);
                        self.step(slot, Event::Tick);
                    }
                }
                Due::Context(key) => self.context_done(key),
                Due::Deadline(slot) => self.deadline_came(slot),
                Due::Slow(slot) => self.notice_slow(slot),
            }
        }
        for (tenant, deadline) in put_off {
            // Something else that was due may have ended it meanwhile.
            if !self.table.is_tenant(tenant) {
                continue;
            }
            match deadline {
                None => self.arm_job(tenant.slot),
                Some(_) => self.move_deadline(tenant.slot, deadline),
            }
        }
        while let Some((_, look)) = self.looks.pop_due(self.clock.real()) {
            match look {
                Look::Ask(slot) => self.ask(slot),
                Look::Wake => self.readiness.note_unwatched(),
            }
        }
        let is_due = |at: &mut Instant| *at <= self.clock.real();
        self.starting_due.take_if(is_due);
        if self.admission_due.take_if(is_due).is_some() {
            self.admission.retry();
            self.permits.retry();
        }
    }

    /// The process of a command that was started and is not finished.
    pub(crate) fn child(&self, id: CommandId) -> Option<&K::Child> {
        self.table.child(id)
    }

    /// The command is one of this reactor's, and was not handed out.
    pub(crate) fn knows(&self, id: CommandId) -> bool {
        self.table.knows(id)
    }
}
