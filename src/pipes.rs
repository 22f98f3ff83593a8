//! The faces of a command's pipes that the caller reads or writes himself.
//! Unaware of how a pipe is waited for, which is the engine's.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::engine::Patience;
use crate::error::Stream;
use crate::finished::CommandId;
use crate::reactor::Reactor;

/// The write end of a command's stdin. A write waits while the pipe is full, and all other commands go on meanwhile;
/// [`try_write`](StdinPipe::try_write) does not wait.
///
/// ```
/// use execloop::{Command, Input, Output, Reactor};
/// use std::io::Write;
/// let mut reactor = Reactor::new()?;
/// let mut sort = Command::new("sort");
/// let id = reactor.start(sort.stdin(Input::pipe()).stdout(Output::capture()))?;
/// let mut stdin = reactor.stdin(id).expect("it has this pipe");
/// writeln!(stdin, "pear")?;
/// writeln!(stdin, "apple")?;
/// stdin.close();
/// assert_eq!(reactor.wait(id)?.expect("it was started here").stdout, b"apple\npear\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it closes nothing, as it only borrows: call [`close`](StdinPipe::close) to give the command its end of input.
#[derive(Debug)]
pub struct StdinPipe<'a> {
    reactor: &'a mut Reactor,
    id: CommandId,
}

impl<'a> StdinPipe<'a> {
    pub(crate) fn new(reactor: &'a mut Reactor, id: CommandId) -> StdinPipe<'a> {
        StdinPipe { reactor, id }
    }

    /// Writes what fits now, without a turn of the reactor. After [`WouldBlock`](io::ErrorKind::WouldBlock), also of a
    /// command that is not started yet, the pipe is [reported](crate::Event::Ready) once it is worth another try.
    ///
    /// # Errors
    /// `WouldBlock`, and as [`write`](Write::write).
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_with(bytes, Patience::Tries)
    }

    fn write_with(&mut self, bytes: &[u8], patience: Patience) -> io::Result<usize> {
        let engine = &mut self.reactor.engine;
        let written = engine.write_callers_pipe(self.id, bytes, patience);
        self.reactor.tell_outer_loop();
        written
    }

    /// The pipe as a descriptor, for another poller: as [`StdoutPipe::try_fd`]. It can be written when there is room.
    ///
    /// # Errors
    /// As [`StdoutPipe::try_fd`].
    pub fn try_fd(&mut self) -> io::Result<BorrowedFd<'_>> {
        self.reactor.engine.callers_fd(self.id, Stream::Stdin)
    }

    /// Takes the pipe out, as a descriptor that blocks: for a thread of its own, or for another command's output
    /// ([`Output::file`](crate::Output::file)). Waits until the command is started. To the reactor, the pipe is closed then.
    ///
    /// # Errors
    /// `NotConnected` after `close` or after the pipe was cut.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        let given = self
            .reactor
            .engine
            .give_callers_pipe(self.id, Stream::Stdin);
        self.reactor.tell_outer_loop();
        given
    }

    /// Closes the pipe. A second time does nothing. (A child that was started just now has the pipe, too, for its first
    /// instruction: that is waited for, a second at most.)
    pub fn close(self) {
        self.reactor
            .engine
            .close_callers_pipe(self.id, Stream::Stdin);
        self.reactor.tell_outer_loop();
    }
}

impl Write for StdinPipe<'_> {
    /// # Errors
    /// `BrokenPipe` when the command reads no more, `NotConnected` after `close` or after the pipe was cut; its text says by what.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_with(bytes, Patience::Waits)
    }

    /// Many pieces in one write: small ones are put together first, up to 64 KiB.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut left = pieces.iter().filter(|piece| !piece.is_empty());
        let Some(first) = left.next() else {
            return Ok(0);
        };
        if first.len() >= GATHERED_BYTES_MAX || left.next().is_none() {
            return self.write(first);
        }
        let mut gathered = Vec::with_capacity(GATHERED_BYTES_MAX);
        for piece in pieces {
            let room = GATHERED_BYTES_MAX - gathered.len();
            gathered.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        self.write(&gathered)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe of the usual size takes no more at once.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// The read end of a command's stdout or stderr. A read waits until there is something, and all other commands go on
/// meanwhile; [`try_read`](StdoutPipe::try_read) does not wait. The end of the stream is `Ok(0)`, as ever.
///
/// ```
/// use execloop::{Command, Input, Output, Reactor};
/// let mut reactor = Reactor::new()?;
/// let a = reactor.start(Command::new("printf").arg(r"pear\napple\n").stdout(Output::pipe()))?;
/// // `a | b` without a copy on the way.
/// let words = reactor.stdout(a).expect("it has this pipe").into_fd()?;
/// let mut sort = Command::new("sort");
/// let b = reactor.start(sort.stdin(Input::file(words)).stdout(Output::capture()))?;
/// let sorted = reactor.wait(b)?.expect("it was started here");
/// assert_eq!(sorted.stdout, b"apple\npear\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StdoutPipe<'a> {
    reactor: &'a mut Reactor,
    id: CommandId,
    stream: Stream,
}

impl<'a> StdoutPipe<'a> {
    pub(crate) fn new(reactor: &'a mut Reactor, id: CommandId, stream: Stream) -> StdoutPipe<'a> {
        StdoutPipe {
            reactor,
            id,
            stream,
        }
    }

    /// Reads what is there now, without a turn of the reactor. After [`WouldBlock`](io::ErrorKind::WouldBlock), also of a
    /// command that is not started yet, the pipe is [reported](crate::Event::Ready) once it is worth another try: it has
    /// something, or its end. The trap: a caller that waits for the event before it got `WouldBlock` may wait for ever.
    ///
    /// # Errors
    /// `WouldBlock`, and as [`read`](Read::read).
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_with(buffer, Patience::Tries)
    }

    fn read_with(&mut self, buffer: &mut [u8], patience: Patience) -> io::Result<usize> {
        let engine = &mut self.reactor.engine;
        let read = engine.read_callers_pipe(self.id, self.stream, buffer, patience);
        self.reactor.tell_outer_loop();
        read
    }

    /// The pipe as a descriptor, for another poller, whose word that it is ready is followed by a
    /// [`try_read`](StdoutPipe::try_read). It does not block, and stays the reactor's: open until
    /// [`close`](StdoutPipe::close), until the pipe is cut, or until the [`Finished`](crate::Finished) is taken. It is no
    /// [`AsFd`](std::os::fd::AsFd), as there is none before the command's program is executed.
    ///
    /// The trap: who leaves a closed number in a poller, or a copy of a read end open, hears of another file, or keeps the
    /// command from getting its SIGPIPE. [`Reactor::wait_event`] needs no other poller.
    ///
    /// ```
    /// use execloop::{Command, Output, Reactor, Stream};
    /// use std::os::fd::AsRawFd;
    /// let mut reactor = Reactor::new()?;
    /// let id = reactor.start(Command::new("echo").arg("hello").stdout(Output::pipe()))?;
    /// let number = loop {
    ///     match reactor.stdout(id).expect("it has this pipe").try_fd() {
    ///         Ok(fd) => break fd.as_raw_fd(),
    ///         Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
    ///         Err(error) => return Err(error.into()),
    ///     }
    ///     reactor.wait_event(None)?; // its pipe is ready now
    /// };
    /// # assert!(number > 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `WouldBlock` before the program is executed; the pipe is [told](crate::Event::Ready) then. `NotConnected` after
    /// `close` or after the pipe was cut.
    pub fn try_fd(&mut self) -> io::Result<BorrowedFd<'_>> {
        self.reactor.engine.callers_fd(self.id, self.stream)
    }

    /// Takes the pipe out, as a descriptor that blocks: for a thread of its own, or for another command's
    /// [input](crate::Input::file). Waits until the command is started. To the reactor, the pipe is closed then, and what
    /// comes of it counts no more against an [idle timeout](crate::Command::idle_timeout).
    ///
    /// # Errors
    /// `NotConnected` after `close` or after the pipe was cut.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        let given = self.reactor.engine.give_callers_pipe(self.id, self.stream);
        self.reactor.tell_outer_loop();
        given
    }

    /// Closes the pipe: the command gets SIGPIPE when it writes on. A second time does nothing. Waits as
    /// [`StdinPipe::close`].
    pub fn close(self) {
        self.reactor.engine.close_callers_pipe(self.id, self.stream);
        self.reactor.tell_outer_loop();
    }
}

impl Read for StdoutPipe<'_> {
    /// # Errors
    /// `NotConnected` after `close` or after the pipe was cut; its text says by what.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_with(buffer, Patience::Waits)
    }
}
