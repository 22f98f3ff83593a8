//! When a simulation was suspended: the time that no limit may count.
//! Unaware of commands and of their limits.

use std::time::{Duration, Instant};

use super::Driver;
use crate::sys::Kernel;

/// Begin and end of each pause; the last may go on.
#[derive(Clone, Debug, Default)]
pub(super) struct Pauses(Vec<(Instant, Option<Instant>)>);

impl Pauses {
    /// How much of the time between these two was spent in a pause.
    pub(super) fn within(&self, from: Instant, until: Instant) -> Duration {
        let each = |(begin, end): &(Instant, Option<Instant>)| {
            let (begin, end) = ((*begin).max(from), end.unwrap_or(until).min(until));
            end.saturating_duration_since(begin)
        };
        self.0.iter().map(each).sum()
    }

    /// When so much time, pauses left out, will have passed since then.
    pub(super) fn after(&self, from: Instant, time: Duration) -> Instant {
        let mut at = from + time;
        for (begin, end) in &self.0 {
            let Some(end) = end else { continue };
            if *end > from && *begin < at {
                at += end.saturating_duration_since((*begin).max(from));
            }
        }
        at
    }

    /// A deadline does not come within a pause.
    pub(super) fn put_off(&self, at: Instant) -> Instant {
        let has_it = |(begin, end): &&(Instant, Option<Instant>)| {
            *begin < at && end.is_none_or(|end| at < end)
        };
        let pause = self.0.iter().find(has_it);
        pause.and_then(|(_, end)| *end).unwrap_or(at)
    }

    pub(super) fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    fn goes_on(&self) -> bool {
        self.0.last().is_some_and(|(_, end)| end.is_none())
    }
}

impl Driver {
    pub(super) fn is_suspended(&self) -> bool {
        self.pauses.goes_on()
    }

    /// Suspends all, or once more, or lets all go on.
    pub(super) fn suspend_or_not(&mut self) {
        if self.is_suspended() && self.random.one_in(2) {
            return self.unsuspend();
        }
        // As the loop reads it.
        let now = self.engine().kernel.now();
        self.engine().suspend().expect("it is our process");
        if !self.is_suspended() {
            self.pauses.0.push((now, None));
        }
    }

    pub(super) fn unsuspend(&mut self) {
        if !self.is_suspended() {
            return;
        }
        let now = self.engine().kernel.now();
        self.engine().unsuspend();
        if let Some((_, end)) = self.pauses.0.last_mut() {
            *end = Some(now);
        }
        // What was started now may be more than the next act allows.
        self.check_limits();
    }
}
