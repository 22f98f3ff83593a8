//! The caller's readers and writers in a simulation: they give and take in pieces, block, fail, and panic in their drop.
//! Unaware of the loop, and of what a command is.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sys::simulated::{Random, append, pause, spend};

/// What a writer or a line callback has got, and whether it has failed.
#[derive(Default)]
pub(super) struct Got {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: Vec<Vec<u8>>,
    /// The writer was flushed, and has got nothing since.
    pub(super) is_flushed: bool,
    pub(super) has_failed: bool,
}

impl fmt::Debug for Got {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, lines) = (self.bytes.len(), self.lines.len());
        write!(
            formatter,
            "{bytes} bytes, {lines} lines, failed: {}",
            self.has_failed
        )
    }
}

pub(super) type Shelf = Arc<Mutex<Got>>;

/// A reader that gives a stream in pieces, and sometimes says that it would block.
pub(super) struct Source {
    pub(super) key: usize,
    pub(super) at: usize,
    pub(super) bytes: usize,
    pub(super) fails_at: usize,
    pub(super) number: usize,
    pub(super) random: Random,
    pub(super) shelf: Shelf,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.random.one_in(8) {
            pause(self.number);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.random.one_in(8) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.at >= self.fails_at {
            self.shelf
                .lock()
                .expect("no panic while it is locked")
                .has_failed = true;
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let end = self.bytes.min(self.fails_at);
        let most = buffer.len().min(end - self.at);
        let count = most.min(1 + self.random.below(most.max(1)));
        let mut piece = Vec::with_capacity(count);
        append(self.key, self.at, count, &mut piece);
        buffer[..count].copy_from_slice(&piece);
        self.at += count;
        Ok(count)
    }
}

/// A reader that gives these bytes, and has nothing afterwards, for ever.
pub(super) struct Stalled(pub(super) Vec<u8>);

impl Read for Stalled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(self.0.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0.drain(..count);
        Ok(count)
    }
}

/// A writer that takes a stream in pieces, sometimes says that it would block, and may fail.
pub(super) struct Sink {
    pub(super) fails_at: usize,
    pub(super) number: usize,
    pub(super) is_rude: bool,
    pub(super) random: Random,
    pub(super) shelf: Shelf,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut got = self.shelf.lock().expect("no panic while it is locked");
        if self.random.one_in(10) {
            pause(self.number);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.random.one_in(10) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let room = self.fails_at - got.bytes.len();
        if room == 0 {
            got.has_failed = true;
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let count = bytes.len().min(room);
        let count = if self.random.one_in(3) {
            1 + self.random.below(count)
        } else {
            count
        };
        got.bytes.extend_from_slice(&bytes[..count]);
        got.is_flushed = false;
        if self.is_rude && self.random.one_in(4) {
            spend(Duration::from_micros(self.random.below(60_000) as u64));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.random.one_in(4) {
            pause(self.number);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.random.one_in(4) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.shelf
            .lock()
            .expect("no panic while it is locked")
            .is_flushed = true;
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let mut got = self.shelf.lock().expect("no panic while it is locked");
        if self.is_rude && !got.bytes.is_empty() && !std::thread::panicking() {
            got.has_failed = true;
            drop(got);
            std::panic::resume_unwind(Box::new("at its drop"));
        }
    }
}
