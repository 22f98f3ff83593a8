//! The one helper child of the tests: `execloop-test-helper MODE [ARGUMENT ..]`.
//! Unaware of which test calls it; each mode does one thing and says so by its output and its exit status.

use std::ffi::OsString;
use std::process::ExitCode;

mod child;
mod counts;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(mode) = arguments.next() else {
        eprintln!("usage: execloop-test-helper MODE [ARGUMENT ..]");
        return ExitCode::from(100);
    };
    let arguments: Vec<OsString> = arguments.collect();
    match mode.to_str().unwrap_or_default() {
        // Children that do one thing.
        "exit" => child::exit(&arguments),
        "echo" => child::echo(&arguments),
        _ => {
            eprintln!("execloop-test-helper: unknown mode {mode:?}");
            ExitCode::from(100)
        }
    }
}
