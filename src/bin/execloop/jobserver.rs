//! The jobserver of a run: that of who has started the program, or one of its own.
//! Unaware of commands.

use std::io;

use clap::ValueEnum;
use execloop::jobserver::Jobserver;

/// How commands get at a jobserver of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    Fifo,
    Pipe,
}

/// Which jobserver a run has. `Err` says why it cannot have the one that was asked for.
///
/// One that is named and not there is only noted in `note`, unless it was asked for: make names its jobserver to every
/// recipe, and opens it for some.
pub(crate) fn choose(
    asked_for: bool,
    serve: Option<Way>,
    jobs: usize,
    note: impl FnOnce(String),
) -> Result<Option<Jobserver>, String> {
    let about = |error: io::Error| format!("jobserver: {error}");
    match serve {
        Some(Way::Fifo) => return Jobserver::fifo(jobs).map(Some).map_err(about),
        Some(Way::Pipe) => return Jobserver::pipe(jobs).map(Some).map_err(about),
        None => {}
    }
    match Jobserver::from_env() {
        Ok(None) if asked_for => Err("jobserver: MAKEFLAGS names none".to_owned()),
        Err(error) if asked_for => Err(about(error)),
        Err(error) => {
            note(format!("{}; going on without it", about(error)));
            Ok(None)
        }
        Ok(found) => Ok(found),
    }
}
