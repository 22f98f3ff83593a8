//! The events of a run: a command has started, a command has ended. A sink receives them.
//! Unaware of what sinks do with them.

use std::fmt;
use std::time::{Duration, Instant};

use execloop::Finished;

use crate::outbox::Entry;
use crate::output::Output;

/// One command of the run.
#[derive(Debug)]
pub(crate) struct Job {
    /// From 1, in the order of the list.
    pub(crate) sequence: u64,
    /// Of its line, or of its arguments.
    pub(crate) number: u64,
    /// `line` or `job`: what the number counts.
    pub(crate) unit: &'static str,
    /// The command.
    pub(crate) text: Vec<u8>,
    /// The same for people.
    pub(crate) shown: String,
    /// Before each line of output, where that is wanted: the arguments, or the command.
    pub(crate) tag: String,
    /// From 0.
    pub(crate) slot: usize,
    /// From 1.
    pub(crate) attempt: u32,
    /// Bytes for its stdin.
    pub(crate) sent: u64,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    Succeeded,
    /// And why.
    Failed(&'a str),
    /// It was stopped, as all were.
    Cancelled,
}

impl<'a> Fate<'a> {
    /// The same of a command whose results are not all there, for this reason. One that was cancelled has still to run.
    pub(crate) fn or_lost(self, reason: Option<&'a str>) -> Fate<'a> {
        match (self, reason) {
            (Fate::Succeeded, Some(reason)) => Fate::Failed(reason),
            (fate, _) => fate,
        }
    }
}

/// The end of a command, or of its last try.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) job: &'a Job,
    pub(crate) fate: Fate<'a>,
    /// `None` where it was refused before its start.
    pub(crate) finished: Option<&'a Finished>,
    pub(crate) output: &'a Output,
}

impl Ended<'_> {
    /// The exit status, or what a shell has for a command that cannot be executed.
    pub(crate) fn code(&self) -> i32 {
        let finished = self.finished;
        match finished.and_then(|finished| finished.status) {
            Some(status) => status.code().unwrap_or(0),
            None if self.fate == Fate::Succeeded => 0,
            None => 127,
        }
    }

    /// The signal that ended it, or 0.
    pub(crate) fn signal(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = self.finished.and_then(|finished| finished.status);
        status.and_then(|status| status.signal()).unwrap_or(0)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.finished.map_or(Duration::ZERO, Finished::elapsed)
    }

    pub(crate) fn started(&self) -> Option<Instant> {
        self.finished.and_then(|finished| finished.started)
    }
}

/// Receives the events of all commands, on the loop's thread: it must not block.
pub(crate) trait Sink: fmt::Debug {
    /// One need not run.
    fn skipped(&mut self) {}

    fn started(&mut self, _job: &Job) {}

    /// One try has failed, and another follows.
    fn retried(&mut self, _ended: &Ended<'_>) {}

    fn ended(&mut self, _ended: &Ended<'_>) {}

    /// What is to be recorded of an end once the command's output is written.
    fn entry(&mut self, _ended: &Ended<'_>) -> Option<Entry> {
        None
    }

    /// The run is over.
    fn close(&mut self) {}
}
