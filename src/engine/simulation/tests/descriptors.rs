//! What counts against the descriptors that the process may have.
//! Unaware of the seeds.

use super::*;
use crate::sys::TerminalSize;

#[test]
fn a_pipe_of_a_finished_command_that_its_caller_closes_makes_room_before_the_command_is_taken() {
    // Both ends of a pipe.
    check_room_of_closed(2, |command| command.stdout(Output::pipe()));
    // What is typed into a terminal ends with what is read of it.
    check_room_of_closed(4, |command| {
        let screen = Output::pipe().terminal(TerminalSize::default());
        command.stdin(Input::pipe().terminal()).stdout(screen)
    });
}

/// `fds`: how many a start takes beside the child's pidfd.
fn check_room_of_closed(fds: u64, lend: impl Fn(&mut Command) -> &mut Command) {
    let (world, mut engine) = calm(1);
    // The pidfds of two, and 32 for others.
    engine.admission = Admission::new(usize::MAX, 32 + 2 + fds);
    let start = |engine: &mut Engine<Simulated>| {
        let mut command = command(&world, Script::default());
        engine
            .start(lend(&mut command))
            .expect("it starts or waits")
    };
    let first = start(&mut engine);
    while engine.table.finished() == 0 {
        engine.turn(None).expect("the weather is calm");
    }
    let mut long = command(&world, sleep(Duration::from_secs(10_000)));
    engine.start(&mut long).expect("it starts");
    let next = start(&mut engine);
    assert_eq!(engine.queued(), 1, "the first has a pipe");
    engine.close_callers_pipe(first, Stream::Stdout);
    assert!(finish(&mut engine, next).success());
    assert_eq!(engine.running(), 1, "the long one goes on");
}
