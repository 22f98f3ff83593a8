//! Programs that embed a reactor: scenarios of the helper.
//! Unaware of what they check.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use execloop::Output;

use super::helper::helper;

/// Runs a scenario of the helper's mode `embed`, which checks itself, and passes on why it was skipped.
#[track_caller]
pub fn embed(words: &[&str]) {
    let mut command = helper("embed");
    let done = command
        .args(words)
        .stdout(Output::capture())
        .stderr_to_stdout(true)
        .finish()
        .expect("the helper starts");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.success(), "{words:?}: {:?}\n{said}", done.outcome);
    for line in said.lines().filter(|line| line.starts_with("skipped")) {
        eprintln!("{line}");
    }
}
