//! Signals to a child, through its handle, so that a reaped child's pid is never used.
//! Unaware of why somebody signals.
#![allow(unsafe_code, reason = "pidfd_send_signal and kill")]

use std::io;
use std::os::fd::AsRawFd;

use super::exit::Child;
use super::{Signal, Target, cvt, cvt_long, is_process_gone, process_gone};

/// `PIDFD_SIGNAL_PROCESS_GROUP` (Linux 6.9).
const TO_PROCESS_GROUP: libc::c_ulong = 1 << 2;

/// Signals the child or the group that it leads. A group can be reached after its leader was reaped where the kernel
/// signals groups by pidfd; elsewhere only before, while the zombie still pins the number.
pub(super) fn signal(child: &Child, target: Target, signal: Signal) -> io::Result<()> {
    let flags = match target {
        Target::Process if child.reaped => return Err(process_gone()),
        Target::Process => 0,
        Target::Group => TO_PROCESS_GROUP,
    };
    // SAFETY: a null siginfo asks for the one that kill(2) would send.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            libc::c_long::from(child.pidfd.as_raw_fd()),
            libc::c_long::from(signal.number()),
            std::ptr::null::<libc::siginfo_t>(),
            flags,
        )
    };
    match cvt_long(sent) {
        Ok(_) => Ok(()),
        Err(error) if is_process_gone(&error) => Err(error),
        // Not known to this kernel, or refused by a filter: kill(2) gives the answer that counts.
        Err(_) => signal_by_pid(child, target, signal),
    }
}

/// For kernels and seccomp filters without the call above. Safe only until the child is reaped.
fn signal_by_pid(child: &Child, target: Target, signal: Signal) -> io::Result<()> {
    let pid = libc::pid_t::try_from(child.pid).unwrap_or(0);
    if child.reaped || pid <= 1 {
        return Err(process_gone());
    }
    let pid = if target == Target::Group { -pid } else { pid };
    // SAFETY: kill(2) takes two numbers; the pid is that of an unreaped child, or of the group it leads.
    cvt(unsafe { libc::kill(pid, signal.number()) }).map(drop)
}
