//! A program that takes for ever to be executed, on a file system whose server does not answer: it holds up nobody, and every
//! end reaches its child. Unaware of how a start is made. Where a start waits for its exec, it would hold up everybody.
#![cfg(all(
    target_os = "linux",
    not(any(execloop_start_waits, execloop_kqueue_shim))
))]
#![allow(unsafe_code, reason = "waitpid has no safe wrapper")]

#[path = "common"]
mod common {
    pub mod fuse;
    pub mod fuse_ends;
    pub mod scratch;
    pub mod shell;
    mod watchdog;
}

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::fuse::{Interrupted, Stall, deaf};
use common::fuse_ends::polite;
use common::scratch::Scratch;
use common::shell::shell;
use execloop::{Cause, Command, CommandId, Error, Finished, Output, Reactor, Signal};

/// What the program says.
const SAYS: &str = "executed";

/// A file system that does not answer, in a directory of its own, which goes after it. `None`, and a word about it, where
/// nothing can be mounted.
fn stall(interrupted: Interrupted) -> Option<(Scratch, Stall)> {
    let scratch = Scratch::new();
    let directory = scratch.join("stall");
    fs::create_dir(&directory).expect("a directory");
    match Stall::mount(&directory, interrupted) {
        Ok(stall) => Some((scratch, stall)),
        Err(error) => {
            eprintln!("skipped: no FUSE here: {error}");
            None
        }
    }
}

/// The same, and a reactor, which goes before it.
fn stalled(interrupted: Interrupted) -> Option<(Scratch, Stall, Reactor)> {
    let (scratch, stall) = stall(interrupted)?;
    Some((scratch, stall, reactor()))
}

fn reactor() -> Reactor {
    Reactor::new().expect("a reactor")
}

/// Starts the program, and waits until its child is in its exec.
fn start(reactor: &mut Reactor, stall: &Stall, command: &mut Command) -> CommandId {
    let id = reactor.start(command).expect("start");
    stall.await_exec();
    id
}

fn program(stall: &Stall) -> Command {
    let mut command = Command::new(stall.program());
    command.arg("x").stdout(Output::capture());
    command
}

#[track_caller]
fn wait(reactor: &mut Reactor, id: CommandId) -> Finished {
    reactor.wait(id).expect("waited").expect("finished")
}

/// Others start, run and end meanwhile.
#[track_caller]
fn others_run(reactor: &mut Reactor) {
    for _ in 0..20 {
        let mut other = shell("echo y");
        let id = reactor.start(other.stdout(Output::capture()));
        let done = wait(reactor, id.expect("start"));
        assert_eq!(done.stdout, b"y\n");
    }
}

fn said() -> Vec<u8> {
    format!("{SAYS} x\n").into_bytes()
}

#[test]
fn an_exec_that_takes_long_holds_up_nobody_and_is_not_lost() {
    let Some((_scratch, stall, mut reactor)) = stalled(deaf) else {
        return;
    };
    let id = start(&mut reactor, &stall, &mut program(&stall));
    others_run(&mut reactor);
    stall.let_pass();
    let done = wait(&mut reactor, id);
    assert_eq!((done.success(), done.stdout), (true, said()));
}

#[test]
fn a_time_limit_counts_from_the_birth_and_ends_an_exec() {
    let Some((_scratch, stall, mut reactor)) = stalled(polite) else {
        return;
    };
    let mut command = program(&stall);
    command.timeout(Duration::from_millis(100));
    let id = start(&mut reactor, &stall, &mut command);
    others_run(&mut reactor);
    let done = wait(&mut reactor, id);
    let cause = done.outcome.as_ref().err().and_then(Error::cause);
    assert_eq!(cause, Some(Cause::Timeout), "{done:?}");
}

#[test]
fn a_signal_before_the_exec_ends_the_child() {
    let Some((_scratch, stall, mut reactor)) = stalled(polite) else {
        return;
    };
    for signal in [Signal::TERM, Signal::KILL] {
        let id = start(&mut reactor, &stall, &mut program(&stall));
        reactor.signal(id, signal).expect("it lives");
        let done = wait(&mut reactor, id);
        let status = done.status.expect("a status");
        assert_eq!(status.signal(), Some(signal.number()));
        others_run(&mut reactor);
    }
}

#[test]
fn a_child_that_is_stopped_before_its_exec_holds_up_nobody_and_goes_on() {
    let Some((_scratch, stall, mut reactor)) = stalled(deaf) else {
        return;
    };
    let id = start(&mut reactor, &stall, &mut program(&stall));
    reactor.signal(id, Signal::STOP).expect("it lives");
    others_run(&mut reactor);
    stall.let_pass();
    others_run(&mut reactor);
    reactor.signal(id, Signal::CONT).expect("it lives");
    let done = wait(&mut reactor, id);
    assert_eq!((done.success(), done.stdout), (true, said()));
}

#[test]
fn drop_shutdown_and_panic_end_a_child_before_its_exec() {
    let Some((_scratch, stall)) = stall(polite) else {
        return;
    };
    let end = |how: fn(Reactor)| {
        let mut reactor = reactor();
        let mut command = program(&stall);
        let ids = [(); 3].map(|()| start(&mut reactor, &stall, &mut command));
        let pids = ids.map(|id| reactor.pid(id).expect("it runs"));
        how(reactor);
        for pid in pids {
            assert!(!fs::exists(format!("/proc/{pid}")).expect("proc"));
        }
    };
    end(drop);
    end(|reactor| {
        let finished = reactor.shutdown().expect("poll");
        assert_eq!(finished.len(), 3);
        assert!(finished.iter().all(|done| !done.success()));
    });
    end(|reactor| {
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _reactor = reactor;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
    });
}

/// What the child does when its opening is answered, it does on a stack and by a plan that were its reactor's: an exec reads its
/// arguments then, a failure is reported.
#[test]
fn nothing_is_freed_under_a_child_that_outlives_its_reactor() {
    let Some((scratch, stall)) = stall(deaf) else {
        return;
    };
    let told = scratch.join("told");
    let outlive = || {
        let mut reactor = reactor();
        let mut command = Command::new(stall.program());
        command.arg("x").arg(&told);
        let id = start(&mut reactor, &stall, &mut command);
        let pid = reactor.detach(id).expect("it runs");
        drop((reactor, command));
        // Whatever was given back is somebody else's now.
        let mut next = self::reactor();
        others_run(&mut next);
        pid
    };
    let failed = outlive();
    stall.fail();
    let status = status_of(failed);
    assert!(libc::WIFEXITED(status), "it was ended by {status:#x}");
    assert_ne!(status, 0);
    let executed = outlive();
    stall.let_pass();
    assert_eq!(status_of(executed), 0);
    let said = fs::read(&told).expect("the program ran");
    assert_eq!(said, self::said());
}

fn status_of(pid: u32) -> libc::c_int {
    let mut status = 0;
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    // SAFETY: the address is that of a number, which lives across the call.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(reaped, pid);
    status
}

#[test]
fn an_exec_that_fails_late_is_told_by_the_end_of_its_command() {
    let Some((_scratch, stall, mut reactor)) = stalled(deaf) else {
        return;
    };
    let id = start(&mut reactor, &stall, &mut program(&stall));
    others_run(&mut reactor);
    stall.fail();
    let done = wait(&mut reactor, id);
    let Err(Error::Start(error)) = &done.outcome else {
        panic!("{done:?}");
    };
    assert_eq!(
        error.io_error().and_then(io::Error::raw_os_error),
        Some(libc::EIO)
    );
    assert!(error.to_string().contains("stall/program"), "{error}");
}

/// So many starts are under way at most.
const UNDER_WAY_MAX: usize = 16;

#[test]
fn with_all_starts_under_way_the_next_waits_in_the_queue_and_not_in_the_kernel() {
    let Some((_scratch, stall, mut reactor)) = stalled(polite) else {
        return;
    };
    let mut command = program(&stall);
    let ids: Vec<_> = (0..UNDER_WAY_MAX)
        .map(|_| start(&mut reactor, &stall, &mut command))
        .collect();
    let other = reactor.start(shell("echo y").stdout(Output::capture()));
    let other = other.expect("start");
    assert_eq!((reactor.running(), reactor.queued()), (UNDER_WAY_MAX, 1));
    assert!(reactor.kill(ids[7]));
    assert_eq!(wait(&mut reactor, other).stdout, b"y\n");
    stall.let_pass();
    for id in ids {
        let done = wait(&mut reactor, id);
        assert!(done.success() || done.stdout.is_empty(), "{done:?}");
    }
}
