//! The signals of a child: what it ignores, catches and blocks, and what may not happen before its exec.
//! Unaware of which system calls are refused.

use std::io::{ErrorKind, Write};
use std::sync::atomic::Ordering;

use execloop::{Command, Input, Output, Reactor};

use super::calls::{self, HANDLED, HANDLED_ELSEWHERE};
use super::identity::{bits, own};
use super::{cat, finish, helper, status};

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

pub(super) fn dispositions(reactor: &mut Reactor) {
    calls::handle(libc::SIGUSR1);
    calls::ignore(libc::SIGUSR2);
    calls::ignore(libc::SIGHUP);
    let blocked = calls::block(&[libc::SIGTERM, libc::SIGWINCH]);
    let ignored = bits(&own("SigIgn"));
    assert_ne!(bits(&own("SigCgt")) & bit(libc::SIGUSR1), 0);
    assert_ne!(ignored & bit(libc::SIGPIPE), 0, "std ignores it");
    for change in [same, group, session] {
        let child = status(reactor, change(&mut cat("status")));
        assert_eq!(bits(&child["SigCgt"]), 0);
        // Of the two that glibc keeps for itself, its posix_spawn makes ignored ones.
        let of_libc = if cfg!(execloop_kqueue_shim) {
            bit(32) | bit(33)
        } else {
            0
        };
        assert_eq!(
            bits(&child["SigIgn"]) & !of_libc,
            ignored & !bit(libc::SIGPIPE) & !of_libc
        );
        assert_eq!(bits(&child["SigBlk"]), blocked);
        assert_ne!(blocked & bit(libc::SIGTERM), 0);
    }
    // Nothing of this has changed here.
    assert_eq!(calls::block(&[]), blocked);
    assert_eq!(bits(&own("SigIgn")), ignored);
    let before = HANDLED.load(Ordering::Relaxed);
    calls::raise(libc::SIGUSR1);
    assert_eq!(HANDLED.load(Ordering::Relaxed), before + 1);
    calls::unblock(&[libc::SIGTERM, libc::SIGWINCH]);
    calls::reset(&[libc::SIGUSR1, libc::SIGUSR2, libc::SIGHUP]);
}

fn same(command: &mut Command) -> &mut Command {
    command
}

fn group(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

fn session(command: &mut Command) -> &mut Command {
    command.session(true)
}

/// Signals to the whole group rain down while children start: no handler may run in one of them, as it would run in our
/// memory, and none of them may die of it, as the signal's default is to be ignored.
pub(super) fn storm(reactor: &mut Reactor) {
    calls::handle(libc::SIGURG);
    let before = HANDLED.load(Ordering::Relaxed);
    let mut maker = helper("storm-maker");
    let maker = reactor
        .start(maker.stdin(Input::pipe()))
        .expect("it starts");
    let mut started = 0;
    while started < 150 || HANDLED.load(Ordering::Relaxed) - before < 500 {
        let mut command = Command::new("/bin/true");
        if started % 2 == 0 {
            command.process_group(0);
        }
        let done = finish(reactor, command.stdout(Output::capture()));
        assert!(done.success(), "{:?}", done.outcome);
        started += 1;
    }
    assert_eq!(HANDLED_ELSEWHERE.load(Ordering::Relaxed), 0);
    assert!(reactor.kill(maker));
    let _ = reactor.wait(maker).expect("waited").expect("finished");
    calls::reset(&[libc::SIGURG]);
}

/// Signals its group until it is killed.
pub(super) fn storm_maker() {
    loop {
        calls::signal_own_group(libc::SIGURG);
    }
}

/// Children that do not read what they are sent, in a program that would die of SIGPIPE, or that has it blocked.
pub(super) fn unread_input() {
    let mut reactor = Reactor::new().expect("a reactor");
    calls::reset(&[libc::SIGPIPE]);
    let before = calls::block(&[]);
    assert_eq!(before & bit(libc::SIGPIPE), 0);
    send_unread(&mut reactor);
    assert_eq!(calls::block(&[]), before, "the mask is as it was");
    assert!(!calls::is_pending(libc::SIGPIPE));

    let blocked = calls::block(&[libc::SIGPIPE]);
    send_unread(&mut reactor);
    assert_eq!(calls::block(&[]), blocked, "the mask is as it was");
    assert!(!calls::is_pending(libc::SIGPIPE), "ours was taken back");
    calls::raise(libc::SIGPIPE);
    send_unread(&mut reactor);
    assert!(calls::is_pending(libc::SIGPIPE), "this one is not ours");
    calls::ignore(libc::SIGPIPE);
    calls::unblock(&[libc::SIGPIPE]);
    send_unread(&mut reactor);
}

fn send_unread(reactor: &mut Reactor) {
    let input = vec![b'x'; 1 << 20];
    let mut command = Command::new("/bin/true");
    let done = finish(reactor, command.stdin(Input::bytes(input.clone())));
    assert!(done.success(), "{:?}", done.outcome);
    let mut command = Command::new("/bin/true");
    let id = reactor
        .start(command.stdin(Input::pipe()))
        .expect("it starts");
    let mut stdin = reactor.stdin(id).expect("a pipe");
    let error = stdin.write_all(&input).expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    let _ = reactor.wait(id).expect("waited").expect("finished");
}
