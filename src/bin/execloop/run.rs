//! `execloop run`: one loop that starts commands as their turn comes, prints what they wrote, and keeps the tally.
//! Unaware of arguments, of exit codes and of what sinks record.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use execloop::{Cause, CommandId, Error, Finished, Handle, Reactor, Signal, program};

use crate::clock::{self, Epoch};
use crate::cut::Item;
use crate::job::{Recipe, Task};
use crate::json;
use crate::launch::{self, Launch, Target};
use crate::limits::{Halt, Throttle};
use crate::lines::{Lines, Next};
use crate::order::Order;
use crate::outbox::Outbox;
use crate::output::{Collector, Output, Room};
use crate::printable::{printable, printable_message};
use crate::report::{NeverStarted, Report};
use crate::signals::{self, Request};
use crate::sink::{Ended, Fate, Job, Sink};
use crate::slots::Slots;
use crate::source::{Combinations, Source};
use crate::tagged::Backlog;
use crate::template::Position;

/// At most so many lines are read before their turn, or as many as can run at once where that is less.
const LINES_AHEAD_MAX: usize = 64;
/// The same of blocks for stdin, which are large.
const BLOCKS_AHEAD_MAX: usize = 2;
/// How long last words may take once everything was killed: whoever asks two times wants an end.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// While the machine has no room, it is looked at again after this.
const THROTTLE_EVERY: Duration = Duration::from_millis(100);
/// Commands that end where they start, as a dry run has them, are no more than so many between two looks at signals.
const STARTS_PER_PASS_MAX: u32 = 1000;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How many run at once; at least 1.
    pub(crate) jobs: usize,
    pub(crate) throttle: Throttle,
    pub(crate) printing: Printing,
    pub(crate) json: bool,
    pub(crate) dry_run: bool,
    pub(crate) retries: u32,
    pub(crate) halt: Option<Halt>,
    pub(crate) quiet: bool,
    pub(crate) recipe: Recipe,
    /// Items are for stdin.
    pub(crate) pipes: bool,
    pub(crate) launch: Launch,
    /// Numbers of commands that need not run.
    pub(crate) done_before: HashSet<u64>,
}

/// When the output of a command is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Printing {
    /// When it ends.
    AtEnd,
    /// When it and all before it have ended.
    InOrder,
    /// Line by line as it comes.
    Streamed,
    /// By the command itself.
    Inherited,
}

/// What the commands are made of.
#[derive(Debug)]
pub(crate) enum Origin {
    List(File, crate::cut::Cut),
    Fixed(Combinations),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There may be further commands.
    Feeding,
    /// The list is over; what runs comes to its end.
    Fed,
    /// Everything was asked to stop, and nothing more is started.
    Stopping,
    /// Everything was killed, and what is not written yet does not matter.
    Killed,
}

/// One run of a list.
#[derive(Debug)]
pub(crate) struct Run {
    options: Options,
    state: State,
    epoch: Epoch,
    reactor: Reactor,
    source: Source,
    /// How many items were taken.
    sequence: u64,
    requests: Receiver<Request>,
    /// To stdout.
    outbox: Outbox,
    /// To stderr.
    notes: Outbox,
    room: Room,
    order: Order,
    backlog: Backlog,
    running: HashMap<CommandId, Running>,
    slots: Slots<CommandId>,
    report: Report,
    /// Nothing starts as the machine has no room.
    is_throttled: bool,
    sinks: Vec<Box<dyn Sink>>,
    /// What sinks write, with the files' names.
    files: Vec<(String, Outbox)>,
    interrupted_by: Option<Signal>,
    input_error: Option<io::Error>,
}

#[derive(Debug)]
struct Running {
    job: Job,
    task: Task,
    input: Option<Arc<[u8]>>,
    /// In the order of outputs.
    place: u64,
    /// What it has written, unless that is streamed.
    collector: Option<Collector>,
}

impl Run {
    /// Begins to read what the commands are made of.
    pub(crate) fn new(origin: Origin, options: Options) -> io::Result<Run> {
        let epoch = Epoch::now();
        let mut builder = Reactor::builder().raise_fd_limit(true);
        if let Some(jobserver) = &options.launch.jobserver {
            builder = builder.jobserver(jobserver);
        }
        let reactor = builder.build()?;
        let waker = || waker(reactor.handle());
        let outbox = Outbox::start("stdout", copy(io::stdout().as_fd())?, waker())?;
        let notes = Outbox::start("stderr", copy(io::stderr().as_fd())?, waker())?;
        let requests = signals::receive(waker())?;
        let ahead_max = if options.pipes {
            BLOCKS_AHEAD_MAX
        } else {
            LINES_AHEAD_MAX
        };
        let source = match origin {
            Origin::List(file, cut) => {
                let ahead_max = options.jobs.min(ahead_max);
                Source::List(Lines::read(file, cut, ahead_max, waker())?)
            }
            Origin::Fixed(combinations) => Source::Fixed(combinations),
        };
        Ok(Run {
            options,
            state: State::Feeding,
            epoch,
            source,
            sequence: 0,
            requests,
            outbox,
            notes,
            room: Room::default(),
            order: Order::default(),
            backlog: Backlog::default(),
            running: HashMap::new(),
            slots: Slots::default(),
            report: Report::default(),
            is_throttled: false,
            sinks: Vec::new(),
            files: Vec::new(),
            interrupted_by: None,
            input_error: None,
            reactor,
        })
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A file that sinks write to. What goes wrong with it is told at the end, by this name.
    pub(crate) fn file(&mut self, name: String, file: File) -> io::Result<Outbox> {
        let outbox = Outbox::start("record", file, waker(self.reactor.handle()))?;
        self.files.push((name, outbox.clone()));
        Ok(outbox)
    }

    /// Has a sink told of all commands.
    pub(crate) fn add_sink(&mut self, sink: Box<dyn Sink>) {
        self.sinks.push(sink);
    }

    /// Runs the commands, until all have ended and their output is written.
    pub(crate) fn drive(&mut self) -> io::Result<()> {
        self.feed();
        while !self.is_done() {
            self.reactor.turn(self.turn_max())?;
            self.obey();
            while let Some(finished) = self.reactor.try_wait_any() {
                self.end(finished);
            }
            self.unblock();
            if signals::is_process_one() {
                self.reap_orphans();
            }
            if self.outbox.is_broken() && self.state != State::Stopping {
                self.kill();
            }
            self.feed();
        }
        self.close_sinks()
    }

    /// How long the loop may sleep.
    fn turn_max(&self) -> Option<Duration> {
        self.is_throttled.then_some(THROTTLE_EVERY)
    }

    /// Sinks have their last words, which are waited for; not after a kill.
    fn close_sinks(&mut self) -> io::Result<()> {
        for sink in &mut self.sinks {
            sink.close();
        }
        while self.state != State::Killed && !self.files.iter().all(|(_, file)| file.is_empty()) {
            self.reactor.turn(None)?;
            self.obey();
        }
        Ok(())
    }

    /// Says something on stderr, and waits until that and all before it is said. After a kill, not for long.
    pub(crate) fn say_last(&mut self, text: Vec<u8>) -> io::Result<()> {
        self.outbox.let_notes_go();
        self.notes.push(text);
        let mut ends_at = None;
        while !self.notes.is_empty() {
            let mut timeout = None;
            if self.state == State::Killed {
                let now = clock::now();
                let ends_at = *ends_at.get_or_insert(now + LAST_WORDS_MAX);
                timeout = Some(ends_at.saturating_duration_since(now));
            }
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                break;
            }
            self.reactor.turn(timeout)?;
            self.obey();
        }
        Ok(())
    }

    pub(crate) fn is_success(&self) -> bool {
        self.report.is_success()
    }

    pub(crate) fn summary(&self) -> String {
        let never_started = match self.state {
            State::Feeding | State::Fed => NeverStarted::Exactly(0),
            State::Stopping | State::Killed => self.source.never_started_as_known(),
        };
        let elapsed = clock::now().saturating_duration_since(self.epoch.instant);
        self.report.summary(elapsed, never_started)
    }

    /// The first signal that asked to stop.
    pub(crate) fn interrupted_by(&self) -> Option<Signal> {
        self.interrupted_by
    }

    /// The list could not be read to its end.
    pub(crate) fn take_input_error(&mut self) -> Option<io::Error> {
        self.input_error.take()
    }

    /// Output could not be written, and everything was killed.
    pub(crate) fn take_output_error(&mut self) -> Option<io::Error> {
        self.outbox.take_error()
    }

    /// Files that could not be written, and why.
    pub(crate) fn take_file_errors(&mut self) -> Vec<(String, io::Error)> {
        let error = |(name, file): &(String, Outbox)| Some((name.clone(), file.take_error()?));
        self.files.iter().filter_map(error).collect()
    }

    fn is_done(&self) -> bool {
        self.running.is_empty()
            && match self.state {
                State::Feeding => false,
                State::Fed => self.outbox.is_empty(),
                State::Stopping => self.outbox.is_empty() && self.source.never_started().is_some(),
                State::Killed => true,
            }
    }

    /// Starts commands, as far as there are any and may be.
    fn feed(&mut self) {
        for _ in 0..STARTS_PER_PASS_MAX {
            if !self.may_start() {
                return;
            }
            match self.source.next() {
                Next::Item(item) => self.take(item),
                Next::Later => return,
                Next::End(result) => {
                    self.state = State::Fed;
                    self.input_error = result.err();
                }
            }
        }
        self.reactor.handle().wake();
    }

    fn may_start(&mut self) -> bool {
        let may_start = self.state == State::Feeding
            && self.running.len() < self.options.jobs
            // The kernel may be short of something before that.
            && self.reactor.queued() == 0
            && !self.order.is_full()
            && !self.outbox.is_full()
            && !self.files.iter().any(|(_, file)| file.is_full());
        self.is_throttled =
            may_start && !self.running.is_empty() && self.options.throttle.is_closed();
        may_start && !self.is_throttled
    }

    /// Makes a command of an item, and starts it.
    fn take(&mut self, item: Item) {
        self.sequence += 1;
        let sequence = self.sequence;
        if self.options.done_before.contains(&sequence) {
            return self.report.skipped();
        }
        let slot = self.slots.take();
        let position = Position {
            sequence,
            slot: slot + 1,
        };
        let (values, input) = if self.options.pipes {
            (&[][..], Some(Arc::<[u8]>::from(item.values.concat())))
        } else {
            (&item.values[..], None)
        };
        let task = match item.fault {
            None => self.options.recipe.task(values, position),
            Some(_) => Err(""),
        };
        let fault = match (&task, item.fault) {
            (_, Some(fault)) => Some(fault.to_string()),
            (Err(fault), _) => Some((*fault).to_owned()),
            (Ok(_), None) => None,
        };
        let task = task.unwrap_or_else(|_| Task::faulty(&item.values));
        let tag = match self.options.launch.tags {
            true if values.is_empty() => printable(&task.text),
            true => printable(&values.join(&b' ')),
            false => String::new(),
        };
        let running = Running {
            job: Job {
                sequence,
                tag,
                number: item.number,
                unit: if self.options.recipe.is_list() {
                    "line"
                } else {
                    "job"
                },
                shown: printable(&task.text),
                text: task.text.clone(),
                slot,
                attempt: 1,
                sent: input.as_ref().map_or(0, |input| input.len() as u64),
            },
            task,
            input,
            place: self.order.take_place(),
            collector: None,
        };
        match fault {
            Some(reason) => self.refuse(&running, &reason),
            None if self.options.dry_run => self.show(&running),
            None => self.start(running),
        }
    }

    /// Prints what would run.
    fn show(&mut self, running: &Running) {
        self.slots.free(running.job.slot);
        let mut output = Output::new(&self.room);
        // In memory, as commands are short.
        let _ = output.push(&running.job.text);
        let _ = output.push(b"\n");
        match self.options.printing {
            Printing::InOrder => self.print(running.place, output),
            _ => self.outbox.push_output(output),
        }
        self.report.succeeded();
    }

    fn start(&mut self, mut running: Running) {
        let is_collected = matches!(self.options.printing, Printing::AtEnd | Printing::InOrder);
        running.collector = is_collected.then(|| Collector::new(&self.room));
        let target = match (&running.collector, self.options.printing) {
            (Some(collector), _) => Target::Collected(collector),
            (None, Printing::Inherited) => Target::Inherited,
            (None, _) => Target::Streamed(&self.outbox, &self.backlog),
        };
        let (work, input, job) = (&running.task.work, running.input.as_ref(), &running.job);
        let started = match self.options.launch.command(work, input, job, &target) {
            Ok(mut command) => {
                let started = self.reactor.start(&mut command);
                started.map_err(|error| error.to_string())
            }
            Err(error) => Err(format!(
                "its results cannot be kept: {}",
                crate::plain(&error)
            )),
        };
        match started {
            Ok(id) => {
                for sink in &mut self.sinks {
                    sink.started(&running.job);
                }
                self.slots.set(running.job.slot, id);
                self.running.insert(id, running);
            }
            Err(reason) => self.refuse(&running, &reason),
        }
    }

    /// It was not started.
    fn refuse(&mut self, running: &Running, reason: &str) {
        self.slots.free(running.job.slot);
        self.conclude(running, Fate::Failed(reason), None, Output::default());
    }

    /// One command is over, or one try.
    fn end(&mut self, finished: Finished) {
        let Some(mut running) = self.running.remove(&finished.id) else {
            return;
        };
        if let Err(Error::Start(error)) = &finished.outcome
            && error.io_error().is_some_and(program::is_unknown_format)
            && let Some(work) = launch::by_shell(&running.task.work)
            && self.is_going_on()
        {
            running.task.work = work;
            return self.start(running);
        }
        let collected = running.collector.as_ref().map(Collector::take);
        let (output, lost) = collected.unwrap_or_default();
        let reason = match (&finished.outcome, lost) {
            (Err(error), _) if error.cause() == Some(Cause::Cancelled) => {
                self.slots.free(running.job.slot);
                return self.conclude(&running, Fate::Cancelled, Some(&finished), output);
            }
            (_, Some(error)) => {
                format!("its output could not be kept: {}", crate::plain(&error))
            }
            (Err(error), None) => error.to_string(),
            (Ok(()), None) => {
                self.slots.free(running.job.slot);
                return self.conclude(&running, Fate::Succeeded, Some(&finished), output);
            }
        };
        if running.job.attempt <= self.options.retries && self.is_going_on() {
            self.tell_retry(&running.job, &reason);
            let ended = Ended {
                job: &running.job,
                fate: Fate::Failed(&reason),
                finished: Some(&finished),
                output: &output,
            };
            for sink in &mut self.sinks {
                sink.retried(&ended);
            }
            running.job.attempt += 1;
            return self.start(running);
        }
        self.slots.free(running.job.slot);
        self.conclude(&running, Fate::Failed(&reason), Some(&finished), output);
    }

    /// Nobody wants everything to stop.
    fn is_going_on(&self) -> bool {
        matches!(self.state, State::Feeding | State::Fed)
    }

    /// Prints, counts and records what became of a command.
    fn conclude(
        &mut self,
        running: &Running,
        fate: Fate<'_>,
        finished: Option<&Finished>,
        output: Output,
    ) {
        let job = &running.job;
        let ended = Ended {
            job,
            fate,
            finished,
            output: &output,
        };
        for sink in &mut self.sinks {
            sink.ended(&ended);
        }
        let mut lost = self.write_status(&ended).err();
        let output = if self.options.json {
            let mut line = Output::new(&self.room);
            lost = json::push_line(&ended, self.epoch, &mut line)
                .err()
                .or(lost);
            line
        } else {
            output
        };
        self.print(running.place, output);
        let lost =
            lost.map(|error| format!("its results could not be kept: {}", crate::plain(&error)));
        match (fate, lost) {
            (Fate::Failed(reason), _) => self.fail(job, reason),
            (_, Some(reason)) => self.fail(job, &reason),
            (Fate::Succeeded, None) => self.report.succeeded(),
            (Fate::Cancelled, None) => self.report.cancelled(),
        }
    }

    fn write_status(&self, ended: &Ended<'_>) -> io::Result<()> {
        let Some(results) = &self.options.launch.results else {
            return Ok(());
        };
        let status = match ended.fate {
            Fate::Succeeded => "exit status 0",
            Fate::Failed(reason) => reason,
            Fate::Cancelled => "cancelled",
        };
        launch::write_status(results, ended.job, status)
    }

    fn print(&mut self, place: u64, output: Output) {
        match self.options.printing {
            Printing::AtEnd => self.outbox.push_output(output),
            Printing::InOrder => {
                for output in self.order.put(place, output) {
                    self.outbox.push_output(output);
                }
            }
            Printing::Streamed | Printing::Inherited => {}
        }
    }

    fn tell_retry(&self, job: &Job, reason: &str) {
        let (unit, number, command) = (job.unit, job.number, &job.shown);
        let (next, all) = (job.attempt + 1, self.options.retries + 1);
        let reason = printable_message(reason);
        let note = format!("retrying: {unit} {number}: {command}: {reason}; try {next} of {all}\n");
        self.notes.push(note.into_bytes());
    }

    fn fail(&mut self, job: &Job, reason: &str) {
        self.report.failed();
        let (unit, number, command) = (job.unit, job.number, &job.shown);
        let reason = printable_message(reason);
        let note = format!("failed: {unit} {number}: {command}: {reason}\n").into_bytes();
        if self.options.printing == Printing::InOrder {
            // Its output may have to wait for others.
            self.notes.push(note);
        } else {
            self.outbox.push_note(note, &self.notes);
        }
        let is_due = |halt: Halt| halt.is_due(self.report.all_failed(), self.report.ended());
        if self.options.halt.is_some_and(is_due) {
            self.stop();
        }
    }

    /// Lets streams go on that wait for others to be written. What one that has ended has left in its pipe is taken in any
    /// case, as it would be lost after the wait delay.
    fn unblock(&mut self) {
        while !self.outbox.is_full() {
            let Some(blocked) = self.backlog.take_first() else {
                return;
            };
            if let Some(id) = self.slots.tenant(blocked.slot) {
                self.reactor.resume(*id);
            }
        }
        for blocked in self.backlog.all() {
            if let Some(id) = self.slots.tenant(blocked.slot)
                && has_ended(&mut self.reactor, *id)
                && blocked.let_rest_through()
            {
                self.reactor.resume(*id);
            }
        }
    }

    /// Does what signals ask for.
    fn obey(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Stop(signal) if self.interrupted_by.is_none() => {
                    self.interrupted_by = Some(signal);
                    self.stop();
                    self.tell_stop(signal);
                }
                Request::Stop(signal) | Request::Kill(signal) => {
                    self.interrupted_by.get_or_insert(signal);
                    self.kill();
                }
                Request::Suspend => self.suspend(),
                Request::More => self.options.jobs = self.options.jobs.saturating_add(1),
                Request::Fewer => self.options.jobs = (self.options.jobs - 1).max(1),
                // Each pass does it.
                Request::Reap => {}
            }
        }
    }

    /// Asks everything to stop. The wait delay says how long that may take.
    fn stop(&mut self) {
        if matches!(self.state, State::Feeding | State::Fed) {
            self.state = State::Stopping;
            self.options.launch.context.cancel();
            self.source.stop();
        }
    }

    fn tell_stop(&self, signal: Signal) {
        let running = self.running.len();
        if running > 0 && !self.options.quiet {
            let plural = if running == 1 { "" } else { "s" };
            let text =
                format!("{signal}: asking {running} command{plural} to stop; once more to kill");
            self.notes.push(crate::message(&text));
        }
    }

    /// Kills everything, at once.
    fn kill(&mut self) {
        if self.state != State::Killed {
            self.state = State::Killed;
            for id in self.running.keys() {
                self.reactor.kill(*id);
            }
            self.source.stop();
        }
    }

    /// Ctrl-Z: the commands are in groups of their own, so they stop and go on with us by this alone.
    fn suspend(&mut self) {
        self.signal_all(Signal::STOP);
        signals::suspend();
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&mut self, signal: Signal) {
        for id in self.running.keys() {
            // One that has ended meanwhile needs no signal.
            let _ = self.reactor.signal_group(*id, signal);
        }
    }

    /// Process 1 has the orphans of all others. The zombie that came first is looked at: if it is a command, the reactor is
    /// about to take its status, and the next pass finds whatever is behind it.
    fn reap_orphans(&mut self) {
        while let Some(pid) = program::first_zombie() {
            let is_command = |id: &CommandId| self.reactor.pid(*id) == Some(pid);
            if self.running.keys().any(is_command) {
                return;
            }
            program::reap(pid);
        }
    }
}

fn has_ended(reactor: &mut Reactor, id: CommandId) -> bool {
    let probe = Signal::new(0).expect("0 is a number of a signal");
    let answer = reactor.signal(id, probe);
    answer.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn waker(handle: Handle) -> impl Fn() + Send + 'static {
    move || handle.wake()
}

/// A copy that a thread can own.
fn copy(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from(fd.try_clone_to_owned()?))
}
