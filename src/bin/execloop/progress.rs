//! What a user wants to know while a run goes on: how many are done, run and have failed, how fast, how long yet, and
//! what runs longest.
//! Unaware of where it is shown, and of the clock.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::clock::shown;
use crate::report::rate;

/// How a run stands.
#[derive(Debug)]
pub(crate) struct Progress {
    since: Instant,
    /// How many commands there are, once that is known.
    pub(crate) total: Option<u64>,
    /// Done before this run.
    skipped: u64,
    ended: u64,
    failed: u64,
    /// By their numbers, as they were started.
    running: BTreeMap<u64, (Instant, String)>,
}

impl Progress {
    pub(crate) fn new(since: Instant) -> Progress {
        Progress {
            since,
            total: None,
            skipped: 0,
            ended: 0,
            failed: 0,
            running: BTreeMap::new(),
        }
    }

    pub(crate) fn skipped(&mut self) {
        self.skipped += 1;
    }

    /// One more runs, or runs again.
    pub(crate) fn started(&mut self, sequence: u64, command: &str, now: Instant) {
        self.running.insert(sequence, (now, command.to_owned()));
    }

    pub(crate) fn ended(&mut self, sequence: u64, has_failed: bool) {
        self.running.remove(&sequence);
        self.ended += 1;
        self.failed += u64::from(has_failed);
    }

    pub(crate) fn done(&self) -> u64 {
        self.skipped + self.ended
    }

    /// `120/300 done, 4 running, 1 failed, 12.3/s, 20.5s left`. What failed is between `marks`.
    pub(crate) fn counts(&self, now: Instant, marks: [&str; 2]) -> String {
        let mut text = self.done().to_string();
        if let Some(total) = self.total {
            let _ = write!(text, "/{total}");
        }
        let _ = write!(text, " done, {} running", self.running.len());
        if self.failed > 0 {
            let [begin, end] = marks;
            let _ = write!(text, ", {begin}{} failed{end}", self.failed);
        }
        let elapsed = now.saturating_duration_since(self.since);
        if self.ended > 0 {
            let _ = write!(text, ", {}/s", rate(self.ended, elapsed));
        }
        if let Some(left) = self.left(elapsed) {
            let _ = write!(text, ", {} left", shown(left));
        }
        text
    }

    /// As long as it takes to do the rest as fast as what was done.
    fn left(&self, elapsed: Duration) -> Option<Duration> {
        let rest = self.total?.saturating_sub(self.done());
        if self.ended == 0 || rest == 0 {
            return None;
        }
        let seconds = elapsed.as_secs_f64() / self.ended as f64 * rest as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The commands that have been running for longest, with how long.
    pub(crate) fn longest(&self, count: usize, now: Instant) -> Vec<String> {
        let mut running: Vec<_> = self.running.values().collect();
        if count < running.len() {
            running.select_nth_unstable(count);
            running.truncate(count);
        }
        running.sort_unstable();
        let line = |(since, command): &(Instant, String)| {
            let elapsed = now.saturating_duration_since(*since);
            format!("{:>8}  {command}", shown(elapsed))
        };
        running.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn counts_say_what_is_known() {
        let since = clock::now();
        let mut progress = Progress::new(since);
        let counts = |progress: &Progress| progress.counts(since + 4 * SECOND, ["<", ">"]);
        assert_eq!(counts(&progress), "0 done, 0 running");
        progress.started(1, "a", since);
        progress.started(2, "b", since);
        assert_eq!(counts(&progress), "0 done, 2 running");
        progress.ended(1, false);
        assert_eq!(counts(&progress), "1 done, 1 running, 0.2/s");
        progress.total = Some(4);
        progress.ended(2, true);
        assert_eq!(
            counts(&progress),
            "2/4 done, 0 running, <1 failed>, 0.5/s, 4.00s left"
        );
        progress.skipped();
        assert_eq!(
            counts(&progress),
            "3/4 done, 0 running, <1 failed>, 0.5/s, 2.00s left"
        );
        // It was counted, and has got shorter since.
        progress.total = Some(2);
        assert_eq!(counts(&progress), "3/2 done, 0 running, <1 failed>, 0.5/s");
    }

    #[test]
    fn those_that_were_started_first_run_longest_and_one_that_runs_again_begins_anew() {
        let since = clock::now();
        let mut progress = Progress::new(since);
        for (sequence, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
            progress.started(sequence, name, since + SECOND * sequence as u32);
        }
        progress.started(1, "a", since + 9 * SECOND);
        progress.ended(3, false);
        let now = since + 10 * SECOND;
        assert_eq!(progress.longest(2, now), ["   8.00s  b", "   6.00s  d"]);
        assert_eq!(progress.longest(9, now).len(), 3);
        assert_eq!(progress.longest(0, now).len(), 0);
    }
}
