//! Turns until a command was reaped.
//! Unaware of its pipes.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use execloop::{CommandId, Reactor, Signal};

/// Turns until the command was reaped; its pipes may be open.
#[track_caller]
pub fn turn_until_reaped(reactor: &mut Reactor, id: CommandId) {
    let probe = Signal::new(0).expect("a signal");
    while reactor.signal(id, probe).is_ok() {
        reactor.turn(None).expect("turn");
    }
}
