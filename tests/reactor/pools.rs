//! Pools, priorities, weights, limits that change, brakes, and a deadline that does not count the queue.
//! Unaware of descriptors, which `limits.rs` counts.

use super::*;

/// Appends the argument to the log, which is argument 0.
fn logging(log: &std::path::Path, word: &str) -> Command {
    let mut command = shell("echo $1 >> $0");
    command.arg(log).arg(word);
    command
}

fn drain(reactor: &mut Reactor) {
    while let Some(done) = reactor.wait_any().expect("poll") {
        assert!(done.success(), "{:?}", done.outcome);
    }
}

#[test]
fn the_higher_priority_goes_first_and_of_equal_ones_who_came_first() {
    let scratch = Scratch::new();
    let log = scratch.join("log");
    let (mut reactor, mut stay, first) = full();
    for (word, priority) in [("a", 0), ("b", 7), ("c", -7), ("d", 7), ("e", 0)] {
        start(&mut reactor, logging(&log, word).priority(priority));
    }
    assert_eq!((reactor.running(), reactor.queued()), (1, 5));
    stay.release();
    assert!(reactor.wait(first).expect("poll").is_some());
    drain(&mut reactor);
    let text = std::fs::read_to_string(&log).expect("the log");
    assert_eq!(text.split_whitespace().collect::<String>(), "bdaec");
}

#[test]
fn a_full_pool_holds_up_its_own_commands_and_nobody_else() {
    let builder = Reactor::builder().pool("link", 1).pool("test", 9);
    let mut reactor = builder.clone().pool("test", 2).build().expect("a reactor");
    let mut stays: Vec<Stay> = (0..5).map(|_| Stay::new(&[])).collect();
    let pools = ["link", "link", "test", "test", "test"];
    for (stay, pool) in stays.iter_mut().zip(pools) {
        start(&mut reactor, stay.command.pool(pool));
    }
    assert_eq!((reactor.running(), reactor.queued()), (3, 2), "one and two");
    let outside = start(&mut reactor, &mut shell("exit 0"));
    assert!(reactor.wait(outside).expect("poll").is_some());
    reactor.set_pool("link", 2);
    assert_eq!((reactor.running(), reactor.queued()), (4, 1));
    stays.iter_mut().for_each(Stay::release);
    drain(&mut reactor);
}

#[test]
fn a_pool_that_the_reactor_does_not_have_is_refused() {
    let mut reactor = reactor();
    let refused = reactor.start(shell("exit 0").pool("link"));
    assert!(
        matches!(refused, Err(StartError::Refused(why)) if why.contains("pool")),
        "{refused:?}"
    );
    reactor.set_pool("link", 0);
    let id = start(&mut reactor, shell("exit 0").pool("link"));
    assert!(
        reactor
            .wait(id)
            .expect("poll")
            .is_some_and(|done| done.success())
    );
}

#[test]
fn max_running_can_be_changed_and_weights_count_against_it() {
    let mut reactor = Reactor::builder()
        .max_running(3)
        .build()
        .expect("a reactor");
    let mut stays: Vec<Stay> = (0..5).map(|_| Stay::new(&[])).collect();
    let mut ids = Vec::new();
    for (stay, weight) in stays.iter_mut().zip([2, 2, 0, 1, 9]) {
        ids.push(start(&mut reactor, stay.command.weight(weight)));
    }
    assert_eq!(reactor.running(), 1, "2 of 3, and nobody passes the next");
    reactor.set_max_running(5);
    assert_eq!(reactor.running(), 3, "2, 2 and 1");
    reactor.set_max_running(1);
    assert_eq!(reactor.running(), 3, "those that run go on");
    for (stay, left) in stays.iter_mut().zip([2, 1, 1, 1]) {
        stay.release();
        let id = ids.remove(0);
        assert!(reactor.wait(id).expect("poll").is_some());
        assert_eq!(
            reactor.running(),
            left,
            "the light one, then the heavy one alone"
        );
    }
    stays[4].release();
    drain(&mut reactor);
}

#[test]
fn a_heavy_command_that_is_cancelled_in_the_queue_lets_those_pass_that_it_held_up() {
    let mut reactor = Reactor::builder()
        .max_running(2)
        .build()
        .expect("a reactor");
    let mut stay = Stay::new(&[]);
    start(&mut reactor, &mut stay.command);
    let heavy = start(&mut reactor, shell("exit 0").weight(2));
    let light = start(&mut reactor, &mut shell("exit 0"));
    assert_eq!((reactor.running(), reactor.queued()), (1, 2));
    assert!(reactor.cancel(heavy));
    assert_eq!(wait_any(&mut reactor).id, heavy);
    assert!(
        reactor
            .wait(light)
            .expect("poll")
            .is_some_and(|done| done.success())
    );
    stay.release();
    drain(&mut reactor);
}

#[test]
fn a_deadline_that_does_not_count_the_queue_begins_with_the_start() {
    let (mut reactor, mut stay, first) = full();
    let context = Context::new().with_timeout(Duration::from_secs(1));
    let counted = start(&mut reactor, shell("exit 0").context(&context));
    let mut late = shell("exec sleep 60");
    late.context(&context).deadline_counts_queue(false);
    let late = start(&mut reactor, &mut late);
    let done = reactor.wait(counted).expect("poll").expect("it is here");
    assert_unstarted(&done, Cause::DeadlineExceeded);
    assert_eq!(context.cause(), Some(Cause::DeadlineExceeded));
    assert_eq!(
        (reactor.running(), reactor.queued()),
        (1, 1),
        "it still waits"
    );
    stay.release();
    assert!(reactor.wait(first).expect("poll").is_some());
    let done = reactor.wait(late).expect("poll").expect("it is here");
    let cause = done.outcome.as_ref().err().and_then(Error::cause);
    assert_eq!(cause, Some(Cause::DeadlineExceeded));
    assert!(done.started > context.deadline(), "it started in time");
    let elapsed = done.elapsed();
    assert!(
        elapsed > Duration::from_millis(200),
        "what was left: {elapsed:?}"
    );
}

#[test]
fn who_cancels_a_context_ends_also_those_whose_deadline_does_not_count_the_queue() {
    let (mut reactor, mut stay, first) = full();
    let context = Context::new().with_timeout(Duration::from_millis(700));
    let mut command = shell("exit 0");
    let id = start(
        &mut reactor,
        command.context(&context).deadline_counts_queue(false),
    );
    pass_ms(800);
    reactor.turn(NOW).expect("poll");
    assert_eq!(reactor.queued(), 1, "its deadline has passed");
    context.cancel();
    let done = reactor.wait(id).expect("poll").expect("it is here");
    assert_unstarted(&done, Cause::DeadlineExceeded);
    stay.release();
    assert!(reactor.wait(first).expect("poll").is_some());
}

#[test]
fn a_brake_lets_one_command_run_at_a_time() {
    let mut reactor = Reactor::builder().max_load(0.0).build().expect("a reactor");
    let ids: Vec<_> = (0..3)
        .map(|_| start(&mut reactor, &mut shell("exit 0")))
        .collect();
    assert_eq!((reactor.running(), reactor.queued()), (1, 2));
    let again = reactor.next_deadline();
    assert!(again.is_some(), "the load is looked at again");
    for id in ids {
        assert!(reactor.running() <= 1);
        assert!(reactor.wait(id).expect("poll").is_some());
    }
}

#[test]
fn a_brake_that_never_brakes_is_not_felt() {
    let limit = f64::MAX;
    let builder = Reactor::builder().max_load(limit);
    let built = builder
        .clone()
        .max_memory_pressure(limit)
        .max_cpu_pressure(limit)
        .build();
    let mut reactor = match built {
        Ok(reactor) => reactor,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains("/proc/pressure"), "{error}");
            builder.build().expect("a reactor")
        }
    };
    let mut stays: Vec<Stay> = (0..3).map(|_| Stay::new(&[])).collect();
    for stay in &mut stays {
        start(&mut reactor, &mut stay.command);
    }
    assert_eq!((reactor.running(), reactor.queued()), (3, 0));
    stays.iter_mut().for_each(Stay::release);
    drain(&mut reactor);
}

#[test]
fn a_command_of_a_handle_without_its_pool_ends_with_the_reason() {
    let mut reactor = reactor();
    let mut command = shell("exit 0");
    command.pool("link");
    let id = reactor.handle().start(command).expect("it is heard");
    let done = reactor.wait(id).expect("poll").expect("it is here");
    assert!(
        matches!(done.outcome, Err(Error::Start(StartError::Refused(why))) if why.contains("pool")),
        "{:?}",
        done.outcome
    );
}

#[test]
fn a_detached_command_leaves_its_place_in_its_pool_and_its_weight() {
    let builder = Reactor::builder().max_running(2).pool("link", 2);
    let mut reactor = builder.build().expect("a reactor");
    let mut stay = Stay::new(&[]);
    let heavy = start(&mut reactor, stay.command.pool("link").weight(2));
    let mut next = Stay::new(&[]);
    start(&mut reactor, next.command.pool("link").weight(2));
    assert_eq!((reactor.running(), reactor.queued()), (1, 1));
    assert!(reactor.detach(heavy).is_some());
    assert_eq!((reactor.running(), reactor.queued()), (1, 0));
    stay.release();
    next.release();
    drain(&mut reactor);
}

#[test]
fn a_thousand_commands_of_ten_pools_and_priorities_all_end_and_no_pool_holds_too_many() {
    let mut builder = Reactor::builder().max_running(12);
    for pool in 0..10 {
        builder = builder.pool(pool.to_string(), 1 + pool % 3);
    }
    let mut reactor = builder.build().expect("a reactor");
    let mut pools = std::collections::HashMap::new();
    for number in 0..1000_usize {
        let pool = number * 7 % 10;
        let mut command = Command::new("true");
        command.pool(pool.to_string()).priority((number % 5) as i32);
        pools.insert(start(&mut reactor, &mut command), pool);
    }
    let mut spans: Vec<Vec<_>> = vec![Vec::new(); 10];
    while let Some(done) = reactor.wait_any().expect("poll") {
        assert!(done.success(), "{:?}", done.outcome);
        let span = done.started.zip(done.drained).expect("it ran");
        spans[pools[&done.id]].push(span);
    }
    for (pool, spans) in spans.iter().enumerate() {
        assert_eq!(spans.len(), 100);
        for (start, _) in spans {
            let at_once = spans
                .iter()
                .filter(|(from, to)| from <= start && start < to);
            assert!(at_once.count() <= 1 + pool % 3, "pool {pool}");
        }
    }
}
