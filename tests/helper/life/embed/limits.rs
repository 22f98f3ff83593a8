//! Many children at once, and few descriptors for them.
#![allow(unsafe_code, reason = "limits have no safe wrapper")]

use std::fs::File;
use std::io;
use std::time::Duration;

use execloop::{
    Cause, Command, Context, Error, Input, Output, Reactor, Signal, StartError, StartStep,
};

use super::{leashed, reactor, shell, wait};
use crate::counts::{assert_fds, assert_no_children, open_fds};
use crate::start_error::start_error;

fn fd_limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` has room for the answer.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    limit
}

fn set_fd_limit(soft: libc::rlim_t, hard: libc::rlim_t) {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` is a whole structure.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

const CHILDREN: usize = 3_000;

pub(super) fn three_thousand_at_once() {
    // A pidfd and a pipe for each, and some room.
    if fd_limit().rlim_max < 2 * CHILDREN as libc::rlim_t + 200 {
        println!(
            "skipped: the hard limit of descriptors is {}",
            fd_limit().rlim_max
        );
        return;
    }
    let before = open_fds();
    let mut reactor = Reactor::builder()
        .raise_fd_limit(true)
        .build()
        .expect("a reactor");
    let with_reactor = open_fds();
    let context = Context::new();
    let (stdin, leash) = io::pipe().expect("a pipe");
    let ids: Vec<_> = (0..CHILDREN)
        .map(|_| {
            let mut command = Command::new("/bin/cat");
            command
                .stdin(Input::file(stdin.try_clone().expect("a copy")))
                .stdout(Output::capture())
                .context(&context);
            reactor.start(&mut command).expect("start")
        })
        .collect();
    assert_eq!((reactor.running(), reactor.queued()), (CHILDREN, 0));
    let probe = Signal::new(0).expect("a probe");
    for id in &ids {
        reactor.signal(*id, probe).expect("alive");
    }
    let listed = std::fs::read_to_string("/proc/thread-self/children").expect("children");
    assert_eq!(listed.split_whitespace().count(), CHILDREN);

    let mut ended = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| context.cancel());
        while let Some(done) = reactor.wait_any().expect("poll") {
            match done.outcome {
                Err(Error::Exit(exit)) => assert_eq!(exit.cause, Some(Cause::Cancelled)),
                other => panic!("{other:?}"),
            }
            ended += 1;
        }
    });
    assert_eq!(ended, CHILDREN);
    drop((stdin, leash));
    assert_no_children();
    assert_fds(&with_reactor);
    drop(reactor);
    assert_fds(&before);
}

pub(super) fn a_thousand_with_few_descriptors(fds: libc::rlim_t) {
    set_fd_limit(fds, fd_limit().rlim_max);
    let before = open_fds();
    let mut reactor = reactor();
    let commands = if fds < 32 { 200 } else { 1_000 };
    for _ in 0..commands {
        let mut command = Command::new("/bin/true");
        command.stdout(Output::capture()).stderr(Output::capture());
        reactor.start(&mut command).expect("start");
    }
    // 3 for each that runs, with 32 left to others; one alone always may.
    let most = (fds.saturating_sub(32) / 3).max(1);
    assert!(
        reactor.running() as libc::rlim_t <= most,
        "{} run",
        reactor.running()
    );
    assert_eq!(reactor.running() + reactor.queued(), commands);
    let mut ended = 0;
    while let Some(done) = reactor.wait_any().expect("poll") {
        assert!(done.success(), "{:?}", done.outcome);
        ended += 1;
    }
    assert_eq!(ended, commands);
    drop(reactor);
    assert_no_children();
    assert_fds(&before);
}

/// A finished command keeps its caller's pipes until it is taken, and nothing else.
pub(super) fn descriptors_of_who_is_not_taken() {
    const COMMANDS: usize = 100;
    set_fd_limit(64, fd_limit().rlim_max);
    let mut reactor = reactor();
    let mut ids = Vec::new();
    for _ in 0..COMMANDS {
        let mut command = Command::new("/bin/true");
        command.stdin(Input::pipe()).stdout(Output::capture());
        let id = reactor.start(&mut command).expect("start");
        reactor.stdin(id).expect("its pipe").close();
        ids.push(id);
    }
    for id in ids.into_iter().rev() {
        let done = reactor.wait(id).expect("poll").expect("not taken");
        assert!(done.success(), "{:?}", done.outcome);
    }
    for _ in 0..COMMANDS {
        let mut command = Command::new("/bin/echo");
        command.arg("x").stdout(Output::pipe());
        reactor.start(&mut command).expect("start");
    }
    let mut ended = 0;
    while !reactor.is_empty() {
        // Nobody is taken while anybody runs.
        while reactor.running() > 0 {
            reactor.turn(None).expect("turn");
        }
        while let Some(done) = reactor.try_wait_any() {
            assert!(done.success(), "{:?}", done.outcome);
            ended += 1;
        }
        reactor.turn(Some(Duration::ZERO)).expect("turn");
    }
    assert_eq!(ended, COMMANDS);
}

/// Opens files until there is room for `room` more.
fn take_descriptors(room: usize) -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                files.truncate(files.len() - room);
                return files;
            }
        }
    }
}

pub(super) fn no_descriptor_left() {
    set_fd_limit(40, fd_limit().rlim_max);
    let mut reactor = reactor();
    let before = open_fds();
    // With 0 a pipe cannot be made, with 3 the second one, with 4 the process.
    for (room, expected) in [
        (0, StartStep::Pipe),
        (3, StartStep::Pipe),
        (4, StartStep::Clone),
    ] {
        let files = take_descriptors(room);
        let held = open_fds_by_count();
        let mut command = Command::new("/bin/true");
        command.stdout(Output::capture()).stderr(Output::capture());
        // Nothing runs that could give any back.
        match start_error(&mut reactor, &mut command) {
            StartError::Step { step, source, .. } => {
                assert_eq!(
                    (step, source.raw_os_error()),
                    (expected, Some(libc::EMFILE))
                );
            }
            other => panic!("{other:?}"),
        }
        assert!(reactor.is_empty());
        assert_eq!(open_fds_by_count(), held);
        drop(files);
        let id = reactor.start(&mut command).expect("there is room again");
        assert!(wait(&mut reactor, id).success());
        assert_fds(&before);
    }
    assert_no_children();
}

/// Counts by asking for each number, as a listing needs a descriptor itself.
fn open_fds_by_count() -> usize {
    (0..40)
        // SAFETY: fcntl(2) with this command only reads.
        .filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } != -1)
        .count()
}

pub(super) fn descriptors_of_others() {
    set_fd_limit(128, fd_limit().rlim_max);
    let mut reactor = reactor();
    let (mut command, leash) = leashed();
    let first = reactor.start(&mut command).expect("start");
    let files = take_descriptors(2);
    // By the reactor's count there is room; by the kernel's there is none.
    let second = reactor.start(&mut shell("exit 5")).expect("it is queued");
    let third = reactor.start(&mut shell("exit 6")).expect("it is queued");
    assert_eq!((reactor.running(), reactor.queued()), (1, 2));
    for _ in 0..3 {
        // Tried again by timer, while nothing ends.
        reactor.turn(None).expect("turn");
        assert_eq!((reactor.running(), reactor.queued()), (1, 2));
    }
    drop(files);
    for (id, code) in [(second, 5), (third, 6)] {
        let status = wait(&mut reactor, id).status.expect("a status");
        assert_eq!(status.code(), Some(code));
    }
    drop(leash);
    assert!(wait(&mut reactor, first).success());

    // The shortage ends with the one that ran; then nothing runs, and it is told.
    // By another reactor: this one has places for two starts at once by now, and would give those back first.
    drop(reactor);
    let mut reactor = self::reactor();
    let (mut command, leash) = leashed();
    let first = reactor.start(&mut command).expect("start");
    let files = take_descriptors(0);
    let second = reactor.start(&mut shell("exit 5")).expect("it is queued");
    drop(leash);
    assert!(wait(&mut reactor, first).success());
    let outcome = wait(&mut reactor, second).outcome;
    drop(files);
    assert!(
        matches!(outcome, Err(Error::Start(StartError::Step { .. }))),
        "{outcome:?}"
    );
    assert_no_children();
}

pub(super) fn raised_limit() {
    let hard = fd_limit().rlim_max;
    if hard < 256 {
        println!("skipped: the hard limit of descriptors is {hard}");
        return;
    }
    set_fd_limit(128, hard);
    let limits = |reactor: &mut Reactor| {
        let mut command = shell("ulimit -Sn; ulimit -Hn");
        let id = reactor.start(&mut command).expect("start");
        String::from_utf8(wait(reactor, id).stdout).expect("text")
    };
    let mut plain = reactor();
    assert_eq!(limits(&mut plain), format!("128\n{hard}\n"));
    assert_eq!(fd_limit().rlim_cur, 128, "not without being asked");

    let raising = || {
        Reactor::builder()
            .raise_fd_limit(true)
            .build()
            .expect("a reactor")
    };
    let mut raised = raising();
    assert_eq!(fd_limit().rlim_cur, hard);
    assert_eq!(limits(&mut raised), format!("128\n{hard}\n"));
    // The limit belongs to the process, so what it was does, too: for one that raises it again, for the one that was
    // there before, and for the private ones.
    assert_eq!(limits(&mut raising()), format!("128\n{hard}\n"));
    assert_eq!(limits(&mut plain), format!("128\n{hard}\n"));
    let private = shell("ulimit -Sn").finish().expect("start");
    assert_eq!(private.stdout, b"128\n");
    // The child's own descriptors are in place before its limit is.
    let (_reader, writer) = io::pipe().expect("a pipe");
    let mut command = shell("test -e /dev/fd/200 && ulimit -Sn");
    command.extra_fd(200, writer);
    let done = command.finish().expect("start");
    assert_eq!(done.stdout, b"128\n", "{:?}", done.outcome);
}
