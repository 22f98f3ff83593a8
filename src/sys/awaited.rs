//! What the loop's next sleep alone ends for, besides what the poll knows: descriptors in a call of poll(2), with the
//! poll's own. For who is over soon, that costs less than to register each, and to forget it at its close.
//! Unaware of what a descriptor is of.
#![allow(unsafe_code, reason = "poll(2) has no safe wrapper")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::{Ready, Source, Stream, Tenant, cvt};

/// The descriptors that the next poll awaits.
#[derive(Default)]
pub(super) struct Awaited {
    /// The kernel refused such a call: a filter does not know it, or there are more than the process may have open now.
    pub(super) is_refused: bool,
    /// The first place is the poll's own.
    fds: Vec<libc::pollfd>,
    who: Vec<(Tenant, Source)>,
}

impl Awaited {
    pub(super) fn is_empty(&self) -> bool {
        self.who.is_empty()
    }

    /// The descriptor has to be open until `wait`.
    pub(super) fn insert(&mut self, fd: RawFd, source: Source, tenant: Tenant) {
        if self.fds.is_empty() {
            self.fds.push(entry(-1, libc::POLLIN));
        }
        let events = match source {
            Source::Stream(Stream::Stdin) => libc::POLLOUT,
            Source::Stream(Stream::Stdout | Stream::Stderr) | Source::Exit => libc::POLLIN,
        };
        self.fds.push(entry(fd, events));
        self.who.push((tenant, source));
    }

    /// Sleeps until one of them is ready, or `poll` is, which returns `true`, or `timeout` is over. Nothing is awaited any
    /// more then.
    ///
    /// # Errors
    /// `Interrupted`, by a signal, or as the call is refused.
    pub(super) fn wait(
        &mut self,
        poll: RawFd,
        timeout: Option<Duration>,
        ready: &mut VecDeque<Ready>,
    ) -> io::Result<bool> {
        let Some(first) = self.fds.first_mut() else {
            return Ok(true);
        };
        first.fd = poll;
        let count = self.fds.len() as libc::nfds_t;
        // SAFETY: the list outlives the call, which writes to its `count` entries alone.
        let polled = unsafe { libc::poll(self.fds.as_mut_ptr(), count, milliseconds(timeout)) };
        let polled = cvt(polled).map(|_| self.fds[0].revents != 0);
        if polled.is_ok() {
            ready.extend(self.ready());
        }
        self.fds.clear();
        self.who.clear();
        polled.map_err(|error| {
            self.is_refused |= error.kind() != io::ErrorKind::Interrupted;
            io::ErrorKind::Interrupted.into()
        })
    }

    fn ready(&self) -> impl Iterator<Item = Ready> {
        let answers = self.fds.iter().skip(1).zip(&self.who);
        let answers = answers.filter(|(fd, _)| fd.revents != 0);
        answers.map(|(fd, (tenant, source))| Ready {
            tenant: *tenant,
            source: *source,
            hung_up: fd.revents & (libc::POLLHUP | libc::POLLERR) != 0,
        })
    }
}

fn entry(fd: RawFd, events: libc::c_short) -> libc::pollfd {
    libc::pollfd {
        fd,
        events,
        revents: 0,
    }
}

/// As poll(2) counts, rounded up, as mio does for its own call.
fn milliseconds(timeout: Option<Duration>) -> libc::c_int {
    let Some(timeout) = timeout else {
        return -1;
    };
    let up = timeout.saturating_add(Duration::from_nanos(999_999));
    libc::c_int::try_from(up.as_millis()).unwrap_or(libc::c_int::MAX)
}
