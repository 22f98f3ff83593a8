//! From a launch to the plan of its child: everything that it needs at numbers that it can have.
//! Unaware of how a child is made, and of what it does with the plan.
#![allow(unsafe_code, reason = "calls on raw descriptors")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU32;

use super::cradle::{Cradle, Nulls};
use super::layout::{layout, stashes};
use super::plan::{Circumstances, Exec, Report, Sources, gate};
use super::spawn::Spawner;
use crate::sys::fd::{above_stdio, fd_limit_before_raise, is_open};
use crate::sys::mapping::{gaps, targets};
use crate::sys::{Launch, StartFailure, StartStep, Stdio, Stream, cvt};

/// Descriptors that the child uses before its exec, by their numbers in its table.
#[derive(Default)]
struct Carried {
    foreground: Option<i32>,
    cgroup_procs: Option<i32>,
}

impl Spawner {
    /// Plans what the child is to do. Where it `shares` the table, everything that it needs goes to low numbers first.
    /// `waits`: its start lasts until its exec.
    pub(super) fn plan(
        &mut self,
        index: usize,
        launch: &Launch,
        ends: &[Option<OwnedFd>; 3],
        ours: &[Option<i32>; 3],
        (shares, waits): (bool, bool),
    ) -> Result<(), StartFailure> {
        let attributes = &launch.program.attributes;
        let carried = self.carry(index, launch, shares)?;
        let failed = |error| StartFailure::new(StartStep::Open, error);
        let mut sources = Sources {
            pipes: launch
                .stdio
                .each_ref()
                .map(|stdio| matches!(stdio, Stdio::Pipe)),
            used: [carried.foreground, carried.cgroup_procs],
            ours: *ours,
            shares,
            inherits: attributes.inherit_fds,
            ..Sources::default()
        };
        for (stdio, target) in launch.stdio.iter().zip(0..) {
            sources.stdio[target as usize] = match stdio {
                Stdio::Null if target == 0 => Some(self.nulls.input.as_raw_fd()),
                Stdio::Null => Some(self.nulls.output.as_raw_fd()),
                Stdio::Inherit => self
                    .inherited(index, target, shares && !waits)
                    .map_err(failed)?,
                Stdio::File(fd) => Some(
                    self.place(index, fd.as_fd(), shares, false)
                        .map_err(failed)?,
                ),
                Stdio::Pipe | Stdio::Terminal(_) | Stdio::TerminalOfStdout => {
                    match childs_end(ends, target) {
                        Some(end) => Some(
                            self.place(index, end.as_fd(), shares, true)
                                .map_err(failed)?,
                        ),
                        None => None,
                    }
                }
                Stdio::SameAsStdout => sources.stdio[Stream::Stdout as usize],
                Stdio::Closed => None,
            };
        }
        for (target, fd) in &launch.extra {
            let source = match fd {
                Some(fd) => Some(
                    self.place(index, fd.as_fd(), shares, false)
                        .map_err(failed)?,
                ),
                None => None,
            };
            sources.extra.push((source, *target));
        }
        let cradle = &mut self.cradles[index];
        cradle.lay_out(&self.nulls, sources).map_err(failed)?;
        let plan = &mut *cradle.plan;
        plan.exec = Some(Exec::new(&launch.program, &launch.environment));
        plan.has_table = AtomicU32::new(0);
        plan.mask = None;
        let circumstances = Circumstances {
            reset_handlers: !self.has_clone3,
            cgroup: launch.cgroup().map(AsRawFd::as_raw_fd),
            cgroup_procs: carried.cgroup_procs,
            foreground: carried.foreground,
            fd_limit: fd_limit_before_raise(),
        };
        if plan.circumstances != circumstances {
            plan.circumstances = circumstances;
        }
        // Only who is to die with its parent asks for it.
        plan.parent = if attributes.knows_parent() {
            std::process::id()
        } else {
            0
        };
        plan.gate = AtomicU32::new(gate::STARTED);
        plan.report = Report::default();
        Ok(())
    }

    fn place(
        &mut self,
        index: usize,
        fd: BorrowedFd<'_>,
        shares: bool,
        is_ours: bool,
    ) -> io::Result<i32> {
        self.cradles[index].place(&self.nulls, fd, shares, is_ours)
    }

    /// Where the child finds what is at this number of ours now: a child that nobody waits for takes it from a place, as
    /// another file may be put at the number once its start has returned. `None`: nothing is there. The kernel may then put the
    /// new pidfd there, and the child is not to find that.
    fn inherited(&mut self, index: usize, number: i32, places: bool) -> io::Result<Option<i32>> {
        if !places {
            return Ok(is_open(number).then_some(number));
        }
        // SAFETY: stdin, stdout or stderr, which is only copied, and may be closed.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        match self.place(index, fd, true, false) {
            Err(_) if !is_open(number) => Ok(None),
            placed => placed.map(Some),
        }
    }

    /// Descriptors that the child uses before its exec and does not keep.
    fn carry(
        &mut self,
        index: usize,
        launch: &Launch,
        shares: bool,
    ) -> Result<Carried, StartFailure> {
        let failed = |step| move |error| StartFailure::new(step, error);
        let mut carried = Carried::default();
        if let Some(terminal) = launch.foreground() {
            let placed = self.place(index, terminal.as_fd(), shares, false);
            carried.foreground = Some(placed.map_err(failed(StartStep::Open))?);
        }
        if let Some(cgroup) = launch.cgroup()
            && !self.has_clone3
        {
            let procs = open_procs(cgroup.as_fd()).map_err(failed(StartStep::Cgroup))?;
            let placed = self.place(index, procs.as_fd(), shares, true);
            carried.cgroup_procs = Some(placed.map_err(failed(StartStep::Open))?);
            self.cradles[index].cgroup_file = Some(procs);
        }
        Ok(carried)
    }
}

impl Cradle {
    /// What the child does to its table, which follows from its sources: spare numbers lead to nothing of the child's, whatever is
    /// at them by the time of a later one with the same sources.
    fn lay_out(&mut self, nulls: &Nulls, sources: Sources) -> io::Result<()> {
        if self.plan.lists.sources.as_ref() == Some(&sources) {
            return Ok(());
        }
        let mappings = sources.mappings();
        let spares = self.spares(nulls, stashes(&mappings), &mappings)?;
        let lists = &mut self.plan.lists;
        lists.clear();
        layout(&mappings, &spares, &mut lists.moves);
        let used = sources.used.into_iter().flatten();
        let own = mappings
            .iter()
            .filter_map(|(source, _)| *source)
            .chain(used);
        if sources.shares {
            let first = first_above(own.clone());
            let kept = own.chain(sources.ours.into_iter().flatten());
            gaps(kept, first - 1, &mut lists.foreign);
            lists.share_below = Some(first);
        } else if !sources.inherits {
            gaps(targets(&mappings), u32::MAX, &mut lists.gaps);
        }
        lists.sources = Some(sources);
        Ok(())
    }
}

/// The child's end of this descriptor's pipe or terminal. Who has no end of its own is on the terminal of stdout.
fn childs_end(ends: &[Option<OwnedFd>; 3], target: i32) -> Option<&OwnedFd> {
    let [_, stdout, _] = ends;
    ends.get(target as usize)?.as_ref().or(stdout.as_ref())
}

/// The first descriptor that a child with these needs no copy of.
fn first_above(own: impl Iterator<Item = i32>) -> u32 {
    own.max().map_or(3, |highest| highest.max(2) as u32 + 1)
}

/// The file of a cgroup that a process writes to to get in. `EBADF` for what is no cgroup of the unified hierarchy, as
/// clone3(2) has it.
fn open_procs(cgroup: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: statfs is plain numbers, for which zero is valid.
    let mut filesystem: libc::statfs = unsafe { mem::zeroed() };
    // SAFETY: the structure has room for the answer.
    cvt(unsafe { libc::fstatfs(cgroup.as_raw_fd(), &raw mut filesystem) })?;
    if filesystem.f_type as libc::c_long != libc::CGROUP2_SUPER_MAGIC as libc::c_long {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    // SAFETY: the name is a C string.
    let fd = cvt(unsafe { libc::openat(cgroup.as_raw_fd(), c"cgroup.procs".as_ptr(), flags) })?;
    // SAFETY: openat(2) returned a new descriptor, which has no other owner.
    above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })
}
