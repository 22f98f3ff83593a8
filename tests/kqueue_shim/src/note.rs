//! One knote: what it watches, how a change alters it, and the event that it has to tell now.
//! Unaware of queues: it never touches an epoll, and does not know whether it is enabled.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::abi::*;
use super::sys::{self, Answer};

/// One (ident, filter) of a queue.
#[derive(Debug)]
pub struct Note {
    /// As it was added: ident, filter, flags that stay, udata, ext. `fflags` and `data` are those of the filter.
    event: kevent,
    source: Source,
}

// SAFETY: `udata` is handed back to the caller and never followed.
unsafe impl Send for Note {}

#[derive(Debug)]
enum Source {
    /// A descriptor of the caller's, and the file that it led to.
    Read(RawFd, (u64, u64, bool)),
    Write(RawFd, (u64, u64, bool)),
    /// A process; which of its events are wanted.
    Process {
        pidfd: OwnedFd,
        wanted: u32,
    },
    Timer {
        fd: OwnedFd,
    },
    /// A flag of the caller's, with the `fflags` and `data` to report.
    User {
        flag: OwnedFd,
        fflags: u32,
        data: i64,
    },
}

/// What a knote has to tell.
#[derive(Debug)]
pub enum Told {
    /// Nothing: it was not ready after all.
    Nothing,
    /// Nothing, and it is over: its file was closed, or nobody wanted to know of the exit (`EV_DROP`).
    Over,
    Event(kevent),
}

/// Flags of a change that are not the knote's.
const ACTIONS: u16 = EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE | EV_FORCEONESHOT | EV_KEEPUDATA;

impl Note {
    /// A new knote, as `EV_ADD` asks for it.
    pub fn attach(change: &kevent) -> Answer<Note> {
        let mut event = *change;
        event.flags &= !ACTIONS;
        event.fflags = 0;
        event.data = 0;
        let source = match change.filter {
            EVFILT_READ => {
                let (fd, file) = file(change.ident)?;
                Source::Read(fd, file)
            }
            EVFILT_WRITE => {
                let (fd, file) = file(change.ident)?;
                // A pipe without readers is refused here, and reported only if they go away later.
                if file.2 && sys::state(fd, 0) & libc::POLLERR != 0 {
                    return Err(libc::EPIPE);
                }
                Source::Write(fd, file)
            }
            EVFILT_PROC => {
                // NOTE_FORK, NOTE_EXEC and NOTE_TRACK have no counterpart here.
                if change.fflags & !NOTE_EXIT != 0 {
                    return Err(libc::EOPNOTSUPP);
                }
                event.flags |= EV_CLEAR;
                Source::Process {
                    pidfd: sys::pidfd(change.ident)?,
                    wanted: change.fflags,
                }
            }
            EVFILT_TIMER => {
                if change.fflags & NOTE_ABSTIME == 0 {
                    event.flags |= EV_CLEAR;
                }
                let fd = sys::timer()?;
                start_timer(&fd, event.flags, change)?;
                Source::Timer { fd }
            }
            // NOTE_TRIGGER counts for what is known already, and the control bits are taken as they are.
            EVFILT_USER => Source::User {
                flag: sys::flag()?,
                fflags: change.fflags,
                data: change.data,
            },
            _ => return Err(libc::EINVAL),
        };
        Ok(Note { event, source })
    }

    /// A change of what is known. Its flags stay what they were when it was added.
    pub fn touch(&mut self, change: &kevent) -> Answer<()> {
        match &mut self.source {
            Source::Read(..) | Source::Write(..) => {}
            Source::Process { wanted, .. } => {
                if change.fflags & !NOTE_EXIT != 0 {
                    return Err(libc::EOPNOTSUPP);
                }
                *wanted = change.fflags;
            }
            Source::Timer { fd } => {
                if change.flags & EV_ADD != 0 {
                    start_timer(fd, self.event.flags, change)?;
                }
            }
            Source::User { flag, fflags, data } => {
                if change.fflags & NOTE_TRIGGER != 0 {
                    sys::raise(flag);
                }
                let bits = change.fflags & NOTE_FFLAGSMASK;
                match change.fflags & NOTE_FFCTRLMASK {
                    NOTE_FFAND => *fflags &= bits,
                    NOTE_FFOR => *fflags |= bits,
                    NOTE_FFCOPY => *fflags = bits,
                    _ => {}
                }
                *data = change.data;
                if change.flags & EV_CLEAR != 0 {
                    sys::take(flag);
                }
            }
        }
        if change.flags & EV_KEEPUDATA == 0 {
            self.event.udata = change.udata;
        }
        Ok(())
    }

    /// It tells one event more, and is over then.
    pub fn make_oneshot(&mut self) {
        self.event.flags |= EV_ONESHOT;
    }

    pub fn has(&self, flag: u16) -> bool {
        self.event.flags & flag != 0
    }

    pub fn key(&self) -> (i16, usize) {
        (self.event.filter, self.event.ident)
    }

    pub fn is_read(&self) -> bool {
        self.event.filter == EVFILT_READ
    }

    /// The caller's descriptor, which is closed without a word to us.
    pub fn callers_fd(&self) -> Option<RawFd> {
        match self.source {
            Source::Read(fd, _) | Source::Write(fd, _) => Some(fd),
            _ => None,
        }
    }

    /// Its descriptor leads to another file than when it was added, or to none.
    pub fn is_stale(&self) -> bool {
        match self.source {
            Source::Read(fd, file) | Source::Write(fd, file) => sys::identity(fd) != Ok(file),
            _ => false,
        }
    }

    /// What becomes readable when it has something to tell, where that is a descriptor of ours.
    pub fn own_fd(&self) -> Option<RawFd> {
        match &self.source {
            Source::Read(..) | Source::Write(..) => None,
            Source::Process { pidfd: fd, .. } | Source::Timer { fd } => Some(fd.as_raw_fd()),
            Source::User { flag, .. } => Some(flag.as_raw_fd()),
        }
    }

    /// What a timer would tell that has just fired.
    pub fn stale_event(&self) -> kevent {
        kevent {
            data: 1,
            ..self.event
        }
    }

    /// What there is to tell now. With `forced` there is something in any case.
    pub fn tell(&mut self, forced: bool) -> Told {
        if self.is_stale() {
            return Told::Over;
        }
        let keeps = !self.has(EV_CLEAR) && !self.has(EV_ONESHOT);
        let is_oneshot = self.has(EV_ONESHOT);
        let mut event = self.event;
        let ready = match &self.source {
            Source::Read(fd, _) => reading(*fd, &mut event),
            Source::Write(fd, _) => writing(*fd, &mut event),
            Source::Process { pidfd, wanted } => {
                let has_exited = sys::state(pidfd.as_raw_fd(), libc::POLLIN) != 0;
                if *wanted & NOTE_EXIT == 0 {
                    return if has_exited {
                        Told::Over
                    } else {
                        Told::Nothing
                    };
                }
                event.flags |= EV_EOF | EV_ONESHOT;
                event.fflags = NOTE_EXIT;
                event.data = sys::exit_status(pidfd).unwrap_or(0).into();
                has_exited
            }
            Source::Timer { fd } if keeps => {
                event.data = 1;
                sys::state(fd.as_raw_fd(), libc::POLLIN) != 0
            }
            Source::Timer { fd } => {
                let count = i64::try_from(sys::take(fd)).unwrap_or(i64::MAX);
                event.data = count.max(1);
                count > 0
            }
            Source::User { flag, fflags, data } => {
                // The kernel copies a oneshot knote without asking its filter what to say.
                if !is_oneshot {
                    event.fflags = *fflags;
                    event.data = *data;
                }
                if keeps {
                    sys::state(flag.as_raw_fd(), libc::POLLIN) != 0
                } else {
                    sys::take(flag) != 0
                }
            }
        };
        if ready || forced {
            Told::Event(event)
        } else {
            Told::Nothing
        }
    }
}

fn file(ident: usize) -> Answer<(RawFd, (u64, u64, bool))> {
    let fd = RawFd::try_from(ident).map_err(|_| libc::EBADF)?;
    Ok((fd, sys::identity(fd)?))
}

/// `data` is what can be read. The end of the stream is an event, too.
fn reading(fd: RawFd, event: &mut kevent) -> bool {
    let state = sys::state(fd, libc::POLLIN | libc::POLLRDHUP);
    let ended = state & (libc::POLLHUP | libc::POLLRDHUP | libc::POLLERR) != 0;
    let readable = state & libc::POLLIN != 0;
    event.data = sys::unread(fd).unwrap_or(readable.into());
    if ended {
        event.flags |= EV_EOF;
    }
    ended || readable
}

/// `data` is what can be written. The end of the readers is an event, too.
fn writing(fd: RawFd, event: &mut kevent) -> bool {
    let state = sys::state(fd, libc::POLLOUT);
    let ended = state & (libc::POLLHUP | libc::POLLERR) != 0;
    if ended {
        event.flags |= EV_EOF;
        event.data = 0;
        return true;
    }
    let room = sys::capacity(fd).zip(sys::unread(fd));
    event.data = room.map_or(1, |(capacity, unread)| capacity - unread);
    state & libc::POLLOUT != 0
}

const UNITS: u32 = NOTE_SECONDS | NOTE_MSECONDS | NOTE_USECONDS | NOTE_NSECONDS;

/// Sets a timer to what a change says. Milliseconds are the unit where none is named.
fn start_timer(timer: &OwnedFd, flags: u16, change: &kevent) -> Answer<()> {
    if change.fflags & !(UNITS | NOTE_ABSTIME) != 0 {
        return Err(libc::EINVAL);
    }
    let is_oneshot = flags & EV_ONESHOT != 0;
    let mut count = u64::try_from(change.data).map_err(|_| libc::EINVAL)?;
    // A period of nothing is one of one unit.
    if !is_oneshot {
        count = count.max(1);
    }
    let asked = match change.fflags & UNITS {
        NOTE_SECONDS => Duration::from_secs(count),
        0 | NOTE_MSECONDS => Duration::from_millis(count),
        NOTE_USECONDS => Duration::from_micros(count),
        NOTE_NSECONDS => Duration::from_nanos(count),
        _ => return Err(libc::EINVAL),
    };
    let is_absolute = change.fflags & NOTE_ABSTIME != 0;
    let first = if is_absolute {
        let now = sys::clock(libc::CLOCK_REALTIME);
        let boot = now.saturating_sub(sys::clock(libc::CLOCK_BOOTTIME));
        if asked < boot {
            return Err(libc::EINVAL);
        }
        asked.saturating_sub(now)
    } else {
        asked
    };
    let period = if is_oneshot || is_absolute {
        Duration::ZERO
    } else {
        asked
    };
    // Zero would stop the timer; what has come fires at once.
    sys::set_timer(timer, first.max(Duration::from_nanos(1)), period)
}
