//! A command as text: a line that a shell takes, and what a debugger shows.
//! Unaware of quoting (`plain`).

use std::fmt;

use super::Command;
use crate::plain::ShellWord;

/// A line that a POSIX shell takes: the path and the arguments after argument 0, quoted where they need it (Go:
/// `Cmd.String`, which does not quote). The program as it was given where none was found. Neither the directory nor the
/// environment is shown: that is what [`shell_line`](Command::shell_line) is for. The trap: an argument with a line
/// break in it is shown with that.
impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = match self.lookup_error() {
            None => self.resolved_path().as_os_str(),
            Some(_) => &self.program,
        };
        write!(formatter, "{}", ShellWord::Program(program))?;
        for argument in self.get_args() {
            write!(formatter, " {}", ShellWord::Argument(argument))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Command")
            .field("path", &self.resolved_path())
            .field("argv", &self.argv().collect::<Vec<_>>())
            .field("directory", &self.directory)
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("cancel", &self.cancel)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
