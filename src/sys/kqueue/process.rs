//! A child by its pid: reaped with its usage by wait4(2), signalled only until then.
//! Unaware of how it was started and of how its exit is announced.
//!
//! Without pidfds, a pid is all there is. The kernel keeps it from others as long as the child is unreaped, and only
//! `reap` ends that. What cannot be known: whether another part of the program has waited for it by its pid.
#![allow(unsafe_code, reason = "wait4 and kill")]

use std::io;
use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::sys::usage::raw_usage;
use crate::sys::{Exit, Signal, Target, cvt, process_gone};

/// A child, from its start until its handle is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    pid: u32,
    /// Its pid may belong to another process by now.
    reaped: bool,
    /// Who is left of its group is killed before it is reaped.
    sweeps_group: bool,
}

impl Child {
    pub(super) fn new(pid: libc::pid_t) -> Child {
        Child {
            pid: pid.unsigned_abs(),
            reaped: false,
            sweeps_group: false,
        }
    }

    fn raw_pid(&self) -> libc::pid_t {
        libc::pid_t::try_from(self.pid).unwrap_or(libc::pid_t::MAX)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Who is left of its group is to be killed before it is reaped.
    pub(super) fn set_sweeps_group(&mut self, sweeps_group: bool) {
        self.sweeps_group = sweeps_group;
    }

    /// Signals the child or the group that it leads: both only before it is reaped, while its number is its own.
    pub(super) fn signal(&self, target: Target, signal: Signal) -> io::Result<()> {
        let pid = self.raw_pid();
        if self.reaped || pid <= 1 {
            return Err(process_gone());
        }
        let pid = if target == Target::Group { -pid } else { pid };
        // SAFETY: kill(2) takes two numbers; the pid is that of an unreaped child, or of the group it leads.
        match cvt(unsafe { libc::kill(pid, signal.number()) }) {
            // macOS says so of a group in which nothing but the dead leader is left.
            Err(error)
                if cfg!(target_vendor = "apple")
                    && error.raw_os_error() == Some(libc::EPERM)
                    && self.is_zombie() =>
            {
                Err(process_gone())
            }
            result => result.map(drop),
        }
    }

    /// Takes the status, if the child can be waited for. Its exit may have been announced before that.
    pub(super) fn reap(&mut self) -> io::Result<Option<Exit>> {
        if self.sweeps_group {
            match self.is_waitable() {
                // The trap: it may exit right now, and be reaped below without this.
                Ok(false) => return Ok(None),
                // Until it is reaped, the group's number is this group's.
                Ok(true) => drop(self.signal(Target::Group, Signal::KILL)),
                // Somebody else has reaped it: the number may be another group's.
                Err(_) => {}
            }
        }
        let exit = self.wait(libc::WNOHANG)?;
        self.reaped |= exit.is_some();
        Ok(exit)
    }

    /// Waits for a child that is exiting because its start failed. Its status tells nothing.
    pub(super) fn reap_failed_start(self) {
        while let Err(error) = self.wait(0) {
            if error.kind() != io::ErrorKind::Interrupted {
                break;
            }
        }
    }

    fn wait(&self, options: libc::c_int) -> io::Result<Option<Exit>> {
        let mut status = 0;
        // SAFETY: rusage is plain numbers for which zero is valid.
        let mut usage: libc::rusage = unsafe { mem::zeroed() };
        // SAFETY: `status` and `usage` have room for the answer.
        let waited =
            unsafe { libc::wait4(self.raw_pid(), &raw mut status, options, &raw mut usage) };
        match cvt(waited) {
            Ok(0) => Ok(None),
            // Who has made us its tracer stops for us, which is told whatever is asked for (ptrace(2)).
            Ok(_) if libc::WIFSTOPPED(status) => Ok(None),
            Ok(_) => Ok(Some(Exit {
                status: Some(ExitStatus::from_raw(status)),
                usage: Some(raw_usage(&usage)),
                failure: None,
            })),
            // Somebody else reaped it, or the kernel itself, as SIGCHLD is ignored.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(Some(Exit {
                status: None,
                usage: None,
                failure: None,
            })),
            Err(error) => Err(error),
        }
    }

    /// It has exited and waits to be reaped.
    fn is_zombie(&self) -> bool {
        self.is_waitable().unwrap_or(false)
    }

    /// The same. An error: it is not ours to wait for any more.
    fn is_waitable(&self) -> io::Result<bool> {
        // SAFETY: siginfo_t is plain data for which zero is valid.
        let mut information: libc::siginfo_t = unsafe { mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `information` has room for the answer.
        cvt(unsafe { libc::waitid(libc::P_PID, self.pid as _, &raw mut information, options) })?;
        // Zero still, where nothing was waitable. The pid is not where libc looks for it on OpenBSD.
        Ok(information.si_signo == libc::SIGCHLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_signalled_by_a_number_that_is_not_a_childs() {
        let target = [Target::Process, Target::Group];
        // This process is there to be signalled, and its number is no child's.
        let own = std::process::id();
        for (pid, reaped) in [(0, false), (1, false), (u32::MAX, true), (own, true)] {
            let child = Child {
                pid,
                reaped,
                sweeps_group: false,
            };
            for target in target {
                let error = child
                    .signal(target, Signal::new(0).expect("zero"))
                    .expect_err("none");
                assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
            }
        }
    }
}
