//! Signals to a child, through its handle, so that a reaped child's pid is never used; and who may be executed.
//! Unaware of why somebody signals.
#![allow(unsafe_code, reason = "pidfd_send_signal and kill")]

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::exit::Child;
use super::fd::may_execute;
use super::{Signal, Target, cvt, cvt_long, is_process_gone, nul_free, process_gone};

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

/// How long one argument or entry of the environment may be, its end not counted (`MAX_ARG_STRLEN`, execve(2)).
pub(crate) fn string_bytes_max() -> usize {
    // SAFETY: sysconf(3) takes a number and gives one.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    32 * usize::try_from(page_bytes).unwrap_or(4096) - 1
}

/// Whether `path` is a file that this process may execute: a directory is `EISDIR`, a missing bit or a `noexec` mount
/// `EACCES` (Go: `os/exec.findExecutable`). Where a seccomp filter refuses the question, the mode bits answer it.
pub(crate) fn executable(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let c_path =
        nul_free(path.as_os_str()).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    debug_assert_eq!(c_path.as_bytes(), path.as_os_str().as_bytes());
    match may_execute(&c_path) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            let allowed = metadata.permissions().mode() & 0o111 != 0;
            if allowed {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(libc::EACCES))
            }
        }
        answer => answer,
    }
}
