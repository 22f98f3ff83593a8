//! How many commands there are, and what was done so far.
//! Unaware of who counts.

use super::Reactor;
use crate::observer::Stats;

impl Reactor {
    /// Commands that were started or queued and not handed out. Those that a [`Handle`](crate::Handle) has sent count
    /// from the next [turn](Reactor::turn) on.
    pub fn len(&self) -> usize {
        self.engine.len()
    }

    /// There is no command, and no word of a [`Handle`](crate::Handle) that waits for a [turn](Reactor::turn), which
    /// may be one: [`wait_any`](Reactor::wait_any) would return `None`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && !self.engine.has_messages()
    }

    /// Commands whose process was started and that are not finished.
    pub fn running(&self) -> usize {
        self.engine.running()
    }

    /// Commands that wait for their start.
    pub fn queued(&self) -> usize {
        self.engine.queued()
    }

    /// What this reactor has done so far. Default: all is counted from its making on, at the cost of a few looks at
    /// the clock for each turn.
    ///
    /// ```
    /// use execloop::{Command, Output, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// reactor.start(Command::new("echo").arg("hello").stdout(Output::capture()))?;
    /// while reactor.wait_any()?.is_some() {}
    /// let stats = reactor.stats();
    /// assert_eq!((stats.started, stats.finished, stats.bytes_read), (1, 1, 6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }
}
