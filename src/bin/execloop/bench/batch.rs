//! The children of one engine as commands of std, which the engines that others have made take, too, and what each of them
//! reports.
//! Unaware of how an engine runs them.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Workload, child, name};
use crate::clock;

/// What `cat` is given.
pub(super) const CAT_BYTES: usize = 64 * 1024;

/// What was seen while an engine ran.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) latencies_ns: Vec<u64>,
    /// Open descriptors, in the middle of the run.
    pub(super) fds: u64,
}

impl Seen {
    /// One child of so many is reported. Its output ends in the time when it was done.
    pub(super) fn report(
        &mut self,
        workload: Workload,
        children: usize,
        output: &[u8],
    ) -> io::Result<()> {
        let now = clock::monotonic_ns();
        let stamp = match output.split_last_chunk() {
            Some((work, stamp)) if work.len() == output_bytes(workload) => stamp,
            _ => return Err(io::Error::other("a child did not do its work")),
        };
        let stamp = u64::from_le_bytes(*stamp);
        if self.latencies_ns.len() == children / 2 {
            // Without the one that is reading them.
            let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
            self.fds = open.saturating_sub(1) as u64;
        }
        self.latencies_ns.push(now.saturating_sub(stamp));
        Ok(())
    }
}

/// What a child writes before the time.
fn output_bytes(workload: Workload) -> usize {
    match workload {
        Workload::Exit | Workload::Sleep | Workload::Spin => 0,
        Workload::Echo => child::ECHO.len(),
        Workload::Cat => CAT_BYTES,
    }
}

/// So many children of one workload, which several threads or tasks take from.
#[derive(Debug)]
pub(super) struct Batch {
    program: PathBuf,
    workload: Workload,
    children: usize,
    taken: AtomicUsize,
    input: Vec<u8>,
    seen: Mutex<Seen>,
}

impl Batch {
    pub(super) fn new(workload: Workload, children: usize) -> io::Result<Batch> {
        let bytes = if workload == Workload::Cat {
            CAT_BYTES
        } else {
            0
        };
        Ok(Batch {
            program: std::env::current_exe()?,
            workload,
            children,
            taken: AtomicUsize::new(0),
            input: vec![b'x'; bytes],
            seen: Mutex::default(),
        })
    }

    /// Takes a child; `false` if none is left.
    pub(super) fn take(&self) -> bool {
        self.taken.fetch_add(1, Ordering::Relaxed) < self.children
    }

    /// The command of a child, whose stdout is a pipe, and whose stdin is one where there is something to write.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args([child::CHILD, &name(self.workload)]);
        command.stdout(Stdio::piped()).stdin(self.stdin());
        command
    }

    pub(super) fn stdin(&self) -> Stdio {
        if self.input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        }
    }

    /// What a child's stdin gets. It fits into the pipe.
    pub(super) fn input(&self) -> &[u8] {
        &self.input
    }

    /// One child has ended.
    pub(super) fn report(&self, output: &process::Output) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !output.status.success() {
            return Err(io::Error::other(output.status.to_string()));
        }
        seen.report(self.workload, self.children, &output.stdout)
    }

    pub(super) fn into_seen(self) -> Seen {
        self.seen
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
