//! How much the machine has to do.
//! Unaware of who wants to know.
#![allow(unsafe_code, reason = "getloadavg has no safe wrapper")]

use std::io;

/// The load average of the last minute (getloadavg(3)).
pub(crate) fn load_average() -> io::Result<f64> {
    let mut averages = [0.0];
    // SAFETY: there is room for the one number that is asked for.
    let filled = unsafe { libc::getloadavg(averages.as_mut_ptr(), 1) };
    if filled == 1 {
        Ok(averages[0])
    } else {
        Err(io::ErrorKind::Unsupported.into())
    }
}
