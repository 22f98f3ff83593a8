//! `Input` and `Output`: where a command's standard streams come from and go to.
//! Unaware of pipes and of who copies.

use std::fmt;
use std::io::{BufRead, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::lines::Lines;
use crate::sys::Stdio;

/// Where a command's stdin comes from. Default: [`null`](Input::null).
pub struct Input(pub(crate) InputKind);

pub(crate) enum InputKind {
    Null,
    Inherit,
    Pipe,
    Bytes(Arc<[u8]>),
    Reader(Box<dyn Read + Send>),
    Buffered(Box<dyn BufRead + Send>),
    File(OwnedFd),
    /// An earlier start took it.
    Consumed,
}

impl Input {
    /// `/dev/null`: reads give the end at once. The default.
    pub fn null() -> Input {
        Input(InputKind::Null)
    }

    /// The parent's own stdin, shared with it and with every other child that inherits it.
    pub fn inherit() -> Input {
        Input(InputKind::Inherit)
    }

    /// A pipe, written by the caller through [`Reactor::stdin`](crate::Reactor::stdin). The trap: a command that reads to the end runs until the
    /// caller closes it (Go: `StdinPipe`).
    pub fn pipe() -> Input {
        Input(InputKind::Pipe)
    }

    /// These bytes, then the end. Shared, not copied, when the command is started again. A command that exits or
    /// closes its stdin without reading them all has done nothing wrong.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Input {
        Input(InputKind::Bytes(bytes.into()))
    }

    /// What `reader` gives, then the end. It is read on the reactor's thread and must not block; one that returns
    /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) pauses the stream until [`Reactor::resume`](crate::Reactor::resume). For one start.
    pub fn reader(reader: impl Read + Send + 'static) -> Input {
        Input(InputKind::Reader(Box::new(reader)))
    }

    /// As [`reader`](Input::reader), written straight out of the reader's own buffer: nothing is copied on the way. For
    /// what has one anyway, such as a [`Cursor`](std::io::Cursor) over shared bytes or a
    /// [`BufReader`](std::io::BufReader). For one start.
    pub fn buffered(reader: impl BufRead + Send + 'static) -> Input {
        Input(InputKind::Buffered(Box::new(reader)))
    }

    /// This file, socket or pipe end itself, without copying. Ours is closed once the child has it, which is when its start
    /// returns: such a start waits for the program's exec. For one start.
    pub fn file(file: impl Into<OwnedFd>) -> Input {
        Input(InputKind::File(file.into()))
    }

    pub(crate) fn take(&mut self) -> InputKind {
        match &mut self.0 {
            InputKind::Null => InputKind::Null,
            InputKind::Inherit => InputKind::Inherit,
            InputKind::Pipe => InputKind::Pipe,
            InputKind::Bytes(bytes) => InputKind::Bytes(Arc::clone(bytes)),
            one_shot => std::mem::replace(one_shot, InputKind::Consumed),
        }
    }

    /// As a second start would find it.
    pub(crate) fn again(&self) -> Input {
        Input(match &self.0 {
            InputKind::Null => InputKind::Null,
            InputKind::Inherit => InputKind::Inherit,
            InputKind::Pipe => InputKind::Pipe,
            InputKind::Bytes(bytes) => InputKind::Bytes(Arc::clone(bytes)),
            _ => InputKind::Consumed,
        })
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match &self.0 {
            InputKind::Null => "Input::null",
            InputKind::Inherit => "Input::inherit",
            InputKind::Pipe => "Input::pipe",
            InputKind::Bytes(_) => "Input::bytes",
            InputKind::Reader(_) => "Input::reader",
            InputKind::Buffered(_) => "Input::buffered",
            InputKind::File(_) => "Input::file",
            InputKind::Consumed => "Input (used up)",
        })
    }
}

/// Where a command's stdout or stderr goes. Default: [`null`](Output::null).
pub struct Output(pub(crate) OutputKind);

pub(crate) type LineCallback = Box<dyn FnMut(&[u8]) + Send>;

pub(crate) enum OutputKind {
    Null,
    Inherit,
    Pipe,
    Capture,
    CaptureEnds(usize),
    Writer(Box<dyn Write + Send>),
    Lines(LineCallback),
    /// Lines of a callback that is told whose they are.
    Shared(Lines),
    File(OwnedFd),
    /// An earlier start took it.
    Consumed,
}

impl Output {
    /// `/dev/null`. The default.
    pub fn null() -> Output {
        Output(OutputKind::Null)
    }

    /// The parent's own descriptor of the same number.
    pub fn inherit() -> Output {
        Output(OutputKind::Inherit)
    }

    /// A pipe, read by the caller through [`Reactor::stdout`](crate::Reactor::stdout) or [`Reactor::stderr`](crate::Reactor::stderr). The trap: nobody else reads it, so a
    /// command that fills it waits for the caller; what is unread when its [`Finished`](crate::Finished) is handed out is lost (Go:
    /// `StdoutPipe`).
    pub fn pipe() -> Output {
        Output(OutputKind::Pipe)
    }

    /// Collects everything, for [`Finished::stdout`](crate::Finished::stdout) or [`Finished::stderr`](crate::Finished::stderr). Without a limit: see
    /// [`capture_ends`](Output::capture_ends) for output that may be endless.
    pub fn capture() -> Output {
        Output(OutputKind::Capture)
    }

    /// Collects the first and the last `bytes` bytes. If anything between was left out, a line
    /// `... omitting 123 bytes ...` stands in its place. The command is read to its end all the same.
    pub fn capture_ends(bytes: usize) -> Output {
        Output(OutputKind::CaptureEnds(bytes))
    }

    /// Hands each chunk to `writer`, on the reactor's thread; it must not block, and one that returns
    /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) pauses the stream until [`Reactor::resume`](crate::Reactor::resume). Its first error ends the
    /// stream: the command then sees a closed pipe. Flushed at the end. For one start.
    pub fn writer(writer: impl Write + Send + 'static) -> Output {
        Output(OutputKind::Writer(Box::new(writer)))
    }

    /// Calls `callback` with each line, without its newline, on the reactor's thread. A last line without a newline
    /// counts. A line longer than 1 MiB comes in pieces of that size. For one start.
    pub fn lines(callback: impl FnMut(&[u8]) + Send + 'static) -> Output {
        Output(OutputKind::Lines(Box::new(callback)))
    }

    /// This file, socket or pipe end itself, without copying. Ours is closed once the child has it, which is when its start
    /// returns: such a start waits for the program's exec. For one start.
    pub fn file(file: impl Into<OwnedFd>) -> Output {
        Output(OutputKind::File(file.into()))
    }

    pub(crate) fn take(&mut self) -> OutputKind {
        match &mut self.0 {
            OutputKind::Null => OutputKind::Null,
            OutputKind::Inherit => OutputKind::Inherit,
            OutputKind::Pipe => OutputKind::Pipe,
            OutputKind::Capture => OutputKind::Capture,
            OutputKind::CaptureEnds(bytes) => OutputKind::CaptureEnds(*bytes),
            OutputKind::Shared(lines) => OutputKind::Shared(lines.clone()),
            one_shot => std::mem::replace(one_shot, OutputKind::Consumed),
        }
    }

    /// As a second start would find it.
    pub(crate) fn again(&self) -> Output {
        Output(match &self.0 {
            OutputKind::Null => OutputKind::Null,
            OutputKind::Inherit => OutputKind::Inherit,
            OutputKind::Pipe => OutputKind::Pipe,
            OutputKind::Capture => OutputKind::Capture,
            OutputKind::CaptureEnds(bytes) => OutputKind::CaptureEnds(*bytes),
            OutputKind::Shared(lines) => OutputKind::Shared(lines.clone()),
            _ => OutputKind::Consumed,
        })
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match &self.0 {
            OutputKind::Null => "Output::null",
            OutputKind::Inherit => "Output::inherit",
            OutputKind::Pipe => "Output::pipe",
            OutputKind::Capture => "Output::capture",
            OutputKind::CaptureEnds(_) => "Output::capture_ends",
            OutputKind::Writer(_) => "Output::writer",
            OutputKind::Lines(_) => "Output::lines",
            OutputKind::Shared(_) => "Lines",
            OutputKind::File(_) => "Output::file",
            OutputKind::Consumed => "Output (used up)",
        })
    }
}

impl InputKind {
    /// What the child gets; a file moves into it.
    pub(crate) fn stdio(&mut self) -> Stdio {
        match self {
            InputKind::Null | InputKind::Consumed => Stdio::Null,
            InputKind::Inherit => Stdio::Inherit,
            InputKind::Pipe
            | InputKind::Bytes(_)
            | InputKind::Reader(_)
            | InputKind::Buffered(_) => Stdio::Pipe,
            InputKind::File(_) => match std::mem::replace(self, InputKind::Consumed) {
                InputKind::File(file) => Stdio::File(file),
                _ => Stdio::Null,
            },
        }
    }
}

impl OutputKind {
    /// What the child gets; a file moves into it.
    pub(crate) fn stdio(&mut self) -> Stdio {
        match self {
            OutputKind::Null | OutputKind::Consumed => Stdio::Null,
            OutputKind::Inherit => Stdio::Inherit,
            OutputKind::File(_) => match std::mem::replace(self, OutputKind::Consumed) {
                OutputKind::File(file) => Stdio::File(file),
                _ => Stdio::Null,
            },
            _ => Stdio::Pipe,
        }
    }
}
