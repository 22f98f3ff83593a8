//! The time, for the summary, and how durations are shown.
//! Unaware of what takes the time.

use std::time::{Duration, Instant};

#[expect(
    clippy::disallowed_methods,
    reason = "the program's own clock is read here only"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
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
