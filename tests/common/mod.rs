//! What the integration tests share: the helper child as a command.
//! Unaware of any single test; counts of descriptors and zombies are taken in the helper, where they are private.
#![allow(dead_code, reason = "each test file uses the part that it needs")]

use execloop::Command;

/// The path of the helper child.
pub fn helper_path() -> &'static str {
    env!("CARGO_BIN_EXE_execloop-test-helper")
}

/// A command that runs the helper child in `mode`.
pub fn helper(mode: &str) -> Command {
    let mut command = Command::new(helper_path());
    command.arg(mode);
    command
}
