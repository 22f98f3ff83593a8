//! `Drain`: takes a child's output, up to a budget a turn, and before its pipe is cut, what that still holds. The bytes
//! that would be lost at the end are read here (`drain_last`). Unaware of jobs, of slots and of when it is called.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use super::{Progress, extend};
use crate::error::is_panic;
use crate::guard::{drop_guarded, guarded};
use crate::head_tail::HeadTail;
use crate::lines::LineCallback;
use crate::pipe_limits::{
    PIECES_PER_TURN_MAX, Piece, REFUSALS_BELIEVED, STREAM_BYTES_PER_TURN_MAX, read_retrying,
    take_rest,
};
use crate::sys::Kernel;

/// `STREAM_BYTES_PER_TURN_MAX` for a bulk stream, whose pipe is enlarged to this.
const BULK_BYTES_PER_TURN_MAX: usize = 256 * 1024;
/// The largest packet of a pipe in packet mode (PIPE_BUF, pipe(2)).
const PACKET_BYTES_MAX: usize = 4096;
/// So many full reads in a row make a stream a bulk stream.
const FULL_READS_OF_BULK: u8 = 4;
/// A capture beyond this is read straight into its vector, which has to have room for a whole budget then. Below it, that
/// room would be most of what a capture keeps.
const SMALL_CAPTURE_BYTES_MAX: usize = STREAM_BYTES_PER_TURN_MAX;
/// Unused capacity that a finished capture may keep, besides a quarter of its length.
const SPARE_BYTES_MAX: usize = 1024;
/// A longer line is handed out in pieces.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Takes a child's output.
#[derive(Debug)]
pub(crate) struct Drain<P> {
    pub(super) pipe: P,
    pub(super) sink: Sink,
    /// The kernel has announced that all writers are gone. The trap: one can come back, by `/proc/PID/fd`.
    pub(super) is_hung_up: bool,
    /// The stream used up its budget, and has its turn without an event.
    pub(super) is_backlogged: bool,
    full_reads: u8,
}

pub(super) enum Sink {
    Capture(Vec<u8>),
    HeadTail(Box<HeadTail>),
    Writer {
        writer: Box<dyn Write + Send>,
        owed: Owed,
    },
    /// `partial` is the beginning of a line.
    Lines {
        callback: LineCallback,
        partial: Vec<u8>,
    },
}

/// What the writer is to be asked for before anything else.
pub(super) enum Owed {
    /// To take these bytes, which it has not taken yet. Mostly none.
    Bytes(Vec<u8>),
    /// The last flush: the pipe has ended, and it has taken all.
    Flush,
}

impl<P> Drain<P> {
    pub(super) fn new(pipe: P, sink: Sink) -> Drain<P> {
        Drain {
            pipe,
            sink,
            is_hung_up: false,
            is_backlogged: false,
            full_reads: 0,
        }
    }

    /// Reads up to the budget, until the pipe is empty or at its end. A short read tells neither: of a writer in packet
    /// mode (`O_DIRECT`, pipe(2); `dd oflag=direct` is one) each read gives one write. Returns how much was read, too.
    pub(crate) fn drain<K: Kernel<Pipe = P>>(
        &mut self,
        kernel: &mut K,
        scratch: &mut Vec<u8>,
    ) -> (Progress, usize) {
        self.is_backlogged = false;
        let is_bulk = self.full_reads >= FULL_READS_OF_BULK;
        let bytes_max = if is_bulk {
            BULK_BYTES_PER_TURN_MAX
        } else {
            STREAM_BYTES_PER_TURN_MAX
        };
        let mut total = 0;
        let mut refusals = 0;
        for _ in 0..PIECES_PER_TURN_MAX {
            if self.sink.is_at_end() {
                return (self.end(), total);
            }
            match self.sink.deliver_pending() {
                Ok(true) => {}
                Ok(false) => return (Progress::Paused, total),
                Err(error) => return (Progress::Ended(Err(error)), total),
            }
            match self
                .sink
                .read(kernel, &self.pipe, scratch, bytes_max - total)
            {
                Ok(0) => return (self.end(), total),
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
                return (Progress::Paused, total);
            }
            // Into less room than that a packet would be cut.
            if bytes_max - total < PACKET_BYTES_MAX {
                self.note_full_read(kernel, is_bulk);
                break;
            }
        }
        self.is_backlogged = true;
        (Progress::More, total)
    }

    /// The pipe has ended. The stream has not before its writer is flushed.
    fn end(&mut self) -> Progress {
        match self.sink.finish() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Paused,
            finished => Progress::Ended(finished),
        }
    }

    /// The pipe is empty, and has not ended. If it had hung up, it has a writer again, or its end comes at the next look:
    /// no further event would tell.
    fn found_empty(&mut self) -> Progress {
        if self.full_reads < FULL_READS_OF_BULK {
            self.full_reads = 0;
        }
        self.is_backlogged = std::mem::take(&mut self.is_hung_up);
        if self.is_backlogged {
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
    /// of it, but for a panic.
    pub(crate) fn drain_last<K: Kernel<Pipe = P>>(
        &mut self,
        kernel: &mut K,
        scratch: &mut Vec<u8>,
    ) -> Option<io::Result<()>> {
        if self.sink.is_at_end() {
            return Some(self.sink.finish());
        }
        let (sink, pipe) = (&mut self.sink, &self.pipe);
        let rest = take_rest(kernel, pipe, |kernel| {
            if !sink.deliver_pending()? {
                return Ok(Piece::Refused);
            }
            match sink.read(kernel, pipe, scratch, STREAM_BYTES_PER_TURN_MAX) {
                Ok(read) => Ok(Piece::Read(read)),
                Err(Failure::Read(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    Ok(Piece::Empty)
                }
                Err(Failure::Read(error)) | Err(Failure::Sink(error)) => Err(error),
            }
        });
        let has_ended = match rest {
            Ok(has_ended) => has_ended,
            Err(error) => return Some(Err(error)),
        };
        let delivered = self.sink.finish();
        let has_panicked = delivered.as_ref().is_err_and(is_panic);
        (has_ended || has_panicked).then_some(delivered)
    }

    /// What was collected so far, as it would be told if this were the end.
    pub(super) fn captured(&self) -> Cow<'_, [u8]> {
        match &self.sink {
            Sink::Capture(bytes) => Cow::Borrowed(bytes),
            Sink::HeadTail(kept) => kept.so_far(),
            Sink::Writer { .. } | Sink::Lines { .. } => Cow::Borrowed(&[]),
        }
    }

    /// Gives up the pipe and what was collected, and drops the caller's writer or callback.
    pub(crate) fn into_parts(self) -> (P, Option<Vec<u8>>, io::Result<()>) {
        let (collected, dropped) = match self.sink {
            Sink::Capture(bytes) => (Some(bytes), Ok(())),
            Sink::HeadTail(kept) => {
                let (bytes, finished) = kept.finish();
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
            Sink::HeadTail(kept) => kept.push(bytes)?,
            Sink::Writer {
                writer,
                owed: Owed::Bytes(pending),
            } => {
                let taken = write_some(writer, bytes)?;
                extend(pending, &bytes[taken..])?;
            }
            Sink::Writer {
                owed: Owed::Flush, ..
            } => debug_assert!(false, "bytes after the end"),
            Sink::Lines { callback, partial } => return deliver_lines(callback, partial, bytes),
        }
        Ok(())
    }

    /// The writer has said that it takes no more for now.
    fn is_blocked(&self) -> bool {
        matches!(self, Sink::Writer { owed: Owed::Bytes(pending), .. } if !pending.is_empty())
    }

    /// The pipe has ended, and the writer is not flushed.
    fn is_at_end(&self) -> bool {
        matches!(
            self,
            Sink::Writer {
                owed: Owed::Flush,
                ..
            }
        )
    }

    /// Offers the writer what it has not taken. `false`: it still does not take it.
    fn deliver_pending(&mut self) -> io::Result<bool> {
        if let Sink::Writer {
            writer,
            owed: Owed::Bytes(pending),
        } = self
            && !pending.is_empty()
        {
            let taken = write_some(writer, pending)?;
            pending.drain(..taken);
        }
        Ok(!self.is_blocked())
    }

    /// The stream's end: the last line, the last flush, which is owed while that would block.
    fn finish(&mut self) -> io::Result<()> {
        match self {
            Sink::Capture(_) | Sink::HeadTail(_) => Ok(()),
            Sink::Writer { .. } if self.is_blocked() => Err(io::ErrorKind::WouldBlock.into()),
            Sink::Writer { writer, owed } => {
                *owed = Owed::Flush;
                flush(writer)
            }
            Sink::Lines { partial, .. } if partial.is_empty() => Ok(()),
            Sink::Lines { callback, partial } => {
                let line = std::mem::take(partial);
                guarded("line callback", || callback(&line))
            }
        }
    }
}

/// So often a writer may say in a row that it was interrupted.
const TRIES_MAX: u32 = 1000;

/// Writes until all is taken or the writer would block. Returns how much was taken.
fn write_some(writer: &mut Box<dyn Write + Send>, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match unless_interrupted(|| writer.write(&bytes[taken..])) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => taken += written.min(bytes.len() - taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

fn flush(writer: &mut Box<dyn Write + Send>) -> io::Result<()> {
    unless_interrupted(|| writer.flush())
}

/// What a writer says that was not interrupted. One that is all the time has failed: it would hold up all commands.
fn unless_interrupted<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        match guarded("writer", &mut act) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted && tries < TRIES_MAX => {}
            result => return result,
        }
    }
}

fn deliver_lines(
    callback: &mut LineCallback,
    partial: &mut Vec<u8>,
    bytes: &[u8],
) -> io::Result<()> {
    let mut call = |line: &[u8]| guarded("line callback", || callback(line));
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

impl fmt::Debug for Sink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Sink::Capture(_) => "Capture",
            Sink::HeadTail(_) => "HeadTail",
            Sink::Writer { .. } => "Writer",
            Sink::Lines { .. } => "Lines",
        })
    }
}
