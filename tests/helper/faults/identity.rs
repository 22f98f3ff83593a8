//! Programs that take another identity, and a parent that must keep its own.
//! Unaware of system calls that fail.
#![allow(unsafe_code, reason = "identities have no safe wrapper")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use execloop::{Command, CommandId, Error, Input, Output, Reactor, Signal};

use super::SKIPPED;
use super::limits::become_somebody_else;
use crate::counts::{assert_fds, assert_no_children, open_fds};

/// What a setuid program does: `keep` is root in effect alone, `take` is root in every way. Lives until its stdin ends.
pub(super) fn be_root(how: &str) -> ExitCode {
    // SAFETY: geteuid(2) has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        println!("setuid does not work here");
        return ExitCode::from(SKIPPED);
    }
    if how == "take" {
        // SAFETY: setresuid(2) takes numbers.
        let result = unsafe { libc::setresuid(0, 0, 0) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new()).expect("stdin");
    ExitCode::SUCCESS
}

/// As an unprivileged user, ends `program`, which is setuid root, in every way that the kernel allows.
pub(super) fn setuid(program: &str) -> ExitCode {
    if !become_somebody_else() {
        eprintln!("another user can't be had");
        return ExitCode::from(SKIPPED);
    }
    let before = open_fds();
    let mut reactor = Reactor::new().expect("a reactor");
    // Its real user is still ours, so it can be killed.
    let Some(id) = start(&mut reactor, program, "keep") else {
        eprintln!("set-user-id programs do not work here");
        return ExitCode::from(SKIPPED);
    };
    reactor.cancel(id);
    let done = reactor.wait(id).expect("a poll").expect("a command");
    let is_killed = matches!(&done.outcome, Err(Error::Exit(exit))
        if exit.to_string() == "signal: SIGKILL (cancelled)");
    assert!(is_killed, "{:?}", done.outcome);
    // Now it is not, and cannot: it is told so, and ends as its pipes are closed by the delay.
    let id = start(&mut reactor, program, "take").expect("it worked before");
    let refused = reactor
        .signal(id, Signal::TERM)
        .map_err(|error| error.raw_os_error());
    assert_eq!(refused, Err(Some(libc::EPERM)));
    reactor.cancel(id);
    let done = reactor.wait(id).expect("a poll").expect("a command");
    let is_told = matches!(&done.outcome, Err(Error::Kill(source))
        if source.raw_os_error() == Some(libc::EPERM));
    assert!(is_told, "{:?}", done.outcome);
    assert!(done.status.is_some_and(|status| status.success()));
    drop(reactor);
    assert_no_children();
    assert_fds(&before);
    ExitCode::SUCCESS
}

/// Waits until the program says that it is ready; `None` if it says something else.
fn start(reactor: &mut Reactor, program: &str, how: &str) -> Option<CommandId> {
    let (is_ready, is_refused) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (ready, refused) = (Arc::clone(&is_ready), Arc::clone(&is_refused));
    let lines = Output::lines(move |line| {
        let word = if line == b"ready" { &ready } else { &refused };
        word.store(true, Ordering::Relaxed);
    });
    let mut command = Command::new(program);
    command
        .args(["faults", "be-root", how])
        .stdin(Input::pipe())
        .stdout(lines);
    command.wait_delay(Duration::from_millis(10));
    let id = reactor.start(&mut command).expect("it starts");
    while !is_ready.load(Ordering::Relaxed) {
        if is_refused.load(Ordering::Relaxed) {
            return None;
        }
        reactor.turn(None).expect("a poll");
    }
    Some(id)
}

/// Starts children of every kind that changes something of its own, and compares this process with itself.
pub(super) fn unchanged() -> ExitCode {
    let mut reactor = Reactor::new().expect("a reactor");
    let before = (state("self"), open_fds());
    let changes: [fn(&mut Command) -> &mut Command; 8] = [
        |command| command,
        |command| command.current_dir("/proc"),
        |command| command.session(true),
        |command| command.process_group(0),
        |command| command.uid(12_345).gid(12_345),
        |command| command.groups(&[1, 2, 3]),
        |command| command.inherit_fds(true),
        |command| command.env_clear().close_fd(0).close_fd(1),
    ];
    for (number, change) in changes.iter().enumerate() {
        for program in ["/bin/true", "/nonexistent/program"] {
            let mut command = Command::new(program);
            change(&mut command);
            let id = reactor.start(&mut command).expect("nothing contradicts");
            let done = reactor.wait(id).expect("a poll").expect("a command");
            // Who may not change identities is refused, which is to leave no trace either.
            let is_refused = matches!(done.outcome, Err(Error::Start(_)));
            assert!(done.success() || is_refused, "{number}: {:?}", done.outcome);
            assert_eq!((state("self"), open_fds()), before, "{number}");
        }
    }
    assert_no_children();
    ExitCode::SUCCESS
}

/// Prints what this process is, for its parent to compare.
pub(super) fn print_state() -> ExitCode {
    for (name, value) in state("self") {
        println!("{name}\t{value}");
    }
    ExitCode::SUCCESS
}

/// A plain child is what its parent is, but for SIGPIPE, which Rust ignores in the parent.
pub(super) fn inherited() -> ExitCode {
    let own = std::env::current_exe().expect("its own path");
    let mut command = Command::new(own);
    let output = command
        .args(["faults", "print-state"])
        .output()
        .expect("a child");
    let output = String::from_utf8(output).expect("text");
    let childs: BTreeMap<_, _> = output
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .collect();
    let ours = state("self");
    assert_eq!(childs.len(), ours.len());
    for (name, value) in &ours {
        assert_eq!(childs.get(name.as_str()), Some(&value.as_str()), "{name}");
    }
    ExitCode::SUCCESS
}

/// What exec keeps, as far as the kernel shows it. SIGPIPE and caught signals are left out: both processes are Rust's,
/// which sets them anew.
fn state(process: &str) -> BTreeMap<String, String> {
    let kept = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "SigBlk",
        "SigIgn",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Cpus_allowed",
        "Mems_allowed",
    ];
    let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).expect("/proc");
    let mut state = BTreeMap::new();
    for line in read("status").lines() {
        if let Some((name, value)) = line.split_once(':')
            && kept.contains(&name)
        {
            state.insert(name.to_owned(), value.trim().to_owned());
        }
    }
    assert_eq!(state.len(), kept.len(), "{state:?}");
    for line in read("limits").lines().skip(1) {
        let (name, value) = line.split_at(26.min(line.len()));
        state.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    for name in ["cgroup", "oom_score_adj"] {
        state.insert(name.to_owned(), read(name).trim().replace('\n', " "));
    }
    for name in ["cwd", "root", "ns/pid", "ns/mnt", "ns/user", "ns/net"] {
        let link = fs::read_link(format!("/proc/{process}/{name}")).expect("/proc");
        state.insert(name.to_owned(), link.display().to_string());
    }
    // SAFETY: getpriority(2) takes numbers.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    state.insert("nice".to_owned(), nice.to_string());
    state
}
