//! Our end of one pipe: `Fill` writes a child's stdin, `Drain` reads its output, each up to a budget a turn, and before a
//! pipe is cut, what it still holds. Unaware of jobs, of slots and of when it is called.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::caller_pipe::CallerPipe;
use crate::ends::Ends;
use crate::error::CallbackPanicked;
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
/// A capture beyond this is read straight into its vector, which has to have room for a whole budget then. Below it, that
/// room would be most of what a capture keeps.
const SMALL_CAPTURE_BYTES_MAX: usize = STREAM_BYTES_PER_TURN_MAX;
/// So much room may a finished capture keep beside each of its bytes' quarter.
const SPARE_BYTES_MAX: usize = 1024;
/// The most that is read of a pipe before it is cut: the largest that an unprivileged user can make a pipe.
pub(crate) const LAST_DRAIN_BYTES_MAX: usize = 1024 * 1024;
/// An edge comes once, and a call can fail for reasons of its own: that a pipe is empty or full is believed only when it is
/// said so often in a row.
pub(crate) const REFUSALS_BELIEVED: u32 = 2;
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
    /// The caller reads or writes it.
    Caller(CallerPipe<P>),
    /// What a capture collected.
    Collected(Vec<u8>),
}

impl<P> OurEnd<P> {
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
            _ => return OurEnd::Caller(CallerPipe::new(pipe)),
        };
        OurEnd::Fill(Box::new(Fill {
            pipe,
            source,
            is_hung_up: false,
            is_listed: false,
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
            _ => return OurEnd::Caller(CallerPipe::new(pipe)),
        };
        OurEnd::Drain(Drain {
            pipe,
            sink,
            is_hung_up: false,
            is_listed: false,
            full_reads: 0,
        })
    }

    /// What the input was made of, where its start has failed and nothing of it was given. Its pipe is closed.
    pub(crate) fn into_input<K: Kernel<Pipe = P>>(self, kernel: &mut K) -> InputKind {
        match self {
            OurEnd::Fill(fill) => {
                kernel.close(fill.pipe);
                match fill.source {
                    FillSource::Bytes { bytes, .. } => InputKind::Bytes(bytes),
                    FillSource::Buffered(reader) => InputKind::Buffered(reader),
                }
            }
            OurEnd::Caller(mut pipe) => {
                pipe.close(kernel);
                InputKind::Pipe
            }
            _ => InputKind::Null,
        }
    }

    /// The same for an output that nothing was read of.
    pub(crate) fn into_output<K: Kernel<Pipe = P>>(self, kernel: &mut K) -> OutputKind {
        match self {
            OurEnd::Drain(drain) => {
                kernel.close(drain.pipe);
                match drain.sink {
                    Sink::Capture(_) => OutputKind::Capture,
                    Sink::Ends(ends) => OutputKind::CaptureEnds(ends.end_bytes_max()),
                    Sink::Writer { writer, .. } => OutputKind::Writer(writer),
                    Sink::Lines { callback, .. } => OutputKind::Lines(callback),
                }
            }
            OurEnd::Caller(mut pipe) => {
                pipe.close(kernel);
                OutputKind::Pipe
            }
            _ => OutputKind::Null,
        }
    }

    /// The caller has closed his pipe.
    pub(crate) fn is_closed_by_caller(&self) -> bool {
        matches!(self, OurEnd::Caller(CallerPipe::Closed))
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

    /// The kernel says that nobody has the other end of a copied stream's pipe.
    pub(crate) fn note_hang_up(&mut self) {
        match self {
            OurEnd::Fill(fill) => fill.is_hung_up = true,
            OurEnd::Drain(drain) => drain.is_hung_up = true,
            _ => {}
        }
    }

    /// To serve it runs code of the caller's, which may take its time.
    pub(crate) fn runs_callbacks(&self) -> bool {
        match self {
            OurEnd::Fill(fill) => matches!(fill.source, FillSource::Buffered(_)),
            OurEnd::Drain(drain) => matches!(drain.sink, Sink::Writer { .. } | Sink::Lines { .. }),
            _ => false,
        }
    }

    /// The caller has, or had, this pipe.
    pub(crate) fn is_callers(&self) -> bool {
        matches!(self, OurEnd::Caller(_))
    }
}

/// Gives a child its stdin.
pub(crate) struct Fill<P> {
    pub(crate) pipe: P,
    source: FillSource,
    /// Nobody can read any more, so it was announced. The trap: see [`Drain::is_hung_up`].
    is_hung_up: bool,
    /// The engine has it in its list of visits.
    is_listed: bool,
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
    /// Writes up to the budget. That nobody can read any more is no error (Go ignores EPIPE).
    pub(crate) fn fill<K: Kernel<Pipe = P>>(&mut self, kernel: &mut K) -> Progress {
        self.is_listed = false;
        if std::mem::take(&mut self.is_hung_up) && kernel.is_abandoned(&self.pipe) {
            return Progress::Ended(Ok(()));
        }
        let mut budget = STREAM_BYTES_PER_TURN_MAX;
        let mut refusals = 0;
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
                    refusals = 0;
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
                    io::ErrorKind::WouldBlock => {
                        refusals += 1;
                        if refusals == REFUSALS_BELIEVED {
                            return Progress::Idle;
                        }
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

    /// Before it is cut: writes what still fits. `None`: somebody could read on.
    pub(crate) fn fill_last<K: Kernel<Pipe = P>>(
        &mut self,
        kernel: &mut K,
    ) -> Option<io::Result<()>> {
        match self.fill(kernel) {
            Progress::Ended(result) => Some(result),
            Progress::Idle | Progress::More => kernel.is_abandoned(&self.pipe).then_some(Ok(())),
        }
    }

    /// Gives up the pipe, and drops the caller's reader.
    pub(crate) fn into_parts(self) -> (P, io::Result<()>) {
        (self.pipe, drop_guarded("reader", self.source))
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
    /// All writers are gone, so it was announced. The trap: one can come back, by `/proc/PID/fd`.
    is_hung_up: bool,
    /// The engine has it in its list of visits.
    is_listed: bool,
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
    ) -> (Progress, usize) {
        self.is_listed = false;
        let is_bulk = self.full_reads >= FULL_READS_OF_BULK;
        let bytes_max = if is_bulk {
            BULK_BYTES_PER_TURN_MAX
        } else {
            STREAM_BYTES_PER_TURN_MAX
        };
        let mut total = 0;
        let mut refusals = 0;
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
                    refusals += 1;
                    if refusals < REFUSALS_BELIEVED {
                        continue;
                    }
                    return (self.found_empty(), total);
                }
                Err(Failure::Read(error)) | Err(Failure::Sink(error)) => {
                    return (Progress::Ended(Err(error)), total);
                }
            }
            refusals = 0;
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

    /// The pipe is empty, and has not ended. If it had hung up, it has a writer again, or its end comes at the next look:
    /// no further event would tell.
    fn found_empty(&mut self) -> Progress {
        if self.full_reads < FULL_READS_OF_BULK {
            self.full_reads = 0;
        }
        self.is_listed = std::mem::take(&mut self.is_hung_up);
        if self.is_listed {
            Progress::More
        } else {
            Progress::Idle
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

    /// Before it is cut: takes what the pipe holds. `None`: somebody still holds it, which outweighs what the writer says
    /// of it.
    pub(crate) fn drain_last<K: Kernel<Pipe = P>>(
        &mut self,
        kernel: &mut K,
        scratch: &mut Vec<u8>,
    ) -> Option<io::Result<()>> {
        let mut budget = LAST_DRAIN_BYTES_MAX;
        let mut refusals = 0;
        let has_ended = loop {
            match self.sink.flush_pending() {
                Ok(true) => {}
                Ok(false) => break kernel.is_abandoned(&self.pipe),
                Err(error) => return Some(Err(error)),
            }
            match self
                .sink
                .read(kernel, &self.pipe, scratch, STREAM_BYTES_PER_TURN_MAX)
            {
                Ok(0) => break true,
                Ok(read) => {
                    refusals = 0;
                    budget = budget.saturating_sub(read);
                }
                Err(Failure::Read(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    refusals += 1;
                    // Its last writer may have gone since, and have written before.
                    if refusals >= REFUSALS_BELIEVED && !kernel.is_abandoned(&self.pipe) {
                        break false;
                    }
                }
                Err(Failure::Read(error)) | Err(Failure::Sink(error)) => return Some(Err(error)),
            }
            // Only who still writes could make this go on for ever.
            if budget == 0 && !kernel.is_abandoned(&self.pipe) {
                break false;
            }
        };
        let delivered = self.sink.finish();
        has_ended.then_some(delivered)
    }

    /// Gives up the pipe and what was collected, and drops the caller's writer or callback.
    pub(crate) fn into_parts(self) -> (P, Option<Vec<u8>>, io::Result<()>) {
        let (collected, dropped) = match self.sink {
            Sink::Capture(bytes) => (Some(bytes), Ok(())),
            Sink::Ends(ends) => {
                let (bytes, finished) = ends.finish();
                (Some(bytes), finished)
            }
            Sink::Writer { writer, .. } => (None, drop_guarded("writer", writer)),
            Sink::Lines { callback, .. } => (None, drop_guarded("line callback", callback)),
        };
        let collected = collected.map(without_slack);
        (self.pipe, collected, dropped)
    }
}

/// A capture that waits to be taken keeps little more than its bytes.
fn without_slack(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.capacity() > bytes.len() + bytes.len() / 4 + SPARE_BYTES_MAX {
        bytes.shrink_to_fit();
    }
    bytes
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
            Sink::Capture(captured) => extend(captured, bytes)?,
            Sink::Ends(ends) => ends.push(bytes)?,
            Sink::Writer { writer, pending } => {
                let taken = write_some(writer, bytes)?;
                extend(pending, &bytes[taken..])?;
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
        extend(partial, line)?;
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

/// Appends, or says that there is no memory for it: to abort would leave every child behind.
pub(crate) fn extend(into: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    into.try_reserve(bytes.len())?;
    into.extend_from_slice(bytes);
    Ok(())
}

/// Calls into the caller's code; its panic becomes an error, as the loop must go on for the others.
pub(crate) fn guarded<T>(
    what: &'static str,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result,
        Err(payload) => {
            let panicked = CallbackPanicked::new(what, &*payload);
            // What was thrown is the caller's, too. Where even its drop panics, that is not dropped any more.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(again);
            }
            Err(panicked.into())
        }
    }
}

/// The same where nobody is left to hear of it.
pub(crate) fn drop_callers<T>(what: &'static str, value: T) {
    let _ = drop_guarded(what, value);
}

/// Drops something of the caller's. Its drop is his code as well.
pub(crate) fn drop_guarded<T>(what: &'static str, value: T) -> io::Result<()> {
    guarded(what, || {
        drop(value);
        Ok(())
    })
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
