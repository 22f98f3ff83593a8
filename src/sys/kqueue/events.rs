//! A private kqueue: the exit of each child, and the one timer (kqueue(2)).
//! Unaware of how children are started and reaped, and of mio, which polls it by its descriptor.
#![allow(unsafe_code, reason = "kqueue has no safe wrapper")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

#[cfg(not(execloop_kqueue_shim))]
use libc as c;
use mio::Token;

#[cfg(execloop_kqueue_shim)]
use super::shim as c;
use crate::sys::cvt;
use crate::sys::fd::above_stdio;
use crate::sys::fork::OfPoll;

/// The queue of one reactor.
#[derive(Debug)]
pub(super) struct Queue {
    fd: OfPoll<OwnedFd>,
    /// Dropped after the descriptor: a kernel would have freed all of the queue then.
    #[cfg(execloop_kqueue_shim)]
    _rest: Sweep,
}

#[cfg(execloop_kqueue_shim)]
#[derive(Debug)]
struct Sweep;

#[cfg(execloop_kqueue_shim)]
impl Drop for Sweep {
    fn drop(&mut self) {
        c::kqueue_shim_sweep();
    }
}

/// The only timer.
const TIMER: usize = 0;

/// How many exits one call takes.
const EVENTS_PER_CALL_MAX: usize = 64;

/// The unit of a timer: its flag, and how long it is.
#[cfg(not(any(target_os = "dragonfly", target_os = "netbsd", target_os = "openbsd")))]
const UNIT: (u32, Duration) = (c::NOTE_USECONDS, Duration::from_micros(1));
/// These know milliseconds alone, or (NetBSD before 10) take whatever comes for milliseconds.
#[cfg(any(target_os = "dragonfly", target_os = "netbsd", target_os = "openbsd"))]
const UNIT: (u32, Duration) = (0, Duration::from_millis(1));

/// A timer is never set for longer. The kernels' own limits are not all documented; ten years are within each.
const DELAY_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl Queue {
    pub(super) fn new() -> io::Result<Queue> {
        // SAFETY: kqueue(2) has no preconditions.
        let fd = cvt(unsafe { c::kqueue() })?;
        // SAFETY: kqueue(2) returned a new descriptor, which has no other owner.
        let fd = above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })?;
        // No fork inherits it; an exec in place of this process would.
        // SAFETY: fcntl(2) with this command takes one number.
        cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        Ok(Queue {
            fd: OfPoll::new(fd),
            #[cfg(execloop_kqueue_shim)]
            _rest: Sweep,
        })
    }

    /// Has the exit of an unreaped child announced under `token`, once. `false`: it exits already, and no event will come.
    ///
    /// Deleted first: an exit of a former process of that pid may be there still, untaken. To add it again would give
    /// that event the new token, and leave the new process unwatched.
    pub(super) fn watch_exit(&self, pid: u32, token: Token) -> io::Result<bool> {
        let ident = pid as usize;
        let delete = change(ident, c::EVFILT_PROC, c::EV_DELETE, 0, 0, 0);
        let add = change(ident, c::EVFILT_PROC, c::EV_ADD, c::NOTE_EXIT, 0, token.0);
        match self.replace(delete, add) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Makes the queue readable once, `delay` from now, in place of what was set before.
    ///
    /// Deleted first: not every kernel lets a timer that is known be set anew.
    pub(super) fn set_timer(&self, delay: Duration) -> io::Result<()> {
        let (unit, length) = UNIT;
        let units = delay.min(DELAY_MAX).as_nanos().div_ceil(length.as_nanos());
        // A deadline that has come fires at once; of zero, the kernels think differently.
        let units = i64::try_from(units.max(1)).unwrap_or(i64::MAX);
        let delete = change(TIMER, c::EVFILT_TIMER, c::EV_DELETE, 0, 0, 0);
        let flags = c::EV_ADD | c::EV_ONESHOT;
        let add = change(TIMER, c::EVFILT_TIMER, flags, unit, units, 0);
        self.replace(delete, add)
    }

    /// Takes all events. Each exit's token goes to `tell`; that a timer has fired needs no more than that the poll ended.
    pub(super) fn drain(&self, mut tell: impl FnMut(Token)) -> io::Result<()> {
        let mut events = [nothing(); EVENTS_PER_CALL_MAX];
        loop {
            let told = match self.call(&[], &mut events) {
                // This call does not wait, but a kernel may say so all the same.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                told => told?,
            };
            for event in &events[..told] {
                // A pid may be equal to the timer's number: the filter tells them apart.
                if event.filter == c::EVFILT_PROC {
                    tell(Token(event.udata as usize));
                }
            }
            if told < events.len() {
                return Ok(());
            }
        }
    }

    /// Deletes what may be there, and adds.
    fn replace(&self, delete: c::kevent, add: c::kevent) -> io::Result<()> {
        let mut changes = [delete, add];
        for change in &mut changes {
            // An answer to each, and no event taken.
            change.flags |= c::EV_RECEIPT;
        }
        let mut answers = [nothing(); 2];
        let told = loop {
            match self.call(&changes, &mut answers) {
                // The changes are made then; to make them again does no harm.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                told => break told?,
            }
        };
        let added = answers.get(1).filter(|_| told == 2);
        let number: i64 = added.map_or(libc::EIO.into(), |answer| answer.data as _);
        match i32::try_from(number) {
            Ok(0) => Ok(()),
            number => Err(io::Error::from_raw_os_error(number.unwrap_or(libc::EIO))),
        }
    }

    /// kevent(2), without waiting.
    fn call(&self, changes: &[c::kevent], events: &mut [c::kevent]) -> io::Result<usize> {
        // SAFETY: timespec is plain numbers, for which zero is valid.
        let at_once: libc::timespec = unsafe { mem::zeroed() };
        let start = if changes.is_empty() {
            ptr::null()
        } else {
            changes.as_ptr()
        };
        // SAFETY: both lists are as long as said, and the time is whole.
        let told = cvt(unsafe {
            c::kevent(
                self.fd.as_raw_fd(),
                start,
                changes.len() as _,
                events.as_mut_ptr(),
                events.len() as _,
                &raw const at_once,
            )
        })?;
        Ok(usize::try_from(told).unwrap_or(0))
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(not(target_os = "netbsd"))]
type Filter = i16;
#[cfg(not(target_os = "netbsd"))]
type Flags = u16;
#[cfg(target_os = "netbsd")]
type Filter = u32;
#[cfg(target_os = "netbsd")]
type Flags = u32;

fn nothing() -> c::kevent {
    // SAFETY: plain numbers and a pointer that is not followed, for which zero is valid.
    unsafe { mem::zeroed() }
}

/// `EV_SET`. The width of some fields differs between systems.
fn change(
    ident: usize,
    filter: Filter,
    flags: Flags,
    fflags: u32,
    data: i64,
    udata: usize,
) -> c::kevent {
    let mut change = nothing();
    change.ident = ident;
    change.filter = filter;
    change.flags = flags;
    change.fflags = fflags;
    change.data = data as _;
    change.udata = ptr::without_provenance_mut(udata);
    change
}

#[cfg(all(test, execloop_kqueue_shim))]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::sys::fd::fd_limit_soft;

    fn sleeper() -> Child {
        let mut command = Command::new("/bin/sleep");
        // A test that fails leaves it behind, with nothing that somebody waits for.
        command.arg("1000").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("a child")
    }

    /// Kills it, and leaves it to be reaped.
    fn kill(child: &mut Child) {
        child.kill().expect("a child of ours");
        // SAFETY: siginfo_t is plain data for which zero is valid.
        let mut information: libc::siginfo_t = unsafe { mem::zeroed() };
        let options = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: the structure has room for the answer.
        let waited =
            unsafe { libc::waitid(libc::P_PID, child.id(), &raw mut information, options) };
        assert_eq!(waited, 0);
    }

    fn drained(queue: &Queue) -> Vec<usize> {
        let mut told = Vec::new();
        queue.drain(|token| told.push(token.0)).expect("drained");
        told
    }

    #[test]
    fn a_descriptor_with_the_number_of_a_pid_is_not_taken_for_the_child() {
        let queue = Queue::new().expect("a queue");
        let mut child = sleeper();
        let number = child.id() as libc::c_int;
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let filter = if u64::from(child.id()) < fd_limit_soft() {
            // SAFETY: dup2(2) takes numbers; no descriptor here is as high as a pid.
            assert_eq!(unsafe { libc::dup2(reader.as_raw_fd(), number) }, number);
            writer.write_all(b"1").expect("room");
            change(number as usize, c::EVFILT_READ, c::EV_ADD, 0, 0, 55)
        } else {
            // No descriptor may have that number: an event of the program's own stands for it.
            let user = change(number as usize, c::EVFILT_USER, c::EV_ADD, 0, 0, 55);
            queue.call(&[user], &mut [nothing()]).expect("room");
            let trigger = c::NOTE_TRIGGER;
            change(number as usize, c::EVFILT_USER, 0, trigger, 0, 55)
        };
        queue.call(&[filter], &mut []).expect("room");
        assert!(queue.watch_exit(child.id(), Token(7)).expect("watched"));
        assert_eq!(drained(&queue), [], "only the descriptor has something");
        kill(&mut child);
        assert_eq!(drained(&queue), [7]);
        child.wait().expect("reaped");
        if u64::from(number.unsigned_abs()) < fd_limit_soft() {
            // SAFETY: made above, and no one else's.
            unsafe { libc::close(number) };
        }
    }

    #[test]
    fn a_change_takes_no_event_and_finds_room_however_many_wait() {
        let queue = Queue::new().expect("a queue");
        let count = 2 * EVENTS_PER_CALL_MAX + 1;
        let mut children: Vec<_> = std::iter::repeat_with(sleeper).take(count).collect();
        for (token, child) in children.iter_mut().enumerate() {
            assert!(queue.watch_exit(child.id(), Token(token)).expect("watched"));
            kill(child);
            queue.set_timer(Duration::from_secs(1000)).expect("set");
        }
        let told: BTreeSet<_> = drained(&queue).into_iter().collect();
        assert_eq!(told, (0..count).collect());
        for mut child in children {
            child.wait().expect("reaped");
        }
    }
}
