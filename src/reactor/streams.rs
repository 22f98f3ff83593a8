//! A command's streams, by its id: the pipes that the caller reads and writes himself, and who holds the others.
//! Unaware of how a pipe is waited for, which is the engine's.

use std::borrow::Cow;
use std::io;

use super::Reactor;
use crate::error::Stream;
use crate::finished::CommandId;
use crate::holders::Holder;
use crate::pipes::{StdinPipe, StdoutPipe};
use crate::sys::TerminalSize;

impl Reactor {
    /// The write end of a command's stdin, if that is [`Input::pipe`](crate::Input::pipe) and its outcome was not handed
    /// out yet. That of a command that was not started, and will not be, was never opened: its calls say
    /// [`NotConnected`](io::ErrorKind::NotConnected).
    pub fn stdin(&mut self, id: CommandId) -> Option<StdinPipe<'_>> {
        self.engine
            .has_callers_pipe(id, Stream::Stdin)
            .then_some(StdinPipe::new(self, id))
    }

    /// The read end of a command's stdout, if that is [`Output::pipe`](crate::Output::pipe) and its outcome was not
    /// handed out yet. One that will not be started: as [`stdin`](Reactor::stdin).
    pub fn stdout(&mut self, id: CommandId) -> Option<StdoutPipe<'_>> {
        self.engine
            .has_callers_pipe(id, Stream::Stdout)
            .then_some(StdoutPipe::new(self, id, Stream::Stdout))
    }

    /// The read end of a command's stderr, as [`stdout`](Reactor::stdout).
    pub fn stderr(&mut self, id: CommandId) -> Option<StdoutPipe<'_>> {
        self.engine
            .has_callers_pipe(id, Stream::Stderr)
            .then_some(StdoutPipe::new(self, id, Stream::Stderr))
    }

    /// What was captured of an output until now ([`Output::capture`](crate::Output::capture),
    /// [`capture_ends`](crate::Output::capture_ends)); it stays there, and the [`Finished`](crate::Finished) has it
    /// all. Empty where nothing is captured, and while the command is queued; `None` once it was handed out, was
    /// [detached](Reactor::detach), or where it never was this reactor's. Copies nothing, but for both ends of a longer
    /// output. The trap: it is what the reactor has read, so that without [turns](Reactor::turn) nothing comes to it.
    ///
    /// ```
    /// use execloop::{Command, Output, Reactor, Stream};
    /// let mut reactor = Reactor::new()?;
    /// let mut server = Command::new("sh");
    /// server.args(["-c", "echo listening; exec sleep 60"]).stdout(Output::capture());
    /// let id = reactor.start(&mut server)?;
    /// while !reactor.output_so_far(id, Stream::Stdout).is_some_and(|said| said.ends_with(b"listening\n")) {
    ///     reactor.turn(None)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn output_so_far(&self, id: CommandId, stream: Stream) -> Option<Cow<'_, [u8]>> {
        self.engine.output_so_far(id, stream)
    }

    /// The processes, other than this one, that hold the pipe of a stream that the reactor copies: the command's own,
    /// and after its exit those that keep it from being finished. None where there is no such pipe (any more). As
    /// costly as [`pipe_holders`](crate::linux::pipe_holders).
    ///
    /// # Errors
    /// Where /proc cannot be read.
    pub fn holders(&mut self, id: CommandId, stream: Stream) -> io::Result<Vec<Holder>> {
        self.engine.holders(id, stream)
    }

    /// Gives the terminal of a command ([`Output::terminal`](crate::Output::terminal)) another size, or both of its
    /// terminals; one that is not started begins with that. Who is in the foreground of the terminal that it controls
    /// gets SIGWINCH. A new size is not passed on by itself: call it when this process hears of SIGWINCH.
    ///
    /// ```
    /// use execloop::linux::CommandExt;
    /// use execloop::{Command, Output, Reactor, TerminalSize};
    /// use std::io::Read;
    /// let mut reactor = Reactor::new()?;
    /// let mut sized = Command::new("sh");
    /// sized.args(["-c", "trap 'stty size <&1; exit' WINCH; echo ready; while :; do sleep 0.01; done"]);
    /// sized.session(true).controlling_terminal(1);
    /// sized.stdout(Output::pipe().raw_terminal(TerminalSize::default()));
    /// let id = reactor.start(&mut sized)?;
    /// let mut said = [0; 6];
    /// reactor.stdout(id).expect("a pipe").read_exact(&mut said)?;
    /// reactor.resize_terminal(id, TerminalSize { rows: 30, columns: 100 })?;
    /// let mut size = String::new();
    /// reactor.stdout(id).expect("a pipe").read_to_string(&mut size)?;
    /// assert_eq!(size, "30 100\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `NotConnected` where it has no terminal, or its end has come.
    pub fn resize_terminal(&mut self, id: CommandId, size: TerminalSize) -> io::Result<()> {
        self.engine.resize_terminal(id, size)
    }

    /// Goes on with the reader and the writers of a command that had returned
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn resume(&mut self, id: CommandId) {
        self.engine.resume(id);
        self.tell_outer_loop();
    }
}
