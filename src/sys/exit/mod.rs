//! A child's exit as something that can be polled, and its status.
//! Unaware of pipes and jobs.

mod pidfd;

pub(super) use pidfd::{Child, check_floor};
