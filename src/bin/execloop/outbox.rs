//! What the program writes to one descriptor, by a thread of its own: a pager or a stopped terminal may let a write wait
//! for ever, and signals and timeouts are served meanwhile. (Other programs share the open file: it must not be made
//! non-blocking.)
//! Unaware of commands.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::output::Output;
use crate::patient::Patient;
use crate::screen::{self, Frame, Screen};

/// While more than this is unwritten, nothing is done that would add to it.
const UNWRITTEN_BYTES_MAX: usize = 1024 * 1024;
/// Small pieces are written together, up to about this size.
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
    /// Changed with the state locked, and read without.
    unwritten_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// What is to stand below everything written.
    frame: Option<Frame>,
    /// Another one than before.
    is_frame_new: bool,
    /// The writer has a chunk in its hands.
    is_writing: bool,
    /// So long is that.
    writing_bytes: u64,
    /// The writer waits for a chunk.
    is_idle: bool,
    /// A write has failed; nothing is taken any more.
    is_broken: bool,
    /// Why, until it is taken.
    error: Option<io::Error>,
    is_room_awaited: bool,
    is_end_awaited: bool,
}

#[derive(Debug)]
enum Chunk {
    Bytes(Vec<u8>),
    /// Bytes that begin on a line of their own.
    Line(Vec<u8>),
    Output(Output),
    /// For another outbox, once all before it is written.
    Note(Vec<u8>, Outbox),
    /// The same, and for nobody if that is never written.
    Entry(Entry),
}

/// What a record says of a command, and where that is written.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) bytes: Vec<u8>,
    pub(crate) to: Outbox,
}

/// The output of one command, and what is recorded once it is written: who reads in a record that a command is done relies on
/// its output.
#[derive(Debug, Default)]
pub(crate) struct Printed {
    pub(crate) output: Output,
    pub(crate) entries: Vec<Entry>,
}

impl From<Output> for Printed {
    fn from(output: Output) -> Printed {
        Printed {
            output,
            entries: Vec::new(),
        }
    }
}

impl Printed {
    /// How much it holds, in memory and in a file.
    pub(crate) fn held_bytes(&self) -> u64 {
        let entries = self.entries.iter().map(|entry| entry.bytes.len() as u64);
        self.output.held_bytes() + entries.sum::<u64>()
    }
}

impl Chunk {
    fn bytes(&self) -> usize {
        match self {
            Chunk::Bytes(bytes) | Chunk::Line(bytes) => bytes.len(),
            Chunk::Output(output) => usize::try_from(output.held_bytes()).unwrap_or(usize::MAX),
            Chunk::Note(bytes, _) | Chunk::Entry(Entry { bytes, .. }) => bytes.len(),
        }
    }

    /// What it is to write, whatever room that takes.
    fn length(&self) -> u64 {
        match self {
            Chunk::Bytes(bytes) | Chunk::Line(bytes) => bytes.len() as u64,
            Chunk::Output(output) => output.bytes(),
            Chunk::Note(..) | Chunk::Entry(_) => 0,
        }
    }

    /// Nothing of it is written here.
    fn is_for_another(&self) -> bool {
        matches!(self, Chunk::Note(..) | Chunk::Entry(_))
    }
}

impl Outbox {
    /// Writes to `output` from a new thread of that name. Calls `wake`, there, when a write has failed, and when
    /// `is_full` or `is_empty` have another answer than the last.
    pub(crate) fn start(
        name: &str,
        output: File,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Outbox> {
        let outbox = Outbox::default();
        let writer = outbox.clone();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writer.shared.write_to(Patient(output), &wake))?;
        Ok(outbox)
    }

    /// Adds bytes. They are written together with what comes before and after them.
    pub(crate) fn push(&self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.shared.add(Chunk::Bytes(bytes));
        }
    }

    /// Adds a message of the program's own, which begins on a line of its own wherever a command's output has ended.
    pub(crate) fn push_message(&self, message: Vec<u8>) {
        if !message.is_empty() {
            self.shared.add(Chunk::Line(message));
        }
    }

    /// Adds the output of one command, with what is recorded behind it.
    pub(crate) fn push_printed(&self, printed: Printed) {
        self.push_output(printed.output);
        for entry in printed.entries {
            self.shared.add(Chunk::Entry(entry));
        }
    }

    fn push_output(&self, output: Output) {
        match output.small() {
            Some([]) => {}
            Some(bytes) if bytes.len() <= CHUNK_BYTES => self.push(bytes.to_vec()),
            _ => self.shared.add(Chunk::Output(output)),
        }
    }

    /// Shows lines of text below everything that is written, in place of those before; `None` takes them away. For a
    /// terminal.
    pub(crate) fn set_frame(&self, frame: Option<Frame>) {
        let mut state = self.shared.lock();
        // The same again is drawn again: meanwhile, the terminal may have been another's.
        if state.is_broken || state.frame.is_none() && frame.is_none() {
            return;
        }
        state.frame = frame;
        state.is_frame_new = true;
        self.shared.wake_writer(state);
    }

    /// Adds what another outbox is to write once all before it is written here.
    pub(crate) fn push_note(&self, note: Vec<u8>, to: &Outbox) {
        self.shared.add(Chunk::Note(note, to.clone()));
    }

    /// So much is unwritten that nothing should be added. If so, `wake` will be called.
    pub(crate) fn is_full(&self) -> bool {
        if !self.shared.is_full() {
            return false;
        }
        let mut state = self.shared.lock();
        state.is_room_awaited |= self.shared.is_full();
        state.is_room_awaited
    }

    /// Everything is written, or nothing will be any more. If not, `wake` will be called.
    pub(crate) fn is_empty(&self) -> bool {
        let mut state = self.shared.lock();
        state.is_end_awaited |= !state.is_empty();
        state.is_empty()
    }

    /// A write has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.shared.lock().is_broken
    }

    /// How many bytes wait to be written, with all of those that are being written now.
    pub(crate) fn unwritten_bytes_max(&self) -> u64 {
        let state = self.shared.lock();
        let waiting: u64 = state.chunks.iter().map(Chunk::length).sum();
        waiting + state.writing_bytes
    }

    /// Why it failed, if it has.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.shared.lock().error.take()
    }

    /// Hands the notes to their outboxes, although what is before them may never be written.
    pub(crate) fn let_notes_go(&self) {
        let mut state = self.shared.lock();
        let (notes, others): (VecDeque<_>, _) = std::mem::take(&mut state.chunks)
            .into_iter()
            .partition(|chunk| matches!(chunk, Chunk::Note(..)));
        state.chunks = others;
        let bytes = notes.iter().map(Chunk::bytes).sum();
        self.shared
            .unwritten_bytes
            .fetch_sub(bytes, Ordering::Relaxed);
        drop(state);
        pass_on(notes);
    }
}

/// Notes alone: all other chunks are dropped.
fn pass_on(chunks: VecDeque<Chunk>) {
    for chunk in chunks {
        if let Chunk::Note(note, to) = chunk {
            to.push_message(note);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwritten_bytes(&self) -> usize {
        self.unwritten_bytes.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.unwritten_bytes() >= UNWRITTEN_BYTES_MAX
    }

    fn add(&self, chunk: Chunk) {
        let mut state = self.lock();
        if state.is_broken {
            drop(state);
            return pass_on(VecDeque::from([chunk]));
        }
        self.unwritten_bytes
            .fetch_add(chunk.bytes(), Ordering::Relaxed);
        state.add(chunk);
        self.wake_writer(state);
    }

    /// A wake-up is a system call, also where no thread sleeps.
    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let is_idle = std::mem::take(&mut state.is_idle);
        drop(state);
        if is_idle {
            self.changed.notify_one();
        }
    }

    /// The writer's whole life.
    fn write_to(&self, output: impl Write, wake: &impl Fn()) {
        let mut screen = Screen::new(output, screen::is_in_foreground);
        loop {
            let (chunk, frame) = self.next();
            let bytes = chunk.as_ref().map_or(0, Chunk::bytes);
            let written = match chunk {
                Some(Chunk::Bytes(bytes)) => screen.write(&bytes, frame.as_ref()),
                Some(Chunk::Line(bytes)) => screen.write_on_new_line(&bytes, frame.as_ref()),
                Some(Chunk::Output(chunk)) => screen.write_pieces(&chunk, frame.as_ref()),
                Some(Chunk::Note(note, to)) => {
                    to.push_message(note);
                    Ok(())
                }
                Some(Chunk::Entry(Entry { bytes, to })) => {
                    to.push(bytes);
                    Ok(())
                }
                None => screen.write(&[], frame.as_ref()),
            };
            let mut state = self.lock();
            state.is_writing = false;
            state.writing_bytes = 0;
            self.unwritten_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let mut dropped = VecDeque::new();
            if let Err(error) = written {
                dropped = std::mem::take(&mut state.chunks);
                self.unwritten_bytes.store(0, Ordering::Relaxed);
                state.is_broken = true;
                state.is_frame_new = false;
                state.error = Some(error);
            }
            let is_broken = state.is_broken;
            let has_room = self.unwritten_bytes() <= UNWRITTEN_BYTES_MAX / 2;
            let is_awaited = is_broken
                || state.is_room_awaited && has_room
                || state.is_end_awaited && state.is_empty();
            if is_awaited {
                state.is_room_awaited = false;
                state.is_end_awaited = false;
            }
            drop(state);
            pass_on(dropped);
            if is_awaited {
                wake();
            }
            if is_broken {
                return;
            }
        }
    }

    /// A chunk, and what stands below it, or a new frame alone.
    fn next(&self) -> (Option<Chunk>, Option<Frame>) {
        let mut state = self.lock();
        loop {
            let chunk = state.chunks.pop_front();
            if chunk.is_some() || state.is_frame_new {
                state.is_writing = true;
                state.writing_bytes = chunk.as_ref().map_or(0, Chunk::length);
                // It is drawn with what is written next.
                state.is_frame_new &= chunk.as_ref().is_some_and(Chunk::is_for_another);
                return (chunk, state.frame.clone());
            }
            state.is_idle = true;
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && !self.is_frame_new && !self.is_writing
    }

    fn add(&mut self, chunk: Chunk) {
        match (self.chunks.back_mut(), chunk) {
            (Some(Chunk::Bytes(last) | Chunk::Line(last)), Chunk::Bytes(bytes))
                if last.len() + bytes.len() <= CHUNK_BYTES =>
            {
                last.extend_from_slice(&bytes);
            }
            (Some(Chunk::Bytes(last) | Chunk::Line(last)), Chunk::Line(bytes))
                if last.len() + bytes.len() <= CHUNK_BYTES && last.ends_with(b"\n") =>
            {
                last.extend_from_slice(&bytes);
            }
            (_, chunk) => self.chunks.push_back(chunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Room;
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
        let file = File::from(OwnedFd::from(writer));
        let outbox = Outbox::start("test", file, wake).expect("a thread");
        (outbox, reader, woken)
    }

    #[test]
    fn outputs_are_written_in_order_and_the_end_is_told() {
        let (outbox, reader, woken) = outbox();
        let large = vec![b'x'; 3 * CHUNK_BYTES];
        let mut output = Output::new(&Room::default());
        output.push(&large).expect("room");
        outbox.push(b"one\n".to_vec());
        outbox.push(b"two\n".to_vec());
        outbox.push(Vec::new());
        outbox.push_printed(output.into());
        outbox.push(b"\nfour\n".to_vec());
        let mut lines = BufReader::new(reader).split(b'\n');
        let mut next = || lines.next().expect("a line").expect("the pipe");
        assert_eq!(next(), b"one");
        assert_eq!(next(), b"two");
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
        outbox.push(vec![b'x'; UNWRITTEN_BYTES_MAX]);
        outbox.push(vec![b'x'; UNWRITTEN_BYTES_MAX]);
        assert!(outbox.is_full());
        let mut all = vec![0; 2 * UNWRITTEN_BYTES_MAX];
        reader.read_exact(&mut all).expect("the pipe");
        woken.recv().expect("a wake-up");
        assert!(!outbox.is_full());
    }

    #[test]
    fn a_note_goes_to_its_outbox_after_what_is_before_it_or_when_it_is_let_go() {
        let (outbox, mut reader, _woken) = outbox();
        let (other, notes, _other_woken) = self::outbox();
        let mut notes = BufReader::new(notes).lines();
        let mut next = || notes.next().expect("a line").expect("the pipe");
        outbox.push(vec![b'x'; 4 * CHUNK_BYTES]);
        outbox.push_note(b"written\n".to_vec(), &other);
        assert!(other.is_empty());
        reader
            .read_exact(&mut vec![0; 4 * CHUNK_BYTES])
            .expect("the pipe");
        assert_eq!(next(), "written");
        outbox.push(vec![b'x'; 4 * CHUNK_BYTES]);
        outbox.push_note(b"let go\n".to_vec(), &other);
        outbox.let_notes_go();
        assert_eq!(next(), "let go");
        outbox.push_note(b"broken\n".to_vec(), &other);
        drop(reader);
        assert_eq!(next(), "broken");
        outbox.push_note(b"later\n".to_vec(), &other);
        assert_eq!(next(), "later");
    }

    #[test]
    fn an_entry_is_recorded_once_all_before_it_is_written_and_not_at_all_if_that_never_is() {
        let (outbox, mut reader, _woken) = outbox();
        let (record, recorded, _record_woken) = self::outbox();
        let mut recorded = BufReader::new(recorded).lines();
        let mut next = || recorded.next().expect("a line").expect("the pipe");
        let printed = |bytes: &[u8], name: &str| {
            let mut output = Output::new(&Room::default());
            output.push(bytes).expect("room");
            let bytes = format!("{name}\n").into_bytes();
            let to = record.clone();
            Printed {
                output,
                entries: vec![Entry { bytes, to }],
            }
        };
        let large = &vec![b'x'; 4 * CHUNK_BYTES][..];
        outbox.push_printed(printed(b"", "nothing to write"));
        assert_eq!(next(), "nothing to write");
        while !record.is_empty() {
            // Its writer has not said yet that it is done with that.
            thread::yield_now();
        }
        outbox.push_printed(printed(large, "written"));
        outbox.let_notes_go();
        assert!(record.is_empty());
        reader
            .read_exact(&mut vec![0; large.len()])
            .expect("the pipe");
        assert_eq!(next(), "written");
        outbox.push_printed(printed(large, "broken"));
        drop(reader);
        while !outbox.is_broken() {
            thread::yield_now();
        }
        outbox.push_printed(printed(large, "later"));
        record.push(b"end\n".to_vec());
        assert_eq!(next(), "end");
    }

    #[test]
    fn what_is_for_another_outbox_takes_no_frame_with_it() {
        if !screen::is_in_foreground() {
            return eprintln!("skipped: the terminal is another's");
        }
        let (outbox, mut reader, woken) = outbox();
        let (other, _notes, _other_woken) = self::outbox();
        outbox.push(vec![b'\n'; 4 * CHUNK_BYTES]);
        // The writer is at it once some is there.
        reader.read_exact(&mut [0]).expect("the pipe");
        outbox.push_note(b"note\n".to_vec(), &other);
        outbox.set_frame(Some(Frame("frame".into())));
        reader
            .read_exact(&mut vec![0; 4 * CHUNK_BYTES - 1])
            .expect("the pipe");
        while !outbox.is_empty() {
            woken.recv().expect("a wake-up");
        }
        outbox.set_frame(None);
        outbox.push(b"the end".to_vec());
        let mut drawn = [0; 5];
        reader.read_exact(&mut drawn).expect("the pipe");
        assert_eq!(&drawn, b"frame");
    }

    #[test]
    fn a_message_has_its_own_line_also_among_pieces_that_are_written_together() {
        let (outbox, mut reader, _woken) = outbox();
        // All that follows waits behind this, and is put together.
        outbox.push(vec![b'\n'; 4 * CHUNK_BYTES]);
        outbox.push(b"early".to_vec());
        outbox.push_message(b"one\n".to_vec());
        outbox.push_message(b"two\n".to_vec());
        outbox.push(b"late".to_vec());
        outbox.push_message(b"three\n".to_vec());
        let mut all = vec![0; 4 * CHUNK_BYTES];
        reader.read_exact(&mut all).expect("the pipe");
        let mut lines = Vec::new();
        for line in BufReader::new(reader).lines() {
            lines.push(line.expect("the pipe"));
            if lines.last().is_some_and(|line| line.ends_with("three")) {
                break;
            }
        }
        assert_eq!(lines, ["early", "one", "two", "late", "three"]);
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
