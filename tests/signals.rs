//! Signals: what a child inherits of them, what the embedding program sees, and what it may do with SIGCHLD.
//! Unaware of the fallbacks of the start, under which `attributes.rs` runs the same rules.

#[path = "common"]
mod common {
    pub mod embed;
    pub mod helper;
    pub mod helper_path;
    mod watchdog;
}

use common::embed::embed;

#[test]
fn ignored_signals_stay_ignored_caught_ones_are_default_and_the_mask_is_the_callers() {
    embed(&["dispositions_of_a_child"]);
}

#[test]
fn sigpipe_is_default_in_a_child_though_rust_ignores_it() {
    // By the status: `cat` dies of it when its reader goes away.
    let mut reactor = execloop::Reactor::new().expect("a reactor");
    let mut command = execloop::Command::new("cat");
    command.arg("/dev/zero").stdout(execloop::Output::pipe());
    let id = reactor.start(&mut command).expect("start");
    reactor.stdout(id).expect("a pipe").close();
    let done = reactor.wait(id).expect("poll").expect("told");
    assert_eq!(
        done.outcome.expect_err("a signal").to_string(),
        "signal: SIGPIPE"
    );
}

#[test]
fn one_command_raises_one_sigchld() {
    embed(&["one_command_raises_one_sigchld"]);
}

#[test]
fn handler_of_the_embedding_program_is_left_in_place_and_may_interrupt_a_turn() {
    embed(&["handler_interrupts_a_turn"]);
}

#[cfg(target_os = "linux")]
#[test]
fn child_has_the_working_directory_of_the_thread_that_starts_it() {
    embed(&["directory_of_the_thread"]);
}
