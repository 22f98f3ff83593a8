//! The faces of a command's pipes that the caller reads or writes himself.
//! Unaware of how a pipe is waited for, which is the engine's.

use std::io::{self, Read, Write};

use crate::error::Stream;
use crate::finished::CommandId;
use crate::reactor::Reactor;

/// The write end of a command's stdin. A write waits while the pipe is full, and all other commands go on meanwhile.
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

    /// Closes the pipe. A second time does nothing.
    pub fn close(self) {
        self.reactor
            .engine
            .close_callers_pipe(self.id, Stream::Stdin);
    }
}

impl Write for StdinPipe<'_> {
    /// # Errors
    /// `BrokenPipe` when the command reads no more, `NotConnected` after `close` or after the pipe was cut; its text says by what.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.reactor.engine.write_callers_pipe(self.id, bytes);
        self.reactor.tell_outer_loop();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The read end of a command's stdout or stderr. A read waits until there is something, and all other commands go on
/// meanwhile. The end of the stream is `Ok(0)`, as ever.
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

    /// Closes the pipe: the command gets SIGPIPE when it writes on. A second time does nothing.
    pub fn close(self) {
        self.reactor.engine.close_callers_pipe(self.id, self.stream);
    }
}

impl Read for StdoutPipe<'_> {
    /// # Errors
    /// `NotConnected` after `close` or after the pipe was cut; its text says by what.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let held = &mut self.reactor.engine;
        let read = held.read_callers_pipe(self.id, self.stream, buffer);
        self.reactor.tell_outer_loop();
        read
    }
}
