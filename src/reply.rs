//! `Pending`: a command that was sent by a handle, whose `Finished` comes back to who sent it; and the other end of it.
//! Unaware of the loop, which only calls the reply once or drops it, and of every async runtime.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::Error;
use crate::finished::{CommandId, Finished};
use crate::handle::Handle;
use crate::inbox::Reply;

/// A command that was sent by [`Handle::run`], and its [`Finished`] to be: a future that needs no runtime of any kind,
/// or by [`wait`](Pending::wait) a call that blocks.
///
/// ```
/// use execloop::{Command, Reactor};
/// let mut reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// let server = std::thread::spawn(move || while reactor.serve().unwrap().is_some() {});
/// let quick = handle.run(Command::new("true"));
/// let slow = handle.run(Command::new("sleep").arg("600"));
/// assert!(quick.wait().success()); // or, in a future: quick.await
/// drop(slow); // cancels it
/// drop(handle);
/// server.join().expect("no panic");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The reactor has to be driven meanwhile, by its own thread or an outer loop. Dropping this cancels the command, as
/// the first [`Handle::cancel`] does; what becomes of it is then not reported. So a future that loses a race, or a task
/// that is aborted, leaves no command behind, as long as that heeds its [`Cancel`](crate::Cancel).
///
/// There is one way to fail: whatever happens, there is a [`Finished`]. What would keep the command from its start is
/// [`Error::Start`](crate::Error::Start); where the reactor is dropped, or has [detached](crate::Reactor::detach) the
/// command, it is [`Error::Reactor`](crate::Error::Reactor) with [`BrokenPipe`](io::ErrorKind::BrokenPipe).
#[must_use = "dropping it cancels the command"]
pub struct Pending {
    handle: Handle,
    id: CommandId,
    shared: Arc<Shared>,
    /// Nothing is left to cancel.
    is_over: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
enum State {
    /// The future was not polled yet.
    #[default]
    Awaited,
    /// This task is to be woken.
    Polled(Waker),
    Arrived(Box<Finished>),
    /// The reactor is gone, or has let the command go.
    Abandoned,
    /// Handed out.
    Taken,
}

/// The reactor's end.
struct Sender {
    shared: Arc<Shared>,
    /// In a forked copy, no one is left to be woken, and a thread that exists in the original alone may have the lock.
    process: u32,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The waker is the caller's code: it is called without the lock.
    fn arrive(&self, state: State) {
        let before = std::mem::replace(&mut *self.lock(), state);
        self.arrived.notify_all();
        if let State::Polled(waker) = before {
            waker.wake();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        let is_answered = matches!(*self.shared.lock(), State::Arrived(_) | State::Taken);
        if !is_answered {
            self.shared.arrive(State::Abandoned);
        }
    }
}

impl Pending {
    /// With the reply that answers it, for the command of that id.
    pub(crate) fn new(handle: Handle, id: CommandId) -> (Pending, Reply) {
        let shared = Arc::new(Shared::default());
        let sender = Sender {
            shared: Arc::clone(&shared),
            process: std::process::id(),
        };
        let pending = Pending {
            handle,
            id,
            shared,
            is_over: false,
        };
        let reply = move |finished| sender.shared.arrive(State::Arrived(Box::new(finished)));
        (pending, Box::new(reply))
    }

    /// The id that its [`Finished`] will carry, for [`Handle::signal`] and its kin.
    pub fn id(&self) -> CommandId {
        self.id
    }

    /// Blocks this thread until the command is finished. The trap: on the thread that drives the reactor, it waits for
    /// ever.
    pub fn wait(mut self) -> Finished {
        let shared = Arc::clone(&self.shared);
        if !self.handle.is_heard() {
            return self.abandoned();
        }
        let mut state = shared.lock();
        loop {
            if let Some(finished) = self.take(&mut state) {
                return finished;
            }
            let waited = shared.arrived.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take(&mut self, state: &mut State) -> Option<Finished> {
        match std::mem::replace(state, State::Taken) {
            State::Arrived(finished) => {
                self.is_over = true;
                Some(*finished)
            }
            State::Abandoned => Some(self.abandoned()),
            State::Taken => panic!("polled again after its end"),
            unanswered => {
                *state = unanswered;
                None
            }
        }
    }

    fn abandoned(&mut self) -> Finished {
        self.is_over = true;
        let why = "its reactor is gone, or has let it go";
        let error = io::Error::new(io::ErrorKind::BrokenPipe, why);
        Finished::without_process(self.id, Error::Reactor(error))
    }
}

/// # Panics
/// When it is polled again after its end, as futures may.
impl Future for Pending {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        if !self.handle.is_heard() {
            return Poll::Ready(self.abandoned());
        }
        let waker = context.waker().clone();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if let Some(finished) = self.take(&mut state) {
            return Poll::Ready(finished);
        }
        let before = std::mem::replace(&mut *state, State::Polled(waker));
        // Its drop is the caller's code.
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_over {
            self.handle.abandon(self.id);
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pending")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
