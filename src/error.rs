//! The errors: one enum for a start that failed, one for how a command ended.
//! Unaware of how they come about.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::lookpath::LookPathError;
use crate::plain::Plain;
use crate::sys::Step;

/// Why a command was asked to stop.
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
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Cause::Cancelled => "cancelled",
            Cause::DeadlineExceeded => "deadline exceeded",
            Cause::Timeout => "timed out",
            Cause::IdleTimeout => "timed out without output",
        })
    }
}

impl std::error::Error for Cause {}

/// One of a command's standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Descriptor 0.
    Stdin,
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl fmt::Display for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Stream::Stdin => "stdin",
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        })
    }
}

/// A command that could not be started. No child is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program's name is empty (Go: `exec: no command`).
    #[error("no command: the program's name is empty")]
    NoCommand,
    /// The program's name was not found, or found only relative to the current directory.
    #[error("{0}")]
    LookPath(#[from] LookPathError),
    /// The context had ended before the start; nothing was spawned.
    #[error("not started: {0}")]
    ContextDone(Cause),
    /// A string that the program would see cut off: it holds a NUL byte.
    #[error("{what} contains a NUL byte")]
    Nul {
        /// What holds it: `argument 2`, `program`, `directory`, `environment` ..
        what: String,
    },
    /// A reader, writer or file given to the command was used up by an earlier start.
    #[error("{stream} was used up by an earlier start of this command")]
    Consumed {
        /// `stdin`, `stdout`, `stderr` or `extra descriptor 5`.
        stream: String,
    },
    /// The command's settings contradict each other.
    #[error("{0}")]
    Refused(&'static str),
    /// The working directory for `PWD` could not be made absolute.
    #[error("absolute path of directory {path:?}: {}", Plain(source))]
    Directory {
        /// The directory as given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A script may be executed, but the interpreter that its `#!` line names is missing or may not.
    // Quoted, as the usual fault is a carriage return at its end.
    #[error("exec {program}: interpreter {interpreter:?} of its #! line: {plain}", plain = Plain(source), program = program.display())]
    Interpreter {
        /// The script.
        program: PathBuf,
        /// The interpreter, as the script names it.
        interpreter: PathBuf,
        /// `ENOENT`, `EACCES` ..
        source: io::Error,
    },
    /// One step between the pipes and the exec failed.
    #[error("{step}{}: {}{}", OnPath(path), Plain(source), detail.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Step {
        /// Which.
        step: Step,
        /// What the step was about: the program for `exec`, the directory for `chdir`.
        path: Option<PathBuf>,
        /// The kernel's answer.
        source: io::Error,
        /// What else is known of the cause, such as the size of an argument list that is too long.
        detail: Option<String>,
    },
    /// The reactor was shut down or dropped before the command's turn came.
    #[error("not started: the reactor was shut down")]
    ShutDown,
    /// The reactor belongs to the process that this one was forked from: make another.
    #[error("the reactor belongs to the process that this one was forked from")]
    Forked,
    /// A private reactor for one command could not be made.
    #[error("reactor: {}", Plain(.0))]
    Reactor(#[source] io::Error),
}

/// Prints ` path` or nothing.
struct OnPath<'a>(&'a Option<PathBuf>);

impl fmt::Display for OnPath<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(formatter, " {}", path.display()),
            None => Ok(()),
        }
    }
}

/// How a command ended, when it did not simply succeed.
///
/// Of several things that went wrong the first in this order is told (Go: `Cmd.Wait`): the start, a lost status, an
/// exit status that is not 0; then, for exit status 0, what came of stopping it, cut pipes, and a failed copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It was queued, and then could not be started.
    #[error("{0}")]
    Start(#[from] StartError),
    /// It exited with a status other than 0, or a signal ended it. Whatever else happened, this is told.
    #[error("{0}")]
    Exit(ExitError),
    /// It exited with status 0 after it was asked to stop.
    #[error("{0}")]
    Stopped(Cause),
    /// It exited with status 0, but asking it to stop had failed.
    #[error("cancelling the command: {}", Plain(.0))]
    Cancel(#[source] io::Error),
    /// It exited with status 0, but killing it had failed.
    #[error("killing the command: {}", Plain(.0))]
    Kill(#[source] io::Error),
    /// It exited with status 0, but some process still held its pipes when the wait delay was over, and they were
    /// cut (Go: `ErrWaitDelay`).
    #[error("wait delay expired before its output ended")]
    WaitDelay,
    /// It exited with status 0, but a reader, a writer or a pipe of one of its streams failed.
    #[error("copying {stream}: {}", Plain(source))]
    Copy {
        /// Which stream.
        stream: Stream,
        /// The first failure.
        source: io::Error,
    },
    /// It has ended, but somebody else took its status: a `waitpid(-1)` elsewhere in the process, or an ignored
    /// SIGCHLD, on a kernel that does not keep the status for us (before Linux 6.15).
    #[error(
        "exit status lost: another part of the process reaped the child, or SIGCHLD is ignored"
    )]
    StatusLost,
    /// The reactor itself failed while it waited.
    #[error("reactor: {}", Plain(.0))]
    Reactor(#[source] io::Error),
}

impl Error {
    /// Why the command was asked to stop, if it was, whatever its status.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Error::Stopped(cause) | Error::Start(StartError::ContextDone(cause)) => Some(*cause),
            Error::Exit(exit) => exit.cause,
            _ => None,
        }
    }
}

/// A command's exit with a status other than 0, or by a signal.
///
/// Printed like Go's: `exit status 1`, `signal: SIGKILL`, `signal: SIGSEGV (core dumped)`, and with the cause behind
/// it if the command was asked to stop: `signal: SIGKILL (timed out)`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExitError {
    /// The status.
    pub status: ExitStatus,
    /// Why it was asked to stop; `None` when it ended by itself.
    pub cause: Option<Cause>,
    /// What it wrote to stdout. Filled by [`Command::output`](crate::Command::output) and
    /// [`Command::combined_output`](crate::Command::combined_output), which would have returned it; elsewhere it is in
    /// [`Finished`](crate::Finished).
    pub stdout: Vec<u8>,
    /// The first and last 32 KiB of what it wrote to stderr. Filled by [`Command::output`](crate::Command::output)
    /// alone, where stderr is not set otherwise.
    pub stderr: Vec<u8>,
}

impl fmt::Display for ExitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::os::unix::process::ExitStatusExt;
        match (
            self.status.code(),
            self.status.signal().and_then(crate::Signal::new),
        ) {
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

/// A caller's callback panicked. It is the source of an [`io::Error`] in the command's outcome.
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

impl From<CallbackPanicked> for io::Error {
    fn from(panicked: CallbackPanicked) -> io::Error {
        io::Error::other(panicked)
    }
}
