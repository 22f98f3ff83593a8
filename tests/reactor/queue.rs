//! The queue: who waits for a place, who gets the next one, and what ends a command there.
//! Unaware of descriptors, which `limits.rs` counts.

use super::*;

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
        let ids: Vec<CommandId> = (0..24)
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

#[test]
fn cancel_or_kill_of_a_queued_command_ends_it_unstarted_and_lets_the_next_pass() {
    let (mut reactor, mut stay, first) = full();
    let ids: Vec<CommandId> = (0..4)
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
fn a_failure_that_the_system_tells_comes_by_the_finished_whether_the_queue_was_empty_or_not() {
    let mut unplaced = shell("exit 0");
    unplaced.current_dir("/no/such/directory");
    let mut ungrouped = shell("exit 0");
    ungrouped.process_group(i32::MAX);
    let faulty = [
        (Command::new("/nonexistent/program"), StartStep::Exec),
        (unplaced, StartStep::Chdir),
        (ungrouped, StartStep::ProcessGroup),
    ];
    let (mut idle, (mut busy, mut stay, first)) = (reactor(), full());
    let mut begun = Vec::new();
    for (mut command, step) in faulty {
        let at_once = start(&mut idle, &mut command);
        begun.push((at_once, start(&mut busy, &mut command), step));
    }
    assert_eq!((busy.running(), busy.queued()), (1, begun.len()));
    stay.release();
    assert!(wait(&mut busy, first).success());
    for (at_once, queued, expected) in begun {
        for done in [wait(&mut idle, at_once), wait(&mut busy, queued)] {
            let Err(Error::Start(StartError::Step { step, .. })) = done.outcome else {
                panic!("{expected}: {:?}", done.outcome)
            };
            assert_eq!(step, expected);
            assert_eq!((done.pid, done.status, done.started), (None, None, None));
        }
    }
    assert!(idle.is_empty() && busy.is_empty());
}

#[test]
fn what_is_wrong_with_the_command_itself_is_told_by_start_whether_the_queue_was_empty_or_not() {
    let (mut busy, _stay, _) = full();
    start(&mut busy, &mut shell("exit 0"));
    for mut reactor in [reactor(), busy] {
        let before = (reactor.running(), reactor.queued(), reactor.len());
        let mut refused = |command: &mut Command| reactor.start(command).expect_err("it is wrong");
        let over = Context::new();
        over.cancel();
        let mut used_up = shell("exit 0");
        used_up.stdin(Input::reader(io::empty()));
        used_up.run().expect("it runs once");
        let error = refused(&mut Command::new(""));
        assert!(matches!(error, StartError::NoCommand), "{error:?}");
        let error = refused(&mut Command::new("execloop-no-such-program"));
        assert!(matches!(error, StartError::LookPath(_)), "{error:?}");
        let error = refused(shell("exit 0").on_cancel(Cancel::kill().to_group()));
        assert!(matches!(error, StartError::Refused(_)), "{error:?}");
        let error = refused(shell("exit 0").arg("a\0b"));
        assert!(matches!(error, StartError::Nul { .. }), "{error:?}");
        let error = refused(&mut used_up);
        assert!(matches!(error, StartError::Consumed { .. }), "{error:?}");
        let error = refused(shell("exit 0").context(&over));
        assert!(matches!(error, StartError::Stopped(_)), "{error:?}");
        let after = (reactor.running(), reactor.queued(), reactor.len());
        assert_eq!(after, before);
        assert!(reactor.try_wait_any().is_none());
    }
}

/// One that has ended and was not taken, and one in the queue behind it.
fn one_finished_and_one_queued() -> (Reactor, [CommandId; 2]) {
    let builder = Reactor::builder().max_running(1).take_before_start(true);
    let mut reactor = builder.build().expect("a reactor");
    let ids = ["exit 1", "exit 0"].map(|script| start(&mut reactor, &mut shell(script)));
    while reactor.running() == 1 {
        reactor.turn(None).expect("poll");
    }
    for _ in 0..3 {
        reactor.turn(Some(Duration::ZERO)).expect("poll");
    }
    assert_eq!((reactor.running(), reactor.queued()), (0, 1));
    (reactor, ids)
}

#[test]
fn nothing_starts_before_the_finished_are_taken_if_that_is_asked_for() {
    let (mut reactor, [first, second]) = one_finished_and_one_queued();
    // Neither does what comes now, although there is room.
    let third = start(&mut reactor, &mut shell("exit 0"));
    assert_eq!((reactor.running(), reactor.queued()), (0, 2));
    assert_eq!(wait_any(&mut reactor).id, first);
    assert!(reactor.cancel(second));
    let (cancelled, last) = (wait_any(&mut reactor), wait_any(&mut reactor));
    assert_eq!((cancelled.id, cancelled.pid), (second, None));
    assert!(last.id == third && last.success());
    assert_eq!(reactor.stats().started, 2);
}

#[test]
fn an_outer_loop_is_woken_for_what_may_start_once_the_finished_are_taken() {
    let (mut reactor, _) = one_finished_and_one_queued();
    let mut poll = mio::Poll::new().expect("a poll");
    let mut events = mio::Events::with_capacity(8);
    let number = reactor.as_raw_fd();
    poll.registry()
        .register(
            &mut mio::unix::SourceFd(&number),
            mio::Token(0),
            mio::Interest::READABLE,
        )
        .expect("it is registered");
    // What is finished was told by then.
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    poll.poll(&mut events, Some(Duration::ZERO)).expect("poll");
    poll.poll(&mut events, Some(Duration::ZERO)).expect("poll");
    assert!(events.is_empty(), "an edge is told once");
    assert!(!reactor.try_wait_any().expect("it has ended").success());
    poll.poll(&mut events, None).expect("poll");
    assert!(!events.is_empty());
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!(reactor.queued(), 0);
    assert!(wait_any(&mut reactor).success());
}

#[test]
fn what_goes_to_who_sent_it_keeps_nobody_from_starting() {
    let builder = Reactor::builder().max_running(1).take_before_start(true);
    let mut reactor = builder.build().expect("a reactor");
    let handle = reactor.handle();
    let pending: Vec<_> = (0..3).map(|_| handle.run(shell("exit 0"))).collect();
    assert!(reactor.wait_any().expect("poll").is_none());
    assert!(pending.into_iter().all(|pending| pending.wait().success()));
}
