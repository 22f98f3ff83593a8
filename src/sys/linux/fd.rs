//! What Linux does with descriptors in one call each: pipes that never block, larger pipes, copies onto a number.
//! Unaware of children.
#![allow(unsafe_code, reason = "calls on raw descriptors")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::sys::cvt;
use crate::sys::fd::{LOWEST, above_stdio, duplicate};

/// A new pipe, its read end first. Neither end blocks: the child makes its own one block before its exec, as each end has
/// flags of its own, and so that this costs the parent nothing.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two numbers.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: pipe2(2) returned two new descriptors, which have no other owner.
    let read = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let write = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((above_stdio(read)?, above_stdio(write)?))
}

/// Asks for a larger pipe. Beyond the user's quota the kernel refuses, and the pipe stays as it is.
pub(super) fn set_pipe_bytes(end: &OwnedFd, bytes: libc::c_int) {
    // SAFETY: fcntl(2) with this command takes one number.
    unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
}

/// Makes `place`'s number lead to what `fd` leads to, in one step: the number is never free meanwhile.
pub(super) fn duplicate_onto(fd: BorrowedFd<'_>, place: &OwnedFd) -> io::Result<()> {
    loop {
        // SAFETY: dup3(2) takes numbers; `place` is ours, so no other code relies on what it led to.
        let result = cvt(unsafe { libc::dup3(fd.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) });
        match result {
            // EBUSY: another thread's open(2) looked at this number at the same instant.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {}
            result => return result.map(drop),
        }
    }
}

/// The same, for a descriptor that must not be lost: where there is no room for a copy it stays where it is.
pub(super) fn above_stdio_if_possible(fd: OwnedFd) -> OwnedFd {
    if fd.as_raw_fd() >= LOWEST {
        return fd;
    }
    duplicate(fd.as_fd()).unwrap_or(fd)
}
