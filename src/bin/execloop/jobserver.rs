//! The jobserver of a run: that of who has started the program, or one of its own.
//! Unaware of commands.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::ValueEnum;
use execloop::jobserver::Jobserver;

/// The fifo of ours, if there is one.
static FIFO: OnceLock<PathBuf> = OnceLock::new();

/// Removes what would be left of a jobserver of ours by an end by a signal, from any thread.
pub(crate) fn clean_up() {
    if let Some(path) = FIFO.get() {
        // It may be gone already.
        let _ = fs::remove_file(path);
    }
}

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
    let about = |error: io::Error| format!("jobserver: {}", crate::plain(&error));
    match serve {
        Some(Way::Fifo) => {
            let jobserver = Jobserver::fifo(jobs).map_err(about)?;
            if let Some(path) = jobserver.own_fifo() {
                let _ = FIFO.set(path.to_owned());
            }
            return Ok(Some(jobserver));
        }
        Some(Way::Pipe) => return Jobserver::pipe(jobs).map(Some).map_err(about),
        None => {}
    }
    match Jobserver::from_env() {
        Ok(None) if asked_for => Err("jobserver: MAKEFLAGS names none".to_owned()),
        Err(error) if asked_for => Err(with_hint(about(error))),
        Err(error) => {
            note(format!("{}; going on without it", with_hint(about(error))));
            Ok(None)
        }
        Ok(found) => Ok(found),
    }
}

/// make names a pipe to all recipes, and opens it for those that say so.
fn with_hint(text: String) -> String {
    if std::env::var_os("MAKELEVEL").is_none() || text.contains(" at fifo:") {
        return text;
    }
    text + " (in a makefile, begin the recipe's line with +)"
}
