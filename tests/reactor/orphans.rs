//! Orphans that this process takes over, each in a process of its own: it is a matter of the whole of it.
//! Unaware of the scenarios, which the helper has.

use super::*;

#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
#[test]
fn orphans_are_reaped_and_told_and_nobody_else() {
    embed(&["orphans_are_reaped_and_told_and_nobody_else"]);
}

#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
#[test]
fn a_survivor_of_its_reactor_becomes_an_orphan() {
    embed(&["a_survivor_of_its_reactor_becomes_an_orphan"]);
}

#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
#[test]
fn many_orphans_beside_a_busy_reactor_are_all_told() {
    embed(&["many_orphans_beside_a_busy_reactor"]);
}

#[cfg(any(not(target_os = "linux"), execloop_kqueue_shim))]
#[test]
fn elsewhere_orphans_are_refused() {
    let error = execloop::linux::Orphans::adopt().expect_err("only Linux has pidfds");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}
