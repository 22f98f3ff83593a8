//! What commands cost the process that runs them: it runs them, and prints what it counted of itself.
//! Unaware of what is too much; the tests judge.
#![allow(unsafe_code, reason = "close_range and prctl have no safe wrapper")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use execloop::{Command, Output, Reactor};

use crate::counts::wait_for_exit;

/// Before anything is measured, so that what the first commands set up for all does not count.
const WARM_UP_CHILDREN: usize = 500;

/// What waits after so many turns waits for more than that.
const QUEUED_TURNS_MAX: usize = 20_000;

/// `cost calls plain N`, `cost calls captured N`: runs N commands.
/// `cost memory N`: starts N children that sleep, and prints what one of them takes of this process, and the size of its own
/// table of descriptors.
/// `cost table N`: prints the size of a child's table of descriptors while this process has N open.
pub(crate) fn cost(arguments: &[OsString]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let number = words.last().and_then(|word| word.parse().ok());
    match (&words[..], number) {
        (["calls", "plain", _], Some(commands)) => calls(commands, false),
        (["calls", "captured", _], Some(commands)) => calls(commands, true),
        (["memory", _], Some(children)) => memory(children),
        (["table", _], Some(descriptors)) => table(descriptors),
        _ => panic!("cost: unknown arguments {arguments:?}"),
    }
    ExitCode::SUCCESS
}

/// Runs commands one after the other. The reactor polls when a child has exited already: then output, hang-up and exit
/// are all there, and how many calls it makes does not depend on the scheduler.
fn calls(commands: usize, captures: bool) {
    let mut reactor = Reactor::new().expect("a reactor");
    for _ in 0..commands {
        let mut command;
        if captures {
            command = Command::new("/bin/sh");
            command.args(["-c", "echo out; echo err >&2"]);
            command.stdout(Output::capture()).stderr(Output::capture());
        } else {
            command = Command::new("/bin/true");
        }
        reactor.start(&mut command).expect("the command starts");
        // The one wait here with `WNOWAIT`, by which a trace tells it from the reactor's.
        wait_for_exit(None);
        let done = reactor.wait_any().expect("a poll").expect("the command");
        assert!(done.success(), "{:?}", done.outcome);
        if captures {
            assert_eq!(
                (&done.stdout[..], &done.stderr[..]),
                (&b"out\n"[..], &b"err\n"[..])
            );
        }
    }
}

fn memory(children: usize) {
    // With huge pages memory would grow by 2 MiB at a time.
    // SAFETY: prctl(2) with this option takes numbers.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    let mut reactor = Reactor::builder()
        .raise_fd_limit(true)
        .build()
        .expect("a reactor");
    let mut start = |count| {
        for _ in 0..count {
            let mut command = Command::new("/bin/sleep");
            command.arg("3600").stdout(Output::capture());
            reactor.start(&mut command).expect("the child starts");
            // Only so many are on their way to their exec at once. A queue, whose length is a matter of speed, is not measured.
            for _ in 0..QUEUED_TURNS_MAX {
                if reactor.queued() == 0 {
                    break;
                }
                let turn = reactor.turn(Some(Duration::from_millis(1)));
                turn.expect("a turn");
            }
            if reactor.queued() > 0 {
                break;
            }
        }
        reactor.queued()
    };
    start(WARM_UP_CHILDREN);
    let (bytes, descriptors) = (resident_bytes(), open_count());
    let queued = start(children);
    let (bytes_after, descriptors_after) = (resident_bytes(), open_count());
    if queued > 0 {
        println!("skipped: the limit of descriptors leaves {queued} children in the queue");
        return;
    }
    let each = |growth: usize| growth as f64 / children as f64;
    println!("bytes {}", each(bytes_after.saturating_sub(bytes)));
    println!("descriptors {}", each(descriptors_after - descriptors));
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    println!("table {}", table_size_of(&status));
    println!("open {descriptors_after}");
}

/// What of this process lies in memory: by its pages, as the counter in `/proc/self/status` lags behind.
fn resident_bytes() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("/proc/self/smaps_rollup");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: usize = kib
        .and_then(|kib| kib.trim().parse().ok())
        .expect("a number of kB");
    kib * 1024
}

fn open_count() -> usize {
    fs::read_dir("/proc/self/fd")
        .expect("/proc/self/fd")
        .count()
}

fn table(descriptors: usize) {
    let mut reactor = Reactor::builder()
        .raise_fd_limit(true)
        .build()
        .expect("a reactor");
    if let Err(error) = probe_unshare() {
        println!("skipped: the system cannot cut a table of descriptors: {error}");
        return;
    }
    let open = |_| File::open("/dev/null");
    let open: io::Result<Vec<File>> = (0..descriptors).map(open).collect();
    match open {
        Ok(open) => {
            println!("hermetic {}", table_size(&mut reactor, false));
            println!("inheriting {}", table_size(&mut reactor, true));
            let mut late = Reactor::new().expect("a reactor");
            println!("late {}", table_size(&mut late, false));
            drop(open);
            println!("sunk {}", table_size(&mut late, false));
        }
        Err(error) => println!("skipped: {descriptors} descriptors cannot be open: {error}"),
    }
}

/// What a child tells of its own table.
fn table_size(reactor: &mut Reactor, inherits: bool) -> usize {
    let mut command = Command::new("/bin/cat");
    command.arg("/proc/self/status").stdout(Output::capture());
    let id = reactor
        .start(command.inherit_fds(inherits))
        .expect("the child starts");
    let done = reactor.wait(id).expect("a poll").expect("the child");
    table_size_of(&String::from_utf8(done.stdout).expect("text"))
}

/// By what the kernel tells of a process.
fn table_size_of(status: &str) -> usize {
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
    size.and_then(|size| size.trim().parse().ok())
        .expect("FDSize")
}

/// The call by which a child gets a small table. Here it closes nothing, and in a process of one thread it cuts nothing.
fn probe_unshare() -> io::Result<()> {
    let nothing = libc::c_long::from(libc::c_int::MAX);
    let unshare = libc::CLOSE_RANGE_UNSHARE as libc::c_long;
    // SAFETY: close_range(2) takes numbers, and no descriptor has this one.
    let result = unsafe { libc::syscall(libc::SYS_close_range, nothing, nothing, unshare) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
