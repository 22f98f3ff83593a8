//! `StartError`: why a command could not be started.
//! Unaware of how that was found out (`diagnose` looks for it).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Cause;
use crate::lookpath::LookPathError;
use crate::plain::Plain;
use crate::sys::StartStep;

/// A command that could not be started. No child is left behind.
///
/// ```
/// use execloop::{Command, Error, Reactor, StartError, StartStep};
/// let mut reactor = Reactor::new()?;
/// let refused = reactor.start(&mut Command::new("no-such-program"));
/// assert!(matches!(refused, Err(StartError::LookPath(_))));
/// reactor.start(Command::new("ls").current_dir("/no/such"))?; // what the system says comes at its end
/// let error = reactor.wait_any()?.expect("it was accepted").outcome.unwrap_err();
/// assert_eq!(error.to_string(), "chdir /no/such: No such file or directory");
/// assert!(matches!(error, Error::Start(StartError::Step { step: StartStep::Chdir, .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Reactor::start`](crate::Reactor::start) returns what is wrong with the command itself. What the system says of its
/// start ([`Step`](StartError::Step), [`Interpreter`](StartError::Interpreter)) is in its
/// [`Finished`](crate::Finished), also when it is found out at once, and so is what ended it before it was started. The
/// forms for one command return either.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The program's name is empty (Go: `exec: no command`).
    NoCommand,
    /// The program's name was not found, or found only relative to the current directory.
    LookPath(LookPathError),
    /// Its context had ended before the start, or it was asked to stop before its program ran: while it waited, or
    /// while its start was tried again.
    Stopped(Cause),
    /// A string that the program would see cut off: it holds a NUL byte.
    Nul {
        /// What holds it: `argument 2`, `program`, `directory`, `environment` ..
        what: String,
    },
    /// What was for one start alone (a reader, writer, callback, file or data) was used up by an earlier one.
    Consumed {
        /// `stdin`, `stdout`, `stderr`, `data` or `extra descriptor 5`.
        stream: String,
    },
    /// The command's settings contradict each other.
    Refused(&'static str),
    /// The working directory for `PWD` could not be made absolute.
    Directory {
        /// The directory as given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A script may be executed, but the interpreter that its `#!` line names is missing or may not.
    Interpreter {
        /// The script; a relative one with the directory that it was looked for in.
        program: PathBuf,
        /// The interpreter, as the script names it.
        interpreter: PathBuf,
        /// `ENOENT`, `EACCES` ..
        source: io::Error,
    },
    /// One step between the pipes and the exec failed.
    Step {
        /// Which.
        step: StartStep,
        /// What the step was about: the program for `exec`, the directory for `chdir`, a file of the cgroup that was to
        /// be made.
        path: Option<PathBuf>,
        /// The kernel's answer.
        source: io::Error,
        /// What else is known of the cause: where a relative program was looked for, what kind of file it is, which
        /// argument is too long.
        detail: Option<String>,
    },
    /// The reactor was shut down or dropped before the command's turn came.
    ShutDown,
    /// The reactor belongs to the process that this one was forked from: make another.
    Forked,
    /// A private reactor for one command could not be made.
    Reactor(io::Error),
}

impl StartError {
    /// The error of the system that this one is about.
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            StartError::LookPath(error) => error.io_error(),
            StartError::Directory { source, .. }
            | StartError::Interpreter { source, .. }
            | StartError::Step { source, .. }
            | StartError::Reactor(source) => Some(source),
            StartError::NoCommand
            | StartError::Stopped(_)
            | StartError::Nul { .. }
            | StartError::Consumed { .. }
            | StartError::Refused(_)
            | StartError::ShutDown
            | StartError::Forked => None,
        }
    }

    /// The error number of [`io_error`](StartError::io_error), if it has one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.io_error().and_then(io::Error::raw_os_error)
    }

    /// The kind that an [`io::Error`] made of this has: that of [`io_error`](StartError::io_error);
    /// [`NotFound`](io::ErrorKind::NotFound) for a bare name that is in no directory of `PATH`, too, and
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for one that is found only from the current directory;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a command that cannot be started as it is set up;
    /// [`TimedOut`](io::ErrorKind::TimedOut) for a deadline or a timeout; [`Unsupported`](io::ErrorKind::Unsupported)
    /// in a forked copy of the process; and [`Other`](io::ErrorKind::Other) where it was cancelled or the reactor shut
    /// down.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            StartError::LookPath(error) => error.kind(),
            StartError::Stopped(cause) => cause.kind(),
            StartError::NoCommand
            | StartError::Nul { .. }
            | StartError::Consumed { .. }
            | StartError::Refused(_) => io::ErrorKind::InvalidInput,
            StartError::Forked => io::ErrorKind::Unsupported,
            _ => self
                .io_error()
                .map_or(io::ErrorKind::Other, io::Error::kind),
        }
    }

    /// Its text begins with the program, or is about it.
    pub(super) fn names_program(&self) -> bool {
        match self {
            StartError::LookPath(_) | StartError::Interpreter { .. } => true,
            StartError::Step { step, .. } => *step == StartStep::Exec,
            _ => false,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoCommand => formatter.write_str("no command: the program's name is empty"),
            StartError::LookPath(error) => error.fmt(formatter),
            StartError::Stopped(cause) => write!(formatter, "not started: {cause}"),
            StartError::Nul { what } => write!(formatter, "{what} contains a NUL byte"),
            StartError::Consumed { stream } => write!(
                formatter,
                "{stream} was used up by an earlier start of this command"
            ),
            StartError::Refused(why) => formatter.write_str(why),
            StartError::Directory { path, source } => write!(
                formatter,
                "absolute path of directory {path:?}: {}",
                Plain(source)
            ),
            // Quoted, as the usual fault is a carriage return at its end.
            StartError::Interpreter {
                program,
                interpreter,
                source,
            } => write!(
                formatter,
                "exec {}: interpreter {interpreter:?} of its #! line: {}",
                OneLine(program),
                Plain(source)
            ),
            StartError::Step {
                step,
                path,
                source,
                detail,
            } => {
                write!(formatter, "{step}")?;
                if let Some(path) = path {
                    write!(formatter, " {}", OneLine(path))?;
                }
                write!(formatter, ": {}", Plain(source))?;
                match detail {
                    Some(detail) => write!(formatter, " ({detail})"),
                    None => Ok(()),
                }
            }
            StartError::ShutDown => formatter.write_str("not started: the reactor was shut down"),
            StartError::Forked => formatter.write_str(
                "not started: the reactor belongs to the process that this one was forked from",
            ),
            StartError::Reactor(source) => write!(formatter, "reactor: {}", Plain(source)),
        }
    }
}

/// A path as it is, or quoted where it would not be one line of plain text.
struct OneLine<'a>(&'a Path);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.as_os_str().as_encoded_bytes();
        if bytes.iter().any(u8::is_ascii_control) {
            write!(formatter, "{:?}", self.0)
        } else {
            write!(formatter, "{}", self.0.display())
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io_error().and_then(std::error::Error::source)
    }
}

impl From<LookPathError> for StartError {
    fn from(error: LookPathError) -> StartError {
        StartError::LookPath(error)
    }
}

impl From<StartError> for io::Error {
    fn from(error: StartError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}
