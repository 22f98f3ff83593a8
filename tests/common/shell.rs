//! A script as a command.
//! Unaware of what it says.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use execloop::Command;

/// A command that runs `script` by `/bin/sh`.
pub fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}
