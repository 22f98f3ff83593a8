//! Contexts: one word, or one deadline, that ends many commands, from wherever it comes.
//! Unaware of what becomes of each command, which `matrix.rs` holds.

#[path = "common"]
mod common {
    mod alive;
    mod gone;
    pub mod helper;
    pub mod helper_path;
    pub mod pass;
    pub mod shell;
    pub mod stay;
    pub mod unseen;
    pub mod wait;
    mod watchdog;
    pub mod word;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use execloop::{Cause, Command, CommandId, Context, Error, Output, Reactor, Signal, StartError};

use common::pass::pass_ms;
use common::shell::shell;
use common::stay::Stay;
use common::unseen::exited;
use common::wait::wait;
use common::word::word;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn reactor() -> Reactor {
    Reactor::new().expect("a reactor")
}

fn start(reactor: &mut Reactor, command: &mut Command) -> CommandId {
    reactor.start(command).expect("start")
}

/// Commands that live until they are told otherwise, ready, under one context.
fn started(reactor: &mut Reactor, context: &Context, count: usize) -> Vec<(Stay, CommandId)> {
    (0..count)
        .map(|_| {
            let mut stay = Stay::new(&[]);
            let id = start(reactor, stay.command.context(context));
            stay.pid();
            (stay, id)
        })
        .collect()
}

/// A command under a context of its own that ends soon, yet not before the start, on however slow a machine.
fn started_before(
    reactor: &mut Reactor,
    words: &[&str],
    context: impl Fn(Duration) -> Context,
) -> (Stay, CommandId, Context) {
    let mut soon = Duration::from_millis(20);
    loop {
        let context = context(soon);
        let mut stay = Stay::new(words);
        stay.command.context(&context).interrupt(Signal::TERM);
        match reactor.start(&mut stay.command) {
            Err(StartError::Stopped(Cause::DeadlineExceeded)) => soon *= 2,
            id => {
                // No turn is made meanwhile, so nothing is asked of it before it is ready.
                stay.pid();
                return (stay, id.expect("start"), context);
            }
        }
    }
}

#[test]
fn cancel_from_another_thread_ends_all_commands_of_a_reactor_that_sleeps() {
    let mut reactor = reactor();
    let context = Context::new();
    let _stays = started(&mut reactor, &context, 10);
    // The turn below sleeps until it is woken: nothing else happens in this reactor.
    std::thread::scope(|scope| {
        scope.spawn(|| context.cancel());
        let mut ended = 0;
        while let Some(done) = reactor.wait_any().expect("poll") {
            assert_eq!(word(&done), "signal: SIGKILL (cancelled)");
            ended += 1;
        }
        assert_eq!(ended, 10);
    });
    assert_eq!(context.cause(), Some(Cause::Cancelled));
}

#[test]
fn cancel_does_not_concern_commands_of_another_context_or_of_none() {
    let mut reactor = reactor();
    let parent = Context::new();
    let (one, other) = (parent.child(), parent.child());
    let mut of_one = started(&mut reactor, &one, 1);
    let mut of_other = started(&mut reactor, &other, 1);
    let mut of_none = Stay::new(&[]);
    let none = start(&mut reactor, &mut of_none.command);
    one.cancel();
    // A child whose leash is dropped exits by itself.
    let (_one, id) = of_one.remove(0);
    assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL (cancelled)");
    assert!(of_other[0].0.is_alive() && of_none.is_alive());
    assert_eq!((other.cause(), parent.cause()), (None, None));

    parent.cancel();
    let (_other, id) = of_other.remove(0);
    assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL (cancelled)");
    assert!(of_none.is_alive());
    of_none.release();
    assert!(wait(&mut reactor, none).success());
}

#[test]
fn one_context_ends_commands_of_several_reactors() {
    let context = Context::new();
    let mut reactors = [reactor(), reactor()];
    let stays: Vec<_> = reactors
        .iter_mut()
        .map(|reactor| started(reactor, &context, 2))
        .collect();
    context.cancel();
    for (reactor, stays) in reactors.iter_mut().zip(&stays) {
        for (_, id) in stays {
            assert_eq!(word(&wait(reactor, *id)), "signal: SIGKILL (cancelled)");
        }
    }
}

#[test]
fn deadline_ends_commands_with_its_own_cause_and_not_before_its_time() {
    for (words, expected) in [
        (["exit=TERM:0"], "stopped: deadline exceeded"),
        (["end=0"], "signal: SIGTERM (deadline exceeded)"),
    ] {
        let mut reactor = reactor();
        let (_stay, id, context) = started_before(&mut reactor, &words, |soon| {
            Context::new().with_timeout(soon)
        });
        let done = wait(&mut reactor, id);
        assert_eq!(word(&done), expected);
        assert!(done.reaped >= context.deadline() && context.deadline().is_some());
        assert_eq!(context.cause(), Some(Cause::DeadlineExceeded));
    }
}

#[test]
fn one_deadline_ends_all_commands_of_its_context() {
    let mut reactor = reactor();
    let (_stay, _, context) =
        started_before(&mut reactor, &[], |soon| Context::new().with_timeout(soon));
    // More of them, as long as it has not passed.
    let mut stays = Vec::new();
    for _ in 0..3 {
        let mut stay = Stay::new(&[]);
        if reactor.start(stay.command.context(&context)).is_ok() {
            stay.pid();
            stays.push(stay);
        }
    }
    let mut ended = 0;
    while let Some(done) = reactor.wait_any().expect("poll") {
        assert!(
            word(&done).ends_with("(deadline exceeded)"),
            "{}",
            word(&done)
        );
        ended += 1;
    }
    assert_eq!(ended, 1 + stays.len());
}

#[test]
fn earlier_of_two_deadlines_counts_whoever_set_it() {
    const LATE: Duration = Duration::from_secs(600);
    let orders: [fn(Duration) -> Context; 4] = [
        |soon| Context::new().with_timeout(soon).with_timeout(LATE),
        |soon| Context::new().with_timeout(LATE).with_timeout(soon),
        |soon| Context::new().with_timeout(soon).child(),
        |soon| {
            let deadline = Context::new().with_timeout(soon).deadline();
            Context::new().with_deadline(deadline.expect("it has one"))
        },
    ];
    for order in orders {
        let mut reactor = reactor();
        let (_stay, id, _) = started_before(&mut reactor, &[], order);
        assert_eq!(
            word(&wait(&mut reactor, id)),
            "signal: SIGTERM (deadline exceeded)"
        );
    }
}

#[test]
fn timeout_before_the_deadline_and_cancel_before_both_tell_their_own_cause() {
    let mut reactor = reactor();
    let context = Context::new().with_timeout(Duration::from_secs(600));
    let (mut timed, mut cancelled) = (Stay::new(&[]), Stay::new(&[]));
    timed
        .command
        .context(&context)
        .timeout(Duration::from_millis(10));
    cancelled
        .command
        .context(&context)
        .timeout(Duration::from_secs(600));
    let timed_id = start(&mut reactor, &mut timed.command);
    let cancelled_id = start(&mut reactor, &mut cancelled.command);
    timed.pid();
    cancelled.pid();
    assert_eq!(
        word(&wait(&mut reactor, timed_id)),
        "signal: SIGKILL (timed out)"
    );
    context.cancel();
    assert_eq!(
        word(&wait(&mut reactor, cancelled_id)),
        "signal: SIGKILL (cancelled)"
    );
}

#[test]
fn context_whose_deadline_has_passed_starts_nothing() {
    let context = Context::new().with_timeout(Duration::ZERO);
    let error = reactor()
        .start(shell("exit 0").context(&context))
        .expect_err("too late");
    assert!(
        matches!(error, StartError::Stopped(Cause::DeadlineExceeded)),
        "{error:?}"
    );
    let error = shell("exit 0")
        .context(&context)
        .run()
        .expect_err("too late");
    assert_eq!(error.cause(), Some(Cause::DeadlineExceeded));
    assert!(matches!(error.reason(), Error::Start(_)), "{error:?}");
}

#[test]
fn first_end_of_a_context_counts() {
    let late = Context::new().with_timeout(Duration::ZERO);
    let child = late.child();
    assert_eq!(late.cause(), Some(Cause::DeadlineExceeded));
    late.cancel();
    assert_eq!(late.cause(), Some(Cause::DeadlineExceeded));
    assert_eq!(child.cause(), Some(Cause::DeadlineExceeded));

    let parent = Context::new();
    let (passed, coming) = (
        parent.with_timeout(Duration::ZERO),
        parent.with_timeout(Duration::from_secs(600)),
    );
    parent.cancel();
    assert_eq!(passed.cause(), Some(Cause::DeadlineExceeded));
    assert_eq!(coming.cause(), Some(Cause::Cancelled));
}

#[test]
fn context_lives_as_long_as_a_command_carries_it() {
    let mut reactor = reactor();
    let (_stay, id, context) = started_before(&mut reactor, &[], |soon| {
        Context::new().child().with_timeout(soon)
    });
    drop(context);
    assert_eq!(
        word(&wait(&mut reactor, id)),
        "signal: SIGTERM (deadline exceeded)"
    );
}

#[test]
fn ended_context_is_nothing_to_commands_that_are_finished_or_without_one() {
    let mut reactor = reactor();
    let (mut stay, id, context) =
        started_before(&mut reactor, &[], |soon| Context::new().with_timeout(soon));
    let mut other = Stay::new(&[]);
    let other_id = start(&mut reactor, &mut other.command);
    stay.exit_unseen();
    let done = wait(&mut reactor, id);
    // Which of the two comes first is the machine's business here.
    assert!(["ok", "stopped: deadline exceeded"].contains(&word(&done).as_str()));
    pass_ms(30);
    context.cancel();
    reactor.turn(NOW).expect("turn");
    assert!(other.is_alive());
    other.release();
    assert!(wait(&mut reactor, other_id).success());
}

#[test]
fn context_may_outlive_the_reactor() {
    let context = Context::new();
    let mut reactor = reactor();
    let mut stays = started(&mut reactor, &context, 1);
    drop(reactor);
    stays[0].0.wait_until_gone();
    context.cancel();
    assert_eq!(context.cause(), Some(Cause::Cancelled));
}

#[test]
fn context_can_be_cancelled_from_a_callback_on_the_reactors_own_thread() {
    let mut reactor = reactor();
    let context = Context::new();
    let stays = started(&mut reactor, &context, 2);
    let inside = context.clone();
    let id = start(
        &mut reactor,
        shell("echo stop; exec cat /dev/zero")
            .context(&context)
            .stdout(Output::lines(move |_| inside.cancel())),
    );
    for id in [id, stays[0].1, stays[1].1] {
        assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL (cancelled)");
    }
}

#[test]
fn context_that_ends_while_the_exit_is_unseen_is_told_as_the_cause() {
    let mut reactor = reactor();
    let context = Context::new();
    let (mut stay, id) = started(&mut reactor, &context, 1).remove(0);
    let pid = stay.pid();
    stay.release();
    exited(pid);
    context.cancel();
    assert_eq!(word(&wait(&mut reactor, id)), "stopped: cancelled");
}

#[test]
fn cancelling_twice_or_from_many_threads_asks_once() {
    let mut reactor = reactor();
    let context = Context::new();
    let calls = Arc::new(AtomicU32::new(0));
    let called = Arc::clone(&calls);
    let mut stay = Stay::new(&[]);
    stay.command
        .context(&context)
        .on_cancel(execloop::Cancel::with(move |child| {
            called.fetch_add(1, Ordering::Relaxed);
            child.signal(Signal::KILL)
        }));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| context.cancel());
        }
    });
    context.cancel();
    assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL (cancelled)");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn command_shows_its_context() {
    let context = Context::new();
    let mut command = shell("exit 0");
    assert!(command.get_context().is_none());
    command.context(&context);
    context.cancel();
    let shown = command.get_context().and_then(Context::cause);
    assert_eq!(shown, Some(Cause::Cancelled));
}
