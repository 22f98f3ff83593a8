//! Keeps the first and the last bytes of a stream of any length, and counts those between: `... omitting 123 bytes ...`.
//! Unaware of pipes, of text and of lines.

use std::borrow::Cow;
use std::io;

/// The first and the last `n` bytes that were pushed.
///
/// A new one holds no memory. It grows with the stream, up to `2 * n` bytes.
#[derive(Debug)]
pub(crate) struct HeadTail {
    /// How many bytes each end may hold.
    end_bytes_max: usize,
    head: Vec<u8>,
    /// The last bytes after the head: a ring once it is full, in order until then.
    tail: Vec<u8>,
    /// Where in `tail` its oldest byte is. Zero until it is full.
    tail_oldest: usize,
    /// How many bytes are in neither end so far.
    skipped: u64,
}

impl HeadTail {
    /// Keeps up to `n` bytes of each end. With zero everything is skipped, and counted.
    pub(crate) fn new(n: usize) -> Self {
        HeadTail {
            end_bytes_max: n,
            head: Vec::new(),
            tail: Vec::new(),
            tail_oldest: 0,
            skipped: 0,
        }
    }

    /// How many bytes each end may hold.
    pub(crate) fn end_bytes_max(&self) -> usize {
        self.end_bytes_max
    }

    /// Appends to the stream. Copies at most twice, and never more than was pushed.
    ///
    /// # Errors
    /// `OutOfMemory`: these bytes, or some of them, are not there.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let rest = append(&mut self.head, bytes, self.end_bytes_max)?;
        if rest.len() < self.end_bytes_max {
            let rest = append(&mut self.tail, rest, self.end_bytes_max)?;
            self.overwrite_oldest(rest);
        } else {
            let (passed, last) = rest.split_at(rest.len() - self.end_bytes_max);
            self.skipped += (self.tail.len() + passed.len()) as u64;
            self.tail.clear();
            self.tail_oldest = 0;
            append(&mut self.tail, last, self.end_bytes_max)?;
        }
        debug_assert!(self.head.len() == self.end_bytes_max || self.tail.is_empty());
        debug_assert!(
            self.tail.len() == self.end_bytes_max || (self.tail_oldest == 0 && self.skipped == 0)
        );
        Ok(())
    }

    /// Both ends in one, as Go's `prefixSuffixSaver` prints them: a line between them tells how much was skipped.
    ///
    /// If nothing was skipped there is no such line, and the result is the whole stream. `OutOfMemory`: it is the first
    /// end alone.
    pub(crate) fn finish(mut self) -> (Vec<u8>, io::Result<()>) {
        let mut whole = std::mem::take(&mut self.head);
        let added = self.add_tail(&mut whole);
        (whole, added)
    }

    /// What [`finish`](HeadTail::finish) would give now; the first end alone where there is no memory for both.
    pub(crate) fn so_far(&self) -> Cow<'_, [u8]> {
        if self.tail.is_empty() && self.skipped == 0 {
            return Cow::Borrowed(&self.head);
        }
        let mut whole = Vec::new();
        if whole.try_reserve_exact(self.head.len()).is_err() {
            return Cow::Borrowed(&self.head);
        }
        whole.extend_from_slice(&self.head);
        // Without memory for it, the first end is told alone.
        let _ = self.add_tail(&mut whole);
        Cow::Owned(whole)
    }

    /// Appends to the first end what tells of the middle, and the last end.
    fn add_tail(&self, whole: &mut Vec<u8>) -> io::Result<()> {
        let marker = match self.skipped {
            0 => String::new(),
            skipped => format!("\n... omitting {skipped} bytes ...\n"),
        };
        let (newer, older) = self.tail.split_at(self.tail_oldest);
        whole.try_reserve_exact(marker.len() + self.tail.len())?;
        whole.extend_from_slice(marker.as_bytes());
        whole.extend_from_slice(older);
        whole.extend_from_slice(newer);
        Ok(())
    }

    /// Writes over the oldest bytes of a full tail.
    fn overwrite_oldest(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        debug_assert!(self.tail.len() == self.end_bytes_max && bytes.len() < self.end_bytes_max);
        let before_wrap = bytes.len().min(self.tail.len() - self.tail_oldest);
        let (first, second) = bytes.split_at(before_wrap);
        self.tail[self.tail_oldest..][..first.len()].copy_from_slice(first);
        self.tail[..second.len()].copy_from_slice(second);
        self.tail_oldest = (self.tail_oldest + bytes.len()) % self.tail.len();
        self.skipped += bytes.len() as u64;
    }
}

/// Appends what fits below `len_max`, and returns the rest.
fn append<'a>(buffer: &mut Vec<u8>, bytes: &'a [u8], len_max: usize) -> io::Result<&'a [u8]> {
    let (fits, rest) = bytes.split_at(bytes.len().min(len_max - buffer.len()));
    let needed = buffer.len() + fits.len();
    if needed > buffer.capacity() {
        // By doubling, but not past the limit as `Vec` would.
        let capacity = buffer.capacity().saturating_mul(2).clamp(needed, len_max);
        buffer.try_reserve_exact(capacity - buffer.len())?;
    }
    buffer.extend_from_slice(fits);
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `HeadTail` must hold of a stream: the same rule without a ring, and without limits.
    fn model(stream: &[u8], n: usize) -> (Vec<u8>, u64) {
        if stream.len() <= 2 * n {
            return (stream.to_vec(), 0);
        }
        let skipped = stream.len() - 2 * n;
        let mut text = stream[..n].to_vec();
        text.extend(format!("\n... omitting {skipped} bytes ...\n").bytes());
        text.extend(&stream[stream.len() - n..]);
        (text, skipped as u64)
    }

    #[track_caller]
    fn assert_keeps<'a>(n: usize, chunks: impl IntoIterator<Item = &'a [u8]>) {
        let mut kept = HeadTail::new(n);
        let mut stream = Vec::new();
        for chunk in chunks {
            kept.push(chunk).expect("memory");
            stream.extend_from_slice(chunk);
            assert_eq!(kept.skipped, model(&stream, n).1);
            assert_eq!(*kept.so_far(), model(&stream, n).0);
            assert!(kept.head.capacity() <= n && kept.tail.capacity() <= n);
        }
        assert_eq!(
            kept.finish().0,
            model(&stream, n).0,
            "n {n}, stream of {}",
            stream.len()
        );
    }

    #[test]
    fn every_chunking_of_a_short_stream_keeps_both_ends() {
        const BYTES: u8 = if cfg!(miri) { 7 } else { 14 };
        let stream: Vec<u8> = (0..BYTES).collect();
        for n in 0..=8 {
            for len in 1..=stream.len() {
                // Bit i set: a chunk ends after byte i.
                for cuts in 0..1u32 << (len - 1) {
                    let mut place = 0;
                    let chunks = stream[..len].chunk_by(|_, _| {
                        place += 1;
                        cuts & (1 << (place - 1)) == 0
                    });
                    assert_keeps(n, chunks);
                }
            }
        }
    }

    #[test]
    fn chunks_of_one_size_wrap_the_ring_many_times() {
        const LIMIT_MAX: usize = if cfg!(miri) { 3 } else { 40 };
        const BYTES: usize = if cfg!(miri) { 40 } else { 1000 };
        let stream: Vec<u8> = (0..=255).cycle().take(BYTES).collect();
        for n in 1..=LIMIT_MAX {
            for size in 1..=90 {
                assert_keeps(n, stream.chunks(size));
            }
        }
    }

    #[test]
    fn empty_chunks_change_nothing() {
        for n in 0..=3 {
            assert_keeps(n, []);
            assert_keeps(n, [&b""[..], b"ab", b"", b"cdef", b"", b"ghijkl", b""]);
        }
    }

    #[test]
    fn stream_that_fits_is_returned_whole() {
        let mut kept = HeadTail::new(4);
        kept.push(b"abcdefgh").expect("memory");
        assert_eq!(kept.skipped, 0);
        assert_eq!(kept.finish().0, b"abcdefgh");
    }

    #[test]
    fn longer_stream_says_how_much_was_omitted() {
        let mut kept = HeadTail::new(4);
        kept.push(b"abcdefghi").expect("memory");
        assert_eq!(kept.skipped, 1);
        assert_eq!(kept.finish().0, b"abcd\n... omitting 1 bytes ...\nfghi");
    }

    #[test]
    fn memory_grows_with_the_stream_up_to_the_limit() {
        let n = 100_000;
        let mut kept = HeadTail::new(n);
        assert_eq!((kept.head.capacity(), kept.tail.capacity()), (0, 0));
        kept.push(&[7; 10]).expect("memory");
        assert!(kept.head.capacity() < n);
        assert_eq!(kept.tail.capacity(), 0);
        for _ in 0..1000 {
            kept.push(&[7; 777]).expect("memory");
        }
        assert_eq!((kept.head.capacity(), kept.tail.capacity()), (n, n));
        assert_eq!(kept.skipped, 777_010 - 200_000);
    }

    #[test]
    fn a_limit_without_end_costs_nothing() {
        let mut kept = HeadTail::new(usize::MAX);
        kept.push(b"abc").expect("memory");
        assert_eq!(kept.finish().0, b"abc");
    }
}
