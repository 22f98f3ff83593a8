//! What one start under way needs until its child has executed: a stack, a plan, a part of the block of low descriptors.
//! Unaware of how children are made.
//!
//! The block is made of a few low descriptors that are always open, so that no other thread's `open` can take their numbers:
//! two `/dev/null`, and for each cradle some places, which hold a child's descriptors while it is on its way to a table of
//! its own, and a copy of `/dev/null` otherwise.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::fd::duplicate_onto;
use super::plan::{Plan, gate};
use super::stack::Stack;
use crate::sys::StartStep;
use crate::sys::fd::{duplicate, open_null};
use crate::sys::mapping::Mapping;

/// Below this a descriptor need not be moved for the child: the smallest table that the kernel makes has as many.
const LOW_FDS: i32 = 64;

/// A block at higher numbers than this was made when much was open. It moves down as soon as others leave room: each child
/// copies all the numbers below it.
const LATE_FDS: i32 = 256;

/// Places for a child's stdin, stdout and stderr; extra descriptors add to them.
const PLACES_MIN: usize = 3;

/// How many places of a cradle stay after a start that needed more.
const PLACES_KEPT_MAX: usize = 8;

/// The two ends of nothing that all children share.
#[derive(Debug)]
pub(super) struct Nulls {
    pub(super) input: OwnedFd,
    pub(super) output: OwnedFd,
}

impl Nulls {
    pub(super) fn new() -> io::Result<Nulls> {
        Ok(Nulls {
            input: open_null(libc::O_RDONLY)?,
            output: open_null(libc::O_WRONLY)?,
        })
    }

    /// They are to move to lower numbers, if there are any.
    pub(super) fn are_late(&self) -> bool {
        self.input.as_raw_fd() >= LATE_FDS
    }

    pub(super) fn sink(&mut self) {
        if sink(&mut self.input) {
            sink(&mut self.output);
        }
    }
}

/// Moves a late descriptor to a lower number, if others have left one. `false`: it did not move.
fn sink(fd: &mut OwnedFd) -> bool {
    if fd.as_raw_fd() < LATE_FDS {
        return false;
    }
    match duplicate(fd.as_fd()) {
        Ok(lower) if lower.as_raw_fd() < fd.as_raw_fd() => {
            *fd = lower;
            true
        }
        _ => false,
    }
}

/// What a child has of ours besides its places, at the same numbers, until it has a table of its own.
#[derive(Debug)]
struct Shared {
    _ends: [Option<OwnedFd>; 3],
    _nulls: Arc<Nulls>,
    /// Our ends of its pipes that were closed before it had one.
    retired: Vec<OwnedFd>,
}

/// Which start of which cradle a child is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    pub(super) cradle: u32,
    /// No other child of its spawner has the same.
    pub(super) serial: u32,
}

/// A place for one start under way.
#[derive(Debug)]
pub(super) struct Cradle {
    stack: Stack,
    places: Vec<OwnedFd>,
    used: usize,
    /// The child uses it in place.
    pub(super) plan: Box<Plan>,
    /// A child was born by the plan, and what it had to say was not taken.
    is_occupied: bool,
    shared: Option<Shared>,
    /// Keeps `cgroup.procs` open until the child has a table of its own.
    pub(super) cgroup_file: Option<OwnedFd>,
    /// The process that made it.
    owner: u32,
    /// Of its last child.
    pub(super) serial: u32,
    pub(super) pid: u32,
}

impl Cradle {
    /// The places come at once, while low numbers are free.
    pub(super) fn new(nulls: &Nulls) -> io::Result<Cradle> {
        let mut cradle = Cradle {
            stack: Stack::new()?,
            places: Vec::with_capacity(PLACES_MIN),
            used: 0,
            plan: Box::default(),
            is_occupied: false,
            shared: None,
            cgroup_file: None,
            owner: std::process::id(),
            serial: 0,
            pid: 0,
        };
        cradle.grow(nulls, PLACES_MIN)?;
        Ok(cradle)
    }

    pub(super) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// What the last child in it had to say has been taken, too.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_occupied
    }

    /// No child uses it.
    pub(super) fn is_free(&self) -> bool {
        self.is_settled() || self.is_released()
    }

    /// The kernel says that the child uses our memory no more.
    fn is_released(&self) -> bool {
        self.plan.gate.load(Ordering::Acquire) == gate::RELEASED
    }

    /// Its child of this serial was reaped, and used nothing any more before it could be (`exit_mm` comes before `exit_notify`,
    /// `kernel/exit.c`): also where the kernel failed to clear the word.
    pub(super) fn release(&mut self, serial: u32) {
        if self.serial == serial && !self.is_settled() {
            self.plan.gate.store(gate::RELEASED, Ordering::Release);
        }
    }

    /// A child was born by its plan. Keeps what else it uses, until `settle` says that it does so no more.
    pub(super) fn occupy(&mut self, ends: [Option<OwnedFd>; 3], nulls: &Arc<Nulls>) {
        self.is_occupied = true;
        self.shared = Some(Shared {
            _ends: ends,
            _nulls: Arc::clone(nulls),
            retired: Vec::new(),
        });
    }

    /// Takes back what the child no longer uses. Returns its serial and what failed, once it uses nothing any more.
    pub(super) fn settle(&mut self, nulls: &Nulls) -> Option<(u32, Option<(StartStep, i32)>)> {
        if self.is_settled() {
            return None;
        }
        if self.is_released() {
            self.is_occupied = false;
            self.clear(nulls);
            return Some((self.serial, self.plan.report.failure()));
        }
        if !self.shares_table() {
            // At once: an end of a pipe that is left here would keep its reader waiting.
            self.take_back(nulls);
        }
        None
    }

    /// The child still uses the parent's table.
    pub(super) fn shares_table(&self) -> bool {
        !self.is_free()
            && self.plan.lists.share_below.is_some()
            && self.plan.has_table.load(Ordering::Acquire) == 0
    }

    /// The child's own table is going to have what is at this number then, as it was one of ours when the child was born.
    pub(super) fn keeps_number(&self, number: i32) -> bool {
        let sources = self.plan.lists.sources.as_ref();
        self.shares_table() && sources.is_some_and(|sources| sources.ours.contains(&Some(number)))
    }

    /// Forgets what was planned for a child that uses nothing of it.
    pub(super) fn clear(&mut self, nulls: &Nulls) {
        self.plan.exec = None;
        self.cgroup_file = None;
        self.take_back(nulls);
    }

    /// Keeps our end of a pipe until the child has a table of its own.
    pub(super) fn retire(&mut self, end: OwnedFd) {
        if let Some(shared) = &mut self.shared {
            shared.retired.push(end);
        }
    }

    fn grow(&mut self, nulls: &Nulls, places: usize) -> io::Result<()> {
        while self.places.len() < places {
            self.places.push(duplicate(nulls.input.as_fd())?);
        }
        Ok(())
    }

    /// Moves what is late to lower numbers.
    pub(super) fn sink(&mut self) {
        for place in &mut self.places {
            if !sink(place) {
                return;
            }
        }
    }

    /// The number at which the child finds `fd`: `fd` itself where the whole table is copied, or where it is low enough and
    /// ours, which are all close-on-exec; or a place.
    pub(super) fn place(
        &mut self,
        nulls: &Nulls,
        fd: BorrowedFd<'_>,
        shares: bool,
        is_ours: bool,
    ) -> io::Result<i32> {
        if !shares || (is_ours && fd.as_raw_fd() < LOW_FDS) {
            return Ok(fd.as_raw_fd());
        }
        self.grow(nulls, self.used + 1)?;
        let place = &mut self.places[self.used];
        match duplicate_onto(fd, place) {
            // The place lies above the limit on descriptors, which was lowered since.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => *place = duplicate(fd)?,
            result => result?,
        }
        self.used += 1;
        Ok(place.as_raw_fd())
    }

    /// Numbers for the first pass of a layout: places that are neither a source nor a target.
    pub(super) fn spares(
        &mut self,
        nulls: &Nulls,
        count: usize,
        mappings: &[Mapping],
    ) -> io::Result<Vec<i32>> {
        let mut spares = Vec::new();
        let mut next = self.used;
        while spares.len() < count {
            self.grow(nulls, next + 1)?;
            let place = self.places[next].as_raw_fd();
            if mappings
                .iter()
                .all(|(source, target)| *source != Some(place) && *target != place)
            {
                spares.push(place);
            }
            next += 1;
        }
        Ok(spares)
    }

    /// Takes back what is not at its child's numbers any more. Places that few starts need are closed, and so is one that
    /// cannot be taken back.
    fn take_back(&mut self, nulls: &Nulls) {
        self.shared = None;
        self.places.truncate(PLACES_KEPT_MAX);
        for index in (0..self.used.min(self.places.len())).rev() {
            if duplicate_onto(nulls.input.as_fd(), &self.places[index]).is_err() {
                drop(self.places.remove(index));
            }
        }
        self.used = 0;
    }
}

impl Drop for Cradle {
    /// Under a child that is still on its way nothing is freed: it keeps its stack and its plan for ever, which is what a
    /// program that cannot be executed costs; and one that was stopped at its birth what it has of our descriptors.
    fn drop(&mut self) {
        // A forked copy has neither its child's memory nor its table.
        if self.is_free() || std::process::id() != self.owner {
            return;
        }
        if self.shares_table() {
            mem::forget(self.shared.take());
            mem::forget(mem::take(&mut self.places));
        }
        mem::forget(mem::take(&mut self.plan));
        self.stack.is_lost = true;
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "fstat has no safe wrapper")]
mod tests {
    use super::super::plan::{Exec, Sources};
    use super::*;
    use crate::sys::CStrings;
    use crate::sys::attributes::Program;
    use crate::sys::fd::is_open;

    /// A child that shares the parent's table, and does nothing.
    fn bear(cradle: &mut Cradle, serial: u32, ends: [Option<OwnedFd>; 3], nulls: &Arc<Nulls>) {
        let program = Program {
            found: Some(c"/nowhere".to_owned()),
            argv: CStrings::default(),
            directory: None,
            attributes: Arc::default(),
        };
        cradle.plan.exec = Some(Exec::new(&Arc::new(program), &Arc::default()));
        cradle.plan.lists.share_below = Some(3);
        cradle.plan.gate.store(gate::STARTED, Ordering::Release);
        cradle.serial = serial;
        cradle.occupy(ends, nulls);
    }

    fn inode(fd: i32) -> libc::ino_t {
        // SAFETY: stat is plain numbers, for which zero is valid.
        let mut stat: libc::stat = unsafe { mem::zeroed() };
        // SAFETY: the structure has room for the answer.
        assert_eq!(unsafe { libc::fstat(fd, &raw mut stat) }, 0);
        stat.st_ino
    }

    #[test]
    fn places_are_taken_back_when_the_child_has_a_table_of_its_own_and_not_before() {
        let nulls = Arc::new(Nulls::new().expect("null"));
        let mut cradle = Cradle::new(&nulls).expect("a cradle");
        let (read, write) = io::pipe().expect("a pipe");
        let pipe = inode(read.as_raw_fd());
        let place = cradle.place(&nulls, read.as_fd(), true, false);
        let place = place.expect("a place");
        bear(
            &mut cradle,
            1,
            [None, Some(OwnedFd::from(write)), None],
            &nulls,
        );
        assert_eq!(cradle.settle(&nulls), None);
        assert_eq!(inode(place), pipe, "the child finds its end there");
        assert!(cradle.shares_table());

        cradle.plan.has_table.store(1, Ordering::Release);
        assert_eq!(cradle.settle(&nulls), None);
        assert_ne!(inode(place), pipe, "it belongs to no child");
        assert!(!cradle.shares_table() && !cradle.is_free());
        // Our copy of the other end is closed, too.
        let mut byte = [0];
        assert_eq!(io::Read::read(&mut &read, &mut byte).expect("read"), 0);
        cradle.plan.gate.store(gate::RELEASED, Ordering::Release);
    }

    #[test]
    fn an_end_of_ours_that_is_closed_is_kept_until_its_child_has_a_table_of_its_own() {
        let nulls = Arc::new(Nulls::new().expect("null"));
        let mut cradle = Cradle::new(&nulls).expect("a cradle");
        let (read, write) = io::pipe().expect("a pipe");
        let number = write.as_raw_fd();
        cradle.plan.lists.sources = Some(Sources {
            ours: [Some(number), None, None],
            ..Sources::default()
        });
        bear(&mut cradle, 1, [None, None, None], &nulls);
        assert!(cradle.keeps_number(number) && !cradle.keeps_number(read.as_raw_fd()));
        cradle.retire(write.into());
        assert_eq!(cradle.settle(&nulls), None);
        assert!(is_open(number), "its number is the child's, too");

        cradle.plan.has_table.store(1, Ordering::Release);
        assert!(!cradle.keeps_number(number));
        assert_eq!(cradle.settle(&nulls), None);
        let mut byte = [0];
        assert_eq!(io::Read::read(&mut &read, &mut byte).expect("read"), 0);
        cradle.plan.gate.store(gate::RELEASED, Ordering::Release);
    }

    #[test]
    fn what_a_child_shares_stays_open_when_its_spawner_is_dropped_and_what_it_has_itself_does_not()
    {
        for has_table in [false, true] {
            let nulls = Arc::new(Nulls::new().expect("null"));
            let mut cradle = Cradle::new(&nulls).expect("a cradle");
            let (end, ours) = io::pipe().expect("a pipe");
            let place = cradle.place(&nulls, end.as_fd(), true, false);
            let mut numbers = vec![place.expect("a place")];
            numbers.extend([&nulls.input, &nulls.output].map(AsRawFd::as_raw_fd));
            numbers.extend([end.as_raw_fd(), ours.as_raw_fd()]);
            bear(&mut cradle, 1, [Some(end.into()), None, None], &nulls);
            cradle.retire(ours.into());
            let shared = u32::from(has_table);
            cradle.plan.has_table.store(shared, Ordering::Release);
            let links: Vec<_> = numbers.iter().map(|number| inode(*number)).collect();
            drop(cradle);
            drop(nulls);
            if !has_table {
                let still = numbers.iter().map(|number| inode(*number));
                assert!(still.eq(links));
            } else {
                // Another test's file may be at one of them by now.
                assert!(!numbers.iter().all(|number| is_open(*number)));
            }
        }
    }

    #[test]
    fn a_child_that_was_reaped_is_done_with_its_own_cradle_though_the_word_says_otherwise() {
        let nulls = Arc::new(Nulls::new().expect("null"));
        let mut cradle = Cradle::new(&nulls).expect("a cradle");
        bear(&mut cradle, 7, [None, None, None], &nulls);
        cradle.release(6);
        assert!(!cradle.is_free(), "that was another's");
        cradle.release(7);
        assert_eq!(cradle.settle(&nulls), Some((7, None)));
    }

    #[test]
    fn a_report_is_taken_when_the_kernel_has_cleared_the_word_and_not_before() {
        let nulls = Arc::new(Nulls::new().expect("null"));
        let mut cradle = Cradle::new(&nulls).expect("a cradle");
        bear(&mut cradle, 7, [None, None, None], &nulls);
        cradle.plan.report.fail(StartStep::Exec, libc::ENOENT);
        // The child is on its stack until it ends.
        assert_eq!(cradle.settle(&nulls), None);
        assert!(!cradle.is_settled() && !cradle.is_free());
        assert!(cradle.plan.exec.is_some(), "and may not have executed yet");

        cradle.plan.gate.store(gate::RELEASED, Ordering::Release);
        assert!(cradle.is_free());
        let told = cradle.settle(&nulls);
        assert_eq!(told, Some((7, Some((StartStep::Exec, libc::ENOENT)))));
        assert!(cradle.is_settled() && cradle.plan.exec.is_none());
    }
}
