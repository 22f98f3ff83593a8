//! `Deadlines` against a plain list with a place for each key.

use std::time::Duration;

use super::Bytes;
use crate::deadlines::Deadlines;
use crate::sys;

const KEYS: usize = 8;

/// Moves, discards and takes out deadlines of a few keys; two bytes are one act.
pub fn deadlines(data: &[u8]) {
    let base = sys::now();
    let mut bytes = Bytes(data);
    let mut deadlines = Deadlines::new();
    let mut list = [None; KEYS];
    while !bytes.is_used_up() {
        let act = bytes.next();
        let key = usize::from(act) % KEYS;
        // Few instants, so that keys meet at one.
        let at = base + Duration::from_nanos(u64::from(bytes.next()) % 32);
        match act / 8 % 4 {
            0 => {
                deadlines.move_to(key, list[key], Some(at));
                list[key] = Some(at);
            }
            1 => {
                deadlines.move_to(key, list[key], None);
                list[key] = None;
            }
            2 => {
                // Where it is, as often as anywhere.
                let at = list[key].filter(|_| act & 128 != 0).unwrap_or(at);
                deadlines.discard(key, at);
                list[key] = list[key].filter(|armed| *armed != at);
            }
            _ => loop {
                let due = (0..KEYS)
                    .filter_map(|key| Some((list[key]?, key)))
                    .filter(|(armed, _)| *armed <= at)
                    .min();
                assert_eq!(deadlines.pop_due(at), due);
                let Some((_, key)) = due else { break };
                list[key] = None;
            },
        }
        assert_eq!(deadlines.earliest(), list.iter().flatten().copied().min());
    }
    // And there is nothing beside them.
    let far = base + Duration::from_secs(1);
    let left: Vec<_> = std::iter::from_fn(|| deadlines.pop_due(far)).collect();
    let mut armed: Vec<_> = (0..KEYS)
        .filter_map(|key| Some((list[key]?, key)))
        .collect();
    armed.sort_unstable();
    assert_eq!(left, armed);
}
