//! The list of commands, read by a thread of its own, as a read of a terminal or a pipe may block for ever.
//! Unaware of what becomes of the commands.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use crate::command_line::{LINE_BYTES_MAX, LineError, parse_line};
use crate::patient::Patient;

const READ_BYTES: usize = 64 * 1024;

/// So much is kept of a line that cannot be a command, to show it.
const FAULTY_BYTES_KEPT: usize = 1024;

/// One line that holds a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1, with blank lines and comments counted.
    pub(crate) number: u64,
    pub(crate) text: Vec<u8>,
    /// It cannot be run, and `text` is no more than its beginning.
    pub(crate) fault: Option<LineError>,
}

impl Line {
    fn parse(number: u64, bytes: &[u8]) -> Option<Line> {
        let (text, fault) = match parse_line(bytes)? {
            Ok(text) => (text, None),
            Err(fault) => {
                let text = bytes.trim_ascii_end();
                (&text[..text.len().min(FAULTY_BYTES_KEPT)], Some(fault))
            }
        };
        Some(Line {
            number,
            text: text.to_vec(),
            fault,
        })
    }
}

/// What there is to do next.
#[derive(Debug)]
pub(crate) enum Next {
    Line(Line),
    /// Nothing has come yet. The reader's wake-up will tell.
    Later,
    /// The list is over, or cannot be read any further.
    End(io::Result<()>),
}

/// The commands to come.
#[derive(Debug)]
pub(crate) struct Lines {
    receiver: Receiver<io::Result<Line>>,
    is_awaited: Arc<AtomicBool>,
}

impl Lines {
    /// Reads `input`, at most `ahead_max` commands ahead of [`next`](Lines::next). Calls `wake`, from the reader's thread,
    /// when there is something after a [`Next::Later`].
    pub(crate) fn read(
        input: File,
        ahead_max: usize,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Lines> {
        let (sender, receiver) = sync_channel(ahead_max);
        let is_awaited = Arc::new(AtomicBool::new(false));
        let is_reader_awaited = Arc::clone(&is_awaited);
        let tell = move || {
            if is_reader_awaited.swap(false, Ordering::SeqCst) {
                wake();
            }
        };
        thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || {
                let input = BufReader::with_capacity(READ_BYTES, Patient(input));
                send_lines(input, &sender, &tell);
                // The end of the list is that nobody can send any more.
                drop(sender);
                tell();
            })?;
        Ok(Lines {
            receiver,
            is_awaited,
        })
    }

    /// The next command, if it is there.
    pub(crate) fn next(&mut self) -> Next {
        let mut received = self.receiver.try_recv();
        if matches!(received, Err(TryRecvError::Empty)) {
            self.is_awaited.store(true, Ordering::SeqCst);
            // It may have come between the two.
            received = self.receiver.try_recv();
        }
        match received {
            Ok(Ok(line)) => Next::Line(line),
            Ok(Err(error)) => Next::End(Err(error)),
            Err(TryRecvError::Empty) => Next::Later,
            Err(TryRecvError::Disconnected) => Next::End(Ok(())),
        }
    }
}

/// Sends until the list is over or nobody wants it any more.
fn send_lines(mut input: impl BufRead, sender: &SyncSender<io::Result<Line>>, tell: &impl Fn()) {
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        number += 1;
        let item = match read_line(&mut input, &mut bytes) {
            Ok(true) => Line::parse(number, &bytes).map(Ok),
            Ok(false) => return,
            Err(error) => Some(Err(error)),
        };
        let Some(item) = item else { continue };
        let is_last = item.is_err();
        if sender.send(item).is_err() || is_last {
            return;
        }
        tell();
    }
}

/// Reads one line in place of the last, but no more of it than shows that it is too long. `false`: the list is over.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    // Room for CRLF.
    let bytes_max = LINE_BYTES_MAX + 2;
    line.clear();
    let read = input
        .by_ref()
        .take(bytes_max as u64)
        .read_until(b'\n', line)?;
    if read == bytes_max && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(input: impl Read) -> Vec<Line> {
        let (sender, receiver) = sync_channel(1000);
        send_lines(BufReader::with_capacity(7, input), &sender, &|| {});
        drop(sender);
        receiver.iter().map(|line| line.expect("a line")).collect()
    }

    fn line(number: u64, text: &[u8]) -> Line {
        Line {
            number,
            text: text.to_vec(),
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
        let too_long = Line {
            number: 1,
            text: vec![b'a'; FAULTY_BYTES_KEPT],
            fault: Some(LineError::TooLong),
        };
        assert_eq!(lines, [too_long, line(2, b"next")]);
        let mut bytes = Vec::new();
        let mut endless = BufReader::new(io::repeat(b'a').take(5 * LINE_BYTES_MAX as u64));
        assert!(read_line(&mut endless, &mut bytes).expect("a line"));
        assert_eq!(bytes.len(), LINE_BYTES_MAX + 2);
        assert!(!read_line(&mut endless, &mut bytes).expect("the end"));
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
        let (sender, receiver) = sync_channel(9);
        send_lines(
            BufReader::new((&b"one\n"[..]).chain(Broken)),
            &sender,
            &|| {},
        );
        drop(sender);
        let lines: Vec<_> = receiver.iter().collect();
        assert!(matches!(&lines[..], [Ok(one), Err(_)] if one.number == 1));
    }
}
