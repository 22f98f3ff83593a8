//! Runs the helper's `faults` mode, which checks everything itself.
//! Unaware of what it is told to do.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::time::Duration;

use execloop::{Command, Output};

use crate::common::finish::finish;
use crate::common::text::text;

/// A run that hangs is a failure; none takes longer than seconds.
const GUARD: Duration = Duration::from_secs(300);

/// The helper's word for "this machine does not allow that".
const SKIPPED: Option<i32> = Some(77);

/// Runs one command of the helper's. Returns what it says; `None` if it cannot be had here, which is shown.
#[track_caller]
pub fn said(command: &mut Command) -> Option<String> {
    let shown = command.to_string();
    let done = finish(
        command
            .stdout(Output::capture())
            .stderr_to_stdout(true)
            .timeout(GUARD),
    );
    let said = text(&done.stdout);
    if done.status.and_then(|status| status.code()) == SKIPPED {
        eprintln!("skipped: {shown}: {said}");
        return None;
    }
    assert!(done.success(), "{shown}: {:?}\n{said}", done.outcome);
    Some(said)
}
