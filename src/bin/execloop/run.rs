//! `execloop run`: one loop that starts commands as their lines come, prints what they wrote, and keeps the tally.
//! Unaware of arguments and of exit codes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use execloop::linux::CommandExt;
use execloop::{Cancel, Cause, Command, CommandId, Context, Finished, Reactor, Signal, program};

use crate::clock;
use crate::lines::{Line, Lines, Next};
use crate::order::Order;
use crate::outbox::Outbox;
use crate::output::{Collector, Output, Room};
use crate::printable::{printable, printable_message};
use crate::report::{NeverStarted, Report};
use crate::signals::{self, Request};
use crate::slots::Slots;
use crate::tagged::{Backlog, TaggedLines};

/// Systems where a command can ask for a signal at its parent's death. Elsewhere, one that outlives a SIGKILL of this
/// process goes on.
const CAN_DIE_WITH_PARENT: bool = cfg!(any(
    target_os = "freebsd",
    target_os = "dragonfly",
    all(
        any(target_os = "linux", target_os = "android"),
        not(execloop_kqueue_shim)
    )
));

/// At most so many lines are read before their turn, or as many as can run at once where that is less.
const LINES_AHEAD_MAX: usize = 64;
/// How long last words may take once everything was killed: whoever asks two times wants an end.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How many run at once; at least 1.
    pub(crate) jobs: usize,
    pub(crate) printing: Printing,
    pub(crate) timeout: Option<Duration>,
    /// Zero: no bound.
    pub(crate) wait_delay: Duration,
    pub(crate) signal: Signal,
    pub(crate) fail_fast: bool,
    pub(crate) quiet: bool,
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
    started_at: Instant,
    reactor: Reactor,
    context: Context,
    lines: Lines,
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
    interrupted_by: Option<Signal>,
    input_error: Option<io::Error>,
}

#[derive(Debug)]
struct Running {
    line: u64,
    command: String,
    /// In the order of outputs.
    place: u64,
    slot: usize,
    /// What it has written, unless that is streamed.
    collector: Option<Collector>,
}

impl Run {
    /// Begins to read the commands that `input` lists.
    pub(crate) fn new(input: File, options: Options) -> io::Result<Run> {
        let started_at = clock::now();
        let reactor = Reactor::builder().raise_fd_limit(true).build()?;
        let waker = || {
            let handle = reactor.handle();
            move || handle.wake()
        };
        let outbox = Outbox::start("stdout", copy(io::stdout().as_fd())?, waker())?;
        let notes = Outbox::start("stderr", copy(io::stderr().as_fd())?, waker())?;
        let requests = signals::receive(waker())?;
        let lines = Lines::read(input, options.jobs.min(LINES_AHEAD_MAX), waker())?;
        Ok(Run {
            options,
            state: State::Feeding,
            started_at,
            context: Context::new(),
            lines,
            requests,
            outbox,
            notes,
            room: Room::default(),
            order: Order::default(),
            backlog: Backlog::default(),
            running: HashMap::new(),
            slots: Slots::default(),
            report: Report::default(),
            interrupted_by: None,
            input_error: None,
            reactor,
        })
    }

    /// Runs the commands, until all have ended and their output is written.
    pub(crate) fn drive(&mut self) -> io::Result<()> {
        self.feed();
        while !self.is_done() {
            self.reactor.turn(None)?;
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
            State::Stopping | State::Killed => self.lines.never_started_as_known(),
        };
        let elapsed = clock::now().saturating_duration_since(self.started_at);
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

    fn is_done(&self) -> bool {
        self.running.is_empty()
            && match self.state {
                State::Feeding => false,
                State::Fed => self.outbox.is_empty(),
                State::Stopping => self.outbox.is_empty() && self.lines.never_started().is_some(),
                State::Killed => true,
            }
    }

    /// Starts commands, as far as there are any and may be.
    fn feed(&mut self) {
        while self.may_start() {
            match self.lines.next() {
                Next::Line(line) => self.start(line),
                Next::Later => return,
                Next::End(result) => {
                    self.state = State::Fed;
                    self.input_error = result.err();
                }
            }
        }
    }

    fn may_start(&self) -> bool {
        self.state == State::Feeding
            && self.running.len() < self.options.jobs
            // The kernel may be short of something before that.
            && self.reactor.queued() == 0
            && !self.order.is_full()
            && !self.outbox.is_full()
    }

    fn start(&mut self, line: Line) {
        let slot = self.slots.take();
        let streams = self.options.printing == Printing::Streamed;
        let running = Running {
            line: line.number,
            command: printable(&line.text),
            place: self.order.take_place(),
            slot,
            collector: (!streams).then(|| Collector::new(&self.room)),
        };
        let started = match line.fault {
            None => {
                let mut command = self.command(&line, &running);
                let started = self.reactor.start(&mut command);
                started.map_err(|error| error.to_string())
            }
            Some(fault) => Err(fault.to_string()),
        };
        match started {
            Ok(id) => {
                self.slots.set(slot, id);
                self.running.insert(id, running);
            }
            Err(reason) => {
                self.slots.free(slot);
                self.print(running.place, Output::default());
                self.fail(&running, &reason);
            }
        }
    }

    fn command(&self, line: &Line, running: &Running) -> Command {
        let output = match &running.collector {
            Some(collector) => execloop::Output::writer(collector.clone()),
            None => {
                let tag = format!("{}: ", line.number).into_bytes();
                let lines = TaggedLines::new(&self.outbox, &self.backlog, running.slot, tag);
                execloop::Output::writer(lines)
            }
        };
        let mut command = Command::new("/bin/sh");
        command
            // The text may begin with a dash.
            .args(["-c", "--"])
            .arg(OsStr::from_bytes(&line.text))
            .stdout(output)
            .stderr_to_stdout(true)
            // A terminal's signals reach only this process; it passes on what they mean.
            .process_group(0)
            .on_cancel(self.cancel())
            .wait_delay(self.options.wait_delay)
            .context(&self.context);
        if CAN_DIE_WITH_PARENT {
            // However this process ends, even by SIGKILL.
            command.parent_death_signal(Signal::KILL);
        }
        if let Some(timeout) = self.options.timeout {
            command.timeout(timeout);
        }
        command
    }

    /// A command that is stopped, as it has read from the terminal, sees the signal once it is continued.
    fn cancel(&self) -> Cancel {
        Cancel::signal(self.options.signal)
            .then(Duration::ZERO, Signal::CONT)
            .to_group()
    }

    /// One command is over.
    fn end(&mut self, finished: Finished) {
        let Some(running) = self.running.remove(&finished.id) else {
            return;
        };
        self.slots.free(running.slot);
        let collected = running.collector.as_ref().map(Collector::take);
        let (output, lost) = collected.unwrap_or_default();
        self.print(running.place, output);
        match (finished.outcome, lost) {
            (Err(error), _) if error.cause() == Some(Cause::Cancelled) => self.report.cancelled(),
            (_, Some(error)) => {
                let reason = format!("its output could not be kept: {}", crate::plain(&error));
                self.fail(&running, &reason);
            }
            (Err(error), None) => self.fail(&running, &error.to_string()),
            (Ok(()), None) => self.report.succeeded(),
        }
    }

    fn print(&mut self, place: u64, output: Output) {
        match self.options.printing {
            Printing::AtEnd => self.outbox.push_output(output),
            Printing::InOrder => {
                for output in self.order.put(place, output) {
                    self.outbox.push_output(output);
                }
            }
            Printing::Streamed => {}
        }
    }

    fn fail(&mut self, running: &Running, reason: &str) {
        self.report.failed();
        let (line, command) = (running.line, &running.command);
        let reason = printable_message(reason);
        let note = format!("failed: line {line}: {command}: {reason}\n").into_bytes();
        if self.options.printing == Printing::InOrder {
            // Its output may have to wait for others.
            self.notes.push(note);
        } else {
            self.outbox.push_note(note, &self.notes);
        }
        if self.options.fail_fast {
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
                // Each pass does it.
                Request::Reap => {}
            }
        }
    }

    /// Asks everything to stop. The wait delay says how long that may take.
    fn stop(&mut self) {
        if matches!(self.state, State::Feeding | State::Fed) {
            self.state = State::Stopping;
            self.context.cancel();
            self.lines.stop();
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
            self.lines.stop();
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

/// A copy that a thread can own.
fn copy(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from(fd.try_clone_to_owned()?))
}
