//! `struct rusage`, as wait4(2) fills it, or the kernel itself.
//! Unaware of whose it is.

use std::time::Duration;

use super::RawUsage;

/// macOS counts the largest resident size in bytes, all others in KiB.
const RSS_UNIT_BYTES: u64 = if cfg!(target_vendor = "apple") {
    1
} else {
    1024
};

/// What the C structure says.
pub(super) fn raw_usage(usage: &libc::rusage) -> RawUsage {
    RawUsage {
        user: duration(usage.ru_utime.tv_sec, usage.ru_utime.tv_usec),
        system: duration(usage.ru_stime.tv_sec, usage.ru_stime.tv_usec),
        rss_bytes_max: rss_bytes(usage.ru_maxrss),
        memory_bytes_peak: None,
    }
}

/// A time of the system's, in seconds and microseconds.
pub(super) fn duration(seconds: impl TryInto<u64>, microseconds: impl TryInto<u64>) -> Duration {
    Duration::from_secs(seconds.try_into().unwrap_or(0))
        + Duration::from_micros(microseconds.try_into().unwrap_or(0))
}

/// A resident size as the system counts it.
pub(super) fn rss_bytes(size: impl TryInto<u64>) -> u64 {
    let size = size.try_into().unwrap_or(0);
    size.saturating_mul(RSS_UNIT_BYTES)
}
