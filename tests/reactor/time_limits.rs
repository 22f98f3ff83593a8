//! A command's own time limits: its timeout, and that for silence.
//! Unaware of contexts and wait delays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::common::now::now;

#[test]
fn limits_beyond_the_end_of_the_clock_are_no_limits() {
    for long in [Duration::MAX, Duration::from_secs(i64::MAX as u64 / 2)] {
        let mut reactor = reactor();
        let context = Context::new().with_timeout(long);
        let mut stay = Stay::new(&["ignore=TERM"]);
        stay.command
            .stdout(Output::capture())
            .context(&context)
            .timeout(long)
            .idle_timeout(long)
            .wait_delay(long)
            .on_cancel(Cancel::signal(Signal::TERM).then(long, Signal::KILL));
        let id = start(&mut reactor, &mut stay.command);
        stay.pid();
        reactor.turn(NOW).expect("turn");
        assert!(stay.is_alive());
        context.cancel();
        reactor.turn(NOW).expect("turn");
        assert!(stay.is_alive());
        stay.release();
        assert_eq!(word(&wait(&mut reactor, id)), "stopped: cancelled");
    }
}

#[test]
fn limits_of_zero_end_a_command_in_the_first_turn() {
    for idle in [false, true] {
        let mut reactor = reactor();
        let mut stay = Stay::new(&[]);
        stay.command.stdout(Output::capture());
        if idle {
            stay.command.idle_timeout(Duration::ZERO);
        } else {
            stay.command.timeout(Duration::ZERO);
        }
        let id = start(&mut reactor, &mut stay.command);
        let expected = if idle {
            "timed out without output"
        } else {
            "timed out"
        };
        let done = wait(&mut reactor, id);
        assert_eq!(word(&done), format!("signal: SIGKILL ({expected})"));
    }
}

#[test]
fn timeout_ends_a_command_as_a_context_would() {
    for words in [&[][..], &["ignore=TERM"]] {
        let mut reactor = reactor();
        let mut stay = Stay::new(words);
        stay.command
            .timeout(Duration::from_millis(20))
            .interrupt(Signal::TERM)
            .wait_delay(Duration::from_millis(10));
        // No turn is made before it is ready, so a child that is slow to come up is not ended before.
        let id = start(&mut reactor, &mut stay.command);
        stay.pid();
        let done = wait(&mut reactor, id);
        let signal = if words.is_empty() {
            "SIGTERM"
        } else {
            "SIGKILL"
        };
        assert_eq!(word(&done), format!("signal: {signal} (timed out)"));
        assert!(done.elapsed() >= Duration::from_millis(20));
    }
}

#[test]
fn idle_timeout_starts_again_with_each_output() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["say=USR1"]);
    stay.command
        .stdout(Output::capture())
        .idle_timeout(Duration::from_millis(20));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    for _ in 0..3 {
        reactor.signal(id, Signal::USR1).expect("it runs");
        // The handler has run before the answer comes, so its line is in the pipe.
        assert!(stay.is_alive());
        pass_ms(30);
        // The deadline has passed, and output came before it was looked at.
        reactor.turn(NOW).expect("turn");
        assert_eq!(reactor.running(), 1);
        assert!(stay.is_alive());
    }
    let done = wait(&mut reactor, id);
    assert_eq!(word(&done), "signal: SIGKILL (timed out without output)");
    assert_eq!(done.stdout, b"USR1\n".repeat(3));
    assert!(done.elapsed() >= Duration::from_millis(110));
}

#[test]
fn idle_timeout_minds_stderr_too_and_not_what_the_caller_reads_himself() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["out=x", "err=y"]);
    stay.command
        .stdout(Output::pipe())
        .stderr(Output::capture())
        .idle_timeout(Duration::from_millis(20));
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    pass_ms(30);
    reactor.turn(NOW).expect("turn");
    assert_eq!(reactor.running(), 1, "stderr's output counts");
    assert!(stay.is_alive());
    let mut read = [0];
    reactor
        .stdout(id)
        .expect("a pipe")
        .read_exact(&mut read)
        .expect("read");
    assert_eq!(
        word(&wait(&mut reactor, id)),
        "signal: SIGKILL (timed out without output)"
    );
}

/// 2^32 milliseconds and one, and 2^31: where a timeout is cut to 32 bits, they are over at once, and the loop spins.
#[test]
fn turn_with_a_timeout_of_weeks_sleeps_until_the_exit() {
    const TURNS_MAX: usize = 1000;
    for timeout_ms in [(1 << 32) + 1, 1 << 31] {
        let mut reactor = reactor();
        let id = start(&mut reactor, Command::new("sleep").arg("0.1"));
        let mut turns = 0;
        let done = loop {
            if let Some(done) = reactor.try_wait_any() {
                break done;
            }
            turns += 1;
            assert!(turns < TURNS_MAX, "it spins");
            let turned = reactor.turn(Some(Duration::from_millis(timeout_ms)));
            turned.expect("a poll");
        };
        assert_eq!(done.id, id);
    }
}

#[test]
fn a_wait_for_any_ends_with_its_time_and_with_the_first_that_is_finished() {
    let mut reactor = reactor();
    let none = reactor
        .wait_any_timeout(Duration::from_secs(1000))
        .expect("poll");
    assert!(none.is_none(), "there is nothing to wait for");
    let mut stay = Stay::new(&["end=3"]);
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    let short = Duration::from_millis(30);
    let before = now();
    assert!(reactor.wait_any_timeout(short).expect("poll").is_none());
    assert!(now() - before >= short && reactor.len() == 1);
    assert!(
        reactor
            .wait_any_timeout(Duration::ZERO)
            .expect("poll")
            .is_none()
    );
    stay.release();
    let done = reactor.wait_any_timeout(Duration::MAX).expect("poll");
    assert_eq!(done.map(|done| done.id), Some(id));
}

#[test]
fn a_turn_returns_at_the_callers_time_and_the_deadlines_are_told() {
    let mut reactor = reactor();
    assert_eq!(reactor.next_deadline(), None);
    let begin = now();
    let (first, last) = (
        begin + Duration::from_millis(20),
        begin + Duration::from_millis(40),
    );
    for at in [last, first, first] {
        reactor.wake_at(at);
    }
    for at in [first, last] {
        assert_eq!(reactor.next_deadline(), Some(at));
        while reactor.next_deadline() == Some(at) {
            // Without the timer this would sleep for ever.
            reactor.turn(None).expect("turn");
        }
        assert!(now() >= at);
    }
    assert_eq!(reactor.next_deadline(), None);
    let mut sleeper = Command::new("sleep");
    let id = start(
        &mut reactor,
        sleeper.arg("1000").timeout(Duration::from_secs(500)),
    );
    while reactor
        .next_deadline()
        .is_some_and(|at| at < begin + Duration::from_secs(400))
    {
        reactor.turn(None).expect("turn");
    }
    assert!(reactor.next_deadline() >= Some(begin + Duration::from_secs(500)));
    assert!(reactor.kill(id));
}

/// A command that ends before its limit, in a turn that a callback of another one makes longer than that limit.
#[track_caller]
fn ends_before_its_limit(limit: impl Fn(&mut Command, Duration)) {
    let mut left = Duration::from_millis(200);
    loop {
        let mut reactor = reactor();
        let mut stay = Stay::new(&[]);
        limit(&mut stay.command, left);
        let until = now() + left;
        let id = start(&mut reactor, &mut stay.command);
        stay.pid();
        let was_in_time = Arc::new(AtomicBool::new(false));
        let tells = Arc::clone(&was_in_time);
        let callback = move |_: &[u8]| {
            stay.exit_unseen();
            tells.store(now() < until, Ordering::Relaxed);
            while now() <= until + left {
                std::thread::yield_now();
            }
        };
        let mut other = Command::new("echo");
        start(&mut reactor, other.stdout(Output::lines(callback)));
        let done = wait(&mut reactor, id);
        if was_in_time.load(Ordering::Relaxed) {
            return assert_eq!(word(&done), "ok");
        }
        left *= 2;
    }
}

#[test]
fn what_ended_before_its_limit_counts_where_the_loop_was_late() {
    ends_before_its_limit(|command, left| {
        command.timeout(left);
    });
    ends_before_its_limit(|command, left| {
        command.context(&Context::new().with_timeout(left));
    });
    ends_before_its_limit(|command, left| {
        let context = Context::new().with_timeout(left);
        command.context(&context).deadline_counts_queue(false);
    });
}
