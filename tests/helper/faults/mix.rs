//! A mix of commands through the public API, of every kind that can end in its own way, each with the outcomes
//! that are true of it. Unaware of how calls are made to fail, but for which and with what.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use execloop::{
    Cause, Command, CommandId, Context, Error, Finished, Handle, Reactor, StartError, StartStep,
    Stream,
};

use crate::counts::{assert_fds, open_fds};

mod kinds;

use kinds::{plan, sleep, sleeper};

/// What may go wrong beside what the mix does to itself.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    None,
    /// This call of the reactor's fails with this error now and then.
    Of {
        call: String,
        errno: i32,
    },
    /// Some call of the children's fails, before their exec or after it.
    InChildren,
    /// Something outside of this process makes calls fail.
    Elsewhere,
}

impl Fault {
    /// The kernel says "not now" of a pipe that is ready, and no edge follows: only a timeout ends the wait. No kernel
    /// does that, but the command must end all the same.
    fn stalls(&self) -> bool {
        match self {
            Fault::Of { call, errno } => {
                matches!(call.as_str(), "read" | "write" | "pwritev2") && *errno == libc::EAGAIN
            }
            Fault::Elsewhere => true,
            Fault::None | Fault::InChildren => false,
        }
    }

    fn is_source_of(&self, error: &io::Error) -> bool {
        match self {
            Fault::None => false,
            Fault::Of { errno, .. } => error.raw_os_error() == Some(*errno),
            Fault::InChildren | Fault::Elsewhere => error.raw_os_error().is_some(),
        }
    }

    fn explains_start(&self, error: &StartError) -> bool {
        match error {
            StartError::Step { source, .. } => self.is_source_of(source),
            _ => false,
        }
    }

    fn explains(&self, error: &Error) -> bool {
        if self.stalls()
            && (error.cause() == Some(Cause::Timeout) || matches!(error, Error::WaitDelay { .. }))
        {
            return true;
        }
        match error {
            Error::Start(error) => self.explains_start(error),
            Error::Cancel(source) | Error::Kill(source) | Error::Copy { source, .. } => {
                self.is_source_of(source)
            }
            // Its pipe was closed as a read had failed.
            Error::Exit(exit) if exit.status.signal() == Some(libc::SIGPIPE) => match self {
                Fault::None => false,
                Fault::Of { call, .. } => call == "read",
                Fault::InChildren | Fault::Elsewhere => true,
            },
            Error::Exit(_) => matches!(self, Fault::InChildren),
            _ => false,
        }
    }
}

/// How a command ends when nothing interferes.
#[derive(Debug)]
enum Want {
    Success,
    Code(i32),
    /// By one of these signals, for this cause; or it is not started for this cause.
    Killed(&'static [i32], Cause),
    Missing,
    /// An orphan holds its stdout, which is cut.
    Cut,
}

/// Output that the library hands out while it comes.
type Collected = Arc<Mutex<Vec<u8>>>;

struct Planned {
    command: Command,
    want: Want,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// In place of the captured stdout.
    collected: Option<Collected>,
    /// Its context's timeout, counted from its start.
    ends_after: Option<Duration>,
    then: Then,
}

/// What is to happen once it was started.
#[derive(Clone)]
enum Then {
    Nothing,
    /// The caller writes and reads its pipes: with these bytes for a `cat`.
    Talk(Vec<u8>),
    /// It is started by a handle.
    Send,
    CancelContext(Context),
    Cancel,
    Kill,
}

/// What the other thread is to do in a moment.
enum Order {
    CancelContext(Context),
    Cancel(CommandId),
    Kill(CommandId),
}

pub(super) struct Mix {
    fds_before: BTreeMap<i32, String>,
    reactor: Option<Reactor>,
    fault: Fault,
    /// An outer loop waits for the reactor's descriptor, in place of `wait_any`.
    is_embedded: bool,
    planned: Vec<Planned>,
    orders: Option<Sender<Order>>,
    other_thread: Option<JoinHandle<()>>,
    /// Orphans live until this is closed.
    orphans_end: Option<io::PipeWriter>,
    sleepers: Vec<Command>,
    total: usize,
    succeeded: usize,
    refused: usize,
    polls_failed: usize,
}

/// More failed polls than that in one run are no progress.
const POLLS_FAILED_MAX: usize = 100_000;

impl Mix {
    /// Prepares everything, so that the calls of `run` are the library's alone.
    pub(super) fn new(commands: usize, fault: Fault) -> Mix {
        let fds_before = open_fds();
        let reactor = Reactor::builder()
            .max_running(24)
            .build()
            .expect("a reactor");
        let (orphans, orphans_end) = io::pipe().expect("a pipe");
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut planned: Vec<Planned> = (0..commands)
            .map(|number| plan(number, &mut random, &orphans))
            .collect();
        if fault.stalls() {
            for planned in &mut planned {
                let delay = Duration::from_millis(20);
                planned
                    .command
                    .timeout(Duration::from_millis(400))
                    .wait_delay(delay);
            }
        }
        let sleepers = (0..9).map(sleeper).collect();
        let (orders, received) = channel();
        let handle = reactor.handle();
        let other_thread = std::thread::spawn(move || obey(&received, &handle));
        Mix {
            fds_before,
            reactor: Some(reactor),
            fault,
            is_embedded: false,
            planned,
            orders: Some(orders),
            other_thread: Some(other_thread),
            orphans_end: Some(orphans_end),
            sleepers,
            total: commands,
            succeeded: 0,
            refused: 0,
            polls_failed: 0,
        }
    }

    /// As a program that has a loop of its own.
    pub(super) fn embedded(mut self) -> Mix {
        self.is_embedded = true;
        self
    }

    /// Starts everything, waits for everything, and fails unless each is told exactly once, and truly.
    pub(super) fn run(&mut self) {
        let mut reactor = self.reactor.take().expect("one run");
        self.need_the_timer(&mut reactor);
        let mut awaited = HashMap::new();
        let planned = std::mem::take(&mut self.planned);
        for (number, mut planned) in planned.into_iter().enumerate() {
            if let Some(id) = self.start(&mut reactor, &mut planned)
                && awaited.insert(id, planned).is_some()
            {
                panic!("{id} was given twice");
            }
            if number % 5 == 0 {
                self.tolerate(reactor.turn(Some(Duration::ZERO)).map(drop));
            }
        }
        let mut handed_out = 0;
        loop {
            match self.next(&mut reactor) {
                Ok(Some(done)) => {
                    let Some(planned) = awaited.remove(&done.id) else {
                        panic!("{} was handed out twice", done.id);
                    };
                    self.judge(&planned, &done);
                    handed_out += 1;
                }
                Ok(None) => break,
                Err(error) => self.tolerate(Err(error)),
            }
        }
        let forgotten: Vec<_> = awaited.keys().collect();
        assert!(forgotten.is_empty(), "never handed out: {forgotten:?}");
        assert_eq!(handed_out + self.refused, self.total);
        assert_eq!(
            (reactor.len(), reactor.running(), reactor.queued()),
            (0, 0, 0)
        );
        self.reactor = Some(reactor);
    }

    fn next(&self, reactor: &mut Reactor) -> io::Result<Option<Finished>> {
        if !self.is_embedded {
            return reactor.wait_any();
        }
        loop {
            if let Some(done) = reactor.try_wait_any() {
                return Ok(Some(done));
            }
            if reactor.is_empty() {
                return Ok(None);
            }
            sleep_until_readable(reactor.as_fd());
            reactor.turn(Some(Duration::ZERO))?;
        }
    }

    /// Drops the reactor with children running.
    pub(super) fn drop_while_children_run(&mut self) {
        let mut reactor = self.reactor.take().expect("a run before");
        for command in &mut self.sleepers {
            reactor.start(command).expect("nothing contradicts");
        }
        self.tolerate(reactor.turn(Some(Duration::ZERO)).map(drop));
        drop(reactor);
    }

    /// Gives back what the mix itself holds.
    pub(super) fn finish(&mut self) {
        self.orders = None;
        if let Some(thread) = self.other_thread.take() {
            thread.join().expect("the other thread");
        }
        self.orphans_end = None;
        self.sleepers.clear();
    }

    /// Fails unless the descriptors are those before the mix.
    pub(super) fn assert_fds(&self) {
        assert_fds(&self.fds_before);
    }

    pub(super) fn summary(&self) -> String {
        format!(
            "{} commands, {} as without a fault, {} refused at once, {} polls failed",
            self.total, self.succeeded, self.refused, self.polls_failed
        )
    }

    /// One command alone, which only its timeout ends: among many, events may come before each deadline.
    fn need_the_timer(&mut self, reactor: &mut Reactor) {
        let mut command = sleep();
        command.timeout(Duration::from_millis(5));
        // A start that the fault ended is no test of the timer.
        for _ in 0..10 {
            let id = reactor.start(&mut command).expect("nothing contradicts");
            let done = loop {
                match reactor.wait(id) {
                    Ok(done) => break done.expect("it is awaited"),
                    Err(error) => self.tolerate(Err(error)),
                }
            };
            let cause = done.outcome.as_ref().err().and_then(Error::cause);
            let is_explained = done
                .outcome
                .as_ref()
                .is_err_and(|error| self.fault.explains(error));
            assert!(
                cause == Some(Cause::Timeout) || is_explained,
                "{:?}",
                done.outcome
            );
            if !matches!(done.outcome, Err(Error::Start(_))) {
                return;
            }
        }
    }

    fn tolerate(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            assert!(self.fault.is_source_of(&error), "{error}");
            self.polls_failed += 1;
            assert!(self.polls_failed < POLLS_FAILED_MAX, "{error}, without end");
        }
    }

    /// `None`: it was refused, and that is true.
    fn start(&mut self, reactor: &mut Reactor, planned: &mut Planned) -> Option<CommandId> {
        if matches!(planned.then, Then::Send) {
            let command = std::mem::replace(&mut planned.command, Command::new("/"));
            return Some(
                reactor
                    .handle()
                    .start(command)
                    .expect("the reactor is here"),
            );
        }
        if let Some(timeout) = planned.ends_after {
            planned
                .command
                .context(&Context::new().with_timeout(timeout));
        }
        let id = match reactor.start(&mut planned.command) {
            Ok(id) => id,
            Err(error) => {
                // What the system says, a fault of its own included, comes by the end.
                let is_over = matches!((&planned.want, &error),
                    (Want::Killed(_, cause), StartError::Stopped(other)) if cause == other);
                assert!(is_over, "{}: {error}", planned.command);
                self.refused += 1;
                return None;
            }
        };
        let order = match planned.then.clone() {
            Then::Nothing | Then::Send => return Some(id),
            Then::Talk(bytes) => {
                self.talk(reactor, id, &bytes);
                return Some(id);
            }
            Then::CancelContext(context) => Order::CancelContext(context),
            Then::Cancel => Order::Cancel(id),
            Then::Kill => Order::Kill(id),
        };
        let orders = self.orders.as_ref().expect("the other thread");
        orders.send(order).expect("the other thread");
        Some(id)
    }

    /// Writes to a `cat` and reads it back, while all others go on.
    fn talk(&mut self, reactor: &mut Reactor, id: CommandId, bytes: &[u8]) {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let mut echo = Vec::new();
        let written = match reactor.stdin(id) {
            Some(mut stdin) => {
                let written = stdin.write_all(bytes);
                stdin.close();
                written
            }
            None => Err(gone()),
        };
        let read = match reactor.stdout(id) {
            Some(mut stdout) => stdout.read_to_end(&mut echo),
            None => Err(gone()),
        };
        // A pipe that is not to be had any more says so; everything else is the fault's.
        if let Some(error) = written.err().or(read.err()) {
            let is_over = matches!(
                error.kind(),
                io::ErrorKind::NotConnected | io::ErrorKind::BrokenPipe
            );
            let is_explained = if is_over {
                !matches!(self.fault, Fault::None)
            } else {
                self.fault.is_source_of(&error)
            };
            assert!(is_explained, "{error}");
            return;
        }
        let is_whole =
            echo == bytes || !matches!(self.fault, Fault::None) && bytes.starts_with(&echo);
        assert!(
            is_whole,
            "{} bytes came back of {}",
            echo.len(),
            bytes.len()
        );
    }

    fn judge(&mut self, planned: &Planned, done: &Finished) {
        let stdout = match &planned.collected {
            Some(collected) => lock(collected).clone(),
            None => done.stdout.clone(),
        };
        let is_whole = stdout == planned.stdout && done.stderr == planned.stderr;
        let is_part =
            planned.stdout.starts_with(&stdout) && planned.stderr.starts_with(&done.stderr);
        let is_true = match (&planned.want, &done.outcome) {
            (Want::Success, Ok(())) => is_whole,
            (Want::Code(code), Err(Error::Exit(exit))) if exit.status.code() == Some(*code) => {
                is_whole || is_part && !matches!(self.fault, Fault::None)
            }
            (Want::Killed(signals, cause), Err(Error::Exit(exit)))
                if exit.cause == Some(*cause) =>
            {
                is_part
                    && exit
                        .status
                        .signal()
                        .is_some_and(|signal| signals.contains(&signal))
            }
            (Want::Killed(_, cause), Err(Error::Start(StartError::Stopped(other)))) => {
                cause == other && done.pid.is_none()
            }
            (Want::Missing, Err(Error::Start(error))) if is_no_such_file(error) => {
                done.pid.is_none()
            }
            (Want::Cut, Err(Error::WaitDelay { .. })) => {
                is_whole && done.leaked == [Stream::Stdout]
            }
            _ => false,
        };
        if is_true {
            self.succeeded += 1;
            return;
        }
        let without_orphan = matches!(
            (&planned.want, &done.outcome, &self.fault),
            (Want::Cut, Ok(()), Fault::InChildren)
        );
        let is_explained = without_orphan
            || done
                .outcome
                .as_ref()
                .is_err_and(|error| self.fault.explains(error));
        let shown = (
            String::from_utf8_lossy(&stdout).len(),
            String::from_utf8_lossy(&done.stderr),
        );
        assert!(
            is_explained && is_part,
            "{}, {:?}: {:?} with {shown:?}, whole {is_whole}, part {is_part}, {:?}",
            planned.command,
            planned.want,
            done.outcome,
            self.fault,
        );
    }
}

#[allow(unsafe_code, reason = "poll has no safe wrapper")]
fn sleep_until_readable(fd: BorrowedFd<'_>) {
    let mut interest = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the structure has room for the answer.
    unsafe { libc::poll(&raw mut interest, 1, -1) };
}

fn is_no_such_file(error: &StartError) -> bool {
    matches!(error, StartError::Step { step: StartStep::Exec, source, .. }
        if source.raw_os_error() == Some(libc::ENOENT))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that ends commands from outside, a moment after their start, whatever that meets.
#[expect(
    clippy::disallowed_methods,
    reason = "commands are to be ended at various moments, and the helper may sleep"
)]
fn obey(orders: &Receiver<Order>, handle: &Handle) {
    for (number, order) in orders.iter().enumerate() {
        std::thread::sleep(Duration::from_micros(number as u64 % 4 * 400));
        match order {
            Order::CancelContext(context) => context.cancel(),
            Order::Cancel(id) => handle.cancel(id),
            Order::Kill(id) => handle.kill(id),
        }
    }
}

/// Numbers that look random and are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Fewer than `end` bytes.
    fn bytes(&mut self, end: u64) -> Vec<u8> {
        let length = self.below(end);
        (0..length).map(|_| self.next() as u8).collect()
    }
}
