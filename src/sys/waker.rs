//! Ends a poll from any thread of the process that made it.
//! Unaware of what is polled.

use std::io;
use std::sync::Arc;

use mio::Registry;

use super::Wake;
use super::fork::{OfPoll, Origin};
use super::token::WAKER;

/// What mio wakes a poll by, in the poll's set.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<Alarm>);

#[derive(Debug)]
struct Alarm {
    waker: OfPoll<mio::Waker>,
    origin: Origin,
}

impl Waker {
    pub(super) fn new(registry: &Registry) -> io::Result<Waker> {
        Ok(Waker(Arc::new(Alarm {
            waker: OfPoll::new(mio::Waker::new(registry, WAKER)?),
            origin: Origin::new(),
        })))
    }

    /// # Errors
    /// In a forked copy of the process.
    pub(super) fn check_process(&self) -> io::Result<()> {
        self.0.origin.check()
    }
}

impl Wake for Waker {
    fn wake(&self) {
        // A full counter means that the poll is about to return anyway; anything else leaves no way to tell.
        if self.is_heard() {
            let _ = self.0.waker.wake();
        }
    }

    fn is_heard(&self) -> bool {
        self.0.origin.is_here()
    }
}
