//! A command that must fail to start, and what is told of it.
//! Unaware of why it fails. Used by the tests and by their helper child.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use execloop::{Command, Error, Reactor, StartError};

/// What is told of a start that fails, at once or some time later. Each kind of failure has one way: what is wrong with
/// the command itself is told by `start`, and what the system says of it comes by the end.
#[track_caller]
pub fn start_error(reactor: &mut Reactor, command: &mut Command) -> StartError {
    let is_of_the_system = |error: &StartError| {
        matches!(
            error,
            StartError::Step { .. } | StartError::Interpreter { .. }
        )
    };
    let id = match reactor.start(command) {
        Ok(id) => id,
        Err(error) => {
            assert!(!is_of_the_system(&error), "{command}: {error:?} by start");
            return error;
        }
    };
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert_eq!((done.pid, done.status, done.started), (None, None, None));
    match done.outcome {
        Err(Error::Start(error)) => {
            assert!(is_of_the_system(&error), "{command}: {error:?} by its end");
            error
        }
        outcome => panic!("{command}: {outcome:?}, and it cannot start"),
    }
}
