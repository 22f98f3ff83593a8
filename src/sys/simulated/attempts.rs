//! Which starts the loop has asked the simulated kernel for, and how things stood when it did.
//! Unaware of what a start takes, and of what the loop counts.

use std::time::Instant;

use super::super::{Launch, Stdio};
use super::birth::program_of;
use super::{Pipe, World};

/// One start that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// When it was answered.
    pub(crate) at: Instant,
    pub(crate) program: usize,
    /// The error number that it was refused with.
    pub(crate) refused: Option<i32>,
    /// How many descriptors it takes while it lasts.
    pub(crate) needs: usize,
    pub(crate) before: Budget,
}

/// What takes descriptors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Descriptors of ours that are open, but for what only a child on its way to its exec keeps open.
    pub(crate) open: usize,
    /// Commands that run, but for those that were let go.
    pub(crate) running: usize,
    /// Pipes that are open, and whose command does not run any more.
    pub(crate) kept: usize,
}

impl Attempt {
    /// The kernel was short of something, which may pass.
    pub(crate) fn is_short(&self) -> bool {
        let shortages = [libc::EAGAIN, libc::EMFILE, libc::ENFILE, libc::ENOMEM];
        self.refused
            .is_some_and(|number| shortages.contains(&number))
    }
}

impl World {
    pub(super) fn attempt(&self, launch: &Launch) -> Attempt {
        let is_pipe = |stdio: &&Stdio| stdio.has_our_end();
        let pipes = launch.stdio.iter().filter(is_pipe).count();
        Attempt {
            at: self.now(),
            program: program_of(launch),
            refused: None,
            needs: self.pidfds() + 2 * pipes,
            before: self.budget(),
        }
    }

    pub(crate) fn budget(&self) -> Budget {
        let is_open = |pid: &&u32| self.is_child_open(**pid);
        let let_go = self.let_go.iter().filter(is_open).count();
        Budget {
            open: self.open + self.pidfds() * self.children_open,
            running: self.children_open - let_go,
            kept: self.kept,
        }
    }

    /// The loop has closed this pipe.
    pub(super) fn was_closed(&mut self, pipe: usize) {
        let child = self.pipes[pipe].child;
        let child = child.and_then(|child| self.processes[child].child.as_ref());
        self.open -= 1;
        self.kept -= usize::from(child.is_some_and(|child| !child.is_open));
    }

    /// The loop has dropped its handle of this child.
    pub(super) fn was_dropped(&mut self, pipes: [Option<usize>; 3]) {
        let pipes = pipes.into_iter().flatten().map(|pipe| &self.pipes[pipe]);
        let is_open = |pipe: &&Pipe| pipe.is_ours_open && !pipe.is_retired;
        self.kept += pipes.filter(is_open).count();
    }

    /// How many descriptors a child takes beside its pipes.
    pub(crate) fn pidfds(&self) -> usize {
        usize::from(!self.weather.by_kqueue)
    }
}
