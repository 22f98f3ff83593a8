//! Forked copies of a process that has a reactor: what they do to theirs, the original must not feel.
#![allow(unsafe_code, reason = "fork and waitpid")]

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use execloop::{Command, CommandId, Context, Error, Input, Output, Reactor, Signal, StartError};

use super::{reactor, wait};
use crate::counts::{assert_fds, open_fds};

/// Does `act` in a forked copy of this process, and waits until that has ended well.
#[track_caller]
fn in_copy(act: impl FnOnce()) {
    // SAFETY: this process has one thread.
    let copy = unsafe { libc::fork() };
    assert_ne!(copy, -1, "{}", io::Error::last_os_error());
    if copy == 0 {
        let is_well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_ok();
        // SAFETY: _exit(2) takes a number; nothing else of this copy is to run.
        unsafe { libc::_exit(i32::from(!is_well)) };
    }
    let mut status = -1;
    // SAFETY: `status` has room for the answer.
    let waited = unsafe { libc::waitpid(copy, &raw mut status, 0) };
    assert_eq!((waited, status), (copy, 0), "the copy failed");
}

/// A `cat` whose input and output are pipes of ours: `input` is given to it at once.
fn cat(reactor: &mut Reactor, input: &[u8]) -> CommandId {
    let mut command = Command::new("/bin/cat");
    command.stdin(Input::pipe()).stdout(Output::capture());
    let id = reactor.start(&mut command).expect("start");
    let mut stdin = reactor.stdin(id).expect("a pipe");
    stdin.write_all(input).expect("room");
    id
}

/// No fork inherits a kqueue, but for that of the shim: puts other files where this copy has what polls are made of.
fn others_at_numbers_of_kqueues() -> Vec<i32> {
    if cfg!(not(execloop_kqueue_shim)) {
        return Vec::new();
    }
    let null = File::open("/dev/null").expect("/dev/null");
    let is_of_poll = |name: &str| name.contains("eventpoll") || name.contains("eventfd");
    let fds = open_fds().into_iter();
    // What is higher is the shim's own.
    let of_polls = fds.filter(|(number, name)| *number < 512 && is_of_poll(name));
    let numbers: Vec<i32> = of_polls.map(|(number, _)| number).collect();
    for number in &numbers {
        // SAFETY: dup2(2) takes two numbers; what is there belongs to a reactor that does not use it in a copy.
        assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), *number) }, *number);
    }
    numbers
}

#[track_caller]
fn finish(mut reactor: Reactor, id: CommandId, output: &[u8]) {
    let mut stdin = reactor.stdin(id).expect("a pipe");
    stdin.write_all(b"end").expect("it reads");
    stdin.close();
    let done = wait(&mut reactor, id);
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(done.stdout, output);
}

pub(super) fn dropped_in_a_forked_copy() {
    let mut original = reactor();
    let id = cat(&mut original, b"");
    let mut group = Command::new("/bin/cat");
    group.stdin(Input::pipe()).process_group(0);
    let group = original.start(&mut group).expect("start");
    // Registered, so that a poll in the copy would take events.
    original.turn(Some(Duration::ZERO)).expect("turn");
    let mut kept = Some(original);
    in_copy(|| {
        let others = others_at_numbers_of_kqueues();
        let before = open_fds();
        drop(kept.take());
        let left = open_fds();
        let closed = before.len() - left.len();
        assert!(
            closed + others.len() > 8,
            "{before:?}: it closes its copies"
        );
        let is_there = |number: &i32| left.get(number) == before.get(number);
        assert!(others.iter().all(is_there), "{left:?}: not its own");
    });
    let mut original = kept.expect("the original's");
    original.signal(group, Signal::TERM).expect("it lives");
    let ended = wait(&mut original, group);
    let status = ended.status.expect("a status").to_string();
    assert!(status.contains("15"), "{status}");
    finish(original, id, b"end");
}

pub(super) fn used_in_a_forked_copy() {
    let mut original = reactor();
    let context = Context::new();
    let id = cat(&mut original, b"before ");
    let mut watched = Command::new("/bin/cat");
    watched.stdin(Input::pipe()).context(&context);
    let watched = original.start(&mut watched).expect("start");
    original.turn(Some(Duration::ZERO)).expect("turn");
    let handle = original.handle();
    let mut kept = Some(original);
    in_copy(|| {
        let mut original = kept.take().expect("the copy's");
        let refused = |error: io::Error| assert_eq!(error.kind(), ErrorKind::Unsupported);
        refused(original.turn(Some(Duration::ZERO)).expect_err("turn"));
        refused(original.wait_any().expect_err("wait_any"));
        refused(original.wait(id).expect_err("wait"));
        refused(original.signal(id, Signal::KILL).expect_err("signal"));
        let mut stdin = original.stdin(id).expect("a pipe");
        refused(stdin.write_all(b"of the copy").expect_err("write"));
        let failed = original.start(&mut Command::new("/bin/true"));
        let failed = failed.expect_err("a start");
        assert!(matches!(failed, StartError::Forked), "{failed:?}");
        let text = "not started: the reactor belongs to the process that this one was forked from";
        assert_eq!(failed.to_string(), text);
        assert_eq!(handle.start(Command::new("/bin/true")), None);
        handle.kill(id);
        context.cancel();
        original.kill(watched);
        original.detach(watched);
        refused(original.turn(None).expect_err("turn"));
        refused(original.shutdown().expect_err("shutdown"));
        // One of its own does all of it.
        Command::new("/bin/true").run().expect("it runs");
    });
    let mut original = kept.expect("the original's");
    let probe = Signal::new(0).expect("a probe");
    original.signal(watched, probe).expect("it lives");
    assert!(original.kill(watched));
    let _ = wait(&mut original, watched);
    finish(original, id, b"before end");
}

/// What the original waits for comes although a copy of it lives on and holds copies of everything.
pub(super) fn kept_in_a_forked_copy() {
    let before = open_fds();
    let mut original = reactor();
    let (mut gate, mut opener) = io::pipe().expect("a pipe");
    let id = cat(&mut original, b"");
    let mut short = Command::new("head");
    short
        .args(["-n", "1"])
        .stdin(Input::pipe())
        .stdout(Output::capture());
    let short = original.start(&mut short).expect("start");
    // What is written is written to a program: its start is over, and no copy holds its ends of the pipes.
    let mut stdin = original.stdin(short).expect("its stdin");
    stdin.write_all(b"short\n").expect("it reads");
    // SAFETY: this process has one thread.
    let copy = unsafe { libc::fork() };
    assert_ne!(copy, -1, "{}", io::Error::last_os_error());
    if copy == 0 {
        drop(opener);
        let _ = gate.read(&mut [0]);
        // SAFETY: _exit(2) takes a number.
        unsafe { libc::_exit(0) };
    }
    let done = wait(&mut original, short);
    assert_eq!(done.stdout, b"short\n");
    assert!(original.kill(id));
    let killed = wait(&mut original, id);
    assert!(matches!(killed.outcome, Err(Error::Exit(_))));
    drop(original);
    opener.write_all(b"!").expect("the copy waits");
    // SAFETY: no status is asked for.
    let waited = unsafe { libc::waitpid(copy, std::ptr::null_mut(), 0) };
    assert_eq!(waited, copy);
    drop((gate, opener));
    assert_fds(&before);
}
