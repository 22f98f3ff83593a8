//! Signals to one process: whom they reach, and that they reach nobody else.
//! Unaware of groups.

use super::*;

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
fn a_handle_signals_the_process_or_its_group() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    let mut stay = Stay::new(&["orphan"]);
    stay.command.process_group(0);
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    handle.signal_group(id, Signal::KILL);
    assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL");
    stay.wait_until_gone();
}
