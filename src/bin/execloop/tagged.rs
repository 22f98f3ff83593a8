//! Passes a command's lines on as they come, each behind the command's tag, and no faster than they are written.
//! Unaware of commands and of where the lines go.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::outbox::Outbox;

/// A longer line is cut into pieces.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// What a command that has ended may have left in its pipe, at most: the largest that a user can make a pipe. It is taken
/// also while stdout is not read, as the wait delay would cut it off.
const LEFT_BYTES_MAX: usize = 1024 * 1024;

/// Those whose lines wait until others are written. A clone is the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    blocked: Arc<Mutex<VecDeque<Blocked>>>,
}

/// One command whose lines wait.
#[derive(Clone, Debug)]
pub(crate) struct Blocked {
    /// Which command runs there.
    pub(crate) slot: usize,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Debug, Default)]
struct Gate {
    is_blocked: bool,
    /// What may pass whether there is room or not.
    left_bytes: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backlog {
    /// The one that waits for the longest time. It may go on.
    pub(crate) fn take_first(&self) -> Option<Blocked> {
        let blocked = lock(&self.blocked).pop_front()?;
        lock(&blocked.gate).is_blocked = false;
        Some(blocked)
    }

    /// All who wait.
    pub(crate) fn all(&self) -> Vec<Blocked> {
        lock(&self.blocked).iter().cloned().collect()
    }
}

impl Blocked {
    /// Its command has ended. Lets through what it has left; `false` if that was done before.
    pub(crate) fn let_rest_through(&self) -> bool {
        let mut gate = lock(&self.gate);
        let is_first = gate.left_bytes == 0;
        if is_first {
            gate.left_bytes = LEFT_BYTES_MAX;
        }
        is_first
    }
}

/// Where one command writes.
#[derive(Debug)]
pub(crate) struct TaggedLines {
    outbox: Outbox,
    backlog: Backlog,
    tagger: Tagger,
    blocked: Blocked,
}

/// Puts a tag before each line.
#[derive(Debug)]
struct Tagger {
    tag: Vec<u8>,
    /// The beginning of a line.
    partial: Vec<u8>,
}

impl Tagger {
    fn new(tag: Vec<u8>) -> Tagger {
        Tagger {
            tag,
            partial: Vec::new(),
        }
    }

    /// The same with room for the lines of `bytes`, as long as they are not all short.
    fn tagged(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut lines = Vec::with_capacity(bytes.len() + bytes.len() / 2 + self.tag.len());
        self.tag_lines(bytes, &mut lines);
        lines
    }

    /// The last line may have no end.
    fn end(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        if !self.partial.is_empty() {
            self.end_partial(&mut line);
        }
        line
    }

    /// Appends the lines of `bytes` to `to`, and keeps what has no end.
    fn tag_lines(&mut self, bytes: &[u8], to: &mut Vec<u8>) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if part.ends_with(b"\n") && self.partial.is_empty() {
                to.extend_from_slice(&self.tag);
                to.extend_from_slice(part);
                continue;
            }
            self.partial.extend_from_slice(part);
            let is_whole = part.ends_with(b"\n");
            // The newline does not count.
            while self.partial.len() > LINE_BYTES_MAX + usize::from(is_whole) {
                let rest = self.partial.split_off(LINE_BYTES_MAX);
                self.end_partial(to);
                self.partial = rest;
            }
            if is_whole {
                self.partial.pop();
                self.end_partial(to);
            }
        }
    }

    fn end_partial(&mut self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.tag);
        to.append(&mut self.partial);
        to.push(b'\n');
    }
}

/// Tags the lines that go to another writer.
#[derive(Debug)]
pub(crate) struct Tagging<W> {
    tagger: Tagger,
    to: W,
}

impl<W> Tagging<W> {
    pub(crate) fn new(to: W, tag: Vec<u8>) -> Tagging<W> {
        Tagging {
            tagger: Tagger::new(tag),
            to,
        }
    }
}

impl<W: Write> Write for Tagging<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write_all(&self.tagger.tagged(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.write_all(&self.tagger.end())?;
        self.to.flush()
    }
}

impl TaggedLines {
    pub(crate) fn new(
        outbox: &Outbox,
        backlog: &Backlog,
        slot: usize,
        tag: Vec<u8>,
    ) -> TaggedLines {
        TaggedLines {
            outbox: outbox.clone(),
            backlog: backlog.clone(),
            tagger: Tagger::new(tag),
            blocked: Blocked {
                slot,
                gate: Arc::default(),
            },
        }
    }

    /// Whether so much may pass now. If not, it is in the backlog afterwards.
    fn may_pass(&self, bytes: usize) -> bool {
        if !self.outbox.is_full() {
            return true;
        }
        let mut gate = lock(&self.blocked.gate);
        if gate.left_bytes >= bytes {
            // One is left, so that this stays the first time.
            gate.left_bytes = (gate.left_bytes - bytes).max(1);
            return true;
        }
        if !gate.is_blocked {
            gate.is_blocked = true;
            lock(&self.backlog.blocked).push_back(self.blocked.clone());
        }
        false
    }
}

impl Write for TaggedLines {
    /// Takes all, or nothing and [`WouldBlock`](io::ErrorKind::WouldBlock).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.may_pass(bytes.len()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.outbox.push(self.tagger.tagged(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outbox.push(self.tagger.end());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::sync::mpsc::{Receiver, channel};

    fn outbox() -> (Outbox, io::PipeReader, Receiver<()>) {
        let (reader, writer) = io::pipe().expect("a pipe");
        let file = File::from(OwnedFd::from(writer));
        let (sender, woken) = channel();
        let wake = move || {
            let _ = sender.send(());
        };
        let outbox = Outbox::start("test", file, wake).expect("a thread");
        (outbox, reader, woken)
    }

    fn read(reader: &mut io::PipeReader, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        reader.read_exact(&mut bytes).expect("the pipe");
        bytes
    }

    #[test]
    fn each_line_has_its_tag_however_it_is_cut() {
        let whole = b"one\n\ntwo\nthree";
        let expected = b"7: one\n7: \n7: two\n7: three\n";
        for size in 1..=whole.len() {
            let (outbox, mut reader, _woken) = outbox();
            let mut lines = TaggedLines::new(&outbox, &Backlog::default(), 0, b"7: ".to_vec());
            for piece in whole.chunks(size) {
                lines.write_all(piece).expect("room");
            }
            lines.flush().expect("room");
            assert_eq!(read(&mut reader, expected.len()), expected, "{size}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_comes_in_pieces_and_one_of_that_size_does_not() {
        for (length, pieces) in [(LINE_BYTES_MAX, 1), (LINE_BYTES_MAX + 1, 2)] {
            let mut lines = Tagger::new(b"t".to_vec());
            let mut tagged = Vec::new();
            for part in [vec![b'x'; length], b"\n".to_vec()] {
                lines.tag_lines(&part, &mut tagged);
            }
            let ends = tagged.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!((ends, tagged.len()), (pieces, length + 2 * pieces));
        }
    }

    #[test]
    fn while_nobody_reads_lines_wait_but_what_one_that_has_ended_left_is_taken() {
        let (outbox, mut reader, woken) = outbox();
        let backlog = Backlog::default();
        let [mut first, mut second] =
            [1, 2].map(|slot| TaggedLines::new(&outbox, &backlog, slot, Vec::new()));
        let line = [vec![b'x'; 99_999], b"\n".to_vec()].concat();
        let mut taken = 0;
        let refusal = loop {
            match first.write(&line) {
                Ok(bytes) => taken += bytes,
                Err(error) => break error,
            }
        };
        assert_eq!(refusal.kind(), io::ErrorKind::WouldBlock);
        assert!(second.write(&line).is_err() && first.write(&line).is_err());
        let slots: Vec<usize> = backlog.all().iter().map(|blocked| blocked.slot).collect();
        assert_eq!(slots, [1, 2]);
        assert!(backlog.all()[1].let_rest_through() && !backlog.all()[1].let_rest_through());
        let mut left = 0;
        while let Ok(bytes) = second.write(&line) {
            left += bytes;
        }
        assert!(left > 0 && left <= LEFT_BYTES_MAX, "{left}");
        assert!(!backlog.all()[1].let_rest_through(), "once");
        let all = read(&mut reader, taken + left);
        assert_eq!(all.len(), taken + left);
        woken.recv().expect("a wake-up");
        assert_eq!(backlog.take_first().map(|blocked| blocked.slot), Some(1));
        first.write_all(&line).expect("room");
    }
}
