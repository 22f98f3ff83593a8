//! Which children are registered with the kernel, and when.
//! Unaware of the seeds.

use super::*;
use crate::engine::reap::{POLLS_UNWATCHED_MAX, UNWATCHED_MAX};

#[test]
fn what_is_over_soon_is_never_registered_and_the_rest_before_an_outer_loop_sleeps() {
    let (world, mut engine) = calm(1);
    let short = start(&world, &mut engine, vec![Act::Write(1, 100)]);
    let long = start(
        &world,
        &mut engine,
        vec![Act::Sleep(Duration::from_secs(1))],
    );
    Simulated::dawdle(&world, Duration::from_millis(1));

    engine.turn(None).expect("the weather is calm");
    let finished = engine.take_finished(short).expect("it is over");
    assert_eq!(finished.stdout.len(), 100);
    assert_eq!(world.borrow().watched, 0);
    assert!(
        engine.is_unannounced(),
        "no event would announce the long one"
    );

    engine.prepare_sleep();
    assert_eq!(world.borrow().watched, 2, "its stdout and its exit");
    assert!(!engine.is_unannounced());
    while engine.take_finished(long).is_none() {
        engine.turn(None).expect("the weather is calm");
    }
    assert_eq!(world.borrow().watched, 2, "and no more than once");
}

#[test]
fn who_stays_is_awaited_by_so_many_polls_and_then_registered() {
    let (world, mut engine) = calm(1);
    let stays = start(
        &world,
        &mut engine,
        vec![Act::Sleep(Duration::from_secs(1))],
    );
    world.borrow_mut().is_hurried = true;
    for _ in 0..POLLS_UNWATCHED_MAX {
        engine
            .turn(Some(Duration::ZERO))
            .expect("the weather is calm");
        assert!(
            !engine.has_more(),
            "nothing is left to do, though nothing announces it"
        );
    }
    assert_eq!(world.borrow().watched, 0);
    engine
        .turn(Some(Duration::ZERO))
        .expect("the weather is calm");
    assert_eq!(world.borrow().watched, 2, "its stdout and its exit");
    assert!(finish(&mut engine, stays).success());
    assert_eq!(world.borrow().watched, 2, "and no more than once");
}

#[test]
fn whoever_starts_many_in_a_row_does_not_leave_them_all_to_the_next_turn() {
    let (world, mut engine) = calm(1);
    for _ in 0..10 * UNWATCHED_MAX {
        let acts = vec![Act::Sleep(Duration::from_secs(1))];
        start(&world, &mut engine, acts);
    }
    assert_eq!(engine.unwatched.len(), UNWATCHED_MAX);
    assert_eq!(world.borrow().watched, 2 * 9 * UNWATCHED_MAX);
}
