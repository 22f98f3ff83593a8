//! Our end of one pipe: `Fill` writes a child's stdin, `Drain` reads its output, each up to a budget a turn.
//! Unaware of jobs, of slots and of when it is called.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::ends::Ends;
use crate::error::{CallbackPanicked, Closed};
use crate::stdio::{InputKind, LineCallback, OutputKind};
use crate::sys::Kernel;

/// How much one stream may move before the others get their turn.
pub(crate) const STREAM_BYTES_PER_TURN_MAX: usize = 64 * 1024;
/// The same for a stream that keeps filling its pipe, which was then enlarged to this.
const BULK_BYTES_PER_TURN_MAX: usize = 256 * 1024;
/// The largest packet of a pipe in packet mode (PIPE_BUF, pipe(2)).
const PACKET_BYTES_MAX: usize = 4096;
/// How often one stream is read or written before the others get their turn: a child may write byte by byte as we read,
/// and a caller's reader may give byte by byte.
const PIECES_PER_TURN_MAX: usize = 16;
/// So many full reads in a row make a stream a bulk stream.
const FULL_READS_OF_BULK: u8 = 4;
/// A capture beyond this is read straight into its vector.
const SMALL_CAPTURE_BYTES_MAX: usize = 4 * 1024;
/// The most that is read of a pipe before it is cut: the largest that an unprivileged user can make a pipe.
const LAST_DRAIN_BYTES_MAX: usize = 1024 * 1024;
/// A longer line is handed out in pieces.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// How one visit to a stream went.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing more to do before the next event.
    Idle,
    /// The budget is used up, and there may be more: visit again, without an event.
    More,
    /// It is over, well or not. The pipe can be closed.
    Ended(io::Result<()>),
}

/// What our ends of a command's pipes are. `Absent`: there is no pipe, or it is closed and left nothing.
#[derive(Debug)]
pub(crate) enum OurEnd<P> {
    Absent,
    Fill(Box<Fill<P>>),
    Drain(Drain<P>),
    /// The caller reads or writes it. `ready`: the last event has not been used up. `is_watched`: the kernel announces it,
    /// which is first needed when the caller has to wait for it.
    Held {
        pipe: P,
        ready: bool,
        is_watched: bool,
    },
    /// The caller's pipe, closed by him or cut.
    HeldClosed(Closed),
    /// What a capture collected.
    Collected(Vec<u8>),
}

impl<P> OurEnd<P> {
    fn held(pipe: P) -> OurEnd<P> {
        OurEnd::Held {
            pipe,
            ready: true,
            is_watched: false,
        }
    }

    /// The end for a stdin of this kind.
    pub(crate) fn of_input(pipe: Option<P>, input: InputKind) -> OurEnd<P> {
        let Some(pipe) = pipe else {
            return OurEnd::Absent;
        };
        let source = match input {
            InputKind::Bytes(bytes) => FillSource::Bytes { bytes, at: 0 },
            InputKind::Reader(reader) => {
                let reader = BufReader::with_capacity(STREAM_BYTES_PER_TURN_MAX, reader);
                FillSource::Buffered(Box::new(reader))
            }
            InputKind::Buffered(reader) => FillSource::Buffered(reader),
            _ => return OurEnd::held(pipe),
        };
        OurEnd::Fill(Box::new(Fill {
            pipe,
            source,
            hung_up: false,
            is_listed: false,
            was_refused: false,
        }))
    }

    /// The end for a stdout or stderr of this kind.
    pub(crate) fn of_output(pipe: Option<P>, output: OutputKind) -> OurEnd<P> {
        let Some(pipe) = pipe else {
            return OurEnd::Absent;
        };
        let sink = match output {
            OutputKind::Capture => Sink::Capture(Vec::new()),
            OutputKind::CaptureEnds(bytes) => Sink::Ends(Box::new(Ends::new(bytes))),
            OutputKind::Writer(writer) => Sink::Writer {
                writer,
                pending: Vec::new(),
            },
            OutputKind::Lines(callback) => Sink::Lines {
                callback,
                partial: Vec::new(),
            },
            _ => return OurEnd::held(pipe),
        };
        OurEnd::Drain(Drain {
            pipe,
            sink,
            hung_up: false,
            is_listed: false,
            was_refused: false,
            full_reads: 0,
        })
    }

    /// A job waits for this stream's end.
    pub(crate) fn is_copied(&self) -> bool {
        self.copied_pipe().is_some()
    }

    /// The pipe of a copied stream, until its end.
    pub(crate) fn copied_pipe(&self) -> Option<&P> {
        match self {
            OurEnd::Fill(fill) => Some(&fill.pipe),
            OurEnd::Drain(drain) => Some(&drain.pipe),
            _ => None,
        }
    }

    /// It used up its budget, and has its turn without an event.
    pub(crate) fn is_listed(&self) -> bool {
        match self {
            OurEnd::Fill(fill) => fill.is_listed,
            OurEnd::Drain(drain) => drain.is_listed,
            _ => false,
        }
    }

    /// The caller has, or had, this pipe.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self, OurEnd::Held { .. })
    }
}

/// Gives a child its stdin.
pub(crate) struct Fill<P> {
    pub(crate) pipe: P,
    source: FillSource,
    /// Nobody can read any more.
    pub(crate) hung_up: bool,
    /// The engine has it in its list of visits.
    pub(crate) is_listed: bool,
    /// See [`Drain::was_refused`].
    was_refused: bool,
}

enum FillSource {
    /// `at`: how much of them is written.
    Bytes {
        bytes: Arc<[u8]>,
        at: usize,
    },
    Buffered(Box<dyn BufRead + Send>),
}

impl<P: fmt::Debug> Fill<P> {
    /// Writes up to the budget. `hung_up`: nobody can read any more, which is no error (Go ignores EPIPE).
    pub(crate) fn fill<K: Kernel<Pipe = P>>(&mut self, kernel: &mut K, hung_up: bool) -> Progress {
        self.is_listed = false;
        self.hung_up |= hung_up;
        if self.hung_up {
            return Progress::Ended(Ok(()));
        }
        let mut budget = STREAM_BYTES_PER_TURN_MAX;
        for _ in 0..PIECES_PER_TURN_MAX {
            let (given, written) = match self.source.next() {
                Ok([]) => return Progress::Ended(Ok(())),
                Ok(bytes) => {
                    let bytes = &bytes[..bytes.len().min(STREAM_BYTES_PER_TURN_MAX)];
                    (bytes.len(), kernel.write(&self.pipe, bytes))
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock => return Progress::Idle,
                    _ => return Progress::Ended(Err(error)),
                },
            };
            match written {
                Ok(written) => {
                    self.was_refused = false;
                    if let Err(error) = self.source.advance(written) {
                        return Progress::Ended(Err(error));
                    }
                    if written < given {
                        return Progress::Idle;
                    }
                    budget = budget.saturating_sub(written);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock if self.was_refused => return Progress::Idle,
                    io::ErrorKind::WouldBlock => {
                        self.was_refused = true;
                        self.is_listed = true;
                        return Progress::More;
                    }
                    io::ErrorKind::BrokenPipe => return Progress::Ended(Ok(())),
                    _ => return Progress::Ended(Err(error)),
                },
            }
            if budget == 0 {
                break;
            }
        }
        self.is_listed = true;
        Progress::More
    }
}

impl FillSource {
    /// What to write next; empty at the end.
    fn next(&mut self) -> io::Result<&[u8]> {
        match self {
            FillSource::Bytes { bytes, at } => Ok(&bytes[*at..]),
            FillSource::Buffered(reader) => guarded("reader", || reader.fill_buf()),
        }
    }

    /// So much of it is written.
    fn advance(&mut self, bytes: usize) -> io::Result<()> {
        match self {
            FillSource::Bytes { at, .. } => *at += bytes,
            FillSource::Buffered(reader) => guarded("reader", || {
                reader.consume(bytes);
                Ok(())
            })?,
        }
        Ok(())
    }
}

/// Takes a child's output.
#[derive(Debug)]
pub(crate) struct Drain<P> {
    pub(crate) pipe: P,
    sink: Sink,
    /// All writers are gone: what the pipe holds now is the last of it.
    pub(crate) hung_up: bool,
    /// The engine has it in its list of visits.
    pub(crate) is_listed: bool,
    /// The last call found the pipe empty, against what was announced. Events come once, so this is believed only when
    /// it is said twice.
    was_refused: bool,
    full_reads: u8,
}

enum Sink {
    Capture(Vec<u8>),
    Ends(Box<Ends>),
    /// `pending` is what the writer has not taken yet.
    Writer {
        writer: Box<dyn Write + Send>,
        pending: Vec<u8>,
    },
    /// `partial` is the beginning of a line.
    Lines {
        callback: LineCallback,
        partial: Vec<u8>,
    },
}

impl<P: fmt::Debug> Drain<P> {
    /// Reads up to the budget, until the pipe is empty or at its end. A short read tells neither: of a writer in packet
    /// mode (`O_DIRECT`, pipe(2); `dd oflag=direct` is one) each read gives one write. Returns how much was read, too.
    pub(crate) fn drain<K: Kernel<Pipe = P>>(
        &mut self,
        kernel: &mut K,
        scratch: &mut Vec<u8>,
        hung_up: bool,
    ) -> (Progress, usize) {
        self.hung_up |= hung_up;
        self.is_listed = false;
        let is_bulk = self.full_reads >= FULL_READS_OF_BULK;
        let bytes_max = if is_bulk {
            BULK_BYTES_PER_TURN_MAX
        } else {
            STREAM_BYTES_PER_TURN_MAX
        };
        let mut total = 0;
        for _ in 0..PIECES_PER_TURN_MAX {
            match self.sink.flush_pending() {
                Ok(true) => {}
                Ok(false) => return (Progress::Idle, total),
                Err(error) => return (Progress::Ended(Err(error)), total),
            }
            match self
                .sink
                .read(kernel, &self.pipe, scratch, bytes_max - total)
            {
                Ok(0) => return (Progress::Ended(self.sink.finish()), total),
                Ok(read) => total += read,
                Err(Failure::Read(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return (self.refused(total > 0), total);
                }
                Err(Failure::Read(error)) | Err(Failure::Sink(error)) => {
                    return (Progress::Ended(Err(error)), total);
                }
            }
            self.was_refused = false;
            if self.sink.is_blocked() {
                return (Progress::Idle, total);
            }
            // Into less room than that a packet would be cut.
            if bytes_max - total < PACKET_BYTES_MAX {
                self.note_full_read(kernel, is_bulk);
                break;
            }
        }
        self.is_listed = true;
        (Progress::More, total)
    }

    /// The pipe is said to be empty.
    fn refused(&mut self, has_read: bool) -> Progress {
        if self.full_reads < FULL_READS_OF_BULK {
            self.full_reads = 0;
        }
        // A pipe without writers holds bytes or its end, and no further event.
        let is_believed = !self.hung_up && (has_read || self.was_refused);
        self.was_refused = !has_read;
        self.is_listed = !is_believed;
        if is_believed {
            Progress::Idle
        } else {
            Progress::More
        }
    }

    fn note_full_read<K: Kernel<Pipe = P>>(&mut self, kernel: &mut K, is_bulk: bool) {
        if !is_bulk {
            self.full_reads += 1;
            if self.full_reads == FULL_READS_OF_BULK {
                kernel.enlarge(&self.pipe);
            }
        }
    }

    /// Before it is cut: takes what the pipe holds. Returns whether that was all, as every writer is gone.
    pub(crate) fn drain_last<K: Kernel<Pipe = P>>(
        &mut self,
        kernel: &mut K,
        scratch: &mut Vec<u8>,
    ) -> (bool, io::Result<()>) {
        let mut budget = LAST_DRAIN_BYTES_MAX;
        let ended = loop {
            match self.sink.flush_pending() {
                Ok(true) => {}
                Ok(false) => break false,
                Err(error) => return (true, Err(error)),
            }
            match self.sink.read(
                kernel,
                &self.pipe,
                scratch,
                STREAM_BYTES_PER_TURN_MAX.min(budget),
            ) {
                Ok(0) => break true,
                Ok(read) => budget -= read,
                Err(Failure::Read(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    break false;
                }
                Err(Failure::Read(error)) | Err(Failure::Sink(error)) => return (true, Err(error)),
            }
            if budget == 0 {
                break false;
            }
        };
        (ended, self.sink.finish())
    }

    /// Gives up the pipe and what was collected.
    pub(crate) fn into_parts(self) -> (P, Option<Vec<u8>>) {
        let collected = match self.sink {
            Sink::Capture(bytes) => Some(bytes),
            Sink::Ends(ends) => Some(ends.finish()),
            Sink::Writer { .. } | Sink::Lines { .. } => None,
        };
        (self.pipe, collected)
    }
}

/// Which side of a copy failed.
enum Failure {
    Read(io::Error),
    Sink(io::Error),
}

impl Sink {
    /// One read, and its bytes delivered.
    fn read<K: Kernel>(
        &mut self,
        kernel: &mut K,
        pipe: &K::Pipe,
        scratch: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<usize, Failure> {
        if let Sink::Capture(bytes) = self
            && bytes.len() >= SMALL_CAPTURE_BYTES_MAX
        {
            return read_retrying(kernel, pipe, bytes, bytes_max).map_err(Failure::Read);
        }
        scratch.clear();
        let read = read_retrying(kernel, pipe, scratch, bytes_max).map_err(Failure::Read)?;
        self.deliver(scratch).map_err(Failure::Sink)?;
        Ok(read)
    }

    fn deliver(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Capture(captured) => captured.extend_from_slice(bytes),
            Sink::Ends(ends) => ends.push(bytes),
            Sink::Writer { writer, pending } => {
                let taken = write_some(writer, bytes)?;
                pending.extend_from_slice(&bytes[taken..]);
            }
            Sink::Lines { callback, partial } => return deliver_lines(callback, partial, bytes),
        }
        Ok(())
    }

    /// The writer has said that it takes no more for now.
    fn is_blocked(&self) -> bool {
        matches!(self, Sink::Writer { pending, .. } if !pending.is_empty())
    }

    /// Offers the writer what it has not taken. `false`: it still does not take it.
    fn flush_pending(&mut self) -> io::Result<bool> {
        if let Sink::Writer { writer, pending } = self
            && !pending.is_empty()
        {
            let taken = write_some(writer, pending)?;
            pending.drain(..taken);
        }
        Ok(!self.is_blocked())
    }

    /// The stream's end: the last line, the last flush.
    fn finish(&mut self) -> io::Result<()> {
        match self {
            Sink::Capture(_) | Sink::Ends(_) => Ok(()),
            Sink::Writer { writer, pending } => {
                if !pending.is_empty() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                guarded("writer", || writer.flush())
            }
            Sink::Lines { partial, .. } if partial.is_empty() => Ok(()),
            Sink::Lines { callback, partial } => {
                let line = std::mem::take(partial);
                guarded("line callback", || {
                    callback(&line);
                    Ok(())
                })
            }
        }
    }
}

fn read_retrying<K: Kernel>(
    kernel: &mut K,
    pipe: &K::Pipe,
    into: &mut Vec<u8>,
    bytes_max: usize,
) -> io::Result<usize> {
    loop {
        match kernel.read(pipe, into, bytes_max) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Writes until all is taken or the writer would block. Returns how much was taken.
fn write_some(writer: &mut Box<dyn Write + Send>, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match guarded("writer", || writer.write(&bytes[taken..])) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => taken += written.min(bytes.len() - taken),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => break,
                _ => return Err(error),
            },
        }
    }
    Ok(taken)
}

fn deliver_lines(
    callback: &mut LineCallback,
    partial: &mut Vec<u8>,
    bytes: &[u8],
) -> io::Result<()> {
    let mut call = |line: &[u8]| {
        guarded("line callback", || {
            callback(line);
            Ok(())
        })
    };
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (line, is_whole) = match part.strip_suffix(b"\n") {
            Some(line) => (line, true),
            None => (part, false),
        };
        if is_whole && partial.is_empty() {
            call(line)?;
            continue;
        }
        partial.extend_from_slice(line);
        while partial.len() > LINE_BYTES_MAX {
            let piece: Vec<u8> = partial.drain(..LINE_BYTES_MAX).collect();
            call(&piece)?;
        }
        if is_whole {
            call(partial)?;
            partial.clear();
        }
    }
    Ok(())
}

/// Calls into the caller's code; its panic becomes an error, as the loop must go on for the others.
pub(crate) fn guarded<T>(
    what: &'static str,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result,
        Err(payload) => Err(CallbackPanicked::new(what, &*payload).into()),
    }
}

impl<P: fmt::Debug> fmt::Debug for Fill<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Fill")
            .field("pipe", &self.pipe)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Sink::Capture(_) => "Capture",
            Sink::Ends(_) => "Ends",
            Sink::Writer { .. } => "Writer",
            Sink::Lines { .. } => "Lines",
        })
    }
}
