//! Suspending all commands of a reactor, as Ctrl-Z means it: who stands, who goes on, and what can still be done.
//! Unaware of limits, which the simulation has (`src/engine/simulation/tests/suspension.rs`).
#![cfg(target_os = "linux")]

#[path = "common"]
mod common {
    mod alive;
    mod gone;
    pub mod helper;
    pub mod helper_path;
    pub mod kernel;
    mod orphan;
    mod orphan_pid;
    pub mod stay;
    pub mod wait;
    mod watchdog;
}

use std::fs;

use common::kernel::kernel_is_at_least;
use common::stay::Stay;
use common::wait::wait;
use execloop::{Cancel, Output, Reactor, Signal};

/// Waits until the process is in this state of proc(5).
fn await_state(pid: u32, state: char) {
    while state_of(pid) != state {
        std::thread::yield_now();
    }
}

fn state_of(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    let after_name = stat.rsplit_once(") ").expect("a name").1;
    after_name.chars().next().expect("a state")
}

#[test]
fn all_processes_of_a_group_stand_and_go_on() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut stay = Stay::new(&["orphan"]);
    stay.command.process_group(0);
    let id = reactor.start(&mut stay.command).expect("it starts");
    let (leader, orphan) = (stay.pid(), stay.orphan());
    let mut alone = Stay::new(&[]);
    let other = reactor.start(&mut alone.command).expect("it starts");
    let single = alone.pid();
    assert!(!reactor.is_suspended());
    reactor.suspend().expect("our own process");
    assert!(reactor.is_suspended());
    for pid in [leader, orphan, single] {
        await_state(pid, 'T');
    }
    reactor.unsuspend();
    assert!(stay.is_alive() && alone.is_alive(), "they answer");
    stay.release();
    stay.release_orphan();
    alone.release();
    assert!(wait(&mut reactor, id).success());
    assert!(wait(&mut reactor, other).success());
}

#[test]
fn what_stands_can_be_killed_and_is_cancelled_when_it_goes_on() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (mut killed, mut asked) = (Stay::new(&[]), Stay::new(&["exit=TERM:7"]));
    asked.command.on_cancel(Cancel::signal(Signal::TERM));
    let first = reactor.start(&mut killed.command).expect("it starts");
    let second = reactor.start(&mut asked.command).expect("it starts");
    killed.pid();
    let pid = asked.pid();
    reactor.suspend().expect("our own process");
    reactor.kill(first);
    assert!(!wait(&mut reactor, first).success());
    reactor.cancel(second);
    await_state(pid, 'T');
    reactor.unsuspend();
    let done = wait(&mut reactor, second);
    assert_eq!(done.status.and_then(|status| status.code()), Some(7));
}

#[test]
fn a_reactor_that_is_dropped_or_shut_down_while_all_stands_ends_all() {
    for shuts_down in [true, false] {
        let mut reactor = Reactor::new().expect("a reactor");
        let mut stay = Stay::new(&[]);
        reactor.start(&mut stay.command).expect("it starts");
        stay.pid();
        reactor.suspend().expect("our own process");
        if shuts_down {
            assert_eq!(reactor.shutdown().expect("it ends").len(), 1);
        } else {
            drop(reactor);
        }
        stay.wait_until_gone();
    }
}

#[test]
fn one_that_survives_its_reactor_goes_on() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut stay = Stay::new(&[]);
    stay.command.kill_on_drop(false);
    reactor.start(&mut stay.command).expect("it starts");
    let pid = stay.pid();
    reactor.suspend().expect("our own process");
    await_state(pid, 'T');
    drop(reactor);
    assert!(stay.is_alive());
    stay.release();
}

#[test]
fn who_is_left_of_a_group_goes_on_when_its_command_is_handed_out() {
    if cfg!(execloop_kqueue_shim) || !kernel_is_at_least((6, 9)) {
        return eprintln!("skipped: the group of a reaped leader cannot be signalled here");
    }
    let mut reactor = Reactor::new().expect("a reactor");
    let mut stay = Stay::new(&["orphan"]);
    stay.command.process_group(0).stdout(Output::capture());
    let id = reactor.start(&mut stay.command).expect("it starts");
    let left = stay.orphan();
    stay.release();
    while reactor.signal(id, Signal::CONT).is_ok() {
        reactor.turn(None).expect("turned");
    }
    reactor.suspend().expect("our own process");
    await_state(left, 'T');
    // Its pipe is cut, which is held by who is left.
    assert!(reactor.kill(id));
    let _ = wait(&mut reactor, id);
    // SIGCONT ends the stop before kill(2) returns.
    assert_ne!(state_of(left), 'T');
    stay.release_orphan();
    reactor.unsuspend();
}
