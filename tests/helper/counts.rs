//! What this process holds: descriptors and children. Private to the helper, as a test harness has many threads.
//! Unaware of the library.
#![allow(unsafe_code, reason = "waitid has no safe wrapper")]

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// The open descriptors of this process, and what each leads to.
pub(crate) fn open_fds() -> BTreeMap<i32, String> {
    let mut fds = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd").expect("/proc/self/fd") {
        let entry = entry.expect("/proc/self/fd");
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let link = fs::read_link(entry.path());
        // The listing's own descriptor is the one that leads to the list, or is gone already.
        if let (Some(number), Ok(link)) = (number, link)
            && !link.ends_with(format!("proc/{}/fd", std::process::id()))
        {
            fds.insert(number, link.to_string_lossy().into_owned());
        }
    }
    fds
}

/// Fails unless the open descriptors are those of `before`.
#[track_caller]
pub(crate) fn assert_fds(before: &BTreeMap<i32, String>) {
    assert_eq!(&open_fds(), before, "descriptors were left open or lost");
}

/// Fails if this process has any child, alive or a zombie.
#[track_caller]
pub(crate) fn assert_no_children() {
    // SAFETY: siginfo_t is plain data for which zero is valid.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the structure has room for the answer.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut information, options) };
    let error = io::Error::last_os_error();
    assert!(
        result == -1 && error.raw_os_error() == Some(libc::ECHILD),
        "a child is left"
    );
}

/// Waits until this child has exited, or any, and leaves it as it is. Returns its exit status, or the signal that ended it.
pub(crate) fn wait_for_exit(of: Option<u32>) -> i32 {
    let (kind, pid) = of.map_or((libc::P_ALL, 0), |pid| (libc::P_PID, pid as libc::id_t));
    // SAFETY: siginfo_t is plain data for which zero is valid.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: the structure has room for the answer.
    while unsafe { libc::waitid(kind, pid, &raw mut information, options) } == -1 {
        let error = io::Error::last_os_error();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted, "waitid: {error}");
    }
    // SAFETY: waitid(2) has filled it in.
    unsafe { information.si_status() }
}

/// Sets the soft limit of descriptors; returns what it was.
pub(crate) fn set_soft_fd_limit(soft: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure has room for the answer.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(result, 0);
    let before = std::mem::replace(&mut limit.rlim_cur, soft);
    // SAFETY: the structure is whole.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    before
}
