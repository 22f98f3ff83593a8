//! Output as text, for comparisons and messages.
//! Unaware of who wrote it.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

/// Output as text, for comparisons and messages.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
