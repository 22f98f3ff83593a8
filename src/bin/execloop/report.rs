//! What became of the commands: counts, and the lines that tell of them.
//! Unaware of how commands are run and of where the lines go.

use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::shown;

/// Commands of the list that were never started, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeverStarted {
    Exactly(u64),
    /// The list was not read to its end.
    AtLeast(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    succeeded: u64,
    failed: u64,
    cancelled: u64,
    skipped: u64,
}

impl Report {
    /// One that had been done before.
    pub(crate) fn skipped(&mut self) {
        self.skipped += 1;
    }

    pub(crate) fn all_failed(&self) -> u64 {
        self.failed
    }

    pub(crate) fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }

    pub(crate) fn succeeded(&mut self) {
        self.succeeded += 1;
    }

    /// One that was stopped because all were.
    pub(crate) fn cancelled(&mut self) {
        self.cancelled += 1;
    }

    pub(crate) fn failed(&mut self) {
        self.failed += 1;
    }

    pub(crate) fn is_success(&self) -> bool {
        self.failed + self.cancelled == 0
    }

    /// `3 commands: 2 succeeded, 1 failed in 1.25s, 2.4/s`, with `, 4 cancelled` behind the failed, and `; 6 done before`
    /// and `; 5 never started` at the end, if there were any. Programs read this: keep it.
    pub(crate) fn summary(&self, elapsed: Duration, never_started: NeverStarted) -> String {
        let all = self.ended();
        let plural = if all == 1 { "" } else { "s" };
        let (succeeded, failed) = (self.succeeded, self.failed);
        let mut line = format!("{all} command{plural}: {succeeded} succeeded, {failed} failed");
        if self.cancelled > 0 {
            let _ = write!(line, ", {} cancelled", self.cancelled);
        }
        let _ = write!(line, " in {}", shown(elapsed));
        if all > 0 {
            let _ = write!(line, ", {}/s", rate(all, elapsed));
        }
        if self.skipped > 0 {
            let _ = write!(line, "; {} done before", self.skipped);
        }
        match never_started {
            NeverStarted::Exactly(0) => {}
            NeverStarted::Exactly(commands) => {
                let _ = write!(line, "; {commands} never started");
            }
            NeverStarted::AtLeast(0) => line += "; the list was not read to its end",
            NeverStarted::AtLeast(commands) => {
                let _ = write!(line, "; at least {commands} never started");
            }
        }
        line
    }
}

/// Commands a second, to about three digits.
pub(crate) fn rate(commands: u64, elapsed: Duration) -> String {
    let rate = commands as f64 / elapsed.as_secs_f64().max(0.001);
    if rate < 100.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_one_form_and_names_the_rare_only_if_there_are_any() {
        let summary =
            |report: &Report| report.summary(Duration::from_millis(1250), NeverStarted::Exactly(0));
        let mut report = Report::default();
        assert_eq!(
            summary(&report),
            "0 commands: 0 succeeded, 0 failed in 1.25s"
        );
        assert!(report.is_success());
        report.succeeded();
        assert_eq!(
            summary(&report),
            "1 command: 1 succeeded, 0 failed in 1.25s, 0.8/s"
        );
        report.failed();
        assert_eq!(
            summary(&report),
            "2 commands: 1 succeeded, 1 failed in 1.25s, 1.6/s"
        );
        assert!(!report.is_success());
        report.cancelled();
        assert_eq!(
            summary(&report),
            "3 commands: 1 succeeded, 1 failed, 1 cancelled in 1.25s, 2.4/s"
        );
        report.skipped();
        assert_eq!(
            summary(&report),
            "3 commands: 1 succeeded, 1 failed, 1 cancelled in 1.25s, 2.4/s; 1 done before"
        );
        assert_eq!(rate(2000, Duration::from_secs(2)), "1000");
    }

    #[test]
    fn what_never_started_is_told_as_far_as_it_is_known() {
        let cases = [
            (NeverStarted::Exactly(5), "; 5 never started"),
            (NeverStarted::AtLeast(5), "; at least 5 never started"),
            (
                NeverStarted::AtLeast(0),
                "; the list was not read to its end",
            ),
        ];
        for (never_started, end) in cases {
            let summary = Report::default().summary(Duration::ZERO, never_started);
            assert_eq!(
                summary,
                format!("0 commands: 0 succeeded, 0 failed in 0.00s{end}")
            );
        }
    }

    #[test]
    fn one_that_was_only_cancelled_is_no_success() {
        let mut report = Report::default();
        report.cancelled();
        assert!(!report.is_success());
    }
}
