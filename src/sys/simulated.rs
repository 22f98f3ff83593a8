//! A kernel in memory, driven by a seed, for tests and fuzzing.
//! Unaware of the loop above it.

mod random;

pub(crate) use random::Random;
