//! `defect WHERE`: panics as the program `execloop` would, under its own hook.
//! Unaware of what is said then.

use std::ffi::OsString;
use std::fs::File;
use std::process::ExitCode;
use std::thread;

use execloop::{Command, Output};

#[path = "../../src/bin/execloop/defect.rs"]
mod hook;

/// `main`: here. `thread`: in another thread, which is waited for. `callback`: where the library would make an error of it.
/// `starved`: with all descriptors in use.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    hook::end_program_at_panic();
    let place = arguments.first().and_then(|text| text.to_str());
    match place.unwrap_or_default() {
        "main" => panic!("what nobody should read"),
        "thread" => {
            let thread = thread::spawn(|| panic!("what nobody should read"));
            let _ = thread.join();
        }
        "callback" => {
            let mut command = Command::new("echo");
            command.stdout(Output::lines(|_| panic!("what nobody should read")));
            let _ = command.run();
        }
        "starved" => {
            let mut files = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                files.push(file);
            }
            panic!("what nobody should read, with {} files open", files.len());
        }
        other => eprintln!("execloop-test-helper: no panic of the kind {other:?}"),
    }
    ExitCode::from(100)
}
