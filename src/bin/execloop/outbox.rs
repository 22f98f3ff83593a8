//! The program's stdout, written by a thread of its own: a pager or a stopped terminal may let a write wait for ever, and
//! signals and timeouts are served meanwhile. (Other programs share the open file: it must not be made non-blocking.)
//! Unaware of commands.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::patient::Patient;

/// While more than this is unwritten, nothing is done that would add to it, but for what runs already.
const UNWRITTEN_BYTES_MAX: usize = 1024 * 1024;
/// Lines beyond this are dropped: reached only where commands that write without end are being stopped and nobody reads.
const UNWRITTEN_LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Small outputs are written together, up to about this size.
const CHUNK_BYTES: usize = 64 * 1024;

/// What is to be written. A clone is the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    /// In `chunks` and in the writer's hands.
    unwritten_bytes: usize,
    /// A write has failed; nothing is taken any more.
    is_broken: bool,
    /// Why, until it is taken.
    error: Option<io::Error>,
    /// Somebody waits for room, or for the end.
    is_awaited: bool,
    is_poked: bool,
}

impl Outbox {
    /// Writes to `output` from a new thread. Calls `wake`, there, when a write has failed, and after a write that somebody
    /// waits for, as `is_full` or `is_empty` had the wrong answer.
    pub(crate) fn start(output: File, wake: impl Fn() + Send + 'static) -> io::Result<Outbox> {
        let outbox = Outbox::default();
        let writer = outbox.clone();
        thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || writer.shared.write_to(Patient(output), &wake))?;
        Ok(outbox)
    }

    /// Adds one output, whole.
    pub(crate) fn push(&self, output: Vec<u8>) {
        if !output.is_empty() {
            let mut state = self.shared.lock();
            if !state.is_broken {
                state.push(output);
                self.shared.changed.notify_all();
            }
        }
    }

    /// Adds `number: line` and a newline.
    pub(crate) fn push_line(&self, number: u64, line: &[u8]) {
        let mut output = format!("{number}: ").into_bytes();
        output.extend_from_slice(line);
        output.push(b'\n');
        if self.shared.lock().unwritten_bytes < UNWRITTEN_LINE_BYTES_MAX {
            self.push(output);
        }
    }

    /// So much is unwritten that nothing should be added. If so, `wake` will be called.
    pub(crate) fn is_full(&self) -> bool {
        let mut state = self.shared.lock();
        state.is_awaited |= state.is_full();
        state.is_full()
    }

    /// Everything is written, or nothing will be any more. If not, `wake` will be called.
    pub(crate) fn is_empty(&self) -> bool {
        let mut state = self.shared.lock();
        let is_empty = state.unwritten_bytes == 0;
        state.is_awaited |= !is_empty;
        is_empty
    }

    /// Waits while it is full, or until it is [poked](Outbox::poke).
    pub(crate) fn wait_for_room(&self) {
        let mut state = self.shared.lock();
        while state.is_full() && !state.is_poked {
            state = self.shared.wait(state);
        }
        state.is_poked = false;
    }

    /// Ends the present or the next wait for room.
    pub(crate) fn poke(&self) {
        self.shared.lock().is_poked = true;
        self.shared.changed.notify_all();
    }

    /// A write has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.shared.lock().is_broken
    }

    /// Why it failed, if it has.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.shared.lock().error.take()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's whole life.
    fn write_to(&self, mut output: impl Write, wake: &impl Fn()) {
        loop {
            let chunk = self.next_chunk();
            let written = output.write_all(&chunk);
            let mut state = self.lock();
            state.unwritten_bytes -= chunk.len();
            if let Err(error) = written {
                state.chunks.clear();
                state.unwritten_bytes = 0;
                state.is_broken = true;
                state.error = Some(error);
            }
            let is_awaited = std::mem::take(&mut state.is_awaited);
            let is_broken = state.is_broken;
            drop(state);
            self.changed.notify_all();
            if is_awaited || is_broken {
                wake();
            }
            if is_broken {
                return;
            }
        }
    }

    fn next_chunk(&self) -> Vec<u8> {
        let mut state = self.lock();
        loop {
            match state.chunks.pop_front() {
                Some(chunk) => return chunk,
                None => state = self.wait(state),
            }
        }
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.unwritten_bytes >= UNWRITTEN_BYTES_MAX
    }

    fn push(&mut self, output: Vec<u8>) {
        self.unwritten_bytes += output.len();
        match self.chunks.back_mut() {
            Some(last) if last.len() + output.len() <= CHUNK_BYTES => {
                last.extend_from_slice(&output);
            }
            _ => self.chunks.push_back(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read};
    use std::os::fd::OwnedFd;
    use std::sync::mpsc::{Receiver, channel};

    /// An outbox that writes to a pipe, the pipe's other end, and a message for each call of `wake`.
    fn outbox() -> (Outbox, io::PipeReader, Receiver<()>) {
        let (reader, writer) = io::pipe().expect("a pipe");
        let (sender, woken) = channel();
        let wake = move || {
            let _ = sender.send(());
        };
        let outbox = Outbox::start(File::from(OwnedFd::from(writer)), wake).expect("a thread");
        (outbox, reader, woken)
    }

    #[test]
    fn outputs_are_written_in_order_and_the_end_is_told() {
        let (outbox, reader, woken) = outbox();
        let large = vec![b'x'; 3 * CHUNK_BYTES];
        outbox.push(b"one\n".to_vec());
        outbox.push_line(12, b"two");
        outbox.push(Vec::new());
        outbox.push([&large[..], b"\nfour\n"].concat());
        let mut lines = BufReader::new(reader).split(b'\n');
        let mut next = || lines.next().expect("a line").expect("the pipe");
        assert_eq!(next(), b"one");
        assert_eq!(next(), b"12: two");
        assert_eq!(next(), large);
        assert_eq!(next(), b"four");
        while !outbox.is_empty() {
            woken.recv().expect("a wake-up");
        }
        assert!(!outbox.is_broken());
    }

    #[test]
    fn one_that_nobody_reads_gets_full_and_is_woken_for_when_there_is_room() {
        let (outbox, mut reader, woken) = outbox();
        assert!(!outbox.is_full());
        outbox.wait_for_room();
        outbox.push(vec![b'x'; 2 * UNWRITTEN_BYTES_MAX]);
        assert!(outbox.is_full());
        outbox.poke();
        outbox.wait_for_room();
        assert!(outbox.is_full(), "only poked");
        let mut all = vec![0; 2 * UNWRITTEN_BYTES_MAX];
        reader.read_exact(&mut all).expect("the pipe");
        outbox.wait_for_room();
        woken.recv().expect("a wake-up");
        assert!(!outbox.is_full());
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_beyond_the_limit() {
        let (outbox, _reader, _woken) = outbox();
        outbox.push(vec![0; UNWRITTEN_LINE_BYTES_MAX]);
        outbox.push_line(1, b"dropped");
        let unwritten = outbox.shared.lock().unwritten_bytes;
        assert_eq!(unwritten, UNWRITTEN_LINE_BYTES_MAX);
    }

    #[test]
    fn a_failed_write_is_told_once_and_nothing_is_kept_after_it() {
        let (outbox, reader, woken) = outbox();
        drop(reader);
        outbox.push(b"nobody reads this".to_vec());
        woken.recv().expect("a wake-up");
        assert!(outbox.is_broken() && outbox.is_empty() && !outbox.is_full());
        let error = outbox.take_error().expect("the reason");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(outbox.take_error().is_none());
        outbox.push(vec![0; 2 * UNWRITTEN_BYTES_MAX]);
        assert!(outbox.is_empty());
    }
}
