//! Runs a helper mode that checks itself.
//! Unaware of what it checks; counts of descriptors and zombies are taken there, where they are private.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use execloop::Output;

use super::finish::finish;
use super::helper::helper;
use super::text::text;

/// Runs a helper mode that checks something by itself, and shows what it says if it fails.
#[track_caller]
pub fn check(mode: &str, arguments: &[&str]) {
    let done = finish(
        helper(mode)
            .args(arguments)
            .stdout(Output::capture())
            .stderr_to_stdout(true),
    );
    assert!(
        done.success(),
        "{mode} {arguments:?}: {:?}\n{}",
        done.outcome,
        text(&done.stdout)
    );
}
