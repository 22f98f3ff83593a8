//! Cancel actions: the ladder, the stronger word, callbacks and what they are lent.
//! Unaware of outcomes' fine print, which `matrix.rs` holds.

use super::*;

#[test]
fn ladder_goes_on_rung_by_rung_while_the_command_runs() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["say=INT", "say=HUP"]);
    let ladder = Cancel::signal(Signal::INT)
        .then(Duration::from_millis(5), Signal::HUP)
        .then(Duration::from_millis(5), Signal::TERM)
        .then(Duration::from_secs(600), Signal::KILL);
    stay.command.stdout(Output::capture()).on_cancel(ladder);
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
fn callbacks_may_speak_to_their_own_reactor_through_a_handle() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let (in_line, in_cancel) = (reactor.handle(), reactor.handle());
    stay.command.on_cancel(Cancel::with(move |child| {
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
        .on_cancel(Cancel::signal(Signal::INT).then(Duration::from_secs(600), Signal::TERM))
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
        .on_cancel(Cancel::nothing().then(Duration::from_millis(10), Signal::TERM));
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
        .on_cancel(Cancel::with(move |child| {
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
fn a_second_cancel_skips_to_the_end_of_the_ladder_and_no_other_request_counts_for_one() {
    let mut reactor = reactor();
    let context = Context::new();
    let mut stay = Stay::new(&["ignore=INT"]);
    let pending = {
        let mut pended = Stay::new(&["ignore=INT"]);
        pended.command.interrupt(Signal::INT);
        let pending = reactor.handle().run(&mut pended.command);
        reactor.turn(NOW).expect("turn");
        pended.pid();
        (pending, pended)
    };
    stay.command.interrupt(Signal::INT).context(&context);
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    context.cancel();
    reactor.turn(NOW).expect("turn");
    // Its context was no call, and the first is none to hurry.
    assert!(reactor.cancel(id));
    reactor.turn(NOW).expect("turn");
    assert!(stay.is_alive());
    assert!(reactor.cancel(id));
    assert_eq!(word(&wait(&mut reactor, id)), "signal: SIGKILL (cancelled)");
    // Nor is a future that is dropped after a call.
    let (pending, mut pended) = pending;
    assert!(reactor.cancel(pending.id()));
    drop(pending);
    reactor.turn(NOW).expect("turn");
    assert!(pended.is_alive());
}
