//! Numbers that a user writes, and what they bound: how many run at once, when to stop, how much memory must be left.
//! Unaware of commands.

use std::fs;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// `-j`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jobs {
    Number(NonZeroUsize),
    PercentOfCores(u32),
}

impl Jobs {
    /// How many that is; at least one.
    pub(crate) fn count(self, cores: usize) -> usize {
        match self {
            Jobs::Number(number) => number.get(),
            Jobs::PercentOfCores(percent) => (cores.saturating_mul(percent as usize) / 100).max(1),
        }
    }
}

/// Of digits alone: before a number, `+` means more than it to some programs.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// At least one of something.
pub(crate) fn parse_count(text: &str) -> Result<NonZeroUsize, String> {
    match number(text) {
        Some(count) => NonZeroUsize::new(count).ok_or_else(|| "at least 1 is needed".to_owned()),
        None => Err("expected a number, such as 4".to_owned()),
    }
}

/// None or more.
pub(crate) fn parse_retries(text: &str) -> Result<u32, String> {
    number(text).ok_or_else(|| "expected a number, such as 4".to_owned())
}

/// Below 0, it is a higher priority.
pub(crate) fn parse_nice(text: &str) -> Result<i32, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let nice = number::<u32>(digits).and_then(|_| text.parse().ok());
    nice.ok_or_else(|| "expected a number, such as 4 or -4".to_owned())
}

pub(crate) fn parse_jobs(text: &str) -> Result<Jobs, String> {
    if let Some(percent) = text.strip_suffix('%') {
        return match number(percent) {
            Some(0) => Err("at least 1% is needed".to_owned()),
            Some(percent) => Ok(Jobs::PercentOfCores(percent)),
            None => Err("expected a percentage, such as 50%".to_owned()),
        };
    }
    match number(text) {
        Some(number) => match NonZeroUsize::new(number) {
            Some(number) => Ok(Jobs::Number(number)),
            None => Err("at least 1 must run".to_owned()),
        },
        None => Err("expected a number, such as 8".to_owned()),
    }
}

/// `-l`
pub(crate) fn parse_load(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(load) if load.is_finite() && load >= 0.0 && !text.starts_with('+') => Ok(load),
        _ => Err("expected a load, such as 4".to_owned()),
    }
}

/// When failures end the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    Failures(u64),
    /// Of those that have ended.
    Percent(u64),
}

/// A percentage of fewer says nothing.
const FAILURES_FOR_PERCENT_MIN: u64 = 3;

impl Halt {
    pub(crate) fn is_due(self, failed: u64, ended: u64) -> bool {
        match self {
            Halt::Failures(failures) => failed >= failures,
            Halt::Percent(percent) => {
                failed >= FAILURES_FOR_PERCENT_MIN && failed * 100 >= ended * percent
            }
        }
    }
}

pub(crate) fn parse_halt(text: &str) -> Result<Halt, String> {
    let (digits, is_percent) = match text.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    match (number(digits), is_percent) {
        (Some(number @ 1..), false) => Ok(Halt::Failures(number)),
        (Some(number @ 1..=100), true) => Ok(Halt::Percent(number)),
        _ => Err("expected a number of failures, or a percentage up to 100%".to_owned()),
    }
}

/// Reads `4096`, `512K`, `1M`, `2G`: powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err("expected a size, such as 4096, 512K, 1M or 2G".to_owned()),
    };
    let number: Option<u64> = number(digits);
    let number =
        number.ok_or_else(|| "expected a size, such as 4096, 512K, 1M or 2G".to_owned())?;
    match number.checked_mul(1 << shift) {
        Some(0) => Err("the size must not be 0".to_owned()),
        Some(size) => Ok(size),
        None => Err("the size is too large".to_owned()),
    }
}

/// What the machine must have left before a further command starts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Throttle {
    pub(crate) load_max: Option<f64>,
    pub(crate) memory_bytes_min: Option<u64>,
}

impl Throttle {
    /// Where the system does not say, nothing is held back.
    pub(crate) fn is_closed(self) -> bool {
        let is_busy = self.load_max.is_some_and(|max| {
            let runnable = fs::read_to_string("/proc/loadavg").ok();
            let runnable = runnable.and_then(|text| runnable_processes(&text));
            runnable.is_some_and(|runnable| runnable as f64 > max)
        });
        is_busy
            || self.memory_bytes_min.is_some_and(|min| {
                let available = fs::read_to_string("/proc/meminfo").ok();
                let available = available.and_then(|text| available_bytes(&text));
                available.is_some_and(|available| available < min)
            })
    }
}

/// Those that run or could run now, without this process: the mean of a minute comes too late.
fn runnable_processes(loadavg: &str) -> Option<u64> {
    let (runnable, _) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
    Some(runnable.parse::<u64>().ok()?.saturating_sub(1))
}

fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_a_number_or_a_share_of_the_cores() {
        let count = |text| parse_jobs(text).map(|jobs| jobs.count(6));
        assert_eq!(count("3"), Ok(3));
        assert_eq!(count("50%"), Ok(3));
        assert_eq!(count("250%"), Ok(15));
        assert_eq!(count("1%"), Ok(1));
        for text in ["0", "0%", "-1", "", "%", "x", "5 %"] {
            assert!(parse_jobs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_run_halts_by_number_or_by_share_from_the_third_failure_on() {
        let is_due = |text, failed, ended| parse_halt(text).map(|halt| halt.is_due(failed, ended));
        assert_eq!(is_due("2", 1, 1), Ok(false));
        assert_eq!(is_due("2", 2, 9), Ok(true));
        assert_eq!(is_due("50%", 2, 2), Ok(false));
        assert_eq!(is_due("50%", 3, 6), Ok(true));
        assert_eq!(is_due("50%", 3, 7), Ok(false));
        for text in ["0", "0%", "101%", "", "x"] {
            assert!(parse_halt(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("2k"), Ok(2048));
        assert_eq!(parse_size("1MiB"), Ok(1 << 20));
        assert_eq!(parse_size("3G"), Ok(3 << 30));
        for text in ["", "K", "1.5M", "-1", "1X", "0", "99999999999T", "9\u{e9}"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_system_says_what_runs_and_what_memory_is_left() {
        assert_eq!(runnable_processes("0.1 0.2 0.3 5/321 999\n"), Some(4));
        assert_eq!(runnable_processes("nonsense"), None);
        assert_eq!(
            available_bytes("MemFree: 1 kB\nMemAvailable:  12 kB\n"),
            Some(12 * 1024)
        );
        let closed = |load_max, memory_bytes_min| {
            Throttle {
                load_max,
                memory_bytes_min,
            }
            .is_closed()
        };
        assert!(!closed(None, None) && !closed(Some(1e9), Some(1)));
        assert!(closed(Some(-1.0), None) && closed(None, Some(u64::MAX)));
    }
}
