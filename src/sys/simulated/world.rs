//! The simulated machine: its clock, its agenda, its pipes and processes, and what it has to report.
//! Unaware of the loop that drives it and of the `Kernel` contract.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::attempts::Attempt;
use super::pipe::Pipe;
use super::process::Process;
use super::{Random, Script, Weather};
use crate::sys::clock;
use crate::sys::{Ready, Stream, Tenant};

/// No poll comes more often than this: a turn takes its time.
const POLL_US_MAX: usize = 20;
/// A loop that polls so often in a row, without a need and without an effect, spins.
const IDLE_POLLS_MAX: usize = 4;
/// Nobody waits longer for a processor, however often the loop has something to do.
const LATE_MAX: Duration = Duration::from_millis(1);
/// The first number that descriptors and processes get.
const LOWEST_NUMBER: usize = 3;
/// Longer than any honest simulation.
const WORLD_SECONDS_MAX: u64 = 1_000_000;

mod events;

thread_local! {
    /// The clock of the world that runs on this thread.
    static CLOCK: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// What time it is: in the world that runs on this thread, or outside if none does.
pub(crate) fn now() -> Instant {
    CLOCK.get().unwrap_or_else(clock::now)
}

/// Something that is going to happen.
enum Deed {
    /// A process goes on, unless something else has happened to it meanwhile.
    Step { process: usize, epoch: u64 },
    /// Something outside of the machine: another thread.
    Outside(Box<dyn FnOnce()>),
}

/// Something that a poll reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Pipe(usize),
    Exit(usize),
}

/// What other threads set.
#[derive(Debug, Default)]
pub(super) struct Woken {
    /// The next poll returns.
    pub(super) is_due: AtomicBool,
    /// Something new has come since an outer loop was last woken.
    pub(super) is_edge: AtomicBool,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) weather: Weather,
    start: Instant,
    now: Instant,
    agenda: BTreeMap<(Instant, u64), Deed>,
    next_deed: u64,
    pub(crate) pipes: Vec<Pipe>,
    pub(super) processes: Vec<Process>,
    pub(super) programs: Vec<Rc<Script>>,
    /// What has an edge that was not reported.
    ready: VecDeque<Watched>,
    /// Late events of what is closed.
    stale: Vec<Ready>,
    /// What the next poll alone reports besides, whether it is new or not.
    awaited: Vec<(Watched, Tenant)>,
    /// The last poll had nothing else to return for.
    was_awaited: bool,
    /// How often something was asked to be reported.
    pub(crate) watched: usize,
    /// Which pipe each call has read, in their order, for who wants to know.
    pub(crate) reads: Option<Vec<usize>>,
    /// How often the loop gave way, and how long the others keep the processor then.
    pub(crate) gave_way: usize,
    pub(crate) away: Duration,
    /// Each start that was asked for.
    pub(crate) attempts: Vec<Attempt>,
    /// Children that the loop's caller has let go.
    pub(crate) let_go: Vec<u32>,
    /// When starts and the caller's code have taken time: until when, and how much.
    spends: Vec<(Instant, Duration)>,
    /// Children that have the console and are not reaped.
    pub(crate) consoles: Vec<usize>,
    timer: Option<Instant>,
    /// The last poll left something behind.
    pub(super) is_batch_full: bool,
    pub(super) woken: Arc<Woken>,
    /// Descriptors of ours that are open.
    pub(super) fds: usize,
    pub(super) children_open: usize,
    /// The processes that are children of ours with an open handle.
    pub(super) handles: Vec<usize>,
    /// Our pipes that the loop has not closed, and those among them whose child it has dropped.
    pub(super) open: usize,
    pub(super) kept: usize,
    /// Children that were on their way to their exec when there was one more of them.
    pub(super) under_way: Vec<usize>,
    /// What resumes a command's reader and writers.
    pub(crate) on_resume: Option<Rc<dyn Fn(usize)>>,
    idle_polls: usize,
    /// Something came of the last poll, or of a call since.
    pub(super) was_used: bool,
    /// The driver itself asks for polls that do not sleep.
    pub(crate) is_hurried: bool,
}

impl World {
    pub(crate) fn new(seed: Random, weather: Weather) -> World {
        let start = now();
        CLOCK.set(Some(start));
        World {
            random: seed,
            weather,
            start,
            now: start,
            agenda: BTreeMap::new(),
            next_deed: 0,
            pipes: Vec::new(),
            processes: Vec::new(),
            programs: Vec::new(),
            ready: VecDeque::new(),
            stale: Vec::new(),
            awaited: Vec::new(),
            was_awaited: false,
            watched: 0,
            reads: None,
            gave_way: 0,
            away: Duration::ZERO,
            attempts: Vec::new(),
            let_go: Vec::new(),
            spends: Vec::new(),
            consoles: Vec::new(),
            timer: None,
            is_batch_full: false,
            woken: Arc::default(),
            fds: 0,
            children_open: 0,
            handles: Vec::new(),
            open: 0,
            kept: 0,
            under_way: Vec::new(),
            on_resume: None,
            idle_polls: 0,
            was_used: false,
            is_hurried: false,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Installs a program. Its path names it.
    pub(crate) fn install(&mut self, script: Script) -> String {
        self.programs.push(Rc::new(script));
        format!("/simulated/{}", self.programs.len() - 1)
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    pub(crate) fn program_count(&self) -> usize {
        self.programs.len()
    }

    /// Lets another thread do something, `after` so long.
    pub(crate) fn outside(&mut self, after: Duration, deed: impl FnOnce() + 'static) {
        self.plan(after, Deed::Outside(Box::new(deed)));
    }

    /// Lets a process go on after a while.
    pub(super) fn resume(&mut self, process: usize, after: Duration) {
        let epoch = self.processes[process].next_epoch();
        self.plan(after, Deed::Step { process, epoch });
    }

    fn plan(&mut self, after: Duration, deed: Deed) {
        self.next_deed += 1;
        self.agenda.insert((self.now + after, self.next_deed), deed);
    }

    /// How long a small piece of work takes. Often nothing, so that it can happen within a turn.
    pub(super) fn moment(&mut self) -> Duration {
        if self.random.one_in(2) {
            Duration::ZERO
        } else {
            Duration::from_micros(1 + self.random.below(30) as u64)
        }
    }

    /// Whether one of the weather's things happens now.
    pub(super) fn strikes(&mut self, one_in: usize) -> bool {
        one_in > 0 && self.random.one_in(one_in)
    }

    /// Lets due steps of processes happen within a turn, between two calls.
    pub(super) fn jostle(&mut self) {
        if !self.random.one_in(4) {
            return;
        }
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.now || matches!(entry.get(), Deed::Outside(_)) {
                return;
            }
            if let Deed::Step { process, epoch } = entry.remove() {
                self.step(process, epoch);
            }
        }
    }

    pub(super) fn arm(&mut self, at: Instant) {
        self.timer = Some(at);
        if at <= self.now {
            self.woken.is_edge.store(true, Ordering::Release);
        }
    }

    /// Time passes while the loop is not asked for anything: its caller is busy. Returns what another thread is to do.
    pub(super) fn dawdle(&mut self, until: Instant) -> Option<Box<dyn FnOnce()>> {
        while self.now < until {
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = next.filter(|at| *at <= until) else {
                self.set_clock(until);
                return None;
            };
            self.set_clock(at.max(self.now));
            match self.agenda.pop_first()?.1 {
                Deed::Step { process, epoch } => self.step(process, epoch),
                Deed::Outside(deed) => return Some(deed),
            }
        }
        None
    }

    /// The beginning of a poll: time passes, and whoever only spins is found out.
    pub(super) fn enter_poll(&mut self, timeout: Option<Duration>) {
        let would_sleep = timeout != Some(Duration::ZERO) && !std::mem::take(&mut self.was_awaited);
        let hurried = self.is_hurried || would_sleep;
        self.idle_polls = if self.was_used || hurried {
            0
        } else {
            self.idle_polls + 1
        };
        assert!(
            self.idle_polls <= IDLE_POLLS_MAX || std::thread::panicking(),
            "the loop spins: it polls without sleeping, and nothing comes of it"
        );
        self.was_used = false;
        let cost = 1 + self.random.below(POLL_US_MAX) as u64;
        self.set_clock(self.now + Duration::from_micros(cost));
    }

    /// Time passes in which the loop asks for nothing, and processes go on. What other threads do meanwhile comes late.
    pub(super) fn pass(&mut self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let until = self.now + time;
        self.spends.push((until, time));
        let is_due = |at: Instant, deed: &Deed| at <= until && matches!(deed, Deed::Step { .. });
        while let Some((key, _)) = self.agenda.iter().find(|((at, _), deed)| is_due(*at, deed)) {
            let key = *key;
            self.set_clock(key.0.max(self.now));
            if let Some(Deed::Step { process, epoch }) = self.agenda.remove(&key) {
                self.step(process, epoch);
            }
        }
        self.set_clock(until);
    }

    /// How much of the time since then starts and the caller's code have taken, or more.
    pub(crate) fn spent_since(&self, then: Instant) -> Duration {
        let since = self.spends.iter().rev();
        let since = since.take_while(|(until, _)| *until > then);
        since.map(|(_, time)| *time).sum()
    }

    /// Whether the kernel says, against the truth, that this pipe has nothing or no room. Not twice in a row.
    pub(super) fn lies_of(&mut self, pipe: usize) -> bool {
        let end = &self.pipes[pipe];
        let is_worth_it = end.is_ready();
        let refusals = self.weather.refusals;
        let lies = is_worth_it && !end.has_lied && self.strikes(refusals);
        self.pipes[pipe].has_lied = lies;
        lies
    }

    fn set_clock(&mut self, now: Instant) {
        assert!(
            now - self.start < Duration::from_secs(WORLD_SECONDS_MAX) || std::thread::panicking(),
            "the world has grown too old: something goes on for ever:\n{self:?}"
        );
        if self.timer.is_some_and(|at| self.now < at && at <= now) {
            self.woken.is_edge.store(true, Ordering::Release);
        }
        self.now = now;
        CLOCK.set(Some(now));
    }

    pub(super) fn give_way(&mut self) {
        self.gave_way += 1;
        self.set_clock(self.now + self.away);
        self.jostle();
    }

    /// Does the next thing, not after `until`. Returns what another thread is to do, or `None` when `until` has come.
    ///
    /// # Panics
    /// When nothing is going to happen, ever.
    pub(super) fn advance(&mut self, until: Option<Instant>) -> Option<Box<dyn FnOnce()>> {
        let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let others = [self.timer, until].map(|at| at.filter(|_| !self.is_late()));
        let Some(first) = others.into_iter().flatten().chain(next).min() else {
            panic!("the loop sleeps for ever:\n{self:?}");
        };
        if first > self.now {
            self.set_clock(first);
        }
        if next != Some(first) {
            return None;
        }
        match self.agenda.pop_first()?.1 {
            Deed::Step { process, epoch } => {
                self.step(process, epoch);
                None
            }
            Deed::Outside(deed) => Some(deed),
        }
    }

    /// Somebody has waited for a processor for long enough.
    pub(super) fn is_late(&self) -> bool {
        let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
        next.is_some_and(|at| at + LATE_MAX < self.now)
    }

    /// Whether this much time has passed.
    pub(super) fn has_come(&self, until: Option<Instant>) -> bool {
        until.is_some_and(|until| until <= self.now)
    }

    /// A number for a new descriptor: the lowest that is free.
    pub(super) fn free_descriptor(&self) -> usize {
        let pipes = self.pipes.iter().filter(|pipe| pipe.is_ours_open);
        lowest_free(pipes.map(|pipe| pipe.number).collect())
    }

    /// A number for a new process, which other filters may know as a descriptor.
    pub(super) fn free_pid(&self) -> usize {
        let children = self.children().map(|(_, child)| child);
        let unreaped = children.filter(|child| child.reaped.is_none());
        lowest_free(unreaped.map(|child| child.number).collect())
    }

    /// Whether these are the bytes of a program's output from this place.
    pub(crate) fn is_output(
        &self,
        program: usize,
        stream: Stream,
        from: usize,
        bytes: &[u8],
    ) -> bool {
        self.children().any(|(_, child)| {
            let pipe = child.pipes[stream as usize].filter(|_| child.program == program);
            pipe.is_some_and(|pipe| super::pattern::matches(self.pipes[pipe].key, from, bytes))
        })
    }

    /// Whether the end of this output was found when so much was read of it.
    pub(crate) fn has_ended(&self, program: usize, stream: Stream, read: usize) -> bool {
        self.children().any(|(_, child)| {
            let pipe = child.pipes[stream as usize].filter(|_| child.program == program);
            let pipe = pipe.map(|pipe| &self.pipes[pipe]);
            pipe.is_some_and(|pipe| pipe.was_found_ended && pipe.read == read)
        })
    }

    /// How many children of ours have an open handle.
    pub(crate) fn children_open(&self) -> usize {
        self.children_open
    }

    /// Those: their pids and their programs.
    pub(crate) fn open_children(&self) -> impl Iterator<Item = (u32, usize)> {
        self.handles.iter().map(|process| {
            let child = self.processes[*process].child.as_ref();
            (*process as u32 + 1, child.expect("a child of ours").program)
        })
    }

    pub(crate) fn is_child_open(&self, pid: u32) -> bool {
        self.child(pid).is_some_and(|(child, _)| child.is_open)
    }

    /// Our descriptors that are open, by name.
    pub(crate) fn open_fds(&self) -> Vec<String> {
        let pipes = self.pipes.iter().enumerate();
        let pipes = pipes.filter(|(_, pipe)| pipe.is_ours_open);
        let children = self.processes.iter().enumerate();
        let children = children.filter(|(_, process)| {
            let child = process.child.as_ref();
            child.is_some_and(|child| child.is_open)
        });
        pipes
            .map(|(at, pipe)| format!("pipe {at}: {pipe:?}"))
            .chain(children.map(|(at, child)| format!("child {at}: {child:?}")))
            .collect()
    }
}

fn lowest_free(taken: BTreeSet<usize>) -> usize {
    let mut numbers = LOWEST_NUMBER..;
    let free = numbers.find(|number| !taken.contains(number));
    free.expect("numbers without end")
}

impl Drop for World {
    fn drop(&mut self) {
        CLOCK.set(None);
    }
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("World")
            .field("age", &(self.now - self.start))
            .field("agenda", &self.agenda.len())
            .field("timer", &self.timer.map(|at| at - self.start))
            .field("ready", &self.ready)
            .field("open", &self.open_fds())
            .finish_non_exhaustive()
    }
}
