//! The console: this process's controlling terminal, whose foreground one child's group has while it runs.
//! Unaware of how that child is made, and of whose turn it is.
//!
//! The rules are those of a shell (POSIX, "Job Control"): only who is in the foreground gives it away; what the terminal
//! stops, stops with us; nothing is taken from others who have it by then.
#![allow(
    unsafe_code,
    reason = "the foreground of a terminal, and signals to groups"
)]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::fd::above_stdio;
use super::fork::Origin;
use super::mask::SignalMask;
use super::{Signal, cvt};

/// How long a child may take to heed SIGSTOP before it is not waited for: one between a vfork(2) and the exec of its child,
/// or in an uninterruptible sleep, does not before that ends.
const STOPS_WITHIN_MAX: Duration = Duration::from_millis(100);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// A child's hold on the terminal. Dropped, it gives the foreground back.
#[derive(Debug)]
pub(super) struct Console {
    terminal: Arc<OwnedFd>,
    /// The group that the child leads; 0 before there is a child. Its number is the child's until that is reaped, which is
    /// when this is dropped.
    group: libc::pid_t,
    /// We have stopped the child ourselves.
    is_suspended: bool,
    /// A forked copy of this process takes nothing back.
    origin: Origin,
}

impl Console {
    /// `None`: this process has no terminal.
    pub(super) fn open() -> Option<Console> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
        let terminal = above_stdio(terminal.ok()?.into());
        Some(Console {
            terminal: Arc::new(terminal.ok()?),
            group: 0,
            is_suspended: false,
            origin: Origin::new(),
        })
    }

    /// The terminal, for a child that takes its foreground. `None`: it is not ours to give, as we are in the background.
    pub(super) fn to_take(&self) -> Option<Arc<OwnedFd>> {
        self.is_ours().then(|| Arc::clone(&self.terminal))
    }

    /// The child that it is for was started.
    pub(super) fn held_by(&mut self, pid: u32) {
        self.group = libc::pid_t::try_from(pid).unwrap_or(0);
    }

    pub(super) fn is_of(&self, pid: u32) -> bool {
        libc::pid_t::try_from(pid).is_ok_and(|pid| pid == self.group)
    }

    /// Before this is sent to the child: who goes on, does so in the foreground.
    pub(super) fn before(&mut self, signal: Signal) {
        if signal == Signal::CONT {
            self.is_suspended = false;
            self.give();
        }
    }

    /// After this was sent: who is stopped needs no terminal.
    pub(super) fn after(&mut self, signal: Signal) {
        if signal == Signal::STOP {
            self.is_suspended = true;
            self.wait_until_stopped();
            self.take_back();
        }
    }

    /// Where the terminal has stopped the child's group, as by Ctrl-Z, stops ours by the same signal, as if it had been
    /// there, too. When we go on, so does the child. SIGSTOP, by the child itself or from elsewhere, is followed by SIGTSTP,
    /// which leaves us the choice: who stands in the foreground keeps the terminal from its shell.
    pub(super) fn follow_stop(&mut self) {
        let Some(signal) = self.stop() else { return };
        if self.is_suspended {
            // By us.
            return;
        }
        let signal = if signal == Signal::STOP {
            Signal::TSTP
        } else {
            signal
        };
        let lacks_terminal = signal == Signal::TTIN || signal == Signal::TTOU;
        if !(lacks_terminal && self.is_ours()) {
            self.take_back();
            stop_own_group(signal);
        }
        self.give();
        // SAFETY: kill(2) takes two numbers; the group is that of an unreaped child.
        unsafe { libc::kill(-self.group, libc::SIGCONT) };
    }

    /// A stop takes effect when the child next runs. One that waits for input would until then take a byte of what is typed
    /// for who has the terminal next: Linux's terminals look for input before they look for signals.
    #[expect(
        clippy::disallowed_methods,
        reason = "a stop is announced by SIGCHLD alone, which is the program's"
    )]
    fn wait_until_stopped(&self) {
        for _ in 0..STOPS_WITHIN_MAX.as_millis() / LOOK_AGAIN_AFTER.as_millis() {
            if self
                .change(libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT)
                .is_some()
            {
                return;
            }
            thread::sleep(LOOK_AGAIN_AFTER);
        }
    }

    /// What has stopped the child since the last time, and was not told. It is not reaped by that.
    fn stop(&self) -> Option<Signal> {
        Signal::new(self.change(libc::WSTOPPED)?)
    }

    /// The status of a change of the child's of these kinds that was not told yet: a signal, or what it exited with.
    fn change(&self, kinds: libc::c_int) -> Option<libc::c_int> {
        if self.group <= 1 {
            return None;
        }
        // SAFETY: siginfo_t is plain data for which zero is valid.
        let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = kinds | libc::WNOHANG;
        // SAFETY: `information` has room for the answer; the pid is that of an unreaped child.
        let asked =
            unsafe { libc::waitid(libc::P_PID, self.group as _, &raw mut information, options) };
        cvt(asked).ok()?;
        // Zero still, where there was no change.
        (information.si_signo == libc::SIGCHLD).then(|| status(&information))
    }

    /// Our group is in the foreground.
    fn is_ours(&self) -> bool {
        self.holder() == own_group()
    }

    /// The group in the foreground.
    fn holder(&self) -> libc::pid_t {
        // SAFETY: tcgetpgrp(3) takes a descriptor.
        unsafe { libc::tcgetpgrp(self.terminal.as_raw_fd()) }
    }

    fn give(&self) {
        if self.group > 1 && self.is_ours() {
            self.set_holder(self.group);
        }
    }

    /// From the child, or from a group in which nobody is left. Not from a shell that has put us into the background.
    fn take_back(&self) {
        let holder = self.holder();
        // SAFETY: kill(2) with no signal only asks whether the group is there.
        let is_gone = || unsafe { libc::kill(-holder, 0) } == -1 && is_nobody();
        if holder > 1 && holder != own_group() && (holder == self.group || is_gone()) {
            self.set_holder(own_group());
        }
    }

    /// tcsetpgrp(3) from the background stops the caller by SIGTTOU, unless that is blocked. A refusal leaves it as it is:
    /// the terminal has hung up, or belongs to another session by now.
    fn set_holder(&self, group: libc::pid_t) {
        let _blocked = SignalMask::block(Some(libc::SIGTTOU));
        // SAFETY: tcsetpgrp(3) takes two numbers.
        unsafe { libc::tcsetpgrp(self.terminal.as_raw_fd(), group) };
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if self.origin.is_here() {
            self.take_back();
        }
    }
}

/// What waitid(2) tells of a change.
#[cfg(not(target_os = "openbsd"))]
fn status(information: &libc::siginfo_t) -> libc::c_int {
    // SAFETY: waitid(2) has filled this field.
    unsafe { information.si_status() }
}

/// libc has these fields at other places than the system (`sys/siginfo.h`).
#[cfg(target_os = "openbsd")]
fn status(information: &libc::siginfo_t) -> libc::c_int {
    #[repr(C)]
    struct Information {
        numbers: [libc::c_int; 3],
        child: OfChild,
    }
    #[repr(C)]
    struct OfChild {
        pid: libc::pid_t,
        times: [libc::clock_t; 2],
        status: libc::c_int,
    }
    #[cfg(target_pointer_width = "64")]
    const _: () = {
        assert!(size_of::<libc::siginfo_t>() == 136);
        assert!(std::mem::offset_of!(Information, child.pid) == 16);
        assert!(std::mem::offset_of!(Information, child.status) == 40);
    };
    const _: () = assert!(size_of::<Information>() <= size_of::<libc::siginfo_t>());
    let information = (&raw const *information).cast::<Information>();
    // SAFETY: plain numbers, of which the structure has as many, and with whose alignment it begins.
    unsafe { (*information).child.status }
}

fn own_group() -> libc::pid_t {
    // SAFETY: getpgrp(2) takes nothing and does not fail.
    unsafe { libc::getpgrp() }
}

fn is_nobody() -> bool {
    io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

/// As the terminal does it: everybody in the group. Returns when somebody has let us go on, or at once where this process
/// ignores or catches the signal, or has no shell that would notice (an orphaned process group).
fn stop_own_group(signal: Signal) {
    // Unblocked again, it stops this thread there and then, and not the others first.
    let _blocked = SignalMask::block(Some(signal.number()));
    // SAFETY: kill(2) takes two numbers; 0 is our own group.
    unsafe { libc::kill(0, signal.number()) };
}
