//! `Lines`: one callback for the lines of any number of commands, which gets the command of each line with it.
//! Unaware of how a stream becomes lines.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::finished::CommandId;
use crate::sys::Stream;

pub(crate) type LineCallback = Box<dyn FnMut(&[u8]) + Send>;

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
#[derive(Clone)]
pub struct Lines(Arc<Mutex<Callback>>);

impl Lines {
    /// The callback runs on the reactor's thread and must not block. A panic in it ends the stream whose line it was.
    pub fn new(callback: impl FnMut(CommandId, Stream, &[u8]) + Send + 'static) -> Lines {
        Lines(Arc::new(Mutex::new(callback)))
    }

    /// The callback of one stream of one command.
    pub(crate) fn of(&self, id: CommandId, stream: Stream) -> LineCallback {
        let shared = Arc::clone(&self.0);
        Box::new(move |line| {
            let mut callback = shared.lock().unwrap_or_else(PoisonError::into_inner);
            callback(id, stream, line);
        })
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Lines")
    }
}
