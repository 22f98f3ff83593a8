//! `kqueue()` and `kevent()` for Linux, with FreeBSD's C ABI: a test double, over epoll, pidfds, timerfds and eventfds.
//! Unaware of who uses it. It is for tests, and is exact where a test looks; it is not made to be fast.
//!
//! What is here follows kqueue(2) and the source of FreeBSD 14: `EVFILT_READ` and `EVFILT_WRITE` (of pipes; of sockets
//! without their counts), `EVFILT_PROC` with `NOTE_EXIT`, `EVFILT_TIMER`, `EVFILT_USER`; all actions and flags; errors
//! as events and as `errno`; `EV_RECEIPT`. `force` makes the races happen that the real kernels show once in a while.
//!
//! # What differs
//!
//! - *Closing.* A kernel takes the knotes of a descriptor away when that number is closed. Here nobody says so. A knote
//!   whose descriptor is closed, or leads to another file, tells nothing any more and goes when it is next looked at; a
//!   file that other descriptors (of a child, say) keep open may make the queue readable once more for nothing. Two
//!   eventfds, epolls or the like cannot be told apart when one takes the other's number.
//! - *A queue's own end.* What it holds (up to three descriptors, and one for each process, timer and user knote) is freed by
//!   the next `kqueue()` or `kqueue_shim_sweep()` after its number was closed.
//! - *Descriptors.* They count against the process's limit. A queue is closed by exec, and belongs to the process that
//!   made it, as a kernel's does; a copy of its number made by dup(2) is not a queue.
//! - *Oneshot knotes of descriptors* say what is so when they are told; a kernel, what was so when they became active.
//! - *Processes.* `NOTE_FORK`, `NOTE_EXEC` and `NOTE_TRACK` are refused with EOPNOTSUPP. The status of a process that is
//!   no child of this one is 0.
//! - *A known timer that is added again with nonsense* is refused with EINVAL; FreeBSD tells that by an event.
//! - *Files that epoll refuses* (EPERM: regular files, directories, `/dev/null`) are refused.
//! - *The order* of events is not that in which they became active.

mod abi;
mod force;
mod note;
mod queue;
mod sys;

use std::ptr;
use std::time::Duration;

use libc::{c_int, timespec};

pub use abi::*;
pub use force::{Force, kqueue_shim_force, kqueue_shim_forced};

/// -1, with `errno` set.
fn fail(errno: c_int) -> c_int {
    // SAFETY: the thread's own errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above; it is valid for the life of the thread.
    unsafe { *place = errno };
    -1
}

/// A new queue, or -1 and `errno`.
///
/// # Safety
/// None is needed; it is unsafe as every function of C is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqueue() -> c_int {
    queue::open().unwrap_or_else(fail)
}

/// Makes the changes, then takes events: how many, or -1 and `errno`.
///
/// # Safety
/// `changes` leads to `changes_count` changes; `events` to room for `events_count` events, which may be the same memory;
/// `timeout` is null or leads to a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent(
    queue: c_int,
    changes: *const kevent,
    changes_count: c_int,
    events: *mut kevent,
    events_count: c_int,
    timeout: *const timespec,
) -> c_int {
    let room = usize::try_from(events_count).unwrap_or(0);
    let count = usize::try_from(changes_count).unwrap_or(0);
    if (count > 0 && changes.is_null()) || (room > 0 && events.is_null()) {
        return fail(libc::EFAULT);
    }
    let queue = match queue::find(queue) {
        Ok(queue) => queue,
        Err(errno) => return fail(errno),
    };
    let mut told = 0;
    for index in 0..count {
        // SAFETY: the caller promises as many changes. An answer is written below those that were read.
        let mut change = unsafe { ptr::read(changes.wrapping_add(index)) };
        if change.filter == 0 {
            continue;
        }
        change.flags &= !EV_SYSFLAGS;
        let errno = queue.change(&change).err().unwrap_or(0);
        if errno == 0 && change.flags & EV_RECEIPT == 0 {
            continue;
        }
        // No room to tell: what comes later is not done.
        if told == room {
            return if errno == 0 {
                told_count(told)
            } else {
                fail(errno)
            };
        }
        change.flags = EV_ERROR;
        change.data = errno.into();
        // SAFETY: the caller promises room for as many events.
        unsafe { ptr::write(events.wrapping_add(told), change) };
        told += 1;
    }
    if told > 0 || room == 0 {
        return told_count(told);
    }
    // SAFETY: the caller promises a time, or null.
    let timeout = match timespec_duration(unsafe { timeout.as_ref() }) {
        Ok(timeout) => timeout,
        Err(errno) => return fail(errno),
    };
    match wait(&queue, room, timeout) {
        Err(errno) => fail(errno),
        Ok(found) => {
            // SAFETY: there are `room` events at most, and the caller promises room for them.
            unsafe { ptr::copy_nonoverlapping(found.as_ptr(), events, found.len()) };
            told_count(found.len())
        }
    }
}

fn told_count(told: usize) -> c_int {
    c_int::try_from(told).unwrap_or(c_int::MAX)
}

fn timespec_duration(timeout: Option<&timespec>) -> Result<Option<Duration>, c_int> {
    let Some(timeout) = timeout else {
        return Ok(None);
    };
    let seconds = u64::try_from(timeout.tv_sec).map_err(|_| libc::EINVAL)?;
    let nanoseconds = u32::try_from(timeout.tv_nsec).map_err(|_| libc::EINVAL)?;
    if nanoseconds >= 1_000_000_000 {
        return Err(libc::EINVAL);
    }
    Ok(Some(Duration::new(seconds, nanoseconds)))
}

fn wait(
    queue: &queue::Queue,
    room: usize,
    timeout: Option<Duration>,
) -> Result<Vec<kevent>, c_int> {
    if Force::Interrupted.is_due() {
        return Err(libc::EINTR);
    }
    let now = || sys::clock(libc::CLOCK_MONOTONIC);
    let end = timeout.map(|timeout| now().saturating_add(timeout));
    loop {
        let events = queue.collect(room)?;
        let left = end.map(|end| end.saturating_sub(now()));
        if !events.is_empty() || left == Some(Duration::ZERO) {
            return Ok(events);
        }
        sys::wait(queue.number(), left)?;
    }
}

/// Marks the `NOTE_EXIT` of a process as come, in every queue that watches it, whatever the process does. How many there
/// are.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue_shim_exit_early(pid: c_int) -> c_int {
    usize::try_from(pid).map_or(0, |pid| told_count(queue::exit_early(pid)))
}

/// Frees what is left of queues whose number was closed.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue_shim_sweep() {
    queue::sweep();
}
