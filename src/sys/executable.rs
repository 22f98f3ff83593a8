//! What the kernel executes: which files, and how long their arguments may be.
//! Unaware of how programs are found.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::fd::may_execute;
use super::nul_free;

/// How long one argument or entry of the environment may be, its end not counted (`MAX_ARG_STRLEN`, execve(2)). Linux
/// alone limits each of them; the others, all of them together.
pub(crate) fn string_bytes_max() -> usize {
    if !cfg!(target_os = "linux") {
        return usize::MAX;
    }
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
