//! Holds outputs back until those before them are there.
//! Unaware of commands and of where the output goes.

use std::collections::BTreeMap;

/// No further command is started while so many outputs, or so many bytes of them, are held back.
const HELD_MAX: usize = 10_000;
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Places in the order of the list, and the outputs that wait for an earlier one.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// How many places were taken.
    taken: u64,
    /// The first place whose output is not there.
    next: u64,
    held: BTreeMap<u64, Vec<u8>>,
    held_bytes: usize,
}

impl Order {
    /// The next place. Its output has to be put, or nothing behind it comes out.
    pub(crate) fn take_place(&mut self) -> u64 {
        self.taken += 1;
        self.taken - 1
    }

    /// Brings the output of a place. Returns all those whose turn has come, in order.
    pub(crate) fn put(&mut self, place: u64, output: Vec<u8>) -> Vec<Vec<u8>> {
        debug_assert!(self.next <= place && place < self.taken, "place {place}");
        self.held_bytes += output.len();
        self.held.insert(place, output);
        let mut due = Vec::new();
        while let Some(output) = self.held.remove(&self.next) {
            self.next += 1;
            self.held_bytes -= output.len();
            due.push(output);
        }
        due
    }

    /// Too much is held back: whoever is first must end before more is started.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= HELD_MAX || self.held_bytes >= HELD_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_come_out_in_the_order_of_their_places() {
        let mut order = Order::default();
        let [a, b, c] = [0; 3].map(|_| order.take_place());
        assert_eq!(order.put(b, b"b".to_vec()), Vec::<Vec<u8>>::new());
        assert_eq!(order.put(a, b"a".to_vec()), [b"a", b"b"]);
        assert_eq!(order.put(c, Vec::new()), [b""]);
        let d = order.take_place();
        assert_eq!(order.put(d, b"d".to_vec()), [b"d"]);
        assert_eq!((order.held.len(), order.held_bytes), (0, 0));
    }

    #[test]
    fn it_is_full_by_number_or_by_bytes_until_the_first_is_there() {
        let mut order = Order::default();
        let first = order.take_place();
        for _ in 1..HELD_MAX {
            let place = order.take_place();
            order.put(place, Vec::new());
        }
        assert!(!order.is_full());
        let place = order.take_place();
        order.put(place, Vec::new());
        assert!(order.is_full());
        assert_eq!(order.put(first, Vec::new()).len(), HELD_MAX + 1);
        assert!(!order.is_full());

        let [first, second] = [0; 2].map(|_| order.take_place());
        order.put(second, vec![0; HELD_BYTES_MAX]);
        assert!(order.is_full());
        order.put(first, Vec::new());
        assert!(!order.is_full());
    }
}
