//! Chooses the weather of a simulated machine: what fails there, comes late or is short, and how often.
//! Unaware of the commands.

use crate::sys::simulated::{Random, Weather};

pub(super) fn random_weather(random: &mut Random) -> Weather {
    let is_calm = random.one_in(4);
    let mut one_in = |most: usize| {
        if is_calm || random.one_in(2) {
            0
        } else {
            2 + random.below(most)
        }
    };
    let weather = Weather {
        interrupts: one_in(10),
        early_polls: one_in(20),
        poll_errors: one_in(60),
        arm_errors: one_in(10),
        reap_errors: one_in(6),
        read_errors: one_in(200),
        hasty_ends: one_in(4),
        spurious: one_in(6),
        stale: one_in(4),
        unwatched: one_in(10),
        shortages: one_in(10),
        shuffles: one_in(3),
        slow_starts: one_in(10),
        refusals: one_in(6),
        short_writes: one_in(6),
        ..Weather::default()
    };
    Weather {
        late_execs: if random.one_in(3) {
            0
        } else {
            1 + random.below(3)
        },
        starts_max: if random.one_in(2) {
            1 + random.below(4)
        } else {
            16
        },
        finds_groups: random.one_in(2),
        by_kqueue: random.one_in(3),
        silent_ends: random.one_in(3),
        batch_max: if random.one_in(3) { 2 } else { 256 },
        pipe_bytes: match random.below(4) {
            0 => vec![1, 7, 100],
            1 => vec![4096, 65_536],
            _ => vec![16, 4096, 65_536, 65_536, 262_144],
        },
        fds_max: if random.one_in(6) {
            12 + random.below(40)
        } else {
            usize::MAX
        },
        ..weather
    }
}
