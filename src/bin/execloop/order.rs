//! Holds outputs back until those before them are there.
//! Unaware of commands and of where the output goes.

use std::collections::BTreeMap;

use crate::outbox::Printed;

/// No further command is started while so many outputs, or so many bytes of memory and file for them, are held back.
const HELD_MAX: usize = 10_000;
const HELD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Places in the order of the list, and the outputs that wait for an earlier one.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// How many places were taken.
    taken: u64,
    /// The first place whose output is not there.
    next: u64,
    held: BTreeMap<u64, Printed>,
    held_bytes: u64,
}

impl Order {
    /// The next place. Its output has to be put, or nothing behind it comes out.
    pub(crate) fn take_place(&mut self) -> u64 {
        self.taken += 1;
        self.taken - 1
    }

    /// Brings the output of a place. Returns all those whose turn has come, in order.
    pub(crate) fn put(&mut self, place: u64, output: Printed) -> Vec<Printed> {
        debug_assert!(self.next <= place && place < self.taken, "place {place}");
        self.held_bytes += output.held_bytes();
        self.held.insert(place, output);
        let mut due = Vec::new();
        while let Some(output) = self.held.remove(&self.next) {
            self.next += 1;
            self.held_bytes -= output.held_bytes();
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
    use crate::output::Output;

    fn output(bytes: &[u8]) -> Printed {
        let mut output = Output::default();
        output.push(bytes).expect("room");
        output.into()
    }

    fn texts(outputs: &[Printed]) -> Vec<&[u8]> {
        outputs
            .iter()
            .map(|printed| printed.output.small().expect("in memory"))
            .collect()
    }

    #[test]
    fn outputs_come_out_in_the_order_of_their_places() {
        let mut order = Order::default();
        let [a, b, c] = [0; 3].map(|_| order.take_place());
        assert!(order.put(b, output(b"b")).is_empty());
        assert_eq!(texts(&order.put(a, output(b"a"))), [b"a", b"b"]);
        assert_eq!(texts(&order.put(c, Printed::default())), [b""]);
        let d = order.take_place();
        assert_eq!(texts(&order.put(d, output(b"d"))), [b"d"]);
        assert_eq!((order.held.len(), order.held_bytes), (0, 0));
    }

    #[test]
    fn it_is_full_by_number_or_by_bytes_until_the_first_is_there() {
        let mut order = Order::default();
        let first = order.take_place();
        for _ in 1..HELD_MAX {
            let place = order.take_place();
            order.put(place, Printed::default());
        }
        assert!(!order.is_full());
        let place = order.take_place();
        order.put(place, Printed::default());
        assert!(order.is_full());
        assert_eq!(order.put(first, Printed::default()).len(), HELD_MAX + 1);
        assert!(!order.is_full());

        let [first, second] = [0; 2].map(|_| order.take_place());
        let mut large = Output::default();
        while large.held_bytes() < HELD_BYTES_MAX {
            large.push(&[0; 1024 * 1024]).expect("room");
        }
        order.put(second, large.into());
        assert!(order.is_full());
        order.put(first, Printed::default());
        assert!(!order.is_full());
    }

    #[test]
    fn what_counts_is_the_memory_held_and_not_the_bytes_in_it() {
        let mut order = Order::default();
        let [_first, second] = [0; 2].map(|_| order.take_place());
        let small = output(b"x");
        let held = small.held_bytes();
        assert!(held > 1);
        order.put(second, small);
        assert_eq!(order.held_bytes, held);
    }
}
