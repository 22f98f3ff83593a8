//! The forms for one command: `Command::run`, `finish`, `output` and `combined_output`, each in a reactor of its own.
//! Unaware of how a reactor works, and of what a command is made of beside its outputs.

use crate::command::Command;
use crate::error::{CommandError, Error, StartError};
use crate::finished::Finished;
use crate::reactor::Reactor;
use crate::stdio::Output;

/// How much of stderr's beginning and end a failed [`Command::output`] keeps (Go: 32 KiB each).
const STDERR_END_BYTES: usize = 32 * 1024;

impl Command {
    /// Runs it to its end, on this thread, in a reactor of its own. Refused with [`Input::pipe`](crate::Input::pipe) or
    /// [`Output::pipe`], as are the other forms for one command: nobody could write or read it meanwhile.
    ///
    /// That reactor is made for this run, so its start copies the descriptors that the program has open by then
    /// ([`Reactor`], "Make it early"). To run many commands, keep a reactor.
    ///
    /// # Errors
    /// [`CommandError`] tells why it could not be started or did not succeed, and holds what was captured.
    pub fn run(&mut self) -> Result<(), CommandError> {
        let finished = self.finish()?;
        self.stdout_or_error(finished).map(drop)
    }

    /// Runs it to its end and tells everything: with the output so far, whatever the outcome.
    ///
    /// # Errors
    /// Why it could not be started, or [`Error::Reactor`].
    pub fn finish(&mut self) -> Result<Finished, CommandError> {
        self.finish_alone().map_err(|reason| self.failure(reason))
    }

    fn finish_alone(&mut self) -> Result<Finished, Error> {
        self.refuse_set(
            self.has_callers_pipe(),
            "nobody can read or write a pipe of the caller's meanwhile: that needs a reactor",
        )?;
        let mut reactor = Reactor::new().map_err(StartError::Reactor)?;
        let id = reactor.start(self)?;
        let finished = reactor.wait(id).map_err(Error::Reactor)?;
        let finished = finished.ok_or(Error::StatusLost)?;
        match finished.outcome {
            Err(error @ Error::Start(_)) => Err(error),
            _ => Ok(finished),
        }
    }

    /// Runs it to its end and returns its stdout (Go: `Cmd.Output`).
    ///
    /// # Errors
    /// As [`run`](Command::run). Whatever ended the command, [`CommandError::stdout`] is its stdout so far, and
    /// [`CommandError::stderr`] the first and last 32 KiB of its stderr, unless stderr was set. Refused when stdout was
    /// set.
    pub fn output(&mut self) -> Result<Vec<u8>, CommandError> {
        self.refuse_set_for_form(self.stdout.is_some(), "stdout is already set")?;
        let keeps_stderr = self.stderr.is_none() && !self.stderr_to_stdout;
        self.stdout = Some(Output::capture());
        if keeps_stderr {
            self.stderr = Some(Output::capture_ends(STDERR_END_BYTES));
        }
        let finished = self.finish();
        self.stdout = None;
        if keeps_stderr {
            self.stderr = None;
        }
        self.stdout_or_error(finished?)
    }

    /// Runs it to its end and returns its stdout and stderr, in the order in which it wrote them (Go:
    /// `Cmd.CombinedOutput`).
    ///
    /// # Errors
    /// As [`run`](Command::run); whatever ended the command, [`CommandError::stdout`] is the output so far. Refused
    /// when stdout or stderr was set.
    pub fn combined_output(&mut self) -> Result<Vec<u8>, CommandError> {
        self.refuse_set_for_form(self.stdout.is_some(), "stdout is already set")?;
        self.refuse_set_for_form(
            self.stderr.is_some() || self.stderr_to_stdout,
            "stderr is already set",
        )?;
        self.stdout = Some(Output::capture());
        self.stderr_to_stdout = true;
        let finished = self.finish();
        self.stdout = None;
        self.stderr_to_stdout = false;
        self.stdout_or_error(finished?)
    }

    fn refuse_set_for_form(&self, is_set: bool, why: &'static str) -> Result<(), CommandError> {
        self.refuse_set(is_set, why)
            .map_err(|error| self.failure(error.into()))
    }

    /// What a successful command wrote; a failed one's output goes into its error (Go returns both).
    fn stdout_or_error(&self, finished: Finished) -> Result<Vec<u8>, CommandError> {
        match finished.outcome {
            Ok(()) => Ok(finished.stdout),
            Err(reason) => Err(CommandError::new(
                self.get_program().to_owned(),
                reason,
                finished.stdout,
                finished.stderr,
            )),
        }
    }

    /// The error of a form that ran nothing.
    fn failure(&self, reason: Error) -> CommandError {
        CommandError::new(
            self.get_program().to_owned(),
            reason,
            Vec::new(),
            Vec::new(),
        )
    }
}
