//! `CommandError`: what the forms for one command give in place of its output.
//! Unaware of how the command was run.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;

use super::{Cause, Error};
use crate::plain::Excerpt;

/// Why [`Command::run`](crate::Command::run), [`output`](crate::Command::output) and the other forms for one command
/// failed, with everything that the command wrote before.
///
/// ```
/// use execloop::{Command, Error};
/// let mut command = Command::new("sh");
/// let error = command.args(["-c", "echo half; echo why >&2; exit 3"]).output().unwrap_err();
/// assert_eq!(error.to_string(), "sh: exit status 3");
/// assert_eq!((error.stdout(), error.stderr()), (&b"half\n"[..], &b"why\n"[..]));
/// assert!(matches!(error.reason(), Error::Exit(exit) if exit.status.code() == Some(3)));
/// ```
///
/// Its text names the program: `git: exit status 128`, `make: signal: SIGKILL (timed out)`. The arguments are left out,
/// as they may be long or secret. [`Finished`](crate::Finished) is the same for commands of a reactor.
// Boxed, as it is larger than what it stands beside in a `Result`.
pub struct CommandError(Box<Parts>);

struct Parts {
    program: OsString,
    reason: Error,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl CommandError {
    pub(crate) fn new(
        program: OsString,
        reason: Error,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    ) -> CommandError {
        CommandError(Box::new(Parts {
            program,
            reason,
            stdout,
            stderr,
        }))
    }

    /// Why, whatever the program.
    pub fn reason(&self) -> &Error {
        &self.0.reason
    }

    /// Gives up the rest for the reason.
    pub fn into_reason(self) -> Error {
        self.0.reason
    }

    /// The program, as the command was given it.
    pub fn program(&self) -> &OsStr {
        &self.0.program
    }

    /// What was captured of its stdout, whatever ended it. From
    /// [`combined_output`](crate::Command::combined_output) with stderr's in it. Empty when it was never started.
    pub fn stdout(&self) -> &[u8] {
        &self.0.stdout
    }

    /// What was captured of its stderr: by [`output`](crate::Command::output) the first and last 32 KiB, unless it was
    /// set otherwise.
    pub fn stderr(&self) -> &[u8] {
        &self.0.stderr
    }

    /// Gives up the reason for its stdout and stderr.
    pub fn into_output(self) -> (Vec<u8>, Vec<u8>) {
        (self.0.stdout, self.0.stderr)
    }

    /// As [`Error::cause`].
    pub fn cause(&self) -> Option<Cause> {
        self.reason().cause()
    }

    /// As [`Error::io_error`].
    pub fn io_error(&self) -> Option<&io::Error> {
        self.reason().io_error()
    }

    /// As [`Error::raw_os_error`].
    pub fn raw_os_error(&self) -> Option<i32> {
        self.reason().raw_os_error()
    }

    /// As [`Error::kind`].
    pub fn kind(&self) -> io::ErrorKind {
        self.reason().kind()
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_named = match self.reason() {
            Error::Start(error) => error.names_program(),
            _ => false,
        };
        if !is_named && !self.program().is_empty() {
            write!(formatter, "{}: ", self.program().display())?;
        }
        self.reason().fmt(formatter)
    }
}

impl fmt::Debug for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CommandError")
            .field("program", &self.0.program)
            .field("reason", &self.0.reason)
            .field("stdout", &Excerpt(&self.0.stdout))
            .field("stderr", &Excerpt(&self.0.stderr))
            .finish()
    }
}

impl std::error::Error for CommandError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason().source()
    }
}

impl From<CommandError> for io::Error {
    fn from(error: CommandError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}
