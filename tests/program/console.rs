//! `--open-tty`: commands that have the terminal, one at a time.

use super::stopping::{assert_ends_well, line_with, sit_before};
use super::*;

#[test]
fn commands_have_the_terminal_one_after_the_other() {
    let line = "stty size </dev/tty; read -r answer; echo \"$0: $answer\"";
    let script =
        "echo x | \"$EXECLOOP\" run --open-tty sh -c \"$LINE\" ::: a b c; echo \"status $?\"";
    let mut live = sit_before(shell(script).env("LINE", line));
    live.list("one\ntwo\nthree\n");
    for expected in ["a: one", "b: two", "c: three"] {
        line_with(&mut live, "24 80");
        line_with(&mut live, expected);
    }
    line_with(&mut live, "3 commands: 3 succeeded, 0 failed in ");
    line_with(&mut live, "status 0");
    assert_ends_well(live);
}

#[test]
fn ctrl_c_is_for_the_command_that_has_the_terminal_and_who_is_ended_by_it_ends_the_rest() {
    if is_ignored(Signal::INT) {
        return;
    }
    let script = "\"$EXECLOOP\" run -o sh -c \"$LINE\" ::: a b; echo \"status $?\"";
    let line =
        "trap 'trap - INT; echo caught' INT; echo \"$0 ready\"; while :; do read -r answer; done";
    let mut live = sit_before(shell(script).env("LINE", line));
    line_with(&mut live, "a ready");
    // The line is for a shell that was about to read, and would heed its trap afterwards.
    live.list("\x03\n");
    line_with(&mut live, "caught");
    live.list("\x03");
    let failure = line_with(&mut live, "failed: job 1: ");
    assert!(failure.ends_with(" a: signal: SIGINT"), "{failure}");
    let summary = line_with(&mut live, "1 command: 0 succeeded, 1 failed in ");
    assert!(summary.ends_with("; 1 never started"), "{summary}");
    // By the signal, as the shell sees it.
    line_with(&mut live, "status 130");
    assert_ends_well(live);
}

#[test]
fn ctrl_z_of_a_command_that_has_the_terminal_stops_the_program_and_fg_lets_both_go_on() {
    let script = "set -m; \"$EXECLOOP\" run -o sh -c \"$LINE\" ::: a; echo stopped; \
        read -r answer; fg >/dev/null; echo \"status $?\"";
    let line = "echo ready; read -r answer; echo \"got $answer\"";
    let mut live = sit_before(shell(script).env("LINE", line));
    line_with(&mut live, "ready");
    live.list("\x1a");
    line_with(&mut live, "stopped");
    live.list("back\nword\n");
    line_with(&mut live, "got word");
    line_with(&mut live, "status 0");
    assert_ends_well(live);
}

#[test]
fn without_a_terminal_it_is_told_that_there_is_none() {
    let done = finish(
        shell("exec \"$EXECLOOP\" run -o true ::: a")
            .session(true)
            .env("EXECLOOP", env!("CARGO_BIN_EXE_execloop")),
    );
    assert_eq!(done.code, Some(2));
    assert!(
        done.stderr.contains("/dev/tty: No such device or address"),
        "{done:?}"
    );
}
