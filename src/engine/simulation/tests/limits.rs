//! Time limits in certain orders of events: what counts for them, and what does not.
//! Unaware of the seeds.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::error::{Error, is_panic};

#[test]
fn time_that_passes_inside_a_turn_is_not_taken_from_who_leaves_the_queue_in_it() {
    let (world, mut engine) = calm(1);
    engine.admission = Admission::new(1, u64::MAX);
    let mut first = command(
        &world,
        Script {
            acts: vec![Act::Write(1, 100)],
            ..Script::default()
        },
    );
    first.stdout(Output::lines(|_| spend(Duration::from_millis(600))));
    engine.start(&mut first).expect("it starts");
    let mut queued = command(&world, sleep(Duration::from_millis(100)));
    queued.timeout(Duration::from_millis(400));
    let queued = engine.start(&mut queued).expect("it waits");
    let finished = finish(&mut engine, queued);
    assert!(finished.success(), "{:?}", finished.outcome);
    let lasted = finished.elapsed();
    assert!(lasted < Duration::from_millis(110), "{lasted:?}");
}

/// A writer that takes nothing before it is let.
struct Gate(Arc<AtomicBool>);

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.load(Ordering::Relaxed) {
            Ok(bytes.len())
        } else {
            Err(ErrorKind::WouldBlock.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_has_refused_can_be_resumed_between_the_exit_and_the_cut_however_long_a_turn_takes()
{
    let (world, mut engine) = calm(1);
    let (time, delay) = (Duration::from_millis(10), Duration::from_millis(1));
    let is_open = Arc::new(AtomicBool::new(false));
    let writes_first = Script {
        acts: vec![Act::Write(1, 100), Act::Sleep(time)],
        ..Script::default()
    };
    let mut refused = command(&world, writes_first);
    refused.stdout(Output::writer(Gate(Arc::clone(&is_open))));
    let refused = engine.start(refused.wait_delay(delay)).expect("it starts");
    // When that one exits, others write what takes its reader longer than the delay.
    for _ in 0..20 {
        let writes_late = Script {
            acts: vec![Act::Sleep(time), Act::Write(1, 100)],
            ..Script::default()
        };
        let mut other = command(&world, writes_late);
        other.stdout(Output::lines(move |_| spend(2 * delay)));
        engine.start(&mut other).expect("it starts");
    }
    while engine
        .table
        .running(0)
        .is_some_and(|running| running.reaped.is_none())
    {
        engine.turn(None).expect("the weather is calm");
    }
    assert!(engine.take_finished(refused).is_none(), "cut already");
    is_open.store(true, Ordering::Relaxed);
    engine.resume(refused);
    let finished = finish(&mut engine, refused);
    assert!(finished.success(), "{:?}", finished.outcome);
}

#[test]
fn a_start_that_takes_long_is_not_taken_from_the_time_of_its_command() {
    let (world, mut engine) = calm(1);
    world.borrow_mut().weather.slow_starts = 1;
    for _ in 0..20 {
        let mut limited = command(&world, sleep(Duration::from_millis(10)));
        limited.timeout(Duration::from_millis(11));
        let limited = engine.start(&mut limited).expect("it starts");
        let finished = finish(&mut engine, limited);
        assert!(finished.success(), "{:?}", finished.outcome);
    }
}

#[test]
fn a_time_limit_counts_from_the_birth_where_the_exec_takes_long() {
    let limit = Duration::from_secs(1);
    for exec_takes in [limit / 2, limit * 100] {
        let (world, mut engine) = calm(1);
        world.borrow_mut().weather.late_execs = 1;
        let script = Script {
            exec_takes: Some(exec_takes),
            ..sleep(limit * 100)
        };
        let mut limited = command(&world, script);
        let limited = engine.start(limited.timeout(limit)).expect("it starts");
        let finished = finish(&mut engine, limited);
        let cause = finished.outcome.as_ref().err().and_then(Error::cause);
        assert_eq!(cause, Some(Cause::Timeout), "{:?}", finished.outcome);
        let late = finished.elapsed().saturating_sub(limit);
        assert!(late < Duration::from_millis(1), "{late:?}");
    }
}

#[test]
fn what_the_caller_reads_counts_against_silence() {
    let (world, mut engine) = calm(1);
    let word = [Act::Write(1, 1), Act::Sleep(Duration::from_millis(80))];
    let mut acts: Vec<_> = word.iter().cycle().take(10).cloned().collect();
    acts.push(Act::Sleep(Duration::from_secs(1)));
    let talks = Script {
        acts,
        ..Script::default()
    };
    let mut talks = command(&world, talks);
    talks
        .stdout(Output::pipe())
        .idle_timeout(Duration::from_millis(100));
    let id = engine.start(&mut talks).expect("it starts");
    let mut read = 0;
    while engine
        .read_callers_pipe(id, Stream::Stdout, &mut [0; 8], Patience::Waits)
        .is_ok_and(|count| count > 0)
    {
        read += 1;
    }
    assert_eq!(read, 5);
    let error = finish(&mut engine, id).outcome.expect_err("it fell silent");
    assert_eq!(error.cause(), Some(Cause::IdleTimeout));
}

#[test]
fn an_exit_that_came_before_the_time_limit_counts_also_where_the_loop_was_late() {
    let (world, mut engine) = calm(1);
    // One event a turn, and one turn takes longer than the limit of all the others.
    world.borrow_mut().weather.batch_max = 1;
    let mut slow = command(
        &world,
        Script {
            acts: vec![Act::Sleep(Duration::from_millis(5)), Act::Write(1, 100)],
            ..Script::default()
        },
    );
    slow.stdout(Output::lines(|_| spend(Duration::from_secs(1))));
    engine.start(&mut slow).expect("it starts");
    let limited: Vec<_> = (0..20)
        .map(|_| {
            let mut short = command(&world, sleep(Duration::from_millis(10)));
            short.timeout(Duration::from_millis(500));
            engine.start(&mut short).expect("it starts")
        })
        .collect();
    for id in limited {
        let finished = finish(&mut engine, id);
        assert!(finished.success(), "{:?}", finished.outcome);
    }
}

#[test]
fn a_limit_that_came_before_the_exit_was_found_ends_the_command_in_the_turn_that_finds_it() {
    let (world, mut engine) = calm(1);
    let parent = Script {
        acts: vec![Act::Fork(Rc::new(sleep(Duration::from_secs(1000))))],
        ..Script::default()
    };
    let mut held = command(&world, parent);
    held.stdout(Output::capture())
        .timeout(Duration::from_millis(20));
    let held = engine.start(&mut held).expect("it starts");
    // The caller stays away while the child exits and the orphan's time runs out.
    Simulated::dawdle(&world, Duration::from_millis(100));
    engine.turn(None).expect("the weather is calm");
    let finished = engine.take_finished(held).expect("it is over at once");
    assert_eq!(finished.leaked, [Stream::Stdout]);
}

#[test]
fn an_orphan_that_writes_without_end_does_not_put_off_the_leak_timeout() {
    let (world, mut engine) = calm(1);
    let endless = Script {
        acts: vec![Act::Write(1, usize::MAX)],
        survives_pipe: true,
        ..Script::default()
    };
    let parent = Script {
        acts: vec![Act::Fork(Rc::new(endless)), Act::Exit(0)],
        ..Script::default()
    };
    let mut command = command(&world, parent);
    command
        .stdout(Output::capture_ends(100))
        .leak_timeout(Duration::from_millis(50));
    let id = engine.start(&mut command).expect("it starts");
    for _ in 0..1000 {
        Simulated::dawdle(&world, Duration::from_millis(1));
        engine.turn(None).expect("the weather is calm");
        if let Some(finished) = engine.take_finished(id) {
            assert_eq!(finished.leaked, [Stream::Stdout]);
            return;
        }
    }
    panic!("it is read without end");
}

/// How many of those that are queued, or sent, one turn starts where each start takes its time.
fn started_in_a_turn(queue: impl FnOnce(&Shared, &mut Engine<Simulated>)) -> (u64, Duration) {
    let (world, mut engine) = calm(1);
    world.borrow_mut().weather.slow_starts = 1;
    queue(&world, &mut engine);
    let before = engine.stats.started;
    engine
        .turn(Some(Duration::ZERO))
        .expect("the weather is calm");
    assert!(engine.is_unannounced(), "who is left is not forgotten");
    let started = engine.stats.started - before;
    while engine.unfinished() > 0 || engine.has_messages() {
        engine.turn(None).expect("the weather is calm");
    }
    assert_eq!(engine.table.finished(), 100);
    (started, engine.stats.turn_max)
}

#[test]
fn starts_that_take_their_time_are_not_all_in_one_turn_which_would_put_off_all_limits() {
    let script = || sleep(Duration::from_millis(1));
    let (started, turn) = started_in_a_turn(|world, engine| {
        engine.admission = Admission::new(1, u64::MAX);
        for _ in 0..100 {
            let mut command = command(world, script());
            engine.start(&mut command).expect("it waits");
        }
        engine.admission.set_running_max(usize::MAX);
    });
    assert!((1..10).contains(&started), "{started}");
    assert!(
        turn > Duration::from_millis(1),
        "it counts what came before the poll: {turn:?}"
    );
    let (started, _) = started_in_a_turn(|world, engine| {
        for _ in 0..100 {
            let number = engine.inbox().take_number();
            let command = Box::new(command(world, script()));
            engine.inbox().send(Message::Start(number, command));
        }
    });
    assert!((1..10).contains(&started), "{started}");
}

/// A writer whose first flush panics.
struct Fragile(bool);

impl Write for Fragile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        assert!(std::mem::replace(&mut self.0, true), "the first flush");
        Ok(())
    }
}

#[test]
fn a_panic_is_told_though_what_was_read_with_it_is_too_much_after_the_exit() {
    let (world, mut engine) = calm(1);
    let mut says = command(
        &world,
        Script {
            acts: vec![Act::Write(1, 100)],
            ..Script::default()
        },
    );
    says.output_limit(10);
    says.stdout(Output::writer(Fragile(false)));
    let says = engine.start(&mut says).expect("it starts");
    // The exit and the whole output come in one turn.
    Simulated::dawdle(&world, Duration::from_millis(1));
    let finished = finish(&mut engine, says);
    let Err(Error::Copy { source, .. }) = &finished.outcome else {
        panic!("{:?}", finished.outcome);
    };
    assert!(is_panic(source), "{source}");
}

#[test]
fn output_that_came_while_a_turn_took_its_time_has_ended_the_silence() {
    let (world, mut engine) = calm(1);
    let ms = Duration::from_millis;
    let says = |before: Duration, after: Duration| Script {
        acts: vec![Act::Sleep(before), Act::Write(1, 1), Act::Sleep(after)],
        ..Script::default()
    };
    let mut seldom = command(&world, says(ms(95), ms(50)));
    seldom.idle_timeout(ms(100)).stdout(Output::capture());
    let seldom = engine.start(&mut seldom).expect("it starts");
    // The loop is in this one's callback from 60 to 110 ms.
    let mut slow = command(&world, says(ms(60), ms(0)));
    slow.stdout(Output::lines(move |_| spend(ms(50))));
    engine.start(&mut slow).expect("it starts");
    let finished = finish(&mut engine, seldom);
    assert!(finished.success(), "{:?}", finished.outcome);
}
