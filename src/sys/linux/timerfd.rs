//! The timer as a timerfd on the monotonic clock (timerfd_create(2)).
//! Unaware of epoll.
#![allow(unsafe_code, reason = "timerfd has no safe wrapper")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use crate::sys::cvt;
use crate::sys::fd::above_stdio;

#[derive(Debug)]
pub(super) struct Timer {
    fd: OwnedFd,
}

impl Timer {
    pub(super) fn new() -> io::Result<Timer> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: timerfd_create(2) takes two numbers.
        let fd = cvt(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: timerfd_create(2) returned a new descriptor, which has no other owner.
        let fd = above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })?;
        Ok(Timer { fd })
    }

    /// Fires once, `delay` from now, in place of what was set before. Setting it also clears a firing that was not read,
    /// so no read is ever needed: each firing is an edge.
    pub(super) fn set(&self, delay: Duration) -> io::Result<()> {
        // SAFETY: itimerspec is plain numbers for which zero is valid.
        let mut setting: libc::itimerspec = unsafe { mem::zeroed() };
        // Zero would disarm; a deadline that has come fires at once.
        let delay = delay.max(Duration::from_nanos(1));
        // Some targets have 32 bits for it. One that fires after 68 years, too early, is no fault.
        setting.it_value.tv_sec = i32::try_from(delay.as_secs()).unwrap_or(i32::MAX).into();
        setting.it_value.tv_nsec = delay.subsec_nanos() as libc::c_long;
        // SAFETY: `setting` is whole, and a null pointer means that the old setting is not asked for.
        cvt(unsafe {
            libc::timerfd_settime(self.fd.as_raw_fd(), 0, &raw const setting, ptr::null_mut())
        })
        .map(drop)
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
