//! Driving the reactor from a loop of the caller's: one pass, the one descriptor, timers.
//! Unaware of what a pass finds to do.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use super::Reactor;

/// What a [turn](Reactor::turn) has left.
///
/// ```
/// use execloop::{Command, Reactor, Turn};
/// use std::time::Duration;
/// let mut reactor = Reactor::new()?;
/// reactor.start(&mut Command::new("true"))?;
/// while !reactor.is_empty() {
///     // A loop of one's own does other things here, and sleeps only after `Done`.
///     let is_done = reactor.turn(Some(Duration::from_millis(10)))? == Turn::Done;
///     while let Some(done) = reactor.try_wait_any() {
///         println!("{} is finished, {is_done}", done.id);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing to do before something happens.
    Done,
    /// Something to do or to take: leftovers of a budget, events behind a full batch, finished commands, and pipes of the
    /// caller's that had said [`WouldBlock`](io::ErrorKind::WouldBlock), are worth another try, and were neither
    /// [told](Reactor::try_event) nor tried since.
    More,
}

impl Reactor {
    /// Does one pass: waits at most `timeout` for events (`None`: as long as it takes; zero: not at all), and acts on
    /// them. Returns early when something happens, when a [`Handle`](crate::Handle) wakes it, and by a signal handler
    /// that ran. Says whether the next pass has something to do already; the [descriptor](AsFd) then tells it, too.
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        // Who asks for a turn is to see what is finished; who waits for something else may sleep on it.
        let timeout = if self.engine.is_pending() || self.engine.is_any_ready() {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let turned = self.engine.turn(timeout);
        self.tell_outer_loop();
        turned?;
        Ok(if self.engine.has_more() {
            Turn::More
        } else {
            Turn::Done
        })
    }

    /// When the reactor has something to do by itself, if nothing happens before: the earliest limit of a command, a
    /// context's deadline, a [`wake_at`](Reactor::wake_at), or a next try of something, as of a start that the system
    /// had no room for. `None`: nothing. For who wants to know; a turn and the [descriptor](AsFd) need not know.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.engine.next_deadline()
    }

    /// A timer of the caller's: makes a [turn](Reactor::turn) return at that time, or soon after, and the
    /// [descriptor](AsFd) readable. Nothing else happens, and each is for once; any number can be set, of which those
    /// at the same instant are one. So a program whose one sleep is the reactor's needs no timer besides. The trap:
    /// [`wait_any`](Reactor::wait_any) sleeps on, as it waits for a command.
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// use std::time::{Duration, Instant};
    /// let mut reactor = Reactor::new()?;
    /// reactor.start(Command::new("sleep").arg("0.2"))?;
    /// let mut next = Instant::now();
    /// while !reactor.is_empty() {
    ///     if Instant::now() >= next {
    ///         print!("."); // progress, whatever the commands do
    ///         next += Duration::from_millis(20);
    ///         reactor.wake_at(next);
    ///     }
    ///     reactor.turn(None)?;
    ///     while let Some(done) = reactor.try_wait_any() {
    ///         println!("{} is finished", done.id);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wake_at(&mut self, at: Instant) {
        self.engine.wake_at(at);
        self.tell_outer_loop();
    }

    /// An outer loop would sleep on work that no event announces: leftovers of a budget, what is finished, and
    /// deadlines that came up since the turn began.
    pub(crate) fn tell_outer_loop(&mut self) {
        if self.is_embedded.get() {
            self.engine.prepare_sleep();
            self.wake_outer_loop();
        }
    }

    fn wake_outer_loop(&self) {
        if self.engine.is_unannounced() {
            self.engine.inbox().wake();
        }
    }
}

/// One descriptor for an outer loop. It is readable whenever there is something to do inside: events, deadlines, ended
/// contexts, messages from other threads, leftovers of the last turn, finished commands that were not taken, and pipes of
/// the caller's that are worth another try. Then call [`turn`](Reactor::turn) with a zero timeout and take what is
/// [finished](Reactor::try_wait_any). No timeout has to be computed outside.
///
/// The trap: a pipe that had said [`WouldBlock`](io::ErrorKind::WouldBlock) and is ready keeps it readable until that is
/// taken as an [event](Reactor::try_event), or until the pipe is read, written or closed.
///
/// An outer loop that learns of edges alone (`EPOLLET`, tokio's `AsyncFd`) is served as well: whatever a turn or any
/// other call leaves to do, and no kernel will announce anew, becomes a new edge before that call returns. So one turn
/// for each edge is enough.
impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let was_embedded = self.is_embedded.replace(true);
        if !was_embedded && self.engine.look_again_after().is_some() {
            // No timer was set for that while nobody slept outside.
            self.engine.inbox().wake();
        }
        self.wake_outer_loop();
        self.engine.kernel().as_fd()
    }
}

/// The same descriptor as [`AsFd`]'s, for loops that ask for a number (tokio's `AsyncFd`, `mio::unix::SourceFd`): one
/// and the same, and open, until the reactor is dropped.
impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
