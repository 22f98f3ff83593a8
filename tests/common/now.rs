//! The time.
//! Unaware of what it is for.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

/// For deadlines of the caller's, which are counted from now, and for lower bounds.
#[expect(clippy::disallowed_methods, reason = "a deadline is an instant")]
pub fn now() -> std::time::Instant {
    std::time::Instant::now()
}
