//! The monotonic clock: the one place where time is read.
//! Unaware of what it is read for.

use std::time::Instant;

/// What time it is, for those who have no `Kernel` at hand, too.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock is read below this boundary only"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
