//! What the tests run with.
//! Unaware of what they test.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::fs;

use execloop::Signal;

/// Signals that this process ignores, as `nohup` or a shell's `&` has it, are ignored by its children, too.
pub fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("proc(5)");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("a number");
    let is_ignored = mask >> (signal.number() - 1) & 1 == 1;
    if is_ignored {
        eprintln!("skipped: the tests run with {signal} ignored");
    }
    is_ignored
}
