//! Programs that embed a reactor, where a test needs the whole process: its limits, its signals, its children.
//! Unaware of the tests; each scenario checks itself and exits with status 0 when all is well.

use std::ffi::OsString;
use std::process::ExitCode;

/// `embed SCENARIO`.
pub(crate) fn embed(words: &[OsString]) -> ExitCode {
    let scenario = words.first().and_then(|word| word.to_str());
    match scenario.unwrap_or_default() {
        other => panic!("unknown scenario {other:?}"),
    }
}
