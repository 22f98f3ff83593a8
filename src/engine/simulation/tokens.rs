//! Permits that the loop of a simulation shares with others, as a jobserver's are.
//! Unaware of the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::permits::{Permit, Permits};

/// Permits that the loop shares with others. One of each who takes them is free.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    pub(super) free: Arc<AtomicUsize>,
    /// What the loop has, with the free one.
    pub(super) held: Arc<AtomicUsize>,
}

impl Permits for Tokens {
    fn take(&mut self, running: usize, _: Instant) -> Permit {
        let held = self.held.load(Ordering::Relaxed);
        assert_eq!(held, running, "permits of commands that do not run");
        let less = |free: usize| free.checked_sub(1);
        let order = Ordering::Relaxed;
        if held > 0 && self.free.fetch_update(order, order, less).is_err() {
            return Permit::Announced;
        }
        self.held.store(held + 1, Ordering::Relaxed);
        Permit::Granted
    }

    fn give_back(&mut self) {
        let held = self.held.load(Ordering::Relaxed) - 1;
        self.held.store(held, Ordering::Relaxed);
        if held > 0 {
            self.free.fetch_add(1, Ordering::Relaxed);
        }
    }
}
