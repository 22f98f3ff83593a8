//! A wait that cannot fail.
//! Unaware of the outcome.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use execloop::{CommandId, Finished, Reactor};

/// The command's outcome, which must come.
#[track_caller]
pub fn wait(reactor: &mut Reactor, id: CommandId) -> Finished {
    reactor
        .wait(id)
        .expect("poll")
        .expect("this reactor's command")
}
