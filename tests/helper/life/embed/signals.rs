//! What a child inherits of this process's signals, and what this process gets to see.
#![allow(unsafe_code, reason = "dispositions, masks and unshare")]

#[cfg(target_os = "linux")]
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use execloop::{Command, Output};

use super::super::{act, mask};
#[cfg(target_os = "linux")]
use super::{leashed, shell};
use super::{reactor, wait};

static SEEN: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    SEEN.fetch_add(1, Ordering::Relaxed);
}

fn catch(signal: libc::c_int) {
    act(signal, count as *const () as libc::sighandler_t);
}

/// One of the sets in a process's `status`.
fn set(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(line.expect("the line").trim(), 16).expect("a set")
}

fn bit(signal: libc::c_int) -> u64 {
    1 << (signal - 1)
}

pub(super) fn dispositions_of_a_child() {
    act(libc::SIGHUP, libc::SIG_IGN);
    act(libc::SIGINT, libc::SIG_IGN);
    // One that Go's runtime would have taken over, and one that it would have unblocked.
    act(libc::SIGALRM, libc::SIG_IGN);
    mask(libc::SIGCHLD);
    catch(libc::SIGUSR1);
    catch(libc::SIGTERM);
    mask(libc::SIGUSR2);
    mask(libc::SIGTERM);
    let own = std::fs::read_to_string("/proc/thread-self/status").expect("status");
    assert_ne!(
        set(&own, "SigIgn:") & bit(libc::SIGPIPE),
        0,
        "Rust's runtime ignores it"
    );

    let plain = || {
        let mut command = Command::new("/bin/cat");
        command.arg("/proc/self/status").stdout(Output::capture());
        command
    };
    let mut group = plain();
    group.process_group(0);
    let mut session = plain();
    session.session(true);
    let mut inheriting = plain();
    inheriting.inherit_fds(true);
    for (name, mut command) in [
        ("plain", plain()),
        ("group", group),
        ("session", session),
        ("inheriting", inheriting),
    ] {
        let done = command.finish().expect("start");
        let status = String::from_utf8(done.stdout).expect("text");
        let expected = set(&own, "SigIgn:") & !bit(libc::SIGPIPE);
        assert_eq!(set(&status, "SigIgn:"), expected, "{name}: ignored");
        assert_eq!(set(&status, "SigCgt:"), 0, "{name}: caught");
        assert_eq!(
            set(&status, "SigBlk:"),
            set(&own, "SigBlk:"),
            "{name}: blocked"
        );
        let after = std::fs::read_to_string("/proc/thread-self/status").expect("status");
        for sets in ["SigIgn:", "SigCgt:", "SigBlk:"] {
            assert_eq!(
                set(&after, sets),
                set(&own, sets),
                "{name}: {sets} of the parent"
            );
        }
    }
    assert_eq!(SEEN.load(Ordering::Relaxed), 0, "no handler ran");
}

pub(super) fn one_command_raises_one_sigchld() {
    catch(libc::SIGCHLD);
    let mut reactor = reactor();
    assert_eq!(SEEN.load(Ordering::Relaxed), 0, "a probe has a child");
    for count in 1..=3 {
        let id = reactor
            .start(&mut Command::new("/bin/true"))
            .expect("start");
        assert!(wait(&mut reactor, id).success());
        // It is sent to the whole process before the exit can be seen, so it has come by now.
        assert_eq!(SEEN.load(Ordering::Relaxed), count);
    }
}

pub(super) fn handler_interrupts_a_turn() {
    catch(libc::SIGUSR1);
    let mut reactor = reactor();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "while kill -USR1 $PPID; do sleep 0.01; done"]);
    let id = reactor.start(&mut command).expect("start");
    while SEEN.load(Ordering::Relaxed) < 3 {
        // There is nothing else that could end it.
        reactor.turn(None).expect("an interruption is no error");
        assert_eq!(reactor.running(), 1);
    }
    assert!(reactor.kill(id));
    let done = wait(&mut reactor, id);
    assert!(!done.success());
}

#[cfg(target_os = "linux")]
/// What belongs to a thread, as its working directory after this call, is that of the thread that starts the child.
pub(super) fn directory_of_the_thread() {
    std::thread::spawn(|| {
        // SAFETY: unshare(2) takes flags; this one concerns this thread alone.
        let unshared = unsafe { libc::unshare(libc::CLONE_FS) };
        assert_eq!(unshared, 0, "{}", io::Error::last_os_error());
        std::env::set_current_dir("/proc").expect("chdir");
        assert_eq!(shell("pwd -P").output_of_script(), "/proc\n");
    })
    .join()
    .expect("no panic");
    assert_ne!(shell("pwd -P").output_of_script(), "/proc\n");
    let (mut command, leash) = leashed();
    drop(leash);
    assert!(command.run().is_ok());
}

#[cfg(target_os = "linux")]
trait Script {
    fn output_of_script(&mut self) -> String;
}

#[cfg(target_os = "linux")]
impl Script for Command {
    fn output_of_script(&mut self) -> String {
        let done = self.finish().expect("start");
        String::from_utf8(done.stdout).expect("text")
    }
}
