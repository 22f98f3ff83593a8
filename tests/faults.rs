//! System calls that fail: whatever the kernel refuses, each command ends exactly once, truly, and leaves nothing.
//! Unaware of how: the helper's `faults` mode runs the mix of commands, makes the calls fail, and checks everything.
#![cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]

#[path = "common"]
mod common {
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod text;
    mod watchdog;
}
#[path = "common/hostile.rs"]
mod hostile;

use common::helper::helper;
use common::helper_path::helper_path;
use execloop::Command;
use hostile::said;

const ERRORS: [&str; 6] = ["EINTR", "EAGAIN", "EMFILE", "ENOMEM", "EPERM", "ENOSYS"];

#[track_caller]
fn run(words: &[&str]) {
    said(helper("faults").args(words));
}

/// Every error at the first call, at every thirteenth from the seventh, and at every second; then a long run, and
/// one as an outer loop sees it.
#[track_caller]
fn matrix(call: &str) {
    for error in ERRORS {
        run(&["inject", call, error, "1", "0", "18", "waiting"]);
        run(&["inject", call, error, "7", "13", "72", "waiting"]);
        run(&["inject", call, error, "2", "2", "54", "embedded"]);
    }
    run(&["inject", call, "ENOMEM", "3", "5", "500", "waiting"]);
}

#[test]
fn no_command_is_lost_when_nothing_fails() {
    run(&["mix", "500", "waiting"]);
    run(&["mix", "500", "embedded"]);
}

#[test]
fn no_command_is_lost_when_pipe2_fails() {
    matrix("pipe2");
}

#[test]
fn no_command_is_lost_when_clone_fails() {
    matrix("clone");
}

#[test]
fn no_command_is_lost_when_epoll_ctl_fails() {
    matrix("epoll_ctl");
}

#[test]
fn no_command_is_lost_when_epoll_wait_fails() {
    matrix("epoll_wait");
}

/// With the first refusal, what was awaited is registered.
#[test]
fn no_command_is_lost_when_poll_fails() {
    matrix("poll");
    run(&["inject", "poll", "EINVAL", "1", "1", "54", "waiting"]);
}

#[test]
fn no_command_is_lost_when_read_fails() {
    matrix("read");
    run(&["inject", "read", "EIO", "2", "3", "54", "waiting"]);
}

/// With the first refusal that says so, `write` is used in its place.
#[test]
fn no_command_is_lost_when_pwritev2_fails() {
    matrix("pwritev2");
    run(&["inject", "pwritev2", "EIO", "2", "3", "54", "waiting"]);
}

#[test]
fn no_command_is_lost_when_write_fails() {
    matrix("write");
    run(&["inject", "write", "EIO", "2", "3", "54", "waiting"]);
}

#[test]
fn no_command_is_lost_when_waitid_fails() {
    matrix("waitid");
}

#[test]
fn no_command_is_lost_when_pidfd_send_signal_fails() {
    matrix("pidfd_send_signal");
}

/// One timer serves all, so it is set a few times only: each of them fails, or each second one.
#[test]
fn no_command_is_lost_when_timerfd_settime_fails() {
    for error in ERRORS {
        run(&[
            "inject",
            "timerfd_settime",
            error,
            "1",
            "1",
            "54",
            "waiting",
        ]);
        run(&[
            "inject",
            "timerfd_settime",
            error,
            "1",
            "1",
            "54",
            "embedded",
        ]);
        run(&[
            "inject",
            "timerfd_settime",
            error,
            "1",
            "2",
            "54",
            "embedded",
        ]);
    }
}

#[test]
fn no_command_is_lost_when_fcntl_fails() {
    matrix("fcntl");
}

#[test]
fn no_command_is_lost_when_dup3_fails() {
    matrix("dup3");
}

/// As on Linux, the descriptor is closed all the same.
#[test]
fn no_command_is_lost_when_close_reports_an_error() {
    matrix("close");
}

/// Between the clone and the exec, the child itself runs into them.
#[test]
fn no_command_is_lost_when_a_childs_own_calls_fail() {
    for call in ["close_range", "dup3", "rt_sigaction", "execve"] {
        for error in ERRORS {
            run(&["inject", call, error, "1", "0", "18", "children"]);
            run(&["inject", call, error, "3", "5", "54", "children"]);
        }
    }
}

#[test]
fn a_reactor_that_cannot_be_made_leaves_nothing() {
    let calls = [
        "openat",
        "fcntl",
        "mmap",
        "epoll_create1",
        "epoll_ctl",
        "eventfd2",
        "timerfd_create",
        "waitid",
        "close",
    ];
    for call in calls {
        run(&["build", call, "EMFILE"]);
        run(&["build", call, "EPERM"]);
    }
}

/// Another way to the same: a tracer, under which children are also reaped late, as it sees their exit first.
#[test]
fn no_command_is_lost_under_a_tracer_that_makes_calls_fail() {
    let probe = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-o", "/dev/null", "/bin/true"])
        .run();
    if let Err(error) = probe {
        eprintln!("skipped: strace does not work here: {error}");
        return;
    }
    let faults = [
        "pipe2:error=EMFILE:when=9+4",
        "clone3:error=EAGAIN:when=3+4",
        "clone3:error=ENOSYS:when=1",
        "epoll_ctl:error=ENOMEM:when=5+3",
        "epoll_wait:error=EINTR:when=2+2",
        "pidfd_send_signal:error=EPERM:when=1+2",
        "timerfd_settime:error=EAGAIN:when=1+2",
        "dup3:error=EMFILE:when=2+40",
        "pwritev2:error=EAGAIN:when=2+2",
        "close_range:error=ENOSYS:when=1+1",
    ];
    for fault in faults {
        let call = fault.split(':').next().unwrap_or_default();
        let mut traced = Command::new("strace");
        traced.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "-e"]);
        traced
            .arg(format!("trace={call}"))
            .args(["-e", &format!("inject={fault}")]);
        said(
            traced
                .arg(helper_path())
                .args(["faults", "mix", "54", "elsewhere"]),
        );
    }
}
