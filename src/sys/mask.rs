//! Signals blocked on one thread for a while, by libc's calls.
//! Unaware of what must not be disturbed meanwhile.
#![allow(unsafe_code, reason = "signal masks")]

use std::mem::MaybeUninit;
use std::ptr;

/// Signals blocked on this thread, until dropped.
pub(super) struct SignalMask {
    pub(super) before: libc::sigset_t,
}

impl SignalMask {
    /// Blocks this signal too; `None`: all.
    pub(super) fn block(signal: Option<libc::c_int>) -> SignalMask {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        match signal {
            // SAFETY: sigfillset(3) fills the set.
            None => unsafe { libc::sigfillset(set.as_mut_ptr()) },
            Some(signal) => {
                // SAFETY: sigemptyset(3) fills the set.
                unsafe { libc::sigemptyset(set.as_mut_ptr()) };
                // SAFETY: the set was filled.
                unsafe { libc::sigaddset(set.as_mut_ptr(), signal) }
            }
        };
        // SAFETY: the first set was filled, the second has room for the answer.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr()) };
        SignalMask {
            // SAFETY: pthread_sigmask(3) has filled it: it fails for an unknown first argument alone.
            before: unsafe { before.assume_init() },
        }
    }
}

impl Drop for SignalMask {
    fn drop(&mut self) {
        // SAFETY: the set is whole, and the present one is not asked for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}
