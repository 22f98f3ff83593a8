//! A child whose status another part of the program has taken.
//! Unaware of what the library makes of it.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]
#![allow(unsafe_code, reason = "waitpid has no safe wrapper")]

use std::io;

use super::kernel::kernel_is_at_least;

/// Takes a child's status away, as a careless part of the program would.
#[track_caller]
pub fn steal_status(pid: u32) {
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    // SAFETY: a null pointer means that the status is not asked for.
    let stolen = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    assert_eq!(stolen, pid, "{}", io::Error::last_os_error());
}

/// Whether the kernel keeps the status of a child that was reaped elsewhere. Says so if not.
pub fn keeps_statuses() -> bool {
    let keeps = !cfg!(execloop_kqueue_shim) && kernel_is_at_least((6, 15));
    if !keeps {
        eprintln!("skipped: before Linux 6.15 the status of a reaped child is lost");
    }
    keeps
}
