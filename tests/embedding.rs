//! The reactor in somebody else's loop: its one descriptor is readable whenever there is something to do inside, and
//! quiet when there is not. Each wait below is without a timeout: a missing wake-up would hang.

#[path = "common"]
mod common {
    pub mod helper;
    pub mod helper_path;
    pub mod now;
    pub mod reaped;
    pub mod scratch;
    pub mod shared;
    pub mod shell;
    pub mod stay;
    mod unseen;
    pub mod wait;
    mod watchdog;
    pub mod word;
}

#[allow(unsafe_code, reason = "std has no poll(2)")]
mod outer {
    use std::ops::{Deref, DerefMut};
    use std::os::fd::{AsFd, AsRawFd, RawFd};

    use execloop::{Reactor, ReactorBuilder};

    /// A reactor whose descriptor was asked for once, as an outer loop does.
    pub(super) struct Embedded {
        reactor: Reactor,
        pub(super) fd: RawFd,
    }

    impl Embedded {
        #[track_caller]
        pub(super) fn new(builder: ReactorBuilder) -> Embedded {
            let reactor = builder.build().expect("a reactor");
            let fd = reactor.as_fd().as_raw_fd();
            let embedded = Embedded { reactor, fd };
            assert!(!embedded.is_readable(), "there is nothing to do yet");
            embedded
        }

        /// One of which nobody has asked for the descriptor yet.
        pub(super) fn unasked(reactor: Reactor) -> Embedded {
            Embedded { reactor, fd: -1 }
        }

        pub(super) fn ask(&mut self) {
            self.fd = self.reactor.as_fd().as_raw_fd();
        }

        fn poll(&self, milliseconds: libc::c_int) -> bool {
            let mut polled = libc::pollfd {
                fd: self.fd,
                events: libc::POLLIN,
                revents: 0,
            };
            loop {
                // SAFETY: one structure is given, and its count says so.
                let ready = unsafe { libc::poll(&raw mut polled, 1, milliseconds) };
                if ready >= 0 {
                    return ready == 1 && polled.revents & libc::POLLIN != 0;
                }
            }
        }

        /// Sleeps until there is something to do.
        #[track_caller]
        pub(super) fn sleep(&self) {
            assert!(self.poll(-1));
        }

        /// Whether there is something to do.
        pub(super) fn is_readable(&self) -> bool {
            self.poll(0)
        }
    }

    impl Deref for Embedded {
        type Target = Reactor;

        fn deref(&self) -> &Reactor {
            &self.reactor
        }
    }

    impl DerefMut for Embedded {
        fn deref_mut(&mut self) -> &mut Reactor {
            &mut self.reactor
        }
    }
}

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::Duration;

use execloop::{
    Cancel, Command, CommandId, Context, Finished, Input, Output, Reactor, Signal, TerminalSize,
};
use mio::unix::SourceFd;

use common::shared::Shared;
use common::shell::shell;
use common::stay::Stay;
use common::wait::wait;
use common::word::word;
use outer::Embedded;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn reactor() -> Embedded {
    Embedded::new(Reactor::builder())
}

#[track_caller]
fn start(reactor: &mut Reactor, command: &mut Command) -> CommandId {
    reactor.start(command).expect("start")
}

/// What an outer loop does: sleeps on the descriptor, turns once, takes what is finished.
fn run_outer_loop(reactor: &mut Embedded) -> Finished {
    loop {
        reactor.sleep();
        reactor.turn(NOW).expect("turn");
        if let Some(done) = reactor.try_wait_any() {
            return done;
        }
    }
}

/// Turns until the descriptor is quiet, which it must become while nothing happens.
#[track_caller]
fn settle(reactor: &mut Embedded) {
    for _ in 0..100 {
        if !reactor.is_readable() {
            return;
        }
        reactor.turn(NOW).expect("turn");
    }
    panic!("readable for ever, with nothing to do");
}

#[test]
fn exit_and_output_make_it_readable_and_a_quiet_child_does_not() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["say=USR1"]);
    let out = Shared::default();
    stay.command.stdout(Output::writer(out.clone()));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    settle(&mut reactor);
    reactor.signal(id, Signal::USR1).expect("it runs");
    while out.text() != "USR1\n" {
        reactor.sleep();
        reactor.turn(NOW).expect("turn");
    }
    settle(&mut reactor);
    stay.exit_unseen();
    assert_eq!(word(&run_outer_loop(&mut reactor)), "ok");
    settle(&mut reactor);
}

#[test]
fn finished_command_that_was_not_taken_keeps_it_readable() {
    let mut reactor = reactor();
    let ids = [1, 2].map(|number| start(&mut reactor, &mut shell(&format!("exit {number}"))));
    while reactor.running() > 0 {
        reactor.sleep();
        reactor.turn(NOW).expect("turn");
    }
    for left in [2, 1] {
        for _ in 0..5 {
            assert!(reactor.is_readable(), "{left} are left");
            reactor.turn(NOW).expect("turn");
        }
        assert!(reactor.try_wait_any().is_some());
    }
    settle(&mut reactor);
    assert!(reactor.wait(ids[0]).expect("poll").is_none());
}

#[test]
fn leftover_of_a_budget_keeps_it_readable_without_a_new_event() {
    let mut reactor = reactor();
    // Exactly what a turn reads at most: whether there is more is not known before the next turn.
    let text = format!("out={}", "x".repeat(64 * 1024));
    let mut stay = Stay::new(&[&text]);
    let out = Shared::default();
    stay.command.stdout(Output::writer(out.clone()));
    start(&mut reactor, &mut stay.command);
    stay.pid();
    reactor.sleep();
    reactor.turn(NOW).expect("turn");
    assert_eq!(out.text().len(), 64 * 1024);
    assert!(reactor.is_readable(), "the stream has to be visited again");
    settle(&mut reactor);
}

#[test]
fn endless_writer_keeps_it_readable_after_every_turn() {
    let mut reactor = reactor();
    let id = start(
        &mut reactor,
        Command::new("cat")
            .arg("/dev/zero")
            .stdout(Output::capture_ends(1)),
    );
    for _ in 0..200 {
        reactor.sleep();
        reactor.turn(NOW).expect("turn");
        assert_eq!(reactor.running(), 1);
    }
    assert!(reactor.kill(id));
    assert_eq!(
        word(&run_outer_loop(&mut reactor)),
        "signal: SIGKILL (cancelled)"
    );
}

type Change = fn(&mut Command);

#[test]
fn deadlines_of_a_command_make_it_readable_without_a_turn_before() {
    const SOON: Duration = Duration::from_millis(10);
    let deadlines: [(Change, &str); 2] = [
        (|command| _ = command.timeout(SOON), "timed out"),
        (
            |command| _ = command.stdout(Output::capture()).idle_timeout(SOON),
            "timed out without output",
        ),
    ];
    for (deadline, cause) in deadlines {
        let mut reactor = reactor();
        let mut stay = Stay::new(&[]);
        deadline(&mut stay.command);
        start(&mut reactor, &mut stay.command);
        assert_eq!(
            word(&run_outer_loop(&mut reactor)),
            format!("signal: SIGKILL ({cause})")
        );
        settle(&mut reactor);
    }
}

#[test]
fn deadline_of_a_context_makes_it_readable_without_a_turn_before() {
    let mut soon = Duration::from_millis(10);
    loop {
        let mut reactor = reactor();
        let mut stay = Stay::new(&[]);
        stay.command.context(&Context::new().with_timeout(soon));
        // On a machine so slow that it passes before the start, the next one is later.
        if reactor.start(&mut stay.command).is_ok() {
            let done = run_outer_loop(&mut reactor);
            assert_eq!(word(&done), "signal: SIGKILL (deadline exceeded)");
            return settle(&mut reactor);
        }
        soon *= 2;
    }
}

#[test]
fn wait_delay_and_ladder_that_begin_between_turns_make_it_readable() {
    const SOON: Duration = Duration::from_millis(10);
    let asks: [Change; 2] = [
        |command| _ = command.interrupt(Signal::INT).wait_delay(SOON),
        |command| _ = command.on_cancel(Cancel::signal(Signal::INT).then(SOON, Signal::KILL)),
    ];
    for ask in asks {
        let mut reactor = reactor();
        let mut stay = Stay::new(&["ignore=INT"]);
        ask(&mut stay.command);
        let id = start(&mut reactor, &mut stay.command);
        stay.pid();
        settle(&mut reactor);
        // Asked outside of any turn.
        assert!(reactor.cancel(id));
        assert_eq!(
            word(&run_outer_loop(&mut reactor)),
            "signal: SIGKILL (cancelled)"
        );
    }
}

#[test]
fn earlier_deadline_than_the_one_that_was_set_counts() {
    let mut reactor = reactor();
    let (mut late, mut soon) = (Stay::new(&[]), Stay::new(&[]));
    start(&mut reactor, late.command.timeout(Duration::from_secs(600)));
    late.pid();
    settle(&mut reactor);
    let id = start(
        &mut reactor,
        soon.command.timeout(Duration::from_millis(10)),
    );
    assert_eq!(run_outer_loop(&mut reactor).id, id);
}

#[test]
fn busy_program_is_tried_again() {
    let scratch = common::scratch::Scratch::new();
    let path = scratch.join("program");
    std::fs::copy("/bin/sh", &path).expect("copy");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open");
    let mut reactor = reactor();
    start(&mut reactor, Command::new(&path).args(["-c", "exit 5"]));
    drop(file);
    assert_eq!(word(&run_outer_loop(&mut reactor)), "exit status 5");
}

#[test]
fn context_and_handle_of_another_thread_make_it_readable() {
    let mut reactor = reactor();
    let context = Context::new();
    let mut stays = [Stay::new(&[]), Stay::new(&[])];
    let cancelled = start(&mut reactor, stays[0].command.context(&context));
    let killed = start(&mut reactor, &mut stays[1].command);
    stays.iter_mut().for_each(|stay| _ = stay.pid());
    settle(&mut reactor);
    let handle = reactor.handle();
    std::thread::scope(|scope| {
        scope.spawn(|| context.cancel());
        let done = run_outer_loop(&mut reactor);
        assert_eq!(
            (done.id, word(&done)),
            (cancelled, "signal: SIGKILL (cancelled)".to_owned())
        );

        scope.spawn(|| handle.kill(killed));
        let done = run_outer_loop(&mut reactor);
        assert_eq!(
            (done.id, word(&done)),
            (killed, "signal: SIGKILL (cancelled)".to_owned())
        );

        let started = scope.spawn(|| handle.start(shell("exit 4")));
        let done = run_outer_loop(&mut reactor);
        assert_eq!(word(&done), "exit status 4");
        assert_eq!(started.join().expect("no panic"), Some(done.id));

        scope.spawn(|| handle.wake());
        reactor.sleep();
        settle(&mut reactor);
    });
}

#[test]
fn work_done_outside_of_turns_makes_it_readable() {
    let mut reactor = Embedded::new(Reactor::builder().max_running(1));
    let mut stay = Stay::new(&["orphan"]);
    stay.command.stdout(Output::capture());
    let first = start(&mut reactor, &mut stay.command);
    let queued = start(&mut reactor, &mut shell("exit 2"));
    let next = start(&mut reactor, &mut shell("exit 3"));
    stay.exit_unseen();
    common::reaped::turn_until_reaped(&mut reactor, first);
    settle(&mut reactor);
    // A queued command that is cancelled is finished, without any event.
    assert!(reactor.cancel(queued));
    assert!(reactor.is_readable());
    assert_eq!(reactor.try_wait_any().map(|done| done.id), Some(queued));
    settle(&mut reactor);
    // So is one that only drains, and its place is free for the next.
    assert!(reactor.cancel(first));
    let done = run_outer_loop(&mut reactor);
    assert_eq!(
        (done.id, word(&done)),
        (first, "stopped: cancelled".to_owned())
    );
    let done = run_outer_loop(&mut reactor);
    assert_eq!((done.id, word(&done)), (next, "exit status 3".to_owned()));
}

#[test]
fn detaching_lets_the_next_one_start() {
    let mut reactor = Embedded::new(Reactor::builder().max_running(1));
    let mut stay = Stay::new(&[]);
    let first = start(&mut reactor, &mut stay.command);
    stay.pid();
    start(&mut reactor, &mut shell("exit 3"));
    settle(&mut reactor);
    assert!(reactor.detach(first).is_some());
    assert_eq!(word(&run_outer_loop(&mut reactor)), "exit status 3");
}

#[test]
fn pipe_of_the_caller_that_turned_the_loop_leaves_it_readable() {
    let mut reactor = reactor();
    let mut echo = Command::new("cat");
    let echo = start(
        &mut reactor,
        echo.stdin(Input::pipe()).stdout(Output::pipe()),
    );
    let other = start(&mut reactor, &mut shell("exit 7"));
    // Reads what it has written, which turns the loop, in which the other one finishes sooner or later.
    while reactor.running() > 1 {
        reactor
            .stdin(echo)
            .expect("a pipe")
            .write_all(b"x")
            .expect("write");
        reactor
            .stdout(echo)
            .expect("a pipe")
            .read_exact(&mut [0])
            .expect("read");
    }
    assert!(reactor.is_readable(), "a command is finished");
    assert_eq!(reactor.try_wait_any().map(|done| done.id), Some(other));
    settle(&mut reactor);
    reactor.stdin(echo).expect("a pipe").close();
    assert_eq!(run_outer_loop(&mut reactor).id, echo);
}

/// Has nothing to type yet.
struct Speechless;

impl Read for Speechless {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::WouldBlock.into())
    }
}

#[test]
fn closing_the_callers_terminal_that_finishes_a_command_makes_it_readable() {
    let mut reactor = reactor();
    // The descendant holds the terminal until it can write there no more.
    let (mut begun, says) = std::io::pipe().expect("a pipe");
    let mut leaves = shell("(trap '' HUP; echo >&3; while echo; do sleep 0.01; done) & exit 0");
    leaves
        .stdin(Input::reader(Speechless).terminal())
        .stdout(Output::pipe().terminal(TerminalSize::default()))
        .extra_fd(3, says);
    let id = start(&mut reactor, &mut leaves);
    begun.read_exact(&mut [0]).expect("it begins");
    common::reaped::turn_until_reaped(&mut reactor, id);
    settle(&mut reactor);
    assert_eq!(reactor.running(), 1, "its stdin is typed");
    reactor.stdout(id).expect("a terminal").close();
    assert_eq!(reactor.running(), 0, "its terminal has hung up");
    assert!(reactor.is_readable(), "and it is finished");
    assert_eq!(reactor.try_wait_any().map(|done| done.id), Some(id));
}

#[test]
fn many_commands_finish_in_an_outer_loop() {
    let mut reactor = Embedded::new(Reactor::builder().max_running(8));
    let mut ids = BTreeSet::new();
    for number in 0..100_u8 {
        let mut command = shell("cat; exit $0");
        command
            .arg((number % 3).to_string())
            .stdin(Input::bytes(vec![number; 100_000]))
            .stdout(Output::capture())
            .timeout(Duration::from_secs(600));
        ids.insert(start(&mut reactor, &mut command));
    }
    while !ids.is_empty() {
        let done = run_outer_loop(&mut reactor);
        assert!(ids.remove(&done.id) && done.stdout.len() == 100_000);
    }
    settle(&mut reactor);
}

#[test]
fn outer_loop_that_is_told_of_changes_alone_is_told_of_each() {
    // mio asks epoll for edges: it says only once that there is something to do.
    let mut reactor = reactor();
    let mut poll = mio::Poll::new().expect("poll");
    poll.registry()
        .register(
            &mut SourceFd(&reactor.fd),
            mio::Token(0),
            mio::Interest::READABLE,
        )
        .expect("register");
    let mut events = mio::Events::with_capacity(1);
    start(
        &mut reactor,
        Command::new("head")
            .args(["-c", "3000000", "/dev/zero"])
            .stdout(Output::capture()),
    );
    let mut late = Stay::new(&[]);
    start(
        &mut reactor,
        late.command.timeout(Duration::from_millis(10)),
    );
    let mut words = BTreeSet::new();
    while words.len() < 2 {
        poll.poll(&mut events, None).expect("poll");
        // One turn, and one command taken, for each edge.
        reactor.turn(NOW).expect("turn");
        if let Some(done) = reactor.try_wait_any() {
            words.insert(format!("{} {}", word(&done), done.stdout.len()));
        }
    }
    let expected = ["ok 3000000", "signal: SIGKILL (timed out) 0"].map(str::to_owned);
    assert_eq!(words, BTreeSet::from(expected));
}

#[test]
fn reactor_that_nobody_embeds_works_as_well_after_it_was_embedded() {
    let mut reactor = reactor();
    let id = start(&mut reactor, &mut shell("exit 1"));
    assert_eq!(word(&wait(&mut reactor, id)), "exit status 1");
    settle(&mut reactor);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn deadline_fires_by_the_timer_and_not_by_polling() {
    count_polls("one_deadline_of_a_context", 300);
}

#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn waiting_for_one_command_sleeps_though_another_is_finished() {
    count_polls("wait_beside_a_finished_command", 300);
}

#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
/// Runs a scenario that takes at least so long under strace(1), and counts how often it asks the kernel.
fn count_polls(scenario: &str, milliseconds: u32) {
    let scratch = common::scratch::Scratch::new();
    let trace = scratch.join("trace");
    let traced = std::process::Command::new("strace")
        .args([
            "-e",
            "trace=poll,ppoll,epoll_wait,epoll_pwait,epoll_pwait2",
            "-o",
        ])
        .arg(&trace)
        .arg(common::helper_path::helper_path())
        .args(["embed", scenario])
        .output();
    let output = match traced {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: strace: {error}");
            return;
        }
    };
    let text = std::fs::read_to_string(&trace).unwrap_or_default();
    if text.is_empty() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let polls = text
        .lines()
        .filter(|line| {
            ["epoll_", "poll(", "ppoll("]
                .iter()
                .any(|call| line.starts_with(call))
        })
        .count();
    // A handful of events; a loop that looked every 10 ms would ask 30 times.
    assert!(
        polls > 0 && polls <= milliseconds as usize / 20,
        "{polls} polls:\n{text}"
    );
}

#[test]
fn the_last_handle_that_goes_makes_it_readable() {
    let mut reactor = reactor();
    let handles = [reactor.handle(), reactor.handle()];
    settle(&mut reactor);
    let [first, last] = handles;
    drop(first);
    assert!(!reactor.is_readable() && !reactor.is_served());
    drop(last);
    assert!(reactor.is_readable() && reactor.is_served());
}

#[test]
fn the_callers_time_makes_it_readable() {
    let mut reactor = reactor();
    reactor.wake_at(common::now::now() + Duration::from_millis(20));
    reactor.sleep();
    settle(&mut reactor);
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_descriptor_that_is_asked_for_after_a_turn_hears_of_an_exec_before_it() {
    let reactor = Reactor::new().expect("a reactor");
    let mut reactor = Embedded::unasked(reactor);
    let mut cat = Command::new("cat");
    let cat = cat.stdin(Input::bytes(*b"word")).stdout(Output::capture());
    start(&mut reactor, cat);
    // Takes the pipes' first events, of a program that is hardly executed yet.
    reactor.turn(NOW).expect("turn");
    reactor.ask();
    loop {
        reactor.sleep();
        reactor.turn(NOW).expect("turn");
        if let Some(done) = reactor.try_wait_any() {
            return assert_eq!(done.stdout, b"word");
        }
    }
}
