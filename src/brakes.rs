//! Brakes on starts: the machine's load average, and the pressure on its processors and its memory.
//! Unaware of commands, and of who asks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::permits::{Permit, Permits};
use crate::sys::load_average;

/// The gauges are read this often, and not at all while no command waits for its start.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Clone, Debug)]
enum Gauge {
    /// How many processes ran or waited for a processor or the disk, on average over the last minute.
    Load,
    /// The share of the last ten seconds in which somebody waited, in percent: a file of `/proc/pressure`.
    Pressure(PathBuf),
}

/// All brakes of a reactor. None by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Brakes {
    gauges: Vec<(Gauge, f64)>,
    /// What was read counts until then.
    until: Option<Instant>,
    /// How many may start until then.
    left: usize,
    /// The last permit was one of those. Where nothing runs, one is given whatever the gauges say.
    is_counted: bool,
}

impl Brakes {
    pub(crate) fn on_load(&mut self, max: f64) {
        self.gauges.push((Gauge::Load, max));
    }

    /// `what` is `memory` or `cpu`.
    pub(crate) fn on_pressure(&mut self, what: &str, percent_max: f64) {
        let path = Path::new("/proc/pressure").join(what);
        self.gauges.push((Gauge::Pressure(path), percent_max));
    }

    pub(crate) fn is_none(&self) -> bool {
        self.gauges.is_empty()
    }

    /// # Errors
    /// `Unsupported` where a gauge does not exist.
    pub(crate) fn check(&self) -> io::Result<()> {
        for (gauge, _) in &self.gauges {
            gauge.read().map_err(|error| {
                let text = format!("{gauge:?} cannot be read: {error}");
                io::Error::new(io::ErrorKind::Unsupported, text)
            })?;
        }
        Ok(())
    }

    /// How many more may start. A gauge that cannot be read any more holds up no start.
    fn read(&self) -> usize {
        let mut left = usize::MAX;
        for (gauge, max) in &self.gauges {
            if let Ok(value) = gauge.read() {
                left = left.min(gauge.left(value, *max));
            }
        }
        left
    }
}

impl Gauge {
    fn read(&self) -> io::Result<f64> {
        match self {
            Gauge::Load => load_average(),
            Gauge::Pressure(path) => {
                let text = fs::read_to_string(path)?;
                some_avg10(&text).ok_or(io::ErrorKind::InvalidData.into())
            }
        }
    }

    /// A start adds 1 to the load, which the average shows only later: so only as many are let in as fit below the
    /// limit. How much a start adds to a pressure is not known.
    fn left(&self, value: f64, max: f64) -> usize {
        match self {
            Gauge::Load => (max - value).max(0.0) as usize,
            Gauge::Pressure(_) if value > max => 0,
            Gauge::Pressure(_) => usize::MAX,
        }
    }
}

impl Permits for Brakes {
    fn take(&mut self, running: usize, now: Instant) -> Permit {
        self.is_counted = running > 0;
        if !self.is_counted {
            return Permit::Granted;
        }
        let until = match self.until.filter(|until| *until > now) {
            Some(until) => until,
            None => {
                self.left = self.read();
                now + READ_AGAIN
            }
        };
        self.until = Some(until);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Permit::Granted
            }
            None => Permit::Until(until),
        }
    }

    /// The gauges will show that one has ended.
    fn give_back(&mut self) {}

    fn withdraw(&mut self) {
        if self.is_counted {
            self.left = self.left.saturating_add(1);
        }
    }
}

/// The first number of `some avg10=0.12 avg60=.. avg300=.. total=..`.
fn some_avg10(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let mut fields = some.split(' ');
    fields.find_map(|field| field.strip_prefix("avg10=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESSURE: &str = "some avg10=12.50 avg60=3.00 avg300=0.10 total=12345\n\
                            full avg10=99.00 avg60=0.00 avg300=0.00 total=0\n";

    #[test]
    fn pressure_is_the_some_line_of_ten_seconds() {
        assert_eq!(some_avg10(PRESSURE), Some(12.5));
        assert_eq!(some_avg10("full avg10=99.00 avg60=0.00\n"), None);
        assert_eq!(some_avg10("some avg60=1.00\n"), None);
    }

    #[test]
    fn as_many_start_as_fit_between_the_load_and_its_limit() {
        let left = |value, max| Gauge::Load.left(value, max);
        assert_eq!([left(1.5, 4.0), left(4.0, 4.0), left(9.0, 4.0)], [2, 0, 0]);
        let pressure = |value| Gauge::Pressure(PathBuf::new()).left(value, 10.0);
        assert_eq!([pressure(10.0), pressure(10.1)], [usize::MAX, 0]);
    }

    #[test]
    fn a_permit_that_was_for_free_is_not_counted_when_it_is_withdrawn() {
        let mut brakes = Brakes {
            gauges: vec![(Gauge::Load, 0.0)],
            ..Brakes::default()
        };
        let now = crate::sys::now();
        assert_eq!(brakes.take(1, now), Permit::Until(now + READ_AGAIN));
        for _ in 0..3 {
            assert_eq!(brakes.take(0, now), Permit::Granted);
            brakes.withdraw();
        }
        assert_eq!(brakes.take(1, now), Permit::Until(now + READ_AGAIN));
        brakes.left = 1;
        assert_eq!(brakes.take(1, now), Permit::Granted);
        brakes.withdraw();
        assert_eq!(brakes.left, 1);
    }

    #[test]
    fn a_brake_holds_until_its_gauge_is_read_again_and_never_the_only_one() {
        let directory =
            std::env::temp_dir().join(format!("execloop-brakes-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("memory");
        fs::write(&path, PRESSURE).expect("a file");
        let mut brakes = Brakes {
            gauges: vec![(Gauge::Pressure(path.clone()), 10.0)],
            ..Brakes::default()
        };
        brakes.check().expect("it is there");
        let now = crate::sys::now();
        let until = now + READ_AGAIN;
        assert_eq!(brakes.take(1, now), Permit::Until(until));
        assert_eq!(brakes.take(0, now), Permit::Granted);
        fs::write(&path, PRESSURE.replace("12.50", "1.00")).expect("a file");
        assert_eq!(brakes.take(1, now), Permit::Until(until), "not read yet");
        assert_eq!(brakes.take(1, until), Permit::Granted);
        fs::remove_dir_all(&directory).expect("it is ours");
        assert!(brakes.check().is_err());
        assert_eq!(brakes.take(1, until + READ_AGAIN), Permit::Granted);
    }

    #[test]
    fn what_was_granted_and_not_used_is_there_again() {
        let now = crate::sys::now();
        let mut brakes = Brakes {
            until: Some(now + READ_AGAIN),
            left: 1,
            ..Brakes::default()
        };
        assert_eq!(brakes.take(1, now), Permit::Granted);
        brakes.withdraw();
        assert_eq!(brakes.take(1, now), Permit::Granted);
        brakes.give_back();
        assert_eq!(brakes.take(1, now), Permit::Until(now + READ_AGAIN));
    }
}
