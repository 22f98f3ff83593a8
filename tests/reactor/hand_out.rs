//! How commands are handed out: once each, by `wait_any`, by `wait`, and between turns.
//! Unaware of who may start.

use super::*;

#[test]
fn every_command_is_handed_out_once_and_then_there_are_none() {
    let mut reactor = reactor();
    let mut ids: BTreeSet<CommandId> = (0..20)
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
fn turn_and_try_wait_do_not_wait_for_a_running_command() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    reactor.turn(NOW).expect("turn");
    assert!(reactor.try_wait_any().is_none());
    assert_eq!(
        (reactor.len(), reactor.running(), reactor.queued()),
        (1, 1, 0)
    );
    stay.exit_unseen();
    assert!(reactor.try_wait_any().is_none(), "it does not turn");
    reactor.turn(NOW).expect("turn");
    assert_eq!((reactor.len(), reactor.running()), (1, 0));
    assert_eq!(reactor.try_wait_any().map(|done| done.id), Some(id));
    assert!(reactor.is_empty());
}

#[test]
fn try_wait_hands_out_that_command_once_and_no_other() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let long = start(&mut reactor, &mut stay.command);
    let mut ids: Vec<CommandId> = (0..3)
        .map(|_| start(&mut reactor, &mut Command::new("true")))
        .collect();
    while reactor.running() > 1 {
        reactor.turn(None).expect("turn");
    }
    let middle = ids.remove(1);
    assert!(reactor.try_wait(long).is_none(), "it runs");
    let done = reactor.try_wait(middle).expect("it is finished");
    assert!(done.id == middle && done.success());
    assert!(reactor.try_wait(middle).is_none(), "it was handed out");
    let rest: Vec<CommandId> = std::iter::from_fn(|| reactor.try_wait_any())
        .map(|done| done.id)
        .collect();
    assert!(rest.len() == 2 && ids.iter().all(|id| rest.contains(id)));

    let mut other = Reactor::new().expect("a reactor");
    assert!(other.try_wait(long).is_none(), "another reactor's");
    stay.exit_unseen();
    assert!(reactor.try_wait(long).is_none(), "it does not turn");
    while reactor.running() > 0 {
        reactor.turn(None).expect("turn");
    }
    assert_eq!(reactor.try_wait(long).map(|done| done.id), Some(long));
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
                start_error(&mut reactor, &mut Command::new("/nonexistent"));
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
fn two_hundred_commands_finish_beside_one_that_writes_for_ever() {
    let mut reactor = reactor();
    let endless = start(
        &mut reactor,
        Command::new("cat")
            .arg("/dev/zero")
            .stdout(Output::capture_ends(1)),
    );
    let mut short: BTreeSet<CommandId> = (0..200)
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
fn a_command_that_a_handle_has_sent_is_none_yet_but_no_reactor_is_empty_with_it() {
    let mut reactor = reactor();
    let mut id = reactor.handle().start(shell("exit 0"));
    assert_eq!((reactor.len(), reactor.is_empty()), (0, false));
    while !reactor.is_empty() {
        reactor.turn(None).expect("turn");
        while let Some(done) = reactor.try_wait_any() {
            assert_eq!(Some(done.id), id.take());
        }
    }
    assert_eq!(id, None, "it was handed out");
}
