//! Whether a child on a leash, or its orphan, lives.
//! Unaware of what should have ended it.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::io::{Read, Write};

use super::stay::Stay;

impl Stay {
    /// Asks the orphan, if there is one, else the child, whether it lives. For a child that is not stopped.
    pub fn is_alive(&mut self) -> bool {
        let leash = self.leashes.last_mut().and_then(Option::as_mut);
        let asked = leash.expect("not released yet").write_all(b"?");
        asked.is_ok() && self.says[1].read_exact(&mut [0]).is_ok()
    }
}
