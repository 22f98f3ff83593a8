//! Starting a child: what it is to do (`plan.rs`), what it does (`child.rs`), where it is until its exec (`cradle.rs`), and
//! how it is made (`linux.rs`).
//! Unaware of pipes, exits and the reactor.

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(execloop_kqueue_shim)
))]
mod child;
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(execloop_kqueue_shim)
))]
mod cradle;
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(execloop_kqueue_shim)
))]
mod linux;
#[cfg_attr(
    any(
        execloop_kqueue_shim,
        not(any(target_os = "linux", target_os = "android"))
    ),
    allow(dead_code, reason = "Linux uses all of it")
)]
pub(crate) mod names;
#[cfg_attr(
    any(
        execloop_kqueue_shim,
        not(any(target_os = "linux", target_os = "android"))
    ),
    allow(dead_code, reason = "Linux uses all of it")
)]
pub(crate) mod plan;
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(execloop_kqueue_shim)
))]
mod raw;

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(execloop_kqueue_shim)
))]
pub(super) use linux::{Birth, Spawner};
