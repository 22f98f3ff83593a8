//! Small limits, each set for this process alone: all commands end all the same, one after the other where need be.
//! Unaware of why a limit is reached; each mode asserts that it was.
#![allow(
    unsafe_code,
    reason = "limits, identities and mounts have no safe wrapper"
)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::ExitCode;

use execloop::{Command, Error, Finished, Input, Output, Reactor, StartError, Stream};

use super::SKIPPED;
use crate::counts::{assert_fds, assert_no_children, open_fds};
use crate::start_error::start_error;

/// `descriptors`, `descriptors-taken`, `processes`, `pids CGROUP`, `full`, `tmpfs` or `pipes`.
pub(super) fn run(name: &str, commands: usize) -> ExitCode {
    match name {
        "descriptors" => descriptors(commands),
        "descriptors-taken" => descriptors_taken(commands),
        "processes" => return processes(commands),
        "full" => full(commands),
        "memory" => memory(commands),
        "tmpfs" => return tmpfs(commands),
        "pipes" => return pipes(commands),
        _ => match name.strip_prefix("pids=") {
            Some(cgroup) => pids(Path::new(cgroup), commands),
            None => panic!("faults limit: unknown {name:?}"),
        },
    }
    ExitCode::SUCCESS
}

/// Runs them all at once, as far as the limits allow, and checks each. `is_felt`: some have to wait.
fn run_all(
    mut reactor: Reactor,
    commands: usize,
    is_felt: bool,
    make: impl Fn(usize) -> Command,
    check: impl Fn(usize, &Finished),
) {
    let mut ids = Vec::new();
    for number in 0..commands {
        let id = reactor.start(&mut make(number));
        ids.push(id.unwrap_or_else(|error| panic!("{number}: {error}")));
    }
    assert_eq!(reactor.queued() > 0, is_felt, "{} wait", reactor.queued());
    let mut handed_out = 0;
    while let Some(done) = reactor.wait_any().expect("a poll") {
        let number = ids.iter().position(|id| *id == done.id);
        check(number.expect("an id of ours"), &done);
        handed_out += 1;
    }
    assert_eq!(handed_out, commands);
    drop(reactor);
    assert_no_children();
}

/// Without pipes, with one, with two, with three; none makes a process of its own.
fn various(number: usize) -> Command {
    match number % 4 {
        0 => Command::new("/bin/true"),
        1 => {
            let mut echo = Command::new("/bin/echo");
            echo.arg(number.to_string()).stdout(Output::capture());
            echo
        }
        2 => {
            let mut cat = Command::new("/bin/cat");
            cat.stdin(Input::bytes(bytes(number)))
                .stdout(Output::capture());
            cat
        }
        _ => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "read word; echo $word; echo $word >&2"]);
            shell.stdin(Input::bytes(*b"word\n"));
            shell.stdout(Output::capture()).stderr(Output::capture());
            shell
        }
    }
}

fn bytes(number: usize) -> Vec<u8> {
    (0..number * 50).map(|at| (at % 251) as u8).collect()
}

fn check_various(number: usize, done: &Finished) {
    assert!(done.success(), "{number}: {:?}", done.outcome);
    let (stdout, stderr) = match number % 4 {
        0 => (Vec::new(), Vec::new()),
        1 => (format!("{number}\n").into_bytes(), Vec::new()),
        2 => (bytes(number), Vec::new()),
        _ => (b"word\n".to_vec(), b"word\n".to_vec()),
    };
    assert!(
        done.stdout == stdout && done.stderr == stderr,
        "{number}: other output"
    );
}

/// Captures more than this process may have memory for: that is told, and neither aborts it nor leaves a child behind.
fn memory(commands: usize) {
    const ROOM_BYTES: u64 = 96 << 20;
    let size = fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: u64 = size
        .split(' ')
        .next()
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    set_limit(i64::from(libc::RLIMIT_AS), pages * 4096 + ROOM_BYTES);
    for _ in 0..commands {
        for output in [Output::capture(), Output::capture_ends(usize::MAX / 4)] {
            let mut endless = Command::new("yes");
            let done = endless.stdout(output).finish().expect("it starts");
            match done.outcome {
                // It writes to a pipe that nobody reads any more.
                Err(Error::Exit(_)) => {}
                other => panic!("{other:?}"),
            }
            assert!(done.stdout.len() > 1 << 20, "{}", done.stdout.len());
        }
        assert_no_children();
    }
}

/// By number, as the resource has another type in each libc.
fn set_limit(resource: i64, value: u64) {
    let limit = [value, value];
    let nothing = std::ptr::null_mut::<u64>();
    // SAFETY: prlimit(2) reads the soft and the hard limit, two words of 64 bits.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0 as libc::c_long,
            resource as libc::c_long,
            limit.as_ptr(),
            nothing,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Becomes a user whom nobody else is, with this limit of processes. Not possible without privileges.
pub(super) fn become_somebody_else() -> bool {
    let id = 1_000_000 + std::process::id();
    // SAFETY: setgroups(2) reads nothing for an empty list.
    let groups = unsafe { libc::setgroups(0, std::ptr::null()) };
    // SAFETY: setresgid(2) takes numbers.
    let group = unsafe { libc::setresgid(id, id, id) };
    // SAFETY: setresuid(2) takes numbers.
    let user = unsafe { libc::setresuid(id, id, id) };
    groups == 0 && group == 0 && user == 0
}

/// The library counts: it never comes to an error.
fn descriptors(commands: usize) {
    set_limit(i64::from(libc::RLIMIT_NOFILE), 64);
    let before = open_fds();
    let reactor = Reactor::new().expect("a reactor");
    run_all(reactor, commands, true, various, check_various);
    assert_fds(&before);
}

/// The rest of the process has taken more than the library reckons with, so that the kernel refuses.
fn descriptors_taken(commands: usize) {
    set_limit(i64::from(libc::RLIMIT_NOFILE), 100);
    let before = open_fds();
    let reactor = Reactor::new().expect("a reactor");
    let mut taken = Vec::new();
    while let Ok(null) = File::open("/dev/null") {
        taken.push(null);
    }
    // Three pipes and the child: it fits once, and not twice.
    taken.truncate(taken.len() - 9);
    run_all(reactor, commands, true, various, check_various);
    drop(taken);
    assert_fds(&before);
    alone_without_descriptors();
    assert_fds(&before);
}

/// With nothing running there is nothing to wait for: the shortage is told at once, and it passes.
fn alone_without_descriptors() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut taken = Vec::new();
    while let Ok(null) = File::open("/dev/null") {
        taken.push(null);
    }
    let refused = start_error(&mut reactor, &mut various(1));
    let is_told = matches!(&refused, StartError::Step { source, .. }
        if source.raw_os_error() == Some(libc::EMFILE));
    assert!(is_told, "{refused:?}");
    assert!(reactor.is_empty());
    drop(taken);
    let id = reactor.start(&mut various(1)).expect("there is room again");
    let done = reactor.wait(id).expect("a poll").expect("a command");
    check_various(1, &done);
}

/// As a user who may have three children.
fn processes(commands: usize) -> ExitCode {
    set_limit(i64::from(libc::RLIMIT_NPROC), 4);
    if !become_somebody_else() {
        eprintln!("another user can't be had");
        return ExitCode::from(SKIPPED);
    }
    let before = open_fds();
    let reactor = Reactor::new().expect("a reactor");
    run_all(reactor, commands, true, various, check_various);
    assert_fds(&before);
    ExitCode::SUCCESS
}

/// In a cgroup that holds few processes.
fn pids(cgroup: &Path, commands: usize) {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string()).expect("the cgroup");
    let before = open_fds();
    let reactor = Reactor::new().expect("a reactor");
    run_all(reactor, commands, true, various, check_various);
    assert_fds(&before);
}

/// A writer whose disk is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(libc::ENOSPC))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSPC)
}

/// A full disk behind the child's own descriptor is the child's failure; behind the caller's writer, it is the copy's.
fn full(commands: usize) {
    let before = open_fds();
    let reactor = Reactor::builder()
        .max_running(50)
        .build()
        .expect("a reactor");
    let make = |number: usize| {
        let output = if number.is_multiple_of(2) {
            Output::file(
                File::options()
                    .write(true)
                    .open("/dev/full")
                    .expect("/dev/full"),
            )
        } else {
            Output::writer(Full)
        };
        let mut echo = Command::new("/bin/echo");
        echo.arg("word").stdout(output).stderr(Output::capture());
        echo
    };
    run_all(reactor, commands, true, make, |number, done| {
        match &done.outcome {
            Err(Error::Exit(exit)) if number.is_multiple_of(2) => {
                assert_eq!(exit.status.code(), Some(1));
                assert!(!done.stderr.is_empty(), "it complains");
            }
            Err(Error::Copy {
                stream: Stream::Stdout,
                source,
            }) if is_full(source) => {}
            outcome => panic!("{number}: {outcome:?}"),
        }
    });
    assert_fds(&before);
}

/// A file system of sixteen pages: what does not fit fails, and once there is room again nothing does.
fn tmpfs(commands: usize) -> ExitCode {
    // SAFETY: unshare(2) takes a number; this process has one thread.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    if result == -1 {
        eprintln!("a mount namespace can't be had");
        return ExitCode::from(SKIPPED);
    }
    let (none, root, none_data) = (c"none".as_ptr(), c"/".as_ptr(), std::ptr::null());
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the texts are C strings.
    let result = unsafe { libc::mount(none, root, std::ptr::null(), private, none_data) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    let (place, kind) = (c"/mnt".as_ptr(), c"tmpfs".as_ptr());
    let size = c"size=64k".as_ptr().cast();
    // SAFETY: the texts are C strings.
    let result = unsafe { libc::mount(kind, place, kind, 0, size) };
    if result == -1 {
        eprintln!("a tmpfs can't be had");
        return ExitCode::from(SKIPPED);
    }
    let before = open_fds();
    fs::write("/mnt/ballast", vec![1; 60 * 1024]).expect("it fits");
    let reactor = || {
        Reactor::builder()
            .max_running(50)
            .build()
            .expect("a reactor")
    };
    let make = |number: usize| {
        // Its own: to create one anew would free the page of a command that is still writing.
        let file = File::create(format!("/mnt/{number}")).expect("a file");
        let mut head = Command::new("/usr/bin/head");
        head.args(["-c", "8192", "/dev/zero"])
            .stdout(Output::file(file));
        head
    };
    run_all(reactor(), commands, true, make, |number, done| {
        let code = done.status.and_then(|status| status.code());
        assert_eq!(code, Some(1), "{number}: {:?}", done.outcome);
    });
    for file in fs::read_dir("/mnt").expect("/mnt") {
        fs::remove_file(file.expect("/mnt").path()).expect("a file");
    }
    let make = |_| {
        let file = File::create("/mnt/one").expect("a file");
        let mut head = Command::new("/usr/bin/head");
        head.args(["-c", "8192", "/dev/zero"])
            .stdout(Output::file(file));
        head
    };
    run_all(reactor(), commands, true, make, |number, done| {
        assert!(done.success(), "{number}: {:?}", done.outcome);
    });
    assert_fds(&before);
    ExitCode::SUCCESS
}

/// As a user who has used up his quota of pipe memory: new pipes have a page or two, and can't be enlarged.
fn pipes(commands: usize) -> ExitCode {
    let quota = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").unwrap_or_default();
    let quota: usize = quota.trim().parse().unwrap_or(0);
    // A new pipe has 16 pages, until there are none left.
    let needed = quota / 16 + 1;
    let fds = (2 * needed + 1000) as libc::rlim_t;
    let allowed = raise_descriptors(fds);
    if quota == 0 || !allowed || !become_somebody_else() {
        eprintln!("there is no quota of pipes, or it is too large, or another user can't be had");
        return ExitCode::from(SKIPPED);
    }
    let before = open_fds();
    let held: Vec<_> = (0..needed).map(|_| io::pipe().expect("a pipe")).collect();
    let (read, write) = io::pipe().expect("a small pipe");
    // SAFETY: fcntl(2) with this command takes no argument.
    let size = unsafe { libc::fcntl(read.as_raw_fd(), libc::F_GETPIPE_SZ) };
    assert!(size <= 8192, "the quota is not used up: {size}");
    drop((read, write));
    let reactor = Reactor::new().expect("a reactor");
    let make = |number: usize| {
        let mut cat = Command::new("/bin/cat");
        cat.stdin(Input::bytes(bytes(number)))
            .stdout(Output::capture());
        cat
    };
    run_all(reactor, commands, true, make, |number, done| {
        assert!(done.success(), "{number}: {:?}", done.outcome);
        assert!(
            done.stdout == bytes(number),
            "{number}: {} bytes",
            done.stdout.len()
        );
    });
    drop(held);
    assert_fds(&before);
    ExitCode::SUCCESS
}

/// Sets the limit of descriptors to this, if the hard one allows it.
fn raise_descriptors(limit: libc::rlim_t) -> bool {
    let limit = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: the structure is whole.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0 }
}
