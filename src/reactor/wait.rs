//! Waiting for what comes of commands, and taking it: the next one, a certain one, an event of any kind.
//! Unaware of what a turn does.

use std::io;
use std::time::Duration;

use super::Reactor;
use crate::engine::Engine;
use crate::error::Stream;
use crate::finished::{CommandId, Finished};
use crate::sys::{Unix, now};

/// What [`Reactor::wait_event`] tells.
///
/// ```
/// use execloop::{Command, Event, Reactor};
/// use std::time::Duration;
/// let mut reactor = Reactor::new()?;
/// reactor.start(Command::new("sleep").arg("0.2").slow_after(Duration::from_millis(50)))?;
/// while let Some(event) = reactor.wait_event(None)? {
///     match event {
///         Event::Finished(done) => println!("{}: {:?}", done.id, done.outcome),
///         Event::Ready(id, stream) => println!("{id}: {stream} is worth a try"),
///         Event::Slow(id) => println!("{id} still runs"),
///         _ => {}
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "it is moved once, and most are of the large kind"
)]
pub enum Event {
    /// A command is finished. Where the caller waits for an output of it, as that has said `WouldBlock`, its end comes
    /// first, so nothing is lost of a pipe that is read until it says `WouldBlock` or `Ok(0)`. The trap: what is left
    /// in one that is not is lost, as taking the [`Finished`] closes it.
    Finished(Finished),
    /// A pipe of the caller's that had said [`WouldBlock`](io::ErrorKind::WouldBlock) is worth another try: it can be
    /// read or written, has ended, or was cut.
    Ready(CommandId, Stream),
    /// A command still runs, after another period of [`Command::slow_after`](crate::Command::slow_after). Told once,
    /// however late it is heard of.
    Slow(CommandId),
}

fn next_event(engine: &mut Engine<Unix>) -> Option<Event> {
    // A pipe before its command, whose pipes are closed when it is taken.
    match engine.pop_ready() {
        Some((id, stream)) => Some(Event::Ready(id, stream)),
        None => match engine.pop_slow() {
            Some(id) => Some(Event::Slow(id)),
            None => engine.pop_read().map(|finished| Event::Finished(*finished)),
        },
    }
}

fn unboxed(finished: Option<Box<Finished>>) -> Option<Finished> {
    finished.map(|finished| *finished)
}

impl Reactor {
    /// Waits until some command is finished, and hands it out. `None` when there is no command left.
    ///
    /// # Errors
    /// When polling fails, which it does not in normal operation. The commands go on; the call can be repeated. Always
    /// in a forked copy of the process ([`Unsupported`](io::ErrorKind::Unsupported)).
    pub fn wait_any(&mut self) -> io::Result<Option<Finished>> {
        self.wait_for(None, Engine::pop_finished, |engine| engine.len() > 0)
            .map(unboxed)
    }

    /// As [`wait_any`](Reactor::wait_any), but waits no longer than `timeout`: `None` then, too.
    /// [`is_empty`](Reactor::is_empty) tells whether any command is left. With a zero timeout it does one turn.
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// use std::time::Duration;
    /// let mut reactor = Reactor::new()?;
    /// reactor.start(Command::new("sleep").arg("0.2"))?;
    /// while !reactor.is_empty() {
    ///     match reactor.wait_any_timeout(Duration::from_millis(50))? {
    ///         Some(done) => println!("{} is finished", done.id),
    ///         None => println!("still {} running", reactor.running()),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn wait_any_timeout(&mut self, timeout: Duration) -> io::Result<Option<Finished>> {
        let timeout = Some(timeout);
        self.wait_for(timeout, Engine::pop_finished, |engine| engine.len() > 0)
            .map(unboxed)
    }

    /// As [`wait_any_timeout`](Reactor::wait_any_timeout), and tells also when a pipe of the caller's is worth another
    /// [`try_read`](crate::StdoutPipe::try_read) or [`try_write`](crate::StdinPipe::try_write). So one thread reads and
    /// writes any number of pipes, both directions of one command among them. A `timeout` of `None` is none.
    ///
    /// ```
    /// use execloop::{Command, Event, Input, Output, Reactor, Stream};
    /// use std::io::ErrorKind::WouldBlock;
    /// let mut reactor = Reactor::new()?;
    /// let mut cat = Command::new("cat");
    /// let id = reactor.start(cat.stdin(Input::pipe()).stdout(Output::pipe()))?;
    /// let sent = vec![b'x'; 1_000_000]; // more than both pipes hold
    /// let (mut written, mut got) = (0, Vec::new());
    /// loop {
    ///     while written < sent.len() {
    ///         match reactor.stdin(id).expect("a pipe").try_write(&sent[written..]) {
    ///             Ok(count) => written += count,
    ///             Err(error) if error.kind() == WouldBlock => break,
    ///             Err(error) => return Err(error.into()),
    ///         }
    ///     }
    ///     if written == sent.len() {
    ///         reactor.stdin(id).expect("a pipe").close();
    ///     }
    ///     let mut buffer = [0; 4096];
    ///     let is_over = loop {
    ///         match reactor.stdout(id).expect("a pipe").try_read(&mut buffer) {
    ///             Ok(0) => break true,
    ///             Ok(count) => got.extend_from_slice(&buffer[..count]),
    ///             Err(error) if error.kind() == WouldBlock => break false,
    ///             Err(error) => return Err(error.into()),
    ///         }
    ///     };
    ///     if is_over {
    ///         break;
    ///     }
    ///     // Which of them it is would matter with many commands.
    ///     let event = reactor.wait_event(None)?;
    ///     assert!(matches!(event, Some(Event::Ready(of, Stream::Stdin | Stream::Stdout)) if of == id));
    /// }
    /// assert_eq!(got, sent);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn wait_event(&mut self, timeout: Option<Duration>) -> io::Result<Option<Event>> {
        self.wait_for(timeout, next_event, |engine| engine.len() > 0)
    }

    /// The next event, if there is one now. Does not wait and does not turn, as
    /// [`try_wait_any`](Reactor::try_wait_any).
    pub fn try_event(&mut self) -> Option<Event> {
        let event = next_event(&mut self.engine);
        self.tell_outer_loop();
        event
    }

    /// Turns until there is something to take, nothing can come any more, or the time is over. Sleeps also while other
    /// things wait to be taken: nobody is told of them meanwhile.
    fn wait_for<T>(
        &mut self,
        timeout: Option<Duration>,
        mut take: impl FnMut(&mut Engine<Unix>) -> Option<T>,
        may_come: impl Fn(&Engine<Unix>) -> bool,
    ) -> io::Result<Option<T>> {
        let until = timeout.and_then(|timeout| now().checked_add(timeout));
        let mut left = timeout;
        let mut is_over = false;
        let waited = loop {
            let taken = take(&mut self.engine);
            if taken.is_some() || is_over {
                break Ok(taken);
            }
            if !may_come(&self.engine) {
                // What a handle has sent and no turn has taken may be a start, and so may what a reply has sent then.
                self.engine.take_messages();
                if !may_come(&self.engine) && !self.engine.has_messages() {
                    break Ok(None);
                }
            } else if let Err(error) = self.engine.turn(left) {
                break Err(error);
            }
            left = until.map(|until| until.saturating_duration_since(now()));
            is_over = left == Some(Duration::ZERO);
        };
        self.tell_outer_loop();
        waited
    }

    /// As [`wait_any`](Reactor::wait_any) for a reactor that others use by their handles: `None` when there is no
    /// command left **and no [`Handle`](crate::Handle)**, nor a [`Pending`](crate::Pending). What is run by
    /// [`Handle::run`](crate::Handle::run) and [`Handle::run_then`](crate::Handle::run_then) goes to who sent it, so
    /// the loop of a thread that only serves others is `while reactor.serve()?.is_some() {}`. The trap: a handle that
    /// this very thread keeps makes it wait for ever.
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// let server = std::thread::spawn(move || {
    ///     while reactor.serve()?.is_some() {}
    ///     Ok::<(), std::io::Error>(())
    /// });
    /// let other = handle.clone();
    /// let one = std::thread::spawn(move || other.run(Command::new("true")).wait().success());
    /// let two = handle.run(Command::new("true")).wait().success();
    /// assert!(one.join().unwrap() && two);
    /// drop(handle); // the last one
    /// server.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn serve(&mut self) -> io::Result<Option<Finished>> {
        loop {
            if let Some(finished) = self.wait_any()? {
                return Ok(Some(finished));
            }
            // In this order: no handle sends any more, and what the last handle has sent may be a start.
            if !self.engine.inbox().has_no_handle() {
                self.engine.turn(None)?;
            } else {
                self.engine.take_messages();
                if self.is_empty() {
                    return Ok(None);
                }
            }
        }
    }

    /// What [`serve`](Reactor::serve) waits for: there is no command left, and no [`Handle`](crate::Handle) to bring
    /// one. For outer loops, whose descriptor tells when the last one goes.
    pub fn is_served(&self) -> bool {
        let inbox = self.engine.inbox();
        inbox.has_no_handle() && self.is_empty()
    }

    /// Waits until this command is finished, and hands it out. Others that finish meanwhile stay for later calls.
    /// `None` when it was handed out already, detached, or never this reactor's.
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn wait(&mut self, id: CommandId) -> io::Result<Option<Finished>> {
        let take = |engine: &mut Engine<Unix>| engine.take_finished(id);
        self.wait_for(None, take, |engine| engine.knows(id))
            .map(unboxed)
    }

    /// Hands out a command that is finished; `None` when there is none now. Does not wait, and does not turn: what has
    /// ended since the last [`turn`](Reactor::turn) is not known yet.
    pub fn try_wait_any(&mut self) -> Option<Finished> {
        let finished = self.engine.pop_finished();
        self.tell_outer_loop();
        unboxed(finished)
    }

    /// Hands out this command if it is finished; `None` when it is not yet, was handed out already, or never was this
    /// reactor's. Does not wait and does not turn, as [`try_wait_any`](Reactor::try_wait_any); the trap for those who
    /// come from std, whose `try_wait` asks the system.
    pub fn try_wait(&mut self, id: CommandId) -> Option<Finished> {
        let finished = self.engine.take_finished(id);
        self.tell_outer_loop();
        unboxed(finished)
    }
}
