//! Pipes that are close-on-exec from birth, and what keeps them from children of other threads where that takes two calls.
//! Unaware of children.
#![allow(unsafe_code, reason = "calls on raw descriptors")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
#[cfg(target_vendor = "apple")]
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::cvt;
use crate::sys::fd::above_stdio;

/// While it is held, no child is started, and no descriptor is made that a child could inherit by accident.
///
/// macOS makes a pipe by one call and marks it by another. A lock keeps the starts of this library, by any reactor, from
/// coming between the two. Starts by others in this process still can.
#[cfg(target_vendor = "apple")]
pub(in crate::sys) struct CreationLock(
    #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>,
);

#[cfg(target_vendor = "apple")]
impl CreationLock {
    pub(in crate::sys) fn hold() -> CreationLock {
        static TURN: Mutex<()> = Mutex::new(());
        CreationLock(TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All others make and mark a pipe by one call: there is nothing to hold.
#[cfg(not(target_vendor = "apple"))]
pub(in crate::sys) struct CreationLock;

#[cfg(not(target_vendor = "apple"))]
impl CreationLock {
    pub(in crate::sys) fn hold() -> CreationLock {
        CreationLock
    }
}

/// A new pipe, its read end first. Both ends block.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let _lock = CreationLock::hold();
    pipe_under_lock()
}

/// The same, for who holds the lock.
pub(super) fn pipe_under_lock() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = new_pipe()?;
    Ok((above_stdio(read)?, above_stdio(write)?))
}

#[cfg(not(target_vendor = "apple"))]
fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two numbers.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok(own(ends))
}

#[cfg(target_vendor = "apple")]
fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two numbers.
    cvt(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    let (read, write) = own(ends);
    for end in [&read, &write] {
        // SAFETY: fcntl(2) with this command takes one number.
        cvt(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
    }
    Ok((read, write))
}

fn own(ends: [libc::c_int; 2]) -> (OwnedFd, OwnedFd) {
    // SAFETY: the call before returned two new descriptors, which have no other owner.
    let read = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let write = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    (read, write)
}

/// Our end of a pipe that we made never blocks. The child's end has flags of its own, and blocks.
pub(super) fn never_block(end: &OwnedFd) -> io::Result<()> {
    // SAFETY: fcntl(2) with this command takes one number; a new pipe has no other flags.
    cvt(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }).map(drop)
}

/// A copy, close-on-exec, at the lowest free number from `floor` on.
pub(super) fn duplicate_from(fd: libc::c_int, floor: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) with this command takes one number.
    let copy = cvt(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, floor) })?;
    // SAFETY: fcntl(2) returned a new descriptor, which has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
