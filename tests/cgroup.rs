//! A cgroup of a command's own: who is in it, who is ended with it, and that nothing of it is left.
//! Unaware of how a child gets in. Where no cgroup can be made, that is said, and nothing is tested.
#![cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]

#[path = "common"]
mod common {
    pub mod scratch;
    pub mod shell;
    pub mod start_error;
    pub mod text;
    mod watchdog;
}

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::scratch::Scratch;
use common::shell::shell;
use common::start_error::start_error;
use common::text::text;
use execloop::linux::{Cgroup, CommandExt};
use execloop::{Command, CommandId, Finished, Output, Reactor, StartError, StartStep};

/// A directory of the test's own in the unified hierarchy; removed at its end, when it has to be empty.
struct Under(PathBuf);

impl Under {
    fn new(name: &str) -> Option<Under> {
        let mounts = fs::read_to_string("/proc/mounts").expect("/proc/mounts");
        let place = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let place = words.next()?;
            (words.next()? == "cgroup2").then(|| PathBuf::from(place))
        });
        let path = place.map(|place| place.join(format!("execloop-{name}-{}", std::process::id())));
        let made =
            path.filter(|path| fs::create_dir(path).is_ok() && path.join("cgroup.kill").exists());
        if made.is_none() {
            eprintln!("skipped: no cgroup of version 2 with cgroup.kill can be made here");
        }
        made.map(Under)
    }

    fn cgroup(&self) -> Cgroup {
        Cgroup::under(&self.0)
    }

    /// The cgroups that are there.
    fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("it is there");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        let removed = fs::remove_dir(&self.0);
        if !std::thread::panicking() {
            removed.expect("nothing is left in it");
        }
    }
}

#[track_caller]
fn start(reactor: &mut Reactor, command: &mut Command) -> CommandId {
    reactor.start(command).expect("start")
}

#[track_caller]
fn finish(reactor: &mut Reactor, command: &mut Command) -> Finished {
    let id = start(reactor, command);
    reactor.wait(id).expect("poll").expect("it is here")
}

/// A command that leaves somebody behind in a session of his own, who has said so by a byte before the command goes on, and
/// holds the pipe until he is ended.
fn with_orphan(then: &str) -> (Command, io::PipeReader) {
    let (reader, writer) = io::pipe().expect("a pipe");
    let orphan = "setsid sh -c 'echo >&3; echo >&5; exec 5>&-; exec sleep 600' &";
    let mut command = shell(&format!("{orphan} exec 5>&-; read ready <&4; {then}"));
    let (ready, says_ready) = io::pipe().expect("a pipe");
    command
        .extra_fd(3, writer)
        .extra_fd(4, ready)
        .extra_fd(5, says_ready);
    (command, reader)
}

#[test]
fn each_command_is_in_a_cgroup_of_its_own_that_is_gone_when_it_is_finished() {
    let Some(under) = Under::new("each") else {
        return;
    };
    let mut reactor = Reactor::new().expect("a reactor");
    let mut command = Command::new("cat");
    command
        .arg("/proc/self/cgroup")
        .own_cgroup(under.cgroup())
        .stdout(Output::capture());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let done = finish(&mut reactor, &mut command);
        assert!(done.success(), "{:?}", done.outcome);
        let text = text(&done.stdout);
        let place = text.lines().find(|line| line.starts_with("0::"));
        let place = place.expect("version 2").to_owned();
        let name = under.0.file_name().expect("a name").to_str().expect("text");
        assert!(place.contains(&format!("{name}/execloop-")), "{place}");
        assert!(!seen.contains(&place), "{place} again");
        seen.push(place);
        assert_eq!(under.left(), Vec::<PathBuf>::new());
    }
}

#[test]
fn who_is_left_in_it_after_a_normal_end_is_ended_before_the_command_is_finished() {
    let Some(under) = Under::new("left") else {
        return;
    };
    let mut reactor = Reactor::new().expect("a reactor");
    let (mut command, mut held) = with_orphan("exit 0");
    // The orphan holds this, too: without its end, nobody would wait for it.
    command.own_cgroup(under.cgroup()).stdout(Output::capture());
    let done = finish(&mut reactor, &mut command);
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(done.leaked, []);
    let mut said = Vec::new();
    held.read_to_end(&mut said).expect("its end");
    assert_eq!(said, b"\n", "it was there, and is gone");
    assert_eq!(under.left(), Vec::<PathBuf>::new());
}

#[test]
fn a_kill_and_a_dropped_reactor_end_all_that_are_in_it() {
    let Some(under) = Under::new("kill") else {
        return;
    };
    for is_dropped in [false, true] {
        let mut reactor = Reactor::new().expect("a reactor");
        let (mut command, mut held) = with_orphan("exec sleep 600");
        let id = start(&mut reactor, command.own_cgroup(under.cgroup()));
        while reactor.turn(Some(Duration::ZERO)).expect("poll") == execloop::Turn::More {}
        let mut byte = [0];
        held.read_exact(&mut byte).expect("the orphan is there");
        assert_eq!(under.left().len(), 1);
        if is_dropped {
            drop(reactor);
        } else {
            reactor.kill(id);
            let done = reactor.wait(id).expect("poll").expect("it is here");
            assert!(!done.success());
        }
        let rest = held.read(&mut byte).expect("its end");
        assert_eq!((rest, under.left()), (0, Vec::new()));
    }
}

#[test]
fn a_command_that_makes_cgroups_of_its_own_leaves_none() {
    let Some(under) = Under::new("nested") else {
        return;
    };
    let mut reactor = Reactor::new().expect("a reactor");
    let script = "cd $0/execloop-*; mkdir -p a/b c; echo $$ > a/b/cgroup.procs; sleep 600 & exit 0";
    let mut command = shell(script);
    command.arg(&under.0).own_cgroup(under.cgroup());
    let done = finish(&mut reactor, &mut command);
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(under.left(), Vec::<PathBuf>::new());
}

#[test]
fn a_start_that_fails_leaves_no_cgroup_and_says_what_was_refused() {
    let Some(under) = Under::new("fails") else {
        return;
    };
    let mut reactor = Reactor::new().expect("a reactor");
    let mut refused = |cgroup: Cgroup, what: &str| {
        let error = start_error(&mut reactor, shell("exit 0").own_cgroup(cgroup));
        let is_step = matches!(
            error,
            StartError::Step {
                step: StartStep::Cgroup,
                ..
            }
        );
        assert!(is_step && error.to_string().contains(what), "{error}");
        assert!(error.raw_os_error().is_some(), "{error:?}");
    };
    refused(under.cgroup().set("no.such", "1"), "no.such");
    refused(
        under.cgroup().set("cgroup.max.depth", "x"),
        "cgroup.max.depth",
    );
    refused(Cgroup::under("/proc/no/such"), "/proc/no/such");
    // A directory, but no cgroup: nothing of it stays.
    let elsewhere = Scratch::new();
    refused(Cgroup::under(&*elsewhere), "cgroup.kill");
    assert_eq!(fs::read_dir(&*elsewhere).expect("it is there").count(), 0);
    let missing = finish(
        &mut reactor,
        Command::new("/no/such").own_cgroup(under.cgroup()),
    );
    assert!(missing.outcome.is_err());
    assert_eq!(under.left(), Vec::<PathBuf>::new());
}

#[test]
fn a_setting_is_in_force() {
    let Some(under) = Under::new("set") else {
        return;
    };
    let mut reactor = Reactor::new().expect("a reactor");
    let script = "cat $0/execloop-*/cgroup.max.depth";
    let mut command = shell(script);
    command
        .arg(&under.0)
        .own_cgroup(under.cgroup().set("cgroup.max.depth", "7"))
        .stdout(Output::capture());
    let done = finish(&mut reactor, &mut command);
    assert_eq!(text(&done.stdout), "7\n");
}

fn has_controller(under: &Path, name: &str) -> bool {
    let has = |file: &str| {
        let text = fs::read_to_string(under.join(file)).unwrap_or_default();
        text.split_whitespace().any(|word| word == name)
    };
    let enabled = has("cgroup.controllers")
        && fs::write(under.join("cgroup.subtree_control"), format!("+{name}")).is_ok();
    if !enabled {
        eprintln!("skipped: the controller {name} is not there");
    }
    enabled
}

#[test]
fn limits_and_the_peak_of_memory_are_those_of_the_whole_cgroup() {
    let Some(under) = Under::new("limits") else {
        return;
    };
    let mut reactor = Reactor::new().expect("a reactor");
    if has_controller(&under.0, "pids") {
        let mut command = shell("sleep 0.1 & sleep 0.1 & wait");
        command.own_cgroup(under.cgroup().pids_max(2));
        assert!(!finish(&mut reactor, &mut command).success());
        command.own_cgroup(under.cgroup().pids_max(20));
        assert!(finish(&mut reactor, &mut command).success());
    } else {
        let error = start_error(
            &mut reactor,
            shell("exit 0").own_cgroup(under.cgroup().pids_max(2)),
        );
        assert!(error.to_string().contains("pids.max"), "{error}");
    }
    let limits = under.cgroup();
    let has_memory = has_controller(&under.0, "memory");
    let limits = if has_memory {
        limits.memory_max(1 << 30)
    } else {
        limits
    };
    let mut command = shell("head -c 20000000 /dev/zero | tail -c 20000000 > /dev/null");
    let done = finish(&mut reactor, command.own_cgroup(limits));
    let peak = done.usage.expect("it was reaped").memory_bytes_peak;
    assert!(has_memory || peak.is_none(), "{peak:?}");
    assert!(peak.is_none_or(|peak| peak > 20_000_000), "{peak:?}");
}
