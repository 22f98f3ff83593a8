//! Reaps the orphans that this process has got: as process 1 of a container, or as it was asked to take them over.
//! Unaware of who had started them.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use execloop::Reactor;
use execloop::linux::{Orphan, Orphans};

use crate::clock;

/// To look at every child costs something with thousands of them, and a zombie can wait.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One that the list of children has left out, as others exited meanwhile, is found by the second look.
const LOOKS: u32 = 2;

/// Looks for orphans after each SIGCHLD, but not all the time.
#[derive(Debug)]
pub(crate) struct Reaper {
    orphans: Orphans,
    looks_left: u32,
    next: Option<Instant>,
}

impl Reaper {
    /// # Errors
    /// Where this process cannot take orphans over.
    pub(crate) fn new() -> io::Result<Reaper> {
        Ok(Reaper {
            orphans: Orphans::adopt()?,
            looks_left: LOOKS,
            next: None,
        })
    }

    /// Some child has ended.
    pub(crate) fn ask(&mut self) {
        self.looks_left = LOOKS;
    }

    /// Reaps who has ended, if it is time for that. Everything that this process starts is the reactor's.
    pub(crate) fn look(&mut self, reactor: &mut Reactor) -> Vec<Orphan> {
        let now = clock::now();
        if self.looks_left == 0 {
            return Vec::new();
        }
        if let Some(next) = self.next.filter(|next| now < *next) {
            reactor.wake_at(next);
            return Vec::new();
        }
        let next = now + LOOK_EVERY;
        self.next = Some(next);
        self.looks_left -= 1;
        if self.looks_left > 0 {
            reactor.wake_at(next);
        }
        self.reap()
    }

    /// Reaps who has ended by now.
    pub(crate) fn look_for_the_last_time(&mut self) -> Vec<Orphan> {
        (0..LOOKS).flat_map(|_| self.reap()).collect()
    }

    fn reap(&mut self) -> Vec<Orphan> {
        // Without /proc there are none to be had.
        self.orphans.reap(|_| false).unwrap_or_default()
    }
}

/// Some child is about to become a zombie: a process lets go of its pipes a little before that.
pub(crate) fn is_any_exiting() -> bool {
    let us = std::process::id();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.into_iter().any(|stat| is_exiting_child(&stat, us))
}

/// `PF_EXITING` of the kernel.
const EXITING: u32 = 4;

/// From proc_pid_stat(5). The name, in parentheses, may have anything in it.
fn is_exiting_child(stat: &str, parent: u32) -> bool {
    let Some((_, fields)) = stat.rsplit_once(") ") else {
        return false;
    };
    let fields: Vec<&str> = fields.split(' ').collect();
    let [state, its_parent, _, _, _, _, flags, ..] = fields[..] else {
        return false;
    };
    let is_exiting = flags.parse().is_ok_and(|flags: u32| flags & EXITING != 0);
    is_exiting && state != "Z" && its_parent.parse() == Ok(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_exits_is_told_from_others_and_from_zombies() {
        let exits = "12 (a) Z 7 (b)) S 7 12 12 0 -1 4194308 0";
        assert!(is_exiting_child(exits, 7));
        assert!(!is_exiting_child(exits, 8));
        assert!(!is_exiting_child("12 (a) Z 7 12 12 0 -1 4194308 0", 7));
        assert!(!is_exiting_child("12 (a) S 7 12 12 0 -1 4194304 0", 7));
        assert!(!is_exiting_child("", 7));
    }
}
