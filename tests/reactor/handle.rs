//! Handles: what other threads may say to a reactor, and when it is heard.
//! Unaware of contexts, which speak by the same way.

use super::*;

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
            let ids: Vec<CommandId> = stays
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
        let mut words: Vec<(CommandId, String)> = Vec::new();
        while words.len() < 4 {
            // Sleeps in here, woken from there. While there is no command yet, there is nothing to wait for.
            reactor.turn(None).expect("turn");
            while let Some(done) = reactor.try_wait_any() {
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
fn command_that_was_sent_just_before_is_not_started_once_it_is_cancelled_or_killed() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    for stop in [Reactor::cancel, Reactor::kill] {
        let id = handle.start(shell("exit 0")).expect("a reactor");
        let (told, heard) = std::sync::mpsc::channel();
        let other = handle.run_then(shell("exit 0"), move |finished| {
            told.send(finished.id).expect("somebody hears");
        });
        let other = other.expect("a reactor");
        assert!(stop(&mut reactor, id) && stop(&mut reactor, other));
        assert_eq!(heard.try_recv(), Ok(other));
        let done = wait(&mut reactor, id);
        let Err(Error::Start(StartError::Stopped(Cause::Cancelled))) = done.outcome else {
            panic!("{:?}", done.outcome);
        };
        assert!(!stop(&mut reactor, id), "it is over");
    }
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
fn a_reply_that_starts_the_next_command_is_waited_for() {
    let mut reactor = reactor();
    let (handle, next) = (reactor.handle(), reactor.handle());
    let refused = Command::new("no-such-program");
    handle.run_then(refused, move |_| {
        next.start(shell("exit 5")).expect("it is there");
    });
    assert_eq!(word(&wait_any(&mut reactor)), "exit status 5");
    assert!(reactor.wait_any().expect("poll").is_none());
}

#[test]
fn a_start_that_fails_before_a_turn_sleeps_and_whose_reply_takes_it_ends_the_wait() {
    let mut reactor = Reactor::builder()
        .max_running(1)
        .take_before_start(true)
        .build()
        .expect("a reactor");
    let handle = reactor.handle();
    let id = start(&mut reactor, &mut shell("exit 5"));
    // Such a start waits for the exec, and fails at once.
    let mut refused = Command::new("/no/such/program");
    refused.session(true);
    handle.run_then(refused, |done| assert!(done.outcome.is_err()));
    assert_eq!(word(&wait(&mut reactor, id)), "exit status 5");
    assert!(reactor.wait_any().expect("poll").is_none());
}
