//! A writer that fails at once.
//! Unaware of what becomes of that.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::io::{self, Write};

#[derive(Debug)]
pub struct Failing;

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is full"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
