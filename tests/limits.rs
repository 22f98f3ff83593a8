//! Limits that are reached: of descriptors, processes, space and pipes. A thousand commands end, slower.
//! Unaware of how the limits are set, but for the cgroup: the helper does that for itself alone.
#![cfg(target_os = "linux")]

#[path = "common"]
mod common {
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod text;
    mod watchdog;
}
#[path = "common/hostile.rs"]
mod hostile;

use std::fs;
use std::path::{Path, PathBuf};

use common::helper::helper;
use execloop::{Command, Input, Output, Reactor};
use hostile::said;

#[track_caller]
fn run(limit: &str) {
    said(helper("faults").args(["limit", limit, "1000"]));
}

#[test]
fn all_end_with_64_descriptors() {
    run("descriptors");
}

#[test]
fn all_end_where_the_rest_of_the_process_has_taken_the_descriptors() {
    run("descriptors-taken");
}

#[test]
fn all_end_where_the_user_may_have_three_children() {
    run("processes");
}

#[test]
fn all_end_where_the_disk_is_full() {
    run("full");
    run("tmpfs");
}

#[test]
fn all_output_arrives_through_pipes_of_one_page() {
    run("pipes");
}

/// A cgroup of the test's own, which holds few processes; removed at its end.
struct Cgroup(PathBuf);

impl Cgroup {
    /// In the hierarchy of version 1, or in that of version 2 below the test's own group.
    fn with_pids_max(number: u32) -> Option<Cgroup> {
        let name = format!("execloop-limits-{}", std::process::id());
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mounted = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (_, place, kind, options) =
                (words.next()?, words.next()?, words.next()?, words.next()?);
            let is_usable = match kind {
                "cgroup" => options.split(',').any(|option| option == "pids"),
                "cgroup2" => has_pids(Path::new(place)),
                _ => false,
            };
            is_usable.then(|| Path::new(place).join(&name))
        });
        for place in mounted {
            if fs::create_dir(&place).is_ok() {
                let group = Cgroup(place);
                if fs::write(group.0.join("pids.max"), number.to_string()).is_ok() {
                    return Some(group);
                }
            }
        }
        None
    }
}

fn has_pids(place: &Path) -> bool {
    fs::read_to_string(place.join("cgroup.subtree_control"))
        .is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "pids"))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn all_end_in_a_cgroup_of_five_processes() {
    let Some(group) = Cgroup::with_pids_max(5) else {
        eprintln!("skipped: no cgroup with a limit of processes can be made here");
        return;
    };
    run(&format!("pids={}", group.0.display()));
}

/// It waits in the queue, so the pipe is closed before it exists.
#[test]
fn a_stdin_that_is_closed_while_its_command_waits_gives_it_the_end() {
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    let mut cat = || {
        let mut cat = Command::new("/bin/cat");
        cat.stdin(Input::pipe()).stdout(Output::capture());
        reactor.start(&mut cat).expect("it starts or waits")
    };
    let (first, second) = (cat(), cat());
    assert_eq!(reactor.queued(), 1);
    reactor.stdin(second).expect("a pipe to come").close();
    reactor.stdin(first).expect("a pipe").close();
    while let Some(done) = reactor.wait_any().expect("a poll") {
        assert!(done.success(), "{}: {:?}", done.id, done.outcome);
    }
}

#[test]
fn memory_that_cannot_be_had_is_told_and_leaves_no_child() {
    said(helper("faults").args(["limit", "memory", "2"]));
}
