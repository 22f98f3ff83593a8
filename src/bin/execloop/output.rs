//! What one command has written: its beginning in memory, the rest in a temporary file.
//! Unaware of commands and of where it goes.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::spill::{Spill, Spilled};

/// One output has no more than this in memory.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// All outputs together have no more than this in memory, but for the first bytes of each.
const OUTPUTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// So much of each output is in memory whatever the others have.
const FIRST_BYTES: usize = 4 * 1024;

/// Where outputs have their room: memory, which is counted, and a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    bytes: Arc<AtomicUsize>,
    spill: Arc<Spill>,
}

/// One output.
#[derive(Debug, Default)]
pub(crate) struct Output {
    room: Room,
    memory: Vec<u8>,
    spilled: Option<Spilled>,
    /// So many bytes were written that are not in it.
    left_out_bytes: u64,
}

impl Output {
    pub(crate) fn new(room: &Room) -> Output {
        Output {
            room: room.clone(),
            memory: Vec::new(),
            spilled: None,
            left_out_bytes: 0,
        }
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// When they belong into the file, and that cannot be made or written.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(spilled) = &mut self.spilled {
            return spilled.push(bytes);
        }
        let length = self.memory.len() + bytes.len();
        let all = self.room.bytes.load(Ordering::Relaxed);
        let has_room = length <= FIRST_BYTES
            || length <= OUTPUT_BYTES_MAX && all + bytes.len() <= OUTPUTS_BYTES_MAX;
        if has_room && self.reserve(bytes.len()) {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let spilled = Spilled::new(&self.room.spill)?;
        self.spilled.insert(spilled).push(bytes)
    }

    /// Makes room in memory; `false` if there is none.
    fn reserve(&mut self, bytes: usize) -> bool {
        let before = self.memory.capacity();
        let is_there = self.memory.try_reserve(bytes).is_ok();
        let added = self.memory.capacity() - before;
        self.room.bytes.fetch_add(added, Ordering::Relaxed);
        is_there
    }

    /// How many bytes it is.
    pub(crate) fn bytes(&self) -> u64 {
        let spilled = self.spilled.as_ref().map_or(0, Spilled::bytes);
        self.memory.len() as u64 + spilled
    }

    pub(crate) fn left_out_bytes(&self) -> u64 {
        self.left_out_bytes
    }

    /// How many bytes its command has written.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.bytes() + self.left_out_bytes
    }

    /// The last byte, or a newline where there is none.
    pub(crate) fn last(&self) -> io::Result<u8> {
        let mut last = self.memory.last().copied();
        if let Some(spilled) = self.spilled.as_ref().filter(|spilled| spilled.bytes() > 0) {
            let mut buffer = Vec::new();
            spilled.read(spilled.bytes() - 1, &mut buffer)?;
            last = buffer.last().copied();
        }
        Ok(last.unwrap_or(b'\n'))
    }

    /// How much it holds, in memory and in the file.
    pub(crate) fn held_bytes(&self) -> u64 {
        let spilled = self.spilled.as_ref().map_or(0, Spilled::bytes);
        self.memory.capacity() as u64 + spilled
    }

    /// The part in memory, if that is all of it.
    pub(crate) fn small(&self) -> Option<&[u8]> {
        self.spilled.is_none().then_some(&*self.memory)
    }

    /// Hands all of it to `write`, piece by piece.
    pub(crate) fn for_each_piece(
        &self,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        write(&self.memory)?;
        let Some(spilled) = &self.spilled else {
            return Ok(());
        };
        let (mut at, mut buffer) = (0, Vec::new());
        while at < spilled.bytes() {
            spilled.read(at, &mut buffer)?;
            at += buffer.len() as u64;
            write(&buffer)?;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.room
            .bytes
            .fetch_sub(self.memory.capacity(), Ordering::Relaxed);
    }
}

/// Collects what a command writes. A clone is the same one: one is for the loop, one for whoever wants the output.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    collected: Arc<Mutex<Collected>>,
}

#[derive(Debug)]
struct Collected {
    output: Output,
    error: Option<io::Error>,
}

impl Collector {
    pub(crate) fn new(room: &Room) -> Collector {
        Collector {
            collected: Arc::new(Mutex::new(Collected {
                output: Output::new(room),
                error: None,
            })),
        }
    }

    /// What was collected, and why it is not all.
    pub(crate) fn take(&self) -> (Output, Option<io::Error>) {
        let mut collected = self.lock();
        (
            std::mem::take(&mut collected.output),
            collected.error.take(),
        )
    }

    /// So many more bytes were written, and are not kept.
    pub(crate) fn leave_out(&self, bytes: u64) {
        self.lock().output.left_out_bytes += bytes;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Collected> {
        self.collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Collector {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut collected = self.lock();
        match collected.output.push(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                // The library tells it only of a command that ends well, which one without a reader seldom does.
                let kind = error.kind();
                collected.error = Some(error);
                Err(kind.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(output: &Output) -> Vec<u8> {
        let mut all = Vec::new();
        output
            .for_each_piece(|piece| {
                all.extend_from_slice(piece);
                Ok(())
            })
            .expect("it can be read");
        all
    }

    #[test]
    fn a_large_output_is_in_memory_up_to_a_limit_and_comes_out_whole() {
        let room = Room::default();
        let mut output = Output::new(&room);
        let mut expected = Vec::new();
        for piece in 0..70_u8 {
            let bytes = vec![piece; 50_000];
            output.push(&bytes).expect("room");
            expected.extend(bytes);
        }
        assert!(output.memory.len() <= OUTPUT_BYTES_MAX && output.small().is_none());
        assert!(output.held_bytes() >= expected.len() as u64);
        assert!(all_of(&output) == expected);
        drop(output);
        assert_eq!(room.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_outputs_together_have_a_limit_in_memory_but_for_their_first_bytes() {
        let room = Room::default();
        let outputs: Vec<Output> = (0..2000)
            .map(|_| {
                let mut output = Output::new(&room);
                for _ in 0..20 {
                    output.push(&[b'x'; 4000]).expect("room");
                }
                output
            })
            .collect();
        let firsts = outputs.len() * FIRST_BYTES;
        let held: usize = outputs.iter().map(|output| output.memory.capacity()).sum();
        assert_eq!(held, room.bytes.load(Ordering::Relaxed));
        // A vector that grows has up to twice what it needs.
        assert!(held <= 2 * OUTPUTS_BYTES_MAX + 2 * firsts, "{held}");
        let small = outputs
            .iter()
            .filter(|output| output.small().is_some())
            .count();
        assert!((1..outputs.len()).contains(&small), "{small}");
        assert!(
            outputs
                .iter()
                .all(|output| all_of(output) == [b'x'; 80_000])
        );
    }

    #[test]
    fn a_collector_hands_out_what_was_written_to_its_clone() {
        let mut writer = Collector::new(&Room::default());
        let reader = writer.clone();
        writer.write_all(b"one").expect("room");
        let (output, error) = reader.take();
        assert_eq!((output.small(), error.is_none()), (Some(&b"one"[..]), true));
        assert_eq!(reader.take().0.small(), Some(&b""[..]));
    }
}
