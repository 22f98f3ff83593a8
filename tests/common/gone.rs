//! The end of a child on a leash and of its orphan.
//! Unaware of who reaps them.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::io;

use super::stay::Stay;

impl Stay {
    /// Waits until everybody who could answer is gone.
    #[track_caller]
    pub fn wait_until_gone(&mut self) {
        io::copy(&mut self.says[1], &mut io::sink()).expect("the pipe");
    }
}
