//! Starting commands: from the queue until the process is made, and again where the kernel was short of something or the
//! program's file was busy. Unaware of how commands end.
//!
//! There is one way to start: who is next, by the queue's rules, is launched; where nobody waits, that is who came just now.
//! And there is one way to fail: whatever needs the kernel is reported by a `Finished`, also where it is found out at once.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Due, Engine};
use crate::command::{Command, Retry, Spec};
use crate::context::Context;
use crate::diagnose::explain;
use crate::error::StartError;
use crate::finished::CommandId;
use crate::guard::drop_callers;
use crate::job::{Job, Streams};
use crate::permits::{Permit, Permits};
use crate::queue::Pool;
use crate::running::Running;
use crate::stdio::Duties;
use crate::stream::OurEnd;
use crate::sys::{Kernel, StartFailure, Started, Stdio, Stream};
use crate::table::Wait;

/// A busy program is tried again after 1, 2, 4 .. 64 milliseconds.
const TEXT_BUSY_TRIES_MAX: u32 = 7;

/// While as many starts are under way as there may be, the queue's head is tried again after this, doubled each time up to
/// the maximum.
const START_AGAIN_MIN: Duration = Duration::from_micros(200);
const START_AGAIN_MAX: Duration = Duration::from_millis(64);

const CONSOLE_AND_POOL: StartError = StartError::Refused("the console is a pool of its own");
const NO_POOL: StartError = StartError::Refused("the reactor has no pool of that name");

/// What a failed start means to its command.
enum Refusal {
    /// Others may give back what the kernel is short of. Until then, or until this time, it stays at the queue's head.
    Shortage(Instant),
    /// It is to be tried again at this time: the program's file is busy until then, or another way is to be gone.
    Later(Instant),
    /// The start is not tried again.
    Final,
}

impl<K: Kernel> Engine<K> {
    /// Starts a command, or queues it.
    ///
    /// # Errors
    /// What is wrong with the command itself.
    pub(crate) fn start(&mut self, command: &mut Command) -> Result<CommandId, StartError> {
        self.kernel
            .check_process()
            .map_err(|_| StartError::Forked)?;
        self.clock.read(self.kernel.now());
        self.table.free_vacant();
        let spec = self.spec(command)?;
        let number = self.inbox.take_number();
        self.asides.keep_data(number, command.take_data());
        self.enqueue(number, spec);
        Ok(self.table.id(number))
    }

    /// The same for a caller who wants to hear of every failure by a `Finished`.
    pub(crate) fn submit(&mut self, command: Box<Command>) -> CommandId {
        let number = self.inbox.take_number();
        self.clock.read(self.kernel.now());
        self.table.free_vacant();
        self.start_sent(number, command);
        self.table.id(number)
    }

    /// Starts a command whose failures all arrive as a `Finished`.
    pub(super) fn start_sent(&mut self, number: u64, mut command: Box<Command>) {
        let checked = self.kernel.check_process();
        let spec = checked
            .map_err(|_| StartError::Forked)
            .and_then(|()| self.spec(&mut command));
        self.asides.keep_data(number, command.take_data());
        let lends = command.lends();
        drop_callers("command", command);
        match spec {
            Ok(spec) => self.enqueue(number, spec),
            Err(error) => self.keep_unstarted(self.table.id(number), lends, error),
        }
    }

    fn spec(&mut self, command: &mut Command) -> Result<Box<Spec>, StartError> {
        self.refuse_too_many()?;
        let pool = match command.pool_name() {
            Some(_) if command.has_console() => return Err(CONSOLE_AND_POOL),
            Some(name) => self.admission.queue().pool(name).ok_or(NO_POOL)?,
            None if command.has_console() => Pool::CONSOLE,
            None => Pool::COMMON,
        };
        let mut spec = command.spec(&mut self.snapshot)?;
        spec.cost.pool = pool;
        if !command.counts_queue()
            && let Some(deadline) = spec.context.as_ref().and_then(Context::deadline)
        {
            spec.left = Some(deadline.saturating_duration_since(self.clock.real()));
        }
        Ok(spec)
    }

    fn refuse_too_many(&self) -> Result<(), StartError> {
        if self.table.is_full() {
            Err(StartError::Refused("the queue is full"))
        } else {
            Ok(())
        }
    }

    fn enqueue(&mut self, number: u64, mut spec: Box<Spec>) {
        let context = spec.context.take();
        let (priority, cost) = (spec.priority, spec.cost);
        let slot = self.table.wait(number, spec);
        if let Some(context) = context {
            let clock = self.clock;
            let in_loop = |deadline| clock.of_real(deadline);
            let (membership, deadline) = self.watches.add(&context, slot, &self.inbox, in_loop);
            if deadline.is_some() {
                let due = Due::Context(membership.key);
                self.deadlines.move_to(due, None, deadline);
            }
            *self.table.membership(slot) = Some(membership);
        }
        let id = self.table.id(number);
        self.tell_observer(|observer, at| observer.queued(id, at));
        let is_next = self.admission.queue().is_next(cost.pool, cost.weight);
        // Where nobody waits, a place in the queue would only be taken and left again.
        if is_next && self.may_launch(slot) && self.launch(slot) {
            return;
        }
        let ticket = self.admission.enqueue(slot, priority, cost);
        self.table.set_ticket(slot, ticket);
        if !is_next {
            self.admit();
        }
    }

    /// Puts a command, which has waited already, before all of its priority.
    fn enqueue_first(&mut self, slot: u32) {
        if let Some(spec) = self.table.spec(slot) {
            let (priority, cost) = (spec.priority, spec.cost);
            let ticket = self.admission.enqueue_first(slot, priority, cost);
            self.table.set_ticket(slot, ticket);
        }
    }

    /// From here on no command starts without this one's word.
    ///
    /// # Errors
    /// When the kernel cannot watch its descriptor.
    pub(crate) fn add_permits(&mut self, source: Box<dyn Permits>) -> io::Result<()> {
        if let Some(fd) = source.descriptor() {
            self.kernel.watch_other(fd)?;
        }
        self.permits.add(source);
        Ok(())
    }

    /// From here on at most so many run at once. Those that run go on.
    pub(crate) fn set_running_max(&mut self, running_max: usize) {
        self.admission.set_running_max(running_max);
        self.admit_now();
    }

    /// Makes a pool, or gives one another depth.
    pub(crate) fn set_pool(&mut self, name: &str, depth: usize) {
        self.admission.set_pool(name, depth);
        self.admit_now();
    }

    fn admit_now(&mut self) {
        if self.kernel.check_process().is_ok() {
            self.clock.read(self.kernel.now());
            self.admit();
        }
    }

    /// From here on nobody starts while the caller has not taken all that is finished.
    pub(crate) fn take_before_start(&mut self) {
        self.takes_before_start = true;
    }

    fn waits_for_caller(&self) -> bool {
        self.takes_before_start && self.table.finished() > 0
    }

    /// The next turn would begin with a start from the queue.
    pub(super) fn can_admit(&self) -> bool {
        if self.clock.is_stopped() || self.waits_for_caller() {
            return false;
        }
        let next = self.admission.queue().front();
        next.and_then(|slot| self.table.spec(slot))
            .is_some_and(|spec| {
                self.admission.has_room(spec.cost)
                    && self.kernel.can_start(&spec.launch)
                    && !self.permits.is_refused()
            })
    }

    /// Starts as many from the queue as there is room for.
    pub(super) fn admit(&mut self) {
        self.admit_within(Duration::MAX);
    }

    /// The same, as long as there is time.
    pub(super) fn admit_within(&mut self, time: Duration) {
        let begin = self.clock.real();
        while let Some(slot) = self.admission.queue().front() {
            if self.clock.real().saturating_duration_since(begin) > time {
                self.is_cut_short = true;
                return;
            }
            if !self.may_launch(slot) {
                return;
            }
            let ticket = self.table.take_ticket(slot);
            self.clock.read(self.kernel.now());
            let is_done = self.launch(slot);
            match ticket {
                Some(ticket) if is_done => self.admission.leave(ticket),
                Some(ticket) => return self.table.set_ticket(slot, ticket),
                None => debug_assert!(false, "a command waits in the queue without a place"),
            }
        }
    }

    /// Whether there is room for the one that is next. Where only a time makes some, it is tried again then.
    fn may_launch(&mut self, slot: u32) -> bool {
        let Some(spec) = self.table.spec(slot) else {
            debug_assert!(false, "a command is next that is not there");
            return false;
        };
        let has_room = self.admission.has_room(spec.cost);
        if !has_room || self.clock.is_stopped() || self.waits_for_caller() {
            return false;
        }
        if !self.kernel.can_start(&spec.launch) {
            // The others' execs are waited for here, not in the kernel.
            self.start_later();
            return false;
        }
        let running = self.admission.running();
        match self.permits.take(running, self.clock.real()) {
            Permit::Granted => true,
            Permit::Announced => false,
            Permit::Until(again) => {
                self.admission_due = Some(again);
                false
            }
        }
    }

    /// The queue's head is tried again by timer. What else wakes the loop meanwhile puts that off no further.
    fn start_later(&mut self) {
        let now = self.kernel.now();
        let wait = START_AGAIN_MIN * (1 << self.starts_put_off.min(16));
        let at = now + wait.min(START_AGAIN_MAX);
        if self.admission_due.is_none_or(|due| due <= now || due > at) {
            self.starts_put_off += 1;
            self.admission_due = Some(at);
        }
    }

    /// Makes the process of the queue's head, now, as the clock was just read. `false`: it stays there.
    fn launch(&mut self, slot: u32) -> bool {
        let mut spec = self.table.take_waiting(slot);
        // Its child may run, and end, before the call returns.
        let began = self.clock.real();
        let started = self.kernel.start(&mut spec.launch);
        // A start takes its time, which is not the command's.
        self.clock.read(self.kernel.now());
        match started {
            Ok(started) => {
                self.run(slot, spec, started, began);
                true
            }
            Err(failure) => {
                self.permits.withdraw();
                self.refused(slot, spec, failure)
            }
        }
    }

    /// A start has failed. `false`: it is to be tried again from the queue's head.
    fn refused(&mut self, slot: u32, mut spec: Box<Spec>, failure: StartFailure) -> bool {
        match self.refusal(&failure, &mut spec.retry) {
            Refusal::Shortage(at) => {
                self.stats.starts_retried += 1;
                self.table.wait_again(slot, spec, Wait::Queue);
                self.admission.shortage(at);
                self.admission_due = Some(at);
                return false;
            }
            Refusal::Later(at) => {
                self.stats.starts_retried += 1;
                self.table.wait_again(slot, spec, Wait::TextBusy);
                self.arm_slot(slot, Some(at));
            }
            Refusal::Final => {
                self.stats.starts_refused += 1;
                let error = explain(failure, &spec.launch.program, &spec.launch.environment);
                spec.drop_apart();
                self.finish_unstarted(slot, error);
            }
        }
        true
    }

    fn refusal(&mut self, failure: &StartFailure, retry: &mut Retry) -> Refusal {
        let now = self.clock.real();
        if failure.is_shortage()
            && let Some(at) = self.admission.wait(&mut retry.patience, now)
        {
            return Refusal::Shortage(at);
        }
        let may_retry = retry.retries_text_busy && retry.text_busy_tries < TEXT_BUSY_TRIES_MAX;
        if failure.is_text_busy() && may_retry {
            let wait = Duration::from_millis(1 << retry.text_busy_tries);
            retry.text_busy_tries += 1;
            return Refusal::Later(self.clock.now() + wait);
        }
        if failure.has_another_way {
            return Refusal::Later(self.clock.now());
        }
        Refusal::Final
    }

    /// The time to try a busy program again has come. It was before all that wait now.
    pub(super) fn retry_text_busy(&mut self, slot: u32) {
        let spec = self.table.take_waiting(slot);
        self.table.wait_again(slot, spec, Wait::Queue);
        self.enqueue_first(slot);
        self.admit();
    }

    /// The process is made: from here on its time counts, although its program may not be executed yet.
    fn run(&mut self, slot: u32, mut spec: Box<Spec>, started: Started<K>, began: Instant) {
        let attributes = &spec.launch.program.attributes;
        let (leads_group, has_console) = (attributes.leads_group(), attributes.console);
        let stdin = &spec.launch.stdio[Stream::Stdin as usize];
        let is_typed = matches!(stdin, Stdio::TerminalOfStdout);
        let pid = K::pid(&started.child);
        let [stdin, stdout, stderr] = started.pipes;
        let duties = std::mem::take(&mut spec.duties);
        let id = self.table.id_of(slot);
        let streams = [
            OurEnd::of_input(stdin, duties.stdin),
            OurEnd::of_output(stdout, duties.stdout, (id, Stream::Stdout)),
            OurEnd::of_output(stderr, duties.stderr, (id, Stream::Stderr)),
        ];
        let mut copied = Streams::default();
        for stream in Stream::ALL {
            if streams[stream as usize].is_copied() {
                copied.insert(stream);
            }
        }
        let lends = streams.iter().any(OurEnd::is_callers);
        let (cost, left, closed) = (spec.cost, spec.left, spec.closed);
        let running = Box::new(Running {
            job: Job::new(Arc::clone(&spec.policy), copied, lends, self.clock.now()),
            child: Some(started.child),
            streams,
            cancel: Arc::clone(&spec.cancel),
            leads_group,
            missed: Streams::default(),
            is_detached: false,
            is_typed,
            has_console,
            survives: spec.survives,
            start: Some(spec),
            is_cancelled: false,
            heard: Streams::default(),
            slow_at: None,
            noted_slow: None,
            holders: Vec::new(),
            output_bytes: 0,
            is_watched: false,
            has_paused: false,
            is_announced: false,
            asked: 0,
            ask_at: None,
            cost,
            kept: 0,
            started: began,
            reaped: None,
        });
        let (awaits_exec, wake_at) = (running.awaits_exec(), running.job.wake_at());
        self.admission.started(cost);
        self.stats.started += 1;
        self.table.run(slot, running);
        self.tell_observer(|observer, at| observer.started(id, pid, at));
        self.arm_slot(slot, wake_at);
        self.notice_slow_later(slot);
        let deadline = left.and_then(|left| self.clock.now().checked_add(left));
        self.move_deadline(slot, deadline);
        for stream in closed.iter() {
            self.close_callers_pipe_now(id, stream);
        }
        self.keep_unwatched(slot);
        self.looks_at_starting = 0;
        self.starts_put_off = 0;
        if awaits_exec.is_none() || self.is_starting(slot) {
            self.starting.push(self.table.tenant(slot));
        }
    }

    /// A child has ended before its program was executed, and has said why.
    pub(super) fn start_failed(&mut self, slot: u32, failure: StartFailure) {
        self.stop_asking(slot);
        self.stop_noticing(slot);
        self.arm_slot(slot, None);
        self.move_deadline(slot, None);
        let mut running = self.table.take_running(slot);
        let cause = running.job.cause();
        let start = running.start.take();
        if running.is_detached {
            self.admission.let_go_ended();
        } else {
            self.admission.ended(running.cost);
            self.permits.give_back();
        }
        let Some(mut spec) = start else {
            debug_assert!(false, "{failure:?} after the exec");
            running.drop_apart();
            return self.finish_unstarted(slot, StartError::ShutDown);
        };
        // The command may be gone, so that this is the last of its callback.
        running.cancel.let_go();
        let mut closed = Streams::default();
        for (our_end, stream) in running.streams.iter().zip(Stream::ALL) {
            if our_end.is_closed_by_caller() {
                closed.insert(stream);
            }
        }
        let [stdin, stdout, stderr] = running.streams;
        spec.duties = Duties {
            stdin: stdin.into_feed(&mut self.kernel),
            stdout: stdout.into_sink(&mut self.kernel),
            stderr: stderr.into_sink(&mut self.kernel),
        };
        (spec.closed, spec.survives) = (closed, running.survives);
        if running.is_detached {
            spec.drop_apart();
            self.leave(slot);
            return self.table.vacate(slot);
        }
        let would_pass = failure.is_text_busy() || failure.is_shortage() || failure.has_another_way;
        if let Some(cause) = cause.filter(|_| would_pass) {
            spec.drop_apart();
            return self.finish_unstarted(slot, StartError::Stopped(cause));
        }
        if !self.refused(slot, spec, failure) {
            self.enqueue_first(slot);
        }
    }

    /// A snapshot of the environment is taken anew at the next start that inherits it.
    pub(crate) fn refresh_environment(&mut self) {
        self.snapshot = crate::env::Snapshot::default();
    }

    /// Names the engine's inbox for handles.
    pub(crate) fn share_inbox(&self) -> Arc<crate::inbox::Inbox<K::Waker>> {
        Arc::clone(&self.inbox)
    }
}
