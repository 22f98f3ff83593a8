//! A program that forks while it has a reactor: the copy can neither end nor hinder what the original has started.
//! Unaware of how; each scenario needs a process of one thread, which the helper is.

#[path = "common"]
mod common {
    pub mod embed;
    pub mod helper;
    pub mod helper_path;
    mod watchdog;
}

use common::embed::embed;

#[test]
fn reactor_dropped_in_a_forked_copy_leaves_the_originals_commands_alone() {
    embed(&["dropped_in_a_forked_copy"]);
}

#[test]
fn reactor_used_in_a_forked_copy_refuses_and_takes_no_event_and_no_byte() {
    embed(&["used_in_a_forked_copy"]);
}

#[test]
fn original_goes_on_while_a_forked_copy_holds_what_it_had() {
    embed(&["kept_in_a_forked_copy"]);
}
