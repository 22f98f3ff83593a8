//! `execloop run`: one loop over commands; `starting.rs` has their start, `conclude.rs` their end, `stopping.rs` the run's.
//! Unaware of arguments, of exit codes and of what sinks record.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use execloop::{Cause, CommandId, Error, Finished, Handle, Reactor, Signal, program};

use crate::bar::{self, Bar, Style};
use crate::capture::Lost;
use crate::clock::{self, Epoch};
use crate::count::Count;
use crate::cut::Item;
use crate::job::{Recipe, Task};
use crate::json;
use crate::launch::{self, Launch, LaunchError, Target};
use crate::limits::{Halt, Throttle};
use crate::lines::{Lines, Next};
use crate::outbox::Outbox;
use crate::output::{Collector, Output, Room};
use crate::printable::{printable, printable_message};
use crate::printing::{Printer, Printing};
use crate::reaper::{self, Reaper};
use crate::report::{NeverStarted, Report};
use crate::reserve::Reserve;
use crate::signals::{self, Request};
use crate::sink::{Ended, Fate, Job, Sink};
use crate::slots::Slots;
use crate::source::{Combinations, Source};
use crate::template::Position;

mod conclude;
mod starting;
mod stopping;

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
    /// Take orphans over, reap them, and tell of them.
    pub(crate) subreaper: bool,
    pub(crate) dry_run: bool,
    pub(crate) retries: u32,
    pub(crate) halt: Option<Halt>,
    pub(crate) quiet: bool,
    pub(crate) progress: Option<Style>,
    pub(crate) has_colours: bool,
    pub(crate) recipe: Recipe,
    /// Items are for stdin.
    pub(crate) pipes: bool,
    pub(crate) launch: Launch,
    /// Numbers of commands that need not run.
    pub(crate) done_before: HashSet<u64>,
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
    printer: Printer,
    room: Room,
    running: HashMap<CommandId, Running>,
    /// Have failed, and are to be tried once more when what was said of that is read.
    retried: VecDeque<Running>,
    /// Are to start when one that runs has ended: no descriptor was left for the files of theirs.
    waiting: VecDeque<Running>,
    /// For what is recorded of one that has ended, where each has files of its own.
    reserve: Option<Reserve>,
    slots: Slots<CommandId>,
    report: Report,
    /// Nothing starts as the machine has no room.
    is_throttled: bool,
    sinks: Vec<Box<dyn Sink>>,
    /// One of them.
    bar: Option<Bar>,
    /// What sinks write, with the files' names.
    files: Vec<(String, Outbox)>,
    reaper: Option<Reaper>,
    interrupted_by: Option<Signal>,
    /// After a signal, how long the output of commands that are over, and what is told of them, may remain unread.
    unread_until: Option<Instant>,
    /// That is over.
    is_output_given_up: bool,
    input_error: Option<io::Error>,
    /// Commands write to stdout themselves, and one of them has found nobody who reads it.
    is_stdout_closed: bool,
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
    /// Why its results are not all there.
    lost: Lost,
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
        let printer = Printer::start(options.printing, bar::is_one_target(), waker)?;
        let notes = || printer.notes().clone();
        let bar = options
            .progress
            .map(|style| Bar::new(style, options.has_colours, notes(), epoch.instant));
        let reaper = if options.subreaper {
            Some(Reaper::new()?)
        } else {
            // Process 1 of a container gets every orphan anyway, and has to reap it.
            signals::is_process_one()
                .then(Reaper::new)
                .and_then(Result::ok)
        };
        let has_results = options.launch.results.is_some() && !options.dry_run;
        let reserve = has_results.then(Reserve::new).transpose()?;
        let requests = signals::receive(reaper.is_some(), waker())?;
        let source = match origin {
            Origin::List(file, cut) => {
                let count = bar.as_ref().and_then(|_| Count::start(&file, cut));
                Source::List(Lines::read(file, cut, waker())?, count)
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
            printer,
            room: Room::default(),
            running: HashMap::new(),
            retried: VecDeque::new(),
            waiting: VecDeque::new(),
            reserve,
            slots: Slots::default(),
            report: Report::default(),
            is_throttled: false,
            sinks: bar
                .clone()
                .map(|bar| Box::new(bar) as Box<dyn Sink>)
                .into_iter()
                .collect(),
            bar,
            files: Vec::new(),
            reaper,
            interrupted_by: None,
            unread_until: None,
            is_output_given_up: false,
            input_error: None,
            is_stdout_closed: false,
            reactor,
        })
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A file that sinks write to. What goes wrong with it is reported at the end, under this name.
    pub(crate) fn file(&mut self, name: String, file: File) -> io::Result<Outbox> {
        let outbox = Outbox::start("record", file, waker(self.reactor.handle()))?;
        self.files.push((name, outbox.clone()));
        Ok(outbox)
    }

    /// Adds a sink for the events of all commands.
    pub(crate) fn add_sink(&mut self, sink: Box<dyn Sink>) {
        self.sinks.push(sink);
    }

    /// Runs the commands, until all have ended and their output is written.
    pub(crate) fn drive(&mut self) -> io::Result<()> {
        self.feed();
        while !self.is_done() {
            self.reactor.turn(self.turn_max())?;
            self.obey();
            let mut has_ended = false;
            while let Some(finished) = self.reactor.try_wait_any() {
                self.end(finished);
                has_ended = true;
            }
            if has_ended {
                self.start_waiting();
            }
            self.unblock();
            self.reap_orphans();
            let is_broken = self.printer.outbox.is_broken() || self.is_stdout_closed;
            if is_broken && self.state != State::Stopping {
                self.kill();
            }
            self.feed();
            self.give_up_unread_output();
        }
        self.reap_last_orphans()?;
        self.close_sinks()
    }

    /// How long the loop may sleep.
    fn turn_max(&self) -> Option<Duration> {
        let throttle = self.is_throttled.then_some(THROTTLE_EVERY);
        let bar = self.bar.as_ref().map(|bar| {
            if let Some(total) = self.source.total().filter(|_| !bar.has_total()) {
                bar.set_total(total);
            }
            bar.show(clock::now())
        });
        throttle.into_iter().chain(bar).min()
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
        let closed = self
            .is_stdout_closed
            .then(|| io::ErrorKind::BrokenPipe.into());
        self.printer.outbox.take_error().or(closed)
    }

    /// At most so many bytes of output were not read, and were not waited for any longer.
    pub(crate) fn unread_bytes_max(&self) -> Option<u64> {
        let bytes = self.printer.outbox.unwritten_bytes_max();
        self.is_output_given_up.then_some(bytes)
    }

    /// Files that could not be written, and why.
    pub(crate) fn take_file_errors(&mut self) -> Vec<(String, io::Error)> {
        let error = |(name, file): &(String, Outbox)| Some((name.clone(), file.take_error()?));
        self.files.iter().filter_map(error).collect()
    }

    fn is_done(&self) -> bool {
        self.running.is_empty()
            && self.retried.is_empty()
            && self.waiting.is_empty()
            && match self.state {
                State::Feeding => false,
                State::Fed => self.printer.outbox.is_empty(),
                State::Stopping => {
                    let is_written = self.printer.outbox.is_empty() || self.is_output_given_up;
                    is_written && self.source.never_started().is_some()
                }
                State::Killed => true,
            }
    }

    /// The run was not asked to stop.
    fn is_going_on(&self) -> bool {
        matches!(self.state, State::Feeding | State::Fed)
    }

    /// Lets streams go on that wait for others to be written. What one that has ended has left in its pipe is taken in any
    /// case, as it would be lost after the wait delay.
    fn unblock(&mut self) {
        while !self.printer.outbox.is_full() {
            let Some(blocked) = self.printer.backlog.take_first() else {
                return;
            };
            if let Some(id) = self.slots.tenant(blocked.slot) {
                self.reactor.resume(*id);
            }
        }
        for blocked in self.printer.backlog.all() {
            if let Some(id) = self.slots.tenant(blocked.slot)
                && has_ended(&mut self.reactor, *id)
                && blocked.let_rest_through()
            {
                self.reactor.resume(*id);
            }
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
