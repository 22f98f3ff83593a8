//! The pieces that a simulated command is chosen of: feeds, takes, acts, reactions, sizes.
//! Unaware of how they are put together.

use std::rc::Rc;
use std::time::Duration;

use super::{Feed, Stop, Take};
use crate::sys::Signal;
use crate::sys::simulated::{Act, Random, Reaction, Script};

/// Mostly small, sometimes more than a budget.
pub(super) fn random_size(random: &mut Random, is_large: bool) -> usize {
    match random.below(4) {
        0 => random.below(10),
        1 | 2 => random.below(600),
        _ if is_large => 60_000 + random.below(60_000) * 4,
        _ => random.below(9_000),
    }
}

pub(super) fn random_feed(random: &mut Random, is_callers: bool) -> Feed {
    match random.below(6) {
        0 if is_callers => Feed::Caller,
        1 | 2 => {
            let is_large = random.one_in(8);
            Feed::Bytes(random_size(random, is_large))
        }
        3 => {
            let is_large = random.one_in(8);
            let bytes = random_size(random, is_large);
            let fails_at = if random.one_in(5) {
                random.below(bytes + 1)
            } else {
                usize::MAX
            };
            Feed::Reader { bytes, fails_at }
        }
        4 if random.one_in(3) => Feed::Stalled(random_size(random, true)),
        _ => Feed::Null,
    }
}

pub(super) fn random_takes(random: &mut Random, is_callers: bool) -> [Take; 2] {
    let mut one = |may_be_callers: bool| match random.below(8) {
        0..=2 => Take::Capture,
        3 => Take::Ends(random.below(3000)),
        4 => Take::Writer(random_limit(random, 5000)),
        5 => Take::Lines(random_limit(random, 100)),
        6 if may_be_callers => Take::Caller,
        _ => Take::Null,
    };
    // One at most: its caller reads one after the other.
    let first = one(is_callers);
    [first, one(is_callers && first != Take::Caller)]
}

/// Mostly without a limit.
pub(super) fn random_limit(random: &mut Random, below: usize) -> usize {
    if random.one_in(5) {
        random.below(below)
    } else {
        usize::MAX
    }
}

pub(super) fn random_acts(
    random: &mut Random,
    feed: Feed,
    is_large: bool,
    depth: usize,
) -> Vec<Act> {
    let mut acts = Vec::new();
    for _ in 0..random.below(6) {
        let act = match random.below(16) {
            0..=4 => Act::Write(1, random_size(random, is_large)),
            5 | 6 => Act::Write(2, random_size(random, is_large)),
            7..=9 => Act::Sleep(Duration::from_micros(random.below(20_000) as u64)),
            10 if random.one_in(4) => Act::Sleep(Duration::from_millis(random.below(3_000) as u64)),
            10 | 11 if feed != Feed::Null => Act::Read(None),
            12 if feed != Feed::Null => Act::Read(Some(random.below(3_000))),
            13 if random.one_in(3) => {
                let fd = 1 + random.below(2);
                acts.push(Act::Close(fd));
                Act::Reopen(fd)
            }
            13 => Act::Close(random.below(3)),
            14 if depth > 0 => {
                let child = Script {
                    acts: random_acts(random, feed, false, depth - 1),
                    reaction: random_reaction(random),
                    ..Script::default()
                };
                Act::Fork(Rc::new(child))
            }
            15 if random.one_in(6) => Act::LeaveGroup,
            _ => continue,
        };
        acts.push(act);
    }
    match random.below(8) {
        0 => acts.push(Act::Exit(1 + random.below(255) as i32)),
        1 => acts.push(Act::Die(*random.pick(&[
            libc::SIGSEGV,
            libc::SIGTERM,
            libc::SIGKILL,
        ]))),
        _ => {}
    }
    acts
}

/// How many bytes a process and its children write.
pub(super) fn traffic(acts: &[Act]) -> usize {
    let bytes = acts.iter().map(|act| match act {
        Act::Write(_, bytes) => *bytes,
        Act::Fork(script) => traffic(&script.acts),
        _ => 0,
    });
    bytes.sum()
}

/// It does not read to an end that never comes.
pub(super) fn forget_input(acts: &mut Vec<Act>) {
    acts.retain(|act| !matches!(act, Act::Read(None)));
    for act in acts {
        match act {
            // What little it reads first is there.
            Act::Read(bytes) => *bytes = Some(0),
            Act::Fork(script) => forget_input(&mut Rc::make_mut(script).acts),
            _ => {}
        }
    }
}

pub(super) fn random_reaction(random: &mut Random) -> Reaction {
    match random.below(6) {
        0 => Reaction::Ignore,
        1 | 2 => {
            let after = Duration::from_micros(random.below(30_000) as u64);
            Reaction::Exit(after, if random.one_in(2) { 0 } else { 7 })
        }
        _ => Reaction::Die,
    }
}

pub(super) fn random_stop(random: &mut Random) -> Stop {
    match random.below(6) {
        0 => Stop::Nothing,
        1 | 2 => Stop::Signal(*random.pick(&[Signal::TERM, Signal::INT])),
        3 => Stop::Callback {
            sends: random.one_in(2),
            error: *random.pick(&[0, libc::ESRCH, libc::EIO]),
        },
        _ => Stop::Kill,
    }
}
