//! Writers between a command and what collects its output: one that cuts it off, and one that keeps a copy in a file.
//! Unaware of commands.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::output::Collector;

/// Who is told how many bytes are left out.
#[derive(Clone, Debug)]
pub(crate) enum LeftOut {
    /// Whoever reads the output, at its end.
    Noted,
    /// Whoever takes what was collected.
    Counted(Collector),
    Untold,
}

/// Passes the first bytes on, and tells how many are left out.
#[derive(Debug)]
pub(crate) struct Limited<W> {
    to: W,
    room: u64,
    left_out: LeftOut,
    /// To be noted.
    left_out_bytes: u64,
    /// The last byte passed on.
    last: u8,
}

impl<W> Limited<W> {
    pub(crate) fn new(to: W, bytes_max: u64, left_out: LeftOut) -> Limited<W> {
        Limited {
            to,
            room: bytes_max,
            left_out,
            left_out_bytes: 0,
            last: b'\n',
        }
    }
}

impl<W: Write> Write for Limited<W> {
    /// Takes all, or nothing with an error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = usize::try_from(self.room).map_or(bytes.len(), |room| room.min(bytes.len()));
        let (now, left_out) = bytes.split_at(passed);
        if let Some(last) = now.last() {
            self.to.write_all(now)?;
            self.last = *last;
        }
        self.room -= now.len() as u64;
        let left_out = left_out.len() as u64;
        match &self.left_out {
            LeftOut::Noted => self.left_out_bytes += left_out,
            LeftOut::Counted(collector) if left_out > 0 => collector.leave_out(left_out),
            LeftOut::Counted(_) | LeftOut::Untold => {}
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let left_out = std::mem::take(&mut self.left_out_bytes);
        if left_out > 0 {
            self.to.write_all(&left_out_note(left_out, self.last))?;
        }
        self.to.flush()
    }
}

/// On a line of its own. `last` is the byte before it.
pub(crate) fn left_out_note(bytes: u64, last: u8) -> Vec<u8> {
    let newline = if last == b'\n' { "" } else { "\n" };
    format!("{newline}execloop: {bytes} more bytes are left out\n").into_bytes()
}

/// Passes everything on, and writes it to a file.
#[derive(Debug)]
pub(crate) struct Copied<W, F> {
    pub(crate) to: W,
    pub(crate) file: F,
    pub(crate) lost: Lost,
}

/// Why a file is not complete. A clone is the same one: one is for who writes, one for whoever wants to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost(Arc<Mutex<Option<io::Error>>>);

impl Lost {
    pub(crate) fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, error: io::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl<W: Write, F: Write> Write for Copied<W, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // First, as it may have to wait.
        self.to.write_all(bytes)?;
        self.file.write_all(bytes).map_err(|error| {
            // The library tells it only of a command that ends well, which one without a reader seldom does.
            let kind = error.kind();
            self.lost.put(error);
            io::Error::from(kind)
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(bytes: &[u8], bytes_max: u64, piece: usize) -> String {
        let mut limited = Limited::new(Vec::new(), bytes_max, LeftOut::Noted);
        for piece in bytes.chunks(piece) {
            limited.write_all(piece).expect("a vector");
        }
        limited.flush().expect("a vector");
        String::from_utf8(limited.to).expect("text")
    }

    #[test]
    fn what_is_beyond_the_limit_is_counted_and_told_on_a_line_of_its_own() {
        for piece in 1..6 {
            assert_eq!(limited(b"abcde", 5, piece), "abcde");
            assert_eq!(
                limited(b"abcde", 3, piece),
                "abc\nexecloop: 2 more bytes are left out\n"
            );
            assert_eq!(
                limited(b"a\nb\n", 2, piece),
                "a\nexecloop: 2 more bytes are left out\n"
            );
        }
    }
}
