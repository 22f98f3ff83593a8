//! Process groups: signals to them, and what is left of them when their leader is gone.
//! Unaware of signals to one process.

use super::*;

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
fn a_leader_that_has_left_its_group_is_asked_and_killed_like_any_other() {
    for (words, signal) in [
        (&["leave-group"][..], "SIGTERM"),
        (&["leave-group", "ignore=TERM"], "SIGKILL"),
        // Somebody is left in the group.
        (&["leave-group", "orphan"], "SIGTERM"),
    ] {
        let mut reactor = reactor();
        let mut stay = Stay::new(words);
        stay.command
            .process_group(0)
            .on_cancel(Cancel::signal(Signal::TERM).to_group())
            .wait_delay(Duration::from_millis(10));
        let id = start(&mut reactor, &mut stay.command);
        stay.pid();
        assert!(reactor.cancel(id));
        assert_eq!(
            word(&wait(&mut reactor, id)),
            format!("signal: {signal} (cancelled)")
        );
    }
    let mut reactor = reactor();
    let mut stay = Stay::new(&["leave-group"]);
    stay.command
        .process_group(0)
        .on_cancel(Cancel::kill().to_group());
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    assert!(reactor.kill(id));
    assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL (cancelled)");
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
            .on_cancel(cancel);
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
        .on_cancel(Cancel::signal(Signal::TERM).to_group())
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
        .on_cancel(Cancel::kill().to_group());
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
            .on_cancel(Cancel::signal(Signal::TERM).to_group());
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
        .on_cancel(Cancel::kill().to_group())
        .wait_delay(Duration::from_millis(1));
    let id = start(&mut reactor, &mut stay.command);
    stay.exit_unseen();
    assert_eq!(word(&wait(&mut reactor, id)), "wait delay");
    assert!(stay.is_alive());
}

#[test]
fn to_group_without_a_group_of_its_own_is_refused() {
    let error = reactor()
        .start(shell("exit 0").on_cancel(Cancel::kill().to_group()))
        .expect_err("a contradiction");
    assert!(matches!(error, StartError::Refused(_)), "{error:?}");
}
