//! Many children, few descriptors: each in a process of its own, whose limits and counts are private.

#[path = "common"]
mod common {
    pub mod embed;
    pub mod helper;
    pub mod helper_path;
    mod watchdog;
}

use common::embed::embed;

#[test]
fn three_thousand_children_at_once_are_cancelled_by_one_context_and_all_reaped() {
    embed(&["three_thousand_at_once"]);
}

#[test]
fn a_thousand_commands_finish_with_64_descriptors() {
    embed(&["a_thousand_with_few_descriptors", "64"]);
}

#[test]
fn commands_finish_one_by_one_where_no_descriptor_is_left_to_others() {
    embed(&["a_thousand_with_few_descriptors", "24"]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn shortage_of_descriptors_is_told_at_once_when_nothing_runs() {
    embed(&["no_descriptor_left"]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn shortage_of_descriptors_that_others_hold_queues_while_something_runs() {
    embed(&["descriptors_of_others"]);
}

#[test]
fn finished_commands_that_are_not_taken_leave_others_their_descriptors() {
    embed(&["descriptors_of_who_is_not_taken"]);
}

#[test]
fn raised_limit_of_descriptors_is_not_passed_on() {
    embed(&["raised_limit"]);
}
