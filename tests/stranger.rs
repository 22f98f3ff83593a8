//! What a stranger does to a reactor: more events than one batch, pipes that are always ready or held by orphans, things
//! of the caller's that panic when they are dropped, groups and limits at their ends. Unaware of how the loop works.

#[path = "common"]
mod common {
    pub mod shell;
    mod watchdog;
}

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::shell::shell;
use execloop::{
    Cancel, Cause, Command, CommandId, Context, Error, Finished, Input, Output, Reactor, Signal,
    StartError, Stream, Turn,
};

/// Far beyond what any of these takes; it only turns silence into a failure.
const SILENCE: Duration = Duration::from_secs(120);

fn reactor() -> Reactor {
    Reactor::new().expect("a reactor")
}

#[track_caller]
fn start(reactor: &mut Reactor, command: &mut Command) -> CommandId {
    reactor.start(command).expect("start")
}

#[track_caller]
fn wait(reactor: &mut Reactor, id: CommandId) -> Finished {
    reactor.wait(id).expect("waited").expect("finished")
}

/// Waits until everybody who has a copy of the writer has closed it.
fn await_all(mut reader: PipeReader, writer: PipeWriter) {
    drop(writer);
    io::copy(&mut reader, &mut io::sink()).expect("read");
}

/// mio reports edges alone, as tokio's `AsyncFd` does.
#[test]
fn an_outer_loop_that_is_told_of_edges_hears_of_more_events_than_one_batch_holds() {
    const CHILDREN: usize = 600;
    let mut reactor = reactor();
    let (written, writer) = io::pipe().expect("a pipe");
    let lines = Arc::new(AtomicUsize::new(0));
    for _ in 0..CHILDREN {
        let lines = Arc::clone(&lines);
        let mut command = shell("echo line; exec 3>&-; exec cat");
        command
            .stdin(Input::pipe())
            .stdout(Output::lines(move |_| {
                lines.fetch_add(1, Ordering::Relaxed);
            }))
            .extra_fd(3, writer.try_clone().expect("a copy"));
        start(&mut reactor, &mut command);
    }
    let mut outer = mio::Poll::new().expect("a poll");
    let fd = reactor.as_fd().as_raw_fd();
    let mut source = mio::unix::SourceFd(&fd);
    outer
        .registry()
        .register(&mut source, mio::Token(0), mio::Interest::READABLE)
        .expect("registered");
    // The loop is busy until all of them have written.
    await_all(written, writer);
    let mut events = mio::Events::with_capacity(8);
    while lines.load(Ordering::Relaxed) < CHILDREN {
        outer.poll(&mut events, Some(SILENCE)).expect("poll");
        let heard = lines.load(Ordering::Relaxed);
        assert!(!events.is_empty(), "silence after {heard} lines");
        reactor.turn(Some(Duration::ZERO)).expect("turn");
    }
}

#[test]
fn a_turn_says_whether_more_is_left() {
    let mut reactor = reactor();
    let idle = reactor.turn(Some(Duration::ZERO)).expect("turn");
    assert_eq!(idle, Turn::Done);
    let id = start(&mut reactor, &mut Command::new("true"));
    while reactor.turn(None).expect("turn") == Turn::Done {}
    assert!(wait(&mut reactor, id).success(), "it was left to be taken");
}

#[test]
fn a_pipe_that_is_always_ready_does_not_keep_the_time_limit_of_its_own_command_waiting() {
    let mut reactor = reactor();
    let mut yes = Command::new("yes");
    yes.stdout(Output::pipe())
        .timeout(Duration::from_millis(50));
    let id = start(&mut reactor, &mut yes);
    let mut stdout = reactor.stdout(id).expect("its stdout");
    // Without its end, this would go on for ever.
    io::copy(&mut stdout, &mut io::sink()).expect("to its end");
    let error = wait(&mut reactor, id).outcome.expect_err("killed");
    assert_eq!(error.cause(), Some(Cause::Timeout), "{error}");
}

#[test]
fn a_pipe_that_is_always_ready_keeps_neither_others_limits_nor_a_handle_nor_a_context_waiting() {
    let mut reactor = reactor();
    let id = start(&mut reactor, Command::new("yes").stdout(Output::pipe()));
    let read = |reactor: &mut Reactor| {
        let mut stdout = reactor.stdout(id).expect("its stdout");
        stdout.read(&mut [0; 4096]).expect("it writes on")
    };
    let mut limited = Command::new("sleep");
    let sleeper = start(
        &mut reactor,
        limited.arg("1000").timeout(Duration::from_millis(20)),
    );
    while reactor.running() == 2 {
        read(&mut reactor);
    }
    assert_eq!(
        wait(&mut reactor, sleeper)
            .outcome
            .expect_err("killed")
            .cause(),
        Some(Cause::Timeout)
    );

    let context = Context::new();
    let mut carried = Command::new("sleep");
    let sleeper = start(&mut reactor, carried.arg("1000").context(&context));
    let (told, handle) = (context.clone(), reactor.handle());
    let thread = std::thread::spawn(move || told.cancel());
    while reactor.running() == 2 {
        read(&mut reactor);
    }
    thread.join().expect("no panic");
    let error = wait(&mut reactor, sleeper).outcome.expect_err("killed");
    assert_eq!(error.cause(), Some(Cause::Cancelled));

    let thread = std::thread::spawn(move || handle.kill(id));
    while read(&mut reactor) > 0 {}
    thread.join().expect("no panic");
}

#[test]
fn input_that_is_always_taken_does_not_keep_a_time_limit_waiting() {
    let mut reactor = reactor();
    let mut command = Command::new("cat");
    command
        .stdin(Input::pipe())
        .timeout(Duration::from_millis(50));
    let id = start(&mut reactor, &mut command);
    let mut stdin = reactor.stdin(id).expect("its stdin");
    let error = io::copy(&mut io::repeat(b'x'), &mut stdin).expect_err("until it is killed");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    let error = wait(&mut reactor, id).outcome.expect_err("killed");
    assert_eq!(error.cause(), Some(Cause::Timeout), "{error}");
}

/// A command that exits at once, whose orphan keeps its stdout for as long as the second value lives.
fn leaves_an_orphan() -> (Command, PipeWriter) {
    let (held, writer) = io::pipe().expect("a pipe");
    let mut command = shell("echo before; exec cat <&3 &");
    command.stdout(Output::pipe()).extra_fd(3, held);
    (command, writer)
}

/// Reads to the end that never comes. Returns what was read, and why it ended.
fn read_to_the_end(reactor: &mut Reactor, id: CommandId) -> (Vec<u8>, io::Error) {
    let mut bytes = Vec::new();
    let mut stdout = reactor.stdout(id).expect("its stdout");
    let error = stdout.read_to_end(&mut bytes).expect_err("it was cut");
    (bytes, error)
}

#[test]
fn a_read_of_a_pipe_that_an_orphan_holds_is_ended_by_the_delay_and_by_the_timeout() {
    type Limit = fn(&mut Command) -> &mut Command;
    let limits: [(Limit, &str); 2] = [
        (
            |command| command.wait_delay(Duration::from_millis(20)),
            "stdout was cut: wait delay expired",
        ),
        (
            |command| command.timeout(Duration::from_millis(200)),
            "stdout was cut: timed out",
        ),
    ];
    for (limit, said) in limits {
        let mut reactor = reactor();
        let (mut command, orphan) = leaves_an_orphan();
        let id = start(&mut reactor, limit(&mut command));
        let (bytes, error) = read_to_the_end(&mut reactor, id);
        assert_eq!(bytes, b"before\n", "what was written before is kept");
        assert_eq!(error.to_string(), said);
        // It was over before: how its pipe was ended is the reader's business.
        assert!(wait(&mut reactor, id).success());
        drop(orphan);
    }
}

#[test]
fn a_read_of_a_pipe_that_an_orphan_holds_is_ended_from_another_thread() {
    let ends: [fn(&execloop::Handle, CommandId, &Context); 3] = [
        |handle, id, _| handle.kill(id),
        |handle, id, _| handle.cancel(id),
        |_, _, context| context.cancel(),
    ];
    for end in ends {
        let mut reactor = reactor();
        let (mut command, orphan) = leaves_an_orphan();
        let context = Context::new();
        let id = start(&mut reactor, command.context(&context));
        let mut first = [0; 7];
        let mut stdout = reactor.stdout(id).expect("its stdout");
        stdout.read_exact(&mut first).expect("what it wrote");
        while reactor.running() > 0 {
            reactor.turn(None).expect("turn");
        }
        let handle = reactor.handle();
        let thread = std::thread::spawn(move || end(&handle, id, &context));
        let (bytes, error) = read_to_the_end(&mut reactor, id);
        assert_eq!(bytes, b"");
        assert_eq!(error.to_string(), "stdout was cut: cancelled");
        thread.join().expect("no panic");
        drop(orphan);
    }
}

#[test]
fn a_killed_command_leaks_nothing_that_only_it_has_held() {
    const COMMANDS: usize = 50;
    for by_delay in [false, true] {
        let mut reactor = reactor();
        for _ in 0..COMMANDS {
            let mut command = Command::new("cat");
            command
                .stdin(Input::pipe())
                .stdout(Output::capture())
                .stderr(Output::capture())
                .process_group(0)
                .on_cancel(Cancel::signal(Signal::CONT).to_group())
                .wait_delay(Duration::from_millis(1));
            let id = start(&mut reactor, &mut command);
            if by_delay {
                reactor.cancel(id);
            } else {
                reactor.kill(id);
            }
        }
        while let Some(done) = reactor.wait_any().expect("poll") {
            assert_eq!(done.leaked, [], "{:?}", done.outcome);
        }
    }
}

/// Panics when it is dropped, and when its panic is dropped.
struct Rude;

impl Drop for Rude {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::panic_any(RudePayload);
        }
    }
}

struct RudePayload;

impl Drop for RudePayload {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a payload");
        }
    }
}

impl Write for Rude {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Rude {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

/// Panics when it is dropped, also where another one does already: of which none is to meet another.
struct Always;

impl Drop for Always {
    fn drop(&mut self) {
        std::panic::panic_any(());
    }
}

impl Write for Always {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Always {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

/// All that a command can carry of the caller's, each of which panics when it is dropped.
fn full_of_panics(program: &str) -> Command {
    let (callback, line) = (Always, Always);
    let mut command = Command::new(program);
    command
        .stdin(Input::reader(Always))
        .stdout(Output::writer(Always))
        .stderr(Output::lines(move |_| {
            let _ = &line;
        }))
        .data(Always)
        .on_cancel(Cancel::with(move |target| {
            let _ = &callback;
            target.signal(Signal::KILL)
        }));
    command
}

#[test]
fn all_that_one_command_carries_may_panic_when_it_is_dropped() {
    // Refused, cancelled in the queue, killed as it runs, and left to the reactor's drop in each state.
    let mut reactor = Reactor::builder().max_running(1).build();
    let reactor = reactor.as_mut().expect("a reactor");
    let refused = reactor.submit(full_of_panics("/no/such/program"));
    std::mem::forget(wait(reactor, refused).take_data::<Always>());
    let runs = reactor.submit(full_of_panics("cat"));
    let queued = reactor.submit(full_of_panics("cat"));
    for id in [queued, runs] {
        assert!(reactor.cancel(id));
        let mut done = wait(reactor, id);
        assert!(done.outcome.is_err(), "{:?}", done.outcome);
        std::mem::forget(done.take_data::<Always>());
    }
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    for _ in 0..2 {
        reactor.submit(full_of_panics("cat"));
    }
    let sent = reactor.handle();
    sent.run_then(full_of_panics("cat"), {
        let reply = Always;
        move |_| std::mem::forget(reply)
    });
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    drop(reactor);
}

fn is_copy_panic(done: &Finished, stream: Stream) -> bool {
    matches!(&done.outcome, Err(Error::Copy { stream: told, source })
        if *told == stream && source.to_string().contains("panicked"))
}

#[test]
fn what_panics_when_it_is_dropped_ends_its_own_command_alone() {
    const OTHERS: usize = 20;
    let mut reactor = reactor();
    let others: Vec<_> = (0..OTHERS)
        .map(|_| start(&mut reactor, shell("echo x").stdout(Output::capture())))
        .collect();
    let rude = Rude;
    let writer = start(&mut reactor, shell("echo x").stdout(Output::writer(Rude)));
    let reader = start(&mut reactor, Command::new("cat").stdin(Input::reader(Rude)));
    let lines = start(
        &mut reactor,
        shell("echo x").stdout(Output::lines(move |_| {
            let _ = &rude;
        })),
    );
    for (id, stream) in [
        (writer, Stream::Stdout),
        (reader, Stream::Stdin),
        (lines, Stream::Stdout),
    ] {
        let done = wait(&mut reactor, id);
        assert!(is_copy_panic(&done, stream), "{:?}", done.outcome);
    }
    for id in others {
        let done = wait(&mut reactor, id);
        assert!(done.success() && done.stdout == b"x\n", "{done:?}");
    }
}

#[test]
fn what_panics_when_it_is_dropped_unused_does_no_harm_either() {
    let mut reactor = Reactor::builder().max_running(1).build().expect("reactor");
    let first = start(&mut reactor, Command::new("cat").stdin(Input::pipe()));
    // One that ends in the queue, one that fails to start, one whose cancel callback is as rude.
    let queued = start(&mut reactor, shell("").stdout(Output::writer(Rude)));
    let missing = start(
        &mut reactor,
        Command::new("/nowhere/x").stdout(Output::writer(Rude)),
    );
    let rude = Rude;
    let mut cancelled = Command::new("true");
    cancelled.on_cancel(Cancel::with(move |_| {
        let _ = &rude;
        Ok(())
    }));
    let cancelled = reactor.handle().start(cancelled).expect("sent");
    let last = start(&mut reactor, &mut Command::new("true"));
    assert!(reactor.cancel(queued));
    assert!(reactor.kill(first));
    for id in [queued, missing] {
        let done = wait(&mut reactor, id);
        assert!(matches!(done.outcome, Err(Error::Start(_))), "{done:?}");
    }
    assert!(wait(&mut reactor, cancelled).success());
    assert!(wait(&mut reactor, last).success());
    // And one that is left to the end of the reactor.
    start(
        &mut reactor,
        shell("exec sleep 1000").stdout(Output::writer(Rude)),
    );
    drop(reactor);
}

#[test]
fn a_capture_keeps_little_more_than_its_bytes() {
    for bytes in [10, 5_000, 70_000, 300_000] {
        let mut command = shell(&format!("head -c {bytes} /dev/zero"));
        let done = command.stdout(Output::capture()).finish().expect("started");
        assert_eq!(done.stdout.len(), bytes);
        let kept = done.stdout.capacity();
        assert!(kept <= bytes + bytes / 4 + 1024, "{kept} for {bytes}");
    }
}

#[test]
fn a_swept_group_does_not_outlive_its_leader_and_another_does() {
    for (sweeps, expected) in [(true, None), (false, Some(b"x".to_vec()))] {
        let (held, mut leash) = io::pipe().expect("a pipe");
        let (mut alive, writer) = io::pipe().expect("a pipe");
        let mut command = shell("(cat <&3 >&4) & exit 0");
        command
            .extra_fd(3, held)
            .extra_fd(4, writer)
            .process_group(0)
            .sweep_group(sweeps);
        let mut reactor = reactor();
        let id = start(&mut reactor, &mut command);
        drop(command);
        assert!(wait(&mut reactor, id).success());
        // Whoever outlived it still copies.
        let (sent, received) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut byte = [0];
            let found = alive.read(&mut byte).expect("read");
            sent.send((found == 1).then(|| byte.to_vec()))
                .expect("heard");
        });
        let _ = leash.write_all(b"x");
        drop(leash);
        assert_eq!(received.recv().expect("an answer"), expected);
        reader.join().expect("no panic");
    }
}

#[test]
fn settings_that_would_end_the_wrong_command_are_refused() {
    let refused = |command: &mut Command| {
        let started = reactor().start(command);
        matches!(started, Err(StartError::Refused(_)))
    };
    let idle = || {
        let mut command = Command::new("true");
        command.idle_timeout(SILENCE);
        command
    };
    assert!(refused(&mut idle()), "it can hear nothing at all");
    assert!(refused(idle().stdout(Output::inherit())));
    assert!(refused(
        idle().stdout(Output::capture()).stderr(Output::inherit())
    ));
    assert!(idle().stdout(Output::capture()).run().is_ok());
    assert!(refused(Command::new("true").sweep_group(true)));
}

#[test]
fn a_child_that_is_stopped_at_its_birth_holds_up_nobody_and_can_be_ended() {
    const STOPPED: usize = 8;
    let mut reactor = reactor();
    let stopped: Vec<_> = (0..STOPPED)
        .map(|_| {
            let id = start(&mut reactor, Command::new("sleep").arg("1000"));
            reactor.signal(id, Signal::STOP).expect("it lives");
            id
        })
        .collect();
    for _ in 0..3 * STOPPED {
        let id = start(&mut reactor, shell("echo x").stdout(Output::capture()));
        assert_eq!(wait(&mut reactor, id).stdout, b"x\n");
    }
    for id in stopped {
        assert!(reactor.kill(id));
        let done = wait(&mut reactor, id);
        assert!(matches!(done.outcome, Err(Error::Exit(_))), "{done:?}");
    }
}

#[test]
fn a_reactor_can_be_dropped_or_shut_down_with_starts_under_way() {
    for _ in 0..50 {
        let mut dropped = reactor();
        for _ in 0..10 {
            start(&mut dropped, shell("echo x").stdout(Output::capture()));
        }
        drop(dropped);
        let mut shut = reactor();
        let ids: Vec<_> = (0..10)
            .map(|_| start(&mut shut, &mut Command::new("/nowhere/at/all")))
            .collect();
        let finished = shut.shutdown().expect("poll");
        assert_eq!(finished.len(), ids.len());
        assert!(finished.iter().all(|done| !done.success()));
    }
}

#[test]
fn a_signal_to_a_group_at_its_birth_is_not_one_to_ours() {
    let mut reactor = reactor();
    for _ in 0..50 {
        let mut leader = Command::new("sleep");
        let id = start(&mut reactor, leader.arg("1000").process_group(0));
        // To our own group, this would be the end of this test.
        reactor
            .signal_group(id, Signal::KILL)
            .expect("it leads one");
        assert!(!wait(&mut reactor, id).success());
    }
}
