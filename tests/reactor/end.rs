//! The reactor's end, and a command that survives it: shutdown, drop, detach.
//! Unaware of how a single command is ended.

use super::*;

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
    let told = |id: CommandId| all.iter().find(|done| done.id == id).expect("handed out");
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
fn let_go_at_once_leaves_nothing_behind() {
    embed(&["let_go_at_once_leaves_nothing_behind"]);
}

#[test]
fn a_pipe_that_is_closed_at_once_is_closed() {
    embed(&["a_pipe_that_is_closed_at_once_is_closed"]);
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

/// Commands that are not to be killed: by their builder, and by their id, one in a group of its own.
fn survivors(reactor: &mut Reactor) -> [(Stay, CommandId); 2] {
    [true, false].map(|by_builder| {
        let mut stay = Stay::new(&["out=said"]);
        stay.command
            .stdout(Output::capture())
            .kill_on_drop(!by_builder);
        let id = start(reactor, stay.command.process_group(0));
        stay.pid();
        if !by_builder {
            assert!(reactor.set_kill_on_drop(id, false));
        }
        (stay, id)
    })
}

#[test]
fn what_is_not_to_be_killed_survives_a_drop() {
    let mut reactor = reactor();
    let mut survivors = survivors(&mut reactor);
    let mut killed = Stay::new(&[]);
    let id = start(&mut reactor, killed.command.kill_on_drop(false));
    killed.pid();
    assert!(reactor.set_kill_on_drop(id, true));
    drop(reactor);
    for (stay, _) in &mut survivors {
        assert!(stay.is_alive());
    }
    killed.wait_until_gone();
}

#[test]
fn whether_a_sent_command_is_killed_can_be_said_before_a_turn_takes_it() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    let mut stays = [true, false].map(|is_killed| {
        let mut stay = Stay::new(&[]);
        let mut command = std::mem::replace(&mut stay.command, Command::new(""));
        command.kill_on_drop(!is_killed);
        let id = handle.start(command).expect("it is there");
        assert!(reactor.set_kill_on_drop(id, is_killed));
        stay
    });
    reactor.turn(None).expect("poll");
    for stay in &mut stays {
        stay.pid();
    }
    drop(reactor);
    let [killed, survivor] = &mut stays;
    assert!(survivor.is_alive());
    killed.wait_until_gone();
}

#[test]
fn what_is_not_to_be_killed_survives_a_shutdown_and_is_not_handed_out() {
    let mut reactor = Reactor::builder()
        .max_running(3)
        .build()
        .expect("a reactor");
    let mut survivors = survivors(&mut reactor);
    let mut killed = Stay::new(&[]);
    let running = start(&mut reactor, &mut killed.command);
    killed.pid();
    let mut queued = shell("exit 0");
    let queued = start(&mut reactor, queued.kill_on_drop(false));
    assert_eq!((reactor.running(), reactor.queued()), (3, 1));
    let mut told: Vec<_> = reactor
        .shutdown()
        .expect("poll")
        .iter()
        .map(|done| done.id)
        .collect();
    told.sort();
    assert_eq!(told, [running, queued]);
    for (stay, _) in &mut survivors {
        assert!(stay.is_alive());
    }
}

#[test]
fn what_is_not_to_be_killed_is_a_command_as_any_other_while_the_reactor_lives() {
    let mut reactor = reactor();
    let [(mut first, one), (_second, two)] = survivors(&mut reactor);
    assert_eq!(reactor.running(), 2);
    first.release();
    let done = wait(&mut reactor, one);
    assert!(done.success() && done.stdout == b"said", "{done:?}");
    assert!(!reactor.set_kill_on_drop(one, false), "it was handed out");
    assert!(reactor.cancel(two));
    assert_eq!(
        word(&wait(&mut reactor, two)),
        "signal: SIGKILL (cancelled)"
    );
    let mut late = shell("sleep 1000");
    late.kill_on_drop(false).timeout(Duration::from_millis(1));
    let late = start(&mut reactor, &mut late);
    assert_eq!(
        word(&wait(&mut reactor, late)),
        "signal: SIGKILL (timed out)"
    );
}

#[test]
fn what_has_exited_is_ended_with_its_pipes_although_it_was_not_to_be_killed() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["orphan"]);
    stay.command.stdout(Output::capture()).kill_on_drop(false);
    let id = start(&mut reactor, &mut stay.command);
    stay.exit_unseen();
    turn_until_reaped(&mut reactor, id);
    let told = reactor.shutdown().expect("poll");
    assert_eq!(
        told.iter().map(word).collect::<Vec<_>>(),
        ["stopped: cancelled"]
    );
}
