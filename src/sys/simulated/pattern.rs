//! The bytes of every simulated stream, known by its key and the place in it, so that nothing has to be kept.
//! Unaware of pipes.

use std::sync::OnceLock;

use super::Random;

/// A prime, so that no size of a buffer or a pipe divides it.
const PERIOD: usize = 65_521;

/// Noise, with a newline about every sixteenth byte.
fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut random = Random::of_seed(1);
        let noise = (0..PERIOD).map(|_| {
            let number = random.next();
            if number >> 60 == 0 {
                b'\n'
            } else {
                (number >> 32) as u8
            }
        });
        noise.collect()
    })
}

/// The pieces of the table that make up `count` bytes of stream `key` from place `from`.
fn pieces(key: usize, from: usize, count: usize) -> impl Iterator<Item = &'static [u8]> {
    let mut at = (key.wrapping_mul(7919) % PERIOD + from % PERIOD) % PERIOD;
    let mut left = count;
    std::iter::from_fn(move || {
        let size = left.min(PERIOD - at);
        let piece = &table()[at..at + size];
        left -= size;
        at = 0;
        (size > 0).then_some(piece)
    })
}

/// Appends these bytes of the stream.
pub(crate) fn append(key: usize, from: usize, count: usize, into: &mut Vec<u8>) {
    for piece in pieces(key, from, count) {
        into.extend_from_slice(piece);
    }
}

/// The stream's first bytes.
pub(crate) fn prefix(key: usize, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    append(key, 0, count, &mut bytes);
    bytes
}

/// Whether these are the stream's bytes from this place.
pub(crate) fn matches(key: usize, from: usize, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    pieces(key, from, bytes.len()).all(|piece| {
        let (head, tail) = rest.split_at(piece.len());
        rest = tail;
        head == piece
    })
}
