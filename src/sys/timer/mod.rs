//! One timer that ends a poll when the earliest deadline comes.
//! Unaware of what the deadlines are for.

mod timerfd;

pub(super) use timerfd::Timer;
