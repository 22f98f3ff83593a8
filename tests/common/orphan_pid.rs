//! The pid of a child's orphan.
//! Unaware of what the orphan holds.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use super::stay::Stay;

impl Stay {
    /// The orphan's pid, once it is there.
    #[track_caller]
    pub fn orphan(&mut self) -> u32 {
        self.pids().1
    }
}
