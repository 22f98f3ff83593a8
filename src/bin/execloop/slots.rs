//! The places in which commands run: the lowest free number is taken, so that there are no more than run at once.
//! Unaware of commands.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(crate) struct Slots<T> {
    tenants: Vec<Option<T>>,
    free: BinaryHeap<Reverse<usize>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots {
            tenants: Vec::new(),
            free: BinaryHeap::new(),
        }
    }
}

impl<T> Slots<T> {
    /// Takes the lowest free slot, without a tenant yet. From 0.
    pub(crate) fn take(&mut self) -> usize {
        match self.free.pop() {
            Some(Reverse(slot)) => slot,
            None => {
                self.tenants.push(None);
                self.tenants.len() - 1
            }
        }
    }

    pub(crate) fn set(&mut self, slot: usize, tenant: T) {
        self.tenants[slot] = Some(tenant);
    }

    pub(crate) fn tenant(&self, slot: usize) -> Option<&T> {
        self.tenants.get(slot)?.as_ref()
    }

    /// Gives a slot back.
    pub(crate) fn free(&mut self, slot: usize) {
        self.tenants[slot] = None;
        self.free.push(Reverse(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_slot_is_taken() {
        let mut slots = Slots::default();
        assert_eq!([0; 3].map(|_| slots.take()), [0, 1, 2]);
        slots.set(1, 'b');
        assert_eq!((slots.tenant(1), slots.tenant(7)), (Some(&'b'), None));
        slots.free(2);
        slots.free(1);
        assert_eq!(slots.tenant(1), None);
        assert_eq!([0; 3].map(|_| slots.take()), [1, 2, 3]);
    }
}
