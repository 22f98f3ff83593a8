//! Writes to pipes that raise no SIGPIPE, whatever the program does with that signal.
//! Unaware of what is written, and of children.
#![allow(unsafe_code, reason = "pwritev2, fcntl, and a signal mask")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

/// `RWF_NOSIGNAL` (Linux 6.18): a write to a pipe without a reader fails with `EPIPE`, and that is all.
#[cfg(target_os = "linux")]
const NO_SIGNAL: libc::c_int = 0x100;

/// The signal is raised for the process, so that any thread may take it: whether at all, the open file says.
const BY_FILE: bool = cfg!(any(target_vendor = "apple", target_os = "netbsd"));

/// How to write. Where neither kernel nor file can do it, the signal is blocked around each write and taken back: two calls
/// more. Linux, FreeBSD, OpenBSD and DragonFly raise it for the writing thread alone.
/// To leave them out where SIGPIPE is ignored would mean to ask first, and another thread may change the answer.
#[derive(Debug)]
pub(super) struct QuietWrites {
    /// The flag has not been refused.
    has_flag: bool,
}

impl QuietWrites {
    pub(super) fn new() -> QuietWrites {
        QuietWrites {
            has_flag: cfg!(target_os = "linux"),
        }
    }

    /// One write.
    pub(super) fn write(&mut self, fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        if self.has_flag {
            match write_with_flag(fd, bytes) {
                Err(error) if is_refusal(&error) => self.has_flag = false,
                result => return result,
            }
        }
        if BY_FILE {
            return write_plainly(fd, bytes);
        }
        let block = SigpipeBlock::new()?;
        let result = write_plainly(fd, bytes);
        if let Err(error) = &result
            && error.raw_os_error() == Some(libc::EPIPE)
        {
            block.take_back();
        }
        result
    }
}

/// Whether writes to this open file raise SIGPIPE, as far as the file says. Ours must not, and others' do.
#[cfg(any(target_vendor = "apple", target_os = "netbsd"))]
pub(super) fn set_raises_sigpipe(end: &OwnedFd, raises: bool) -> io::Result<()> {
    let is_quiet = libc::c_int::from(!raises);
    // SAFETY: fcntl(2) with this command takes one number.
    super::cvt(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETNOSIGPIPE, is_quiet) }).map(drop)
}

#[cfg(not(any(target_vendor = "apple", target_os = "netbsd")))]
pub(super) fn set_raises_sigpipe(_end: &OwnedFd, _raises: bool) -> io::Result<()> {
    Ok(())
}

/// An older kernel, or a seccomp filter. No pipe answers a plain write so; if one did, the plain write would say it again.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::EPERM];
    error
        .raw_os_error()
        .is_some_and(|number| refusals.contains(&number))
}

/// No other kernel has the flag.
#[cfg(not(target_os = "linux"))]
fn write_with_flag(_fd: &OwnedFd, _bytes: &[u8]) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

/// By number, as musl has the function since 1.2.5 only.
#[cfg(target_os = "linux")]
fn write_with_flag(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    let part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // Both halves of an offset of -1: wherever the file stands, as with write(2).
    let here: libc::c_long = -1;
    // SAFETY: `part` is one readable piece, and the count says one.
    let written = unsafe {
        libc::syscall(
            libc::SYS_pwritev2,
            libc::c_long::from(fd.as_raw_fd()),
            &raw const part,
            1 as libc::c_long,
            here,
            here,
            libc::c_long::from(NO_SIGNAL),
        )
    };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// One write, of a descriptor that raises no signal or while that is blocked.
pub(super) fn write_plainly(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: `bytes` is readable for its length.
    let written = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// SIGPIPE blocked on this thread, until dropped. A write raises it for the writing thread alone.
struct SigpipeBlock {
    set: libc::sigset_t,
    /// The mask to put back, if it was another.
    before: Option<libc::sigset_t>,
    was_pending: bool,
}

impl SigpipeBlock {
    fn new() -> io::Result<SigpipeBlock> {
        let set = sigpipe();
        let mut before = empty();
        // SAFETY: both sets are whole.
        let result =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        // One that was not blocked cannot have been pending.
        let was_blocked = contains_sigpipe(&before);
        Ok(SigpipeBlock {
            set,
            before: (!was_blocked).then_some(before),
            was_pending: was_blocked && is_pending(),
        })
    }

    /// After a write that has raised it: makes it unraised, unless it was pending before, when it still is just once.
    fn take_back(&self) {
        if self.was_pending {
            return;
        }
        take_pending(&self.set);
    }
}

impl Drop for SigpipeBlock {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // SAFETY: the set is whole, and the present mask is not asked for.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
        }
    }
}

/// Takes one signal of the set, if one is pending.
#[cfg(not(any(target_vendor = "apple", target_os = "openbsd")))]
fn take_pending(set: &libc::sigset_t) {
    // SAFETY: timespec is plain numbers, for which zero is valid.
    let at_once: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the set and the time are whole, and nothing is asked of the signal.
    let take = || unsafe { libc::sigtimedwait(set, ptr::null_mut(), &raw const at_once) };
    while take() == -1 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {}
}

/// The same by sigwait(3), which has no limit of time. The write has raised the signal for this thread alone, so nobody else
/// can take it between the two calls. macOS has no better one, and does not get here.
#[cfg(any(target_vendor = "apple", target_os = "openbsd"))]
fn take_pending(set: &libc::sigset_t) {
    if is_pending() {
        let mut signal = 0;
        // SAFETY: the set is whole, and there is room for the signal's number.
        unsafe { libc::sigwait(set, &raw mut signal) };
    }
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) fills the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: as said.
    unsafe { set.assume_init() }
}

fn sigpipe() -> libc::sigset_t {
    let mut set = empty();
    // SAFETY: the set is whole.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGPIPE) };
    set
}

fn contains_sigpipe(set: &libc::sigset_t) -> bool {
    // SAFETY: the set is whole.
    unsafe { libc::sigismember(set, libc::SIGPIPE) == 1 }
}

fn is_pending() -> bool {
    let mut pending = empty();
    // SAFETY: the set has room for the answer.
    let result = unsafe { libc::sigpending(&raw mut pending) };
    result == 0 && contains_sigpipe(&pending)
}
