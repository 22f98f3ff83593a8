//! What a child is to do between its birth and its exec, and where it says how far it is: memory that both sides see.
//! Unaware of who does it, and of how.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::layout::Move;
use crate::sys::mapping::Mapping;
use crate::sys::{CStrings, Program, StartStep};

/// What a child is to do, and where it says how far it is and what failed. It owns all that the child uses, and stays in its
/// cradle: what the next child does as well is not written again, which would take it from the processor that has just read it.
/// What each start writes is together, before the rest.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Plan {
    /// `None` while no child uses the plan.
    pub(super) exec: Option<Exec>,
    pub(super) gate: AtomicU32,
    /// The child has a table of its own, without anything foreign in it.
    pub(super) has_table: AtomicU32,
    pub(super) report: Report,
    pub(super) parent: u32,
    /// The mask to put back, where the parent blocked all signals for the clone.
    pub(super) mask: Option<u64>,
    pub(super) circumstances: Circumstances,
    pub(super) lists: Lists,
}

/// What a child finds, which is mostly what the last one found.
#[derive(Debug, Default, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Circumstances {
    /// The parent's handlers are still in place.
    pub(super) reset_handlers: bool,
    /// The directory of the cgroup that the child is born in. For the clone alone.
    pub(super) cgroup: Option<i32>,
    /// `cgroup.procs`, where the child was not born in its cgroup.
    pub(super) cgroup_procs: Option<i32>,
    /// The terminal whose foreground to take.
    pub(super) foreground: Option<i32>,
    /// The soft limit of descriptors from before the parent raised its own.
    pub(super) fd_limit: Option<u64>,
}

/// What a child executes.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) program: Arc<Program>,
    /// Keeps what `envp` leads to.
    _environment: Arc<CStrings>,
    /// Not by way of the `Arc`: beside its value is the count that the parent goes on with.
    pub(super) envp: usize,
}

impl Exec {
    pub(super) fn new(program: &Arc<Program>, environment: &Arc<CStrings>) -> Exec {
        Exec {
            program: Arc::clone(program),
            _environment: Arc::clone(environment),
            envp: environment.as_ptr().expose_provenance(),
        }
    }
}

/// Where a child's descriptors come from. What it does to its table follows from that alone, and from spare numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Those of stdin, stdout and stderr.
    pub(super) stdio: [Option<i32>; 3],
    /// Those of the others.
    pub(super) extra: Vec<Mapping>,
    /// Which of stdin, stdout and stderr are pipes.
    pub(super) pipes: [bool; 3],
    /// What it uses before its exec and does not keep.
    pub(super) used: [Option<i32>; 2],
    /// Our ends of its pipes.
    pub(super) ours: [Option<i32>; 3],
    /// It shares the parent's table at first.
    pub(super) shares: bool,
    /// It keeps what the parent has open.
    pub(super) inherits: bool,
}

impl Sources {
    /// All descriptors that the child is to have.
    pub(super) fn mappings(&self) -> Vec<Mapping> {
        let stdio = self.stdio.into_iter().zip(0..);
        stdio.chain(self.extra.iter().copied()).collect()
    }
}

/// What the child does to its table.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// What they follow from, if there has been a child. The next one with the same sources does the same.
    pub(super) sources: Option<Sources>,
    /// The table is the parent's until the child cuts it off here; `None` where it has a copy already.
    pub(super) share_below: Option<u32>,
    /// Ranges of descriptors below `share_below` which are the business of others: closed before anything that can
    /// take time, as a sibling's pipe would be held open meanwhile.
    pub(super) foreign: Vec<(u32, u32)>,
    pub(super) moves: Vec<Move>,
    /// Ranges of descriptors to close after the moves, where the table is a copy of the whole.
    pub(super) gaps: Vec<(u32, u32)>,
}

impl Lists {
    /// Empties them, and keeps their memory.
    pub(super) fn clear(&mut self) {
        self.share_below = None;
        self.foreign.clear();
        self.moves.clear();
        self.gaps.clear();
    }
}

/// Where the parent finds the first step that failed. `step` 0 means: none yet.
#[derive(Debug, Default)]
pub(super) struct Report {
    step: AtomicU32,
    errno: AtomicU32,
}

impl Report {
    /// Why the parent could not do its part. It writes this before it answers at the gate.
    pub(super) fn refuse(&self, errno: i32) {
        self.errno.store(errno as u32, Ordering::Release);
    }

    /// The error number of that, for the child.
    pub(super) fn refused(&self) -> i32 {
        self.errno.load(Ordering::Acquire) as i32
    }

    /// What failed in the child, which does nothing after it but end.
    pub(super) fn fail(&self, step: StartStep, errno: i32) {
        self.errno.store(errno as u32, Ordering::Release);
        self.step.store(step as u32 + 1, Ordering::Release);
    }

    /// The step and the error number, if one failed.
    pub(super) fn failure(&self) -> Option<(StartStep, i32)> {
        let number = self.step.load(Ordering::Acquire).checked_sub(1)?;
        Some((
            StartStep::from_number(number)?,
            self.errno.load(Ordering::Acquire) as i32,
        ))
    }
}

/// The values of `Plan::gate`: the kernel's word on the child's use of our memory (`CLONE_CHILD_CLEARTID`, clone(2)), and
/// before that those of parent and child while they write id maps together.
pub(super) mod gate {
    /// The kernel's, when the child no longer uses our memory.
    pub(in super::super) const RELEASED: u32 = 0;
    pub(in super::super) const STARTED: u32 = 1;
    pub(in super::super) const WANTS_MAPS: u32 = 2;
    pub(in super::super) const HAS_MAPS: u32 = 3;
    pub(in super::super) const REFUSED: u32 = 4;
}
