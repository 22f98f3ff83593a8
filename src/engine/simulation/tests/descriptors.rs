//! What counts against the descriptors that the process may have.
//! Unaware of the seeds.

use super::*;

#[test]
fn a_pipe_of_a_finished_command_that_its_caller_closes_makes_room_before_the_command_is_taken() {
    let (world, mut engine) = calm(1);
    let with_pipe = |world: &Shared| {
        let mut command = command(world, Script::default());
        command.stdout(Output::pipe());
        command
    };
    // The pidfds of two, both ends of a pipe, and 32 for others.
    engine.admission = Admission::new(usize::MAX, 32 + 4);
    let first = engine.start(&mut with_pipe(&world)).expect("it starts");
    while engine.table.finished() == 0 {
        engine.turn(None).expect("the weather is calm");
    }
    let mut long = command(&world, sleep(Duration::from_secs(10_000)));
    engine.start(&mut long).expect("it starts");
    let next = engine.start(&mut with_pipe(&world)).expect("it waits");
    assert_eq!(engine.queued(), 1, "the first has a pipe");
    engine.close_callers_pipe(first, Stream::Stdout);
    assert!(finish(&mut engine, next).success());
    assert_eq!(engine.running(), 1, "the long one goes on");
}
