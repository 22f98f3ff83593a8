//! The parent's side of a start on Linux: the block of low descriptors, the clone, and its fallbacks.
//! Unaware of pipes' other ends and of the reactor.
//!
//! The child shares the parent's descriptor table for one system call only: with its own ends at low numbers, its
//! first act copies just those. A start therefore costs the same however many descriptors the parent opens above them.
//! Its thread does not wait for it: several children are on their way to their exec at once, each in a [`Cradle`], until the
//! kernel clears a word (`CLONE_CHILD_CLEARTID`). Where that cannot be, [`Spawner::waits`] says so.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::child;
use super::clone::{Dumpable, SignalMask, clone, clone3, enter_group};
use super::cradle::{Birth, Cradle, Nulls};
use super::fd_table::FdTable;
use super::id_maps::accompany;
use super::process::Child;
use super::raw;
use crate::sys::{Launch, StartFailure, StartStep, now};

/// So many children may be on their way to their exec.
const STARTS_UNDER_WAY_MAX: usize = 16;

/// How often it is looked whether a child that is waited for has come further.
const LOOK: Duration = Duration::from_micros(100);

/// Starts children. Keeps what one start leaves for the next: the cradles, and what was refused.
#[derive(Debug)]
pub(super) struct Spawner {
    /// Shared with the cradles of children that still find them at these numbers.
    pub(super) nulls: Arc<Nulls>,
    pub(super) cradles: Vec<Cradle>,
    fd_table: FdTable,
    /// How many children were born in cradles: what tells them apart.
    births: u32,
    /// Those of them whose start has failed, by their serials, until they are reaped.
    failed: Vec<(u32, StartFailure)>,
    /// clone3(2) has not been refused.
    pub(super) has_clone3: bool,
    /// close_range(2) has not been refused.
    shares_table: bool,
}

/// The outcome of one attempt, which tells a refused mechanism from a failed start.
enum Attempt {
    /// `is_under_way`: it still uses its cradle.
    Started {
        child: Child,
        is_under_way: bool,
    },
    Refused,
    Failed(StartFailure),
}

impl Spawner {
    pub(super) fn new() -> io::Result<Spawner> {
        let nulls = Arc::new(Nulls::new()?);
        Ok(Spawner {
            cradles: vec![Cradle::new(&nulls)?],
            nulls,
            fd_table: FdTable::new(),
            births: 0,
            failed: Vec::new(),
            has_clone3: raw::HAS_CLONE3,
            shares_table: child::has_close_range(),
        })
    }

    /// Whether the clone returns only when its child has executed or failed (`CLONE_VFORK`). Each reason stands in
    /// docs/design.md, "Where a start waits".
    pub(super) fn waits(&self, launch: &Launch) -> bool {
        let attributes = &launch.program.attributes;
        cfg!(execloop_start_waits)
            || !self.has_clone3
            || !self.shares_table
            || launch.has_files()
            || attributes.session
            || launch.foreground().is_some()
            || launch.cgroup().is_some()
            || attributes.changes_credentials()
            || attributes.has_id_maps()
    }

    /// There is a cradle for one more.
    pub(super) fn has_room(&self) -> bool {
        self.cradles.len() < STARTS_UNDER_WAY_MAX || self.cradles.iter().any(Cradle::is_free)
    }

    /// Takes back what children on their way no longer use.
    pub(super) fn settle(&mut self) {
        for index in 0..self.cradles.len() {
            self.settle_one(index);
        }
    }

    fn settle_one(&mut self, index: usize) {
        let cradle = self.cradles.get_mut(index);
        let settled = cradle.and_then(|cradle| cradle.settle(&self.nulls));
        if let Some((serial, Some((step, errno)))) = settled {
            let error = io::Error::from_raw_os_error(errno);
            let mut failure = StartFailure::new(step, error);
            failure.has_another_way = self.is_table_refused(index, step, errno);
            self.failed.push((serial, failure));
        }
    }

    /// A filter that was put in place since has refused close_range(2) to this cradle's child. The next ones do without.
    fn is_table_refused(&mut self, index: usize, step: StartStep, errno: i32) -> bool {
        let cradle = self.cradles.get(index);
        let is_refused = step == StartStep::Descriptors
            && matches!(errno, libc::ENOSYS | libc::EPERM)
            && cradle.is_some_and(|cradle| cradle.plan.lists.share_below.is_some());
        self.shares_table &= !is_refused;
        is_refused
    }

    /// This child has executed its program, or was ended by somebody else before.
    pub(super) fn has_executed(&mut self, child: &Child) -> bool {
        let Some(birth) = child.birth() else {
            return true;
        };
        self.settle_one(birth.cradle as usize);
        let cradle = self.cradles.get(birth.cradle as usize);
        // Not what the word says now: what has failed since is not taken yet.
        let is_under_way =
            cradle.is_some_and(|cradle| cradle.serial == birth.serial && !cradle.is_settled());
        !is_under_way && !self.has_failed(birth)
    }

    fn has_failed(&self, birth: Birth) -> bool {
        let mut failed = self.failed.iter();
        failed.any(|(serial, ..)| *serial == birth.serial)
    }

    /// Why a child that has ended was not started, if that is why. `is_reaped`: it was this process's to reap until now, or
    /// the kernel has told its status.
    pub(super) fn take_failure(&mut self, child: &Child, is_reaped: bool) -> Option<StartFailure> {
        let birth = child.birth()?;
        if is_reaped && let Some(cradle) = self.cradles.get_mut(birth.cradle as usize) {
            cradle.release(birth.serial);
        }
        self.settle_one(birth.cradle as usize);
        let mut failed = self.failed.iter();
        let place = failed.position(|(serial, ..)| *serial == birth.serial)?;
        Some(self.failed.swap_remove(place).1)
    }

    /// Waits for a child's exec, no longer than that. `false`: its start has failed.
    pub(super) fn await_exec(&mut self, child: &Child, until: Instant) -> bool {
        while !self.has_executed(child) {
            if child.birth().is_some_and(|birth| self.has_failed(birth)) {
                return false;
            }
            if !sleep_before(until) {
                break;
            }
        }
        true
    }

    /// Waits until a child has a table of its own, no longer than that. It gets there with its first instruction, unless
    /// somebody stops it before.
    pub(super) fn await_table(&mut self, child: &Child, until: Instant) {
        let Some(birth) = child.birth() else {
            return;
        };
        let shares = |cradle: &Cradle| cradle.serial == birth.serial && cradle.shares_table();
        while self.cradles.get(birth.cradle as usize).is_some_and(shares) {
            if !sleep_before(until) {
                return;
            }
        }
        self.settle_one(birth.cradle as usize);
    }

    /// The pids of children that share the table.
    pub(super) fn newborn(&self) -> Vec<u32> {
        let sharing = self.cradles.iter().filter(|cradle| cradle.shares_table());
        sharing.map(|cradle| cradle.pid).collect()
    }

    /// Closes our end of a pipe. Its child keeps the number until its exec, and while it uses our table, a file that another
    /// thread opens there would be the child's, too: until then its cradle has the end.
    pub(super) fn retire(&mut self, end: OwnedFd) {
        let number = end.as_raw_fd();
        let mut cradles = self.cradles.iter_mut();
        if let Some(cradle) = cradles.find(|cradle| cradle.keeps_number(number)) {
            cradle.retire(end);
        }
    }

    /// Gives back what idle cradles hold, but for the first. `false`: there was nothing.
    pub(super) fn shrink(&mut self) -> bool {
        self.settle();
        let before = self.cradles.len();
        // A child names its cradle by its place.
        while self.cradles.len() > 1 && self.cradles.last().is_some_and(Cradle::is_settled) {
            self.cradles.pop();
        }
        self.cradles.len() < before
    }

    fn free_cradle(&mut self) -> io::Result<usize> {
        let settled = |cradles: &[Cradle]| cradles.iter().position(Cradle::is_settled);
        let mut free = settled(&self.cradles);
        if free.is_none() {
            self.settle();
            free = settled(&self.cradles);
        }
        if let Some(free) = free {
            return Ok(free);
        }
        if self.cradles.len() == STARTS_UNDER_WAY_MAX {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        self.cradles.push(Cradle::new(&self.nulls)?);
        Ok(self.cradles.len() - 1)
    }

    /// Starts the child. `ends` are its ends of the pipes, `ours` the numbers of the other ends.
    pub(super) fn spawn(
        &mut self,
        launch: &Launch,
        ends: [Option<OwnedFd>; 3],
        ours: &[Option<i32>; 3],
    ) -> Result<Child, StartFailure> {
        let failed = |error| StartFailure::new(StartStep::Open, error);
        let index = self.free_cradle().map_err(failed)?;
        let had_clone3 = self.has_clone3;
        self.grow_table(ours);
        loop {
            match self.attempt(index, launch, &ends, ours) {
                Attempt::Started {
                    mut child,
                    is_under_way,
                } => {
                    if launch.cgroup().is_some() {
                        // What was refused may have been to be born in the cgroup, in place of going there.
                        self.has_clone3 = had_clone3;
                    }
                    self.fd_table.note(child.as_fd().as_raw_fd());
                    if is_under_way {
                        self.births = self.births.wrapping_add(1);
                        let serial = self.births;
                        let cradle = &mut self.cradles[index];
                        (cradle.serial, cradle.pid) = (serial, child.pid());
                        cradle.occupy(ends, &self.nulls);
                        let cradle = index as u32;
                        child.is_born_in(Birth { cradle, serial });
                    }
                    return Ok(child);
                }
                Attempt::Failed(failure) => {
                    // It is not known to be clone3(2) that the kernel minded.
                    self.has_clone3 = had_clone3;
                    return Err(failure);
                }
                Attempt::Refused => {}
            }
        }
    }

    /// While no child shares the table, which most are done with at once.
    fn grow_table(&mut self, ours: &[Option<i32>; 3]) {
        for number in ours.iter().flatten() {
            self.fd_table.note(*number);
        }
        if self.fd_table.is_short() && !self.cradles.iter().any(Cradle::shares_table) {
            self.fd_table.grow(self.nulls.input.as_fd());
        }
    }

    /// Each refusal takes one mechanism out of use, so `spawn` tries at most three times.
    fn attempt(
        &mut self,
        index: usize,
        launch: &Launch,
        ends: &[Option<OwnedFd>; 3],
        ours: &[Option<i32>; 3],
    ) -> Attempt {
        let shares = self.shares_table && !launch.program.attributes.inherit_fds;
        if shares {
            if self.nulls.are_late() {
                self.settle();
                // A sibling that shares the table still finds them at their old numbers.
                if let Some(nulls) = Arc::get_mut(&mut self.nulls) {
                    nulls.sink();
                }
            }
            self.cradles[index].sink();
        }
        let waits = self.waits(launch);
        let outcome = match self.plan(index, launch, ends, ours, (shares, waits)) {
            Ok(()) => self.clone_child(index, launch, waits),
            Err(failure) => Attempt::Failed(failure),
        };
        let is_under_way = matches!(
            outcome,
            Attempt::Started {
                is_under_way: true,
                ..
            }
        );
        if !is_under_way {
            self.cradles[index].clear(&self.nulls);
        }
        outcome
    }

    fn clone_child(&mut self, index: usize, launch: &Launch, waits: bool) -> Attempt {
        let attributes = &launch.program.attributes;
        let block_signals = !self.has_clone3 || attributes.changes_group();
        let mask = if block_signals {
            Some(SignalMask::block_all())
        } else {
            None
        };
        let cradle = &mut self.cradles[index];
        cradle.plan.mask = mask.as_ref().map(|mask| mask.before);
        let dumpable = attributes.changes_credentials().then(Dumpable::remember);
        let (plan, stack) = (&*cradle.plan, cradle.stack());
        let born = if self.has_clone3 {
            clone3(plan, attributes, stack, waits)
        } else {
            clone(plan, attributes, stack, waits)
        };
        let result = born.map(|(pid, pidfd)| {
            if attributes.has_id_maps() {
                accompany(plan, pid, attributes);
            }
            if !waits && let Some(group) = attributes.process_group {
                enter_group(pid, group);
            }
            Child::new(pid, pidfd)
        });
        drop(dumpable);
        drop(mask);
        let failure = plan.report.failure();
        let has_cgroup = launch.cgroup().is_some();
        match result {
            Err(error) => self.clone_failed(error, has_cgroup),
            Ok(Err(error)) => Attempt::Failed(StartFailure::new(StartStep::Clone, error)),
            Ok(Ok(child)) if !waits => Attempt::Started {
                child,
                is_under_way: true,
            },
            Ok(Ok(child)) => match failure {
                None => Attempt::Started {
                    child,
                    is_under_way: false,
                },
                Some((step, errno)) => {
                    child.reap_failed_start();
                    let error = io::Error::from_raw_os_error(errno);
                    if self.is_table_refused(index, step, errno) {
                        Attempt::Refused
                    } else {
                        Attempt::Failed(StartFailure::new(step, error))
                    }
                }
            },
        }
    }

    /// Old kernels and seccomp filters refuse clone3(2) as a whole; clone(2) will tell whether it was that.
    #[cold]
    fn clone_failed(&mut self, error: io::Error, has_cgroup: bool) -> Attempt {
        let number = error.raw_os_error().unwrap_or(libc::EIO);
        let refused = matches!(
            number,
            libc::ENOSYS | libc::EPERM | libc::EINVAL | libc::E2BIG
        );
        if self.has_clone3 && refused {
            self.has_clone3 = false;
            return Attempt::Refused;
        }
        let of_cgroup = matches!(
            number,
            libc::EACCES
                | libc::EBUSY
                | libc::EOPNOTSUPP
                | libc::EBADF
                | libc::ENOENT
                | libc::ENODEV
        );
        let step = if has_cgroup && of_cgroup {
            StartStep::Cgroup
        } else {
            StartStep::Clone
        };
        Attempt::Failed(StartFailure::new(step, error))
    }
}

/// `false`: it is that late already.
#[expect(
    clippy::disallowed_methods,
    reason = "no event announces what is waited for here"
)]
fn sleep_before(until: Instant) -> bool {
    let is_early = now() < until;
    if is_early {
        std::thread::sleep(LOOK);
    }
    is_early
}
