//! The time, for the summary, and how durations are shown.
//! Unaware of what takes the time.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

#[expect(
    clippy::disallowed_methods,
    reason = "the program's own clock is read here only"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds of a clock that all processes share.
pub(crate) fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[expect(
    clippy::disallowed_methods,
    reason = "a child of a bench that is asked to sleep"
)]
pub(crate) fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// The instant of the run's beginning, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    pub(crate) instant: Instant,
    since_1970: Duration,
}

impl Epoch {
    #[expect(
        clippy::disallowed_methods,
        reason = "the program's own clock is read here only"
    )]
    pub(crate) fn now() -> Epoch {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Epoch {
            instant: now(),
            since_1970: since_1970.unwrap_or_default(),
        }
    }

    /// Seconds since 1970; of nothing, those of the beginning.
    pub(crate) fn seconds(self, instant: Option<Instant>) -> f64 {
        let later = instant.map_or(Duration::ZERO, |_| self.since(instant));
        (self.since_1970 + later).as_secs_f64()
    }

    /// How long after the beginning; of nothing, now.
    pub(crate) fn since(self, instant: Option<Instant>) -> Duration {
        let instant = instant.unwrap_or_else(now);
        instant.saturating_duration_since(self.instant)
    }
}

/// `0.05s`, `12.3s`, `3m20s`, `1h02m`.
pub(crate) fn shown(duration: Duration) -> String {
    let hundredths = duration.as_millis() / 10;
    let seconds = duration.as_secs();
    match hundredths {
        0..1000 => format!("{}.{:02}s", hundredths / 100, hundredths % 100),
        1000..6000 => format!("{}.{}s", hundredths / 100, hundredths / 10 % 10),
        6000..360_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_to_about_three_digits() {
        let cases = [
            (0, "0.00s"),
            (59, "0.05s"),
            (9_999, "9.99s"),
            (10_000, "10.0s"),
            (59_999, "59.9s"),
            (60_000, "1m00s"),
            (3_599_999, "59m59s"),
            (3_600_000, "1h00m"),
            (360_120_000, "100h02m"),
        ];
        for (milliseconds, text) in cases {
            assert_eq!(shown(Duration::from_millis(milliseconds)), text);
        }
    }
}
