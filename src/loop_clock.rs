//! The loop's time: the system's, less what the loop was suspended. Every limit of a command counts in it.
//! Unaware of who suspends, and of where the system's time comes from.

use std::time::{Duration, Instant};

/// Two times that are read at once, and differ by what the loop was suspended so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoopClock {
    real: Instant,
    now: Instant,
    /// Since when the loop's time stands still, in the system's time; `None`: it goes on.
    stopped: Option<Instant>,
    /// How long it stood still before that, in all.
    behind: Duration,
}

impl LoopClock {
    /// Goes on, and is the same as the system's.
    pub(crate) fn new(real: Instant) -> LoopClock {
        LoopClock {
            real,
            now: real,
            stopped: None,
            behind: Duration::ZERO,
        }
    }

    /// The system's time is this now.
    pub(crate) fn read(&mut self, real: Instant) {
        self.real = real;
        if self.stopped.is_none() {
            self.now = real.checked_sub(self.behind).unwrap_or(real);
        }
    }

    /// The system's time when it was last read: for people, and for what is looked at again and again.
    pub(crate) fn real(&self) -> Instant {
        self.real
    }

    /// The loop's time then: for limits.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Stops at the time that was read last. One that stands goes on standing.
    pub(crate) fn stop(&mut self) {
        self.stopped.get_or_insert(self.real);
    }

    /// Goes on from where it stands.
    pub(crate) fn go_on(&mut self) {
        if let Some(stopped) = self.stopped.take() {
            self.behind += self.real.saturating_duration_since(stopped);
            self.read(self.real);
        }
    }

    /// The loop's time `at`, as a time of the system's. `None`: it does not come while the loop's time stands still.
    pub(crate) fn real_of(&self, at: Instant) -> Option<Instant> {
        match self.stopped {
            Some(_) if at > self.now() => None,
            Some(stopped) => Some(stopped),
            None => at.checked_add(self.behind),
        }
    }

    /// A time of the system's as one of the loop's, if that does not stand still (any longer).
    pub(crate) fn of_real(&self, at: Instant) -> Instant {
        let behind = self.real.saturating_duration_since(self.now());
        at.checked_sub(behind).unwrap_or(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn one_that_stands_keeps_the_time_that_is_left() {
        let start = crate::sys::now();
        let mut clock = LoopClock::new(start);
        let limit = clock.now() + ms(100);
        clock.read(start + ms(60));
        clock.stop();
        clock.read(start + ms(5_000));
        clock.stop();
        assert_eq!(
            (clock.now(), clock.real()),
            (start + ms(60), start + ms(5_000))
        );
        assert_eq!(clock.real_of(limit), None);
        assert_eq!(
            clock.real_of(start + ms(60)),
            Some(start + ms(60)),
            "due already"
        );
        clock.read(start + ms(1_000_060));
        clock.go_on();
        assert_eq!(clock.real_of(limit), Some(start + ms(1_000_100)));
        clock.read(start + ms(1_000_100));
        assert_eq!(clock.now(), limit);
    }

    #[test]
    fn what_it_was_behind_adds_up() {
        let start = crate::sys::now();
        let mut clock = LoopClock::new(start);
        for round in 1..=3 {
            clock.stop();
            clock.read(clock.real() + ms(10));
            clock.go_on();
            clock.go_on();
            assert_eq!(clock.real() - clock.now(), ms(10 * round));
        }
        let later = clock.real() + ms(5);
        assert_eq!(clock.of_real(later), clock.now() + ms(5));
        assert_eq!(clock.real_of(clock.of_real(later)), Some(later));
    }
}
