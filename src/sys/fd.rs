//! Descriptors: `/dev/null`, copies, reads, and the limit on their number (RLIMIT_NOFILE). All close-on-exec from birth.
//! Unaware of children.
#![allow(unsafe_code, reason = "calls on raw descriptors")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use super::cvt;

/// The lowest number that our own descriptors may have: 0, 1 and 2 are the caller's, even where they are closed.
pub(super) const LOWEST: libc::c_int = 3;

/// `/dev/null`, opened `O_RDONLY` or `O_WRONLY`.
pub(super) fn open_null(access: libc::c_int) -> io::Result<OwnedFd> {
    open(c"/dev/null", access).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), format!("/dev/null: {error}")),
        _ => error,
    })
}

fn open(path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the path is a C string.
    let fd = cvt(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) })?;
    // SAFETY: open(2) returned a new descriptor, which has no other owner.
    above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a fifo for this user alone.
pub(crate) fn make_fifo(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a C string.
    cvt(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }).map(drop)
}

/// How many bytes can be read of a pipe.
pub(crate) fn bytes_in_pipe(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: ioctl(2) with this request writes one int.
    cvt(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// A copy at the lowest free number above 2.
pub(super) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) with this command takes one number.
    let copy = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, LOWEST) })?;
    // SAFETY: fcntl(2) returned a new descriptor, which has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Whether this number leads to anything.
pub(super) fn is_open(number: libc::c_int) -> bool {
    // SAFETY: fcntl(2) with this command takes no more.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Moves a new descriptor away from 0, 1 and 2, where it would be taken for the caller's stdio.
pub(crate) fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= LOWEST {
        Ok(fd)
    } else {
        duplicate(fd.as_fd())
    }
}

/// Holds 0, 1 and 2 where the parent has them closed, so that what a library opens meanwhile does not land there.
pub(super) fn take_stdio_numbers() -> io::Result<Vec<OwnedFd>> {
    let mut taken = Vec::new();
    loop {
        // SAFETY: the path is a C string.
        let fd =
            cvt(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) })?;
        // SAFETY: open(2) returned a new descriptor, which has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if fd.as_raw_fd() >= LOWEST {
            return Ok(taken);
        }
        taken.push(fd);
    }
}

fn fd_limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` has room for the answer.
    cvt(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok(limit)
}

/// A limit as the kernel has it, where libc's type may have 32 bits.
#[allow(
    clippy::unnecessary_cast,
    reason = "32 bits on some targets, 64 on others"
)]
fn wide(limit: libc::rlim_t) -> u64 {
    if limit == libc::RLIM_INFINITY {
        u64::MAX
    } else {
        limit as u64
    }
}

/// How many descriptors this process may have open.
pub(crate) fn fd_limit_soft() -> u64 {
    fd_limit().map_or(u64::MAX, |limit| wide(limit.rlim_cur))
}

/// The soft limit of descriptors from before it was raised. It is the process's, and so is this: what any reactor has
/// raised, no child of any other is to inherit.
static LIMIT_BEFORE: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit of descriptors to the hard one.
pub(crate) fn raise_fd_limit() -> io::Result<()> {
    let before = fd_limit()?;
    if before.rlim_cur == before.rlim_max {
        return Ok(());
    }
    LIMIT_BEFORE.get_or_init(|| wide(before.rlim_cur));
    let raise_to = |soft| {
        let raised = libc::rlimit {
            rlim_cur: soft,
            rlim_max: before.rlim_max,
        };
        // SAFETY: `raised` is a whole structure.
        cvt(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) }).map(drop)
    };
    match (raise_to(before.rlim_max), SOFT_MAX) {
        // macOS shows no hard limit and has one all the same.
        (Err(error), Some(soft)) if error.raw_os_error() == Some(libc::EINVAL) => {
            raise_to(soft.max(before.rlim_cur))
        }
        (result, _) => result,
    }
}

/// `OPEN_MAX` of macOS, which is always allowed.
const SOFT_MAX: Option<libc::rlim_t> = if cfg!(target_vendor = "apple") {
    Some(10_240)
} else {
    None
};

/// The soft limit to give to children, where `raise_fd_limit` has changed this process's.
pub(super) fn fd_limit_before_raise() -> Option<u64> {
    LIMIT_BEFORE.get().copied()
}

/// Appends at most `bytes_max` bytes by one read(2), straight into the vector's spare room.
pub(super) fn read_into(fd: &OwnedFd, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
    into.try_reserve(bytes_max)?;
    let room = into.spare_capacity_mut();
    let count = bytes_max.min(room.len());
    // SAFETY: `room` has `count` bytes to write to.
    let read = unsafe { libc::read(fd.as_raw_fd(), room.as_mut_ptr().cast(), count) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    let length = into.len() + read;
    // SAFETY: the kernel has written `read` bytes behind the former length, and there was room for them.
    unsafe { into.set_len(length) };
    Ok(read)
}

/// Makes calls on this open file wait. It has to be ours alone: whoever shares it would wait, too.
pub(super) fn set_blocking(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: fcntl(2) with this command takes no more.
    let flags = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: fcntl(2) with this command takes one number.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) }).map(drop)
}

/// Whether no process has the other end of this pipe (poll(2): `POLLHUP` for a reader, `POLLERR` or `POLLHUP` for a writer).
///
/// That is told unasked, but macOS and DragonFly look at nothing where nothing is asked for. `POLLIN` has them look at
/// either end; asked for `POLLOUT`, macOS calls an abandoned writer invalid (`POLLNVAL`).
pub(super) fn is_abandoned(end: &OwnedFd) -> bool {
    let mut asked = libc::pollfd {
        fd: end.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one whole structure, and no time to wait.
    let answered = unsafe { libc::poll(&raw mut asked, 1, 0) };
    answered == 1 && asked.revents & (libc::POLLHUP | libc::POLLERR) != 0
}

/// Whether a file of that kind exists and this process, by its effective ids, may execute it (faccessat(2)).
pub(super) fn may_execute(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is a C string.
    cvt(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) })
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_end_is_abandoned_when_the_other_is_closed_whatever_is_in_the_pipe() {
        for is_filled in [false, true] {
            let (reader, mut writer) = io::pipe().expect("a pipe");
            if is_filled {
                writer.write_all(b"1").expect("room");
            }
            let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
            assert!(!is_abandoned(&reader) && !is_abandoned(&writer));
            drop(writer);
            assert!(is_abandoned(&reader));
        }
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        assert!(is_abandoned(&writer.into()));
    }
}
