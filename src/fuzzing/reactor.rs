//! The loop over a simulated machine: commands, children, weather and the caller's calls are decided by the bytes.

use crate::engine::simulation::run;
use crate::sys::simulated::Random;

/// Runs one simulation, and checks everything that the loop promises.
///
/// When the bytes are used up, a seed that is made of them decides the rest.
pub fn reactor(data: &[u8]) {
    run(Random::of_bytes(data));
}
