//! The errors and their texts: of a start (`start.rs`), of how a command ended, of the forms for one command (`command.rs`).
//! Unaware of how they come about, and of the search in `PATH`, whose text is `lookpath`'s.
//!
//! One rule for all of them: **an error's text holds its reason, and what the text holds is no source**. So `{error}`
//! alone tells why, and whoever walks the sources reads nothing twice. `io_error` returns the [`io::Error`] that is in
//! the text; `source` goes on with what is behind that, which the text does not hold. thiserror makes a field either
//! text or source, so errors with an `io::Error` in them are written by hand.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::plain::Plain;
pub use crate::sys::Stream;
use crate::sys::{Target, is_process_gone};

mod command;
mod start;
#[cfg(test)]
mod tests;

pub use command::CommandError;
pub use start::StartError;

/// Why a command was asked to stop.
///
/// ```
/// use execloop::{Cause, Command};
/// use std::time::Duration;
/// let error = Command::new("sleep").arg("600").timeout(Duration::from_millis(10)).run().unwrap_err();
/// assert_eq!(error.cause(), Some(Cause::Timeout));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// [`Context::cancel`](crate::Context::cancel), [`Reactor::cancel`](crate::Reactor::cancel) or a shutdown.
    Cancelled,
    /// The deadline of its [`Context`](crate::Context) passed.
    DeadlineExceeded,
    /// It ran longer than [`Command::timeout`](crate::Command::timeout).
    Timeout,
    /// It wrote nothing for [`Command::idle_timeout`](crate::Command::idle_timeout).
    IdleTimeout,
    /// It wrote more than [`Command::output_limit`](crate::Command::output_limit).
    OutputLimit,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Cause::Cancelled => "cancelled",
            Cause::DeadlineExceeded => "deadline exceeded",
            Cause::Timeout => "timed out",
            Cause::IdleTimeout => "timed out without output",
            Cause::OutputLimit => "too much output",
        })
    }
}

impl std::error::Error for Cause {}

impl Cause {
    fn kind(self) -> io::ErrorKind {
        match self {
            // `Interrupted` would make callers try again.
            Cause::Cancelled => io::ErrorKind::Other,
            Cause::OutputLimit => io::ErrorKind::FileTooLarge,
            Cause::DeadlineExceeded | Cause::Timeout | Cause::IdleTimeout => {
                io::ErrorKind::TimedOut
            }
        }
    }
}

/// How a command ended, when it did not simply succeed.
///
/// ```
/// use execloop::{Cause, Command, Error, Reactor};
/// use std::time::Duration;
/// let mut reactor = Reactor::new()?;
/// reactor.start(Command::new("sleep").arg("600").timeout(Duration::from_millis(10)))?;
/// let error = reactor.wait_any()?.expect("it was started").outcome.unwrap_err();
/// assert_eq!(error.to_string(), "signal: SIGKILL (timed out)");
/// assert_eq!(error.cause(), Some(Cause::Timeout));
/// match error {
///     Error::Start(error) => println!("not started: {error}"),
///     Error::Exit(exit) => println!("status {}", exit.status),
///     error => println!("{error}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Of several things that went wrong the first in this order is reported (Go: `Cmd.Wait`): the start, a lost status, an
/// exit status that is not 0; then, for exit status 0, what came of stopping it, cut pipes, and a failed copy.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// It could not be started, or was ended before it was started. From a reactor, this is what the system says of a
    /// start; what is wrong with the command itself, [`Reactor::start`](crate::Reactor::start) returns. The forms for
    /// one command tell both this way.
    Start(StartError),
    /// It exited with a status other than 0, or a signal ended it. Whatever else happened, this is reported.
    Exit(ExitError),
    /// It exited with status 0 after it was asked to stop.
    Stopped(Cause),
    /// It exited with status 0, but asking it to stop had failed.
    Cancel(io::Error),
    /// It exited with status 0, but killing it had failed. From a [shutdown](crate::Reactor::shutdown): killing it had
    /// failed, and whether it has exited is not known.
    Kill(io::Error),
    /// It exited with status 0, but some process still held its pipes when the wait delay was over, and they were
    /// cut (Go: `ErrWaitDelay`).
    WaitDelay {
        /// Those that were cut.
        streams: Vec<Stream>,
    },
    /// It exited with status 0, but a reader, a writer or a pipe of one of its streams failed.
    Copy {
        /// Which stream.
        stream: Stream,
        /// The first failure.
        source: io::Error,
    },
    /// It has ended, but somebody else took its status: a `waitpid(-1)` elsewhere in the process, or an ignored
    /// SIGCHLD, on a kernel that does not keep the status for us (before Linux 6.15).
    StatusLost,
    /// The reactor itself failed while it waited.
    Reactor(io::Error),
}

impl Error {
    /// Why the command was asked to stop, if it was, whatever its status.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Error::Stopped(cause) | Error::Start(StartError::Stopped(cause)) => Some(*cause),
            Error::Exit(exit) => exit.cause,
            _ => None,
        }
    }

    /// The error of the system, or of a reader, a writer or a callback, that this one is about.
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Error::Start(error) => error.io_error(),
            Error::Cancel(source)
            | Error::Kill(source)
            | Error::Copy { source, .. }
            | Error::Reactor(source) => Some(source),
            Error::Exit(_) | Error::Stopped(_) | Error::WaitDelay { .. } | Error::StatusLost => {
                None
            }
        }
    }

    /// The error number of [`io_error`](Error::io_error), if it has one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.io_error().and_then(io::Error::raw_os_error)
    }

    /// The kind of the [`io::Error`] that this becomes by `From`. For a failed start it is that of its [`StartError`],
    /// otherwise that of [`io_error`](Error::io_error); [`TimedOut`](io::ErrorKind::TimedOut) where a deadline, a
    /// timeout, silence or the wait delay ended it; [`FileTooLarge`](io::ErrorKind::FileTooLarge) where too much output
    /// did; and [`Other`](io::ErrorKind::Other) for the rest: a status, a cancel, a lost status.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Error::Start(error) => error.kind(),
            Error::WaitDelay { .. } => io::ErrorKind::TimedOut,
            _ => match (self.io_error(), self.cause()) {
                (Some(error), _) => error.kind(),
                (None, Some(cause)) => cause.kind(),
                (None, None) => io::ErrorKind::Other,
            },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Start(error) => error.fmt(formatter),
            Error::Exit(exit) => exit.fmt(formatter),
            Error::Stopped(cause) => cause.fmt(formatter),
            Error::Cancel(source) => write!(formatter, "cancelling the command: {}", Plain(source)),
            Error::Kill(source) => write!(formatter, "killing the command: {}", Plain(source)),
            Error::WaitDelay { streams } => {
                formatter.write_str("wait delay expired with ")?;
                for (place, stream) in streams.iter().enumerate() {
                    let separator = match streams.len() - place {
                        _ if place == 0 => "",
                        1 => " and ",
                        _ => ", ",
                    };
                    write!(formatter, "{separator}{stream}")?;
                }
                formatter.write_str(" still open")
            }
            Error::Copy { stream, source } => {
                write!(formatter, "copying {stream}: {}", Plain(source))
            }
            Error::StatusLost => formatter.write_str(
                "exit status lost: another part of the process reaped the child, or SIGCHLD is ignored",
            ),
            Error::Reactor(source) => write!(formatter, "reactor: {}", Plain(source)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io_error().and_then(std::error::Error::source)
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Error {
        Error::Start(error)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

/// A command's exit with a status other than 0, or by a signal.
///
/// ```
/// use execloop::{Command, Error, Signal};
/// let error = Command::new("sh").args(["-c", "kill -TERM $$"]).run().unwrap_err();
/// let Error::Exit(exit) = error.into_reason() else { panic!("it was started") };
/// assert_eq!(exit.to_string(), "signal: SIGTERM");
/// assert_eq!((exit.status.code(), exit.signal(), exit.cause), (None, Some(Signal::TERM), None));
/// ```
///
/// Printed as Go's, with C's names of signals (Go: `signal: killed`): `exit status 1`, `signal: SIGKILL`,
/// `signal: SIGSEGV (core dumped)`, and with the cause behind it if the command was asked to stop:
/// `signal: SIGKILL (timed out)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExitError {
    /// The status.
    pub status: ExitStatus,
    /// Why it was asked to stop; `None` when it ended by itself.
    pub cause: Option<Cause>,
}

impl ExitError {
    /// The signal that ended the command; `None` when it has exited.
    pub fn signal(&self) -> Option<crate::Signal> {
        self.status.signal().and_then(crate::Signal::new)
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status.code(), self.signal()) {
            (Some(code), _) => write!(formatter, "exit status {code}")?,
            (None, Some(signal)) => write!(formatter, "signal: {signal}")?,
            (None, None) => write!(formatter, "{}", self.status)?,
        }
        if self.status.core_dumped() {
            write!(formatter, " (core dumped)")?;
        }
        if let Some(cause) = self.cause {
            write!(formatter, " ({cause})")?;
        }
        Ok(())
    }
}

impl std::error::Error for ExitError {}

/// There is no process to signal: the command has ended, waits for its start, is not this reactor's, or leads no group
/// (Go: `os.ErrProcessDone`). It is inside an [`io::Error`] of kind [`NotFound`](io::ErrorKind::NotFound), with `ESRCH`
/// as its source.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct NotRunning {
    text: &'static str,
    source: io::Error,
}

impl NotRunning {
    /// Says so of a signal that found no process, in place of the system's `No such process`.
    pub(crate) fn explain(error: io::Error, target: Target) -> io::Error {
        if !is_process_gone(&error) {
            return error;
        }
        let text = match target {
            Target::Process => "the command is not running",
            Target::Group => "the command leads no process group that is running",
        };
        let source = error;
        io::Error::new(io::ErrorKind::NotFound, NotRunning { text, source })
    }
}

/// Why a pipe that the caller reads or writes is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The caller has closed it.
    ByCaller,
    /// The wait delay was over.
    ByWaitDelay,
    /// The command was asked to stop or killed.
    ByStop(Cause),
    /// It was typed into the terminal of stdout, which is closed.
    WithTerminal,
    /// The command ended before it was started.
    NeverOpened,
}

impl Closed {
    /// What a read or write of the pipe comes to.
    pub(crate) fn error(self, stream: Stream) -> io::Error {
        let text = match self {
            Closed::ByCaller => format!("{stream} is closed"),
            Closed::ByWaitDelay => format!("{stream} was cut: wait delay expired"),
            Closed::ByStop(cause) => format!("{stream} was cut: {cause}"),
            Closed::WithTerminal => format!("{stream} was cut: its terminal, stdout, is closed"),
            Closed::NeverOpened => {
                format!("{stream} was never opened: the command was not started")
            }
        };
        io::Error::new(io::ErrorKind::NotConnected, text)
    }
}

/// A caller's callback panicked. It is the source of an [`io::Error`] in the command's outcome, [`Error::Copy`] or
/// [`Error::Cancel`], and outweighs what follows from it, such as a SIGPIPE: that is in
/// [`Finished::status`](crate::Finished).
#[derive(Debug, thiserror::Error)]
#[error("the {what} panicked: {message}")]
pub struct CallbackPanicked {
    what: &'static str,
    message: String,
}

impl CallbackPanicked {
    /// From what `catch_unwind` caught.
    pub(crate) fn new(
        what: &'static str,
        payload: &(dyn std::any::Any + Send),
    ) -> CallbackPanicked {
        let text = payload.downcast_ref::<&str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        CallbackPanicked {
            what,
            message: message.unwrap_or("no message").to_owned(),
        }
    }
}

/// It tells of a callback that panicked.
pub(crate) fn is_panic(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|source| source.is::<CallbackPanicked>())
}

impl From<CallbackPanicked> for io::Error {
    fn from(panicked: CallbackPanicked) -> io::Error {
        io::Error::other(panicked)
    }
}
