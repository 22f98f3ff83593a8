//! The orphan of a child on a leash.
//! Unaware of who holds on to it.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use super::stay::Stay;

impl Stay {
    /// Lets the orphan come to its end.
    pub fn release_orphan(&mut self) {
        self.leashes[1] = None;
    }
}
