//! `Handle`: what any thread may say to a reactor.
//! Unaware of the loop, which takes the messages, and of who waits for a result (`reply.rs`).

use std::fmt;
use std::sync::Arc;

use crate::command::Command;
use crate::finished::{CommandId, Finished};
use crate::inbox::{Inbox, Message};
use crate::reply::Pending;
use crate::sys::{Kernel, Signal, Target, Unix};

type UnixInbox = Inbox<<Unix as Kernel>::Waker>;

/// Speaks to a [`Reactor`](crate::Reactor) from any thread. Each call wakes the reactor, which acts on it in its next
/// turn; once the reactor is gone, calls do nothing. Cheap to clone. [`Reactor::serve`](crate::Reactor::serve) goes on
/// for as long as there is one.
///
/// ```
/// use execloop::{Command, Output, Reactor};
/// let mut reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// let server = std::thread::spawn(move || {
///     while reactor.serve()?.is_some() {}
///     Ok::<(), std::io::Error>(())
/// });
/// let done = handle.run(Command::new("echo").arg("hello").stdout(Output::capture())).wait();
/// assert_eq!(done.stdout, b"hello\n");
/// drop(handle);
/// server.join().expect("no panic")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Commands
///
/// Each call that takes a [`Command`] takes the chain of its builder as it is, too: `handle.run(Command::new("make")
/// .arg("all"))`. Of a command by reference it takes one start ([`Command`], "Once more").
///
/// # Pipes of the caller's
///
/// An [`Input::pipe`](crate::Input::pipe) or [`Output::pipe`](crate::Output::pipe) is used by the reactor's thread
/// alone, by the command's id ([`Reactor::stdin`](crate::Reactor::stdin), ..): no handle reaches it, nor does a
/// [`Pending`]. With [`start`](Handle::start) it can be used until the reactor hands the [`Finished`] out; with
/// [`run`](Handle::run) and [`run_then`](Handle::run_then), which take that at once, until the command is finished. The
/// trap: a [`Pending`] whose stdin nobody closes, or whose full stdout nobody reads, is waited for for ever. Where
/// another thread is to have a pipe, make one by [`std::io::pipe`], and give the command its end
/// ([`Input::file`](crate::Input::file), [`Output::file`](crate::Output::file)).
pub struct Handle {
    inbox: Arc<UnixInbox>,
    reactor: u32,
}

impl Handle {
    /// `reactor` marks the ids of the one that reads this inbox.
    pub(crate) fn new(inbox: Arc<UnixInbox>, reactor: u32) -> Handle {
        inbox.add_handle();
        Handle { inbox, reactor }
    }

    /// Starts or queues a command. Returns the id that its [`Finished`] will carry, also if it cannot be started;
    /// `None` when the reactor is gone, or another process's that this one was forked from.
    #[must_use = "`None` says that the command was thrown away"]
    pub fn start(&self, command: impl Into<Command>) -> Option<CommandId> {
        let (number, id) = self.take_id();
        let message = Message::Start(number, Box::new(command.into()));
        self.inbox.send(message).then_some(id)
    }

    /// Starts or queues a command whose [`Finished`] comes back here: a future without a runtime, or by
    /// [`Pending::wait`] a call that blocks. The reactor's own calls ([`wait_any`](crate::Reactor::wait_any), ..) do
    /// not hand it out. Dropped before that, it cancels the command.
    ///
    /// ```
    /// use execloop::{Command, Output, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// let caller = std::thread::spawn(move || {
    ///     let echo = handle.run(Command::new("echo").arg("hello").stdout(Output::capture()));
    ///     echo.wait().stdout // or, in a future: echo.await.stdout
    /// });
    /// // Until the last handle is gone.
    /// while reactor.serve()?.is_some() {}
    /// assert_eq!(caller.join().unwrap(), b"hello\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(&self, command: impl Into<Command>) -> Pending {
        let (number, id) = self.take_id();
        let (pending, reply) = Pending::new(self.clone(), id);
        self.inbox
            .send(Message::Run(number, Box::new(command.into()), reply));
        pending
    }

    /// Starts or queues a command, and calls `then` with its [`Finished`], on the reactor's thread; it must not block.
    /// To tell another thread, let it capture a channel's sender. The reactor's own calls do not hand this command out.
    /// Where the reactor is dropped or [detaches](crate::Reactor::detach) the command, `then` is dropped uncalled. A
    /// panic in it is dropped: no one is left to hear of it.
    ///
    /// Returns as [`start`](Handle::start).
    pub fn run_then(
        &self,
        command: impl Into<Command>,
        then: impl FnOnce(Finished) + Send + 'static,
    ) -> Option<CommandId> {
        let (number, id) = self.take_id();
        let message = Message::Run(number, Box::new(command.into()), Box::new(then));
        self.inbox.send(message).then_some(id)
    }

    fn take_id(&self) -> (u64, CommandId) {
        let number = self.inbox.take_number();
        let reactor = self.reactor;
        (number, CommandId { number, reactor })
    }

    /// It speaks to a reactor of this very process.
    pub(crate) fn is_heard(&self) -> bool {
        self.inbox.is_heard()
    }

    /// As [`Reactor::cancel`](crate::Reactor::cancel).
    pub fn cancel(&self, id: CommandId) {
        self.tell(id, Message::Cancel(id.number));
    }

    /// Asks a command to stop whose reply was dropped.
    pub(crate) fn abandon(&self, id: CommandId) {
        self.tell(id, Message::Abandon(id.number));
    }

    /// As [`Reactor::kill`](crate::Reactor::kill).
    pub fn kill(&self, id: CommandId) {
        self.tell(id, Message::Kill(id.number));
    }

    /// As [`Reactor::signal`](crate::Reactor::signal), without the answer.
    pub fn signal(&self, id: CommandId, signal: Signal) {
        self.tell(id, Message::Signal(id.number, Target::Process, signal));
    }

    /// As [`Reactor::signal_group`](crate::Reactor::signal_group), without the answer.
    pub fn signal_group(&self, id: CommandId, signal: Signal) {
        self.tell(id, Message::Signal(id.number, Target::Group, signal));
    }

    /// As [`Reactor::resume`](crate::Reactor::resume).
    pub fn resume(&self, id: CommandId) {
        self.tell(id, Message::Resume(id.number));
    }

    /// Makes the present or the next [`Reactor::turn`](crate::Reactor::turn) return early.
    pub fn wake(&self) {
        self.inbox.wake();
    }

    fn tell(&self, id: CommandId, message: Message) {
        if id.reactor == self.reactor {
            self.inbox.send(message);
        }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        Handle::new(Arc::clone(&self.inbox), self.reactor)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inbox.remove_handle();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Handle")
            .field("reactor", &self.reactor)
            .finish_non_exhaustive()
    }
}
