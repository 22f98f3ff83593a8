//! `HeadTail` against the rule said without a ring and without limits: keep the whole stream, cut it at the end.

use super::Bytes;
use crate::head_tail::HeadTail;

/// Pushes chunks of any sizes.
///
/// The first byte is how much each end holds; then each byte is the length of a chunk, which is made up.
pub fn ends(data: &[u8]) {
    let mut bytes = Bytes(data);
    let end_bytes_max = match bytes.next() {
        255 => usize::MAX,
        n => usize::from(n),
    };
    let mut kept = HeadTail::new(end_bytes_max);
    let mut stream = Vec::new();
    while !bytes.is_used_up() {
        let len = match bytes.next() {
            // A few long ones, so that a chunk may exceed everything that is kept.
            long @ 240.. => usize::from(long - 239) * 64,
            short => usize::from(short),
        };
        let from = stream.len();
        // No two places of a ring look alike: 251 is prime to every size that a ring has.
        stream.extend((from..from + len).map(|place| (place % 251) as u8));
        kept.push(&stream[from..]).expect("memory");
    }
    let found = kept.finish().0;
    let kept_max = end_bytes_max.saturating_mul(2);
    if stream.len() <= kept_max {
        assert_eq!(found, stream);
        return;
    }
    let (head, rest) = stream.split_at(end_bytes_max);
    let (skipped, tail) = rest.split_at(rest.len() - end_bytes_max);
    let line = format!("\n... omitting {} bytes ...\n", skipped.len());
    assert_eq!(found, [head, line.as_bytes(), tail].concat());
}
