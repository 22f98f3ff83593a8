//! Reaps the orphans that this process has got: as process 1 of a container, or as it was asked to take them over.
//! Unaware of who had started them.

use std::io;
use std::time::{Duration, Instant};

use execloop::Reactor;
use execloop::linux::{Orphan, Orphans};

use crate::clock;

/// To look at every child costs something with thousands of them, and a zombie can wait.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One that the list of children has left out, as others exited meanwhile, is found by the second look.
const LOOKS: u32 = 2;

/// Looks for orphans after each SIGCHLD, but not all the time.
#[derive(Debug)]
pub(crate) struct Reaper {
    orphans: Orphans,
    looks_left: u32,
    next: Option<Instant>,
}

impl Reaper {
    /// # Errors
    /// Where this process cannot take orphans over.
    pub(crate) fn new() -> io::Result<Reaper> {
        Ok(Reaper {
            orphans: Orphans::adopt()?,
            looks_left: LOOKS,
            next: None,
        })
    }

    /// Some child has ended.
    pub(crate) fn ask(&mut self) {
        self.looks_left = LOOKS;
    }

    /// Reaps who has ended, if it is time for that. Everything that this process starts is the reactor's.
    pub(crate) fn look(&mut self, reactor: &mut Reactor) -> Vec<Orphan> {
        let now = clock::now();
        if self.looks_left == 0 {
            return Vec::new();
        }
        if let Some(next) = self.next.filter(|next| now < *next) {
            reactor.wake_at(next);
            return Vec::new();
        }
        let next = now + LOOK_EVERY;
        self.next = Some(next);
        self.looks_left -= 1;
        if self.looks_left > 0 {
            reactor.wake_at(next);
        }
        // Without /proc there are none to be had.
        self.orphans.reap(|_| false).unwrap_or_default()
    }
}
