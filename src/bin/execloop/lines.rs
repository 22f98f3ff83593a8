//! The list of commands, read by a thread of its own, as a read of a terminal or a pipe may block for ever.
//! Unaware of what becomes of the commands.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SendError, SyncSender, TryRecvError, sync_channel};
use std::thread;

use crate::cut::{Cut, Cutter, Item};
use crate::patient::Patient;
use crate::report::NeverStarted;

const READ_BYTES: usize = 64 * 1024;
/// So many commands are handed over at once, if one read has brought as many: each time costs more than a line does.
const BATCH_MAX: usize = 64;
/// And so often before their turn.
const BATCHES_AHEAD_MAX: usize = 2;

/// What there is to do next.
#[derive(Debug)]
pub(crate) enum Next {
    Item(Item),
    /// Nothing has come yet. The reader's wake-up will tell.
    Later,
    /// The list is over, or cannot be read any further.
    End(io::Result<()>),
}

/// What is handed over at once. An error is the last.
type Batch = Vec<io::Result<Item>>;

/// The commands to come.
#[derive(Debug)]
pub(crate) struct Lines {
    receiver: Receiver<Batch>,
    /// Received, and not taken yet.
    ready: std::vec::IntoIter<io::Result<Item>>,
    /// No further one is wanted.
    is_stopped: bool,
    shared: Arc<Shared>,
}

/// What the reader's thread and the others have in common.
#[derive(Debug, Default)]
struct Shared {
    /// Somebody waits for a command, or for the count of those that were not wanted.
    is_awaited: AtomicBool,
    /// No further command is wanted.
    is_over: AtomicBool,
    /// The reader is in a read, from which it may never return.
    is_reading: AtomicBool,
    /// What is behind is not looked at.
    is_cut: AtomicBool,
    /// The reader is done.
    is_counted: AtomicBool,
    /// Commands that were read and not wanted.
    unwanted: AtomicU64,
}

impl Shared {
    /// These were read, and are not wanted.
    fn leave_out(&self, results: &[io::Result<Item>]) {
        let items = results.iter().filter(|result| result.is_ok()).count();
        self.unwanted.fetch_add(items as u64, Ordering::SeqCst);
    }

    fn tell(&self, wake: &impl Fn()) {
        if self.is_awaited.swap(false, Ordering::SeqCst) {
            wake();
        }
    }
}

impl Lines {
    /// Reads `input`, cut in this way, no further ahead of [`next`](Lines::next) than a few reads. Calls `wake`, from the
    /// reader's thread, when there is something after a [`Next::Later`], and when there is an answer after
    /// `never_started` had none.
    pub(crate) fn read(
        input: File,
        cut: Cut,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Lines> {
        let (sender, receiver) = sync_channel(BATCHES_AHEAD_MAX);
        let shared = Arc::new(Shared::default());
        let file = ListFile::new(input, &shared)?;
        let outgoing = Outgoing {
            batch: Vec::new(),
            sender,
            shared: Arc::clone(&shared),
            wake,
        };
        let reader = Reader::new(file, READ_BYTES, cut, outgoing);
        thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || reader.read_list())?;
        Ok(Lines {
            receiver,
            ready: Vec::new().into_iter(),
            is_stopped: false,
            shared,
        })
    }

    /// The next command, if it is there.
    pub(crate) fn next(&mut self) -> Next {
        if self.is_stopped {
            return Next::End(Ok(()));
        }
        loop {
            match self.ready.next() {
                Some(Ok(item)) => return Next::Item(item),
                Some(Err(error)) => return Next::End(Err(error)),
                None => {}
            }
            let mut received = self.receiver.try_recv();
            if matches!(received, Err(TryRecvError::Empty)) {
                self.shared.is_awaited.store(true, Ordering::SeqCst);
                // It may have come between the two.
                received = self.receiver.try_recv();
            }
            match received {
                Ok(batch) => self.ready = batch.into_iter(),
                Err(TryRecvError::Empty) => return Next::Later,
                Err(TryRecvError::Disconnected) => return Next::End(Ok(())),
            }
        }
    }

    /// No further command is wanted. Those that were read already are counted; and those behind them, if the list is a
    /// file, whose position stays as it is.
    pub(crate) fn stop(&mut self) {
        self.is_stopped = true;
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.leave_out(self.ready.as_slice());
        self.ready = Vec::new().into_iter();
        self.count_sent();
    }

    /// Some may be under way when the run does not want them any more.
    fn count_sent(&self) {
        for batch in self.receiver.try_iter() {
            self.shared.leave_out(&batch);
        }
    }

    /// How many were not wanted. `None` while they are being counted: `wake` will be called.
    pub(crate) fn never_started(&self) -> Option<NeverStarted> {
        let shared = &self.shared;
        shared.is_awaited.store(true, Ordering::SeqCst);
        let is_counted = shared.is_counted.load(Ordering::SeqCst);
        self.count_sent();
        (is_counted || shared.is_reading.load(Ordering::SeqCst))
            .then(|| self.never_started_as_known())
    }

    /// The same, of a count that may not be complete.
    pub(crate) fn never_started_as_known(&self) -> NeverStarted {
        let shared = &self.shared;
        let is_counted = shared.is_counted.load(Ordering::SeqCst);
        self.count_sent();
        let unwanted = shared.unwanted.load(Ordering::SeqCst);
        if is_counted && !shared.is_cut.load(Ordering::SeqCst) {
            NeverStarted::Exactly(unwanted)
        } else {
            NeverStarted::AtLeast(unwanted)
        }
    }
}

/// The reader's thread.
struct Reader<R, W: Fn()> {
    input: BufReader<Announced<R, W>>,
    cutter: Cutter,
}

impl<R: Read, W: Fn()> Reader<R, W> {
    fn new(input: R, buffer_bytes: usize, cut: Cut, outgoing: Outgoing<W>) -> Reader<R, W> {
        let input = Announced {
            input,
            is_over: false,
            outgoing,
        };
        Reader {
            input: BufReader::with_capacity(buffer_bytes, input),
            cutter: Cutter::new(cut),
        }
    }

    /// Hands lines over until the list is over; once the run does not want them any more, counts them.
    fn read_list(mut self) {
        loop {
            let next = self.cutter.next(&mut self.input).transpose();
            let outgoing = &mut self.input.get_mut().outgoing;
            match next {
                Some(Ok(item)) => outgoing.push(Ok(item)),
                Some(Err(error)) => {
                    outgoing.shared.is_cut.store(true, Ordering::SeqCst);
                    outgoing.push(Err(error));
                    break;
                }
                None => break,
            }
        }
        self.input.into_inner().outgoing.end();
    }
}

/// What is not handed over yet.
struct Outgoing<W> {
    batch: Batch,
    sender: SyncSender<Batch>,
    shared: Arc<Shared>,
    wake: W,
}

impl<W: Fn()> Outgoing<W> {
    fn push(&mut self, result: io::Result<Item>) {
        self.batch.push(result);
        if self.batch.len() == BATCH_MAX {
            self.send();
        }
    }

    fn send(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        if self.shared.is_over.load(Ordering::SeqCst) {
            return self.shared.leave_out(&batch);
        }
        match self.sender.send(batch) {
            Ok(()) => self.shared.tell(&self.wake),
            Err(SendError(batch)) => self.shared.leave_out(&batch),
        }
    }

    fn end(mut self) {
        self.send();
        self.shared.is_counted.store(true, Ordering::SeqCst);
        // At the end of the list the sender is gone.
        drop(self.sender);
        self.shared.tell(&self.wake);
    }
}

/// Hands over what there is before each read, as that may never return. After its end the input is not read again: a
/// terminal would want its end once more.
struct Announced<R, W> {
    input: R,
    is_over: bool,
    outgoing: Outgoing<W>,
}

impl<R: Read, W: Fn()> Read for Announced<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.outgoing.send();
        if self.is_over {
            return Ok(0);
        }
        let read = self.input.read(buffer)?;
        self.is_over = read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

/// What the list is read from. Once no further command is wanted, a file is read without a change of its position, as
/// others may go on with it; and nothing else is, as it may have no end.
struct ListFile {
    file: Patient,
    is_regular: bool,
    /// Where to look ahead.
    at: Option<u64>,
    shared: Arc<Shared>,
}

impl ListFile {
    fn new(file: File, shared: &Arc<Shared>) -> io::Result<ListFile> {
        Ok(ListFile {
            is_regular: file.metadata()?.is_file(),
            file: Patient(file),
            at: None,
            shared: Arc::clone(shared),
        })
    }

    fn look_ahead(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = match self.at {
            Some(at) => at,
            None => self.file.0.stream_position()?,
        };
        let read = self.file.0.read_at(buffer, at)?;
        self.at = Some(at + read as u64);
        Ok(read)
    }
}

impl Read for ListFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let shared = Arc::clone(&self.shared);
        if self.is_regular {
            return if shared.is_over.load(Ordering::SeqCst) {
                self.look_ahead(buffer)
            } else {
                self.file.read(buffer)
            };
        }
        // Who stops and then sees this false knows that no read comes any more.
        shared.is_reading.store(true, Ordering::SeqCst);
        let read = if shared.is_over.load(Ordering::SeqCst) {
            shared.is_cut.store(true, Ordering::SeqCst);
            Ok(0)
        } else {
            self.file.read(buffer)
        };
        shared.is_reading.store(false, Ordering::SeqCst);
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::{LINE_BYTES_MAX, LineError};
    use crate::cut::read_line;

    const LINES: Cut = Cut::Commands { separator: b'\n' };

    /// All that comes of a list, by a small buffer.
    fn results_of(input: impl Read) -> Vec<io::Result<Item>> {
        let (sender, receiver) = sync_channel(1000);
        let outgoing = Outgoing {
            batch: Vec::new(),
            sender,
            shared: Arc::default(),
            wake: || {},
        };
        Reader::new(input, 7, LINES, outgoing).read_list();
        receiver.iter().flatten().collect()
    }

    fn lines_of(input: impl Read) -> Vec<Item> {
        let results = results_of(input).into_iter();
        results.map(|line| line.expect("a line")).collect()
    }

    fn line(number: u64, text: &[u8]) -> Item {
        Item {
            number,
            values: vec![text.to_vec()],
            fault: None,
        }
    }

    #[test]
    fn numbers_count_every_line_and_the_last_needs_no_newline() {
        let list = &b"one\n\n# two\r\n three\r\nfour"[..];
        assert_eq!(
            lines_of(list),
            [line(1, b"one"), line(4, b" three"), line(5, b"four")]
        );
        assert_eq!(lines_of(&b""[..]), []);
        assert_eq!(lines_of(&b"\n"[..]), []);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_the_next_is_read() {
        let endless = io::repeat(b'a').take(3 * LINE_BYTES_MAX as u64);
        let lines = lines_of(endless.chain(&b"\nnext\n"[..]));
        let too_long = Item {
            number: 1,
            values: vec![vec![b'a'; 1024]],
            fault: Some(LineError::TooLong),
        };
        assert_eq!(lines, [too_long, line(2, b"next")]);
        let mut bytes = Vec::new();
        let mut endless = BufReader::new(io::repeat(b'a').take(5 * LINE_BYTES_MAX as u64));
        assert!(read_line(&mut endless, b'\n', &mut bytes).expect("a line"));
        assert_eq!(bytes.len(), LINE_BYTES_MAX + 2);
        assert!(!read_line(&mut endless, b'\n', &mut bytes).expect("the end"));
    }

    #[test]
    fn the_longest_line_is_whole_whatever_its_end() {
        let longest = vec![b'a'; LINE_BYTES_MAX];
        for end in ["\n", "\r\n"] {
            let list = [&longest[..], end.as_bytes(), b"next"].concat();
            assert_eq!(lines_of(&list[..]), [line(1, &longest), line(2, b"next")]);
        }
    }

    #[test]
    fn an_error_comes_behind_the_lines_before_it() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::Other.into())
            }
        }
        let lines = results_of((&b"one\n"[..]).chain(Broken));
        assert!(matches!(&lines[..], [Ok(one), Err(_)] if one.number == 1));
    }

    /// Waits for the count.
    fn count(lines: &Lines, woken: &Receiver<()>) -> NeverStarted {
        loop {
            match lines.never_started() {
                Some(never_started) => return never_started,
                None => woken.recv().expect("a wake-up"),
            }
        }
    }

    fn lines_and_wakes(input: File) -> (Lines, Receiver<()>) {
        let (sender, woken) = std::sync::mpsc::channel();
        let wake = move || {
            let _ = sender.send(());
        };
        (Lines::read(input, LINES, wake).expect("a thread"), woken)
    }

    fn wait_for_line(lines: &mut Lines, woken: &Receiver<()>) -> u64 {
        loop {
            match lines.next() {
                Next::Item(line) => return line.number,
                Next::Later => woken.recv().expect("a wake-up"),
                Next::End(end) => panic!("{end:?}"),
            }
        }
    }

    #[test]
    fn the_rest_of_a_file_is_counted_and_its_position_stays() {
        let path = std::env::temp_dir().join(format!("execloop-lines-{}", std::process::id()));
        std::fs::write(&path, "true\n# comment\n".repeat(100_000)).expect("a file");
        let file = File::open(&path).expect("the file");
        std::fs::remove_file(&path).expect("the file");
        let mut shared = file.try_clone().expect("a descriptor");
        let (mut lines, woken) = lines_and_wakes(file);
        assert_eq!(wait_for_line(&mut lines, &woken), 1);
        lines.stop();
        assert_eq!(count(&lines, &woken), NeverStarted::Exactly(99_999));
        let position = shared.stream_position().expect("a position");
        assert!(position <= 2 * READ_BYTES as u64, "{position}");
        assert!(matches!(lines.next(), Next::End(Ok(()))));
    }

    #[test]
    fn a_pipe_is_read_no_further_and_what_was_read_is_counted() {
        use std::io::Write as _;
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let (mut lines, woken) = lines_and_wakes(File::from(std::os::fd::OwnedFd::from(reader)));
        writer.write_all(&b"true\n".repeat(20)).expect("the pipe");
        assert_eq!(wait_for_line(&mut lines, &woken), 1);
        lines.stop();
        assert_eq!(count(&lines, &woken), NeverStarted::AtLeast(19));
    }

    #[test]
    fn nobody_waits_for_a_read_that_may_never_return() {
        use std::io::Write as _;
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let (mut lines, woken) = lines_and_wakes(File::from(std::os::fd::OwnedFd::from(reader)));
        writer.write_all(b"true\n").expect("the pipe");
        assert_eq!(wait_for_line(&mut lines, &woken), 1);
        assert!(matches!(lines.next(), Next::Later));
        lines.stop();
        assert_eq!(count(&lines, &woken), NeverStarted::AtLeast(0));
        drop(writer);
    }

    #[test]
    fn a_list_that_was_read_to_its_end_has_an_exact_count() {
        use std::io::Write as _;
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(b"true\nfalse\n").expect("the pipe");
        drop(writer);
        let (mut lines, woken) = lines_and_wakes(File::from(std::os::fd::OwnedFd::from(reader)));
        assert_eq!(wait_for_line(&mut lines, &woken), 1);
        while !lines.shared.is_counted.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        lines.stop();
        assert_eq!(count(&lines, &woken), NeverStarted::Exactly(1));
    }
}
