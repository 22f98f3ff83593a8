//! `Observer`: its methods are called at each command's instants as they happen; `Stats`: what a reactor has done so far.
//! Unaware of how either comes about.

use std::fmt;
use std::time::{Duration, Instant};

use crate::finished::{CommandId, Finished};
use crate::sys::Stream;

/// Hears of each command's life as it happens, on the reactor's thread: enough for a timeline. Each method does nothing
/// unless it is defined, must not block, and cannot reach the reactor but by a [`Handle`](crate::Handle). After a panic
/// in one, the observer is dropped and hears no more. Set by [`Reactor::observe`](crate::Reactor::observe); without
/// one, nothing is spent on it.
///
/// ```
/// use execloop::{Command, CommandId, Observer, Reactor};
/// use std::sync::mpsc::{Sender, channel};
/// use std::time::Instant;
///
/// struct Starts(Sender<(CommandId, Instant)>);
///
/// impl Observer for Starts {
///     fn started(&mut self, id: CommandId, _pid: u32, at: Instant) {
///         let _ = self.0.send((id, at));
///     }
/// }
///
/// let (sender, starts) = channel();
/// let mut reactor = Reactor::new()?;
/// reactor.observe(Starts(sender));
/// let id = reactor.start(&mut Command::new("true"))?;
/// reactor.wait_any()?;
/// assert_eq!(starts.try_iter().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer: Send {
    /// It was accepted, and waits for its start, if only for an instant.
    fn queued(&mut self, id: CommandId, at: Instant) {
        let _ = (id, at);
    }

    /// Its process was made. More than once where its program's file was busy, or the system was short of something.
    /// Where the process then fails to execute its program, `finished` follows, without `exited` and without a pid. A
    /// start that waits for its exec ([`Reactor::start`](crate::Reactor::start) says which) and fails is not told here.
    fn started(&mut self, id: CommandId, pid: u32, at: Instant) {
        let _ = (id, pid, at);
    }

    /// The first bytes of this stream were read, by the reactor or by the caller. What the caller reads of a finished
    /// command is not reported: `finished` is the last.
    fn first_output(&mut self, id: CommandId, stream: Stream, at: Instant) {
        let _ = (id, stream, at);
    }

    /// Its exit was seen.
    fn exited(&mut self, id: CommandId, at: Instant) {
        let _ = (id, at);
    }

    /// It is finished, and about to be handed out.
    fn finished(&mut self, finished: &Finished, at: Instant) {
        let _ = (finished, at);
    }
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Observer")
    }
}

/// What a reactor has done since it was made: [`Reactor::stats`](crate::Reactor::stats).
///
/// ```
/// use execloop::{Command, Reactor};
/// let mut reactor = Reactor::new()?;
/// reactor.start(&mut Command::new("true"))?;
/// while reactor.wait_any()?.is_some() {}
/// assert_eq!((reactor.stats().started, reactor.stats().finished), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Processes that were made. One whose start is tried again counts again.
    pub started: u64,
    /// Commands that were finished, started or not. Those that were let go are not among them.
    pub finished: u64,
    /// Starts that the system has refused for good.
    pub starts_refused: u64,
    /// Starts that the system has refused, and that are tried again.
    pub starts_retried: u64,
    /// Bytes of output that were read, by the reactor or by the caller.
    pub bytes_read: u64,
    /// Bytes of input that were written.
    pub bytes_written: u64,
    /// Passes of the loop.
    pub turns: u64,
    /// The longest pass, without the time that it slept.
    pub turn_max: Duration,
    /// The longest visit to a stream that runs code of the caller's: a reader, a writer, a line callback.
    pub callback_max: Duration,
}
