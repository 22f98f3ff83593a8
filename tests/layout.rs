//! Which descriptors a child has, and at which numbers: each case in a helper process whose own are arranged for it.
//! Unaware of what flows through them.
#![cfg(target_os = "linux")]

#[path = "common"]
mod common {
    pub mod check;
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod text;
    mod watchdog;
}

use common::check::check;

// Statement 38 of os/exec, as the kernel sees it: the helper's 0 to 5 are six files, and so are the child's.
#[test]
fn six_files_at_0_to_5_land_at_0_to_5_in_every_order() {
    check("permutations", &[]);
}

#[test]
fn six_files_land_in_every_order_where_the_table_is_copied() {
    check("permutations", &["inherit"]);
}

// And with any of the parent's 0, 1 and 2 closed: an inherited one stays closed in the child, and the library uses none.
#[test]
fn closed_stdio_of_the_parent_stays_closed_and_unused() {
    check("closed-stdio", &[]);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn extra_files_may_want_the_numbers_of_the_reactors_own() {
    check("block", &[]);
}

#[test]
fn command_with_many_extra_files_leaves_no_descriptor_of_its_start() {
    check("many-extras", &[]);
}

// Statement 37.
#[test]
fn child_has_stdio_and_its_extra_files_alone_unless_it_inherits() {
    check("hermetic", &["10"]);
}

#[test]
fn child_has_no_file_that_a_thread_opens_where_a_pipe_of_its_was_closed_meanwhile() {
    check("closed-early", &[]);
}

#[test]
fn child_of_a_reactor_made_after_many_descriptors_has_its_own_alone() {
    check("hermetic", &["300"]);
}

// Statement 31.
#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn start_leaves_a_handle_and_own_ends_in_the_parent() {
    check("parent-ends", &[]);
}

// Statement 39.
#[test]
fn fd_limit_is_put_back_after_the_descriptors_are_in_place() {
    check("above-the-limit", &[]);
}

// Statement 58.
#[test]
fn dropped_reactor_holds_nothing() {
    check("dropped", &[]);
}

#[test]
fn inherited_descriptors_are_those_of_the_start_whatever_is_put_there_next() {
    check("inherited", &[]);
}

#[test]
fn files_reach_a_child_where_the_limit_was_lowered_below_the_reactors_own_descriptors() {
    check("below-the-block", &[]);
}
