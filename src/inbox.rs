//! What other threads have to say to a reactor, and the way to wake it.
//! Unaware of what the reactor does with it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::command::Command;
use crate::context::Watch;
use crate::finished::Finished;
use crate::sys::{Signal, Target, Wake};

/// Where a command's `Finished` is to go. Dropped uncalled: nothing will come.
pub(crate) type Reply = Box<dyn FnOnce(Finished) + Send>;

/// One message. Numbers name commands.
pub(crate) enum Message {
    /// The context watched under this key has ended.
    ContextDone(usize),
    Start(u64, Box<Command>),
    /// The same, and its `Finished` goes there.
    Run(u64, Box<Command>, Reply),
    Cancel(u64),
    /// The one who sent the command has dropped its reply.
    Abandon(u64),
    Kill(u64),
    Signal(u64, Target, Signal),
    /// A paused reader or writer can go on.
    Resume(u64),
}

/// Shared by a reactor, its handles and the contexts that it watches.
pub(crate) struct Inbox<W> {
    waker: W,
    messages: Mutex<Vec<Message>>,
    /// Set before the wake-up, cleared before the messages are taken: a burst wakes once.
    has_messages: AtomicBool,
    is_closed: AtomicBool,
    next_number: AtomicU64,
    /// How many handles there are.
    handles: AtomicUsize,
}

impl<W: Wake> Inbox<W> {
    pub(crate) fn new(waker: W) -> Inbox<W> {
        Inbox {
            waker,
            messages: Mutex::default(),
            has_messages: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            next_number: AtomicU64::new(1),
            handles: AtomicUsize::new(0),
        }
    }

    /// A number for a new command.
    pub(crate) fn take_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// There is one more handle.
    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// One handle fewer. Who waits for the last to go is woken.
    pub(crate) fn remove_handle(&self) {
        if self.handles.fetch_sub(1, Ordering::Release) == 1 {
            self.waker.wake();
        }
    }

    /// No handle is left. Messages that the last one has sent may still be there.
    pub(crate) fn has_no_handle(&self) -> bool {
        self.handles.load(Ordering::Acquire) == 0
    }

    /// What is sent may be taken: this is the reactor's process.
    pub(crate) fn is_heard(&self) -> bool {
        self.waker.is_heard()
    }

    /// Leaves a message and wakes the reactor. `false`: the reactor is gone, or another process's.
    pub(crate) fn send(&self, message: Message) -> bool {
        // Before the lock: at the fork, some other thread may have held it.
        if !self.waker.is_heard() {
            return false;
        }
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed.load(Ordering::Relaxed) {
            return false;
        }
        messages.push(message);
        let is_first = !self.has_messages.swap(true, Ordering::AcqRel);
        drop(messages);
        if is_first {
            self.waker.wake();
        }
        true
    }

    /// Makes the present or the next poll return.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// There is something to take.
    pub(crate) fn has_messages(&self) -> bool {
        self.has_messages.load(Ordering::Acquire)
    }

    /// The messages so far.
    pub(crate) fn take(&self) -> Vec<Message> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_messages.store(false, Ordering::Release);
        std::mem::take(&mut messages)
    }

    /// No message is taken from now on. Returns the last ones.
    pub(crate) fn close(&self) -> Vec<Message> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_closed.store(true, Ordering::Relaxed);
        std::mem::take(&mut messages)
    }
}

impl<W: Wake> Watch for Inbox<W> {
    fn context_done(&self, key: usize) {
        self.send(Message::ContextDone(key));
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Message").finish_non_exhaustive()
    }
}

impl<W: fmt::Debug> fmt::Debug for Inbox<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Inbox")
            .field("waker", &self.waker)
            .finish_non_exhaustive()
    }
}
