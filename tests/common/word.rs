//! The outcome of a command in a word, for tables.
//! Unaware of which is right.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use execloop::{Error, Finished};

pub fn word(done: &Finished) -> String {
    match &done.outcome {
        Ok(()) => "ok".to_owned(),
        Err(Error::Exit(exit)) => exit.to_string(),
        Err(Error::Stopped(cause)) => format!("stopped: {cause}"),
        Err(Error::Cancel(error)) => format!("cancel: {error}"),
        Err(Error::Kill(error)) => format!("kill: {:?}", error.kind()),
        Err(Error::WaitDelay { .. }) => "wait delay".to_owned(),
        Err(Error::Copy { stream, source }) => format!("copy {stream}: {source}"),
        Err(other) => format!("{other:?}"),
    }
}
