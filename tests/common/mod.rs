//! What the integration tests share: the helper child as a command, and scratch directories.
//! Unaware of any single test; counts of descriptors and zombies are taken in the helper, where they are private.
#![allow(
    dead_code,
    reason = "each test file uses the part that it needs; tests/watchdog.rs finds what none does"
)]
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

pub mod start_error;
mod watchdog;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use execloop::{Command, Finished, Output};

/// The path of the helper child.
pub fn helper_path() -> &'static str {
    if !cfg!(feature = "test-helper") {
        panic!("the helper child is not built: run `cargo test --all-features`");
    }
    env!("CARGO_BIN_EXE_execloop-test-helper")
}

/// A command that runs the helper child in `mode`.
pub fn helper(mode: &str) -> Command {
    let mut command = Command::new(helper_path());
    command.arg(mode);
    command
}

/// A command that runs `script` by `/bin/sh`.
pub fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// Runs a command that starts, and tells everything.
#[track_caller]
pub fn finish(command: &mut Command) -> Finished {
    command.finish().expect("the command starts")
}

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

/// Output as text, for comparisons and messages.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory of the test's own, removed at its end.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let base =
            std::fs::canonicalize(env!("CARGO_TARGET_TMPDIR")).expect("the target directory");
        let path = base.join(name);
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
