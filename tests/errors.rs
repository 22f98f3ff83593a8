//! Bad input: each kind in a helper process, beside a command that goes on, with descriptors and children counted.
//! The helper's `bad_input.rs` has the cases and what each error says. Unaware of their details.

#[path = "common"]
mod common {
    pub mod check;
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod scratch;
    pub mod text;
    mod watchdog;
}

use common::check::check;
use common::scratch::Scratch;

#[track_caller]
fn check_bad_input(name: &str) {
    let scratch = Scratch::new();
    let directory = scratch.to_str().expect("text");
    check("bad-input", &[name, directory]);
}

// Statements 55 and 56.
#[test]
fn missing_program_is_named_and_leaves_nothing() {
    check_bad_input("missing-program");
}

// Statement 54.
#[test]
fn directory_that_is_none_is_named_and_leaves_nothing() {
    check_bad_input("missing-directory");
}

// Statements 24 and 26.
#[test]
fn nul_byte_is_refused_wherever_it_stands() {
    check_bad_input("nul-bytes");
}

// Statement 8.
#[test]
fn empty_command_is_refused() {
    check_bad_input("empty-command");
}

// Statement 51.
#[test]
fn file_that_is_no_program_is_named_and_no_shell_steps_in() {
    check_bad_input("not-executable");
}

#[test]
fn interpreter_that_cannot_be_run_is_named() {
    check_bad_input("bad-interpreter");
}

#[test]
fn missing_loader_is_not_taken_for_a_missing_program() {
    check_bad_input("missing-loader");
}

#[test]
fn argument_list_that_is_too_long_is_told_with_its_size() {
    check_bad_input("argument-list-too-long");
}

#[test]
fn contradictory_settings_are_refused() {
    check_bad_input("contradictions");
}

#[test]
fn context_that_has_ended_starts_nothing() {
    check_bad_input("context-done");
}

#[test]
fn second_start_names_what_the_first_has_used_up() {
    check_bad_input("used-up");
}

#[test]
fn queued_command_that_cannot_be_started_is_told_when_its_turn_comes() {
    check_bad_input("queued");
}

// Statement 32.
#[test]
fn stdin_that_the_child_does_not_read_is_no_error() {
    check_bad_input("stdin-closed-early");
}

#[test]
fn input_that_an_orphan_holds_unread_is_named_when_it_is_cut() {
    check_bad_input("stdin-held");
}

// Statement 33.
#[test]
fn writer_that_fails_is_a_copy_error_and_closes_the_pipe() {
    check_bad_input("writer-fails");
}

// Statement 32.
#[test]
fn reader_that_fails_is_a_copy_error_and_what_it_gave_arrives() {
    check_bad_input("reader-fails");
}

#[test]
fn panic_in_a_writer_is_a_copy_error() {
    check_bad_input("panic-in-writer");
}

#[test]
fn panic_in_a_line_callback_is_a_copy_error() {
    check_bad_input("panic-in-lines");
}

#[test]
fn panic_in_a_reader_is_a_copy_error() {
    check_bad_input("panic-in-reader");
}

#[test]
fn panic_in_a_cancel_callback_kills_the_command() {
    check_bad_input("panic-in-cancel");
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn process_without_descriptors_is_told_at_once_and_recovers() {
    check("starved", &[]);
}
