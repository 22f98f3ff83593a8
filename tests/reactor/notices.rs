//! What is noticed of commands without ending them: slow ones, who holds a pipe, whose line it is; and the time that a
//! held pipe has apart from the wait delay. Unaware of observers.

use super::*;

use std::sync::mpsc::channel;

use execloop::linux::{Holder, pipe_holders};
use execloop::{Event, Lines, Stream, Turn};

const LONG: Duration = Duration::from_secs(1000);
const SHORT: Duration = Duration::from_millis(30);

#[test]
fn a_slow_command_is_told_again_and_again_and_goes_on() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["end=4"]);
    let id = start(&mut reactor, stay.command.slow_after(SHORT));
    let quick = start(&mut reactor, shell("exit 0").slow_after(LONG));
    assert!(wait(&mut reactor, quick).success());
    for _ in 0..3 {
        let event = reactor.wait_event(None).expect("poll");
        assert!(
            matches!(event, Some(Event::Slow(of)) if of == id),
            "{event:?}"
        );
    }
    // However late it is heard of: one, and none of a command that is over.
    pass_ms(200);
    reactor.turn(NOW).expect("turn");
    pass_ms(100);
    reactor.turn(NOW).expect("turn");
    assert!(matches!(reactor.try_event(), Some(Event::Slow(_))));
    assert!(reactor.try_event().is_none());
    stay.exit_unseen();
    let event = loop {
        match reactor.wait_event(None).expect("poll") {
            Some(Event::Slow(_)) => {}
            event => break event,
        }
    };
    assert!(matches!(&event, Some(Event::Finished(done)) if word(done) == "exit status 4"));
    assert_eq!(
        reactor.next_deadline(),
        None,
        "nothing is left of the notices"
    );
}

#[test]
fn an_outer_loop_that_takes_one_notice_for_each_turn_is_told_that_there_is_another() {
    let mut reactor = reactor();
    let mut stays = [(); 2].map(|()| Stay::new(&[]));
    for stay in &mut stays {
        start(&mut reactor, stay.command.slow_after(SHORT));
        stay.pid();
    }
    pass_ms(100);
    assert_eq!(reactor.turn(NOW).expect("turn"), Turn::More);
    for _ in &stays {
        assert!(matches!(reactor.try_event(), Some(Event::Slow(_))));
    }
}

#[test]
fn a_leak_timeout_bounds_the_pipes_and_the_wait_delay_the_exit() {
    let mut reactor = reactor();
    let mut leaks = Stay::new(&["orphan"]);
    leaks
        .command
        .stdout(Output::capture())
        .wait_delay(LONG)
        .leak_timeout(SHORT);
    let id = start(&mut reactor, &mut leaks.command);
    leaks.orphan();
    leaks.release();
    let done = wait(&mut reactor, id);
    assert_eq!(word(&done), "wait delay");
    assert_eq!(done.leaked, [Stream::Stdout]);
    let held = done
        .drained
        .zip(done.reaped)
        .map(|(drained, reaped)| drained - reaped);
    assert!(held >= Some(SHORT), "{held:?}");

    let mut ignores = Stay::new(&["ignore=INT"]);
    ignores
        .command
        .interrupt(Signal::INT)
        .wait_delay(SHORT)
        .leak_timeout(LONG);
    let id = start(&mut reactor, &mut ignores.command);
    ignores.pid();
    reactor.cancel(id);
    assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL (cancelled)");
}

#[test]
fn an_orphan_that_writes_for_ever_does_not_put_off_the_leak_timeout() {
    let mut reactor = reactor();
    let mut leaks = shell("yes & exit 0");
    leaks.stdout(Output::capture_ends(10)).leak_timeout(SHORT);
    let id = start(&mut reactor, &mut leaks);
    assert_eq!(word(&wait(&mut reactor, id)), "wait delay");
}

/// The helper children among them. What another thread starts at this instant has our descriptors, and our command line.
#[track_caller]
fn helpers(holders: &[Holder]) -> BTreeSet<u32> {
    let ours = std::env::args().next().expect("our program");
    let is_helper = |holder: &&Holder| holder.command_line.contains("execloop-test-helper");
    for holder in holders {
        assert!(
            is_helper(&holder) || holder.command_line.contains(&ours),
            "{holder:?}"
        );
    }
    holders
        .iter()
        .filter(is_helper)
        .map(|holder| holder.pid)
        .collect()
}

#[test]
fn a_child_at_its_birth_holds_no_pipe_of_another_command() {
    let mut reactor = reactor();
    let mut quiet = Stay::new(&[]);
    let id = start(&mut reactor, quiet.command.stdout(Output::capture()));
    let pid = quiet.pid();
    for _ in 0..30 {
        let newborn = start(&mut reactor, Command::new("sleep").arg("1000"));
        // Where it is.
        reactor.signal(newborn, Signal::STOP).expect("it lives");
        let holders = reactor.holders(id, Stream::Stdout).expect("/proc");
        let newborn_pid = reactor.pid(newborn);
        let holders: Vec<_> = holders.iter().map(|holder| holder.pid).collect();
        assert!(holders.contains(&pid));
        assert!(!holders.contains(&newborn_pid.expect("it lives")));
        assert!(reactor.kill(newborn));
        assert!(!wait(&mut reactor, newborn).success());
    }
}

#[test]
fn who_holds_a_pipe_is_told_on_request() {
    for asks in [true, false] {
        let mut reactor = reactor();
        let mut leaks = Stay::new(&["orphan"]);
        leaks
            .command
            .stdout(Output::capture())
            .leak_timeout(SHORT)
            .name_holders(asks);
        let id = start(&mut reactor, &mut leaks.command);
        let (pid, orphan) = (leaks.pid(), leaks.orphan());
        loop {
            let holders = reactor.holders(id, Stream::Stdout).expect("/proc");
            if helpers(&holders) == BTreeSet::from([pid, orphan]) {
                break;
            }
            reactor.turn(NOW).expect("turn");
        }
        leaks.release();
        let done = wait(&mut reactor, id);
        let expected = asks.then_some(orphan);
        assert_eq!(helpers(&done.holders), expected.into_iter().collect());
    }
    let no_pipe = std::fs::File::open("/dev/null").expect("/dev/null");
    let error = pipe_holders(&no_pipe).expect_err("no pipe");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn one_callback_has_the_lines_of_many_commands_and_knows_whose_they_are() {
    let mut reactor = reactor();
    let (sender, receiver) = channel();
    let lines = Lines::new(move |id, stream, line: &[u8]| {
        if line == b"bad" {
            panic!("a bad line");
        }
        sender.send((id, stream, line.to_vec())).expect("heard");
    });
    let mut both = shell("echo one; printf two >&2");
    both.lines(&lines);
    // Neither is used up by a start, nor left out of a clone.
    let ids = [0, 1, 2].map(|_| start(&mut reactor, &mut both.clone()));
    let again = start(&mut reactor, &mut both);
    let mut merged = shell("echo three >&2");
    let merged = start(&mut reactor, merged.lines(&lines).stderr_to_stdout(true));
    let bad = start(&mut reactor, shell("echo bad").lines(&lines));
    let late = start(&mut reactor, shell("echo late").lines(&lines));
    while let Some(done) = reactor.wait_any().expect("poll") {
        assert_eq!(done.success(), done.id != bad, "{done:?}");
    }
    let told: BTreeSet<_> = receiver.try_iter().collect();
    let mut expected = BTreeSet::from([
        (merged, Stream::Stdout, b"three".to_vec()),
        (late, Stream::Stdout, b"late".to_vec()),
    ]);
    for id in ids.into_iter().chain([again]) {
        expected.insert((id, Stream::Stdout, b"one".to_vec()));
        expected.insert((id, Stream::Stderr, b"two".to_vec()));
    }
    assert_eq!(told, expected);
}

/// What was captured of stdout until now.
fn so_far(reactor: &Reactor, id: CommandId) -> Option<Vec<u8>> {
    let so_far = reactor.output_so_far(id, Stream::Stdout);
    so_far.map(|bytes| bytes.into_owned())
}

#[test]
fn what_was_captured_so_far_is_seen_while_the_command_runs_and_until_it_is_taken() {
    let (mut reactor, stay, first) = full();
    // The second half comes once the first was seen.
    let (stdin, mut leash) = io::pipe().expect("a pipe");
    let mut talks = shell("echo one; echo amiss >&2; read line; echo two");
    talks
        .stdin(Input::file(stdin))
        .stdout(Output::capture())
        .stderr(Output::capture());
    let id = start(&mut reactor, &mut talks);
    assert_eq!(so_far(&reactor, id).as_deref(), Some(&b""[..]), "queued");
    drop(stay);
    let _ = wait(&mut reactor, first);
    while so_far(&reactor, id).expect("known") != b"one\n"
        || *reactor.output_so_far(id, Stream::Stderr).expect("known") != b"amiss\n"[..]
    {
        reactor.turn(None).expect("turn");
    }
    let stdin = reactor.output_so_far(id, Stream::Stdin).expect("known");
    assert!(stdin.is_empty(), "{stdin:?}");
    leash.write_all(b"go on\n").expect("it reads");
    while reactor.running() > 0 {
        reactor.turn(None).expect("turn");
    }
    assert_eq!(so_far(&reactor, id).as_deref(), Some(&b"one\ntwo\n"[..]));
    let done = wait(&mut reactor, id);
    assert_eq!(
        (&done.stdout[..], &done.stderr[..]),
        (&b"one\ntwo\n"[..], &b"amiss\n"[..])
    );
    assert_eq!(so_far(&reactor, id), None, "handed out");
}

#[test]
fn what_was_captured_is_seen_after_the_end_of_its_stream() {
    let mut reactor = reactor();
    let (stdin, leash) = io::pipe().expect("a pipe");
    let mut talks = shell("echo said; exec >&-; echo closed >&2; read line");
    talks
        .stdin(Input::file(stdin))
        .stdout(Output::capture())
        .stderr(Output::capture());
    let id = start(&mut reactor, &mut talks);
    let has_ended = |reactor: &mut Reactor| {
        let holders = reactor.holders(id, Stream::Stdout).expect("there is /proc");
        let stderr = reactor.output_so_far(id, Stream::Stderr);
        !stderr.expect("known").is_empty() && holders.is_empty()
    };
    while !has_ended(&mut reactor) {
        reactor.turn(None).expect("turn");
    }
    assert_eq!(so_far(&reactor, id).as_deref(), Some(&b"said\n"[..]));
    drop(leash);
    assert_eq!(wait(&mut reactor, id).stdout, b"said\n");
}

#[test]
fn both_ends_are_seen_of_what_was_captured_so_far() {
    let mut reactor = reactor();
    let (stdin, leash) = io::pipe().expect("a pipe");
    let mut talks = shell("printf 0123456789; read line");
    talks
        .stdin(Input::file(stdin))
        .stdout(Output::capture_ends(2));
    let id = start(&mut reactor, &mut talks);
    let expected = b"01\n... omitting 6 bytes ...\n89";
    while so_far(&reactor, id).expect("known") != expected {
        reactor.turn(None).expect("turn");
    }
    drop(leash);
    assert_eq!(wait(&mut reactor, id).stdout, expected);
}

#[test]
fn what_is_not_captured_is_not_seen() {
    let mut reactor = reactor();
    let shared = Shared::default();
    let mut stay = Stay::new(&["out=text"]);
    stay.command.stdout(Output::writer(shared.clone()));
    let id = start(&mut reactor, &mut stay.command);
    shared.turn_until(&mut reactor, "text");
    assert_eq!(so_far(&reactor, id).as_deref(), Some(&b""[..]));
    reactor.detach(id).expect("it runs");
    assert_eq!(so_far(&reactor, id), None);
    let other = Reactor::new().expect("a reactor");
    assert_eq!(so_far(&other, id), None);
}
