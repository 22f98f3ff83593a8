//! Others who have a say in whether one more command may start: a jobserver's tokens, the machine's load.
//! Unaware of commands, of the queue and of the limits that the reactor counts itself.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// The answer to who wants to start one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    Granted,
    /// Not now. Ask again when the source's descriptor becomes readable.
    Announced,
    /// Not before this time, or an end.
    Until(Instant),
}

/// Whoever gives permits. Asked once for each start, when nothing else is in its way.
pub(crate) trait Permits: fmt::Debug + Send {
    /// Asks for one more, beside the `running` ones. Where nothing runs, one must be granted: nothing else would end
    /// the wait.
    fn take(&mut self, running: usize, now: Instant) -> Permit;
    /// One that was granted is free again: its command is over.
    fn give_back(&mut self);
    /// One that was granted was not used.
    fn withdraw(&mut self) {
        self.give_back();
    }
    /// Readable when there may be a permit that was refused before.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// All of them: each has to grant.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    sources: Vec<Box<dyn Permits>>,
    /// The last answer was no, and nothing has changed here since.
    is_refused: bool,
}

impl Sources {
    pub(crate) fn add(&mut self, source: Box<dyn Permits>) {
        self.sources.push(source);
    }

    /// Takes a permit of each, or none.
    pub(crate) fn take(&mut self, running: usize, now: Instant) -> Permit {
        self.is_refused = false;
        for at in 0..self.sources.len() {
            let permit = self.sources[at].take(running, now);
            if permit != Permit::Granted {
                for source in &mut self.sources[..at] {
                    source.withdraw();
                }
                self.is_refused = true;
                return permit;
            }
        }
        Permit::Granted
    }

    /// The command that was to have them was not started after all.
    pub(crate) fn withdraw(&mut self) {
        for source in &mut self.sources {
            source.withdraw();
        }
    }

    /// A command that had one of each is over.
    pub(crate) fn give_back(&mut self) {
        for source in &mut self.sources {
            source.give_back();
        }
        self.is_refused = false;
    }

    /// It is of no use to ask again yet.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// The time to ask again has come.
    pub(crate) fn retry(&mut self) {
        self.is_refused = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// So many at once.
    #[derive(Debug)]
    struct Limit(usize, Arc<AtomicUsize>);

    impl Permits for Limit {
        fn take(&mut self, _: usize, _: Instant) -> Permit {
            if self.1.load(Ordering::Relaxed) == self.0 {
                return Permit::Announced;
            }
            self.1.fetch_add(1, Ordering::Relaxed);
            Permit::Granted
        }

        fn give_back(&mut self) {
            self.1.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_one_source_refuses_none_has_given() {
        let now = crate::sys::now();
        let (first, second) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut sources = Sources::default();
        sources.add(Box::new(Limit(5, Arc::clone(&first))));
        sources.add(Box::new(Limit(1, Arc::clone(&second))));
        let count = || {
            (
                first.load(Ordering::Relaxed),
                second.load(Ordering::Relaxed),
            )
        };
        assert_eq!(sources.take(0, now), Permit::Granted);
        assert_eq!(sources.take(1, now), Permit::Announced);
        assert_eq!((count(), sources.is_refused()), ((1, 1), true));
        sources.give_back();
        assert_eq!((count(), sources.is_refused()), ((0, 0), false));
    }
}
