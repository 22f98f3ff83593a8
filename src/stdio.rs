//! `Input` and `Output`: where a command's standard streams come from and go to.
//! One start splits each into the child's part and ours. Unaware of who copies, and when.

use std::fmt;
use std::io::{BufRead, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::guard::drop_callers;
use crate::lines::{LineCallback, Lines};
use crate::sys::{Stdio, Stream, TerminalPlan, TerminalSize};

/// Where a command's stdin comes from. Default: [`null`](Input::null).
///
/// ```
/// use execloop::{Command, Input};
/// let sorted = Command::new("sort").stdin(Input::bytes(*b"pear\napple\n")).output()?;
/// assert_eq!(sorted, b"apple\npear\n");
/// let file = std::fs::File::open("/dev/null")?; // the child's own, without a copy
/// assert_eq!(Command::new("cat").stdin(Input::file(file)).output()?, b"");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Input {
    kind: InputKind,
    /// Typed into the terminal that its stdout is.
    is_typed: bool,
}

enum InputKind {
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
        Input::of(InputKind::Null)
    }

    /// The parent's own stdin, shared with it and with every other child that inherits it: what is at 0 when the command is
    /// started, which for one that is queued is when it leaves the queue.
    pub fn inherit() -> Input {
        Input::of(InputKind::Inherit)
    }

    /// A pipe, written by the caller through [`Reactor::stdin`](crate::Reactor::stdin). The trap: a command that reads
    /// to the end runs until the caller closes it (Go: `StdinPipe`).
    pub fn pipe() -> Input {
        Input::of(InputKind::Pipe)
    }

    /// These bytes, then the end: `*b".."`, `text.as_bytes()`, a `Vec<u8>`, an `Arc<[u8]>`. Shared, not copied, when the
    /// command is started again. A command that exits or closes its stdin without reading them all has done nothing wrong.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Input {
        Input::of(InputKind::Bytes(bytes.into()))
    }

    /// What `reader` gives, then the end. It is read on the reactor's thread and must not block; one that returns
    /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) pauses the stream until
    /// [`Reactor::resume`](crate::Reactor::resume). For one start.
    pub fn reader(reader: impl Read + Send + 'static) -> Input {
        Input::of(InputKind::Reader(Box::new(reader)))
    }

    /// As [`reader`](Input::reader), written straight out of the reader's own buffer: nothing is copied on the way. For
    /// what has one anyway, such as a [`Cursor`](std::io::Cursor) over shared bytes or a
    /// [`BufReader`](std::io::BufReader). For one start.
    pub fn buffered(reader: impl BufRead + Send + 'static) -> Input {
        Input::of(InputKind::Buffered(Box::new(reader)))
    }

    /// This file, socket or pipe end itself, without copying. Ours is closed once the child has it, which is when its start
    /// returns: such a start waits for the program's exec. For one start.
    pub fn file(file: impl Into<OwnedFd>) -> Input {
        Input::of(InputKind::File(file.into()))
    }

    /// Types it into the terminal that the command's stdout is ([`Output::terminal`]), which then is its stdin, too.
    /// Default: a pipe. For what this process gives: of [`inherit`](Input::inherit) and [`file`](Input::file), or
    /// without such a stdout, it is refused by the start.
    ///
    /// A terminal echoes what is typed into its output, hands it out by lines, and takes Ctrl-C for an interrupt; one
    /// that is [raw](Output::raw_terminal) does nothing of that. At the end, Ctrl-D is typed, which ends the input of a
    /// terminal that is not raw; [`Input::null`] types that alone. The traps: a raw terminal's input has no end; a line of
    /// more than 4095 bytes loses the rest (termios(3)); what a program flushes when it asks for a password is lost.
    ///
    /// ```
    /// use execloop::{Command, Input, Output, TerminalSize};
    /// let mut asks = Command::new("sh");
    /// asks.args(["-c", "test -t 0 && read answer && echo got $answer"]);
    /// asks.stdin(Input::bytes(*b"yes\n").terminal());
    /// asks.stdout(Output::capture().terminal(TerminalSize::default()));
    /// assert_eq!(asks.finish()?.stdout, b"yes\r\ngot yes\r\n");
    /// # Ok::<(), execloop::CommandError>(())
    /// ```
    pub fn terminal(mut self) -> Input {
        self.is_typed = true;
        self
    }

    fn of(kind: InputKind) -> Input {
        Input {
            kind,
            is_typed: false,
        }
    }

    /// It is to be typed into the terminal of stdout.
    pub(crate) fn is_typed(&self) -> bool {
        self.is_typed
    }

    /// The caller writes it.
    pub(crate) fn is_pipe(&self) -> bool {
        matches!(self.kind, InputKind::Pipe)
    }

    /// What is typed has to come from here.
    pub(crate) fn comes_from_elsewhere(&self) -> bool {
        matches!(self.kind, InputKind::Inherit | InputKind::File(_))
    }

    /// Splits it for one start: what the child gets, and what we do with our end, if there is a pipe. What can be had
    /// once is used up.
    pub(crate) fn take(&mut self) -> (Stdio, Option<Feed>) {
        let (stdio, feed) = match self.hand_over().kind {
            InputKind::Null | InputKind::Consumed => (Stdio::Null, None),
            InputKind::Inherit => (Stdio::Inherit, None),
            InputKind::Pipe => (Stdio::Pipe, Some(Feed::Caller)),
            InputKind::Bytes(bytes) => (Stdio::Pipe, Some(Feed::Bytes(bytes))),
            InputKind::Reader(reader) => (Stdio::Pipe, Some(Feed::Reader(reader))),
            InputKind::Buffered(reader) => (Stdio::Pipe, Some(Feed::Buffered(reader))),
            InputKind::File(file) => (Stdio::File(file), None),
        };
        match stdio {
            Stdio::Pipe if self.is_typed => (Stdio::TerminalOfStdout, feed),
            // Nothing is typed but the end.
            Stdio::Null if self.is_typed => {
                let nothing = Feed::Bytes(Arc::default());
                (Stdio::TerminalOfStdout, Some(nothing))
            }
            stdio => (stdio, feed),
        }
    }

    /// An earlier start has used it up.
    pub(crate) fn is_consumed(&self) -> bool {
        matches!(self.kind, InputKind::Consumed)
    }

    /// What one start gets; a second finds [`again`](Input::again).
    pub(crate) fn hand_over(&mut self) -> Input {
        let again = self.again();
        std::mem::replace(self, again)
    }

    /// As a second start would find it.
    pub(crate) fn again(&self) -> Input {
        let kind = match &self.kind {
            InputKind::Null => InputKind::Null,
            InputKind::Inherit => InputKind::Inherit,
            InputKind::Pipe => InputKind::Pipe,
            InputKind::Bytes(bytes) => InputKind::Bytes(Arc::clone(bytes)),
            _ => InputKind::Consumed,
        };
        Input {
            kind,
            is_typed: self.is_typed,
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match &self.kind {
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

/// What we do with our end of the pipe to a child's stdin. Nothing is allocated for it before the child is there.
pub(crate) enum Feed {
    /// The caller writes to it himself.
    Caller,
    Bytes(Arc<[u8]>),
    Reader(Box<dyn Read + Send>),
    Buffered(Box<dyn BufRead + Send>),
}

/// Where a command's stdout or stderr goes. Default: [`null`](Output::null).
///
/// ```
/// use execloop::{Command, Output};
/// let mut lines = Command::new("sh");
/// lines.args(["-c", "echo one; echo two; echo three >&2"]);
/// lines.stdout(Output::lines(|line| println!("it says {}", String::from_utf8_lossy(line))));
/// lines.stderr(Output::capture_ends(1000)); // the first and the last 1,000 bytes, for the report
/// assert_eq!(lines.finish()?.stderr, b"three\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Output {
    kind: OutputKind,
    terminal: Option<TerminalPlan>,
}

enum OutputKind {
    Null,
    Inherit,
    Pipe,
    Capture,
    CaptureEnds(usize),
    Writer(Box<dyn Write + Send>),
    Lines(LineCallback),
    /// Lines for a callback that gets their command with them.
    Shared(Lines),
    File(OwnedFd),
    /// An earlier start took it.
    Consumed,
}

impl Output {
    /// `/dev/null`. The default.
    pub fn null() -> Output {
        Output::of(OutputKind::Null)
    }

    /// The parent's own descriptor of the same number: what is there when the command is started, which for one that is
    /// queued is when it leaves the queue.
    pub fn inherit() -> Output {
        Output::of(OutputKind::Inherit)
    }

    /// A pipe, read by the caller through [`Reactor::stdout`](crate::Reactor::stdout) or
    /// [`Reactor::stderr`](crate::Reactor::stderr). The trap: no one else reads it, so a command that fills it waits
    /// for the caller; what is unread when its [`Finished`](crate::Finished) is handed out is lost (Go: `StdoutPipe`).
    pub fn pipe() -> Output {
        Output::of(OutputKind::Pipe)
    }

    /// Collects everything, for [`Finished::stdout`](crate::Finished::stdout) or
    /// [`Finished::stderr`](crate::Finished::stderr). Without a limit: see [`capture_ends`](Output::capture_ends) for
    /// output that may be endless.
    pub fn capture() -> Output {
        Output::of(OutputKind::Capture)
    }

    /// Collects the first and the last `bytes` bytes. If anything between was left out, a line
    /// `... omitting 123 bytes ...` stands in its place. The command is read to its end all the same.
    pub fn capture_ends(bytes: usize) -> Output {
        Output::of(OutputKind::CaptureEnds(bytes))
    }

    /// Hands each chunk to `writer`, on the reactor's thread; it must not block, and one that returns
    /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) pauses the stream until
    /// [`Reactor::resume`](crate::Reactor::resume). Its first error ends the stream: the command then sees a closed
    /// pipe. [`Interrupted`](std::io::ErrorKind::Interrupted) is tried again; the 1,000th in a row is its error.
    /// Flushed at the end, where `WouldBlock` pauses, too: the command is not finished before it is flushed, or its
    /// pipes are cut. For one start.
    pub fn writer(writer: impl Write + Send + 'static) -> Output {
        Output::of(OutputKind::Writer(Box::new(writer)))
    }

    /// Calls `callback` with each line, without its newline, on the reactor's thread. A last line without a newline
    /// counts. A line longer than 1 MiB comes in pieces of that size. For one start.
    pub fn lines(mut callback: impl FnMut(&[u8]) + Send + 'static) -> Output {
        Output::of(OutputKind::Lines(Box::new(move |line| {
            callback(line);
            Ok(())
        })))
    }

    /// This file, socket or pipe end itself, without copying. Ours is closed once the child has it, which is when its start
    /// returns: such a start waits for the program's exec. For one start.
    pub fn file(file: impl Into<OwnedFd>) -> Output {
        Output::of(OutputKind::File(file.into()))
    }

    /// Gives the command a terminal of this size in place of the pipe, a pseudo-terminal (pty(7)), for programs that
    /// print in colour or by lines only there. Default: a pipe. For what this process reads: of [`null`](Output::null),
    /// [`inherit`](Output::inherit) and [`file`](Output::file) it is refused by the start.
    ///
    /// - *What arrives* is what a terminal would be sent: each `\n` as `\r\n`. [`raw_terminal`](Output::raw_terminal) passes
    ///   on what was written.
    /// - *The end* comes when no process has the terminal any more, as with a pipe: the `EIO` that Linux gives then is no
    ///   error. What an orphan holds is bounded by [`wait_delay`](crate::Command::wait_delay) and
    ///   [`leak_timeout`](crate::Command::leak_timeout), as a pipe is. When it is closed before its end, the command gets
    ///   `EIO` in place of SIGPIPE. Who takes its descriptor and reads that himself ends at the second `EIO` in a row: Linux may
    ///   give the first before the last bytes.
    /// - *stdout and stderr* each have a terminal of their own if both ask for one, so that they stay apart; with
    ///   [`stderr_to_stdout`](crate::Command::stderr_to_stdout) there is one, which has both in their order.
    /// - *stdin* stays what it is, unless [`Input::terminal`] puts it there, too.
    /// - *The controlling terminal* of the command is still that of this process. Who needs `/dev/tty`, Ctrl-C by what is typed, or SIGWINCH
    ///   at a [new size](crate::Reactor::resize_terminal), makes a [session](crate::Command::session) with
    ///   [`controlling_terminal(1)`](crate::linux::CommandExt::controlling_terminal).
    ///
    /// The system has a limit on their number (`/proc/sys/kernel/pty/max`, 4096); a start beyond it waits as for a
    /// descriptor. The trap: a program that asks a terminal questions (its cursor's place, its colours) waits for an answer
    /// that nobody types.
    ///
    /// ```
    /// use execloop::{Command, Output, TerminalSize};
    /// let mut size = Command::new("sh");
    /// size.args(["-c", "test -t 1 && stty size <&1"]);
    /// size.stdout(Output::capture().terminal(TerminalSize { rows: 50, columns: 132 }));
    /// assert_eq!(size.finish()?.stdout, b"50 132\r\n");
    /// # Ok::<(), execloop::CommandError>(())
    /// ```
    #[doc(alias("pty", "tty", "openpty"))]
    pub fn terminal(self, size: TerminalSize) -> Output {
        self.with(TerminalPlan {
            size,
            is_raw: false,
        })
    }

    /// As [`terminal`](Output::terminal), in raw mode (cfmakeraw(3)): what the command writes arrives as it was written,
    /// and what is typed arrives as it was typed, without an echo. For output that goes on to another terminal or into
    /// a log. The trap: a program may set other modes.
    pub fn raw_terminal(self, size: TerminalSize) -> Output {
        self.with(TerminalPlan { size, is_raw: true })
    }

    fn with(mut self, plan: TerminalPlan) -> Output {
        self.terminal = Some(plan);
        self
    }

    fn of(kind: OutputKind) -> Output {
        Output {
            kind,
            terminal: None,
        }
    }

    /// The caller reads it.
    pub(crate) fn is_pipe(&self) -> bool {
        matches!(self.kind, OutputKind::Pipe)
    }

    /// It asks for a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// To lines of a callback that learns whose they are.
    pub(crate) fn shared(lines: &Lines) -> Output {
        Output::of(OutputKind::Shared(lines.clone()))
    }

    /// Splits it for one start: what the child gets, and what we do with our end, if there is a pipe. What can be had
    /// once is used up.
    pub(crate) fn take(&mut self) -> (Stdio, Option<SinkKind>) {
        let (stdio, sink) = match self.hand_over().kind {
            OutputKind::Null | OutputKind::Consumed => (Stdio::Null, None),
            OutputKind::Inherit => (Stdio::Inherit, None),
            OutputKind::Pipe => (Stdio::Pipe, Some(SinkKind::Caller)),
            OutputKind::Capture => (Stdio::Pipe, Some(SinkKind::Capture)),
            OutputKind::CaptureEnds(bytes) => (Stdio::Pipe, Some(SinkKind::CaptureEnds(bytes))),
            OutputKind::Writer(writer) => (Stdio::Pipe, Some(SinkKind::Writer(writer))),
            OutputKind::Lines(callback) => (Stdio::Pipe, Some(SinkKind::Lines(callback))),
            OutputKind::Shared(lines) => (Stdio::Pipe, Some(SinkKind::Shared(lines))),
            OutputKind::File(file) => (Stdio::File(file), None),
        };
        match (stdio, self.terminal) {
            (Stdio::Pipe, Some(plan)) => (Stdio::Terminal(plan), sink),
            (stdio, _) => (stdio, sink),
        }
    }

    /// An earlier start has used it up.
    pub(crate) fn is_consumed(&self) -> bool {
        matches!(self.kind, OutputKind::Consumed)
    }

    /// Whether what is written to it passes through this process; `None`: it goes nowhere.
    pub(crate) fn passes_through(&self) -> Option<bool> {
        match self.kind {
            OutputKind::Null => None,
            OutputKind::Inherit | OutputKind::File(_) => Some(false),
            OutputKind::Pipe
            | OutputKind::Capture
            | OutputKind::CaptureEnds(_)
            | OutputKind::Writer(_)
            | OutputKind::Lines(_)
            | OutputKind::Shared(_)
            | OutputKind::Consumed => Some(true),
        }
    }

    /// What one start gets; a second finds [`again`](Output::again).
    pub(crate) fn hand_over(&mut self) -> Output {
        let again = self.again();
        std::mem::replace(self, again)
    }

    /// As a second start would find it.
    pub(crate) fn again(&self) -> Output {
        let kind = match &self.kind {
            OutputKind::Null => OutputKind::Null,
            OutputKind::Inherit => OutputKind::Inherit,
            OutputKind::Pipe => OutputKind::Pipe,
            OutputKind::Capture => OutputKind::Capture,
            OutputKind::CaptureEnds(bytes) => OutputKind::CaptureEnds(*bytes),
            OutputKind::Shared(lines) => OutputKind::Shared(lines.clone()),
            _ => OutputKind::Consumed,
        };
        Output {
            kind,
            terminal: self.terminal,
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match &self.kind {
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

/// What we do with our end of the pipe from a child's stdout or stderr.
pub(crate) enum SinkKind {
    /// The caller reads from it himself.
    Caller,
    Capture,
    CaptureEnds(usize),
    Writer(Box<dyn Write + Send>),
    Lines(LineCallback),
    Shared(Lines),
}

/// What we do with our ends of a command's pipes. Where there is no pipe there is nothing to do.
#[derive(Default)]
pub(crate) struct Duties {
    pub(crate) stdin: Option<Feed>,
    pub(crate) stdout: Option<SinkKind>,
    pub(crate) stderr: Option<SinkKind>,
}

impl Duties {
    /// The caller is to read or write this stream's pipe himself.
    pub(crate) fn asks_for_pipe(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdin => matches!(self.stdin, Some(Feed::Caller)),
            Stream::Stdout => matches!(self.stdout, Some(SinkKind::Caller)),
            Stream::Stderr => matches!(self.stderr, Some(SinkKind::Caller)),
        }
    }

    /// There will be no pipe after all: drops what was to use it.
    pub(crate) fn forget(&mut self, stream: Stream) {
        match stream {
            Stream::Stdin => drop_callers("reader", self.stdin.take()),
            Stream::Stdout => drop_callers("writer", self.stdout.take()),
            Stream::Stderr => drop_callers("writer", self.stderr.take()),
        }
    }
}
