//! Somebody sits at a terminal of the test's own.
//! Unaware of what is typed there.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use execloop::linux::CommandExt;
use execloop::{Command, Input, Output, TerminalSize};

/// Makes the command the leader of a session on a new terminal, whose keys are its stdin's pipe and whose screen is its stdout's.
pub fn at_terminal(command: &mut Command) -> &mut Command {
    command
        .session(true)
        .stdin(Input::pipe().terminal())
        .stdout(Output::pipe().terminal(TerminalSize::default()))
        .stderr_to_stdout(true)
        .controlling_terminal(0)
}
