//! How openings of a file system that does not answer come to another end: a signal, or an error.
//! Unaware of who opens.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::fs::File;
use std::sync::Mutex;

use super::fuse::{Gate, Stall, answer};

/// Gives an interrupted opening up, as a server that still works does.
pub fn polite(device: &File, gate: &Mutex<Gate>, interrupted: u64) {
    let mut gate = gate.lock().expect("no panic");
    if gate.held.contains(&interrupted) {
        gate.held.retain(|held| *held != interrupted);
        answer(device, interrupted, libc::EINTR, &[]);
    }
}

impl Stall {
    /// Fails all openings that wait.
    pub fn fail(&self) {
        for unique in self.gate.lock().expect("no panic").held.drain(..) {
            answer(&self.device, unique, libc::EIO, &[]);
        }
    }
}
