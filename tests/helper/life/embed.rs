//! Programs that embed a reactor, where a test needs the whole process: its limits, its signals, its children.
//! Unaware of the tests; each scenario checks itself and exits with status 0 when all is well.

use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::process::ExitCode;

use execloop::{Command, Input, Reactor};

mod ends;

/// `embed SCENARIO`.
pub(crate) fn embed(words: &[OsString]) -> ExitCode {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    match words[..] {
        ["drop_leaves_nothing_behind"] => ends::drop_leaves_nothing_behind(),
        ["drop_does_not_wait_for_a_child_that_it_cannot_kill"] => {
            ends::drop_does_not_wait_for_a_child_that_it_cannot_kill();
        }
        ["kill_that_fails_is_told_and_the_exit_awaited"] => {
            ends::kill_that_fails_is_told_and_the_exit_awaited();
        }
        _ => panic!("unknown scenario {words:?}"),
    }
    ExitCode::SUCCESS
}

fn reactor() -> Reactor {
    Reactor::new().expect("a reactor")
}

/// A `cat` that lives until the returned end is dropped, which this process's own end does, too.
fn leashed() -> (Command, PipeWriter) {
    let (stdin, leash) = io::pipe().expect("a pipe");
    let mut command = Command::new("/bin/cat");
    command.stdin(Input::file(stdin));
    (command, leash)
}
