//! Children that live until they are told otherwise, and what makes them deaf, mortal or fertile.
//! Unaware of the library; `life/embed.rs` holds the programs that use it.
#![allow(unsafe_code, reason = "dispositions, fork and raw descriptors")]

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};

mod embed;

pub(crate) use embed::embed;

/// The descriptors that a test gives to `stay`, each if it likes.
const READY: libc::c_int = 3;
const ORPHAN_LEASH: libc::c_int = 4;
const ANSWERS: libc::c_int = 5;

/// `stay [WORD ..]`: lives until the end of its stdin, then exits with status 0. Bytes from stdin are sent back over
/// descriptor 5, so that a test can ask whether it lives. Over descriptor 3 it says its pid, and that of its orphan,
/// once all of this is in place:
///
/// - `end=N`: exits with N at the end of stdin.
/// - `ignore=SIG`, `exit=SIG:N`, `say=SIG`: ignores it, exits with N, or prints `SIG` and a newline and goes on.
/// - `mask=SIG`: blocks it.
/// - `out=TEXT`, `err=TEXT`: prints that first.
/// - `orphan`: leaves a process that holds stdout and stderr until descriptor 4 ends, and answers over 5 in its place.
/// - `cut=N`: exits with N once nobody reads its stdout any more.
/// - `leave-group`: joins the group of its parent.
/// - `group`: the orphan lives in a group of its own.
pub(crate) fn stay(words: &[OsString]) -> ExitCode {
    let mut end = 0;
    let mut cut = None;
    let mut orphan = None;
    // A test in the background of a shell is started with some of them ignored, and so would this be.
    for number in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        act(number, libc::SIG_DFL);
    }
    for word in words {
        let word = word.to_str().expect("UTF-8");
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "end" => end = number(value),
            "cut" => cut = Some(number(value)),
            "ignore" => act(signal(value), libc::SIG_IGN),
            "mask" => mask(signal(value)),
            "exit" => {
                let (name, code) = value.split_once(':').expect("SIG:N");
                EXITS[signal(name) as usize].store(number(code), Ordering::Relaxed);
                act(
                    signal(name),
                    exit_by_signal as *const () as libc::sighandler_t,
                );
            }
            "say" => act(signal(value), say_signal as *const () as libc::sighandler_t),
            "leave-group" => {
                // SAFETY: getppid(2) takes nothing.
                let parent = unsafe { libc::getppid() };
                // SAFETY: getpgid(2) takes a number.
                let group = unsafe { libc::getpgid(parent) };
                // SAFETY: setpgid(2) takes two numbers.
                assert_eq!(unsafe { libc::setpgid(0, group) }, 0, "setpgid");
            }
            "out" => write_all(1, value.as_bytes()),
            "err" => write_all(2, value.as_bytes()),
            "orphan" => orphan = Some(leave_orphan(false)),
            "group" => orphan = Some(leave_orphan(true)),
            _ => panic!("unknown word {word:?}"),
        }
    }
    if orphan.is_some() {
        close(ANSWERS);
        close(ORPHAN_LEASH);
    }
    write_all(
        READY,
        format!("{} {}\n", std::process::id(), orphan.unwrap_or(0)).as_bytes(),
    );
    close(READY);
    if let Some(code) = cut {
        wait_until_cut(1);
        exit_now(code);
    }
    answer_until_end(0);
    exit_now(end)
}

/// What each signal's `exit=` asks for.
static EXITS: [AtomicI32; 65] = [const { AtomicI32::new(0) }; 65];

extern "C" fn exit_by_signal(number: libc::c_int) {
    exit_now(EXITS[number as usize].load(Ordering::Relaxed))
}

extern "C" fn say_signal(number: libc::c_int) {
    write_all(
        1,
        match number {
            libc::SIGHUP => b"HUP\n",
            libc::SIGINT => b"INT\n",
            libc::SIGTERM => b"TERM\n",
            libc::SIGUSR1 => b"USR1\n",
            _ => b"another signal\n",
        },
    );
}

/// The number of a signal by its short name.
fn signal(name: &str) -> libc::c_int {
    match name {
        "HUP" => libc::SIGHUP,
        "INT" => libc::SIGINT,
        "QUIT" => libc::SIGQUIT,
        "TERM" => libc::SIGTERM,
        "USR1" => libc::SIGUSR1,
        _ => panic!("unknown signal {name:?}"),
    }
}

fn number(text: &str) -> i32 {
    text.parse().expect("a number")
}

/// Sets a disposition; a read that the signal interrupts goes on.
pub(super) fn act(number: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: the handlers given here call nothing but write(2) and _exit(2), or are SIG_IGN or SIG_DFL.
    let before = unsafe { libc::signal(number, handler) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Blocks a signal on this thread.
pub(super) fn mask(number: libc::c_int) {
    // SAFETY: sigset_t is plain data for which zero is valid.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` lives across the call.
    unsafe { libc::sigaddset(&raw mut set, number) };
    // SAFETY: a null pointer means that the old mask is not asked for.
    let result =
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Forks a process that holds stdout and stderr until the end of its leash.
fn leave_orphan(own_group: bool) -> i32 {
    // SAFETY: this process has one thread; the child calls nothing but system calls.
    let pid = unsafe { libc::fork() };
    assert_ne!(pid, -1, "fork");
    if own_group {
        // By both, so that it is done when either goes on. 0 is whoever calls.
        // SAFETY: setpgid(2) takes two numbers.
        unsafe { libc::setpgid(pid, pid) };
    }
    if pid == 0 {
        close(0);
        close(READY);
        answer_until_end(ORPHAN_LEASH);
        exit_now(0);
    }
    pid
}

/// Sends back what comes, until the end.
fn answer_until_end(fd: libc::c_int) {
    let mut bytes = [0_u8; 64];
    loop {
        // SAFETY: `bytes` has room for as many as asked for.
        let read = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
        match read {
            0 => return,
            -1 => assert_eq!(errno(), libc::EINTR, "read {fd}"),
            read => write_all(ANSWERS, &bytes[..read as usize]),
        }
    }
}

/// Waits until the last reader of a pipe has closed it.
fn wait_until_cut(fd: libc::c_int) {
    let mut polled = libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    };
    while polled.revents & libc::POLLERR == 0 {
        // SAFETY: one structure is given, and its count says so.
        unsafe { libc::poll(&raw mut polled, 1, -1) };
    }
}

/// Writes as a signal handler may. A closed descriptor is none of our business.
fn write_all(fd: libc::c_int, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: `bytes` is readable for its length.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => return,
        }
    }
}

fn close(fd: libc::c_int) {
    // SAFETY: the descriptors that a test gave us belong to nobody else here.
    unsafe { libc::close(fd) };
}

fn errno() -> libc::c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn exit_now(code: libc::c_int) -> ! {
    // SAFETY: _exit(2) has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}
