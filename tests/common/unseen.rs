//! Children that have exited while nobody has looked.
//! Unaware of who reaps them.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]
#![allow(unsafe_code, reason = "waitid without reaping has no safe wrapper")]

use std::io;

use super::stay::Stay;

impl Stay {
    /// Lets the child come to its end, and returns once it has exited and nobody has reaped it.
    #[track_caller]
    pub fn exit_unseen(&mut self) {
        let pid = self.pid();
        self.release();
        exited(pid);
    }
}

/// Waits until a child of this process has exited, and leaves it to be reaped.
#[track_caller]
pub fn exited(pid: u32) {
    // SAFETY: siginfo_t is plain data for which zero is valid.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: the structure has room for the answer.
    let result = unsafe { libc::waitid(libc::P_PID, pid as _, &raw mut information, options) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
