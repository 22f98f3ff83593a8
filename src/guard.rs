//! The caller's code, called and dropped so that a panic in it ends one stream and not the loop.
//! Unaware of what that code is for.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::CallbackPanicked;

/// Calls into the caller's code; its panic becomes an error, as the loop must go on for the others.
pub(crate) fn guarded<T>(
    what: &'static str,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result,
        Err(payload) => {
            let panicked = CallbackPanicked::new(what, &*payload);
            // The panic's payload is the caller's, too. Where its drop panics as well, the second payload is leaked.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(again);
            }
            Err(panicked.into())
        }
    }
}

/// Drops something of the caller's where a panic of that is of no interest any more.
pub(crate) fn drop_callers<T>(what: &'static str, value: T) {
    let _ = drop_guarded(what, value);
}

/// Drops something of the caller's. Its drop is his code as well.
pub(crate) fn drop_guarded<T>(what: &'static str, value: T) -> io::Result<()> {
    guarded(what, || {
        drop(value);
        Ok(())
    })
}
