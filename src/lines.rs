//! `Lines`: one callback for the lines of any number of commands, which gets the command of each line with it.
//! Unaware of how a stream becomes lines.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::finished::CommandId;
use crate::sys::Stream;

pub(crate) type LineCallback = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

type Callback = dyn FnMut(CommandId, Stream, &[u8]) + Send;

/// One callback for the lines of any number of commands: [`Command::lines`](crate::Command::lines). It is called with
/// each line as that of [`Output::lines`](crate::Output::lines) is, with the command's id and the stream before it. It
/// is not used up: a command that has it can be started again and cloned, and a clone of this is the same callback.
///
/// ```
/// use execloop::{Command, Lines, Reactor};
/// use std::sync::mpsc::channel;
/// let (sender, receiver) = channel();
/// let lines = Lines::new(move |id, stream, line| {
///     let text = String::from_utf8_lossy(line).into_owned();
///     sender.send(format!("{id} {stream}: {text}")).expect("he listens");
/// });
/// let mut reactor = Reactor::new()?;
/// reactor.start(Command::new("sh").args(["-c", "echo one; echo two >&2"]).lines(&lines))?;
/// while reactor.wait_any()?.is_some() {}
/// let mut told: Vec<_> = receiver.try_iter().collect();
/// told.sort();
/// assert_eq!(told, ["1 stderr: two", "1 stdout: one"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Reactors on several threads may share it: one waits while another's line is told.
#[derive(Clone)]
pub struct Lines(Arc<Shared<Callback>>);

struct Shared<C: ?Sized> {
    /// The thread that is in the callback, by [`here`]; 0: none.
    inside: AtomicUsize,
    callback: Mutex<C>,
}

thread_local! {
    static HERE: u8 = const { 0 };
}

/// A number that no other thread has while this one lives. Never 0.
fn here() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// A thread is in the callback until this is dropped, also by a panic.
struct Inside<'a>(&'a AtomicUsize);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Shared<Callback> {
    fn call(&self, id: CommandId, stream: Stream, line: &[u8]) -> io::Result<()> {
        let here = here();
        // Only this thread stores its number, and nobody else would let it in.
        if self.inside.load(Ordering::Relaxed) == here {
            let text = "the callback of these lines is running already, on this thread";
            return Err(io::Error::new(io::ErrorKind::Deadlock, text));
        }
        let mut callback = self.callback.lock().unwrap_or_else(PoisonError::into_inner);
        self.inside.store(here, Ordering::Relaxed);
        let _inside = Inside(&self.inside);
        callback(id, stream, line);
        Ok(())
    }
}

impl Lines {
    /// The callback runs on the reactor's thread and must not block. A panic in it ends the stream whose line it was. The
    /// trap: a command that the callback itself runs with these same lines cannot tell one: that ends its stream, by
    /// [`Error::Copy`](crate::Error::Copy) of the kind [`Deadlock`](io::ErrorKind::Deadlock).
    pub fn new(callback: impl FnMut(CommandId, Stream, &[u8]) + Send + 'static) -> Lines {
        Lines(Arc::new(Shared {
            inside: AtomicUsize::new(0),
            callback: Mutex::new(callback),
        }))
    }

    /// The callback of one stream of one command.
    pub(crate) fn of(&self, id: CommandId, stream: Stream) -> LineCallback {
        let shared = Arc::clone(&self.0);
        Box::new(move |line| shared.call(id, stream, line))
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Lines")
    }
}
