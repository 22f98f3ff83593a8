//! A thread that does the same until a test is over. Unaware of what it does.

use std::sync::atomic::{AtomicBool, Ordering};

/// Ends a thread's loop, also where its test fails.
pub(crate) struct Until<'a>(pub(crate) &'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
