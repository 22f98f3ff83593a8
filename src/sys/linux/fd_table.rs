//! The size of this process's descriptor table. The kernel makes it larger when a number needs that, and where anybody shares
//! the table meanwhile, it first waits until no processor can be looking at the old one (`synchronize_rcu` in fs/file.c):
//! for milliseconds, in whatever call of ours needed the number. Children on their way share it, so it grows ahead of them.
//! Unaware of how they are made.
#![allow(unsafe_code, reason = "calls on raw descriptors")]

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::sys::cvt;
use crate::sys::fd::fd_limit_soft;

/// What a process begins with.
const NUMBERS_MIN: u32 = 64;

/// How many numbers the table has room for, as far as is known.
#[derive(Debug)]
pub(super) struct FdTable {
    numbers: u32,
    /// The highest number that was seen.
    highest: u32,
}

impl FdTable {
    pub(super) fn new() -> FdTable {
        FdTable {
            numbers: NUMBERS_MIN,
            highest: 0,
        }
    }

    pub(super) fn note(&mut self, number: i32) {
        self.highest = self.highest.max(number.unsigned_abs());
    }

    /// More than half of it is in use: it is time to let it grow, as soon as no child shares it.
    pub(super) fn is_short(&self) -> bool {
        self.highest >= self.numbers / 2
    }

    /// Lets it grow, by a copy of `any` at a high number, for an instant. Where this process has other threads, they share the
    /// table all the time, and it grows when it must.
    #[cold]
    pub(super) fn grow(&mut self, any: BorrowedFd<'_>) {
        self.numbers = 2 * (self.highest + 1).next_power_of_two();
        let end = u64::from(self.numbers).min(fd_limit_soft());
        if has_other_threads() {
            return;
        }
        let Ok(last) = libc::c_int::try_from(end.saturating_sub(1)) else {
            return;
        };
        // SAFETY: fcntl(2) with this command takes one number.
        let copy = cvt(unsafe { libc::fcntl(any.as_raw_fd(), libc::F_DUPFD_CLOEXEC, last) });
        if let Ok(copy) = copy {
            // SAFETY: fcntl(2) returned a new descriptor, which has no other owner.
            drop(unsafe { OwnedFd::from_raw_fd(copy) });
        }
    }
}

/// Also where that cannot be known.
fn has_other_threads() -> bool {
    let stat = fs::read_to_string("/proc/self/stat");
    stat.ok().as_deref().and_then(threads) != Some(1)
}

/// `num_threads` of proc_pid_stat(5), counted from the end of the name, which may hold anything.
fn threads(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(17)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::fd::open_null;

    #[test]
    fn a_table_is_short_when_half_of_it_is_in_use_and_then_grows_to_more_than_twice_of_that() {
        let mut table = FdTable::new();
        let null = open_null(libc::O_RDONLY).expect("null");
        let mut grown = Vec::new();
        for number in 3..1000 {
            table.note(number);
            if table.is_short() {
                table.grow(null.as_fd());
                grown.push((number, table.numbers));
            }
        }
        assert_eq!(
            grown,
            [(32, 128), (64, 256), (128, 512), (256, 1024), (512, 2048)]
        );
        table.note(7);
        assert!(!table.is_short(), "the highest counts");
    }

    #[test]
    fn threads_are_counted_whatever_the_programs_name() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 23 0 5";
        assert_eq!(threads(stat), Some(23));
        let started = std::thread::spawn(has_other_threads).join();
        assert!(started.expect("it runs"), "there is at least that one");
    }
}
