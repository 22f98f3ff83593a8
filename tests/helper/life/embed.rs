//! Programs that embed a reactor, where a test needs the whole process: its limits, its signals, its children.
//! Unaware of the tests; each scenario checks itself and exits with status 0 when all is well.

use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::process::ExitCode;

use execloop::{Command, CommandId, Finished, Input, Output, Reactor};

mod ends;
mod forks;
mod limits;
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
mod orphans;
mod signals;
#[cfg(target_os = "linux")]
mod statuses;

/// Each by its name.
const SCENARIOS: &[(&str, fn())] = &[
    (
        "drop_leaves_nothing_behind",
        ends::drop_leaves_nothing_behind,
    ),
    (
        "let_go_at_once_leaves_nothing_behind",
        ends::let_go_at_once_leaves_nothing_behind,
    ),
    (
        "a_pipe_that_is_closed_at_once_is_closed",
        ends::a_pipe_that_is_closed_at_once_is_closed,
    ),
    (
        "drop_does_not_wait_for_a_child_that_it_cannot_kill",
        ends::drop_does_not_wait_for_a_child_that_it_cannot_kill,
    ),
    (
        "kill_that_fails_is_told_and_the_exit_awaited",
        ends::kill_that_fails_is_told_and_the_exit_awaited,
    ),
    ("one_deadline_of_a_context", ends::one_deadline_of_a_context),
    (
        "wait_beside_a_finished_command",
        ends::wait_beside_a_finished_command,
    ),
    ("run_a_child_for_ever", ends::run_a_child_for_ever),
    ("dropped_in_a_forked_copy", forks::dropped_in_a_forked_copy),
    ("used_in_a_forked_copy", forks::used_in_a_forked_copy),
    ("kept_in_a_forked_copy", forks::kept_in_a_forked_copy),
    ("dispositions_of_a_child", signals::dispositions_of_a_child),
    (
        "one_command_raises_one_sigchld",
        signals::one_command_raises_one_sigchld,
    ),
    (
        "handler_interrupts_a_turn",
        signals::handler_interrupts_a_turn,
    ),
    #[cfg(target_os = "linux")]
    ("directory_of_the_thread", signals::directory_of_the_thread),
    #[cfg(target_os = "linux")]
    (
        "traced_child_is_asked_again",
        statuses::traced_child_is_asked_again,
    ),
    #[cfg(target_os = "linux")]
    (
        "child_that_asks_to_be_traced_has_not_ended",
        statuses::child_that_asks_to_be_traced_has_not_ended,
    ),
    #[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
    (
        "orphans_are_reaped_and_told_and_nobody_else",
        orphans::orphans_are_reaped_and_told_and_nobody_else,
    ),
    #[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
    (
        "a_survivor_of_its_reactor_becomes_an_orphan",
        orphans::a_survivor_of_its_reactor_becomes_an_orphan,
    ),
    #[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
    (
        "many_orphans_beside_a_busy_reactor",
        orphans::many_orphans_beside_a_busy_reactor,
    ),
    ("three_thousand_at_once", limits::three_thousand_at_once),
    ("no_descriptor_left", limits::no_descriptor_left),
    ("descriptors_of_others", limits::descriptors_of_others),
    (
        "descriptors_of_who_is_not_taken",
        limits::descriptors_of_who_is_not_taken,
    ),
    ("raised_limit", limits::raised_limit),
];

type Told = fn(&str);

/// Those that are told something.
const TOLD: &[(&str, Told)] = &[
    #[cfg(target_os = "linux")]
    ("statuses_taken_by_others", statuses::taken_by_others),
    ("a_thousand_with_few_descriptors", |fds| {
        limits::a_thousand_with_few_descriptors(fds.parse().expect("a number"));
    }),
];

/// `embed SCENARIO [WORD]`.
pub(crate) fn embed(words: &[OsString]) -> ExitCode {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let unknown = || -> ! { panic!("unknown scenario {words:?}") };
    match words[..] {
        [name] => {
            let found = SCENARIOS.iter().find(|(one, _)| *one == name);
            found.map_or_else(|| unknown(), |(_, scenario)| scenario());
        }
        [name, word] => {
            let found = TOLD.iter().find(|(one, _)| *one == name);
            found.map_or_else(|| unknown(), |(_, scenario)| scenario(word));
        }
        _ => unknown(),
    }
    ExitCode::SUCCESS
}

fn reactor() -> Reactor {
    Reactor::new().expect("a reactor")
}

#[track_caller]
fn wait(reactor: &mut Reactor, id: CommandId) -> Finished {
    reactor.wait(id).expect("poll").expect("this reactor's")
}

/// A script, with its stdout captured.
fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdout(Output::capture());
    command
}

/// A `cat` that lives until the returned end is dropped, which this process's own end does, too.
fn leashed() -> (Command, PipeWriter) {
    let (stdin, leash) = io::pipe().expect("a pipe");
    let mut command = Command::new("/bin/cat");
    command.stdin(Input::file(stdin));
    (command, leash)
}
