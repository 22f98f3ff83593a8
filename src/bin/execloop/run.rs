//! `execloop run`: one loop that starts commands as their lines come, prints what they wrote, and keeps the tally.
//! Unaware of arguments and of exit codes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use execloop::{Cancel, Cause, Command, Context, Finished, Id, Output, Reactor, Signal};

use crate::lines::{Line, Lines, Next};
use crate::order::Order;
use crate::outbox::Outbox;
use crate::report::{Report, printable};
use crate::signals::{self, Request};

/// At most so many lines are read before their turn, or as many as can run at once where that is less.
const LINES_AHEAD_MAX: usize = 64;

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

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) report: Report,
    /// The first signal that asked to stop.
    pub(crate) interrupted_by: Option<Signal>,
    /// The list could not be read to its end.
    pub(crate) input_error: Option<io::Error>,
    /// Output could not be written, and everything was killed.
    pub(crate) output_error: Option<io::Error>,
}

/// Runs the commands that `input` lists.
pub(crate) fn run(input: File, options: Options) -> io::Result<Outcome> {
    let mut run = Run::new(input, options)?;
    while !run.is_done() {
        run.wait()?;
        run.obey();
        while let Some(finished) = run.reactor.finished() {
            run.end(finished);
        }
        if run.outbox.is_broken() && run.state != State::Stopping {
            run.kill();
        }
        run.feed();
    }
    Ok(Outcome {
        report: run.report,
        interrupted_by: run.interrupted_by,
        input_error: run.input_error,
        output_error: run.outbox.take_error(),
    })
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

#[derive(Debug)]
struct Run {
    options: Options,
    state: State,
    reactor: Reactor,
    context: Context,
    lines: Lines,
    requests: Receiver<Request>,
    outbox: Outbox,
    order: Order,
    running: HashMap<Id, Running>,
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
}

impl Run {
    fn new(input: File, options: Options) -> io::Result<Run> {
        let reactor = Reactor::builder().raise_fd_limit(true).build()?;
        let waker = || {
            let handle = reactor.handle();
            move || handle.wake()
        };
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let outbox = Outbox::start(File::from(stdout), waker())?;
        let (wake, poked) = (waker(), outbox.clone());
        let requests = signals::receive(move || {
            wake();
            poked.poke();
        })?;
        let lines = Lines::read(input, options.jobs.min(LINES_AHEAD_MAX), waker())?;
        let mut run = Run {
            options,
            state: State::Feeding,
            context: Context::new(),
            lines,
            requests,
            outbox,
            order: Order::default(),
            running: HashMap::new(),
            report: Report::default(),
            interrupted_by: None,
            input_error: None,
            reactor,
        };
        run.feed();
        Ok(run)
    }

    fn is_done(&self) -> bool {
        self.running.is_empty()
            && match self.state {
                State::Feeding => false,
                State::Fed | State::Stopping => self.outbox.is_empty(),
                State::Killed => true,
            }
    }

    /// Waits until there is something to do. Streamed output that nobody reads holds everything up: it would pile up here
    /// otherwise.
    fn wait(&mut self) -> io::Result<()> {
        let is_asked_to_stop = matches!(self.state, State::Stopping | State::Killed);
        if self.options.printing == Printing::Streamed && !is_asked_to_stop && self.outbox.is_full()
        {
            self.outbox.wait_for_room();
            return Ok(());
        }
        self.reactor.turn(None).map(drop)
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
        let place = self.order.take_place();
        let running = Running {
            line: line.number,
            command: printable(&line.text),
            place,
        };
        let started = match line.fault {
            None => {
                let started = self.reactor.start(&mut self.command(&line));
                started.map_err(|error| error.to_string())
            }
            Some(fault) => Err(fault.to_string()),
        };
        match started {
            Ok(id) => {
                self.running.insert(id, running);
            }
            Err(reason) => {
                self.print(place, Vec::new());
                self.fail(running, reason);
            }
        }
    }

    fn command(&self, line: &Line) -> Command {
        let (outbox, number) = (self.outbox.clone(), line.number);
        let output = match self.options.printing {
            Printing::Streamed => Output::lines(move |line| outbox.push_line(number, line)),
            Printing::AtEnd | Printing::InOrder => Output::capture(),
        };
        let mut command = Command::new("/bin/sh");
        command
            // The text may begin with a dash.
            .args(["-c", "--"])
            .arg(OsStr::from_bytes(&line.text))
            .stdout(output)
            .stderr_to_stdout()
            // A terminal's signals reach only this process; it passes on what they mean.
            .process_group(0)
            .cancel(self.cancel())
            .wait_delay(self.options.wait_delay)
            .context(&self.context);
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
        self.print(running.place, finished.stdout);
        match finished.outcome {
            Ok(()) => self.report.succeeded(),
            Err(error) if error.cause() == Some(Cause::Cancelled) => self.report.cancelled(),
            Err(error) => self.fail(running, error.to_string()),
        }
    }

    fn print(&mut self, place: u64, output: Vec<u8>) {
        match self.options.printing {
            Printing::AtEnd => self.outbox.push(output),
            Printing::InOrder => {
                for output in self.order.put(place, output) {
                    self.outbox.push(output);
                }
            }
            Printing::Streamed => {}
        }
    }

    fn fail(&mut self, running: Running, reason: String) {
        self.report.failed(running.line, running.command, reason);
        if self.options.fail_fast {
            self.stop();
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
            }
        }
    }

    /// Asks everything to stop. The wait delay says how long that may take.
    fn stop(&mut self) {
        if matches!(self.state, State::Feeding | State::Fed) {
            self.state = State::Stopping;
            self.context.cancel();
        }
    }

    fn tell_stop(&self, signal: Signal) {
        let running = self.running.len();
        if running > 0 && !self.options.quiet {
            let plural = if running == 1 { "" } else { "s" };
            crate::tell(&format!(
                "{signal}: asking {running} command{plural} to stop; once more to kill"
            ));
        }
    }

    /// Kills everything, at once.
    fn kill(&mut self) {
        if self.state != State::Killed {
            self.state = State::Killed;
            for id in self.running.keys() {
                self.reactor.kill(*id);
            }
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
}
