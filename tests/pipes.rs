//! Pipes that the caller reads and writes himself: closing, ends, what is left unread, and others going on meanwhile.
//! Unaware of files, readers and writers.

#[path = "common"]
mod common {
    pub mod pass;
    pub mod shell;
    pub mod text;
    mod watchdog;
}

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use common::pass::pass_ms;
use common::shell::shell;
use common::text::text;
use execloop::{
    Cancel, Command, CommandId, Error, Finished, Input, Output, Reactor, Signal, StartError,
};

fn reactor() -> Reactor {
    Reactor::new().expect("a reactor")
}

fn cat() -> Command {
    Command::new("/bin/cat")
}

#[track_caller]
fn start(reactor: &mut Reactor, command: &mut Command) -> CommandId {
    reactor.start(command).expect("it starts")
}

/// Starts `command` with all three pipes in the caller's hands.
#[track_caller]
fn start_piped(reactor: &mut Reactor, command: &mut Command) -> CommandId {
    command
        .stdin(Input::pipe())
        .stdout(Output::pipe())
        .stderr(Output::pipe());
    start(reactor, command)
}

#[track_caller]
fn wait(reactor: &mut Reactor, id: CommandId) -> Finished {
    reactor.wait(id).expect("waited").expect("finished")
}

#[track_caller]
fn write(reactor: &mut Reactor, id: CommandId, bytes: &[u8]) -> io::Result<()> {
    reactor.stdin(id).expect("its stdin").write_all(bytes)
}

/// Reads exactly so much.
#[track_caller]
fn read(reactor: &mut Reactor, id: CommandId, length: usize) -> String {
    let mut bytes = vec![0; length];
    reactor
        .stdout(id)
        .expect("its stdout")
        .read_exact(&mut bytes)
        .expect("that much");
    text(&bytes)
}

#[track_caller]
fn read_rest(reactor: &mut Reactor, id: CommandId) -> String {
    let mut bytes = Vec::new();
    reactor
        .stdout(id)
        .expect("its stdout")
        .read_to_end(&mut bytes)
        .expect("the rest");
    text(&bytes)
}

#[track_caller]
fn close_stdin(reactor: &mut Reactor, id: CommandId) {
    reactor.stdin(id).expect("its stdin").close();
}

#[track_caller]
fn close_stdout(reactor: &mut Reactor, id: CommandId) {
    reactor.stdout(id).expect("its stdout").close();
}

/// Turns until the command's process is reaped.
fn until_reaped(reactor: &mut Reactor, id: CommandId) {
    while reactor.signal(id, Signal::CONT).is_ok() {
        reactor.turn(None).expect("turned");
    }
}

/// What a read of its stdout comes to, as there is no pipe to read.
#[track_caller]
fn refused_read(reactor: &mut Reactor, id: CommandId) -> String {
    let mut stdout = reactor.stdout(id).expect("its stdout");
    let error = stdout.read(&mut [0]).expect_err("no pipe");
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    error.to_string()
}

// Statement 78.
#[test]
fn both_directions_carry_a_dialogue() {
    let mut reactor = reactor();
    let script = "while read -r line; do case $line in O:*) echo \"$line\";; *) echo \"$line\" >&2;; esac; done";
    let id = start_piped(&mut reactor, &mut shell(script));
    for round in ["1", "2", "3"] {
        write(&mut reactor, id, format!("O:{round}\n").as_bytes()).expect("it reads");
        assert_eq!(read(&mut reactor, id, 4), format!("O:{round}\n"));
        write(&mut reactor, id, format!("E:{round}\n").as_bytes()).expect("it reads");
        let mut line = [0; 4];
        reactor
            .stderr(id)
            .expect("its stderr")
            .read_exact(&mut line)
            .expect("a line");
        assert_eq!(text(&line), format!("E:{round}\n"));
    }
    close_stdin(&mut reactor, id);
    assert_eq!(read_rest(&mut reactor, id), "");
    let mut rest = Vec::new();
    reactor
        .stderr(id)
        .expect("its stderr")
        .read_to_end(&mut rest)
        .expect("the end");
    assert!(rest.is_empty());
    assert!(wait(&mut reactor, id).success());
}

// Statement 78: there is a pipe where it was asked for, from the start to the hand-out.
#[test]
fn only_streams_that_are_pipes_have_one() {
    let mut reactor = reactor();
    let mut command = cat();
    let id = start(
        &mut reactor,
        command.stdin(Input::pipe()).stdout(Output::capture()),
    );
    assert!(reactor.stdin(id).is_some());
    assert!(reactor.stdout(id).is_none() && reactor.stderr(id).is_none());
    close_stdin(&mut reactor, id);
    assert!(reactor.stdin(id).is_some(), "closed, and still its pipe");
    let _ = wait(&mut reactor, id);
    assert!(reactor.stdin(id).is_none());

    let mut stranger = Reactor::new().expect("another reactor");
    let other = start_piped(&mut stranger, &mut cat());
    assert!(reactor.stdin(other).is_none(), "another reactor's");
}

// Statement 79.
#[test]
fn stdin_closed_first_ends_the_command() {
    let mut reactor = reactor();
    let id = start_piped(&mut reactor, &mut cat());
    write(&mut reactor, id, b"before").expect("it reads");
    close_stdin(&mut reactor, id);
    assert_eq!(read_rest(&mut reactor, id), "before");
    close_stdout(&mut reactor, id);
    assert!(wait(&mut reactor, id).success());
}

// Statement 79.
#[test]
fn stdout_closed_first_breaks_the_commands_pipe() {
    let mut reactor = reactor();
    let id = start_piped(&mut reactor, &mut cat());
    close_stdout(&mut reactor, id);
    // Nobody will read this, but for an instant who has a copy of it until his exec.
    breaks(&mut reactor, id);
    let done = wait(&mut reactor, id);
    assert_eq!(
        done.status.and_then(|status| status.signal()),
        Some(Signal::PIPE.number())
    );
}

// Statement 79: Go tells the second close an error.
#[test]
fn second_close_does_nothing_and_a_closed_pipe_says_so() {
    let mut reactor = reactor();
    let id = start_piped(&mut reactor, &mut cat());
    for _ in 0..2 {
        close_stdin(&mut reactor, id);
        close_stdout(&mut reactor, id);
    }
    let error = write(&mut reactor, id, b"x").expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert_eq!(error.to_string(), "stdin is closed");
    assert_eq!(refused_read(&mut reactor, id), "stdout is closed");
    assert!(wait(&mut reactor, id).success());
}

// Statement 79: in every order with the exit.
#[test]
fn pipes_can_be_closed_after_the_exit() {
    for closes_stdin_first in [true, false] {
        let mut reactor = reactor();
        let id = start_piped(&mut reactor, &mut shell("echo unread; exit 3"));
        until_reaped(&mut reactor, id);
        if closes_stdin_first {
            close_stdin(&mut reactor, id);
            close_stdout(&mut reactor, id);
        } else {
            close_stdout(&mut reactor, id);
            close_stdin(&mut reactor, id);
        }
        let done = wait(&mut reactor, id);
        assert_eq!(done.status.and_then(|status| status.code()), Some(3));
    }
}

// A wait does not wait for pipes that nobody copies.
#[test]
fn open_pipes_do_not_hold_up_the_end() {
    let mut reactor = reactor();
    let mut command = shell("exec sleep 1000");
    let id = start_piped(&mut reactor, &mut command);
    assert!(reactor.kill(id));
    let done = wait(&mut reactor, id);
    assert_eq!(
        done.status.and_then(|status| status.signal()),
        Some(Signal::KILL.number())
    );
    assert!(done.leaked.is_empty());
}

// Statement 79: they stay open until the outcome is taken, and no longer.
#[test]
fn output_can_be_read_after_the_exit_and_before_the_outcome_is_taken() {
    let mut reactor = reactor();
    let id = start_piped(&mut reactor, &mut shell("echo to be read"));
    until_reaped(&mut reactor, id);
    assert_eq!((reactor.running(), reactor.len()), (0, 1));
    assert_eq!(read(&mut reactor, id, 3), "to ");
    assert_eq!(read_rest(&mut reactor, id), "be read\n");
    let again = reactor
        .stdout(id)
        .expect("its stdout")
        .read(&mut [0; 8])
        .expect("the end again");
    assert_eq!(again, 0);
    assert!(reactor.try_wait_any().expect("it is finished").success());
    assert!(reactor.stdout(id).is_none());
}

#[test]
fn unread_output_goes_with_the_outcome() {
    let mut reactor = reactor();
    let id = start_piped(&mut reactor, &mut shell("echo unread"));
    let done = wait(&mut reactor, id);
    assert!(done.success() && done.stdout.is_empty());
    assert!(reactor.stdout(id).is_none() && reactor.stdin(id).is_none());
    assert!(reactor.is_empty());
}

#[test]
fn endless_command_ends_when_its_reader_goes_away() {
    let mut reactor = reactor();
    let id = start_piped(&mut reactor, cat().arg("/dev/zero"));
    assert_eq!(read(&mut reactor, id, 200_000).len(), 200_000);
    close_stdout(&mut reactor, id);
    let done = wait(&mut reactor, id);
    assert_eq!(
        done.status.and_then(|status| status.signal()),
        Some(Signal::PIPE.number())
    );
}

// A borrowed pipe that is dropped is not closed.
#[test]
fn dropping_the_borrow_closes_nothing() {
    let mut reactor = reactor();
    let id = start_piped(&mut reactor, &mut cat());
    assert!(reactor.stdin(id).is_some());
    assert!(reactor.stdout(id).is_some());
    write(&mut reactor, id, b"open").expect("it reads");
    assert_eq!(read(&mut reactor, id, 4), "open");
}

#[test]
fn write_to_a_child_that_closed_its_stdin_is_a_broken_pipe() {
    let mut reactor = reactor();
    let id = start_piped(
        &mut reactor,
        &mut shell("exec 0<&-; echo closed; exec sleep 1000"),
    );
    assert_eq!(read(&mut reactor, id, 7), "closed\n");
    let error = breaks(&mut reactor, id);
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    reactor.kill(id);
    let _ = wait(&mut reactor, id);
}

#[test]
fn write_after_the_exit_is_a_broken_pipe() {
    let mut reactor = reactor();
    let id = start_piped(&mut reactor, &mut Command::new("/bin/true"));
    until_reaped(&mut reactor, id);
    let error = breaks(&mut reactor, id);
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(wait(&mut reactor, id).success());
}

/// What a write says once nobody reads. A sibling that another thread starts may have a copy of the other end: for an instant
/// where it shares our table, until its exec where it is forked. Until then there is room, or the write waits.
fn breaks(reactor: &mut Reactor, id: CommandId) -> io::Error {
    loop {
        if let Err(error) = write(reactor, id, b"x") {
            return error;
        }
    }
}

#[test]
fn empty_reads_and_writes_do_nothing() {
    let mut reactor = reactor();
    let id = start_piped(&mut reactor, &mut cat());
    assert_eq!(
        reactor
            .stdin(id)
            .expect("its stdin")
            .write(b"")
            .expect("nothing"),
        0
    );
    assert_eq!(
        reactor
            .stdout(id)
            .expect("its stdout")
            .read(&mut [])
            .expect("nothing"),
        0
    );
    close_stdin(&mut reactor, id);
    assert!(wait(&mut reactor, id).success());
}

/// A command that exits only if the reactor feeds it and drains it meanwhile; then it lets go of descriptor 3.
fn needy() -> (Command, io::PipeReader) {
    let (gone, holder) = io::pipe().expect("a pipe");
    let mut command = cat();
    command
        .stdin(Input::bytes(vec![b'x'; 1_000_000]))
        .stdout(Output::capture())
        .extra_fd(3, holder);
    (command, gone)
}

#[test]
fn read_that_waits_lets_others_finish() {
    let mut reactor = reactor();
    let (mut needy, gone) = needy();
    // Speaks when the needy one is gone.
    let mut patient = shell("cat <&3; echo heard");
    let patient = start_piped(&mut reactor, patient.extra_fd(3, gone));
    let needy = start(&mut reactor, &mut needy);
    assert_eq!(read(&mut reactor, patient, 6), "heard\n");
    let done = wait(&mut reactor, needy);
    assert!(
        done.success() && done.stdout.len() == 1_000_000,
        "{:?}",
        done.outcome
    );
    assert!(wait(&mut reactor, patient).success());
}

#[test]
fn write_that_waits_lets_others_finish() {
    let mut reactor = reactor();
    let (mut needy, gone) = needy();
    // Reads its stdin when the needy one is gone.
    let mut patient = shell("cat <&3; exec cat");
    patient
        .stdin(Input::pipe())
        .stdout(Output::capture())
        .extra_fd(3, gone);
    let patient = start(&mut reactor, &mut patient);
    let needy = start(&mut reactor, &mut needy);
    write(&mut reactor, patient, &vec![b'y'; 1_000_000]).expect("it reads in the end");
    close_stdin(&mut reactor, patient);
    assert_eq!(wait(&mut reactor, patient).stdout.len(), 1_000_000);
    assert_eq!(wait(&mut reactor, needy).stdout.len(), 1_000_000);
}

#[test]
fn shared_pipe_carries_stderr_too() {
    let mut reactor = reactor();
    let mut command = shell("echo out; echo err >&2");
    let id = start(
        &mut reactor,
        command.stdout(Output::pipe()).stderr_to_stdout(true),
    );
    assert!(reactor.stderr(id).is_none());
    assert_eq!(read_rest(&mut reactor, id), "out\nerr\n");
    assert!(wait(&mut reactor, id).success());
}

#[test]
fn pipe_of_a_queued_command_waits_for_its_start() {
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    let (mut first, _gone) = needy();
    start(&mut reactor, &mut first);
    let queued = start_piped(&mut reactor, &mut cat());
    assert_eq!(reactor.queued(), 1);
    write(&mut reactor, queued, b"at last").expect("it reads");
    close_stdin(&mut reactor, queued);
    assert_eq!(read_rest(&mut reactor, queued), "at last");
    assert!(wait(&mut reactor, queued).success());
}

#[test]
fn pipe_of_a_queued_command_that_cannot_be_started_says_so() {
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    start(&mut reactor, &mut Command::new("/bin/true"));
    let queued = start_piped(&mut reactor, &mut Command::new("/no/such/program"));
    assert_eq!(
        refused_read(&mut reactor, queued),
        "stdout was never opened: the command was not started"
    );
    // Also once that is known, and until the outcome is handed out.
    assert_eq!(
        refused_read(&mut reactor, queued),
        "stdout was never opened: the command was not started"
    );
    let mut stdin = reactor.stdin(queued).expect("it was to have one");
    assert_eq!(
        stdin.try_write(b"x").expect_err("never opened").kind(),
        ErrorKind::NotConnected
    );
    let done = wait(&mut reactor, queued);
    assert!(reactor.stdout(queued).is_none());
    assert!(
        matches!(done.outcome, Err(Error::Start(StartError::Step { .. }))),
        "{:?}",
        done.outcome
    );
}

#[test]
fn pipe_of_a_command_that_was_cancelled_in_the_queue_or_refused_says_so() {
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    let running = start_piped(&mut reactor, &mut cat());
    let cancelled = start_piped(&mut reactor, &mut cat());
    assert!(reactor.cancel(cancelled));
    let mut refused = cat();
    refused
        .stdin(Input::pipe())
        .stdout(Output::pipe())
        .arg("\0");
    let refused = reactor.submit(&mut refused);
    for id in [cancelled, refused] {
        assert_eq!(
            refused_read(&mut reactor, id),
            "stdout was never opened: the command was not started"
        );
        reactor.stdout(id).expect("it was to have one").close();
        close_stdin(&mut reactor, id);
        assert!(wait(&mut reactor, id).status.is_none());
        assert!(reactor.stdin(id).is_none());
    }
    close_stdin(&mut reactor, running);
    assert!(wait(&mut reactor, running).success());
}

// Statement 72: the wait delay cuts the caller's pipes with the copied ones, and they say so until the outcome is taken.
#[test]
fn pipe_that_the_wait_delay_cut_says_so() {
    let mut reactor = reactor();
    let (held, ours) = io::pipe().expect("a pipe");
    // The descendant keeps stderr, which is captured, until the end of this test.
    let mut command = shell("cat <&3 & echo unread");
    command
        .stdout(Output::pipe())
        .stderr(Output::capture())
        .extra_fd(3, held)
        .wait_delay(Duration::from_millis(1));
    let id = start(&mut reactor, &mut command);
    while reactor.running() > 0 {
        reactor.turn(None).expect("turned");
    }
    let mut stdout = reactor.stdout(id).expect("its stdout");
    let mut kept = [0; 7];
    stdout.read_exact(&mut kept).expect("it was written before");
    assert_eq!(&kept, b"unread\n");
    let error = stdout.read(&mut [0]).expect_err("cut");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (
            ErrorKind::NotConnected,
            "stdout was cut: wait delay expired"
        )
    );
    let done = wait(&mut reactor, id);
    assert!(
        matches!(done.outcome, Err(Error::WaitDelay { .. })),
        "{:?}",
        done.outcome
    );
    drop(ours);
}

// Nobody set a delay: what ended the command is told.
#[test]
fn pipe_that_was_cut_by_a_kill_or_a_timeout_says_so() {
    for (has_timeout, expected) in [
        (false, "stdout was cut: cancelled"),
        (true, "stdout was cut: timed out"),
    ] {
        let mut reactor = reactor();
        let (held, ours) = io::pipe().expect("a pipe");
        let mut command = shell("cat <&3 & echo; exit 0");
        command
            .stdout(Output::pipe())
            .stderr(Output::capture())
            .extra_fd(3, held);
        if has_timeout {
            // It lets the shell come to its end, with the descendant started.
            command
                .on_cancel(Cancel::with(|_| Ok(())))
                .timeout(Duration::from_millis(1));
        }
        let id = start(&mut reactor, &mut command);
        let mut newline = [0];
        let mut stdout = reactor.stdout(id).expect("its stdout");
        stdout.read_exact(&mut newline).expect("the shell's line");
        pass_ms(2);
        reactor.turn(Some(Duration::ZERO)).expect("turned");
        reactor.kill(id);
        while reactor.running() > 0 {
            reactor.turn(None).expect("turned");
        }
        assert_eq!(refused_read(&mut reactor, id), expected);
        drop(ours);
    }
}

// Two conversations at once, on one thread.
#[test]
fn many_pipes_are_worked_in_turn() {
    let mut reactor = reactor();
    let ids: Vec<CommandId> = (0..20)
        .map(|_| start_piped(&mut reactor, &mut cat()))
        .collect();
    for round in 0..10 {
        for id in &ids {
            write(&mut reactor, *id, format!("{id}:{round}\n").as_bytes()).expect("it reads");
        }
        for id in ids.iter().rev() {
            let expected = format!("{id}:{round}\n");
            assert_eq!(read(&mut reactor, *id, expected.len()), expected);
        }
    }
    for id in &ids {
        close_stdin(&mut reactor, *id);
    }
    while let Some(done) = reactor.wait_any().expect("waited") {
        assert!(done.success());
    }
}
