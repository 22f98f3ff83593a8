//! `Job::step` against the rules in `job/oracle.rs`, and against what holds whatever the rules say.

use std::time::Duration;

use super::Bytes;
use crate::error::Cause;
use crate::job::oracle::{Ending, Happening, LastRead, Play, Replies, Reply};
use crate::job::{Effect, Policy, Streams};
use crate::sys;
use crate::sys::Stream;

const CAUSES: [Cause; 4] = [
    Cause::Cancelled,
    Cause::DeadlineExceeded,
    Cause::Timeout,
    Cause::IdleTimeout,
];
const REPLIES: [Reply; 3] = [Reply::Fine, Reply::Gone, Reply::Refused];
const LAST_READS: [LastRead; 3] = [LastRead::Held, LastRead::Ended, LastRead::Failed];

/// Lets anything happen to a command, in any order that the world allows.
///
/// First the settings; then each happening is two bytes or three: what it is, how the world answers, how long it takes.
pub fn job(data: &[u8]) {
    let mut bytes = Bytes(data);
    let shape = bytes.next();
    let ends = bytes.next();
    let (copied, lends) = (streams(ends), ends & 8 != 0);
    let mut delay = |is_set: bool| is_set.then(|| duration(&mut bytes));
    let policy = Policy {
        ignores_context: shape & 1 != 0,
        wait_delay: delay(shape & 2 != 0),
        timeout: delay(shape & 4 != 0),
        output_limit: None,
        leak_timeout: delay(ends & 16 != 0),
        slow_after: None,
        names_holders: false,
        idle_timeout: delay(shape & 8 != 0),
        kills_group: shape & 128 != 0,
        sweeps_group: ends & 32 != 0,
        rungs: (0..shape >> 4 & 3).filter_map(|_| delay(true)).collect(),
    };
    let rungs = policy.rungs.len();
    let mut play = Play::new(policy, copied, lends, sys::now());
    if shape & 64 != 0 {
        play.action_takes = duration(&mut bytes).min(LONGEST_PASS);
    }
    while !bytes.is_used_up() {
        let happening = happening(&mut bytes);
        let replies = replies(bytes.next());
        if play.is_possible(happening) {
            play.happen(happening, replies);
        }
    }
    assert_holds(&play.asked_for, rungs);
    if play.is_finished() {
        play.end();
    }
}

/// Whatever the rules say: everything happens once and in its order, and the end is the end.
fn assert_holds(asked_for: &[Effect], rungs: usize) {
    let count = |effect: Effect| asked_for.iter().filter(|other| **other == effect).count();
    let place = |effect: Effect| asked_for.iter().position(|other| *other == effect);
    assert!(count(Effect::PerformCancel) <= 1, "{asked_for:?}");
    assert!(count(Effect::Finish) <= 1, "{asked_for:?}");
    assert!(count(Effect::DrainOnceThenClose) <= 1, "{asked_for:?}");
    assert!(count(Effect::KillRest) <= 1, "{asked_for:?}");
    if let Some(finish) = place(Effect::Finish) {
        // Afterwards there is at most the caller's pipe to close.
        let after = &asked_for[finish + 1..];
        let is_close = |effect: &Effect| *effect == Effect::DrainOnceThenClose;
        assert!(after.iter().all(is_close), "{asked_for:?}");
    }
    let climbed: Vec<_> = asked_for
        .iter()
        .filter_map(|effect| match effect {
            Effect::PerformRung(rung) => Some(*rung),
            _ => None,
        })
        .collect();
    assert!(climbed.len() <= rungs, "{asked_for:?}");
    assert!(
        climbed.iter().copied().eq(0..climbed.len()),
        "{asked_for:?}"
    );
    if let (Some(kill), Some(last)) = (
        place(Effect::Kill),
        asked_for
            .iter()
            .rposition(|effect| matches!(effect, Effect::PerformCancel | Effect::PerformRung(_))),
    ) {
        assert!(last < kill, "asked after the kill: {asked_for:?}");
    }
}

fn happening(bytes: &mut Bytes<'_>) -> Happening {
    match bytes.next() % 16 {
        0 => Happening::Exits(Ending::Zero),
        1 => Happening::Exits(ending(bytes.next())),
        2..=3 => Happening::Ends(bytes.pick(&Stream::ALL)),
        4..=5 => Happening::Fails(bytes.pick(&Stream::ALL)),
        6..=7 => Happening::Stop(bytes.pick(&CAUSES)),
        8 => Happening::Abort(bytes.pick(&CAUSES)),
        9..=10 => Happening::Output,
        11 => Happening::Empties(bytes.pick(&Stream::ALL)),
        _ => Happening::Pass(duration(bytes).min(LONGEST_PASS)),
    }
}

fn ending(byte: u8) -> Ending {
    match byte {
        0..128 => Ending::Status(i32::from(byte) + 1),
        128..192 => Ending::Signal(i32::from(byte) - 127),
        192.. => Ending::Lost,
    }
}

fn replies(byte: u8) -> Replies {
    let digit = |place: u32| usize::from(byte) / 3_usize.pow(place) % 3;
    Replies {
        cancel: REPLIES[digit(0)],
        rung: REPLIES[digit(1)],
        kill: REPLIES[digit(2)],
        last_read: LAST_READS[digit(3)],
    }
}

fn streams(byte: u8) -> Streams {
    let mut streams = Streams::default();
    for (place, stream) in Stream::ALL.into_iter().enumerate() {
        if byte >> place & 1 != 0 {
            streams.insert(stream);
        }
    }
    streams
}

/// A clock may go on like this thousands of times.
const LONGEST_PASS: Duration = Duration::from_secs(3600);

/// Few different ones, so that deadlines meet; some beyond every clock.
fn duration(bytes: &mut Bytes<'_>) -> Duration {
    match bytes.next() {
        255 => Duration::MAX,
        254 => Duration::from_secs(i64::MAX as u64),
        253 => LONGEST_PASS,
        252 => Duration::from_nanos(1),
        some => Duration::from_millis(u64::from(some % 16)),
    }
}
