//! Counts the commands of a list before they are run, by a thread that reads it a second time.
//! Unaware of what becomes of them.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::cut::{Cut, Cutter};

const READ_BYTES: usize = 64 * 1024;
/// A larger file is not read two times for the sake of a number.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
const UNKNOWN: u64 = u64::MAX;

/// The count, once there is one.
#[derive(Debug)]
pub(crate) struct Count(Arc<AtomicU64>);

impl Count {
    /// `None` for what cannot be read again: a pipe, a terminal. The file's position stays.
    pub(crate) fn start(file: &File, cut: Cut) -> Option<Count> {
        let metadata = file.metadata().ok()?;
        let is_list = matches!(cut, Cut::Commands { .. } | Cut::Arguments { .. });
        if !metadata.is_file() || !is_list || metadata.len() > FILE_BYTES_MAX {
            return None;
        }
        let mut file = file.try_clone().ok()?;
        let at = file.stream_position().ok()?;
        let count = Arc::new(AtomicU64::new(UNKNOWN));
        let counted = Arc::clone(&count);
        thread::Builder::new()
            .name("count".to_owned())
            .spawn(move || {
                let mut input = BufReader::with_capacity(READ_BYTES, Behind { file, at });
                let mut cutter = Cutter::new(cut);
                let mut items = 0;
                while let Ok(Some(_)) = cutter.next(&mut input) {
                    items += 1;
                }
                counted.store(items, Ordering::Relaxed);
            })
            .ok()?;
        Some(Count(count))
    }

    pub(crate) fn total(&self) -> Option<u64> {
        let count = self.0.load(Ordering::Relaxed);
        (count != UNKNOWN).then_some(count)
    }
}

/// A file from some place on.
struct Behind {
    file: File,
    at: u64,
}

impl Read for Behind {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_counted_from_where_it_stands_and_a_pipe_is_not() {
        let path = std::env::temp_dir().join(format!("execloop-count-{}", std::process::id()));
        std::fs::write(&path, "true\n# comment\n\n".repeat(10_000) + "true").expect("a file");
        let mut file = File::open(&path).expect("the file");
        std::fs::remove_file(&path).expect("the file");
        let lines = Cut::Commands { separator: b'\n' };
        file.read_exact(&mut [0; 5]).expect("the file");
        let count = Count::start(&file, lines).expect("a count");
        while count.total().is_none() {
            thread::yield_now();
        }
        assert_eq!(count.total(), Some(10_000));
        assert_eq!(file.stream_position().expect("a position"), 5);
        let (reader, _writer) = io::pipe().expect("a pipe");
        let pipe = File::from(std::os::fd::OwnedFd::from(reader));
        assert!(Count::start(&pipe, lines).is_none());
    }
}
