//! Scenarios with child attributes, each checked in this process, where signals, descriptors and children are private.
//! Unaware of the tests' harness; the same scenarios run with system calls refused, and must not notice.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use execloop::{Command, CommandId, Finished, Input, Output, Reactor, StartError, StartStep};

use crate::counts::{assert_fds, assert_no_children, open_fds};
use crate::start_error::start_error;

mod calls;
#[cfg(not(execloop_kqueue_shim))]
mod cgroup;
mod console;
mod ending;
mod identity;
#[cfg(not(execloop_kqueue_shim))]
mod namespaces;
mod plain;
mod signals;
mod steps;
mod terminal;
mod threads;

pub(crate) use calls::refuse;

type Scenario = fn(&mut Reactor);

/// What must go the same way whatever system calls are refused.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("captures", plain::captures),
    ("extra-descriptors", plain::extra_descriptors),
    ("hermetic", plain::hermetic),
    ("many", plain::many),
    ("groups", plain::groups),
    ("root-and-directory", plain::root_and_directory),
    ("limits", plain::limits),
    ("cancels", ending::cancels),
    ("signals-sent", ending::signals_sent),
    #[cfg(not(execloop_kqueue_shim))]
    ("pidfd", ending::pidfd),
    #[cfg(not(execloop_kqueue_shim))]
    ("parent-death", ending::parent_death),
    ("credentials", identity::credentials),
    #[cfg(not(execloop_kqueue_shim))]
    ("capabilities", identity::capabilities),
    #[cfg(not(execloop_kqueue_shim))]
    ("namespaces", namespaces::entered),
    #[cfg(not(execloop_kqueue_shim))]
    ("private-mounts", namespaces::private_mounts),
    #[cfg(not(execloop_kqueue_shim))]
    ("maps", namespaces::maps),
    #[cfg(not(execloop_kqueue_shim))]
    ("map-waiter-dies", namespaces::waiter_dies),
    #[cfg(not(execloop_kqueue_shim))]
    ("cgroup", cgroup::placement),
    ("dispositions", signals::dispositions),
    ("storm", signals::storm),
    ("terminals", terminal::terminals),
    ("steps", steps::each_fails),
    ("order", steps::first_is_told),
    #[cfg(not(execloop_kqueue_shim))]
    ("dumpable", identity::dumpable),
];

/// What needs a process of its own: it gives up privileges, starts threads, or is a child itself.
const ALONE: &[(&str, fn())] = &[
    ("undisturbed", threads::undisturbed),
    ("dumpable-threads", threads::dumpable),
    #[cfg(not(execloop_kqueue_shim))]
    ("unprivileged", namespaces::unprivileged),
    #[cfg(not(execloop_kqueue_shim))]
    ("time-namespace", namespaces::time),
    ("restored-limit", plain::restored_limit),
    #[cfg(not(execloop_kqueue_shim))]
    ("dying-parent", ending::dying_parent),
    #[cfg(not(execloop_kqueue_shim))]
    ("killed-at-maps", namespaces::killed_at_maps),
    #[cfg(not(execloop_kqueue_shim))]
    ("shared-mounts", namespaces::shared_mounts),
    ("unshare-refused", steps::unshare_refused),
    ("mount-refused", steps::mount_refused),
    ("clone-refused", steps::clone_refused),
    #[cfg(not(execloop_kqueue_shim))]
    ("refused-later", steps::refused_later),
    #[cfg(not(execloop_kqueue_shim))]
    ("refused-once", steps::refused_once),
    ("death-signal", ending::print_death_signal),
    ("in-session", terminal::in_session),
    ("types-stops", terminal::types_stops),
    ("typed-stops", terminal::typed_stops),
    ("console", console::ways_out),
    ("storm-maker", signals::storm_maker),
    ("waitid-filtered", ending::waitid_filtered),
    ("waitid-missing", ending::waitid_missing),
    ("taken-leader", ending::taken_leader),
    ("unread-input", signals::unread_input),
];

/// `attributes NAME [CALL=ERRNO ..]`: runs one scenario, or `all`, with these system calls refused.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let texts: Vec<&str> = arguments
        .iter()
        .map(|text| text.to_str().expect("text"))
        .collect();
    let (name, refused) = texts.split_first().expect("the name of a scenario");
    if *name == "console-line" {
        return console::line(refused[0]);
    }
    refuse(refused);
    if let Some((_, alone)) = ALONE.iter().find(|(other, _)| other == name) {
        alone();
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<_> = SCENARIOS
        .iter()
        .filter(|(other, _)| *name == "all" || other == name)
        .collect();
    assert!(!chosen.is_empty(), "no scenario {name:?}");
    // Two descriptors that somebody forgot to mark, one low, one high: no child may see them.
    let _leaks = [calls::leak_at(9), calls::leak_at(900)];
    for (name, scenario) in chosen {
        println!("{name}");
        let before = open_fds();
        let mut reactor = Reactor::new().expect("a reactor");
        scenario(&mut reactor);
        assert!(reactor.is_empty());
        assert_no_children();
        drop(reactor);
        assert_fds(&before);
    }
    ExitCode::SUCCESS
}

/// Says that a scenario cannot be run here.
fn skip(why: &str) {
    println!("skipped: {why}");
}

/// Runs one command among others.
#[track_caller]
fn finish(reactor: &mut Reactor, command: &mut Command) -> Finished {
    let id = reactor.start(command).expect("the command starts");
    reactor.wait(id).expect("waited").expect("finished")
}

/// What a command prints that must succeed.
#[track_caller]
fn print(reactor: &mut Reactor, command: &mut Command) -> String {
    let done = finish(
        reactor,
        command.stdout(Output::capture()).stderr(Output::capture()),
    );
    assert!(
        done.success(),
        "{command}: {:?} {}",
        done.outcome,
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).expect("text")
}

/// A command that leads a group of its own until its stdin ends, and its pid.
fn leader(reactor: &mut Reactor) -> (CommandId, i32) {
    let mut command = shell("echo $$; exec cat");
    command.stdin(Input::pipe()).stdout(Output::pipe());
    leader_of(reactor, command.process_group(0))
}

/// The same of a command that prints its pid first.
fn leader_of(reactor: &mut Reactor, command: &mut Command) -> (CommandId, i32) {
    let id = reactor.start(command).expect("it starts");
    let mut line = String::new();
    BufReader::new(reactor.stdout(id).expect("its pipe"))
        .read_line(&mut line)
        .expect("a line");
    (id, line.trim().parse().expect("a pid"))
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// This helper itself, in another mode of this file.
fn helper(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("its own path"));
    command.args(["attributes", name]);
    command
}

/// A child that shows a file of its own under `/proc/self`.
fn cat(name: &str) -> Command {
    let mut command = Command::new("/bin/cat");
    command.arg(format!("/proc/self/{name}"));
    command
}

/// The lines of a child's `/proc/self/status`, by their names.
#[track_caller]
fn status(reactor: &mut Reactor, command: &mut Command) -> BTreeMap<String, String> {
    let text = print(reactor, command);
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| {
            (
                name.to_owned(),
                value.split_whitespace().collect::<Vec<_>>().join(" "),
            )
        })
        .collect()
}

/// The parts of `/proc/PID/stat` that are about groups and terminals.
#[derive(Debug, PartialEq)]
struct Stat {
    pid: i32,
    group: i32,
    session: i32,
    terminal: i32,
    foreground: i32,
}

#[track_caller]
fn stat(reactor: &mut Reactor, command: &mut Command) -> Stat {
    Stat::parse(&print(reactor, command))
}

impl Stat {
    fn parse(text: &str) -> Stat {
        let (start, rest) = text.rsplit_once(')').expect("a name in parentheses");
        let numbers: Vec<i32> = rest
            .split_whitespace()
            .skip(2)
            .take(4)
            .map(|word| word.parse().expect("a number"))
            .collect();
        let pid = start
            .split(' ')
            .next()
            .and_then(|word| word.parse().ok())
            .expect("a pid");
        Stat {
            pid,
            group: numbers[0],
            session: numbers[1],
            terminal: numbers[2],
            foreground: numbers[3],
        }
    }
}

/// Starts a command that must fail at this step with this error number.
#[track_caller]
fn fails(reactor: &mut Reactor, command: &mut Command, step: StartStep, errno: i32) {
    match start_error(reactor, command) {
        StartError::Step {
            step: found,
            source,
            ..
        } => {
            assert_eq!(
                (found, source.raw_os_error()),
                (step, Some(errno)),
                "{command}: {source}"
            );
        }
        other => panic!("{command}: {other:?} instead of {step}"),
    }
}

fn open(path: &str) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn is_root() -> bool {
    calls::user() == 0
}
