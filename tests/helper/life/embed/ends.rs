//! How reactors end, and kills that fail.
#![allow(unsafe_code, reason = "capabilities have no safe wrapper")]

use std::io::{self, Read, Write};
use std::time::Duration;

use execloop::{Cancel, Cause, Command, CommandId, Context, Error, Input, Output, Reactor, Signal};

use super::{leashed, reactor};
use crate::counts::{assert_fds, assert_no_children, open_fds, wait_for_exit};

/// Commands that run, drain, wait in the queue, wait for a busy file, and are finished and not taken.
pub(super) fn drop_leaves_nothing_behind() {
    let before = open_fds();
    for shuts_down in [false, true] {
        let mut reactor = Reactor::builder()
            .max_running(12)
            .build()
            .expect("a reactor");
        let mut start = |command: &mut Command| reactor.start(command).expect("start");
        let finished = start(Command::new("/bin/true").stdout(Output::pipe()));
        let mut leashes = Vec::new();
        for _ in 0..10 {
            let (mut command, leash) = leashed();
            start(
                command
                    .stdout(Output::capture())
                    .stderr(Output::pipe())
                    .timeout(Duration::from_secs(600)),
            );
            leashes.push(leash);
        }
        let (stdin, leash) = io::pipe().expect("a pipe");
        let mut held = Command::new("/bin/sh");
        held.args(["-c", "cat <&4 & exit 0"])
            .extra_fd(4, stdin)
            .process_group(0)
            .stdout(Output::capture());
        let draining = start(&mut held);
        for _ in 0..5 {
            let (mut command, leash) = leashed();
            start(command.stdin(Input::bytes(vec![0; 1_000_000])));
            leashes.push(leash);
        }
        let is_gone = |reactor: &mut Reactor, id| {
            let probe = Signal::new(0).expect("a probe");
            reactor.signal(id, probe).is_err()
        };
        while !is_gone(&mut reactor, finished) || !is_gone(&mut reactor, draining) {
            reactor.turn(None).expect("turn");
        }
        assert!(reactor.queued() > 0 && reactor.running() > 10);
        if shuts_down {
            assert_eq!(reactor.shutdown().expect("poll").len(), 17);
        } else {
            drop(reactor);
        }
        drop((leashes, leash));
        assert_no_children();
        assert_fds(&before);
    }
}

#[cfg(target_os = "linux")]
/// `struct __user_cap_header_struct` and `__user_cap_data_struct` of capget(2), version 3.
#[repr(C)]
struct Header(u32, i32);
#[cfg(target_os = "linux")]
type Words = [[u32; 3]; 2];
#[cfg(target_os = "linux")]
const VERSION: u32 = 0x2008_0522;
#[cfg(target_os = "linux")]
const CAP_KILL: u32 = 5;

#[cfg(not(target_os = "linux"))]
fn give_up_killing() -> bool {
    println!("skipped: root can signal everybody here");
    false
}

#[cfg(target_os = "linux")]
/// From here on, even as root, this process cannot signal another user's.
fn give_up_killing() -> bool {
    let header = Header(VERSION, 0);
    let mut words: Words = [[0; 3]; 2];
    // SAFETY: both structures are as capget(2) wants them.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut words) };
    assert_eq!(got, 0, "{}", io::Error::last_os_error());
    words[0][0] &= !(1 << CAP_KILL);
    // SAFETY: as above.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const words) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
    // SAFETY: geteuid(2) has no preconditions.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        println!("skipped: needs root, for a child of another user");
    }
    is_root
}

const NOBODY: u32 = 65534;

/// Row C7: the kill at the end of the delay fails. The child exits by itself, as its stdin was cut.
pub(super) fn kill_that_fails_is_told_and_the_exit_awaited() {
    if !give_up_killing() {
        return;
    }
    for (script, expected) in [("cat; exit 0", None), ("cat; exit 3", Some(3))] {
        let mut reactor = reactor();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .uid(NOBODY)
            .stdin(Input::pipe())
            .stdout(Output::capture())
            .on_cancel(Cancel::with(|_| Err(io::Error::other("no way"))))
            .wait_delay(Duration::from_millis(10));
        let id = reactor.start(&mut command).expect("start");
        assert!(reactor.cancel(id));
        let done = reactor.wait(id).expect("poll").expect("told");
        match (&done.outcome, expected) {
            (Err(error @ Error::Kill(_)), None) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                let text = "killing the command: Operation not permitted";
                assert_eq!(error.to_string(), text);
            }
            (Err(Error::Exit(exit)), Some(code)) => assert_eq!(exit.status.code(), Some(code)),
            (other, _) => panic!("{script}: {other:?}"),
        }
    }
    // The plain signal says so at once, and a cancel that may not signal is told, too.
    let mut reactor = reactor();
    let (mut command, leash) = leashed();
    let id = reactor.start(command.uid(NOBODY)).expect("start");
    let error = reactor.signal(id, Signal::TERM).expect_err("not allowed");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert!(reactor.cancel(id));
    drop(leash);
    let done = reactor.wait(id).expect("poll").expect("told");
    assert!(
        matches!(done.outcome, Err(Error::Cancel(_))),
        "{:?}",
        done.outcome
    );
}

/// Nor does anybody else: it lives on, as it would have to in any case.
pub(super) fn drop_does_not_wait_for_a_child_that_it_cannot_kill() {
    if !give_up_killing() {
        return;
    }
    let mut reactor = reactor();
    let (mut command, mut leash) = leashed();
    let (mut answers, answer) = io::pipe().expect("a pipe");
    reactor
        .start(command.uid(NOBODY).stdout(Output::file(answer)))
        .expect("start");
    drop(reactor);
    leash.write_all(b"?").expect("it lives");
    answers.read_exact(&mut [0]).expect("it lives");
}

/// Commands that are let go as soon as they are started: their children may not have executed yet.
pub(super) fn let_go_at_once_leaves_nothing_behind() {
    type LetGo = fn(Reactor, CommandId);
    let ways: [LetGo; 4] = [
        |mut reactor, id| assert!(reactor.detach(id).is_some()),
        |mut reactor, id| assert!(reactor.set_kill_on_drop(id, false)),
        |mut reactor, id| {
            assert!(reactor.set_kill_on_drop(id, false));
            assert!(reactor.shutdown().expect("poll").is_empty());
        },
        |mut reactor, id| {
            reactor.stdin(id).expect("a pipe").close();
            assert!(reactor.set_kill_on_drop(id, false));
        },
    ];
    let before = open_fds();
    for let_go in ways {
        for _ in 0..25 {
            let mut reactor = reactor();
            let mut cat = Command::new("/bin/cat");
            cat.stdin(Input::pipe()).stdout(Output::capture());
            let id = reactor.start(&mut cat).expect("start");
            let pid = reactor.pid(id);
            let_go(reactor, id);
            assert_fds(&before);
            // Its input has ended.
            wait_for_exit(pid);
        }
    }
}

/// Nobody turns the reactor after that.
pub(super) fn a_pipe_that_is_closed_at_once_is_closed() {
    let open_pipes = || {
        let fds = open_fds();
        fds.values()
            .filter(|link| link.starts_with("pipe:"))
            .count()
    };
    let before = open_pipes();
    for lets_go in [false, true] {
        for _ in 0..25 {
            let mut reactor = reactor();
            let mut cat = Command::new("/bin/cat");
            cat.stdin(Input::pipe()).stdout(Output::null());
            let id = reactor.start(&mut cat).expect("start");
            let pid = reactor.pid(id);
            if lets_go {
                assert_eq!(reactor.detach(id), pid);
            } else {
                reactor.stdin(id).expect("a pipe").close();
            }
            assert_eq!(open_pipes(), before, "{lets_go}");
            wait_for_exit(pid);
        }
    }
}

/// Takes 300 ms, in which nothing happens.
pub(super) fn one_deadline_of_a_context() {
    let mut reactor = reactor();
    let context = Context::new().with_timeout(Duration::from_millis(300));
    let (mut command, _leash) = leashed();
    let id = reactor.start(command.context(&context)).expect("start");
    let done = reactor.wait(id).expect("poll").expect("told");
    let cause = done.outcome.as_ref().err().and_then(Error::cause);
    assert_eq!(cause, Some(Cause::DeadlineExceeded));
    assert!(done.reaped >= context.deadline());
}

/// Takes 300 ms, in which a finished command waits to be taken.
pub(super) fn wait_beside_a_finished_command() {
    let mut reactor = reactor();
    let first = reactor
        .start(&mut Command::new("/bin/true"))
        .expect("start");
    while reactor.running() > 0 {
        reactor.turn(None).expect("turn");
    }
    let mut sleep = Command::new("/bin/sleep");
    let second = reactor.start(sleep.arg("0.3")).expect("start");
    let done = reactor.wait(second).expect("poll").expect("told");
    assert!(done.success() && done.elapsed() >= Duration::from_millis(300));
    assert!(reactor.wait(first).expect("poll").is_some());
}

/// Says so, and is killed. Its child answers over stderr what it reads on stdin, both given by the test.
pub(super) fn run_a_child_for_ever() {
    let mut reactor = reactor();
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "echo running; exec cat >&2"])
        .stdin(Input::inherit())
        .stdout(Output::inherit())
        .stderr(Output::inherit());
    let id = reactor.start(&mut command).expect("start");
    reactor.wait(id).expect("poll");
    panic!("the child came to its end before this process");
}
