//! What a kqueue can do to its user, forced by the one of `tests/kqueue_shim`: no command is lost by it.
//! Unaware of how exits are told otherwise; run with `--cfg execloop_kqueue_shim`.
#![cfg(execloop_kqueue_shim)]
#![allow(unsafe_code, reason = "the switches are C functions")]

#[path = "common"]
mod common {
    mod watchdog;
}

use std::io::{BufRead, BufReader};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use execloop::{Cause, Command, CommandId, Error, Input, Output, Reactor};

/// The numbers of `kqueue_shim.h`.
#[derive(Clone, Copy)]
enum Force {
    Gone = 0,
    Early = 1,
    Stale = 2,
    Interrupted = 3,
    NoMemory = 4,
}

unsafe extern "C" {
    fn kqueue_shim_force(what: i32, times: u32) -> i32;
    fn kqueue_shim_forced(what: i32) -> u32;
}

/// The switches are the process's: one test at a time. Forces `times` occasions, and checks at its end that they came.
struct Forced(
    Force,
    u32,
    #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>,
);

impl Forced {
    fn new(what: Force, times: u32) -> Forced {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: it takes a number and gives one.
        let before = unsafe { kqueue_shim_forced(what as i32) };
        // SAFETY: it takes two numbers.
        assert_eq!(unsafe { kqueue_shim_force(what as i32, times) }, 0);
        Forced(what, before + times, turn)
    }

    #[track_caller]
    fn assert_came(&self) {
        // SAFETY: it takes a number and gives one.
        assert_eq!(unsafe { kqueue_shim_forced(self.0 as i32) }, self.1);
    }
}

/// A command that says `ready`, and exits with 3 when its stdin ends.
fn waiting(reactor: &mut Reactor) -> CommandId {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "echo ready; read line; exit 3"])
        .stdin(Input::pipe())
        .stdout(Output::pipe());
    let id = reactor.start(&mut command).expect("it starts");
    let mut line = String::new();
    BufReader::new(reactor.stdout(id).expect("its pipe"))
        .read_line(&mut line)
        .expect("a line");
    assert_eq!(line, "ready\n");
    id
}

#[track_caller]
fn ends_with_3(reactor: &mut Reactor, id: CommandId) {
    let done = reactor.wait(id).expect("waited").expect("finished");
    let status = done.status.and_then(|status| status.code());
    assert_eq!(status, Some(3), "{:?}", done.outcome);
    assert!(reactor.is_empty());
}

/// The child runs on while its exit is told, or refused to be watched. It is asked by timer from then on.
fn outlives(what: Force) {
    let forced = Forced::new(what, 1);
    let mut reactor = Reactor::new().expect("a reactor");
    let id = waiting(&mut reactor);
    // Registered, told, asked, and still there.
    while !came(&forced) {
        reactor.turn(Some(Duration::ZERO)).expect("turn");
    }
    reactor.turn(Some(Duration::ZERO)).expect("turn");
    assert_eq!(reactor.len(), 1);
    reactor.stdin(id).expect("its pipe").close();
    ends_with_3(&mut reactor, id);
    forced.assert_came();
}

fn came(forced: &Forced) -> bool {
    // SAFETY: it takes a number and gives one.
    unsafe { kqueue_shim_forced(forced.0 as i32) == forced.1 }
}

#[test]
fn a_child_that_is_said_to_be_gone_and_is_not_is_asked_until_it_is() {
    outlives(Force::Gone);
}

#[test]
fn an_exit_that_is_told_too_early_is_asked_for_until_it_is_there() {
    outlives(Force::Early);
}

#[test]
fn a_child_that_cannot_be_watched_is_asked_by_timer() {
    outlives(Force::NoMemory);
}

#[test]
fn a_child_that_exited_before_it_was_watched_is_reaped() {
    let forced = Forced::new(Force::Gone, 1);
    let mut reactor = Reactor::new().expect("a reactor");
    let id = waiting(&mut reactor);
    reactor.stdin(id).expect("its pipe").close();
    ends_with_3(&mut reactor, id);
    drop(forced);
}

#[test]
fn an_outer_loop_is_told_of_a_child_that_was_gone() {
    use std::os::fd::{AsFd, AsRawFd};
    let forced = Forced::new(Force::Gone, 1);
    let mut reactor = Reactor::new().expect("a reactor");
    let mut command = Command::new("/bin/sleep");
    let id = reactor.start(command.arg("1000")).expect("it starts");
    while !came(&forced) {
        reactor.turn(Some(Duration::ZERO)).expect("turn");
    }
    let mut entry = libc::pollfd {
        fd: reactor.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry. A reactor that said nothing would leave this waiting for ever.
    assert_eq!(unsafe { libc::poll(&raw mut entry, 1, -1) }, 1);
    assert!(reactor.kill(id));
    assert!(reactor.wait(id).expect("waited").is_some());
}

#[test]
fn a_timer_that_fires_while_it_is_set_anew_costs_no_deadline() {
    let forced = Forced::new(Force::Stale, 3);
    let mut reactor = Reactor::new().expect("a reactor");
    for milliseconds in [30, 20, 10] {
        let mut command = Command::new("/bin/sleep");
        command
            .arg("1000")
            .timeout(Duration::from_millis(milliseconds));
        reactor.start(&mut command).expect("it starts");
        reactor.turn(Some(Duration::ZERO)).expect("turn");
    }
    while let Some(done) = reactor.wait_any().expect("waited") {
        let cause = done.outcome.as_ref().err().and_then(Error::cause);
        assert_eq!(cause, Some(Cause::Timeout), "{:?}", done.outcome);
    }
    forced.assert_came();
}

#[test]
fn an_interrupted_call_loses_no_exit() {
    let forced = Forced::new(Force::Interrupted, 5);
    let mut reactor = Reactor::new().expect("a reactor");
    let id = waiting(&mut reactor);
    while reactor.turn(Some(Duration::from_millis(1))).is_ok()
        && reactor.len() == 1
        && !came(&forced)
    {
        // The exit alone makes the queue be looked at.
        if let Some(stdin) = reactor.stdin(id) {
            stdin.close();
        }
    }
    ends_with_3(&mut reactor, id);
    forced.assert_came();
}

#[test]
fn many_commands_end_once_each_whatever_is_forced() {
    for what in [
        Force::Gone,
        Force::Early,
        Force::NoMemory,
        Force::Interrupted,
        Force::Stale,
    ] {
        let forced = Forced::new(what, 1000);
        let mut reactor = Reactor::builder()
            .max_running(20)
            .build()
            .expect("a reactor");
        for number in 0..60 {
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", &format!("read line; exit {}", number % 7)])
                .stdin(Input::bytes(*b"line\n"))
                .stdout(Output::capture())
                .timeout(Duration::from_secs(600));
            reactor.start(&mut command).expect("it starts");
        }
        let mut codes = [0; 7];
        while let Some(done) = reactor.wait_any().expect("waited") {
            let code = done
                .status
                .and_then(|status| status.code())
                .expect("an exit");
            codes[code as usize] += 1;
        }
        assert_eq!(codes, [9, 9, 9, 9, 8, 8, 8]);
        // SAFETY: it takes two numbers.
        assert_eq!(unsafe { kqueue_shim_force(what as i32, 0) }, 0);
        drop(forced);
    }
}
