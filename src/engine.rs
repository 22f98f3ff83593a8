//! The loop: polls the kernel, steps the jobs, performs what they ask for, and frees what is over.
//! Unaware of Linux, of mio and of the public types around it; generic over `sys::Kernel`.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::Admission;
use crate::caller_pipe::CallerPipe;
use crate::deadlines::Deadlines;
use crate::env::Snapshot;
use crate::error::Stream;
use crate::finished::CommandId;
use crate::inbox::Inbox;
use crate::job::{Effect, Event, Streams};
use crate::permits::Sources;
use crate::stream::{OurEnd, Progress};
use crate::sys::{Kernel, Ready, Source, Tenant};
use crate::table::{Table, Wait};
use crate::watches::Watches;

use mail::Replies;

mod callers;
mod effects;
mod finish;
mod mail;
mod reap;
mod shutdown;
#[cfg(any(test, fuzzing))]
pub(crate) mod simulation;
mod start;
mod stop;

/// What the kernel calls the streams 0, 1, 2.
const STREAM_SOURCES: [Source; 3] = [Source::Stdin, Source::Stdout, Source::Stderr];

/// Longer than a short child's whole life, and shorter than the slice of a process that only computes.
const AWAY_MAX: Duration = Duration::from_millis(1);
const HOLD_ON_TURNS: u32 = 1000;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A job's own, or the next try of a busy program.
    Slot(u32),
    /// Ask a child again.
    Ask(u32),
    /// A context's deadline.
    Context(usize),
    /// A context's deadline for a command that does not count the queue.
    Deadline(u32),
    /// Try to admit again.
    Admission,
    /// Look again whether programs are executed.
    Starting,
}

/// A stream that used up its share of a turn.
#[derive(Clone, Copy, Debug)]
struct Leftover {
    tenant: Tenant,
    stream: Stream,
}

/// Owns every child.
#[derive(Debug)]
pub(crate) struct Engine<K: Kernel> {
    kernel: K,
    /// When the present turn polled, or later: when it last did what may take its time, which are starts and the caller's
    /// own code.
    now: Instant,
    table: Table<K>,
    admission: Admission,
    permits: Sources,
    deadlines: Deadlines<Due>,
    admission_due: Option<Instant>,
    /// What the kernel's timer is set to.
    armed: Option<Instant>,
    watches: Watches,
    inbox: Arc<Inbox<K::Waker>>,
    snapshot: Snapshot,
    replies: Replies,
    /// Streams that used up their share of a turn. While there are any, no poll sleeps.
    backlog: VecDeque<Leftover>,
    /// Children that were started since the last turn, in this order, and that the kernel is not asked to announce yet.
    unwatched: Vec<Tenant>,
    /// Children whose program is not known to be executed.
    starting: Vec<Tenant>,
    /// How often they were looked at since the last one began, and when that is due again in an outer loop.
    looks_at_starting: u32,
    starting_due: Option<Instant>,
    /// For so many turns without sleep, nobody else is given the processor.
    turns_to_hold_on: u32,
    /// What the last poll brought and was not served yet.
    ready: VecDeque<Ready>,
    /// The last poll may have left something behind, and the kernel announces that to nobody.
    is_batch_full: bool,
    /// How often the caller's pipes were read or written since the last turn.
    caller_pieces: usize,
    effects: Vec<Effect>,
    scratch: Vec<u8>,
    /// The order in which streams were visited, for tests of fairness.
    #[cfg(test)]
    pub(crate) visited: Vec<(u32, Stream)>,
}

impl<K: Kernel> Engine<K> {
    /// `reactor` marks its ids.
    pub(crate) fn new(kernel: K, admission: Admission, reactor: u32) -> Engine<K> {
        Engine {
            now: kernel.now(),
            inbox: Arc::new(Inbox::new(kernel.waker())),
            kernel,
            table: Table::new(reactor),
            admission,
            permits: Sources::default(),
            deadlines: Deadlines::new(),
            admission_due: None,
            armed: None,
            watches: Watches::default(),
            snapshot: Snapshot::default(),
            replies: Replies::default(),
            backlog: VecDeque::new(),
            unwatched: Vec::new(),
            starting: Vec::new(),
            looks_at_starting: 0,
            starting_due: None,
            turns_to_hold_on: 0,
            ready: VecDeque::new(),
            is_batch_full: false,
            caller_pieces: 0,
            effects: Vec::new(),
            scratch: Vec::new(),
            #[cfg(test)]
            visited: Vec::new(),
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
        self.is_left_over() || self.table.finished() > 0
    }

    /// The next turn begins with something to do.
    fn is_left_over(&self) -> bool {
        !self.backlog.is_empty() || !self.ready.is_empty()
    }

    /// The same for an outer loop, which also sleeps past what the kernel does not know, or has announced once and will
    /// not again: fresh children, events behind a full batch, deadlines that the timer is not set to; and places that
    /// became free between two turns.
    pub(crate) fn is_unannounced(&self) -> bool {
        let is_unknown = !self.unwatched.is_empty() || self.is_batch_full || self.is_timer_late();
        self.is_pending() || is_unknown || self.can_admit()
    }

    fn is_timer_late(&self) -> bool {
        let earliest = self.deadlines.earliest();
        earliest.is_some_and(|earliest| self.armed.is_none_or(|armed| armed > earliest))
    }

    /// Sets the kernel's timer, if it would be late. One that is early only costs a turn, later.
    fn set_timer(&mut self) {
        if self.is_timer_late()
            && let Some(earliest) = self.deadlines.earliest()
            && self.kernel.arm(earliest).is_ok()
        {
            self.armed = Some(earliest);
        }
    }

    /// Tells the kernel what an outer loop will be woken for.
    pub(crate) fn prepare_sleep(&mut self) {
        self.watch_unwatched();
        let again = self.look_again_after().map(|wait| self.kernel.now() + wait);
        if again.is_none() || self.starting_due.is_none() {
            self.deadlines
                .move_to(Due::Starting, self.starting_due, again);
            self.starting_due = again;
        }
        self.set_timer();
    }

    /// One pass: what is over already, a poll of at most `timeout`, what it brought, what was left over, what is due.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.kernel.check_process()?;
        self.take_messages();
        if !self.admission.queue().is_blocked() {
            // What is started now has its time limits from now, however long the caller stayed away.
            self.now = self.kernel.now();
            self.admit();
        }
        self.table.free_vacant();
        self.look_at_starting();
        let is_any_over = self.look_at_unwatched();
        let timeout = if self.is_left_over() {
            self.give_way();
            Some(Duration::ZERO)
        } else if is_any_over {
            Some(Duration::ZERO)
        } else {
            let wait = self.look_again_after();
            self.looks_at_starting += 1;
            let timeout = [timeout, wait].into_iter().flatten().min();
            self.arm(timeout)
        };
        let polled = self.kernel.poll(timeout, &mut self.ready);
        // What a poll that failed would have brought is behind it, too.
        self.is_batch_full = *polled.as_ref().unwrap_or(&true);
        self.caller_pieces = 0;
        self.now = self.kernel.now();
        if self.armed.is_some_and(|armed| armed <= self.now) {
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
        self.admit();
        self.table.free_vacant();
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
        let Some(earliest) = self.deadlines.earliest().filter(|_| self.is_timer_late()) else {
            return timeout;
        };
        let left = earliest.saturating_duration_since(self.kernel.now());
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }

    fn serve(&mut self, event: Ready) {
        if !self.table.is_tenant(event.tenant) {
            return;
        }
        let slot = event.tenant.slot;
        let stream = match event.source {
            Source::Exit => return self.reap(slot),
            Source::Stdin => Stream::Stdin,
            Source::Stdout => Stream::Stdout,
            Source::Stderr => Stream::Stderr,
        };
        let Some(end) = self.table.end(slot, stream) else {
            return;
        };
        if event.hung_up {
            end.note_hang_up();
        }
        match end {
            OurEnd::Caller(CallerPipe::Open { ready, .. }) => *ready = true,
            // It is in the list of visits, and has its turn when that is gone through.
            end if end.is_listed() => {}
            _ => self.visit(slot, stream),
        }
    }

    /// Visits a stream that had used up its share.
    fn revisit(&mut self, leftover: Leftover) {
        if self.table.is_tenant(leftover.tenant) {
            self.visit(leftover.tenant.slot, leftover.stream);
        }
    }

    /// Visits every copied stream that does not have its turn anyway.
    fn visit_all(&mut self, slot: u32) {
        for stream in Streams::ALL {
            let end = self.table.end(slot, stream);
            if end.is_some_and(|end| !end.is_listed()) {
                self.visit(slot, stream);
            }
        }
    }

    /// Moves what the budget allows, and tells the job what came of it.
    fn visit(&mut self, slot: u32, stream: Stream) {
        let Some(running) = self.table.running(slot) else {
            return;
        };
        if running.start.is_some() {
            return running.missed.insert(stream);
        }
        let end = &mut running.ends[stream as usize];
        let (progress, read) = match end {
            OurEnd::Fill(fill) => (fill.fill(&mut self.kernel), 0),
            OurEnd::Drain(drain) => drain.drain(&mut self.kernel, &mut self.scratch),
            _ => return,
        };
        if end.runs_callbacks() {
            self.now = self.kernel.now();
        }
        #[cfg(test)]
        self.visited.push((slot, stream));
        match progress {
            Progress::Idle => {}
            // The canary: a broken build, which the simulation has to find out.
            Progress::More if cfg!(execloop_canary) && slot % 4 == 1 => {}
            Progress::More => {
                let tenant = self.table.tenant(slot);
                self.backlog.push_back(Leftover { tenant, stream });
            }
            Progress::Ended(result) => {
                let result = result.and(self.close_end(slot, stream));
                return self.step(slot, Event::StreamEnded(stream, result));
            }
        }
        if read > 0 {
            self.note_output(slot);
        }
    }

    /// Only an idle timeout wants to know.
    fn note_output(&mut self, slot: u32) {
        if let Some(running) = self.table.running(slot)
            && running.job.minds_silence()
        {
            self.step(slot, Event::Output);
        }
    }

    /// Closes the pipe of a copied stream, and keeps what was collected. The error is that of a caller's own drop.
    fn close_end(&mut self, slot: u32, stream: Stream) -> io::Result<()> {
        let Some(running) = self.table.running(slot) else {
            return Ok(());
        };
        let end = &mut running.ends[stream as usize];
        let (pipe, collected, dropped) = match std::mem::replace(end, OurEnd::Absent) {
            OurEnd::Fill(fill) => {
                let (pipe, dropped) = fill.into_parts();
                (pipe, None, dropped)
            }
            OurEnd::Drain(drain) => drain.into_parts(),
            other => {
                *end = other;
                return Ok(());
            }
        };
        self.kernel.close(pipe);
        if let Some(collected) = collected {
            *end = OurEnd::Collected(collected);
        }
        dropped
    }

    /// Steps a job, performs its effects in order with their answers, and puts its deadline in place.
    fn step(&mut self, slot: u32, event: Event) {
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        self.tell(slot, event, &mut effects);
        let mut next = 0;
        while let Some(effect) = effects.get(next).copied() {
            next += 1;
            self.perform(slot, effect, &mut effects);
        }
        self.effects = effects;
        if let Some(running) = self.table.begun(slot) {
            let wake_at = running.job.wake_at().filter(|_| !running.is_detached);
            self.arm_slot(slot, wake_at);
        }
    }

    fn tell(&mut self, slot: u32, event: Event, effects: &mut Vec<Effect>) {
        let now = self.now;
        if let Some(running) = self.table.begun(slot) {
            running.job.step(event, now, effects);
        }
    }

    fn move_deadline(&mut self, slot: u32, at: Option<Instant>) {
        let armed = self.table.deadline(slot);
        let before = std::mem::replace(armed, at);
        self.deadlines.move_to(Due::Deadline(slot), before, at);
    }

    fn arm_slot(&mut self, slot: u32, at: Option<Instant>) {
        let armed = self.table.armed(slot);
        if *armed != at {
            self.deadlines.move_to(Due::Slot(slot), *armed, at);
            *armed = at;
        }
    }

    /// Acts on the deadlines that have come.
    fn expire(&mut self) {
        while let Some((_, due)) = self.deadlines.pop_due(self.now) {
            match due {
                Due::Slot(slot) => {
                    *self.table.armed(slot) = None;
                    if let Some((_, Wait::TextBusy)) = self.table.unstarted(slot) {
                        self.retry_text_busy(slot);
                    } else {
                        self.look_before_limit(slot);
                        self.step(slot, Event::Tick);
                    }
                }
                Due::Ask(slot) => self.ask(slot),
                Due::Context(key) => self.context_done(key),
                Due::Deadline(slot) => self.deadline_came(slot),
                Due::Admission => {
                    self.admission_due = None;
                    self.admission.retry();
                    self.permits.retry();
                }
                Due::Starting => self.starting_due = None,
            }
        }
    }

    /// The process of a command that was started and is not finished.
    pub(crate) fn child(&self, id: CommandId) -> Option<&K::Child> {
        self.table.child(id)
    }

    /// It is one of this reactor's commands, and was not handed out.
    pub(crate) fn knows(&self, id: CommandId) -> bool {
        self.table.knows(id)
    }
}
