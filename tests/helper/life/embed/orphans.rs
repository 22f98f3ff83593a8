//! What this process gets as the subreaper of its descendants, and what it is to leave alone.
#![allow(unsafe_code, reason = "waitid and pidfd_open have no safe wrapper")]

use std::io::{self, PipeWriter, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use execloop::linux::{Orphan, Orphans};
use execloop::{Command, Finished, Input, Reactor};

use super::{leashed, reactor, shell, wait};
use crate::counts::{assert_fds, assert_no_children, open_fds};

/// More than are looked at together.
const CROWD: usize = 100;

/// Waits until a child of this process has exited, and leaves it to be reaped.
fn exited(pid: u32) {
    // SAFETY: siginfo_t is plain data for which zero is valid.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: the structure has room for the answer.
    let result = unsafe { libc::waitid(libc::P_PID, pid as _, &raw mut information, options) };
    assert_eq!(result, 0, "{pid}: {}", io::Error::last_os_error());
}

/// A command that has left a process behind, which lives on a leash and ends with 3: its pid, once it is ours.
fn leave_one(reactor: &mut Reactor) -> (u32, PipeWriter) {
    let (stdin, leash) = io::pipe().expect("a pipe");
    let mut command = shell("{ cat; exit 3; } <&4 >/dev/null & echo $!");
    let id = reactor.start(command.extra_fd(4, stdin)).expect("start");
    let done = wait(reactor, id);
    assert!(done.success(), "{done:?}");
    let pid = String::from_utf8_lossy(&done.stdout).trim().parse();
    (pid.expect("a pid"), leash)
}

fn codes(told: &[Orphan]) -> Vec<(u32, Option<i32>)> {
    told.iter()
        .map(|orphan| (orphan.pid, orphan.status.code()))
        .collect()
}

/// A child of std's on a leash, which ends with 5.
fn stranger() -> (std::process::Child, PipeWriter) {
    let (stdin, leash) = io::pipe().expect("a pipe");
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "cat; exit 5"]).stdin(stdin);
    (command.spawn().expect("a child"), leash)
}

fn pidfd(pid: u32) -> OwnedFd {
    // SAFETY: pidfd_open(2) takes two numbers.
    let opened = unsafe {
        libc::syscall(
            libc::SYS_pidfd_open,
            libc::c_long::from(pid.cast_signed()),
            0,
        )
    };
    assert!(opened >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel made it just now.
    unsafe { OwnedFd::from_raw_fd(opened as libc::c_int) }
}

/// Reaped are orphans alone: not commands of whatever reactor, not what a pidfd is for, not what is the caller's own.
pub(super) fn orphans_are_reaped_and_told_and_nobody_else() {
    let mut orphans = Orphans::adopt().expect("Linux has it");
    let none = |told: io::Result<Vec<Orphan>>| assert_eq!(told.expect("a look"), []);
    let (mut one, mut other) = (reactor(), reactor());
    none(orphans.reap(|_| panic!("there is no zombie")));
    // The list of children has these before any orphan.
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let (mut command, leash) = leashed();
        crowd.push((one.start(&mut command).expect("start"), leash));
    }
    one.turn(Some(Duration::ZERO)).expect("turn");
    let before = open_fds();
    let (first, first_leash) = leave_one(&mut one);
    let (second, second_leash) = leave_one(&mut other);
    none(orphans.reap(|_| panic!("they live")));

    let (mut own, own_leash) = stranger();
    let (mut held, held_leash) = stranger();
    let holds = pidfd(held.id());
    let (mut command, leash) = leashed();
    let unseen = one.start(&mut command).expect("start");
    drop((first_leash, own_leash, held_leash, leash));
    let seen = [
        first,
        own.id(),
        held.id(),
        one.pid(unseen).expect("it runs"),
    ];
    seen.into_iter().for_each(exited);
    let mut asked = Vec::new();
    let told = orphans.reap(|pid| {
        asked.push(pid);
        pid == own.id()
    });
    assert_eq!(codes(&told.expect("a look")), [(first, Some(3))]);
    asked.sort();
    let mut expected = [first, own.id()];
    expected.sort();
    assert_eq!(asked, expected, "nothing else was in question");
    none(orphans.reap(|pid| pid == own.id()));
    assert_eq!(own.wait().expect("its status").code(), Some(5));
    assert_eq!(held.wait().expect("its status").code(), Some(5));
    drop(holds);
    assert!(wait(&mut one, unseen).success());

    drop(second_leash);
    exited(second);
    let told = orphans.reap(|_| false).expect("a look");
    assert_eq!(codes(&told), [(second, Some(3))]);
    drop((own, held));
    assert_fds(&before);
    for (id, leash) in crowd {
        drop(leash);
        assert!(wait(&mut one, id).success());
    }
    assert_no_children();
}

/// What a dropped reactor has left running is nobody's from then on.
pub(super) fn a_survivor_of_its_reactor_becomes_an_orphan() {
    let mut orphans = Orphans::adopt().expect("Linux has it");
    let mut reactor = reactor();
    let (stdin, leash) = io::pipe().expect("a pipe");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "cat; exit 7"])
        .stdin(Input::file(stdin))
        .kill_on_drop(false);
    let id = reactor.start(&mut command).expect("start");
    let pid = reactor.pid(id).expect("it runs");
    drop(reactor);
    drop(leash);
    exited(pid);
    let told = orphans.reap(|_| false).expect("a look");
    assert_eq!(codes(&told), [(pid, Some(7))]);
    assert_no_children();
}

/// More at once than are held at a time, while a thread runs commands whose ends nobody may take.
pub(super) fn many_orphans_beside_a_busy_reactor() {
    const ORPHANS: usize = 300;
    let mut orphans = Orphans::adopt().expect("Linux has it");
    let busy = std::thread::spawn(|| {
        let mut reactor = reactor();
        for _ in 0..300 {
            reactor.start(&mut shell("exit 4")).expect("start");
            reactor
                .start(&mut Command::new("/bin/true"))
                .expect("start");
        }
        let mut codes = [0; 5];
        while let Some(done) = reactor.wait_any().expect("poll") {
            codes[code_of(&done)] += 1;
        }
        codes
    });
    let (stdin, mut leash) = io::pipe().expect("a pipe");
    let script = format!(
        "i=0; while [ $i -lt {ORPHANS} ]; do {{ read line; exit 3; }} <&4 & i=$((i+1)); done"
    );
    let mut reactor = reactor();
    let mut command = shell(&script);
    command.stdout(execloop::Output::null()).extra_fd(4, stdin);
    let id = reactor.start(&mut command).expect("start");
    assert!(wait(&mut reactor, id).success());
    leash.write_all(&[b'\n'; ORPHANS]).expect("they read");
    let mut told = Vec::new();
    while told.len() < ORPHANS {
        told.extend(orphans.reap(|_| false).expect("a look"));
    }
    assert!(
        told.iter().all(|orphan| orphan.status.code() == Some(3)),
        "{told:?}"
    );
    assert_eq!(busy.join().expect("no panic"), [300, 0, 0, 0, 300]);
    assert_eq!(orphans.reap(|_| false).expect("a look"), []);
    assert_no_children();
}

fn code_of(done: &Finished) -> usize {
    let status = done
        .status
        .unwrap_or_else(|| panic!("its status is lost: {done:?}"));
    status.code().expect("an exit") as usize
}
