//! Starting commands: now, from the queue, or again after the kernel was short of something.
//! Unaware of how commands end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Due, Engine};
use crate::admission::Cost;
use crate::command::{Command, Spec};
use crate::diagnose::explain;
use crate::error::{StartError, Stream};
use crate::finished::Id;
use crate::job::{Job, Streams};
use crate::stream::{OurEnd, drop_callers};
use crate::sys::{Kernel, SLOTS_MAX, StartFailure, Stdio};
use crate::table::{Phase, Running};

/// A busy program is tried again after 1, 2, 4 .. 64 milliseconds.
const TEXT_BUSY_TRIES_MAX: u32 = 7;

/// What to do with a command that could not be started.
enum Refusal {
    /// Wait until others give back what the kernel is short of, or until this time.
    Queue(Box<Spec>, Instant),
    /// Try again soon.
    TextBusy(Box<Spec>),
    /// Give up.
    Failed(StartError),
}

impl<K: Kernel> Engine<K> {
    /// Starts a command, or queues it.
    pub(crate) fn start(&mut self, command: &mut Command) -> Result<Id, StartError> {
        self.kernel
            .check_process()
            .map_err(|_| StartError::Forked)?;
        self.now = self.kernel.now();
        self.free_vacant();
        let spec = command.spec(&mut self.snapshot)?;
        let number = self.inbox.take_number();
        self.submit(number, spec)?;
        Ok(self.id(number))
    }

    /// Starts a command from another thread, whose failure arrives as a `Finished`.
    pub(super) fn start_sent(&mut self, number: u64, mut command: Box<Command>) {
        let submitted = command
            .spec(&mut self.snapshot)
            .and_then(|spec| self.submit(number, spec));
        drop_callers("command", command);
        if let Err(error) = submitted {
            self.hand_in_unstarted(number, error);
        }
    }

    fn submit(&mut self, number: u64, spec: Spec) -> Result<(), StartError> {
        let is_next = self.admission.is_queue_empty() && self.has_room(&spec);
        if !is_next {
            self.enqueue(number, Box::new(spec));
            return Ok(());
        }
        match self.launch(None, number, spec) {
            Ok(()) => Ok(()),
            Err(Refusal::Queue(spec, retry_at)) => {
                self.enqueue(number, spec);
                self.back_off(retry_at);
                Ok(())
            }
            Err(Refusal::TextBusy(spec)) => {
                let tries = spec.text_busy_tries;
                let slot = self.seat(number, Phase::TextBusy(spec));
                self.wait_for_text(slot, tries);
                Ok(())
            }
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    fn has_room(&self, spec: &Spec) -> bool {
        self.admission.has_room(cost_of(spec)) && self.table.len() < SLOTS_MAX
    }

    fn enqueue(&mut self, number: u64, spec: Box<Spec>) {
        let slot = self.seat(number, Phase::Queued(spec));
        self.admission.enqueue(slot);
    }

    /// Gives a command that waits a slot, and a seat in its context.
    fn seat(&mut self, number: u64, phase: Phase<K>) -> u32 {
        let context = match &phase {
            Phase::Queued(spec) | Phase::TextBusy(spec) => spec.context.clone(),
            _ => None,
        };
        let slot = self.table.insert(number, phase);
        self.waiting += 1;
        if let Some(context) = context {
            self.watch_context(slot, &context);
        }
        slot
    }

    fn watch_context(&mut self, slot: u32, context: &crate::Context) {
        let (seat, deadline) = self.watches.add(context, slot, &self.inbox);
        if deadline.is_some() {
            self.deadlines.move_to(Due::Context(seat.0), None, deadline);
        }
        if let Some(entry) = self.table.entry(slot) {
            entry.watch = Some(seat);
        }
    }

    /// The next turn would begin with a start from the queue, or with the end of one that was cancelled in it.
    pub(super) fn can_admit(&self) -> bool {
        let front = self.admission.front();
        front.is_some_and(|slot| match self.table.phase(slot) {
            Some(Phase::Queued(spec)) => self.admission.has_room(cost_of(spec)),
            _ => true,
        })
    }

    /// Starts as many from the queue as there is room for.
    pub(super) fn admit(&mut self) {
        while let Some(slot) = self.admission.front() {
            // A command that ended in the queue, or one whose turn is now.
            let spec = match self.table.entry(slot).map(|entry| &mut entry.phase) {
                Some(phase @ Phase::Queued(_)) => phase,
                _ => {
                    self.leave_queue();
                    continue;
                }
            };
            if let Phase::Queued(spec) = spec
                && !self.admission.has_room(cost_of(spec))
            {
                return;
            }
            let Phase::Queued(spec) = std::mem::replace(spec, Phase::Vacant) else {
                return;
            };
            if !self.launch_seated(slot, *spec) {
                return;
            }
        }
    }

    /// The head of the queue is dealt with.
    fn leave_queue(&mut self) {
        if let Some(slot) = self.admission.pop()
            && self
                .table
                .entry(slot)
                .is_some_and(|entry| matches!(entry.phase, Phase::Vacant))
        {
            self.vacate(slot);
        }
    }

    /// Starts a command that has a slot already. `false`: the kernel is short of something, and it waits on.
    fn launch_seated(&mut self, slot: u32, spec: Spec) -> bool {
        let Some(number) = self.table.entry(slot).map(|entry| entry.number) else {
            return true;
        };
        let is_queued = self.admission.front() == Some(slot);
        let (phase, goes_on) = match self.launch(Some(slot), number, spec) {
            Ok(()) => {
                self.waiting -= 1;
                if is_queued {
                    self.admission.pop();
                }
                return true;
            }
            Err(Refusal::Queue(spec, retry_at)) => {
                self.back_off(retry_at);
                if !is_queued {
                    self.admission.enqueue(slot);
                }
                (Phase::Queued(spec), false)
            }
            Err(Refusal::TextBusy(spec)) => {
                if is_queued {
                    self.admission.pop();
                }
                let tries = spec.text_busy_tries;
                self.wait_for_text(slot, tries);
                (Phase::TextBusy(spec), true)
            }
            Err(Refusal::Failed(error)) => {
                if is_queued {
                    self.admission.pop();
                }
                self.finish_unstarted(slot, error);
                return true;
            }
        };
        if let Some(entry) = self.table.entry(slot) {
            entry.phase = phase;
        }
        goes_on
    }

    /// `tries`: how often it was busy, this time included.
    fn wait_for_text(&mut self, slot: u32, tries: u32) {
        let at = self.now + Duration::from_millis(1 << (tries - 1));
        self.arm_slot(slot, Some(at));
    }

    /// The time to try a busy program again has come.
    pub(super) fn retry_text_busy(&mut self, slot: u32) {
        let Some(entry) = self.table.entry(slot) else {
            return;
        };
        let Phase::TextBusy(spec) = std::mem::replace(&mut entry.phase, Phase::Vacant) else {
            return;
        };
        if self.admission.has_room(cost_of(&spec)) {
            self.launch_seated(slot, *spec);
        } else {
            // Others have taken the last place meanwhile.
            entry.phase = Phase::Queued(spec);
            self.admission.enqueue(slot);
        }
    }

    fn back_off(&mut self, at: Instant) {
        self.admission.shortage(at);
        self.deadlines
            .move_to(Due::Admission, self.admission_due, Some(at));
        self.admission_due = Some(at);
    }

    /// Makes the process, into `slot` or a new one.
    fn launch(&mut self, slot: Option<u32>, number: u64, mut spec: Spec) -> Result<(), Refusal> {
        let free = slot.unwrap_or_else(|| self.table.next_slot());
        let started = self.kernel.start(&mut spec.launch);
        // A start takes its time, which is not the command's.
        self.now = self.kernel.now();
        let started = match started {
            Ok(started) => started,
            Err(failure) => return Err(self.refusal(failure, spec)),
        };
        let cost = cost_of(&spec);
        let leads_group = spec.launch.program.attributes.leads_group();
        let [stdin, stdout, stderr] = started.pipes;
        let ends = [
            OurEnd::of_input(stdin, spec.stdin),
            OurEnd::of_output(stdout, spec.stdout),
            OurEnd::of_output(stderr, spec.stderr),
        ];
        let mut copied = Streams::default();
        for stream in Streams::ALL {
            if ends[stream as usize].is_copied() {
                copied.insert(stream);
            }
        }
        let writes = copied.contains(Stream::Stdin);
        let lends = ends.iter().any(OurEnd::is_callers);
        let job = Job::new(spec.policy, copied, lends, self.now);
        let wake_at = job.wake_at();
        let running = Running {
            job,
            child: started.child,
            ends,
            cancel: spec.cancel,
            leads_group,
            is_detached: false,
            is_watched: false,
            is_announced: false,
            asked: 0,
            ask_at: None,
            cost,
            usage: None,
            started: self.now,
            reaped: None,
        };
        self.admission.started(cost);
        self.seat_running(slot, number, running, spec.context.as_ref());
        self.arm_slot(free, wake_at);
        for stream in spec.closed.iter() {
            self.close_callers_pipe(self.id(number), stream);
        }
        self.keep_fresh(free);
        if writes {
            // Most input fits the empty pipe at once, and then no event is needed for it.
            self.visit(free, Stream::Stdin);
        }
        Ok(())
    }

    fn seat_running(
        &mut self,
        slot: Option<u32>,
        number: u64,
        running: Running<K>,
        context: Option<&crate::Context>,
    ) {
        match slot.and_then(|slot| self.table.entry(slot)) {
            Some(entry) => entry.phase = Phase::Running(running),
            None => {
                let slot = self.table.insert(number, Phase::Running(running));
                if let Some(context) = context {
                    self.watch_context(slot, context);
                }
            }
        }
    }

    fn refusal(&self, failure: StartFailure, mut spec: Spec) -> Refusal {
        if failure.is_shortage()
            && self.admission.running() > 0
            && let Some(retry_at) = spec.patience.wait(self.now)
        {
            return Refusal::Queue(Box::new(spec), retry_at);
        }
        let may_retry = spec.retries_text_busy && spec.text_busy_tries < TEXT_BUSY_TRIES_MAX;
        if failure.is_text_busy() && may_retry {
            spec.text_busy_tries += 1;
            return Refusal::TextBusy(Box::new(spec));
        }
        let error = explain(failure, &spec.launch.program, &spec.launch.environment);
        drop_callers("command", spec);
        Refusal::Failed(error)
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

fn cost_of(spec: &Spec) -> Cost {
    let pipes = spec
        .launch
        .stdio
        .iter()
        .filter(|stdio| matches!(stdio, Stdio::Pipe))
        .count();
    Cost {
        pipes: pipes as u64,
    }
}
