//! The pipe that the caller reads or writes himself, and what is left to him of it once it was closed by force.
//! Unaware of jobs, of slots and of how long a caller waits.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::{Closed, Stream};
use crate::pipe_limits::{
    LAST_DRAIN_BYTES_MAX, Piece, STREAM_BYTES_PER_TURN_MAX, read_retrying, take_rest,
};
use crate::sys::Kernel;

/// One pipe of the caller's.
#[derive(Debug)]
pub(crate) enum CallerPipe<P> {
    /// `ready`: the last event has not been used up. `is_watched`: the kernel announces it, which is first needed when
    /// the caller has to wait for it.
    Open {
        pipe: P,
        ready: bool,
        is_watched: bool,
    },
    /// Closed by force. `left` is what it still held, `read` how much of that the caller has read since. Behind it
    /// comes the end of the stream, or the reason why there is none.
    Cut {
        left: Vec<u8>,
        read: usize,
        why: Option<Closed>,
    },
    /// Closed by the caller.
    Closed,
}

impl<P> CallerPipe<P> {
    pub(crate) fn new(pipe: P) -> CallerPipe<P> {
        CallerPipe::Open {
            pipe,
            ready: true,
            is_watched: false,
        }
    }

    /// One read, or what was left.
    pub(crate) fn read<K: Kernel<Pipe = P>>(
        &mut self,
        kernel: &mut K,
        stream: Stream,
        scratch: &mut Vec<u8>,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        match self {
            CallerPipe::Open { pipe, .. } => {
                scratch.clear();
                let read = kernel.read(pipe, scratch, buffer.len().min(LAST_DRAIN_BYTES_MAX))?;
                buffer[..read].copy_from_slice(scratch);
                Ok(read)
            }
            CallerPipe::Cut { left, read, why } => {
                let rest = &left[*read..];
                if let (true, Some(why)) = (rest.is_empty(), *why) {
                    return Err(why.error(stream));
                }
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                *read += count;
                Ok(count)
            }
            CallerPipe::Closed => Err(Closed::ByCaller.error(stream)),
        }
    }

    /// One write.
    pub(crate) fn write<K: Kernel<Pipe = P>>(
        &mut self,
        kernel: &mut K,
        bytes: &[u8],
    ) -> io::Result<usize> {
        match self {
            CallerPipe::Open { pipe, .. } => kernel.write(pipe, bytes),
            CallerPipe::Cut { .. } | CallerPipe::Closed => Err(self.closed().error(Stream::Stdin)),
        }
    }

    /// Why there is no pipe any more.
    fn closed(&self) -> Closed {
        match self {
            CallerPipe::Cut { why: Some(why), .. } => *why,
            _ => Closed::ByCaller,
        }
    }

    /// Our end as a descriptor, which stays ours.
    pub(crate) fn fd<K: Kernel<Pipe = P>>(&self, stream: Stream) -> io::Result<BorrowedFd<'_>> {
        match self {
            CallerPipe::Open { pipe, .. } => K::fd(pipe).ok_or(io::ErrorKind::Unsupported.into()),
            _ => Err(self.closed().error(stream)),
        }
    }

    /// Gives our end away. What was cut or closed is not to be had.
    pub(crate) fn give<K: Kernel<Pipe = P>>(
        &mut self,
        kernel: &mut K,
        stream: Stream,
    ) -> io::Result<OwnedFd> {
        if !matches!(self, CallerPipe::Open { .. }) {
            return Err(self.closed().error(stream));
        }
        match std::mem::replace(self, CallerPipe::Closed) {
            CallerPipe::Open { pipe, .. } => kernel.give(pipe).map_err(|(pipe, error)| {
                *self = CallerPipe::Open {
                    pipe,
                    ready: true,
                    is_watched: false,
                };
                error
            }),
            CallerPipe::Cut { .. } | CallerPipe::Closed => Err(Closed::ByCaller.error(stream)),
        }
    }

    /// Closes an output by force, and keeps what it holds: who has written that meant it to be read.
    pub(crate) fn cut_output<K: Kernel<Pipe = P>>(&mut self, kernel: &mut K, why: Closed) {
        let CallerPipe::Open { pipe, .. } = self else {
            return;
        };
        let mut left = Vec::new();
        let rest = take_rest(kernel, pipe, |kernel| {
            match read_retrying(kernel, pipe, &mut left, STREAM_BYTES_PER_TURN_MAX) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Piece::Empty),
                read => read.map(Piece::Read),
            }
        });
        left.shrink_to_fit();
        let cut = CallerPipe::Cut {
            left,
            read: 0,
            why: (!rest.unwrap_or(false)).then_some(why),
        };
        self.replace(cut, kernel);
    }

    /// Closes an input by force.
    pub(crate) fn cut_input<K: Kernel<Pipe = P>>(&mut self, kernel: &mut K, why: Closed) {
        if let CallerPipe::Open { .. } = self {
            let cut = CallerPipe::Cut {
                left: Vec::new(),
                read: 0,
                why: Some(why),
            };
            self.replace(cut, kernel);
        }
    }

    /// The caller closes it, or can reach it no more.
    pub(crate) fn close<K: Kernel<Pipe = P>>(&mut self, kernel: &mut K) {
        self.replace(CallerPipe::Closed, kernel);
    }

    /// From here on it is closed.
    fn replace<K: Kernel<Pipe = P>>(&mut self, by: CallerPipe<P>, kernel: &mut K) {
        if let CallerPipe::Open { pipe, .. } = std::mem::replace(self, by) {
            kernel.close(pipe);
        }
    }
}
