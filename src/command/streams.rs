//! A command's descriptors: stdin, stdout, stderr, those above, and which others it inherits.
//! Unaware of what becomes of a stream (`stdio`), and of how descriptors get to the child.

use std::os::fd::OwnedFd;

use super::{Command, Extra};
use crate::lines::Lines;
use crate::stdio::{Input, Output};

impl Command {
    /// Sets stdin. Default: [`Input::null`].
    pub fn stdin(&mut self, input: Input) -> &mut Command {
        self.set(|command| command.stdin = Some(input))
    }

    /// Sets stdout. Default: [`Output::null`].
    pub fn stdout(&mut self, output: Output) -> &mut Command {
        self.set(|command| command.stdout = Some(output))
    }

    /// Sets stderr. Default: [`Output::null`]. Takes [`stderr_to_stdout`](Command::stderr_to_stdout) back.
    pub fn stderr(&mut self, output: Output) -> &mut Command {
        self.set(|command| {
            command.stderr = Some(output);
            command.stderr_to_stdout = false;
        })
    }

    /// Sends stdout and stderr, line by line, to a callback that is told whose each line is, in place of what was set
    /// for them. With [`stderr_to_stdout`](Command::stderr_to_stdout) after it, all are stdout's.
    pub fn lines(&mut self, lines: &Lines) -> &mut Command {
        let to_lines = || Output::shared(lines);
        self.stdout(to_lines()).stderr(to_lines())
    }

    /// With `true`, sends stderr wherever stdout goes, through the same pipe, so that their order is kept, and takes
    /// [`stderr`](Command::stderr) back. Default: `false`.
    pub fn stderr_to_stdout(&mut self, merge: bool) -> &mut Command {
        self.set(|command| {
            if merge {
                command.stderr = None;
            }
            command.stderr_to_stdout = merge;
        })
    }

    /// Gives the child `file` as descriptor `number`, 3 or above, kept by exec. Ours is closed once the child has it,
    /// which is when its start returns: such a start waits for the program's exec. For one start. Of equal numbers the
    /// last counts. One that the child's `RLIMIT_NOFILE` excludes fails the start, with `EBADF`, dup2(2).
    pub fn extra_fd(&mut self, number: i32, file: impl Into<OwnedFd>) -> &mut Command {
        self.set_extra(number, Extra::File(file.into()))
    }

    /// Makes sure that the child has no descriptor `number`. Without [`inherit_fds`](Command::inherit_fds) it has none
    /// anyway, but 0, 1 and 2 can be closed by this alone (Go: a nil entry of `ExtraFiles`). Default: they are open.
    pub fn close_fd(&mut self, number: i32) -> &mut Command {
        self.set_extra(number, Extra::Closed)
    }

    fn set_extra(&mut self, number: i32, extra: Extra) -> &mut Command {
        self.set(|command| {
            command.extra.retain(|(other, _)| *other != number);
            command.extra.push((number, extra));
        })
    }

    /// With `true`, the child inherits every descriptor that lacks close-on-exec, as Unix has it. Default: `false`, it
    /// gets 0, 1, 2 and its [extra](Command::extra_fd) ones. The cost: its start copies the parent's whole table.
    pub fn inherit_fds(&mut self, inherit: bool) -> &mut Command {
        self.change(|command| command.attributes_mut().inherit_fds = inherit)
    }
}
