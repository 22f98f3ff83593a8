//! Starting a child: what it is to do (`plan.rs`), what it does (`child.rs`), where it is until its exec (`cradle.rs`), and
//! how it is made (`linux.rs`).
//! Unaware of pipes, exits and the reactor.

mod child;
mod cradle;
mod linux;
pub(crate) mod names;
pub(crate) mod plan;
mod raw;

pub(super) use linux::{Birth, Spawner};
