//! How new the kernel is.
//! Unaware of what depends on it.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

pub fn kernel_is_at_least(version: (u32, u32)) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(version.0), Some(version.1))
}
