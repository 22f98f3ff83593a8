//! Statuses that somebody else has taken, or keeps back for a while.
#![allow(unsafe_code, reason = "waitpid, seccomp and ptrace")]

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;

use execloop::{Command, Error, Finished, Input, Output};

use super::super::act;
use super::{leashed, reactor, shell, wait};
use crate::counts::assert_no_children;
use crate::start_error::start_error;

/// Refuses every ioctl(2) from here on, as a kernel before 6.15 refuses the one that tells a kept status.
fn refuse_ioctl() {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let load_number = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    let mut if_ioctl = statement(
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::SYS_ioctl as u32,
    );
    if_ioctl.jf = 1;
    let answer = |k| statement(libc::BPF_RET | libc::BPF_K, k);
    let mut program = [
        load_number,
        if_ioctl,
        answer(libc::SECCOMP_RET_ERRNO | libc::ENOTTY as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as libc::c_ushort,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: prctl(2) with this option takes numbers.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: the filter's program lives across the call.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

#[track_caller]
fn check(done: &Finished, code: i32, is_kept: bool) {
    assert_eq!(done.stdout, b"said\n");
    assert!(done.usage.is_none(), "that went with the status");
    if is_kept {
        assert_eq!(done.status.and_then(|status| status.code()), Some(code));
        assert_eq!(done.success(), code == 0);
    } else {
        let Err(error @ Error::StatusLost) = &done.outcome else {
            panic!("{:?}", done.outcome)
        };
        assert!(done.status.is_none());
        let text =
            "exit status lost: another part of the process reaped the child, or SIGCHLD is ignored";
        assert_eq!(error.to_string(), text);
    }
}

/// The statuses are kept by the kernel, or they are lost: there, or because it is kept from saying so.
pub(super) fn taken_by_others(what: &str) {
    let is_kept = what == "kept";
    if !is_kept {
        refuse_ioctl();
    }
    let mut reactor = reactor();
    for code in [0, 7] {
        // A part of the program that waits for any child.
        let mut command = shell(&format!("echo said; exit {code}"));
        let id = reactor.start(&mut command).expect("start");
        // SAFETY: a null pointer means that the status is not asked for.
        let stolen = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
        assert!(stolen > 0);
        check(&wait(&mut reactor, id), code, is_kept);
    }
    for code in [0, 7] {
        // The kernel reaps for a program that ignores the signal, or that inherited it so.
        act(libc::SIGCHLD, libc::SIG_IGN);
        let mut command = shell(&format!("echo said; exit {code}"));
        let id = reactor.start(&mut command).expect("start");
        check(&wait(&mut reactor, id), code, is_kept);
    }
    let (mut command, _leash) = leashed();
    let id = reactor.start(&mut command).expect("start");
    assert!(reactor.kill(id));
    let done = wait(&mut reactor, id);
    let signal = done.status.and_then(|status| status.signal());
    assert_eq!(signal, is_kept.then_some(libc::SIGKILL));

    // Nothing hangs where there is nobody to reap.
    start_error(&mut reactor, &mut Command::new("/nonexistent"));
    let (mut command, _leash) = leashed();
    reactor.start(&mut command).expect("start");
    drop(reactor);
    assert_no_children();
}

/// A tracer gets the status first. Until it has it, the child's exit is announced, and cannot be had.
pub(super) fn traced_child_is_asked_again() {
    let mut reactor = reactor();
    let (mut command, leash) = leashed();
    let id = reactor.start(&mut command).expect("start");
    let pid = children()[0];
    let (mut orders, mut order) = io::pipe().expect("a pipe");
    let (mut news, mut tell) = io::pipe().expect("a pipe");
    // SAFETY: this process has one thread; the child calls nothing that needs another.
    let tracer = unsafe { libc::fork() };
    assert_ne!(tracer, -1);
    if tracer == 0 {
        drop((leash, order));
        let attached = trace(pid);
        tell.write_all(&[attached.into()]).expect("write");
        if attached {
            exited(pid);
            tell.write_all(b"!").expect("write");
            orders.read_exact(&mut [0]).expect("read");
        }
        // SAFETY: _exit(2) does not return. The tracer lets go by it.
        unsafe { libc::_exit(0) };
    }
    drop(tell);
    let mut read = [0];
    news.read_exact(&mut read).expect("read");
    if read == [0] {
        println!("skipped: tracing is not allowed here");
        return;
    }
    drop(leash);
    news.read_exact(&mut read).expect("read");
    for _ in 0..5 {
        // Woken by the early announcement, then by the timer.
        reactor.turn(None).expect("turn");
        assert_eq!(reactor.running(), 1, "its status is the tracer's for now");
    }
    order.write_all(b"!").expect("write");
    assert!(wait(&mut reactor, id).success());
    // SAFETY: a null pointer means that the status is not asked for.
    let reaped = unsafe { libc::waitpid(tracer, std::ptr::null_mut(), 0) };
    assert_eq!(reaped, tracer);
    assert_no_children();

    // The same while the reactor is dropped: it waits for what it has killed, and not for ever.
    let (mut command, _leash) = leashed();
    command.stdin(Input::null());
    reactor.start(&mut command).expect("start");
    drop(reactor);
    assert_no_children();
}

/// Whoever asks to be traced stops for us, whom it made its tracer: that is no end, whenever it is looked at.
pub(super) fn child_that_asks_to_be_traced_has_not_ended() {
    let mut reactor = reactor();
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.arg("trace-me").stdout(Output::capture());
    let id = reactor.start(&mut command).expect("start");
    let pid = reactor.pid(id).expect("it runs");
    let stat = format!("/proc/{pid}/stat");
    let is_stopped = || {
        let text = std::fs::read_to_string(&stat).expect("it is there");
        text.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.starts_with(" t"))
    };
    while !is_stopped() {
        std::thread::yield_now();
    }
    // Whoever is young or unwatched is asked.
    for _ in 0..3 {
        let other = reactor.start(&mut Command::new("true")).expect("start");
        assert!(wait(&mut reactor, other).success());
        reactor.turn(Some(std::time::Duration::ZERO)).expect("turn");
    }
    assert_eq!(reactor.running(), 1, "it is stopped");
    assert!(is_stopped());
    assert!(reactor.kill(id));
    let done = wait(&mut reactor, id);
    let signal = done.status.and_then(|status| status.signal());
    assert_eq!(signal, Some(libc::SIGKILL));
    assert_no_children();

    let id = reactor.start(&mut command).expect("start");
    let stat = format!("/proc/{}/stat", reactor.pid(id).expect("it runs"));
    while !std::fs::read_to_string(&stat)
        .expect("it is there")
        .contains(") t")
    {
        reactor.turn(Some(std::time::Duration::ZERO)).expect("turn");
    }
    drop(reactor);
    assert_no_children();
}

fn children() -> Vec<libc::pid_t> {
    let text = std::fs::read_to_string("/proc/thread-self/children").expect("children");
    text.split_whitespace()
        .map(|pid| pid.parse().expect("a pid"))
        .collect()
}

fn trace(pid: libc::pid_t) -> bool {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: this request takes a pid and flags, of which there are none.
    let attached = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, nothing, nothing) };
    attached == 0
}

/// Waits until the traced process has exited, and leaves it to be reaped.
fn exited(pid: libc::pid_t) {
    // SAFETY: siginfo_t is plain data for which zero is valid.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: the structure has room for the answer.
    let result = unsafe {
        libc::waitid(
            libc::P_PID,
            pid as libc::id_t,
            &raw mut information,
            options,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
