//! `Fill`: gives a child its stdin, out of bytes or a caller's reader, up to a budget a turn.
//! Unaware of jobs, of slots and of when it is called.

use std::fmt;
use std::io::{self, BufRead};
use std::sync::Arc;

use super::Progress;
use crate::guard::{drop_guarded, guarded};
use crate::pipe_limits::{PIECES_PER_TURN_MAX, REFUSALS_BELIEVED, STREAM_BYTES_PER_TURN_MAX};
use crate::sys::Kernel;

/// Gives a child its stdin.
pub(crate) struct Fill<P> {
    pub(super) pipe: P,
    pub(super) source: FillSource,
    /// The kernel has announced that no process can read any more. The trap: see the same of `Drain`.
    pub(super) is_hung_up: bool,
    /// The stream used up its budget, and has its turn without an event.
    pub(super) is_backlogged: bool,
}

pub(super) enum FillSource {
    /// `at`: how much of them is written.
    Bytes {
        bytes: Arc<[u8]>,
        at: usize,
    },
    Buffered(Box<dyn BufRead + Send>),
}

impl<P> Fill<P> {
    pub(super) fn new(pipe: P, source: FillSource) -> Fill<P> {
        Fill {
            pipe,
            source,
            is_hung_up: false,
            is_backlogged: false,
        }
    }

    /// Writes up to the budget. That no process can read any more is no error (Go ignores EPIPE).
    pub(crate) fn fill<K: Kernel<Pipe = P>>(&mut self, kernel: &mut K) -> Progress {
        self.is_backlogged = false;
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
                    io::ErrorKind::WouldBlock => return Progress::Paused,
                    _ => return Progress::Ended(Err(error)),
                },
            };
            match written {
                Ok(written) => {
                    // A short write says once that the pipe is full.
                    refusals = u32::from(written < given);
                    if let Err(error) = self.source.advance(written) {
                        return Progress::Ended(Err(error));
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
        self.is_backlogged = true;
        Progress::More
    }

    /// Before it is cut: writes what still fits. `None`: somebody could read on.
    pub(crate) fn fill_last<K: Kernel<Pipe = P>>(
        &mut self,
        kernel: &mut K,
    ) -> Option<io::Result<()>> {
        match self.fill(kernel) {
            Progress::Ended(result) => Some(result),
            Progress::Idle | Progress::Paused | Progress::More => {
                kernel.is_abandoned(&self.pipe).then_some(Ok(()))
            }
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

impl<P: fmt::Debug> fmt::Debug for Fill<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Fill")
            .field("pipe", &self.pipe)
            .finish_non_exhaustive()
    }
}
