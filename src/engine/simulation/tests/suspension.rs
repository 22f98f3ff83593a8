//! Suspension in certain orders of events: which limits stand, and what they have left afterwards.
//! Unaware of the seeds.

use std::time::{Duration, Instant};

use super::*;
use crate::context::Context;
use crate::error::Error;

const BEFORE: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_secs(100);
const LIMIT: Duration = Duration::from_secs(1);
/// A limit is served within this.
const SLACK: Duration = Duration::from_millis(1);

/// Turns until so much time has passed.
fn pass(world: &Shared, engine: &mut Engine<Simulated>, time: Duration) {
    let until = world.borrow().now() + time;
    while world.borrow().now() < until {
        let left = until - world.borrow().now();
        engine.turn(Some(left)).expect("the weather is calm");
    }
}

/// Suspends in the midst of a limit that `limit` sets, and says how the command ended. It was started `since` then.
fn suspended(script: Script, limit: impl FnOnce(&mut Command, Instant)) -> (Finished, Duration) {
    let (world, mut engine) = calm(1);
    let mut command = command(&world, script);
    let start = world.borrow().now();
    command.stdout(Output::capture());
    limit(&mut command, start);
    let id = engine.start(&mut command).expect("it starts");
    pass(&world, &mut engine, BEFORE);
    engine.suspend().expect("our own process");
    pass(&world, &mut engine, PAUSE);
    assert_eq!(engine.table.finished(), 0, "while all stands");
    assert!(engine.is_suspended());
    engine.unsuspend();
    pass(&world, &mut engine, LIMIT - BEFORE - 2 * SLACK);
    assert_eq!(engine.table.finished(), 0, "before its time");
    let finished = finish(&mut engine, id);
    let lasted = finished.drained.expect("it was started") - start;
    (finished, lasted)
}

#[test]
fn no_limit_comes_while_all_is_suspended_and_each_keeps_what_was_left() {
    let long = || sleep(10 * PAUSE);
    let orphan = || Script {
        acts: vec![Act::Fork(Rc::new(sleep(10 * PAUSE))), Act::Exit(0)],
        ..Script::default()
    };
    type Limit = fn(&mut Command, Instant);
    let limits: [(Script, Limit, Option<Cause>); 6] = [
        (
            long(),
            |command, _| {
                command.timeout(LIMIT);
            },
            Some(Cause::Timeout),
        ),
        (
            long(),
            |command, _| {
                command.idle_timeout(LIMIT);
            },
            Some(Cause::IdleTimeout),
        ),
        (
            long(),
            |command, start| {
                let context = Context::new().with_deadline(start + LIMIT);
                command.context(&context);
            },
            Some(Cause::DeadlineExceeded),
        ),
        (
            long(),
            |command, start| {
                let context = Context::new().with_deadline(start + LIMIT);
                command.context(&context).deadline_counts_queue(false);
            },
            Some(Cause::DeadlineExceeded),
        ),
        (
            orphan(),
            |command, _| {
                command.wait_delay(LIMIT);
            },
            None,
        ),
        (
            orphan(),
            |command, _| {
                command.leak_timeout(LIMIT);
            },
            None,
        ),
    ];
    for (place, (script, limit, cause)) in limits.into_iter().enumerate() {
        let (finished, lasted) = suspended(script, limit);
        let error = finished.outcome.expect_err("its time is over");
        match cause {
            Some(_) => assert_eq!(error.cause(), cause, "{place}"),
            None => assert!(matches!(error, Error::WaitDelay { .. }), "{place}: {error}"),
        }
        let late = lasted.saturating_sub(PAUSE + LIMIT);
        assert!(late < 5 * SLACK, "{place}: {late:?}");
    }
}

#[test]
fn what_runs_stands_and_what_waits_is_not_started_until_all_goes_on() {
    let (world, mut engine) = calm(1);
    let work = Duration::from_millis(100);
    let mut runs = command(&world, sleep(work));
    let runs = engine.start(&mut runs).expect("it starts");
    engine.suspend().expect("our own process");
    let mut waits = command(&world, Script::default());
    let waits = engine.start(&mut waits).expect("it waits");
    pass(&world, &mut engine, PAUSE);
    assert_eq!((engine.running(), engine.queued()), (1, 1));
    engine.prepare_sleep();
    assert!(!engine.is_unannounced(), "an outer loop may sleep");
    engine.unsuspend();
    assert!(finish(&mut engine, waits).success());
    assert!(finish(&mut engine, runs).success());
}

#[test]
fn while_all_is_suspended_a_kill_ends_at_once_and_a_timer_of_the_callers_wakes() {
    let (world, mut engine) = calm(1);
    let mut runs = command(&world, sleep(PAUSE));
    let id = engine.start(&mut runs).expect("it starts");
    pass(&world, &mut engine, SLACK);
    engine.suspend().expect("our own process");
    let at = world.borrow().now() + LIMIT;
    engine.wake_at(at);
    assert_eq!(engine.next_deadline(), Some(at));
    // The simulated machine finds out what would sleep for ever.
    engine.turn(None).expect("the weather is calm");
    while world.borrow().now() < at {
        engine.turn(None).expect("the weather is calm");
    }
    engine.kill(id);
    let finished = finish(&mut engine, id);
    assert!(finished.status.is_some());
    assert!(engine.is_suspended());
    engine.unsuspend();
    engine.unsuspend();
}

#[test]
fn one_that_is_let_go_while_all_is_suspended_goes_on() {
    let (world, mut engine) = calm(1);
    let mut runs = command(&world, sleep(LIMIT));
    let id = engine.start(&mut runs).expect("it starts");
    pass(&world, &mut engine, SLACK);
    engine.suspend().expect("our own process");
    let pid = engine.detach(id).expect("it runs");
    let has_ended = |world: &Shared| {
        let world = world.borrow();
        world.child(pid).expect("a child").0.ended.is_some()
    };
    assert!(!has_ended(&world));
    pass(&world, &mut engine, 2 * LIMIT);
    assert!(has_ended(&world));
    engine.unsuspend();
}

#[test]
fn a_context_that_comes_after_a_pause_ends_its_commands_at_its_own_time() {
    let (world, mut engine) = calm(1);
    engine.suspend().expect("our own process");
    pass(&world, &mut engine, PAUSE);
    engine.unsuspend();
    let start = world.borrow().now();
    for counts_queue in [true, false] {
        let context = Context::new().with_deadline(world.borrow().now() + LIMIT);
        let mut command = command(&world, sleep(10 * PAUSE));
        command
            .context(&context)
            .deadline_counts_queue(counts_queue);
        let id = engine.start(&mut command).expect("it starts");
        let finished = finish(&mut engine, id);
        let error = finished.outcome.as_ref().expect_err("its time is over");
        assert_eq!(error.cause(), Some(Cause::DeadlineExceeded));
        let late = finished.elapsed().saturating_sub(LIMIT);
        assert!(late < SLACK, "{late:?}");
    }
    assert!(world.borrow().now() - start < 3 * LIMIT);
}

#[test]
fn who_is_left_of_a_group_goes_on_though_its_leader_was_reaped_while_all_was_suspended() {
    for by_kqueue in [false, true] {
        let (world, mut engine) = calm(1);
        world.borrow_mut().weather.by_kqueue = by_kqueue;
        world.borrow_mut().weather.finds_groups = !by_kqueue;
        let rest = sleep(LIMIT);
        let mut leader = command(
            &world,
            Script {
                acts: vec![Act::Fork(Rc::new(rest)), Act::Exit(0)],
                ..Script::default()
            },
        );
        leader.process_group(0).stdout(Output::capture());
        let id = engine.start(&mut leader).expect("it starts");
        Simulated::dawdle(&world, BEFORE);
        engine.suspend().expect("our own process");
        pass(&world, &mut engine, PAUSE);
        let still_stands = engine.table.running(0).is_some();
        // Where the group is found, it was stopped again.
        assert_eq!(still_stands, !by_kqueue);
        engine.unsuspend();
        assert!(finish(&mut engine, id).success(), "by kqueue: {by_kqueue}");
    }
}
