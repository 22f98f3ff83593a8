//! The reactor's calls, one by one: who is started, told, asked, killed, let go, and handed out.
//! Unaware of outcomes' fine print, which `matrix.rs` holds.

mod common;
#[path = "common/life.rs"]
mod life;

use std::collections::BTreeSet;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::time::Duration;

use execloop::{
    Cancel, Cause, Command, Context, Error, Finished, Id, Input, NotRunning, Output, Reactor,
    Signal, StartError,
};

use common::{Scratch, shell};
use life::{Shared, Stay, embed, pass_ms, signals_orphaned_groups, turn_until_reaped, wait, word};

fn reactor() -> Reactor {
    Reactor::new().expect("a reactor")
}

#[track_caller]
fn start(reactor: &mut Reactor, command: &mut Command) -> Id {
    reactor.start(command).expect("start")
}

#[track_caller]
fn wait_any(reactor: &mut Reactor) -> Finished {
    reactor.wait_any().expect("poll").expect("one is left")
}

fn is_gone(result: io::Result<()>) -> bool {
    result.is_err_and(|error| {
        error
            .get_ref()
            .is_some_and(|inner| inner.is::<NotRunning>())
    })
}

const NOW: Option<Duration> = Some(Duration::ZERO);

#[test]
fn every_command_is_handed_out_once_and_then_there_are_none() {
    let mut reactor = reactor();
    let mut ids: BTreeSet<Id> = (0..20)
        .map(|number| start(&mut reactor, &mut shell(&format!("exit {number}"))))
        .collect();
    assert_eq!((reactor.len(), ids.len()), (20, 20));
    while let Some(done) = reactor.wait_any().expect("poll") {
        assert!(ids.remove(&done.id), "{} was handed out twice", done.id);
        assert_eq!(reactor.len(), ids.len());
    }
    assert!(ids.is_empty() && reactor.is_empty());
    assert!(reactor.wait_any().expect("poll").is_none());
}

#[test]
fn wait_for_one_leaves_the_others_for_later_and_gives_it_once() {
    let mut reactor = reactor();
    let first = start(&mut reactor, &mut shell("exit 1"));
    let mut last = Stay::new(&["end=2"]);
    let last_id = start(&mut reactor, &mut last.command);
    turn_until_reaped(&mut reactor, first);
    last.release();
    assert_eq!(word(&wait(&mut reactor, last_id)), "exit status 2");
    assert!(reactor.wait(last_id).expect("poll").is_none(), "handed out");
    assert_eq!(word(&wait_any(&mut reactor)), "exit status 1");
}

#[test]
fn turn_and_finished_do_not_wait_for_a_running_command() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    reactor.turn(NOW).expect("turn");
    assert!(reactor.finished().is_none());
    assert_eq!(
        (reactor.len(), reactor.running(), reactor.queued()),
        (1, 1, 0)
    );
    stay.exit_unseen();
    assert!(reactor.finished().is_none(), "it does not turn");
    reactor.turn(NOW).expect("turn");
    assert_eq!((reactor.len(), reactor.running()), (1, 0));
    assert_eq!(reactor.finished().map(|done| done.id), Some(id));
    assert!(reactor.is_empty());
}

#[test]
fn turn_returns_when_its_timeout_is_over() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let id = start(&mut reactor, &mut stay.command);
    // A poll may end early, but not all of these before 20 ms in sum, and each must end.
    let mut clock = start_clock();
    while !clock.is_over() {
        reactor.turn(Some(Duration::from_millis(1))).expect("turn");
    }
    stay.release();
    assert!(wait(&mut reactor, id).success());
}

/// A child of the system that measures 20 ms.
struct Clock(std::process::Child);

fn start_clock() -> Clock {
    let mut sleep = std::process::Command::new("/bin/sleep");
    Clock(sleep.arg("0.02").spawn().expect("sleep"))
}

impl Clock {
    fn is_over(&mut self) -> bool {
        self.0.try_wait().expect("wait").is_some()
    }
}

#[test]
fn ids_count_up_and_are_never_used_again() {
    let mut reactor = reactor();
    let mut previous = None;
    for round in 0..50 {
        let id = match round % 3 {
            0 => start(&mut reactor, &mut shell("exit 0")),
            1 => reactor
                .handle()
                .start(shell("exit 0"))
                .expect("it is there"),
            // A refused start may use up a number, but gives none back.
            _ => {
                assert!(reactor.start(&mut Command::new("/nonexistent")).is_err());
                start(&mut reactor, &mut shell("exit 0"))
            }
        };
        assert!(previous < Some(id), "{previous:?} then {id:?}");
        previous = Some(id);
        assert_eq!(wait_any(&mut reactor).id, id);
    }
}

#[test]
fn another_reactors_id_is_refused_everywhere() {
    let (mut own, mut other) = (reactor(), reactor());
    let mut stay = Stay::new(&["out=x"]);
    stay.command.stdout(Output::pipe()).process_group(0);
    let id = start(&mut own, &mut stay.command);
    // The other has a command of the same number.
    let mut twin = Stay::new(&[]);
    let twin_id = start(&mut other, &mut twin.command);
    assert_eq!(id.to_string(), twin_id.to_string());
    assert_ne!(id, twin_id);

    assert!(!other.cancel(id) && !other.kill(id));
    assert!(is_gone(other.signal(id, Signal::KILL)));
    assert!(is_gone(other.signal_group(id, Signal::KILL)));
    assert!(other.detach(id).is_none() && other.stdout(id).is_none());
    assert!(other.wait(id).expect("poll").is_none());
    let handle = other.handle();
    handle.cancel(id);
    handle.kill(id);
    handle.signal(id, Signal::KILL);
    other.turn(NOW).expect("turn");
    assert!(stay.is_alive() && twin.is_alive());
    stay.release();
    twin.release();
    assert!(wait(&mut own, id).success() && wait(&mut other, twin_id).success());
}

#[test]
fn max_running_is_never_exceeded_and_the_queue_is_first_in_first_out() {
    for limit in [1, 3] {
        let scratch = Scratch::new();
        let log = scratch.join("log");
        let mut reactor = Reactor::builder()
            .max_running(limit)
            .build()
            .expect("a reactor");
        // Each says itself when it comes and when it goes. Appended lines do not mix.
        let ids: Vec<Id> = (0..24)
            .map(|number| {
                let mut command = shell("echo + $1 >> $0; echo - $1 >> $0");
                command.arg(&log).arg(number.to_string());
                start(&mut reactor, &mut command)
            })
            .collect();
        assert_eq!((reactor.running(), reactor.queued()), (limit, 24 - limit));
        let mut started = Vec::new();
        while let Some(done) = reactor.wait_any().expect("poll") {
            assert!(reactor.running() <= limit);
            assert!(done.success(), "{:?}", done.outcome);
            started.push((done.started.expect("it was started"), done.id));
        }
        started.sort();
        assert_eq!(started.iter().map(|(_, id)| *id).collect::<Vec<_>>(), ids);

        let text = std::fs::read_to_string(&log).expect("the log");
        let (mut alive, mut most) = (0, 0);
        for line in text.lines() {
            alive += if line.starts_with('+') { 1 } else { -1 };
            most = most.max(alive);
        }
        assert_eq!((text.lines().count(), alive), (48, 0));
        assert!(most <= limit as i32, "{most} were alive at once");
        if limit == 1 {
            let expected: String = (0..24)
                .map(|number| format!("+ {number}\n- {number}\n"))
                .collect();
            assert_eq!(text, expected);
        }
    }
}

#[test]
fn a_limit_of_0_is_a_limit_of_1() {
    let mut reactor = Reactor::builder()
        .max_running(0)
        .build()
        .expect("a reactor");
    start(&mut reactor, &mut shell("exit 0"));
    start(&mut reactor, &mut shell("exit 0"));
    assert_eq!((reactor.running(), reactor.queued()), (1, 1));
    assert!(wait_any(&mut reactor).success() && wait_any(&mut reactor).success());
}

/// A reactor whose only place is taken.
fn full() -> (Reactor, Stay, Id) {
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    let mut stay = Stay::new(&[]);
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    (reactor, stay, id)
}

#[track_caller]
fn assert_unstarted(done: &Finished, cause: Cause) {
    assert!(
        matches!(done.outcome, Err(Error::Start(StartError::ContextDone(told))) if told == cause),
        "{:?}",
        done.outcome
    );
    assert_eq!(
        done.outcome.as_ref().err().and_then(Error::cause),
        Some(cause)
    );
    assert_eq!((done.pid, done.status, done.started), (None, None, None));
}

#[test]
fn cancel_or_kill_of_a_queued_command_ends_it_unstarted_and_lets_the_next_pass() {
    let (mut reactor, mut stay, first) = full();
    let ids: Vec<Id> = (0..4)
        .map(|number| start(&mut reactor, &mut shell(&format!("exit {number}"))))
        .collect();
    assert!(reactor.cancel(ids[0]) && reactor.kill(ids[2]));
    assert!(!reactor.cancel(ids[0]), "it has finished");
    assert_eq!(
        (reactor.running(), reactor.queued(), reactor.len()),
        (1, 2, 5)
    );
    for id in [ids[0], ids[2]] {
        let done = wait_any(&mut reactor);
        assert_eq!(done.id, id);
        assert_unstarted(&done, Cause::Cancelled);
    }
    assert!(stay.is_alive());
    stay.release();
    assert!(wait(&mut reactor, first).success());
    assert_eq!(word(&wait(&mut reactor, ids[1])), "exit status 1");
    assert_eq!(word(&wait(&mut reactor, ids[3])), "exit status 3");
}

#[test]
fn context_that_ends_takes_its_commands_out_of_the_queue() {
    let (mut reactor, mut stay, first) = full();
    let cancelled = Context::new();
    let a = start(&mut reactor, shell("exit 0").context(&cancelled));
    let b = start(&mut reactor, &mut shell("exit 0"));
    cancelled.cancel();
    assert_unstarted(&wait(&mut reactor, a), Cause::Cancelled);
    // A sent command is queued or refused, if its deadline has passed already: the same is told.
    let mut late = shell("exit 0");
    late.context(&Context::new().with_timeout(Duration::from_millis(20)));
    let late = reactor.handle().start(late).expect("it is there");
    assert_unstarted(&wait(&mut reactor, late), Cause::DeadlineExceeded);
    assert_eq!((reactor.running(), reactor.queued()), (1, 1));
    stay.release();
    assert!(wait(&mut reactor, first).success() && wait(&mut reactor, b).success());
}

#[test]
fn timeouts_do_not_run_in_the_queue() {
    let (mut reactor, mut stay, first) = full();
    let mut queued = Stay::new(&[]);
    queued.command.timeout(Duration::from_millis(10));
    let id = start(&mut reactor, &mut queued.command);
    pass_ms(30);
    reactor.turn(NOW).expect("turn");
    assert_eq!((reactor.running(), reactor.queued()), (1, 1));
    stay.release();
    assert!(wait(&mut reactor, first).success());
    let done = wait(&mut reactor, id);
    assert_eq!(word(&done), "signal: SIGKILL (timed out)");
    assert!(done.elapsed() >= Duration::from_millis(10));
}

#[test]
fn signal_to_a_queued_command_finds_no_process() {
    let (mut reactor, _stay, _) = full();
    let id = start(&mut reactor, &mut shell("exit 0"));
    assert!(is_gone(reactor.signal(id, Signal::KILL)));
    assert!(is_gone(reactor.signal_group(id, Signal::KILL)));
    assert!(
        reactor.detach(id).is_none(),
        "there is no process to let go"
    );
    assert_eq!(reactor.queued(), 1);
}

#[test]
fn queued_command_that_cannot_be_started_is_told_as_such() {
    let (mut reactor, mut stay, first) = full();
    let id = start(&mut reactor, &mut Command::new("/nonexistent/program"));
    stay.release();
    assert!(wait(&mut reactor, first).success());
    let done = wait(&mut reactor, id);
    assert!(
        matches!(done.outcome, Err(Error::Start(StartError::Step { .. }))),
        "{:?}",
        done.outcome
    );
}

#[test]
fn two_hundred_commands_finish_beside_one_that_writes_for_ever() {
    let mut reactor = reactor();
    let endless = start(
        &mut reactor,
        Command::new("cat")
            .arg("/dev/zero")
            .stdout(Output::capture_ends(1)),
    );
    let mut short: BTreeSet<Id> = (0..200)
        .map(|number| {
            let mut command = shell(&format!("echo {number}"));
            start(&mut reactor, command.stdout(Output::capture()))
        })
        .collect();
    while !short.is_empty() {
        let done = wait_any(&mut reactor);
        assert!(short.remove(&done.id), "the endless one has ended");
        assert!(done.success() && done.stdout.ends_with(b"\n"));
    }
    assert!(reactor.kill(endless));
    assert_eq!(
        word(&wait(&mut reactor, endless)),
        "signal: SIGKILL (cancelled)"
    );
}

#[test]
fn signal_reaches_the_process_while_it_runs_and_nobody_afterwards() {
    let mut reactor = reactor();
    let out = Shared::default();
    let mut stay = Stay::new(&["say=USR1"]);
    stay.command.stdout(Output::writer(out.clone()));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    reactor.signal(id, Signal::USR1).expect("it runs");
    out.turn_until(&mut reactor, "USR1\n");
    reactor
        .signal(id, Signal::new(0).expect("a probe"))
        .expect("it runs");
    stay.exit_unseen();
    // Not reaped yet: the pid is still its own, and a zombie takes any signal.
    reactor.signal(id, Signal::KILL).expect("a zombie");
    turn_until_reaped(&mut reactor, id);
    assert!(
        is_gone(reactor.signal(id, Signal::KILL)),
        "reaped, not handed out"
    );
    assert!(!reactor.kill(id) && !reactor.cancel(id));
    assert!(wait(&mut reactor, id).success());
    assert!(is_gone(reactor.signal(id, Signal::KILL)), "handed out");
}

#[test]
fn nobody_signals_a_command_that_is_reaped_and_drains() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["orphan"]);
    stay.command.process_group(0).stdout(Output::capture());
    let id = start(&mut reactor, &mut stay.command);
    let pid = stay.pid();
    stay.exit_unseen();
    // By the kernel's word, as the reactor's is what is asked here.
    while std::fs::exists(format!("/proc/{pid}")).expect("/proc") {
        reactor.turn(None).expect("turned");
    }
    assert_eq!(reactor.running(), 1, "the orphan holds its stdout");
    let probe = Signal::new(0).expect("a probe");
    for signal in [probe, Signal::TERM, Signal::KILL] {
        assert!(is_gone(reactor.signal(id, signal)), "{signal}");
    }
    assert!(stay.is_alive(), "nor is its descendant signalled");
    stay.release_orphan();
    assert!(wait(&mut reactor, id).success());
}

#[test]
fn kill_hits_the_process_alone() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["orphan"]);
    stay.command.process_group(0);
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    assert!(reactor.kill(id));
    assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL (cancelled)");
    assert!(stay.is_alive(), "its descendant is not its concern");
}

#[test]
fn signal_group_reaches_descendants_while_the_leader_lives_and_after() {
    for leader_lives in [true, false] {
        let mut reactor = reactor();
        let mut stay = Stay::new(&["orphan"]);
        stay.command.process_group(0).stdout(Output::capture());
        let id = start(&mut reactor, &mut stay.command);
        stay.pid();
        if !leader_lives {
            stay.exit_unseen();
            // The leader is a zombie: its pid and with it the group's are still ours.
        }
        reactor.signal_group(id, Signal::TERM).expect("the group");
        stay.wait_until_gone();
        let expected = if leader_lives {
            "signal: SIGTERM"
        } else {
            "ok"
        };
        assert_eq!(word(&wait(&mut reactor, id)), expected);
        assert!(is_gone(reactor.signal_group(id, Signal::TERM)));
    }
}

#[test]
fn signal_group_reaches_those_who_hold_the_pipes_after_the_leader_was_reaped() {
    if !signals_orphaned_groups() {
        return;
    }
    let mut reactor = reactor();
    let mut stay = Stay::new(&["orphan"]);
    stay.command.process_group(0).stdout(Output::capture());
    let id = start(&mut reactor, &mut stay.command);
    stay.exit_unseen();
    turn_until_reaped(&mut reactor, id);
    reactor.signal_group(id, Signal::TERM).expect("its orphan");
    assert_eq!(word(&wait(&mut reactor, id)), "ok");
    stay.wait_until_gone();
}

#[test]
fn signal_group_of_a_command_that_leads_none_finds_no_process() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    // Its group is that of this test, which goes on.
    assert!(is_gone(reactor.signal_group(id, Signal::KILL)));
    assert!(stay.is_alive());
}

#[test]
fn cancel_to_the_group_kills_the_descendants() {
    let cancels = [
        Cancel::kill().to_group(),
        Cancel::signal(Signal::TERM).to_group(),
    ];
    for (cancel, expected) in cancels.into_iter().zip(["SIGKILL", "SIGTERM"]) {
        let mut reactor = reactor();
        let mut stay = Stay::new(&["orphan"]);
        stay.command
            .session(true)
            .stdout(Output::capture())
            .cancel(cancel);
        let id = start(&mut reactor, &mut stay.command);
        stay.pid();
        assert!(reactor.cancel(id));
        let done = wait(&mut reactor, id);
        assert_eq!(word(&done), format!("signal: {expected} (cancelled)"));
        assert!(done.leaked.is_empty(), "the pipe ended with the group");
        stay.wait_until_gone();
    }
}

#[test]
fn end_of_the_delay_kills_the_group_that_the_cancel_was_for() {
    let mut reactor = reactor();
    // Set before the fork, so that both ignore it.
    let mut stay = Stay::new(&["ignore=TERM", "orphan"]);
    stay.command
        .process_group(0)
        .stdout(Output::capture())
        .cancel(Cancel::signal(Signal::TERM).to_group())
        .wait_delay(Duration::from_millis(10));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    assert!(reactor.cancel(id));
    assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL (cancelled)");
    stay.wait_until_gone();
}

#[test]
fn kill_after_the_exit_ends_what_is_left_of_the_group() {
    if !signals_orphaned_groups() {
        return;
    }
    let mut reactor = reactor();
    let mut stay = Stay::new(&["orphan"]);
    stay.command
        .process_group(0)
        .stdout(Output::capture())
        .cancel(Cancel::kill().to_group());
    let id = start(&mut reactor, &mut stay.command);
    stay.exit_unseen();
    turn_until_reaped(&mut reactor, id);
    assert!(stay.is_alive());
    assert!(reactor.kill(id));
    assert_eq!(word(&wait(&mut reactor, id)), "stopped: cancelled");
    stay.wait_until_gone();
}

#[test]
fn descendants_that_outlive_a_cancelled_leader_are_killed_with_their_pipes() {
    if !signals_orphaned_groups() {
        return;
    }
    // The one ends by the delay, the other by a context that ends after the exit.
    for delay in [Some(Duration::from_millis(10)), None] {
        let mut reactor = reactor();
        let context = Context::new();
        let mut stay = Stay::new(&["ignore=TERM", "orphan"]);
        stay.command
            .process_group(0)
            .stdout(Output::capture())
            .context(&context)
            .cancel(Cancel::signal(Signal::TERM).to_group());
        if let Some(delay) = delay {
            stay.command.wait_delay(delay);
        }
        let id = start(&mut reactor, &mut stay.command);
        stay.exit_unseen();
        if delay.is_none() {
            turn_until_reaped(&mut reactor, id);
        }
        context.cancel();
        assert_eq!(word(&wait(&mut reactor, id)), "stopped: cancelled");
        stay.wait_until_gone();
    }
}

#[test]
fn delay_after_an_exit_that_nobody_asked_for_kills_nobody() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["orphan"]);
    stay.command
        .process_group(0)
        .stdout(Output::capture())
        .cancel(Cancel::kill().to_group())
        .wait_delay(Duration::from_millis(1));
    let id = start(&mut reactor, &mut stay.command);
    stay.exit_unseen();
    assert_eq!(word(&wait(&mut reactor, id)), "wait delay");
    assert!(stay.is_alive());
}

#[test]
fn to_group_without_a_group_of_its_own_is_refused() {
    let error = reactor()
        .start(shell("exit 0").cancel(Cancel::kill().to_group()))
        .expect_err("a contradiction");
    assert!(matches!(error, StartError::Refused(_)), "{error:?}");
}

#[test]
fn ladder_goes_on_rung_by_rung_while_the_command_runs() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["say=INT", "say=HUP"]);
    let ladder = Cancel::signal(Signal::INT)
        .then(Duration::from_millis(5), Signal::HUP)
        .then(Duration::from_millis(5), Signal::TERM)
        .then(Duration::from_secs(600), Signal::KILL);
    stay.command.stdout(Output::capture()).cancel(ladder);
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    assert!(reactor.cancel(id));
    // An answer comes after the signal's handler has run.
    assert!(stay.is_alive());
    pass_ms(10);
    reactor.turn(NOW).expect("turn");
    assert!(stay.is_alive());
    let done = wait(&mut reactor, id);
    assert_eq!(word(&done), "signal: SIGTERM (cancelled)");
    assert_eq!(done.stdout, b"INT\nHUP\n");
    assert!(done.elapsed() >= Duration::from_millis(15));
}

#[test]
fn kill_is_the_stronger_word_after_a_cancel_that_is_ignored() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["ignore=TERM", "orphan"]);
    stay.command
        .stdout(Output::capture())
        .interrupt(Signal::TERM)
        .wait_delay(Duration::from_secs(600));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    assert!(reactor.cancel(id));
    assert!(reactor.kill(id));
    let done = wait(&mut reactor, id);
    assert_eq!(word(&done), "signal: SIGKILL (cancelled)");
    assert_eq!(done.leaked, [execloop::Stream::Stdout]);
}

#[test]
fn limits_beyond_the_end_of_the_clock_are_no_limits() {
    for long in [Duration::MAX, Duration::from_secs(i64::MAX as u64 / 2)] {
        let mut reactor = reactor();
        let context = Context::new().with_timeout(long);
        let mut stay = Stay::new(&["ignore=TERM"]);
        stay.command
            .stdout(Output::capture())
            .context(&context)
            .timeout(long)
            .idle_timeout(long)
            .wait_delay(long)
            .cancel(Cancel::signal(Signal::TERM).then(long, Signal::KILL));
        let id = start(&mut reactor, &mut stay.command);
        stay.pid();
        reactor.turn(NOW).expect("turn");
        assert!(stay.is_alive());
        context.cancel();
        reactor.turn(NOW).expect("turn");
        assert!(stay.is_alive());
        stay.release();
        assert_eq!(word(&wait(&mut reactor, id)), "stopped: cancelled");
    }
}

#[test]
fn limits_of_zero_end_a_command_in_the_first_turn() {
    for idle in [false, true] {
        let mut reactor = reactor();
        let mut stay = Stay::new(&[]);
        stay.command.stdout(Output::capture());
        if idle {
            stay.command.idle_timeout(Duration::ZERO);
        } else {
            stay.command.timeout(Duration::ZERO);
        }
        let id = start(&mut reactor, &mut stay.command);
        let expected = if idle {
            "timed out without output"
        } else {
            "timed out"
        };
        let done = wait(&mut reactor, id);
        assert_eq!(word(&done), format!("signal: SIGKILL ({expected})"));
    }
}

#[test]
fn callbacks_may_speak_to_their_own_reactor_through_a_handle() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let (in_line, in_cancel) = (reactor.handle(), reactor.handle());
    stay.command.cancel(Cancel::with(move |child| {
        in_cancel.start(shell("exit 2")).expect("it is there");
        child.signal(Signal::KILL)
    }));
    let stayed = start(&mut reactor, &mut stay.command);
    start(
        &mut reactor,
        shell("echo go").stdout(Output::lines(move |_| {
            in_line.start(shell("exit 3")).expect("it is there");
            in_line.cancel(stayed);
        })),
    );
    let mut words: Vec<String> = Vec::new();
    while let Some(done) = reactor.wait_any().expect("poll") {
        words.push(word(&done));
    }
    words.sort();
    assert_eq!(
        words,
        [
            "exit status 2",
            "exit status 3",
            "ok",
            "signal: SIGKILL (cancelled)"
        ]
    );
}

#[test]
fn wait_delay_cuts_the_ladder_short() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["ignore=INT"]);
    stay.command
        .cancel(Cancel::signal(Signal::INT).then(Duration::from_secs(600), Signal::TERM))
        .wait_delay(Duration::from_millis(10));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    assert!(reactor.cancel(id));
    assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL (cancelled)");
}

#[test]
fn ladder_may_begin_with_nothing() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    stay.command
        .cancel(Cancel::nothing().then(Duration::from_millis(10), Signal::TERM));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    assert!(reactor.cancel(id));
    let done = wait(&mut reactor, id);
    assert_eq!(word(&done), "signal: SIGTERM (cancelled)");
    assert!(done.elapsed() >= Duration::from_millis(10));
}

#[test]
fn cancel_callback_is_lent_the_child_and_may_stop_it_in_its_own_way() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["end=4", "say=HUP"]);
    let out = Shared::default();
    let (leash, pid) = (std::sync::Mutex::new(None), std::sync::Mutex::new(0));
    let shared = std::sync::Arc::new((leash, pid));
    let lent = std::sync::Arc::clone(&shared);
    stay.command
        .stdout(Output::writer(out.clone()))
        .cancel(Cancel::with(move |child| {
            *lent.1.lock().expect("no panic") = child.pid();
            child.signal(Signal::HUP)?;
            assert!(
                is_gone(child.signal_group(Signal::KILL)),
                "it leads no group"
            );
            drop(lent.0.lock().expect("no panic").take());
            Ok(())
        }));
    *shared.0.lock().expect("no panic") = Some(stay.take_leash());
    let id = start(&mut reactor, &mut stay.command);
    let pid = stay.pid();
    assert!(reactor.cancel(id));
    assert_eq!(word(&wait(&mut reactor, id)), "exit status 4 (cancelled)");
    assert_eq!(*shared.1.lock().expect("no panic"), pid);
    assert_eq!(out.text(), "HUP\n");
}

#[test]
fn handle_starts_signals_cancels_and_kills_from_another_thread() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    let mut stays = [
        Stay::new(&["end=1"]),
        Stay::new(&["exit=USR1:7"]),
        Stay::new(&["exit=INT:8"]),
        Stay::new(&["ignore=INT"]),
    ];
    let ids = std::thread::scope(|scope| {
        let started = scope.spawn(|| {
            let ids: Vec<Id> = stays
                .iter_mut()
                .map(|stay| {
                    stay.command.interrupt(Signal::INT);
                    let command = std::mem::replace(&mut stay.command, Command::new("true"));
                    handle.start(command).expect("it is there")
                })
                .collect();
            // They become ready only if the reactor's thread has been woken and has started them.
            for stay in &mut stays {
                stay.pid();
            }
            stays[0].release();
            handle.signal(ids[1], Signal::USR1);
            handle.cancel(ids[2]);
            handle.kill(ids[3]);
            ids
        });
        let mut words: Vec<(Id, String)> = Vec::new();
        while words.len() < 4 {
            // Sleeps in here, woken from there. While there is no command yet, there is nothing to wait for.
            reactor.turn(None).expect("turn");
            while let Some(done) = reactor.finished() {
                words.push((done.id, word(&done)));
            }
        }
        words.sort();
        let ids = started.join().expect("no panic");
        let expected = [
            "exit status 1",
            "exit status 7",
            "exit status 8 (cancelled)",
            "signal: SIGKILL (cancelled)",
        ];
        for ((id, word), expected) in words.iter().zip(expected) {
            assert_eq!(word, expected, "{id}");
        }
        assert_eq!(words.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
        ids
    });
    assert!(ids.is_sorted());
}

#[test]
fn handle_wakes_a_turn_that_waits_for_ever() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    std::thread::scope(|scope| {
        scope.spawn(move || handle.wake());
        reactor.turn(None).expect("turn");
    });
}

#[test]
fn command_that_was_sent_just_before_is_waited_for() {
    let mut reactor = reactor();
    let id = reactor
        .handle()
        .start(shell("exit 5"))
        .expect("it is there");
    assert_eq!(word(&wait(&mut reactor, id)), "exit status 5");
    let id = reactor
        .handle()
        .start(shell("exit 6"))
        .expect("it is there");
    let done = wait_any(&mut reactor);
    assert_eq!((done.id, word(&done)), (id, "exit status 6".to_owned()));
    assert!(reactor.wait_any().expect("poll").is_none());
}

#[test]
fn sent_command_that_cannot_be_started_is_told_under_its_id() {
    let mut reactor = reactor();
    let context = Context::new();
    context.cancel();
    let mut late = shell("exit 0");
    late.context(&context);
    for command in [Command::new("/nonexistent"), Command::new(""), late] {
        let id = reactor.handle().start(command).expect("it is there");
        let done = wait(&mut reactor, id);
        assert!(
            matches!(done.outcome, Err(Error::Start(_))),
            "{:?}",
            done.outcome
        );
        assert_eq!(done.pid, None);
    }
}

#[test]
fn handle_of_a_reactor_that_is_gone_does_nothing() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    let mut stay = Stay::new(&[]);
    let id = start(&mut reactor, &mut stay.command);
    let sent = handle.start(shell("exit 0"));
    assert!(sent.is_some());
    drop(reactor);
    stay.wait_until_gone();
    assert!(handle.start(shell("exit 0")).is_none());
    handle.cancel(id);
    handle.kill(id);
    handle.signal(id, Signal::KILL);
    handle.resume(id);
    handle.wake();
    assert!(handle.clone().start(shell("exit 0")).is_none());
}

#[test]
fn shutdown_kills_reaps_and_hands_out_everything() {
    let mut reactor = Reactor::builder()
        .max_running(3)
        .build()
        .expect("a reactor");
    let done_before = start(&mut reactor, &mut shell("exit 0"));
    turn_until_reaped(&mut reactor, done_before);
    let mut deaf = Stay::new(&["ignore=TERM", "out=said"]);
    deaf.command
        .stdout(Output::capture())
        .interrupt(Signal::TERM);
    let mut held = Stay::new(&["orphan"]);
    held.command.stdout(Output::capture());
    let mut asked = Stay::new(&["ignore=TERM"]);
    asked
        .command
        .interrupt(Signal::TERM)
        .wait_delay(Duration::from_secs(600));
    let ids = [&mut deaf, &mut held, &mut asked].map(|stay| {
        let id = start(&mut reactor, &mut stay.command);
        stay.pid();
        id
    });
    assert!(reactor.cancel(ids[2]));
    held.exit_unseen();
    turn_until_reaped(&mut reactor, ids[1]);
    let queued = start(&mut reactor, &mut shell("exit 0"));
    let sent = reactor
        .handle()
        .start(shell("exit 0"))
        .expect("it is there");
    let handle = reactor.handle();

    let all = reactor.shutdown().expect("poll");
    let told = |id: Id| all.iter().find(|done| done.id == id).expect("handed out");
    assert_eq!(all.len(), 6);
    assert_eq!(word(told(done_before)), "ok");
    assert_eq!(word(told(ids[0])), "signal: SIGKILL (cancelled)");
    assert_eq!(told(ids[0]).stdout, b"said");
    assert_eq!(word(told(ids[1])), "stopped: cancelled");
    assert_eq!(word(told(ids[2])), "signal: SIGKILL (cancelled)");
    for id in [queued, sent] {
        let outcome = &told(id).outcome;
        assert!(
            matches!(outcome, Err(Error::Start(StartError::ShutDown))),
            "{outcome:?}"
        );
    }
    assert!(handle.start(shell("exit 0")).is_none());
    assert!(
        held.is_alive(),
        "it led no group, so its descendant is not ours"
    );
}

#[test]
fn shutdown_kills_the_groups_that_commands_lead() {
    if !signals_orphaned_groups() {
        return;
    }
    let mut reactor = reactor();
    let mut stays = [Stay::new(&["orphan"]), Stay::new(&["orphan"])];
    for stay in &mut stays {
        stay.command.process_group(0).stdout(Output::capture());
        start(&mut reactor, &mut stay.command);
        stay.pid();
    }
    // One leader has exited, and was reaped; its descendant holds the pipe.
    stays[1].exit_unseen();
    reactor.turn(None).expect("turn");
    assert_eq!(reactor.shutdown().expect("poll").len(), 2);
    for stay in &mut stays {
        stay.wait_until_gone();
    }
}

#[test]
fn drop_kills_what_runs_and_the_groups_that_commands_lead() {
    if !signals_orphaned_groups() {
        return;
    }
    let mut reactor = reactor();
    let mut plain = Stay::new(&["ignore=TERM"]);
    let mut group = Stay::new(&["orphan"]);
    group.command.process_group(0);
    let mut session = Stay::new(&["orphan"]);
    session.command.session(true);
    let mut draining = Stay::new(&["orphan"]);
    draining.command.process_group(0).stdout(Output::capture());
    for stay in [&mut plain, &mut group, &mut session] {
        start(&mut reactor, &mut stay.command);
        stay.pid();
    }
    let id = start(&mut reactor, &mut draining.command);
    draining.exit_unseen();
    turn_until_reaped(&mut reactor, id);
    drop(reactor);
    for stay in [&mut plain, &mut group, &mut session, &mut draining] {
        stay.wait_until_gone();
    }
}

#[test]
fn drop_leaves_descendants_alone_that_are_in_no_group_of_ours() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["group"]);
    stay.command.process_group(0).stdout(Output::capture());
    start(&mut reactor, &mut stay.command);
    stay.pid();
    drop(reactor);
    assert!(stay.is_alive());
}

#[test]
fn drop_leaves_nothing_behind() {
    embed(&["drop_leaves_nothing_behind"]);
}

#[test]
fn drop_does_not_wait_for_a_child_that_it_cannot_kill() {
    embed(&["drop_does_not_wait_for_a_child_that_it_cannot_kill"]);
}

#[test]
fn drop_drops_the_callbacks_of_queued_and_running_commands_uncalled() {
    struct Told(std::sync::mpsc::Sender<&'static str>, &'static str);
    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send("written").expect("the test listens");
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.send("flushed").expect("the test listens");
            Ok(())
        }
    }
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(self.1).expect("the test listens");
        }
    }
    let (tell, told) = std::sync::mpsc::channel();
    let (mut reactor, mut first, _) = full();
    let mut running = Stay::new(&["out=unread"]);
    running
        .command
        .stdout(Output::writer(Told(tell.clone(), "running")));
    first.exit_unseen();
    reactor.turn(None).expect("turn");
    start(&mut reactor, &mut running.command);
    running.pid();
    let mut queued = shell("exit 0");
    start(
        &mut reactor,
        queued.stdout(Output::writer(Told(tell, "queued"))),
    );
    assert_eq!((reactor.running(), reactor.queued()), (1, 1));
    drop(reactor);
    let mut words: Vec<_> = told.try_iter().collect();
    words.sort();
    assert_eq!(words, ["queued", "running"]);
}

#[test]
fn detached_command_survives_the_reactor_and_is_told_to_nobody() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["orphan"]);
    stay.command
        .process_group(0)
        .stdout(Output::capture())
        .timeout(Duration::from_millis(1));
    let id = start(&mut reactor, &mut stay.command);
    let pid = stay.pid();
    assert_eq!(reactor.detach(id), Some(pid));
    assert_eq!(reactor.detach(id), None);
    assert!(reactor.is_empty() && reactor.running() == 0);
    assert!(reactor.wait_any().expect("poll").is_none());
    assert!(reactor.wait(id).expect("poll").is_none());
    assert!(is_gone(reactor.signal(id, Signal::KILL)) && !reactor.kill(id) && !reactor.cancel(id));
    pass_ms(5);
    reactor.turn(NOW).expect("turn");
    drop(reactor);
    assert!(stay.is_alive(), "neither its timeout nor the drop ended it");
}

#[test]
fn detached_command_is_reaped_while_the_reactor_lives() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let id = start(&mut reactor, &mut stay.command);
    let pid = stay.pid();
    assert_eq!(reactor.detach(id), Some(pid));
    stay.exit_unseen();
    reactor.turn(None).expect("turn");
    assert!(
        !std::path::Path::new(&format!("/proc/{pid}")).exists(),
        "a zombie is left"
    );
    assert!(reactor.wait_any().expect("poll").is_none());
}

#[test]
fn detached_command_takes_no_place_among_the_running() {
    let (mut reactor, mut stay, id) = full();
    let next = start(&mut reactor, &mut shell("exit 3"));
    assert_eq!((reactor.running(), reactor.queued()), (1, 1));
    assert!(reactor.detach(id).is_some());
    assert_eq!(word(&wait(&mut reactor, next)), "exit status 3");
    assert!(stay.is_alive());
}

#[test]
fn command_that_only_drains_cannot_be_detached_by_a_pid_that_is_not_its_own_any_more() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["orphan"]);
    stay.command.stdout(Output::capture());
    let id = start(&mut reactor, &mut stay.command);
    stay.exit_unseen();
    turn_until_reaped(&mut reactor, id);
    assert_eq!(reactor.detach(id), None);
    stay.release_orphan();
    assert!(wait(&mut reactor, id).success());
}

#[test]
fn two_reactors_in_one_process_do_not_know_of_each_other() {
    let mut threads = Vec::new();
    for _ in 0..2 {
        threads.push(std::thread::spawn(|| {
            let (mut one, mut two) = (reactor(), reactor());
            for round in 0..20_u8 {
                let mut command = shell(&format!("cat; exit {round}"));
                command
                    .stdin(Input::bytes(vec![round; 100_000]))
                    .stdout(Output::capture());
                let in_one = start(&mut one, &mut command);
                let in_two = start(&mut two, &mut command);
                // The second's exit is not the first's to reap, whoever turns.
                for (reactor, id) in [(&mut two, in_two), (&mut one, in_one)] {
                    let done = wait(reactor, id);
                    assert_eq!(
                        done.status.and_then(|status| status.code()),
                        Some(round.into())
                    );
                    assert_eq!(done.stdout, vec![round; 100_000]);
                }
            }
        }));
    }
    for thread in threads {
        thread.join().expect("no panic");
    }
}

#[test]
fn timeout_ends_a_command_as_a_context_would() {
    for words in [&[][..], &["ignore=TERM"]] {
        let mut reactor = reactor();
        let mut stay = Stay::new(words);
        stay.command
            .timeout(Duration::from_millis(20))
            .interrupt(Signal::TERM)
            .wait_delay(Duration::from_millis(10));
        // No turn is made before it is ready, so a child that is slow to come up is not ended before.
        let id = start(&mut reactor, &mut stay.command);
        stay.pid();
        let done = wait(&mut reactor, id);
        let signal = if words.is_empty() {
            "SIGTERM"
        } else {
            "SIGKILL"
        };
        assert_eq!(word(&done), format!("signal: {signal} (timed out)"));
        assert!(done.elapsed() >= Duration::from_millis(20));
    }
}

#[test]
fn idle_timeout_starts_again_with_each_output() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["say=USR1"]);
    stay.command
        .stdout(Output::capture())
        .idle_timeout(Duration::from_millis(20));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    for _ in 0..3 {
        reactor.signal(id, Signal::USR1).expect("it runs");
        // The handler has run before the answer comes, so its line is in the pipe.
        assert!(stay.is_alive());
        pass_ms(30);
        // The deadline has passed, and output came before it was looked at.
        reactor.turn(NOW).expect("turn");
        assert_eq!(reactor.running(), 1);
        assert!(stay.is_alive());
    }
    let done = wait(&mut reactor, id);
    assert_eq!(word(&done), "signal: SIGKILL (timed out without output)");
    assert_eq!(done.stdout, b"USR1\n".repeat(3));
    assert!(done.elapsed() >= Duration::from_millis(110));
}

#[test]
fn idle_timeout_minds_stderr_too_and_not_what_the_caller_reads_himself() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["out=x", "err=y"]);
    stay.command
        .stdout(Output::pipe())
        .stderr(Output::capture())
        .idle_timeout(Duration::from_millis(20));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    pass_ms(30);
    reactor.turn(NOW).expect("turn");
    assert_eq!(reactor.running(), 1, "stderr's output counts");
    assert!(stay.is_alive());
    let mut read = [0];
    reactor
        .stdout(id)
        .expect("a pipe")
        .read_exact(&mut read)
        .expect("read");
    assert_eq!(
        word(&wait(&mut reactor, id)),
        "signal: SIGKILL (timed out without output)"
    );
}

/// A program whose file is being written.
fn busy(scratch: &Scratch) -> (std::path::PathBuf, std::fs::File) {
    let path = scratch.join("program");
    std::fs::copy("/bin/sh", &path).expect("copy");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open");
    (path, file)
}

#[test]
fn busy_program_is_started_once_its_file_is_closed() {
    let scratch = Scratch::new();
    let (path, file) = busy(&scratch);
    let mut reactor = reactor();
    let mut command = Command::new(&path);
    let id = start(&mut reactor, command.args(["-c", "exit 9"]));
    assert_eq!((reactor.running(), reactor.queued()), (0, 1));
    drop(file);
    assert_eq!(word(&wait(&mut reactor, id)), "exit status 9");
}

#[test]
fn busy_program_fails_in_the_end_or_at_once_if_so_wished() {
    let scratch = Scratch::new();
    let (path, _file) = busy(&scratch);
    let mut reactor = reactor();
    let is_busy = |error: &StartError| matches!(error, StartError::Step { source, .. } if source.raw_os_error() == Some(libc::ETXTBSY));
    let mut command = Command::new(&path);
    let error = reactor
        .start(command.retry_text_busy(false))
        .expect_err("busy");
    assert!(is_busy(&error), "{error:?}");
    assert!(reactor.is_empty());

    let id = start(&mut reactor, command.retry_text_busy(true));
    let done = wait(&mut reactor, id);
    assert!(
        matches!(&done.outcome, Err(Error::Start(error)) if is_busy(error)),
        "{:?}",
        done.outcome
    );
}

#[test]
fn busy_program_can_be_cancelled() {
    let scratch = Scratch::new();
    let (path, _file) = busy(&scratch);
    let context = Context::new();
    let mut reactor = reactor();
    let mut command = Command::new(&path);
    let id = start(&mut reactor, command.context(&context));
    context.cancel();
    assert_unstarted(&wait(&mut reactor, id), Cause::Cancelled);
    assert!(reactor.is_empty());
}

#[test]
fn busy_program_does_not_exceed_the_limit_when_its_file_is_closed() {
    let scratch = Scratch::new();
    let (path, file) = busy(&scratch);
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    let mut command = Command::new(&path);
    let busy = start(&mut reactor, command.args(["-c", "exit 9"]));
    // The place is free until the busy one can be started.
    let mut stay = Stay::new(&[]);
    let other = start(&mut reactor, &mut stay.command);
    stay.pid();
    drop(file);
    // All its retries come in this time.
    pass_ms(200);
    for _ in 0..10 {
        reactor.turn(NOW).expect("turn");
        assert_eq!((reactor.running(), reactor.queued()), (1, 1));
    }
    stay.release();
    assert!(wait(&mut reactor, other).success());
    assert_eq!(word(&wait(&mut reactor, busy)), "exit status 9");
}

#[test]
fn commands_started_by_several_threads_at_once_get_the_end_of_their_input() {
    // If a child of one thread kept another's pipe open, a `cat` would wait for it.
    fn relay(mut writer: PipeWriter, mut reader: PipeReader) {
        writer.write_all(b"ping").expect("write");
        drop(writer);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("read");
        assert_eq!(all, b"ping");
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..25 {
                    let mut reactor = reactor();
                    let (stdin, writer) = io::pipe().expect("a pipe");
                    let (reader, stdout) = io::pipe().expect("a pipe");
                    let mut command = Command::new("cat");
                    command
                        .stdin(Input::file(stdin))
                        .stdout(Output::file(stdout));
                    let id = start(&mut reactor, &mut command);
                    relay(writer, reader);
                    assert!(wait(&mut reactor, id).success());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
}
