//! Pipes of the caller's without waiting: tried, told when they are worth another try, and given away.
//! Unaware of reads and writes that wait, which `tests/pipes.rs` has.
#![allow(unsafe_code, reason = "poll(2) of a descriptor that is not borrowed")]

use super::*;

use std::io::{ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};

use execloop::{Event, Stream, Turn};

/// What a try came to: `None` for one that would have blocked.
#[track_caller]
fn tried(result: io::Result<usize>) -> Option<usize> {
    match result {
        Ok(count) => Some(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

fn cat() -> Command {
    let mut cat = Command::new("cat");
    cat.stdin(Input::pipe()).stdout(Output::pipe());
    cat
}

/// What one command is sent, and what came back.
struct Echo {
    id: CommandId,
    sent: Vec<u8>,
    written: usize,
    got: Vec<u8>,
    has_ended: bool,
}

impl Echo {
    fn new(reactor: &mut Reactor, byte: u8) -> Echo {
        Echo {
            id: start(reactor, &mut cat()),
            // More than both pipes hold.
            sent: vec![byte; 300_000],
            written: 0,
            got: Vec::new(),
            has_ended: false,
        }
    }

    fn write(&mut self, reactor: &mut Reactor) {
        while let Some(mut stdin) = reactor.stdin(self.id) {
            let left = &self.sent[self.written..];
            if left.is_empty() {
                return stdin.close();
            }
            match tried(stdin.try_write(left)) {
                Some(count) => self.written += count,
                None => return,
            }
        }
    }

    fn read(&mut self, reactor: &mut Reactor) {
        let mut buffer = [0; 10_000];
        while !self.has_ended {
            let mut stdout = reactor.stdout(self.id).expect("its stdout");
            match tried(stdout.try_read(&mut buffer)) {
                Some(0) => self.has_ended = true,
                Some(count) => self.got.extend_from_slice(&buffer[..count]),
                None => return,
            }
        }
    }
}

// Nothing here has a timeout: a pipe that was not told of would hang it.
#[test]
fn one_thread_serves_both_directions_of_several_commands_by_events_alone() {
    let mut reactor = reactor();
    let mut echoes: Vec<Echo> = (b'a'..b'e')
        .map(|byte| Echo::new(&mut reactor, byte))
        .collect();
    for echo in &mut echoes {
        echo.write(&mut reactor);
        echo.read(&mut reactor);
    }
    let mut finished = 0;
    while finished < echoes.len() {
        let event = reactor
            .wait_event(None)
            .expect("poll")
            .expect("not all are finished");
        let id = match &event {
            Event::Finished(done) => done.id,
            Event::Ready(id, _) => *id,
            other => panic!("{other:?}"),
        };
        let echo = echoes
            .iter_mut()
            .find(|echo| echo.id == id)
            .expect("one of these");
        match event {
            Event::Ready(_, Stream::Stdin) => echo.write(&mut reactor),
            Event::Ready(..) => echo.read(&mut reactor),
            Event::Finished(done) => {
                assert!(done.success() && echo.has_ended, "{done:?}");
                finished += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    for echo in echoes {
        assert!(echo.got == echo.sent, "{} bytes came back", echo.got.len());
    }
    assert!(
        reactor.wait_event(None).expect("poll").is_none(),
        "none is left"
    );
}

#[test]
fn a_try_waits_for_nothing_and_an_event_is_told_once() {
    let mut reactor = reactor();
    let id = start(&mut reactor, &mut cat());
    let mut buffer = [0; 10];
    let mut read = |reactor: &mut Reactor| {
        let mut stdout = reactor.stdout(id).expect("its stdout");
        tried(stdout.try_read(&mut buffer))
    };
    // Twice, and it is told once; the first time it may not be started.
    assert_eq!((read(&mut reactor), read(&mut reactor)), (None, None));
    let mut next = |timeout| reactor.wait_event(timeout).expect("poll");
    let short = Some(Duration::from_millis(100));
    let mut told = 0;
    while let Some(event) = next(short) {
        assert!(
            matches!(event, Event::Ready(of, Stream::Stdout) if of == id),
            "{event:?}"
        );
        told += 1;
    }
    assert!(told <= 1, "its exec, at most");
    assert!(reactor.try_event().is_none());
    // Nobody has asked since: it is there, and is not told.
    reactor
        .stdin(id)
        .expect("its stdin")
        .write_all(b"x")
        .expect("it reads");
    let silent = reactor.wait_event(short).expect("poll");
    if told == 1 {
        assert!(silent.is_none(), "{silent:?}");
    }
    assert_eq!(read(&mut reactor), Some(1));
    assert_eq!(read(&mut reactor), None);
    reactor.stdin(id).expect("its stdin").close();
    let event = reactor.wait_event(None).expect("poll");
    assert!(
        matches!(event, Some(Event::Ready(_, Stream::Stdout))),
        "{event:?}"
    );
    assert_eq!(read(&mut reactor), Some(0), "its end");
}

/// Turns until there is nothing to do, which there must not be while nothing happens.
#[track_caller]
fn settle(reactor: &mut Reactor) {
    let mut turns = (0..100).map(|_| reactor.turn(Some(Duration::ZERO)).expect("turn"));
    assert!(turns.any(|turn| turn == Turn::Done), "more for ever");
}

#[test]
fn who_tries_by_himself_leaves_nothing_to_be_told() {
    let mut reactor = reactor();
    let id = start(&mut reactor, &mut cat());
    // Of its exec he hears by trying.
    while reactor.stdout(id).expect("its stdout").try_fd().is_err() {
        reactor.turn(None).expect("turn");
    }
    settle(&mut reactor);
    let mut buffer = [0; 10];
    let mut read = |reactor: &mut Reactor| {
        let mut stdout = reactor.stdout(id).expect("its stdout");
        tried(stdout.try_read(&mut buffer))
    };
    let write = |reactor: &mut Reactor| {
        let mut stdin = reactor.stdin(id).expect("its stdin");
        assert_eq!(tried(stdin.try_write(b"x")), Some(1));
    };
    assert_eq!(read(&mut reactor), None);
    write(&mut reactor);
    // The turn that notes the pipe ends with more to do; he finds out what.
    while read(&mut reactor).is_none() {
        reactor.turn(None).expect("turn");
    }
    settle(&mut reactor);
    assert_eq!(read(&mut reactor), None);
    settle(&mut reactor);
    // What comes after that is told.
    write(&mut reactor);
    let event = reactor.wait_event(None).expect("poll");
    assert!(
        matches!(event, Some(Event::Ready(of, Stream::Stdout)) if of == id),
        "{event:?}"
    );
    // Not so of what is there, and nobody has tried: it is told until he tries.
    assert_eq!(read(&mut reactor), Some(1));
    assert_eq!(read(&mut reactor), None);
    write(&mut reactor);
    for _ in 0..5 {
        while reactor.turn(None).expect("turn") != Turn::More {}
    }
    assert_eq!(read(&mut reactor), Some(1));
    settle(&mut reactor);
}

#[test]
fn a_pipe_of_a_queued_command_is_told_once_it_is_started_and_an_end_in_the_queue_is_finished() {
    let (mut reactor, stay, first) = full();
    let queued = start(&mut reactor, &mut cat());
    let lost = start(&mut reactor, &mut cat());
    for id in [queued, lost] {
        let mut stdin = reactor.stdin(id).expect("its stdin");
        assert_eq!(tried(stdin.try_write(b"x")), None);
    }
    assert!(reactor.cancel(lost));
    drop(stay);
    let mut told = Vec::new();
    while told.len() < 3 {
        match reactor
            .wait_event(None)
            .expect("poll")
            .expect("one is left")
        {
            Event::Finished(done) => told.push((done.id, None)),
            Event::Ready(id, stream) => {
                told.push((id, Some(stream)));
                let mut stdin = reactor.stdin(id).expect("its stdin");
                assert_eq!(tried(stdin.try_write(b"x")), Some(1));
                stdin.close();
            }
            other => panic!("{other:?}"),
        }
    }
    told.sort();
    let expected = [(first, None), (queued, Some(Stream::Stdin)), (lost, None)];
    assert_eq!(told, expected);
}

#[test]
fn a_pipe_that_is_cut_is_told() {
    let mut reactor = reactor();
    let (held, orphan) = io::pipe().expect("a pipe");
    let mut command = shell("exec cat <&3 &");
    command
        .stdout(Output::pipe())
        .extra_fd(3, held)
        .wait_delay(Duration::from_millis(20));
    let id = start(&mut reactor, &mut command);
    let error = loop {
        let mut stdout = reactor.stdout(id).expect("its stdout");
        match stdout.try_read(&mut [0; 10]) {
            Ok(count) => panic!("{count} bytes"),
            Err(error) if error.kind() != ErrorKind::WouldBlock => break error,
            Err(_) => {}
        }
        // The command is finished long before, but its pipe comes first.
        let event = reactor.wait_event(None).expect("poll");
        assert!(matches!(event, Some(Event::Ready(..))), "{event:?}");
    };
    assert_eq!(error.to_string(), "stdout was cut: wait delay expired");
    let event = reactor.wait_event(None).expect("poll");
    assert!(matches!(event, Some(Event::Finished(..))), "{event:?}");
    drop(orphan);
}

#[test]
fn pipes_of_nobody_and_closed_ones_are_errors_at_once() {
    let mut reactor = reactor();
    let id = start(&mut reactor, &mut cat());
    reactor.stdin(id).expect("its stdin").close();
    let mut stdin = reactor.stdin(id).expect("its stdin");
    let error = stdin.try_write(b"x").expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    let error = reactor
        .stdin(id)
        .expect("its stdin")
        .into_fd()
        .expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert!(wait(&mut reactor, id).success());
    assert!(reactor.stdout(id).is_none());
}

#[test]
fn a_pipe_is_given_to_another_command_and_to_a_thread_and_blocks_there() {
    let (mut reactor, stay, _) = full();
    let mut first = shell("echo one; sleep 0.1; echo two");
    let first = start(&mut reactor, first.stdout(Output::pipe()));
    drop(stay);
    // Waits for its start.
    let between = reactor
        .stdout(first)
        .expect("its stdout")
        .into_fd()
        .expect("given");
    let mut second = Command::new("cat");
    second.stdin(Input::file(between)).stdout(Output::pipe());
    drop(wait(&mut reactor, first));
    let second = start(&mut reactor, &mut second);
    let out = reactor
        .stdout(second)
        .expect("its stdout")
        .into_fd()
        .expect("given");
    assert!(
        reactor
            .stdout(second)
            .is_some_and(|mut out| out.try_read(&mut [0; 9]).is_err())
    );
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::fs::File::from(out)
            .read_to_string(&mut text)
            .map(|_| text)
    });
    assert!(wait(&mut reactor, second).success());
    // On a descriptor that does not block, cat would have failed, and the thread too.
    assert_eq!(
        reader.join().expect("no panic").expect("read"),
        "one\ntwo\n"
    );
    assert!(
        reactor.wait_any().expect("poll").is_some(),
        "the one that was in the way"
    );
}

#[test]
fn a_given_stdin_ends_when_it_is_dropped() {
    let mut reactor = reactor();
    let mut command = Command::new("cat");
    command.stdin(Input::pipe()).stdout(Output::capture());
    let id = start(&mut reactor, &mut command);
    let stdin = reactor
        .stdin(id)
        .expect("its stdin")
        .into_fd()
        .expect("given");
    std::fs::File::from(stdin)
        .write_all(b"text")
        .expect("it reads");
    assert_eq!(wait(&mut reactor, id).stdout, b"text");
}

#[test]
fn many_pieces_are_one_write() {
    let mut reactor = reactor();
    // In packet mode, one read brings one write.
    let mut command = Command::new("dd");
    command
        .args(["bs=4096", "count=1", "status=none"])
        .stdin(Input::pipe())
        .stdout(Output::capture());
    let id = start(&mut reactor, &mut command);
    let pieces = [&b"one "[..], b"", b"two ", b"three"].map(IoSlice::new);
    let mut stdin = reactor.stdin(id).expect("its stdin");
    assert_eq!(stdin.write_vectored(&pieces).expect("it reads"), 13);
    assert_eq!(stdin.write_vectored(&[]).expect("nothing"), 0);
    assert_eq!(wait(&mut reactor, id).stdout, b"one two three");
}

#[test]
fn a_command_is_told_after_the_output_that_the_caller_waits_for_and_no_other_waits_for_it() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["orphan"]);
    let held = start(&mut reactor, stay.command.stdout(Output::pipe()));
    stay.orphan();
    let mut stdout = reactor.stdout(held).expect("its stdout");
    while tried(stdout.try_read(&mut [0; 100])).is_some() {}
    stay.release();
    turn_until_reaped(&mut reactor, held);
    let other = start(&mut reactor, &mut shell("exit 0"));
    // Its exec may be told, and then the caller waits again.
    let event = loop {
        match reactor.wait_event(None).expect("poll") {
            Some(Event::Ready(id, stream)) => {
                assert_eq!((id, stream), (held, Stream::Stdout));
                let mut stdout = reactor.stdout(held).expect("its stdout");
                assert_eq!(tried(stdout.try_read(&mut [0; 100])), None);
            }
            event => break event,
        }
    };
    assert!(
        matches!(&event, Some(Event::Finished(done)) if done.id == other),
        "{event:?}"
    );
    stay.release_orphan();
    let event = reactor.wait_event(None).expect("poll");
    assert!(
        matches!(event, Some(Event::Ready(id, _)) if id == held),
        "{event:?}"
    );
    let mut stdout = reactor.stdout(held).expect("its stdout");
    assert_eq!(tried(stdout.try_read(&mut [0; 100])), Some(0));
    let event = reactor.wait_event(None).expect("poll");
    assert!(
        matches!(&event, Some(Event::Finished(done)) if done.id == held),
        "{event:?}"
    );
}

/// Sleeps until one of the descriptors can be read or written, without the reactor.
fn poll(fds: &mut [libc::pollfd]) {
    // SAFETY: the pointer and the length are of one slice.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, -1) };
    assert!(ready > 0, "{}", io::Error::last_os_error());
}

#[test]
fn another_poller_hears_of_both_pipes_of_a_command() {
    let (mut reactor, stay, _) = full();
    let id = start(&mut reactor, &mut cat());
    let error = reactor
        .stdin(id)
        .expect("queued")
        .try_fd()
        .expect_err("no pipe yet");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(stay);
    // It is told when there is one.
    while !matches!(
        reactor.wait_event(None).expect("poll").expect("one is left"),
        Event::Ready(of, Stream::Stdin) if of == id
    ) {}
    let wanted = |fd: io::Result<BorrowedFd<'_>>, events| libc::pollfd {
        fd: fd.expect("it is executed").as_raw_fd(),
        events,
        revents: 0,
    };
    let mut fds = [
        wanted(reactor.stdin(id).expect("its").try_fd(), libc::POLLOUT),
        wanted(reactor.stdout(id).expect("its").try_fd(), libc::POLLIN),
    ];
    poll(&mut fds);
    assert_eq!((fds[0].revents, fds[1].revents), (libc::POLLOUT, 0));
    let mut stdin = reactor.stdin(id).expect("its stdin");
    assert_eq!(tried(stdin.try_write(b"word")), Some(4));
    poll(&mut fds[1..]);
    assert_eq!(fds[1].revents, libc::POLLIN);
    let mut buffer = [0; 10];
    let mut stdout = reactor.stdout(id).expect("its stdout");
    assert_eq!(tried(stdout.try_read(&mut buffer)), Some(4));
    reactor.stdin(id).expect("its stdin").close();
    let error = reactor
        .stdin(id)
        .expect("its")
        .try_fd()
        .expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    poll(&mut fds[1..]);
    assert_eq!(fds[1].revents, libc::POLLHUP);
    let mut stdout = reactor.stdout(id).expect("its stdout");
    assert_eq!(tried(stdout.try_read(&mut buffer)), Some(0));
    assert!(wait(&mut reactor, id).success());
}

#[test]
fn an_end_is_told_to_who_was_told_to_wait_for_a_pipe_that_there_will_not_be() {
    let is_end = |reactor: &mut Reactor, id| {
        let event = reactor.wait_event(Some(Duration::from_secs(60)));
        let event = event.expect("poll");
        assert!(
            matches!(&event, Some(Event::Finished(done)) if done.id == id),
            "{event:?}"
        );
    };
    let try_read = |reactor: &mut Reactor, id| {
        let mut stdout = reactor.stdout(id).expect("its stdout");
        assert_eq!(tried(stdout.try_read(&mut [0; 10])), None);
    };
    // Its start fails, after it was accepted.
    let mut reactor = reactor();
    let mut missing = Command::new("/nonexistent/program");
    let id = start(&mut reactor, missing.stdout(Output::pipe()));
    let mut stdout = reactor.stdout(id).expect("its stdout");
    let refused = stdout.try_read(&mut [0; 10]).expect_err("not started");
    // It may be known already.
    let expected = [ErrorKind::WouldBlock, ErrorKind::NotConnected];
    assert!(expected.contains(&refused.kind()), "{refused}");
    is_end(&mut reactor, id);

    // It is closed.
    let id = start(&mut reactor, &mut cat());
    try_read(&mut reactor, id);
    reactor.stdout(id).expect("its stdout").close();
    reactor.stdin(id).expect("its stdin").close();
    is_end(&mut reactor, id);

    // Its command ends in the queue.
    let (mut reactor, _stay, _) = full();
    let id = start(&mut reactor, &mut cat());
    try_read(&mut reactor, id);
    assert!(reactor.cancel(id));
    is_end(&mut reactor, id);
}

#[test]
fn a_pipe_is_given_away_however_little_there_is_in_it() {
    let mut reactor = reactor();
    let id = start(&mut reactor, &mut cat());
    // Once it is executed, the kernel announces the pipe.
    while reactor.stdout(id).expect("its stdout").try_fd().is_err() {
        reactor.turn(None).expect("turn");
    }
    let mut stdout = reactor.stdout(id).expect("its stdout");
    assert_eq!(tried(stdout.try_read(&mut [0; 10])), None);
    // cat writes nothing before it is sent something.
    let given = reactor.stdout(id).expect("its stdout").into_fd();
    let mut given = std::fs::File::from(given.expect("its descriptor"));
    let mut stdin = reactor.stdin(id).expect("its stdin");
    assert_eq!(tried(stdin.try_write(b"word")), Some(4));
    reactor.stdin(id).expect("its stdin").close();
    let mut word = String::new();
    given.read_to_string(&mut word).expect("read");
    assert_eq!(word, "word");
    let event = reactor.wait_event(None).expect("poll");
    assert!(matches!(event, Some(Event::Finished(done)) if done.success()));
}
