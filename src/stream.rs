//! What we do with our end of a child's pipe: `Fill` writes its stdin, `Drain` reads its output, each up to a budget a
//! turn; or the caller does it himself. Unaware of jobs, of slots and of when it is called.

use std::borrow::Cow;
use std::io::{self, BufReader};

use crate::caller_pipe::CallerPipe;
use crate::finished::CommandId;
use crate::head_tail::HeadTail;
use crate::pipe_limits::STREAM_BYTES_PER_TURN_MAX;
use crate::stdio::{Feed, SinkKind};
use crate::sys::{Kernel, Stream};

mod drain;
mod fill;

use drain::{Drain, Owed, Sink};
use fill::{Fill, FillSource};

/// How one visit to a stream went.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The stream has nothing more to do before the next event.
    Idle,
    /// The caller's reader has nothing, or his writer takes nothing, before he resumes it. What the pipe holds is unknown.
    Paused,
    /// The budget is used up, and there may be more: visit again, without an event.
    More,
    /// The stream is over, well or not. Its pipe can be closed.
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
    /// Our end of a stdin.
    pub(crate) fn of_input(pipe: Option<P>, feed: Option<Feed>) -> OurEnd<P> {
        debug_assert_eq!(pipe.is_some(), feed.is_some(), "a pipe without a use");
        match (pipe, feed) {
            (Some(pipe), Some(feed)) => OurEnd::fed(pipe, feed),
            _ => OurEnd::Absent,
        }
    }

    fn fed(pipe: P, feed: Feed) -> OurEnd<P> {
        let source = match feed {
            Feed::Caller => return OurEnd::Caller(CallerPipe::new(pipe)),
            Feed::Bytes(bytes) => FillSource::Bytes { bytes, at: 0 },
            Feed::Reader(reader) => {
                let reader = BufReader::with_capacity(STREAM_BYTES_PER_TURN_MAX, reader);
                FillSource::Buffered(Box::new(reader))
            }
            Feed::Buffered(reader) => FillSource::Buffered(reader),
        };
        OurEnd::Fill(Box::new(Fill::new(pipe, source)))
    }

    /// Our end of this command's stdout or stderr.
    pub(crate) fn of_output(
        pipe: Option<P>,
        sink: Option<SinkKind>,
        of: (CommandId, Stream),
    ) -> OurEnd<P> {
        debug_assert_eq!(pipe.is_some(), sink.is_some(), "a pipe without a use");
        match (pipe, sink) {
            (Some(pipe), Some(sink)) => OurEnd::drained(pipe, sink, of),
            _ => OurEnd::Absent,
        }
    }

    fn drained(pipe: P, sink: SinkKind, (id, stream): (CommandId, Stream)) -> OurEnd<P> {
        let sink = match sink {
            SinkKind::Caller => return OurEnd::Caller(CallerPipe::new(pipe)),
            SinkKind::Capture => Sink::Capture(Vec::new()),
            SinkKind::CaptureEnds(bytes) => Sink::HeadTail(Box::new(HeadTail::new(bytes))),
            SinkKind::Writer(writer) => Sink::Writer {
                writer,
                owed: Owed::Bytes(Vec::new()),
            },
            SinkKind::Lines(callback) => Sink::Lines {
                callback,
                partial: Vec::new(),
            },
            SinkKind::Shared(lines) => Sink::Lines {
                callback: lines.of(id, stream),
                partial: Vec::new(),
            },
        };
        OurEnd::Drain(Drain::new(pipe, sink))
    }

    /// What the input is fed from, where its start has failed and nothing of it was given. Its pipe is closed.
    pub(crate) fn into_feed<K: Kernel<Pipe = P>>(self, kernel: &mut K) -> Option<Feed> {
        match self {
            OurEnd::Fill(fill) => {
                kernel.close(fill.pipe);
                Some(match fill.source {
                    FillSource::Bytes { bytes, .. } => Feed::Bytes(bytes),
                    FillSource::Buffered(reader) => Feed::Buffered(reader),
                })
            }
            OurEnd::Caller(mut pipe) => {
                pipe.close(kernel);
                Some(Feed::Caller)
            }
            OurEnd::Absent | OurEnd::Drain(_) | OurEnd::Collected(_) => None,
        }
    }

    /// The same for an output that nothing was read of.
    pub(crate) fn into_sink<K: Kernel<Pipe = P>>(self, kernel: &mut K) -> Option<SinkKind> {
        match self {
            OurEnd::Drain(drain) => {
                kernel.close(drain.pipe);
                Some(match drain.sink {
                    Sink::Capture(_) => SinkKind::Capture,
                    Sink::HeadTail(kept) => SinkKind::CaptureEnds(kept.end_bytes_max()),
                    Sink::Writer { writer, .. } => SinkKind::Writer(writer),
                    Sink::Lines { callback, .. } => SinkKind::Lines(callback),
                })
            }
            OurEnd::Caller(mut pipe) => {
                pipe.close(kernel);
                Some(SinkKind::Caller)
            }
            OurEnd::Absent | OurEnd::Fill(_) | OurEnd::Collected(_) => None,
        }
    }

    /// Closes the pipe of a copied stream, and keeps what was collected. The error is that of a caller's own drop.
    pub(crate) fn close<K: Kernel<Pipe = P>>(&mut self, kernel: &mut K) -> io::Result<()> {
        let (pipe, collected, dropped) = match std::mem::replace(self, OurEnd::Absent) {
            OurEnd::Fill(fill) => {
                let (pipe, dropped) = fill.into_parts();
                (pipe, None, dropped)
            }
            OurEnd::Drain(drain) => drain.into_parts(),
            other @ (OurEnd::Absent | OurEnd::Caller(_) | OurEnd::Collected(_)) => {
                *self = other;
                return Ok(());
            }
        };
        kernel.close(pipe);
        if let Some(collected) = collected {
            *self = OurEnd::Collected(collected);
        }
        dropped
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

    /// What a capture has collected so far; nothing where there is none.
    pub(crate) fn captured(&self) -> Cow<'_, [u8]> {
        match self {
            OurEnd::Drain(drain) => drain.captured(),
            OurEnd::Collected(bytes) => Cow::Borrowed(bytes),
            OurEnd::Absent | OurEnd::Fill(_) | OurEnd::Caller(_) => Cow::Borrowed(&[]),
        }
    }

    /// The pipe, whoever reads or writes it, until it is closed.
    pub(crate) fn pipe(&self) -> Option<&P> {
        match self {
            OurEnd::Caller(CallerPipe::Open { pipe, .. }) => Some(pipe),
            our_end => our_end.copied_pipe(),
        }
    }

    /// The stream used up its budget, and has its turn without an event.
    pub(crate) fn is_backlogged(&self) -> bool {
        match self {
            OurEnd::Fill(fill) => fill.is_backlogged,
            OurEnd::Drain(drain) => drain.is_backlogged,
            _ => false,
        }
    }

    /// The kernel says that no process has the other end of a copied stream's pipe.
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

/// Appends, or says that there is no memory for it: to abort would leave every child behind.
pub(crate) fn extend(into: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    into.try_reserve(bytes.len())?;
    into.extend_from_slice(bytes);
    Ok(())
}
