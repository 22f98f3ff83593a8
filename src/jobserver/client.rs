//! One reactor's part in a jobserver: a source of permits. Unaware of the pipe.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use super::tokens::Shared;
use crate::permits::{Permit, Permits};

/// One reactor's part in a jobserver: the tokens that it has.
pub(crate) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) tokens: Vec<u8>,
    /// How many permits were given: one of them is for free.
    pub(super) taken: usize,
}

impl Permits for Client {
    fn take(&mut self, _running: usize, _now: Instant) -> Permit {
        let mut state = self.shared.state();
        if self.taken > 0 {
            match self.shared.read_token() {
                Some(token) => self.tokens.push(token),
                None => return Permit::Announced,
            }
        }
        self.taken += 1;
        state.running += 1;
        Permit::Granted
    }

    fn give_back(&mut self) {
        let mut state = self.shared.state();
        self.taken -= 1;
        state.running -= 1;
        while self.tokens.len() > self.taken.saturating_sub(1) {
            match self.tokens.pop() {
                Some(token) if self.shared.write(&mut state, &[token]).is_err() => {
                    // It is tried again with the next.
                    return self.tokens.push(token);
                }
                _ => {}
            }
        }
        if state.running == 0 {
            self.shared.settle(&mut state);
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.shared.reader.as_fd())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.shared.pid != std::process::id() {
            return;
        }
        let mut state = self.shared.state();
        state.running -= self.taken;
        let _ = self.shared.write(&mut state, &self.tokens);
        if state.running == 0 {
            self.shared.settle(&mut state);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
