//! The Linux calls behind a queue. Each answers with its value or its error number.
//! Unaware of filters and knotes.

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use libc::c_int;

/// A value, or an error number.
pub type Answer<T> = Result<T, c_int>;

pub fn errno() -> c_int {
    std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

fn cvt(result: c_int) -> Answer<c_int> {
    if result == -1 {
        Err(errno())
    } else {
        Ok(result)
    }
}

/// From here on, if the limit allows: a kernel's queue would use no numbers at all, and tests put files at low ones.
const FLOOR: c_int = 512;

/// Owns a new descriptor, away from the numbers that others use.
fn own(result: c_int) -> Answer<OwnedFd> {
    let number = cvt(result)?;
    // SAFETY: the call before made this descriptor, and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    for floor in [FLOOR, 3] {
        if number >= floor {
            break;
        }
        // SAFETY: fcntl(2) with this command takes one number.
        if let Ok(moved) = cvt(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, floor) }) {
            // SAFETY: fcntl(2) made this descriptor, and nobody else owns it.
            return Ok(unsafe { OwnedFd::from_raw_fd(moved) });
        }
    }
    Ok(fd)
}

/// An epoll at the lowest free number, as the caller of `kqueue()` expects it.
pub fn epoll_anywhere() -> Answer<OwnedFd> {
    // SAFETY: epoll_create1(2) takes one number.
    let fd = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: epoll_create1(2) made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn epoll() -> Answer<OwnedFd> {
    // SAFETY: epoll_create1(2) takes one number.
    own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

pub fn control(epoll: RawFd, operation: c_int, fd: RawFd, events: u32, token: u64) -> Answer<()> {
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: `event` is whole and lives across the call.
    cvt(unsafe { libc::epoll_ctl(epoll, operation, fd, &raw mut event) }).map(drop)
}

/// The tokens of what is ready now, `max` at most.
pub fn ready(epoll: RawFd, max: usize) -> Answer<Vec<u64>> {
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; max.clamp(1, 1024)];
    let room = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
    // SAFETY: `events` has room for as many.
    let count = cvt(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), room, 0) })?;
    events.truncate(usize::try_from(count).unwrap_or(0));
    Ok(events.iter().map(|event| event.u64).collect())
}

/// Waits until the descriptor is readable or the time is over.
pub fn wait(fd: RawFd, timeout: Option<Duration>) -> Answer<()> {
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: one entry and the timeout live across the call; a null mask leaves the mask alone.
    cvt(unsafe { libc::ppoll(&raw mut entry, 1, timeout, ptr::null()) }).map(drop)
}

/// What poll(2) says of a descriptor now.
pub fn state(fd: RawFd, events: libc::c_short) -> libc::c_short {
    let mut entry = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one entry lives across the call, which does not wait.
    let result = unsafe { libc::poll(&raw mut entry, 1, 0) };
    if result > 0 { entry.revents } else { 0 }
}

/// An eventfd that is not readable.
pub fn flag() -> Answer<OwnedFd> {
    // SAFETY: eventfd(2) takes numbers.
    own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Makes an eventfd readable.
pub fn raise(flag: &OwnedFd) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: eight readable bytes.
    unsafe { libc::write(flag.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

/// Takes the count of an eventfd or a timerfd; 0 if there is none.
pub fn take(counter: &OwnedFd) -> u64 {
    let mut count = [0_u8; 8];
    // SAFETY: room for eight bytes.
    let read = unsafe { libc::read(counter.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    if read == 8 {
        u64::from_ne_bytes(count)
    } else {
        0
    }
}

pub fn timer() -> Answer<OwnedFd> {
    let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
    // SAFETY: timerfd_create(2) takes numbers.
    own(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })
}

/// Sets a timer in place of what it was set to; a count that nobody took is lost.
pub fn set_timer(timer: &OwnedFd, first: Duration, period: Duration) -> Answer<()> {
    let spec = |duration: Duration| libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    };
    let setting = libc::itimerspec {
        it_interval: spec(period),
        it_value: spec(first),
    };
    // SAFETY: `setting` is whole, and the old one is not asked for.
    cvt(unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const setting, ptr::null_mut()) })
        .map(drop)
}

pub fn clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` has room for the answer.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// ESRCH for what is no process, or was reaped.
pub fn pidfd(pid: usize) -> Answer<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| libc::ESRCH)?;
    // SAFETY: pidfd_open(2) takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    own(c_int::try_from(fd).unwrap_or(-1)).map_err(|errno| match errno {
        // A thread's number, or none at all.
        libc::EINVAL | libc::ENOENT => libc::ESRCH,
        errno => errno,
    })
}

/// The wait status of a child that exited, which stays as waitable as it is; also of one that was reaped, where the
/// kernel still knows (Linux 6.15).
pub fn exit_status(pidfd: &OwnedFd) -> Option<c_int> {
    // SAFETY: siginfo_t is plain data for which zero is valid.
    let mut information: libc::siginfo_t = unsafe { mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let id = pidfd.as_raw_fd().unsigned_abs();
    // SAFETY: `information` has room for the answer.
    let result = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut information, options) };
    if result == -1 {
        return status_after_reap(pidfd);
    }
    // SAFETY: waitid(2) has filled this field, or left it zero.
    if unsafe { information.si_pid() } == 0 {
        return None;
    }
    // SAFETY: as above.
    let status = unsafe { information.si_status() };
    Some(match information.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    })
}

fn status_after_reap(pidfd: &OwnedFd) -> Option<c_int> {
    /// `struct pidfd_info` of linux/pidfd.h, in its first size.
    #[repr(C)]
    struct Information {
        mask: u64,
        rest: [u32; 13],
        exit_code: c_int,
    }
    const EXIT: u64 = 1 << 3;
    let mut information = Information {
        mask: EXIT,
        rest: [0; 13],
        exit_code: 0,
    };
    let request = libc::_IOWR::<Information>(0xff, 11);
    // SAFETY: the structure is as large as the request's number says.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), request, &raw mut information) };
    (result == 0 && information.mask & EXIT != 0).then_some(information.exit_code)
}

/// Which file a descriptor leads to, and whether that is a pipe. EBADF where it leads to none.
pub fn identity(fd: RawFd) -> Answer<(u64, u64, bool)> {
    // SAFETY: stat is plain data for which zero is valid.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: `stat` has room for the answer.
    cvt(unsafe { libc::fstat(fd, &raw mut stat) })?;
    let is_pipe = stat.st_mode & libc::S_IFMT == libc::S_IFIFO;
    Ok((stat.st_dev as u64, stat.st_ino as u64, is_pipe))
}

/// The bytes that can be read, of what counts them.
pub fn unread(fd: RawFd) -> Option<i64> {
    let mut count: c_int = 0;
    // SAFETY: `count` has room for the answer.
    let result = unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut count) };
    (result == 0).then(|| count.into())
}

/// The bytes that a pipe holds at most.
pub fn capacity(fd: RawFd) -> Option<i64> {
    // SAFETY: fcntl(2) with this command takes no more.
    let bytes = unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) };
    (bytes > 0).then(|| bytes.into())
}
