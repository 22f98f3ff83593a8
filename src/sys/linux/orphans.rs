//! Orphans: this process in place of init for its descendants, and children that have exited, each held by a pidfd.
//! Unaware of whose child one is.
#![allow(
    unsafe_code,
    reason = "prctl, pidfd_open and waitid have no safe wrapper"
)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::ExitStatus;

use super::process::wait;
use crate::sys::cvt;

/// From now on, whoever of this process's descendants loses its parent becomes this process's child
/// (`PR_SET_CHILD_SUBREAPER`, Linux 3.4).
pub(crate) fn become_subreaper() -> io::Result<()> {
    let (yes, nothing): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: this call of prctl(2) takes numbers.
    cvt(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, yes, nothing, nothing, nothing) })
        .map(drop)
}

/// Some child of this process has exited, and is not reaped. It is left so.
pub(crate) fn first_zombie() -> io::Result<Option<u32>> {
    look(libc::P_ALL, 0)
}

fn look(whose: libc::idtype_t, id: libc::id_t) -> io::Result<Option<u32>> {
    // SAFETY: siginfo_t is plain data for which zero is valid.
    let mut information: libc::siginfo_t = unsafe { mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the structure has room for the answer.
    let looked = cvt(unsafe { libc::waitid(whose, id, &raw mut information, options) });
    match looked {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
        looked => looked?,
    };
    // SAFETY: waitid(2) has filled in a child's, or left the zeros.
    let pid = unsafe { information.si_pid() };
    Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0))
}

/// A child that has exited: this one, whoever is given its pid later.
#[derive(Debug)]
pub(crate) struct Zombie {
    pub(crate) pid: u32,
    pidfd: OwnedFd,
}

impl Zombie {
    /// `None`: it is no child, lives, or was reaped.
    pub(crate) fn of(pid: u32) -> io::Result<Option<Zombie>> {
        // Most children live, and cost no descriptor.
        if look(libc::P_PID, pid as libc::id_t)?.is_none() {
            return Ok(None);
        }
        // SAFETY: pidfd_open(2) takes two numbers.
        let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
        if opened == -1 {
            let error = io::Error::last_os_error();
            let is_gone = error.raw_os_error() == Some(libc::ESRCH);
            return if is_gone { Ok(None) } else { Err(error) };
        }
        // SAFETY: the kernel made this descriptor for the call above, and nobody else owns it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(opened as RawFd) };
        let zombie = Zombie { pid, pidfd };
        Ok(zombie.wait(libc::WNOWAIT)?.map(|_| zombie))
    }

    /// The number of the descriptor that holds it.
    pub(crate) fn number(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }

    /// Takes its status. `None`: somebody else has.
    pub(crate) fn reap(self) -> io::Result<Option<ExitStatus>> {
        self.wait(0)
    }

    fn wait(&self, options: libc::c_int) -> io::Result<Option<ExitStatus>> {
        match wait(self.pidfd.as_fd(), libc::WEXITED | libc::WNOHANG | options) {
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            waited => Ok(waited?.and_then(|exit| exit.status)),
        }
    }
}
