//! The one helper child of the tests: `execloop-test-helper MODE [ARGUMENT ..]`.
//! Unaware of which test calls it; each mode does one thing and says so by its output and its exit status.

use std::ffi::OsString;
use std::process::ExitCode;

// What stands under this is made of Linux's calls and of its /proc, also where the library could do without.
#[cfg(target_os = "linux")]
#[cfg_attr(
    execloop_kqueue_shim,
    allow(dead_code, reason = "the kernels without namespaces need a part of it")
)]
mod attributes;
mod bad_input;
mod child;
#[cfg(target_os = "linux")]
mod cost;
mod counts;
mod defect;
#[cfg(target_os = "linux")]
mod faults;
mod jobserver;
#[cfg(target_os = "linux")]
mod layout;
mod life;
mod look;
#[path = "../../src/bin/execloop/patient.rs"]
mod patient;
#[path = "../common/start_error.rs"]
mod start_error;
#[cfg(target_os = "linux")]
mod terminals;
#[cfg(target_os = "linux")]
mod until;

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
        "argv" => child::argv(),
        "environ" => child::environ(),
        "cwd" => child::cwd(),
        "stdin-is" => child::stdin_is(&arguments),
        "burn" => child::burn(&arguments),
        #[cfg(target_os = "linux")]
        "trace-me" => child::trace_me(),
        "describe-fds" => child::describe_fds(&arguments),
        "expect-fds" => child::expect_fds(&arguments),
        // Lookups and starts in an environment that the test chooses.
        "look" => look::look(&arguments),
        #[cfg(target_os = "linux")]
        "look-noexec" => look::look_noexec(&arguments),
        #[cfg(target_os = "linux")]
        "look-refused" => look::look_refused(&arguments),
        "start" => look::start(&arguments),
        "start-in-lost-directory" => look::start_in_lost_directory(&arguments),
        "snapshot" => look::snapshot(),
        "moving" => look::moving(),
        // What commands cost.
        #[cfg(target_os = "linux")]
        "cost" => cost::cost(&arguments),
        // What must leave nothing behind, and what needs a descriptor table of its own.
        "bad-input" => bad_input::run(&arguments),
        "starved" => bad_input::starved(),
        #[cfg(target_os = "linux")]
        "permutations" => layout::permutations(&arguments),
        #[cfg(target_os = "linux")]
        "closed-stdio" => layout::closed_stdio(),
        #[cfg(target_os = "linux")]
        "block" => layout::block(),
        #[cfg(target_os = "linux")]
        "many-extras" => layout::many_extras(),
        #[cfg(target_os = "linux")]
        "hermetic" => layout::hermetic(&arguments),
        #[cfg(target_os = "linux")]
        "closed-early" => layout::closed_early(),
        #[cfg(target_os = "linux")]
        "parent-ends" => layout::parent_ends(),
        #[cfg(target_os = "linux")]
        "dropped" => layout::dropped(),
        #[cfg(target_os = "linux")]
        "inherited" => layout::inherited(),
        #[cfg(target_os = "linux")]
        "below-the-block" => layout::below_the_block(),
        #[cfg(target_os = "linux")]
        "above-the-limit" => layout::above_the_limit(),
        "defect" => defect::run(&arguments),
        #[cfg(target_os = "linux")]
        "terminals" => terminals::many(&arguments),
        "jobserver" => jobserver::client(&arguments),
        // Children that live until they are told otherwise, and programs that embed a reactor.
        "stay" => life::stay(&arguments),
        "embed" => life::embed(&arguments),
        // A hostile kernel around a mix of commands.
        #[cfg(target_os = "linux")]
        "faults" => faults::run(&arguments),
        // Child attributes, each scenario checked in there.
        #[cfg(target_os = "linux")]
        "attributes" => attributes::run(&arguments),
        _ => {
            eprintln!("execloop-test-helper: unknown mode {mode:?}");
            ExitCode::from(100)
        }
    }
}
