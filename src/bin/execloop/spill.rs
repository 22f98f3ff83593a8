//! A temporary file without a name, which outputs that are too large for memory share block by block.
//! Unaware of commands and of where the outputs go.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The unit in which an output takes room and gives it back.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;

/// The file. One for all outputs, so that their number costs no descriptors; it is as large as the most that was in it
/// at once.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Made for the first output that needs it.
    file: Option<Arc<File>>,
    free: Vec<u64>,
    /// How many blocks the file has.
    blocks: u64,
}

/// What one output has in the file. Dropped, it gives its room back.
#[derive(Debug)]
pub(crate) struct Spilled {
    spill: Arc<Spill>,
    file: Arc<File>,
    blocks: Vec<u64>,
    bytes: u64,
}

impl Spill {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> io::Result<Arc<File>> {
        let mut state = self.lock();
        if let Some(file) = &state.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(nameless_file(&std::env::temp_dir())?);
        state.file = Some(Arc::clone(&file));
        Ok(file)
    }

    fn take_block(&self) -> u64 {
        let mut state = self.lock();
        state.free.pop().unwrap_or_else(|| {
            state.blocks += 1;
            state.blocks - 1
        })
    }
}

impl Spilled {
    /// Room without anything in it.
    ///
    /// # Errors
    /// When no file can be made in the directory for temporary files (`TMPDIR`, or `/tmp`).
    pub(crate) fn new(spill: &Arc<Spill>) -> io::Result<Spilled> {
        Ok(Spilled {
            file: spill.file()?,
            spill: Arc::clone(spill),
            blocks: Vec::new(),
            bytes: 0,
        })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends `bytes`, all of them or, with an error, some.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let in_block = self.bytes as usize % BLOCK_BYTES;
            if in_block == 0 && self.bytes as usize / BLOCK_BYTES == self.blocks.len() {
                self.blocks.push(self.spill.take_block());
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - in_block));
            self.file.write_all_at(now, self.place(self.bytes))?;
            self.bytes += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Replaces `buffer` by the bytes from `at` on, to the end of a block. Empty at the end.
    pub(crate) fn read(&self, at: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        let to_block_end = BLOCK_BYTES as u64 - at % BLOCK_BYTES as u64;
        let count = (self.bytes - at).min(to_block_end);
        buffer.resize(count as usize, 0);
        if count > 0 {
            self.file.read_exact_at(buffer, self.place(at))?;
        }
        Ok(())
    }

    fn place(&self, at: u64) -> u64 {
        let block_bytes = BLOCK_BYTES as u64;
        self.blocks[(at / block_bytes) as usize] * block_bytes + at % block_bytes
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        self.spill.lock().free.append(&mut self.blocks);
    }
}

/// A file that is gone when no process has it open any more.
fn nameless_file(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    #[cfg(target_os = "linux")]
    if let Ok(file) = options
        .clone()
        .custom_flags(execloop::program::NAMELESS)
        .open(directory)
    {
        return Ok(file);
    }
    // The system, or the file system, has no such files: one with a name, for an instant.
    let path = directory.join(format!("execloop-{}", std::process::id()));
    let file = options.create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(spilled: &Spilled) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), Vec::new());
        loop {
            spilled.read(all.len() as u64, &mut buffer).expect("a read");
            if buffer.is_empty() {
                return all;
            }
            all.extend_from_slice(&buffer);
        }
    }

    #[test]
    fn outputs_that_come_in_turns_are_kept_apart_byte_by_byte() {
        let spill = Arc::new(Spill::default());
        let mut outputs = [7, 11, 13].map(|seed: usize| {
            let bytes: Vec<u8> = (0..seed * 100_003)
                .map(|at| (at * seed % 251) as u8)
                .collect();
            (bytes, Spilled::new(&spill).expect("a file"))
        });
        for piece in 0..14 {
            for (bytes, spilled) in &mut outputs {
                let piece = bytes.chunks(100_000).nth(piece).unwrap_or_default();
                spilled.push(piece).expect("a write");
            }
        }
        for (bytes, spilled) in &outputs {
            assert_eq!(spilled.bytes(), bytes.len() as u64);
            assert!(all_of(spilled) == *bytes);
        }
    }

    #[test]
    fn room_that_was_given_back_is_used_again() {
        let spill = Arc::new(Spill::default());
        for _ in 0..5 {
            let mut output = Spilled::new(&spill).expect("a file");
            output.push(&[1; 2 * BLOCK_BYTES]).expect("a write");
        }
        assert_eq!(spill.lock().blocks, 2);
        let length = spill.file().expect("a file").metadata().expect("it").len();
        assert_eq!(length, 2 * BLOCK_BYTES as u64);
    }

    #[test]
    fn a_directory_without_files_is_an_error() {
        assert!(nameless_file(Path::new("/proc")).is_err());
        let file = nameless_file(&std::env::temp_dir()).expect("a file");
        file.write_all_at(b"x", 0).expect("a write");
    }
}
