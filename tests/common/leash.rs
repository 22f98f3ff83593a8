//! The leash of a child, in other hands.
//! Unaware of whose they are.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::io::PipeWriter;

use super::stay::Stay;

impl Stay {
    /// What lets the child come to its end, when it is dropped.
    pub fn take_leash(&mut self) -> PipeWriter {
        self.leashes[0].take().expect("not released yet")
    }
}
