//! What is measured side by side: execloop, and what a user would take instead. Each does the same, the way its own
//! documentation has it, on one thread (`std` takes one more for each command that it waits for beside others).
//! Unaware of what is timed.
#![allow(dead_code, reason = "each program uses the part that it needs")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use execloop::Reactor;

use crate::children::{SAID_BYTES, SAID_ERR_BYTES};

mod async_process;
mod ours;
mod threads;
mod tokio;

pub(crate) use async_process::AsyncProcess;
pub(crate) use ours::Execloop;
pub(crate) use threads::Std;
pub(crate) use tokio::Tokio;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A way to run commands.
pub(crate) trait Peer: Sized {
    const NAME: &str;

    fn new() -> Outcome<Self>;

    /// Runs `program` `count` times, so many at once, with null streams.
    fn run(&mut self, program: &Path, count: usize, at_once: usize) -> Outcome<()>;

    /// Runs `program` `count` times, so many at once, with stdout and stderr captured.
    fn capture(&mut self, program: &Path, count: usize, at_once: usize) -> Outcome<()>;

    /// Runs `program` `count` times, all at once, reads what it writes to stdout, and counts it.
    fn count_bytes(&mut self, program: &Path, count: usize) -> Outcome<usize>;

    /// Runs `program` once, with null streams, and tells when the call that starts it returned.
    fn start_and_wait(&mut self, program: &Path, started: &mut dyn FnMut()) -> Outcome<()>;

    /// Starts `program` so many times, with stdout piped, and leaves it running.
    fn hold(&mut self, program: &Path, count: usize) -> Outcome<()>;

    /// Kills and reaps what is held.
    fn release(&mut self) -> Outcome<()>;
}

/// Raises the limit of descriptors for the whole process, and tells what it is then.
pub(crate) fn raise_fd_limit() -> Outcome<usize> {
    Reactor::builder().raise_fd_limit(true).build()?;
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    Ok(soft
        .ok_or("no limit of open files")?
        .parse()
        .unwrap_or(usize::MAX))
}

/// Fails unless this is what `say` writes.
fn check_said(stdout: &[u8], stderr: &[u8]) -> Outcome<()> {
    check(
        stdout.len() == SAID_BYTES && stderr.len() == SAID_ERR_BYTES,
        "output was lost",
    )
}

fn check(holds: bool, otherwise: &str) -> Outcome<()> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// How long `work` takes.
#[expect(clippy::disallowed_methods, reason = "benches read the clock")]
pub(crate) fn time(work: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    let start = std::time::Instant::now();
    work()?;
    Ok(start.elapsed())
}
