//! What a reactor tells of its commands while they go on, and counts.
//! Unaware of outcomes.

use super::*;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use execloop::{Observer, Stream};

#[derive(Clone, Debug, PartialEq)]
enum Told {
    Queued(CommandId),
    Started(CommandId, u32),
    FirstOutput(CommandId, Stream),
    Exited(CommandId),
    Finished(CommandId, bool),
}

struct Recorder(Sender<(Told, Instant)>);

impl Recorder {
    fn say(&self, told: Told, at: Instant) {
        self.0.send((told, at)).expect("heard");
    }
}

impl Observer for Recorder {
    fn queued(&mut self, id: CommandId, at: Instant) {
        self.say(Told::Queued(id), at);
    }

    fn started(&mut self, id: CommandId, pid: u32, at: Instant) {
        self.say(Told::Started(id, pid), at);
    }

    fn first_output(&mut self, id: CommandId, stream: Stream, at: Instant) {
        self.say(Told::FirstOutput(id, stream), at);
    }

    fn exited(&mut self, id: CommandId, at: Instant) {
        self.say(Told::Exited(id), at);
    }

    fn finished(&mut self, finished: &Finished, at: Instant) {
        self.say(Told::Finished(finished.id, finished.success()), at);
    }
}

/// What was told, in an order that time agrees with.
#[track_caller]
fn told(receiver: &Receiver<(Told, Instant)>) -> Vec<Told> {
    let all: Vec<_> = receiver.try_iter().collect();
    assert!(all.is_sorted_by_key(|(_, at)| *at), "{all:?}");
    all.into_iter().map(|(told, _)| told).collect()
}

#[test]
fn an_observer_is_told_of_each_instant_once_and_in_order() {
    let mut reactor = reactor();
    let (sender, receiver) = channel();
    reactor.observe(Recorder(sender));
    let mut talks = shell("echo one >&2; read line; echo two >&2; echo three; read line");
    talks
        .stdin(Input::pipe())
        .stdout(Output::pipe())
        .stderr(Output::capture());
    let id = start(&mut reactor, &mut talks);
    let pid = reactor.pid(id).expect("it runs");
    let mut heard = Vec::new();
    while !heard.contains(&Told::FirstOutput(id, Stream::Stderr)) {
        reactor.turn(None).expect("turn");
        heard.extend(told(&receiver));
    }
    reactor
        .stdin(id)
        .expect("a pipe")
        .write_all(b"go\n")
        .expect("it reads");
    let mut text = [0; 6];
    let mut stdout = reactor.stdout(id).expect("a pipe");
    stdout.read_exact(&mut text).expect("read");
    assert_eq!(&text, b"three\n");
    reactor.stdin(id).expect("a pipe").close();
    let _ = wait(&mut reactor, id);
    heard.extend(told(&receiver));
    let expected = [
        Told::Queued(id),
        Told::Started(id, pid),
        Told::FirstOutput(id, Stream::Stderr),
        Told::FirstOutput(id, Stream::Stdout),
        Told::Exited(id),
        Told::Finished(id, false),
    ];
    assert_eq!(heard, expected);
    let id = start(&mut reactor, &mut Command::new("/no/such/program"));
    assert!(!wait(&mut reactor, id).success());
    let heard = told(&receiver);
    assert_eq!(heard.first(), Some(&Told::Queued(id)));
    assert_eq!(heard.last(), Some(&Told::Finished(id, false)));
    let is_false = |told: &Told| matches!(told, Told::FirstOutput(..) | Told::Exited(_));
    assert!(!heard.iter().any(is_false), "{heard:?}");
}

struct Rude(Sender<()>);

impl Observer for Rude {
    fn started(&mut self, _: CommandId, _: u32, _: Instant) {
        self.0.send(()).expect("heard");
        panic!("rude");
    }
}

#[test]
fn an_observer_that_panics_is_told_no_more_and_harms_nobody() {
    let mut reactor = reactor();
    let (sender, receiver) = channel();
    reactor.observe(Rude(sender));
    for _ in 0..3 {
        let id = start(&mut reactor, &mut shell("exit 0"));
        assert!(wait(&mut reactor, id).success());
    }
    assert_eq!(receiver.iter().count(), 1, "it is dropped");
}

#[test]
fn a_reactor_counts_what_it_has_done() {
    let mut reactor = reactor();
    assert_eq!((reactor.stats().started, reactor.stats().turns), (0, 0));
    let mut cat = Command::new("cat");
    cat.stdin(Input::bytes(vec![b'x'; 200_000]))
        .stdout(Output::lines(|_| pass_ms(20)))
        .stderr(Output::capture());
    start(&mut reactor, &mut cat);
    start(&mut reactor, &mut Command::new("/no/such/program"));
    let queued = start(&mut reactor, &mut shell("exit 0"));
    while reactor.wait_any().expect("poll").is_some() {}
    assert!(!reactor.kill(queued));
    let stats = reactor.stats();
    assert_eq!((stats.finished, stats.bytes_read), (3, 200_000));
    assert_eq!((stats.bytes_written, stats.starts_refused), (200_000, 1));
    assert!(stats.started >= 2 && stats.turns > 0, "{stats:?}");
    let callback = Duration::from_millis(20);
    assert!(
        stats.callback_max >= callback && stats.turn_max >= callback,
        "{stats:?}"
    );
}

#[test]
fn too_much_output_ends_a_command_and_one_that_had_exited_is_no_success() {
    let mut reactor = reactor();
    let mut yes = Command::new("yes");
    let yes = start(
        &mut reactor,
        yes.stdout(Output::capture_ends(10)).output_limit(100_000),
    );
    let mut short = shell("echo 12345; echo 6789 >&2");
    short.stdout(Output::capture()).stderr(Output::capture());
    let over = start(&mut reactor, short.output_limit(10));
    let exact = start(&mut reactor, short.output_limit(11));
    assert_eq!(
        word(&wait(&mut reactor, yes)),
        "signal: SIGKILL (too much output)"
    );
    let error = wait(&mut reactor, over).outcome.expect_err("it wrote 11");
    assert_eq!(error.cause(), Some(Cause::OutputLimit), "{error}");
    assert!(wait(&mut reactor, exact).success());
    // What the caller reads himself counts as well.
    let mut yes = Command::new("yes");
    let yes = start(
        &mut reactor,
        yes.stdout(Output::pipe()).output_limit(50_000),
    );
    let mut stdout = reactor.stdout(yes).expect("a pipe");
    io::copy(&mut stdout, &mut io::sink()).expect("to its end");
    let error = wait(&mut reactor, yes).outcome.expect_err("killed");
    assert_eq!(error.cause(), Some(Cause::OutputLimit), "{error}");
}

#[test]
fn nothing_is_told_after_the_end_also_where_the_caller_reads_on() {
    let mut reactor = reactor();
    let (sender, receiver) = channel();
    reactor.observe(Recorder(sender));
    let mut talks = shell("echo one");
    talks.stdout(Output::pipe());
    let id = start(&mut reactor, &mut talks);
    let mut heard = Vec::new();
    while !heard.contains(&Told::Finished(id, true)) {
        reactor.turn(None).expect("turn");
        heard.extend(told(&receiver));
    }
    let mut text = String::new();
    let mut stdout = reactor.stdout(id).expect("a pipe");
    stdout.read_to_string(&mut text).expect("read");
    assert_eq!(text, "one\n");
    assert!(wait(&mut reactor, id).success());
    assert_eq!(told(&receiver), []);
}
