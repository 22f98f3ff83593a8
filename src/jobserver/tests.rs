//! Tokens: who has them, who gets them back, and what is refused. `tests/jobserver.rs` has the tools that speak it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Instant;

use super::*;
use crate::permits::{Permit, Permits};
use crate::sys::{bytes_in_pipe, make_fifo};

fn now() -> Instant {
    crate::sys::now()
}

fn flags(auth: &str) -> String {
    format!(" -j3 --jobserver-auth={auth}")
}

/// All tokens that are there, which are taken.
fn drain(jobserver: &Jobserver) -> Vec<u8> {
    std::iter::from_fn(|| jobserver.shared.read_token()).collect()
}

fn fifo_of(jobserver: &Jobserver) -> PathBuf {
    match &jobserver.shared.way {
        Way::Fifo { path, .. } => path.clone(),
        Way::Pipe(_) => panic!("a fifo was asked for"),
    }
}

fn give(jobserver: &Jobserver, token: u8) {
    let shared = &jobserver.shared;
    shared.write(&mut shared.state(), &[token]).expect("room");
}

/// One of ours, and a client of it as another process has it.
fn both() -> (Jobserver, Jobserver) {
    let ours = Jobserver::fifo(3).expect("a fifo");
    let auth = flags(&format!("fifo:{}", fifo_of(&ours).display()));
    let theirs = Jobserver::from_makeflags(auth).expect("it is there");
    (ours, theirs.expect("it is named"))
}

#[test]
fn the_first_permit_is_free_and_each_further_one_is_a_token_that_goes_back_as_it_came() {
    let (_server, jobserver) = both();
    drain(&jobserver);
    for token in *b"xy" {
        give(&jobserver, token);
    }
    let mut client = jobserver.permits();
    for expected in [
        Permit::Granted,
        Permit::Granted,
        Permit::Granted,
        Permit::Announced,
    ] {
        assert_eq!(client.take(0, now()), expected);
    }
    client.give_back();
    assert_eq!(drain(&jobserver), b"y");
    client.give_back();
    assert_eq!(drain(&jobserver), b"x");
    client.give_back();
    assert_eq!(drain(&jobserver), b"", "the free one is no token");
    assert_eq!(client.take(0, now()), Permit::Granted);
}

#[test]
fn a_client_that_is_dropped_gives_back_what_it_has() {
    let (_server, jobserver) = both();
    let mut client = jobserver.permits();
    for _ in 0..3 {
        assert_eq!(client.take(0, now()), Permit::Granted);
    }
    assert_eq!(drain(&jobserver), b"");
    drop(client);
    assert_eq!(drain(&jobserver), b"++");
}

#[test]
fn two_reactors_share_the_tokens_and_each_has_one_permit_for_free() {
    let (server, _) = both();
    let (mut one, mut other) = (server.permits(), server.permits());
    for _ in 0..2 {
        assert_eq!(one.take(0, now()), Permit::Granted);
        assert_eq!(other.take(0, now()), Permit::Granted);
    }
    assert_eq!(one.take(0, now()), Permit::Announced);
    other.give_back();
    assert_eq!(one.take(0, now()), Permit::Granted);
}

/// Lone commands, one after the other, until all tokens are there. Another test's child that is about to execute has a
/// copy of each descriptor for an instant, and is taken for a client.
fn run_until_full(server: &Jobserver, client: &mut Client) {
    let all = server.jobs().expect("it is ours") - 1;
    while bytes_in_pipe(server.shared.reader.as_fd()).expect("a pipe") != all {
        assert_eq!(client.take(0, now()), Permit::Granted);
        client.give_back();
    }
}

#[test]
fn tokens_of_clients_that_were_killed_are_made_anew_once_nobody_runs() {
    for server in [Some(Jobserver::fifo(3)), Jobserver::pipe(3).ok().map(Ok)] {
        let Some(server) = server else {
            eprintln!("skipped: no pipe without /proc/self/fd");
            continue;
        };
        let server = server.expect("a fifo");
        let mut client = server.permits();
        assert_eq!(client.take(0, now()), Permit::Granted);
        assert!(
            server.shared.read_token().is_some(),
            "somebody takes it along"
        );
        assert_eq!(client.take(0, now()), Permit::Granted);
        assert_eq!(client.take(0, now()), Permit::Announced, "one is lost");
        client.give_back();
        client.give_back();
        run_until_full(&server, &mut client);
        // And those too many are taken out.
        (0..5).for_each(|_| give(&server, TOKEN));
        assert_eq!(client.take(0, now()), Permit::Granted);
        drop(client);
        assert_eq!(drain(&server), b"++");
    }
}

#[test]
fn tokens_of_clients_that_live_are_not_made_anew_and_what_is_there_stays_as_it_is() {
    let (server, theirs) = both();
    drain(&server);
    give(&server, b'x');
    give(&server, b'y');
    let mut other = theirs.permits();
    assert_eq!(other.take(0, now()), Permit::Granted);
    assert_eq!(other.take(0, now()), Permit::Granted, "by a token");
    let mut client = server.permits();
    for _ in 0..3 {
        assert_eq!(client.take(0, now()), Permit::Granted);
        client.give_back();
    }
    assert_eq!(drain(&server), b"y");
    give(&server, b'y');
    drop(other);
    assert_eq!(drain(&server), b"yx");
    // Its process is gone now.
    drop(theirs);
    run_until_full(&server, &mut client);
}

#[test]
fn a_fifo_that_was_removed_or_replaced_is_left_as_it_is() {
    let (server, theirs) = both();
    drop(theirs);
    let path = fifo_of(&server);
    assert!(server.shared.read_token().is_some());
    let mut client = server.permits();
    let mut run_one = || {
        assert_eq!(client.take(0, now()), Permit::Granted);
        client.give_back();
    };
    fs::remove_file(&path).expect("it is there");
    run_one();
    make_fifo(&path).expect("it is gone");
    // To open it for writing waits for a reader, or is refused.
    let _reader = open_fifo(&path).expect("it is a fifo");
    run_one();
    assert_eq!(drain(&server), b"+");
    give(&server, b'z');
    assert_eq!(drain(&server), b"z", "what writes is open still");
}

#[test]
fn a_fifo_is_for_its_user_alone_and_goes_with_the_last_clone_but_not_with_a_client() {
    let (server, theirs) = both();
    let path = fifo_of(&server);
    let mode = fs::metadata(&path).expect("it is there").mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    drop(theirs);
    let clone = server.clone();
    drop(server);
    assert!(path.exists());
    drop(clone);
    assert!(!path.exists());
}

#[test]
fn what_is_no_jobserver_is_refused_before_it_is_used() {
    let directory =
        std::env::temp_dir().join(format!("execloop-no-jobserver-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("file");
    fs::write(&file, "+++").expect("a file");
    let (read, write) = io::pipe().expect("a pipe");
    let (other, _kept) = io::pipe().expect("a pipe");
    let read = read.as_raw_fd();
    let kind = |auth: String| {
        let opened = Jobserver::from_makeflags(flags(&auth));
        opened.map(drop).expect_err(&auth).kind()
    };
    use io::ErrorKind::{InvalidInput, NotFound, Unsupported};
    assert_eq!(kind(format!("fifo:{}", file.display())), InvalidInput);
    assert_eq!(
        kind(format!("fifo:{}", directory.join("none").display())),
        NotFound
    );
    assert_eq!(kind("sem".to_owned()), InvalidInput);
    let has_proc = Path::new("/proc/self/fd").is_dir();
    let at_least = |kind| if has_proc { kind } else { Unsupported };
    assert_eq!(kind("-2,-2".to_owned()), at_least(NotFound));
    assert_eq!(kind("9998,9999".to_owned()), at_least(NotFound));
    let file = File::open(&file).expect("it is there");
    let odd = format!("{read},{}", file.as_raw_fd());
    assert_eq!(kind(odd), at_least(InvalidInput));
    let two = format!("{},{}", other.as_raw_fd(), write.as_raw_fd());
    assert_eq!(kind(two), at_least(InvalidInput), "of two pipes");
    fs::remove_dir_all(&directory).expect("it is ours");
    assert!(Jobserver::from_makeflags("k -j4").expect("fine").is_none());
    let refused = Jobserver::fifo(TOKENS_MAX + 2).map(drop);
    assert_eq!(refused.expect_err("too many").kind(), InvalidInput);
    let refused = Jobserver::fifo_in("/tmp/with a blank", 2).map(drop);
    assert_eq!(refused.expect_err("it would be cut").kind(), InvalidInput);
}

#[test]
#[cfg(target_os = "linux")]
fn a_fifo_that_is_named_by_numbers_is_opened_although_nobody_has_it_open_for_writing() {
    let (server, theirs) = both();
    let path = fifo_of(&server);
    let reader = open_fifo(&path).expect("it is there");
    // The fifo lives on without its name and its server.
    drop((server, theirs));
    let number = reader.as_raw_fd();
    let named = Jobserver::from_makeflags(flags(&format!("{number},{number}")));
    let named = named.expect("it is a pipe").expect("it is named");
    give(&named, b'n');
    assert_eq!(drain(&named), b"++n");
}

#[test]
#[cfg(target_os = "linux")]
fn a_pipes_shared_open_file_stays_blocking() {
    let (read, write) = io::pipe().expect("a pipe");
    let auth = flags(&format!("{},{}", read.as_raw_fd(), write.as_raw_fd()));
    let jobserver = Jobserver::from_makeflags(auth)
        .expect("it is there")
        .expect("it is named");
    let flags_of =
        |fd: i32| fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("it is open");
    let Way::Pipe(ours) = &jobserver.shared.way else {
        panic!("{jobserver:?}");
    };
    let theirs = jobserver.shared.childs_writer().expect("it is a pipe");
    let nonblocking = |fd: i32| {
        let text = flags_of(fd);
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = i32::from_str_radix(flags.expect("flags").trim(), 8).expect("octal");
        flags & libc::O_NONBLOCK != 0
    };
    for fd in [
        read.as_raw_fd(),
        write.as_raw_fd(),
        ours.as_raw_fd(),
        theirs.as_raw_fd(),
    ] {
        assert!(!nonblocking(fd));
    }
    assert!(nonblocking(jobserver.shared.reader.as_raw_fd()));
    let mut state = jobserver.shared.state();
    let writers = jobserver.shared.writers(&mut state).expect("open");
    assert!(nonblocking(writers.own.as_raw_fd()));
    // And it is the same pipe.
    io::Write::write_all(&mut &write, b"q").expect("room");
    assert_eq!(jobserver.shared.read_token(), Some(b'q'));
}
