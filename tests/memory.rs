//! What a child that does nothing takes of its parent: memory and descriptors; and what it holds itself.
//! Unaware of time: these are counts. The helper takes them of itself.
#![cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]

#[path = "common"]
mod common {
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod text;
    mod watchdog;
}

use std::collections::BTreeMap;

use common::finish::finish;
use common::helper::helper;
use common::text::text;
use execloop::Output;

/// Some 0.8 KiB are for the command's slot, its job, its place in the lists, and the stacks of starts, which the first of a
/// burst make for all. A buffer for each child, which is what this is to catch, takes a page of 4 KiB at least.
const BYTES_PER_CHILD_MAX: f64 = 2048.0;

const CHILDREN: usize = 2000;

/// Many enough to fill a large table, few enough for most limits.
const OPEN_DESCRIPTORS: usize = 5000;

/// The smallest table that Linux makes.
const TABLE_SIZE_MIN: f64 = 64.0;

#[test]
fn a_sleeping_child_takes_two_descriptors_and_no_buffer() {
    let Some(cost) = cost("memory", CHILDREN) else {
        return;
    };
    // The pidfd, and our end of its stdout; and for the few that are on their way to their exec what they need for that.
    let descriptors = cost["descriptors"];
    assert!((1.95..2.05).contains(&descriptors), "{descriptors}");
    let bytes = cost["bytes"];
    println!("{bytes} bytes for each child");
    assert!(bytes <= BYTES_PER_CHILD_MAX, "{bytes} bytes for each child");
    // Nothing is free: a measurement that fails would say so.
    assert!(
        bytes >= 100.0,
        "{bytes} bytes for each child are not believable"
    );
}

/// Where a child shares a table that has to grow, the call that needs it waits for the whole machine.
#[test]
fn the_parents_table_grows_before_a_start_needs_it() {
    let Some(cost) = cost("memory", CHILDREN) else {
        return;
    };
    // As the kernel doubles it, without our help it would be less than twice as large as what is open.
    assert!(cost["table"] >= 2.0 * cost["open"], "{cost:?}");
}

#[test]
fn a_child_has_a_small_table_whatever_its_parent_has_open() {
    let Some(cost) = cost("table", OPEN_DESCRIPTORS) else {
        return;
    };
    assert!(cost["hermetic"] <= TABLE_SIZE_MIN, "{cost:?}");
    // The way that copies the table, which shows that the size would be seen.
    assert!(cost["inheriting"] >= OPEN_DESCRIPTORS as f64, "{cost:?}");
    // A reactor that was made when all low numbers were taken, and one that has found some free.
    assert!(cost["late"] >= OPEN_DESCRIPTORS as f64, "{cost:?}");
    assert!(cost["sunk"] <= TABLE_SIZE_MIN, "{cost:?}");
}

/// What the helper counted, by name. `None` where it cannot count here, which it says.
fn cost(what: &str, number: usize) -> Option<BTreeMap<String, f64>> {
    let mut command = helper("cost");
    command.args([what, &number.to_string()]);
    let done = finish(command.stdout(Output::capture()).stderr(Output::inherit()));
    let said = text(&done.stdout);
    assert!(done.success(), "{:?}\n{said}", done.outcome);
    if said.starts_with("skipped") {
        eprint!("{said}");
        return None;
    }
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ').expect("a name and a number");
        (name.to_owned(), value.parse().expect("a number"))
    };
    Some(said.lines().map(pair).collect())
}
