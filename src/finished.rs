//! `Finished`: what became of one command, and `Usage`: what it cost.
//! Unaware of how that was found out.

use std::any::Any;
use std::fmt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::data::Data;
use crate::error::Error;
use crate::holders::Holder;
use crate::plain::Excerpt;
use crate::sys::{RawUsage, Stream};

/// Names one started or queued command of one reactor. Never used twice; counts up.
///
/// ```
/// use execloop::{Command, Reactor};
/// let mut reactor = Reactor::new()?;
/// let first = reactor.start(&mut Command::new("true"))?;
/// let second = reactor.start(&mut Command::new("true"))?;
/// assert!(first < second);
/// assert_eq!(reactor.wait(second)?.map(|done| done.id), Some(second));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId {
    pub(crate) number: u64,
    pub(crate) reactor: u32,
}

impl fmt::Display for CommandId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.number, formatter)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CommandId({})", self.number)
    }
}

/// What became of one command. Handed out exactly once, when it is reaped and each of its copied pipes has ended or
/// was cut.
///
/// ```
/// use execloop::{Command, Output, Reactor};
/// let mut reactor = Reactor::new()?;
/// let mut report = Command::new("sh");
/// report.args(["-c", "echo half; exit 3"]).stdout(Output::capture()).data("the report");
/// reactor.start(&mut report)?;
/// let mut done = reactor.wait_any()?.expect("it was started");
/// assert_eq!(done.take_data(), Some("the report"));
/// assert_eq!(done.stdout, b"half\n");
/// assert_eq!(done.outcome.unwrap_err().to_string(), "exit status 3");
/// assert_eq!(done.status.and_then(|status| status.code()), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[must_use = "its outcome may be a failure"]
pub struct Finished {
    /// Which command.
    pub id: CommandId,
    /// Its process id; `None` when it was never started. The number may belong to another process by now.
    pub pid: Option<u32>,
    /// `Ok` for exit status 0 with nothing amiss.
    pub outcome: Result<(), Error>,
    /// Its status, also where the outcome is about something else. `None` when never started, or lost.
    pub status: Option<ExitStatus>,
    /// What [`Output::capture`](crate::Output::capture) collected, whatever the outcome. With
    /// [`stderr_to_stdout`](crate::Command::stderr_to_stdout), stderr's too, in the order in which it was written.
    pub stdout: Vec<u8>,
    /// The same of stderr.
    pub stderr: Vec<u8>,
    /// From the same system call as the status. `None` where that call gave no status.
    pub usage: Option<Usage>,
    /// The streams that some process still held when they were cut. What it wrote before is in the output.
    pub leaked: Vec<Stream>,
    /// Who held those then, where [`Command::name_holders`](crate::Command::name_holders) has asked for it.
    pub holders: Vec<Holder>,
    /// When its process was made.
    pub started: Option<Instant>,
    /// When its exit was seen.
    pub reaped: Option<Instant>,
    /// When its last copied stream ended or was cut; not before `reaped`.
    pub drained: Option<Instant>,
    pub(crate) data: Option<Data>,
}

impl Finished {
    /// Of a command of which no process is known.
    pub(crate) fn without_process(id: CommandId, error: Error) -> Finished {
        Finished {
            id,
            pid: None,
            outcome: Err(error),
            status: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            usage: None,
            leaked: Vec::new(),
            holders: Vec::new(),
            started: None,
            reaped: None,
            drained: None,
            data: None,
        }
    }

    /// What the command was given by [`Command::data`](crate::Command::data), if it is a `T`. `None` where it was given
    /// nothing, or that was taken already. Data of another type stays where it is.
    pub fn take_data<T: Any>(&mut self) -> Option<T> {
        match self.data.take()?.take() {
            Ok(data) => Some(data),
            Err(other) => {
                self.data = Some(other);
                None
            }
        }
    }

    /// From its start until its exit was seen. Zero when it was never started.
    pub fn elapsed(&self) -> Duration {
        match (self.started, self.reaped) {
            (Some(started), Some(reaped)) => reaped.saturating_duration_since(started),
            _ => Duration::ZERO,
        }
    }

    /// The outcome is `Ok`.
    pub fn success(&self) -> bool {
        self.outcome.is_ok()
    }
}

/// The output as text, a long one shortened to its ends.
impl fmt::Debug for Finished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Finished")
            .field("id", &self.id)
            .field("pid", &self.pid)
            .field("outcome", &self.outcome)
            .field("status", &self.status)
            .field("stdout", &Excerpt(&self.stdout))
            .field("stderr", &Excerpt(&self.stderr))
            .field("usage", &self.usage)
            .field("leaked", &self.leaked)
            .field("holders", &self.holders)
            .field("started", &self.started)
            .field("reaped", &self.reaped)
            .field("drained", &self.drained)
            .finish()
    }
}

/// What a command used, with those of its descendants that it waited for (getrusage(2)).
///
/// ```
/// use execloop::Command;
/// let done = Command::new("true").finish()?;
/// if let Some(usage) = done.usage {
///     println!("{:?} on a processor, {} KiB", usage.user + usage.system, usage.rss_bytes_max / 1024);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The largest resident size of one process, in bytes. The trap: on Linux it starts at the size of the parent at
    /// the time of the start, so a small child of a large parent reports the parent's.
    pub rss_bytes_max: u64,
    /// The most memory that all of its processes had at once, in bytes: of a command with a
    /// [cgroup of its own](crate::linux::CommandExt::own_cgroup) where that has a controller of memory (Linux 5.19).
    pub memory_bytes_peak: Option<u64>,
}

impl From<RawUsage> for Usage {
    fn from(raw: RawUsage) -> Usage {
        Usage {
            user: raw.user,
            system: raw.system,
            rss_bytes_max: raw.rss_bytes_max,
            memory_bytes_peak: raw.memory_bytes_peak,
        }
    }
}
