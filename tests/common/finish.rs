//! Runs one command to its end.
//! Unaware of how it should end.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use execloop::{Command, Finished};

/// Runs a command that starts, and tells everything.
#[track_caller]
pub fn finish(command: &mut Command) -> Finished {
    command.finish().expect("the command starts")
}
