//! The helper child as a command.
//! Unaware of its modes.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use execloop::Command;

use super::helper_path::helper_path;

/// A command that runs the helper child in `mode`.
pub fn helper(mode: &str) -> Command {
    let mut command = Command::new(helper_path());
    command.arg(mode);
    command
}
