//! The public face: `Reactor`, made and ended here; what it can do stands in the folder, one idea to a file.
//! Unaware of how the loop works; short methods, long documentation.

use std::cell::Cell;
use std::fmt;
use std::io;

use crate::engine::Engine;
use crate::finished::Finished;
use crate::handle::Handle;
use crate::sys::Unix;

mod builder;
mod control;
mod counts;
mod settings;
mod start;
mod streams;
mod turn;
mod wait;

pub use builder::ReactorBuilder;
pub use turn::Turn;
pub use wait::Event;

/// Owns every child that it starts, and drives them all on the thread that calls it.
///
/// ```
/// use execloop::{Command, Output, Reactor};
/// let mut reactor = Reactor::builder().max_running(8).build()?;
/// for name in ["a", "b", "c"] {
///     reactor.start(Command::new("echo").arg(name).stdout(Output::capture()))?;
/// }
/// while let Some(done) = reactor.wait_any()? {
///     assert!(done.success(), "{}: {:?}", done.id, done.outcome);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Nothing happens between calls: a program either waits in it ([`wait_any`](Reactor::wait_any),
/// [`wait`](Reactor::wait)) or polls its descriptor ([`AsFd`](std::os::fd::AsFd)) in a loop of its own, and calls
/// [`turn`](Reactor::turn) with a zero timeout when that is readable.
///
/// Dropping it kills what still runs, with the process groups that commands lead, and reaps it: no zombie and no child
/// is left, but for those that are [not to be killed](crate::Command::kill_on_drop). It owns no signal handler; several
/// reactors in one process do not know of each other.
///
/// # Make it early
///
/// A start costs the same however many descriptors this process opens after its reactor was made. The reactor takes the
/// lowest free numbers for what a child needs, and each child copies what is below those, as it copies everything where
/// others start it. So one that is made when 10,000 are open copies 10,000 into each child, until lower numbers become
/// free: from then on it uses these.
///
/// # What it keeps open
///
/// On Linux, what a start needs is kept for the next one. So after many starts at once, an idle reactor has up to 48
/// descriptors more than a new one, copies of `/dev/null`; up to 128 where commands had
/// [extra descriptors](crate::Command::extra_fd). They are closed when descriptors are short.
///
/// # In a forked copy of the process
///
/// A reactor works in the process that made it. In a copy of that, as fork(2) makes it, it only closes: dropping it
/// there kills, reaps and waits for nothing. Until then the copy holds descriptors whose closing the commands may wait
/// for, as every forked copy does that does not exec. [`start`](Reactor::start) answers
/// [`StartError::Forked`](crate::StartError::Forked) there; whatever would wait, read, write or signal fails with
/// [`Unsupported`](io::ErrorKind::Unsupported); a [`Handle`] and a [`Context`](crate::Context) reach no reactor. The
/// original feels none of it. The copy may make a reactor of its own; a copy of a process with several threads may call
/// little more than exec or _exit, here as everywhere (fork(2)). One that is made while a start is under way has the
/// child's ends of that command's pipes, too, until it execs or exits.
pub struct Reactor {
    pub(crate) engine: Engine<Unix>,
    /// Somebody polls the descriptor, so it has to tell of work that no event will announce.
    is_embedded: Cell<bool>,
}

impl Reactor {
    /// A reactor without a limit but that of descriptors, and of how many starts may be under way at an instant
    /// ([`start`](Reactor::start)).
    ///
    /// # Errors
    /// When the kernel has no descriptors or memory for it, or is older than Linux 5.4
    /// ([`Unsupported`](io::ErrorKind::Unsupported)).
    pub fn new() -> io::Result<Reactor> {
        Reactor::builder().build()
    }

    /// A handle, by which other threads speak to this reactor.
    pub fn handle(&self) -> Handle {
        Handle::new(self.engine.share_inbox(), self.engine.reactor())
    }

    /// Kills what runs, at once, with the process groups that commands lead, waits until all of it is reaped, and hands
    /// out everything that was not yet. Commands in the queue end with
    /// [`StartError::ShutDown`](crate::StartError::ShutDown). A command that this process may not kill, as it took
    /// another user's identity, is not waited for: its pipes are closed, and it is handed out with
    /// [`Error::Kill`](crate::Error::Kill) and without a status. One that [is not to be
    /// killed](crate::Command::kill_on_drop) is let go, and not handed out. To ask first, cancel a
    /// [`Context`](crate::Context) and use [`wait_any`](Reactor::wait_any).
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn shutdown(mut self) -> io::Result<Vec<Finished>> {
        self.engine.shut_down()
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reactor")
            .field("running", &self.running())
            .field("queued", &self.queued())
            .field("finished", &(self.len() - self.running() - self.queued()))
            .finish()
    }
}
