//! A queue as the tests use it, through the C functions alone.
//! Unaware of any single test.
#![allow(dead_code, reason = "each test file uses the part that it needs")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Child, Command, Stdio};
use std::ptr;

use kqueue_shim::*;
use libc::{c_int, timespec};

pub const NOW: Option<timespec> = Some(timespec {
    tv_sec: 0,
    tv_nsec: 0,
});

pub struct Queue(pub OwnedFd);

impl Queue {
    pub fn new() -> Queue {
        // SAFETY: it has no preconditions.
        let number = unsafe { kqueue() };
        assert!(number >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: kqueue() made this descriptor.
        Queue(unsafe { OwnedFd::from_raw_fd(number) })
    }

    pub fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes changes, and hands out what the call tells, `room` events at most.
    pub fn call(
        &self,
        changes: &[kevent],
        room: usize,
        timeout: Option<timespec>,
    ) -> Result<Vec<kevent>, c_int> {
        call(self.number(), changes, room, timeout)
    }

    /// Makes one change that succeeds.
    #[track_caller]
    pub fn change(&self, change: kevent) {
        let told = self.call(&[change], 0, NOW);
        assert_eq!(told.map(|told| told.len()), Ok(0), "{change:?}");
    }

    /// The error number of one change.
    #[track_caller]
    pub fn refusal(&self, change: kevent) -> c_int {
        let told = self.call(&[change], 1, NOW).expect("there is room");
        assert_eq!((told.len(), told[0].flags), (1, EV_ERROR), "{change:?}");
        let alone = self
            .call(&[change], 0, NOW)
            .expect_err("no room for the error");
        assert_eq!(i64::from(alone), told[0].data);
        alone
    }

    /// What is there now.
    #[track_caller]
    pub fn now(&self) -> Vec<kevent> {
        self.call(&[], 16, NOW).expect("a queue")
    }

    /// Waits for one event.
    #[track_caller]
    pub fn next(&self) -> kevent {
        let told = self.call(&[], 1, None).expect("a queue");
        assert_eq!(told.len(), 1);
        told[0]
    }

    pub fn is_readable(&self) -> bool {
        let mut entry = libc::pollfd {
            fd: self.number(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry.
        unsafe { libc::poll(&raw mut entry, 1, 0) == 1 }
    }
}

pub fn call(
    queue: RawFd,
    changes: &[kevent],
    room: usize,
    timeout: Option<timespec>,
) -> Result<Vec<kevent>, c_int> {
    let mut events = vec![set(0, 0, 0); room];
    // SAFETY: the counts are those of the two lists.
    let told = unsafe {
        kevent(
            queue,
            changes.as_ptr(),
            changes.len() as c_int,
            events.as_mut_ptr(),
            room as c_int,
            timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
        )
    };
    if told < 0 {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    events.truncate(told as usize);
    Ok(events)
}

pub fn set(ident: usize, filter: i16, flags: u16) -> kevent {
    with(ident, filter, flags, 0, 0)
}

pub fn with(ident: usize, filter: i16, flags: u16, fflags: u32, data: i64) -> kevent {
    kevent::new(ident, filter, flags, fflags, data, ptr::null_mut())
}

pub fn udata(number: usize) -> *mut std::ffi::c_void {
    ptr::without_provenance_mut(number)
}

/// The read end and the write end, neither of which blocks.
pub fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: room for two numbers.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
    assert_eq!(made, 0);
    // SAFETY: pipe2(2) made both.
    ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) }).into()
}

pub fn ident(fd: &impl AsRawFd) -> usize {
    fd.as_raw_fd() as usize
}

pub fn write(fd: &OwnedFd, bytes: &[u8]) -> isize {
    // SAFETY: readable bytes.
    unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) }
}

pub fn read(fd: &OwnedFd, max: usize) -> isize {
    let mut bytes = vec![0_u8; max];
    // SAFETY: room for as many bytes.
    unsafe { libc::read(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), max) }
}

/// A child that runs until its stdin ends.
pub fn sleeper() -> Child {
    Command::new("/bin/cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("cat")
}

pub fn shell(script: &str) -> Child {
    Command::new("/bin/sh")
        .args(["-c", script])
        .spawn()
        .expect("sh")
}

/// Waits until the child has exited, and leaves it to be waited for.
pub fn await_exit(child: &Child) {
    // SAFETY: zero is a valid siginfo_t.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: room for the answer.
    let result = unsafe {
        libc::waitid(
            libc::P_PID,
            child.id(),
            &raw mut information,
            libc::WEXITED | libc::WNOWAIT,
        )
    };
    assert_eq!(result, 0);
}
