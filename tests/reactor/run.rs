//! Results with an address: what was sent by a handle comes back to who sent it.
//! Unaware of what else a handle says.

use super::*;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;

use execloop::Handle;

/// Who waits for a future by parking.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Parked>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Turns the reactor on this thread until the caller on another one has what it wants.
fn drive<T: Send>(reactor: &mut Reactor, caller: impl FnOnce(Handle) -> T + Send) -> T {
    let handle = reactor.handle();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let answer = caller(handle.clone());
            is_over.store(true, Ordering::Release);
            handle.wake();
            answer
        });
        while !is_over.load(Ordering::Acquire) {
            reactor.turn(None).expect("turn");
        }
        caller.join().expect("no panic")
    })
}

fn prints(text: &str) -> Command {
    let mut command = shell(&format!("echo {text}"));
    command.stdout(Output::capture());
    command
}

/// Why nothing was told of a command.
#[track_caller]
fn assert_abandoned(done: &Finished) {
    let Err(Error::Reactor(error)) = &done.outcome else {
        panic!("{:?}", done.outcome);
    };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!((done.pid, done.status), (None, None));
}

#[test]
fn each_caller_gets_its_own_results_and_the_reactor_hands_out_none_of_them() {
    let mut reactor = reactor();
    let others = start(&mut reactor, &mut shell("exit 3"));
    drive(&mut reactor, |handle| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let handle = handle.clone();
                scope.spawn(move || {
                    let sent: Vec<_> = (0..8)
                        .map(|number| {
                            let text = format!("{thread} {number}");
                            let pending = handle.run(prints(&text));
                            (text, pending)
                        })
                        .collect();
                    for (text, pending) in sent {
                        let id = pending.id();
                        let done = pending.wait();
                        assert_eq!((done.id, done.success()), (id, true));
                        assert_eq!(done.stdout, format!("{text}\n").into_bytes());
                    }
                });
            }
        });
    });
    assert_eq!(wait_any(&mut reactor).id, others);
    assert!(reactor.wait_any().expect("poll").is_none());
}

#[test]
fn a_run_is_a_future_without_a_runtime() {
    let mut reactor = reactor();
    let (one, two) = drive(&mut reactor, |handle| {
        let (one, two) = (handle.run(prints("one")), handle.run(shell("exit 2")));
        block_on(async { (one.await, two.await) })
    });
    assert_eq!(one.stdout, b"one\n");
    assert_eq!(word(&two), "exit status 2");
}

#[test]
fn a_dropped_future_cancels_its_command() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let command = std::mem::replace(&mut stay.command, Command::new("true"));
    let mut stay = drive(&mut reactor, |handle| {
        let mut pending = Box::pin(handle.run(command));
        stay.pid();
        let mut nobody = TaskContext::from_waker(Waker::noop());
        assert!(pending.as_mut().poll(&mut nobody).is_pending());
        drop(pending);
        stay
    });
    assert!(reactor.wait_any().expect("poll").is_none());
    stay.wait_until_gone();
}

#[test]
fn a_run_that_cannot_be_started_is_told_the_same_way() {
    let mut reactor = reactor();
    drive(&mut reactor, |handle| {
        for command in [Command::new("/nonexistent"), Command::new("")] {
            let done = handle.run(command).wait();
            assert!(matches!(done.outcome, Err(Error::Start(_))), "{done:?}");
        }
    });
}

#[test]
fn a_shut_down_tells_who_waits() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    let mut stay = Stay::new(&[]);
    let running = handle.run(std::mem::replace(&mut stay.command, Command::new("true")));
    reactor.turn(NOW).expect("turn");
    stay.pid();
    let unheard = handle.run(shell("exit 0"));
    assert!(reactor.shutdown().expect("shut down").is_empty());
    assert!(word(&running.wait()).starts_with("signal: SIGKILL"));
    let done = unheard.wait();
    assert!(
        matches!(done.outcome, Err(Error::Start(StartError::ShutDown))),
        "{done:?}"
    );
}

#[test]
fn a_run_whose_reactor_is_gone_or_has_let_it_go_says_so() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    let mut stays = [Stay::new(&[]), Stay::new(&[])];
    let [let_go, running] = stays
        .each_mut()
        .map(|stay| handle.run(std::mem::replace(&mut stay.command, Command::new("true"))));
    reactor.turn(NOW).expect("turn");
    stays.iter_mut().for_each(|stay| {
        stay.pid();
    });
    assert!(reactor.detach(let_go.id()).is_some());
    assert_abandoned(&let_go.wait());
    stays[0].release();
    let unheard = handle.run(shell("exit 0"));
    drop(reactor);
    let late = handle.run(shell("exit 0"));
    for pending in [running, unheard, late] {
        assert_abandoned(&pending.wait());
    }
}

#[test]
fn a_callback_has_the_callers_data_and_its_panic_stays_its_own() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    let (sender, receiver) = mpsc::channel();
    let panics = handle.run_then(shell("exit 0"), |done| panic!("{done:?}"));
    assert!(panics.is_some());
    for data in ["left", "right"] {
        let sender = sender.clone();
        let then = move |done: Finished| sender.send((data, done.stdout)).expect("he listens");
        handle.run_then(prints(data), then).expect("it is there");
    }
    assert!(reactor.wait_any().expect("poll").is_none());
    let mut told: Vec<_> = receiver.try_iter().collect();
    told.sort();
    let expected = [("left", b"left\n".to_vec()), ("right", b"right\n".to_vec())];
    assert_eq!(told, expected);
    drop(reactor);
    assert!(handle.run_then(shell("exit 0"), |_| ()).is_none());
}

#[test]
fn a_callback_that_nobody_will_call_is_dropped() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    let (sender, receiver) = mpsc::channel::<Finished>();
    let mut stay = Stay::new(&[]);
    let command = std::mem::replace(&mut stay.command, Command::new("true"));
    let then = move |done| sender.send(done).expect("he listens");
    handle.run_then(command, then).expect("it is there");
    reactor.turn(NOW).expect("turn");
    stay.pid();
    drop(reactor);
    assert_eq!(receiver.recv().ok().map(|done| done.id), None);
}

#[test]
fn a_reactor_serves_until_the_last_handle_is_gone() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    let (sender, ids) = mpsc::channel();
    let caller = std::thread::spawn(move || {
        // One that the server hands out, and one that goes to who waits, each after a while without any command.
        sender.send(handle.start(shell("exit 3"))).expect("heard");
        let pending = handle.run(shell("exit 4"));
        drop(handle);
        word(&pending.wait())
    });
    let done = reactor.serve().expect("poll").expect("the first");
    assert_eq!(Some(done.id), ids.recv().expect("sent"));
    assert!(reactor.serve().expect("poll").is_none());
    assert!(reactor.is_served());
    assert_eq!(caller.join().expect("no panic"), "exit status 4");
    assert!(reactor.serve().expect("poll").is_none(), "and again");
}

#[test]
fn what_the_last_handle_has_sent_is_served() {
    let mut reactor = reactor();
    let id = reactor.handle().start(shell("exit 5"));
    let done = reactor.serve().expect("poll").expect("sent before");
    assert_eq!(
        (Some(done.id), word(&done)),
        (id, "exit status 5".to_owned())
    );
    let pending = reactor.handle().run(shell("exit 6"));
    drop(pending);
    assert!(!reactor.is_served(), "it was not heard of yet");
    assert!(reactor.serve().expect("poll").is_none());
}

#[test]
fn a_submitted_command_has_every_failure_in_its_end() {
    let mut reactor = reactor();
    for program in ["", "no-such-program-anywhere", "/no/such/program"] {
        let id = reactor.submit(Command::new(program));
        let done = wait(&mut reactor, id);
        let is_start = matches!(done.outcome, Err(Error::Start(_)));
        assert!(is_start && done.pid.is_none(), "{done:?}");
    }
    let id = reactor.submit(shell("exit 9").arg("a chain"));
    assert_eq!(word(&wait(&mut reactor, id)), "exit status 9");
}
