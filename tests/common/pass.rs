//! Time that passes.
//! Unaware of who waits for it.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

/// Lets time pass, for lower bounds alone: a child of the system does the sleeping.
#[track_caller]
pub fn pass_ms(milliseconds: u32) {
    let slept = std::process::Command::new("/bin/sleep")
        .arg(format!("0.{milliseconds:03}"))
        .status();
    assert!(slept.expect("sleep").success());
}
