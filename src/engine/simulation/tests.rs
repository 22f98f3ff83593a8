//! A thousand seeds a run, each through another schedule; more or one alone by the environment. And the order of service.
//! Unaware of what a schedule holds.

mod descriptors;
mod limits;
mod suspension;
mod unwatched;

use std::io::ErrorKind;

use super::*;
use crate::command::Command;
use crate::engine::executed::UNSEEN_MAX;
use crate::engine::{AWAY_MAX, HOLD_ON_TURNS, Patience};
use crate::error::{Cause, StartError};
use crate::finished::Finished;
use crate::pipe_limits::PIECES_PER_TURN_MAX;
use crate::stdio::{Input, Output};
use crate::sys::Stream;
use crate::sys::simulated::{Act, Script, Weather, prefix, spend};

/// `EXECLOOP_SEED=n` replays one seed alone, `EXECLOOP_SEEDS=n` runs so many.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    match (number("EXECLOOP_SEED"), number("EXECLOOP_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(1000),
    }
}

/// Says which seed it was, if it fails.
struct Name(u64);

impl Drop for Name {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} failed; EXECLOOP_SEED={0} replays it alone", self.0);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours there")]
fn every_promise_holds_through_a_thousand_schedules() {
    for seed in seeds() {
        let name = Name(seed);
        run(Random::of_seed(seed));
        drop(name);
    }
}

/// The canary: a loop that forgets streams with something left over. The panic that this prints is the one that is expected.
#[test]
fn a_broken_loop_is_caught() {
    let caught = (0..300)
        .find(|seed| std::panic::catch_unwind(|| run_broken(Random::of_seed(*seed))).is_err());
    assert!(caught.is_some(), "a broken loop passes every simulation");
}

/// A reactor's loop over a machine where nothing goes wrong.
fn calm(seed: u64) -> (Shared, Engine<Simulated>) {
    let weather = Weather {
        batch_max: 256,
        pipe_bytes: vec![65_536],
        fds_max: usize::MAX,
        starts_max: 16,
        ..Weather::default()
    };
    let world = Rc::new(RefCell::new(World::new(Random::of_seed(seed), weather)));
    let kernel = Simulated::new(&world);
    let admission = Admission::new(usize::MAX, u64::MAX);
    (world, Engine::new(kernel, admission, REACTOR))
}

#[test]
fn short_commands_finish_beside_endless_writers_and_each_stream_has_its_turn() {
    const ENDLESS: usize = 3;
    const SHORT: usize = 200;
    /// More turns than these to serve all would be a queue behind the endless.
    const TURNS_MAX: usize = 2 * SHORT;
    let (world, mut engine) = calm(1);
    let mut start = |acts| start(&world, &mut engine, acts);
    for _ in 0..ENDLESS {
        start(vec![Act::Write(1, usize::MAX)]);
    }
    let short: Vec<_> = (0..SHORT)
        .map(|_| start(vec![Act::Write(1, 100), Act::Write(1, 100)]))
        .collect();

    let mut left: Vec<_> = short;
    let mut listed: Vec<_> = Vec::new();
    for turn in 0.. {
        assert!(
            turn < TURNS_MAX,
            "{} of the short ones still wait",
            left.len()
        );
        world.borrow_mut().reads = Some(Vec::new());
        engine.turn(None).expect("the weather is calm");
        // Once a turn each, and those that had to stop in the last turn are all served in this one, in their order.
        let reads = world.borrow_mut().reads.take().expect("a list");
        let visits: Vec<_> = reads.chunk_by(|one, next| one == next).collect();
        let served: Vec<_> = visits.iter().map(|visit| visit[0]).collect();
        for (at, visit) in visits.iter().enumerate() {
            assert!(
                !served[..at].contains(&visit[0]),
                "twice in one turn: {visit:?}"
            );
            assert!(
                visit.len() <= PIECES_PER_TURN_MAX,
                "more than its share: {visit:?}"
            );
        }
        let mut order = served.iter();
        for waiting in &listed {
            assert!(
                order.any(|visit| visit == waiting),
                "passed over: {waiting:?}"
            );
        }
        listed = Vec::new();
        for left in &engine.backlog {
            let our_end = engine.table.stream(left.tenant.slot, left.stream);
            let pipe = our_end.as_ref().and_then(|our_end| our_end.copied_pipe());
            listed.push(pipe.expect("it is copied").index());
        }
        left.retain(|id| match engine.take_finished(*id) {
            Some(finished) => {
                assert_eq!(finished.stdout.len(), 200);
                assert!(finished.outcome.is_ok(), "{:?}", finished.outcome);
                false
            }
            None => true,
        });
        if left.is_empty() {
            break;
        }
    }
    assert_eq!(engine.running(), ENDLESS, "the endless ones go on");
    drop(engine);
    assert!(world.borrow().open_fds().is_empty());
}

/// Starts a program of these acts, with both ends of its stdout captured.
fn start(world: &Shared, engine: &mut Engine<Simulated>, acts: Vec<Act>) -> CommandId {
    let script = Script {
        acts,
        ..Script::default()
    };
    let path = world.borrow_mut().install(script);
    let mut command = Command::new(path);
    let started = engine.start(command.stdout(Output::capture_ends(100)));
    started.expect("it starts")
}

#[test]
fn a_turn_that_will_not_sleep_gives_way_unless_that_takes_long() {
    let holds_on = HOLD_ON_TURNS as usize;
    for (away, turns, expected) in [(Duration::ZERO, 10, 10), (2 * AWAY_MAX, holds_on + 2, 2)] {
        let (world, mut engine) = calm(1);
        world.borrow_mut().away = away;
        start(&world, &mut engine, vec![Act::Write(1, usize::MAX)]);
        let mut busy_turns = 0;
        while busy_turns < turns {
            busy_turns += usize::from(!engine.backlog.is_empty());
            engine.turn(None).expect("the weather is calm");
        }
        assert_eq!(world.borrow().gave_way, expected, "{away:?}");
    }
}

#[test]
fn a_place_that_becomes_free_between_two_turns_is_told_to_an_outer_loop() {
    let (world, mut engine) = calm(1);
    engine.admission = Admission::new(1, u64::MAX);
    let orphan = Script {
        acts: vec![Act::Sleep(Duration::from_secs(1000))],
        ..Script::default()
    };
    let held = start(&world, &mut engine, vec![Act::Fork(Rc::new(orphan))]);
    let queued = start(&world, &mut engine, Vec::new());
    while engine
        .table
        .running(0)
        .is_some_and(|running| running.reaped.is_none())
    {
        engine.turn(None).expect("the weather is calm");
    }

    engine.kill(held);
    assert!(engine.take_finished(held).is_some(), "it is over at once");
    engine.prepare_sleep();
    assert!(engine.is_unannounced(), "the queue would wait for ever");
    while engine.take_finished(queued).is_none() {
        engine.turn(None).expect("the weather is calm");
    }
}

/// Turns until this one is finished.
fn finish(engine: &mut Engine<Simulated>, id: CommandId) -> Finished {
    loop {
        if let Some(finished) = engine.take_finished(id) {
            return *finished;
        }
        engine.turn(None).expect("the weather is calm");
    }
}

/// A command that can be changed before it starts.
fn command(world: &Shared, script: Script) -> Command {
    Command::new(world.borrow_mut().install(script))
}

fn sleep(time: Duration) -> Script {
    Script {
        acts: vec![Act::Sleep(time)],
        ..Script::default()
    }
}

#[test]
fn nobody_overtakes_a_start_that_failed_late_for_a_shortage() {
    let (world, mut engine) = calm(1);
    engine.admission = Admission::new(2, u64::MAX);
    let mut long = command(&world, sleep(Duration::from_secs(10_000)));
    engine.start(&mut long).expect("it starts");
    world.borrow_mut().weather.late_execs = 1;
    let hopeless = Script {
        exec_error: Some(libc::ENOMEM),
        ..Script::default()
    };
    let hopeless = engine.start(&mut command(&world, hopeless));
    let hopeless = hopeless.expect("its failure comes by its end");
    let next = engine.start(&mut command(&world, Script::default()));
    let next = finish(&mut engine, next.expect("it waits"));
    assert!(next.success());
    let before = engine.take_finished(hopeless).expect("it was first");
    assert!(!before.success());
}

#[test]
fn a_command_that_can_never_start_gives_up_while_others_run_on_and_lets_the_queue_go_on() {
    for (number, waits) in [(libc::EAGAIN, true), (libc::ENOSPC, false)] {
        let (world, mut engine) = calm(1);
        let mut long = command(&world, sleep(Duration::from_secs(10_000)));
        engine.start(&mut long).expect("it starts");
        let hopeless = Script {
            clone_error: Some(number),
            ..Script::default()
        };
        let hopeless = engine.start(&mut command(&world, hopeless));
        let hopeless = hopeless.expect("its failure comes by its end");
        let next = engine.start(&mut command(&world, Script::default()));
        let next = next.expect("it starts or waits");
        assert_eq!(engine.table.finished() == 0, waits, "{number}");
        let Err(crate::Error::Start(StartError::Step { source, .. })) =
            finish(&mut engine, hopeless).outcome
        else {
            panic!("it cannot have started");
        };
        assert_eq!(source.raw_os_error(), Some(number));
        assert!(finish(&mut engine, next).success());
        assert_eq!(engine.running(), 1, "the long one goes on");
    }
}

#[test]
fn a_turn_that_finds_a_program_executed_does_not_sleep_on_its_pipe() {
    let (world, mut engine) = calm(1);
    world.borrow_mut().weather.late_execs = 1;
    let reads = Script {
        acts: vec![Act::Read(None)],
        exec_takes: Some(Duration::from_millis(5)),
        ..Script::default()
    };
    let mut command = command(&world, reads);
    let id = engine
        .start(command.stdin(Input::pipe()))
        .expect("it starts");
    let error = engine
        .write_callers_pipe(id, b"x", Patience::Tries)
        .expect_err("its program is not executed");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    Simulated::dawdle(&world, Duration::from_millis(10));
    // Nothing else will happen: a sleep would be for ever, which the simulated machine finds out.
    engine.turn(None).expect("the weather is calm");
    assert_eq!(engine.pop_ready(), Some((id, Stream::Stdin)));
}

#[test]
fn an_exec_that_takes_long_wakes_the_loop_for_an_input_soon_for_outputs_seldom_and_not_otherwise() {
    let turns = |exec_takes, connect: fn(&mut Command)| {
        let (world, mut engine) = calm(1);
        world.borrow_mut().weather.late_execs = 1;
        let script = Script {
            exec_takes: Some(exec_takes),
            ..sleep(Duration::from_millis(1))
        };
        let mut command = command(&world, script);
        connect(&mut command);
        let id = engine.start(&mut command).expect("it starts");
        assert!(finish(&mut engine, id).success());
        engine.stats.turns
    };
    let nothing: fn(&mut Command) = |_| {};
    let output: fn(&mut Command) = |command| {
        command.stdout(Output::capture());
    };
    let input: fn(&mut Command) = |command| {
        command.stdin(Input::bytes(prefix(0, 1)));
    };
    let (short, long) = (Duration::from_micros(1), Duration::from_secs(10));
    assert_eq!(turns(long, nothing), turns(short, nothing));
    // Nobody announces that the program is there to be read from.
    assert!(turns(long, output) > turns(short, output) + 10);
    let some_ms = Duration::from_millis(20);
    assert_eq!(turns(some_ms, output), turns(short, output));
    let callers: fn(&mut Command) = |command| {
        command.stdout(Output::pipe());
    };
    for connect in [input, callers] {
        assert!(turns(some_ms, connect) >= turns(short, connect) + 3);
    }
}

#[test]
fn who_waits_for_a_start_under_way_to_execute_wakes_the_loop_less_and_less_often() {
    let (world, mut engine) = calm(1);
    world.borrow_mut().weather.starts_max = 1;
    world.borrow_mut().weather.late_execs = 1;
    let stuck = Script {
        exec_takes: Some(Duration::from_secs(10)),
        ..sleep(Duration::from_secs(1000))
    };
    engine
        .start(&mut command(&world, stuck))
        .expect("it starts");
    let id = engine
        .start(&mut command(&world, sleep(Duration::ZERO)))
        .expect("it is queued");
    let began = world.borrow().now();
    assert!(finish(&mut engine, id).success());
    let took = world.borrow().now() - began;
    assert!(took >= Duration::from_secs(10), "{took:?}");
    // One each 64 ms, and as many as it takes to get there from 200 us.
    assert!(
        engine.stats.turns < 10_000 / 64 + 20,
        "{}",
        engine.stats.turns
    );
}

#[test]
fn an_input_begins_long_before_the_millisecond_in_which_a_poll_counts() {
    let (world, mut engine) = calm(1);
    world.borrow_mut().weather.late_execs = 1;
    let reads = Script {
        acts: vec![Act::Read(None)],
        exec_takes: Some(Duration::from_micros(200)),
        ..Script::default()
    };
    let began = world.borrow().now();
    let mut command = command(&world, reads);
    let id = engine
        .start(command.stdin(Input::bytes(prefix(0, 1))))
        .expect("it starts");
    assert!(finish(&mut engine, id).success());
    let took = world.borrow().now() - began;
    assert!(took < Duration::from_millis(1), "{took:?}");
}

#[test]
fn an_outer_loop_that_sleeps_for_an_output_is_woken_for_an_input_that_comes_later_and_is_due_before()
 {
    let (world, mut engine) = calm(1);
    world.borrow_mut().weather.late_execs = 1;
    let late = || Script {
        exec_takes: Some(Duration::from_secs(1)),
        ..Script::default()
    };
    let mut output = command(&world, late());
    engine
        .start(output.stdout(Output::capture()))
        .expect("it starts");
    engine.prepare_sleep();
    let before = engine.starting_due.expect("its end is kept from it");
    engine.prepare_sleep();
    assert_eq!(engine.starting_due, Some(before), "it is not put off");
    let mut input = command(&world, late());
    engine
        .start(input.stdin(Input::bytes(*b"x")))
        .expect("it starts");
    engine.prepare_sleep();
    assert!(engine.starting_due.expect("its input waits") < before);
}

#[test]
fn one_that_is_let_go_before_its_exec_sees_its_input_end_in_time() {
    let (world, mut engine) = calm(1);
    world.borrow_mut().weather.late_execs = 1;
    let reads = Script {
        acts: vec![Act::Read(None)],
        exec_takes: Some(Duration::from_millis(5)),
        ..Script::default()
    };
    let mut command = command(&world, reads);
    let id = engine
        .start(command.stdin(Input::bytes(*b"x")))
        .expect("it starts");
    engine.detach(id).expect("it runs");
    while world.borrow().children_open() > 0 {
        // Where nobody looks whether it is executed, this would be for ever, which the simulated machine finds out.
        engine.turn(None).expect("the weather is calm");
    }
}

#[test]
fn what_it_takes_to_start_again_is_kept_of_a_few_sleepers_alone() {
    let (world, mut engine) = calm(1);
    let mut command = command(&world, sleep(Duration::from_secs(1000)));
    let ids: Vec<_> = (0..10 * UNSEEN_MAX)
        .map(|_| engine.start(&mut command).expect("it starts"))
        .collect();
    for _ in 0..ids.len() {
        let moment = Some(Duration::from_millis(1));
        engine.turn(moment).expect("the weather is calm");
    }
    assert_eq!(engine.queued(), 0);
    let mut is_kept = |id: &CommandId| {
        let slot = engine.table.slot_of(*id).expect("it sleeps");
        engine
            .table
            .running(slot)
            .is_some_and(|running| running.start.is_some())
    };
    let kept = ids.iter().filter(|id| is_kept(id)).count();
    assert!(kept <= UNSEEN_MAX, "{kept}");
}

#[test]
fn a_short_write_alone_is_not_taken_for_a_full_pipe() {
    const BYTES: usize = 60_000;
    let (world, mut engine) = calm(1);
    world.borrow_mut().weather.short_writes = 1;
    let sleeps = Script {
        acts: vec![Act::Sleep(Duration::from_secs(1))],
        ..Script::default()
    };
    let mut command = command(&world, sleeps);
    engine
        .start(command.stdin(Input::bytes(prefix(0, BYTES))))
        .expect("it starts");
    let written = || {
        let world = world.borrow();
        let (_, child) = world.children().next().expect("a child");
        child.pipes[0].map_or(0, |pipe| world.pipes[pipe].written)
    };
    while written() == 0 {
        engine.turn(None).expect("the weather is calm");
    }
    // Nobody reads, and there is room for all.
    let is_under_way = !engine.backlog.is_empty();
    assert!(written() == BYTES || is_under_way, "{} bytes", written());
}
