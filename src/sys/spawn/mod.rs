//! Starting a child: what it is to do (`plan.rs`), what it does (`child.rs`), and how it is made (`linux.rs`).
//! Unaware of pipes, exits and the reactor.

mod child;
mod linux;
pub(crate) mod names;
pub(crate) mod plan;
mod raw;

pub(super) use linux::Spawner;
