//! `struct rusage`, as wait4(2) fills it.
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
    let duration = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::from_secs(seconds)
            + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    RawUsage {
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        rss_bytes_max: u64::try_from(usage.ru_maxrss)
            .unwrap_or(0)
            .saturating_mul(RSS_UNIT_BYTES),
        memory_bytes_peak: None,
    }
}
