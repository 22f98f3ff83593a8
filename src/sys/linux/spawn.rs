//! The parent's side of a start on Linux: the block of low descriptors, the clone, and its fallbacks.
//! Unaware of pipes' other ends and of the reactor.
//!
//! The child shares the parent's descriptor table for one system call only: with its own ends at low numbers, its
//! first act copies just those. A start therefore costs the same however many descriptors the parent opens above them.
//! And nobody waits for it: several children are on their way to their exec at once, each in a [`Cradle`], until the
//! kernel clears a word (`CLONE_CHILD_CLEARTID`). Where that cannot be, [`Spawner::waits`] says so.
#![allow(unsafe_code, reason = "clone, signal masks, a stack")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::child::{self, Plan, Report, gate};
use super::cradle::{Carried, Cradle, Nulls, STACK_BYTES, Stack};
use super::process::Child;
use super::raw::{self, CloneArguments};
use crate::sys::fd::{fd_limit_before_raise, is_open};
use crate::sys::plan::{Attributes, IdMap, Mapping, foreign, gaps, layout, stashes};
use crate::sys::{Launch, StartFailure, StartStep, Stdio, cvt, now};

/// `CLONE_CLEAR_SIGHAND` (Linux 5.5): caught signals get their default action in the child.
const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// `CLONE_INTO_CGROUP` (Linux 5.7): the child is born in the cgroup.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// So many children may be on their way to their exec.
const STARTS_UNDER_WAY_MAX: usize = 16;

/// How long the spawner's end waits for children who have not been given a processor yet, and how often it looks.
const TABLE_WAIT: Duration = Duration::from_millis(1000);
const TABLE_LOOK: Duration = Duration::from_micros(100);

/// Starts children. Keeps what one start leaves for the next: the cradles, and what was refused.
#[derive(Debug)]
pub(super) struct Spawner {
    nulls: Nulls,
    cradles: Vec<Cradle>,
    /// Children whose start has failed, until they are reaped: pid, step and error number.
    failed: Vec<(u32, StartStep, i32)>,
    /// clone3(2) has not been refused.
    has_clone3: bool,
    /// close_range(2) has not been refused.
    shares_table: bool,
}

/// Which start of which cradle a child is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    cradle: usize,
    serial: u32,
}

/// The outcome of one attempt, where a refused mechanism is told from a failed start.
enum Attempt {
    /// With what the child still uses, if it is under way.
    Started(Child, Option<(Box<Plan>, Carried)>),
    Refused,
    Failed(StartFailure),
}

impl Spawner {
    pub(super) fn new() -> io::Result<Spawner> {
        let nulls = Nulls::new()?;
        Ok(Spawner {
            cradles: vec![Cradle::new(&nulls)?],
            nulls,
            failed: Vec::new(),
            has_clone3: raw::HAS_CLONE3,
            shares_table: child::has_close_range(),
        })
    }

    /// Whether the clone returns only when its child has executed or failed (`CLONE_VFORK`). So it is where the child does
    /// something to memory that both share, beyond its own stack and plan: other credentials clear *dumpable*, id maps are
    /// written by both, fallbacks for old kernels reset signals one by one. Where the caller gave a descriptor of his: ours
    /// is to be closed when the start returns, as he may wait for the other end. Where the child leaves our process group by
    /// an act of its own: until then, a signal to its group would be one to ours. And where nobody can tell when the child is
    /// done with it: on architectures without system calls by hand, and under sanitizers, whose code keeps accounts in what
    /// both share. `--cfg execloop_start_waits` makes all starts wait.
    fn waits(&self, attributes: &Attributes, has_files: bool) -> bool {
        cfg!(execloop_start_waits)
            || !self.has_clone3
            || !self.shares_table
            || has_files
            || attributes.session
            || attributes.foreground.is_some()
            || attributes.changes_credentials()
            || attributes.has_id_maps()
    }

    /// There is a cradle for one more.
    pub(super) fn has_room(&self) -> bool {
        self.cradles.len() < STARTS_UNDER_WAY_MAX || self.cradles.iter().any(Cradle::is_free)
    }

    /// Takes back what children on their way no longer use.
    pub(super) fn settle(&mut self) {
        for cradle in &mut self.cradles {
            if let Some((pid, Some((step, errno)))) = cradle.settle(&self.nulls) {
                self.failed.push((pid, step, errno));
            }
        }
    }

    /// This child has executed its program, or was ended by somebody else before.
    pub(super) fn has_executed(&mut self, child: &Child) -> bool {
        let Some(birth) = child.birth() else {
            return true;
        };
        self.settle();
        let cradle = self.cradles.get(birth.cradle);
        // Not what the word says now: what has failed since is not taken yet.
        let is_under_way =
            cradle.is_some_and(|cradle| cradle.serial == birth.serial && !cradle.is_settled());
        !is_under_way && self.failed.iter().all(|(pid, ..)| *pid != child.pid())
    }

    /// Why a child that has ended was not started, if that is why.
    pub(super) fn take_failure(&mut self, child: &Child) -> Option<StartFailure> {
        child.birth()?;
        self.settle();
        let mut failed = self.failed.iter();
        let place = failed.position(|(pid, ..)| *pid == child.pid())?;
        let (_, step, errno) = self.failed.swap_remove(place);
        Some(StartFailure::new(step, io::Error::from_raw_os_error(errno)))
    }

    /// Waits until no child uses the parent's table: what a command is made of is about to be closed. A child gets there
    /// with its first instruction, unless somebody stops it before; so this does not last for ever.
    pub(super) fn part_tables(&mut self) {
        let until = now() + TABLE_WAIT;
        while self.cradles.iter().any(Cradle::shares_table) && now() < until {
            nap(TABLE_LOOK);
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
        self.settle();
        if let Some(free) = self.cradles.iter().position(Cradle::is_settled) {
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
        ours: &[i32],
    ) -> Result<Child, StartFailure> {
        let failed = |error| StartFailure::new(StartStep::Open, error);
        let index = self.free_cradle().map_err(failed)?;
        let had_clone3 = self.has_clone3;
        loop {
            match self.attempt(index, launch, &ends, ours) {
                Attempt::Started(mut child, born) => {
                    if let Some((plan, carried)) = born {
                        let cradle = &mut self.cradles[index];
                        cradle.occupy(plan, child.pid(), ends, carried);
                        child.is_born_in(Birth {
                            cradle: index,
                            serial: cradle.serial,
                        });
                    }
                    return Ok(child);
                }
                Attempt::Failed(failure) => {
                    if failure.step == StartStep::Clone {
                        // clone(2) was refused as well, so clone3(2) was not what the kernel minded.
                        self.has_clone3 = had_clone3;
                    }
                    return Err(failure);
                }
                Attempt::Refused => {}
            }
        }
    }

    /// Each refusal takes one mechanism out of use, so `spawn` tries at most three times.
    fn attempt(
        &mut self,
        index: usize,
        launch: &Launch,
        ends: &[Option<OwnedFd>; 3],
        ours: &[i32],
    ) -> Attempt {
        let shares = self.shares_table && !launch.program.attributes.inherit_fds;
        if shares {
            self.nulls.sink();
            self.cradles[index].sink();
        }
        let planned = self.plan(index, launch, ends, ours, shares);
        let outcome = match planned {
            Ok((plan, carried)) => {
                let mut stdio = launch.stdio.iter();
                let has_files = stdio.any(|stdio| matches!(stdio, Stdio::File(_)))
                    || launch.extra.iter().any(|(_, fd)| fd.is_some());
                self.clone_child(index, plan, carried, has_files)
            }
            Err(failure) => Attempt::Failed(failure),
        };
        if !matches!(outcome, Attempt::Started(_, Some(_))) {
            self.cradles[index].take_back(&self.nulls);
        }
        outcome
    }

    /// What the child is to do. Where the table is shared, everything that it needs goes to low numbers first.
    fn plan(
        &mut self,
        index: usize,
        launch: &Launch,
        ends: &[Option<OwnedFd>; 3],
        ours: &[i32],
        shares: bool,
    ) -> Result<(Box<Plan>, Carried), StartFailure> {
        let attributes = &launch.program.attributes;
        let carried = self.carry(index, launch, shares)?;
        let failed = |error| StartFailure::new(StartStep::Open, error);
        let mut mappings = Vec::with_capacity(3 + launch.extra.len());
        let mut pipes = Vec::new();
        for (stdio, target) in launch.stdio.iter().zip(0..) {
            let source = match stdio {
                Stdio::Null if target == 0 => Some(self.nulls.input.as_raw_fd()),
                Stdio::Null => Some(self.nulls.output.as_raw_fd()),
                // Where nothing is there, the kernel may put the new pidfd, and the child is not to find that.
                Stdio::Inherit => is_open(target).then_some(target),
                Stdio::File(fd) => Some(
                    self.place(index, fd.as_fd(), shares, false)
                        .map_err(failed)?,
                ),
                Stdio::Pipe => match &ends[target as usize] {
                    Some(end) => Some(
                        self.place(index, end.as_fd(), shares, true)
                            .map_err(failed)?,
                    ),
                    None => None,
                },
                Stdio::SameAsStdout => mappings.get(1).and_then(|(source, _)| *source),
                Stdio::Closed => None,
            };
            if matches!(stdio, Stdio::Pipe) {
                pipes.push(target);
            }
            mappings.push((source, target));
        }
        for (target, fd) in &launch.extra {
            let source = match fd {
                Some(fd) => Some(
                    self.place(index, fd.as_fd(), shares, false)
                        .map_err(failed)?,
                ),
                None => None,
            };
            mappings.push((source, *target));
        }
        let cradle = &mut self.cradles[index];
        let spares = cradle.spares(&self.nulls, stashes(&mappings), &mappings);
        let spares = spares.map_err(failed)?;
        let mut moves = Vec::with_capacity(mappings.len() + spares.len());
        layout(&mappings, &spares, &mut moves);
        let share_below = shares.then(|| first_above(&mappings, &carried));
        let mut late = Vec::new();
        if !shares && !attributes.inherit_fds {
            gaps(&mappings, &mut late);
        }
        let foreign = share_below.map_or_else(Vec::new, |first| {
            let sources = mappings.iter().filter_map(|(source, _)| *source);
            let used = [carried.foreground, carried.cgroup_procs];
            let own = sources.chain(used.into_iter().flatten());
            foreign(&own.chain(ours.iter().copied()).collect::<Vec<_>>(), first)
        });
        let plan = Plan {
            program: Arc::clone(&launch.program),
            environment: Arc::clone(&launch.environment),
            share_below,
            foreign,
            has_table: AtomicU32::new(0),
            moves,
            pipes,
            gaps: late,
            reset_handlers: !self.has_clone3,
            mask: None,
            cgroup: cgroup_of(launch).map(|cgroup| cgroup.as_raw_fd()),
            cgroup_procs: carried.cgroup_procs,
            foreground: carried.foreground,
            fd_limit: fd_limit_before_raise(),
            // Only who is to die with its parent asks for it.
            parent: if attributes.knows_parent() {
                std::process::id()
            } else {
                0
            },
            gate: AtomicU32::new(gate::STARTED),
            report: Report::default(),
        };
        Ok((Box::new(plan), carried))
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

    /// Descriptors that the child uses before its exec and does not keep.
    fn carry(
        &mut self,
        index: usize,
        launch: &Launch,
        shares: bool,
    ) -> Result<Carried, StartFailure> {
        let attributes = &launch.program.attributes;
        let failed = |step| move |error| StartFailure::new(step, error);
        let mut carried = Carried::default();
        if let Some(terminal) = &attributes.foreground {
            let placed = self.place(index, terminal.as_fd(), shares, false);
            carried.foreground = Some(placed.map_err(failed(StartStep::Open))?);
        }
        if let Some(cgroup) = cgroup_of(launch)
            && !self.has_clone3
        {
            let procs = open_procs(cgroup.as_fd()).map_err(failed(StartStep::Cgroup))?;
            let placed = self.place(index, procs.as_fd(), shares, true);
            carried.cgroup_procs = Some(placed.map_err(failed(StartStep::Open))?);
            carried.cgroup_file = Some(procs);
        }
        Ok(carried)
    }

    fn clone_child(
        &mut self,
        index: usize,
        mut plan: Box<Plan>,
        carried: Carried,
        has_files: bool,
    ) -> Attempt {
        let program = Arc::clone(&plan.program);
        let attributes = &program.attributes;
        let waits = self.waits(attributes, has_files);
        let block_signals = !self.has_clone3 || attributes.changes_group();
        let mask = if block_signals {
            Some(SignalMask::block_all())
        } else {
            None
        };
        plan.mask = mask.as_ref().map(|mask| mask.before);
        let dumpable = attributes.changes_credentials().then(Dumpable::remember);
        let stack = self.cradles[index].stack();
        let born = if self.has_clone3 {
            clone3(&plan, stack, waits)
        } else {
            clone(&plan, stack, waits)
        };
        let result = born.map(|(pid, pidfd)| {
            if attributes.has_id_maps() {
                accompany(&plan, pid, attributes);
            }
            if !waits && let Some(group) = attributes.process_group {
                enter_group(pid, group);
            }
            Child::new(pid, pidfd)
        });
        drop(dumpable);
        drop(mask);
        match result {
            Err(error) => self.clone_failed(error, plan.cgroup.is_some()),
            Ok(Err(error)) => Attempt::Failed(StartFailure::new(StartStep::Clone, error)),
            Ok(Ok(child)) if !waits => Attempt::Started(child, Some((plan, carried))),
            Ok(Ok(child)) => match plan.report.failure() {
                None => Attempt::Started(child, None),
                Some((step, errno)) => {
                    child.reap_failed_start();
                    let error = io::Error::from_raw_os_error(errno);
                    Attempt::Failed(StartFailure::new(step, error))
                }
            },
        }
    }

    /// Old kernels and seccomp filters refuse clone3(2) as a whole; clone(2) will tell whether it was that.
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

/// Puts the child into its group, as it does itself: whoever is first. From here on, a signal to the child's group is not one
/// to ours, and others can join it.
fn enter_group(pid: u32, group: i32) {
    // SAFETY: setpgid(2) takes two numbers. That it fails means that the child has executed, ended, or may not: it tells.
    unsafe { libc::setpgid(libc::pid_t::try_from(pid).unwrap_or(-1), group) };
}

fn flags(plan: &Plan, waits: bool) -> u64 {
    let attributes = &plan.program.attributes;
    // With id maps the parent has to act while the child waits; the kernel then opens the gate at the exec, too.
    let waiting = if waits && !attributes.has_id_maps() {
        libc::CLONE_VFORK
    } else {
        libc::CLONE_CHILD_CLEARTID
    };
    let table = if plan.share_below.is_some() {
        libc::CLONE_FILES
    } else {
        0
    };
    (libc::CLONE_VM | libc::CLONE_PIDFD | waiting | table) as u64 | attributes.namespaces.flags()
}

fn clone3(plan: &Plan, stack: &Stack, waits: bool) -> io::Result<(u32, i32)> {
    let mut pidfd = -1;
    let mut arguments = CloneArguments {
        flags: flags(plan, waits) | CLEAR_SIGHAND,
        pidfd: ptr::from_mut(&mut pidfd).expose_provenance() as u64,
        child_tid: plan.gate.as_ptr().expose_provenance() as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.low() as u64,
        stack_size: STACK_BYTES as u64,
        ..CloneArguments::default()
    };
    if let Some(cgroup) = plan.cgroup {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = cgroup as u64;
    }
    // SAFETY: the arguments name the stack of a free cradle, which no other child uses now; `child::run` never returns; the
    // plan outlives the child's use of this memory (CLONE_VFORK, `accompany`, or the cradle).
    let pid = unsafe { raw::clone3(&arguments, child::run, plan_pointer(plan)) };
    born(pid, pidfd)
}

fn clone(plan: &Plan, stack: &Stack, waits: bool) -> io::Result<(u32, i32)> {
    let mut pidfd = -1;
    let flags = libc::c_int::try_from(flags(plan, waits)).unwrap_or(-1);
    // The low byte is the exit signal here, so a flag in it (CLONE_NEWTIME) cannot be asked for.
    if flags & 0xff != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: as for `clone3`.
    let pid = unsafe {
        raw::clone(
            flags | libc::SIGCHLD,
            stack.low() + STACK_BYTES,
            &mut pidfd,
            plan.gate.as_ptr(),
            child::run,
            plan_pointer(plan),
        )
    };
    born(pid, pidfd)
}

/// The pid and the pidfd of a child, or the error that the kernel returned in the pid's place.
fn born(pid: isize, pidfd: i32) -> io::Result<(u32, i32)> {
    if pid < 0 {
        Err(io::Error::from_raw_os_error(-pid as i32))
    } else {
        Ok((pid as u32, pidfd))
    }
}

/// The directory of the cgroup that the child is to be in.
fn cgroup_of(launch: &Launch) -> Option<BorrowedFd<'_>> {
    let own = launch.cgroup.as_ref();
    let given = launch.program.attributes.cgroup.as_deref();
    own.or(given).map(AsFd::as_fd)
}

fn plan_pointer(plan: &Plan) -> *const libc::c_void {
    ptr::from_ref(plan).cast()
}

/// The first descriptor that the child needs no copy of.
fn first_above(mappings: &[Mapping], carried: &Carried) -> u32 {
    let sources = mappings.iter().filter_map(|(source, _)| *source);
    let carried = [carried.foreground, carried.cgroup_procs];
    let highest = sources.chain(carried.into_iter().flatten()).max();
    highest.map_or(3, |highest| highest.max(2) as u32 + 1)
}

/// Writes the id maps when the child asks for them, and returns when it no longer uses our memory.
fn accompany(plan: &Plan, pid: u32, attributes: &Attributes) {
    loop {
        match plan.gate.load(Ordering::Acquire) {
            gate::RELEASED => return,
            gate::WANTS_MAPS => {
                let answer = match write_id_maps(pid, attributes) {
                    Ok(()) => gate::HAS_MAPS,
                    Err(error) => {
                        plan.report
                            .refuse(error.raw_os_error().unwrap_or(libc::EIO));
                        gate::REFUSED
                    }
                };
                // The child may have been killed meanwhile, and the kernel's word be there: that one stays.
                let _ = plan.gate.compare_exchange(
                    gate::WANTS_MAPS,
                    answer,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                );
                child::wake(&plan.gate);
            }
            value => child::wait(&plan.gate, value),
        }
    }
}

fn write_id_maps(pid: u32, attributes: &Attributes) -> io::Result<()> {
    let lines = |maps: &[IdMap]| {
        maps.iter()
            .map(|map| format!("{} {} {}\n", map.inside, map.outside, map.count))
            .collect::<String>()
    };
    if !attributes.uid_maps.is_empty() {
        std::fs::write(format!("/proc/{pid}/uid_map"), lines(&attributes.uid_maps))?;
    }
    if !attributes.gid_maps.is_empty() {
        // Without this an unprivileged gid map is refused, see user_namespaces(7).
        let word = if attributes.setgroups_in_namespace {
            "allow"
        } else {
            "deny"
        };
        std::fs::write(format!("/proc/{pid}/setgroups"), word)?;
        std::fs::write(format!("/proc/{pid}/gid_map"), lines(&attributes.gid_maps))?;
    }
    Ok(())
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
    // SAFETY: openat(2) returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// All signals blocked on this thread, until dropped. Raw calls, as libc leaves out the signals that it uses itself.
struct SignalMask {
    before: u64,
}

impl SignalMask {
    fn block_all() -> SignalMask {
        let mut before = 0;
        Self::set(u64::MAX, Some(&mut before));
        SignalMask { before }
    }

    fn set(mask: u64, before: Option<&mut u64>) {
        let before = before.map_or(0, |before| ptr::from_mut(before).expose_provenance());
        let mask = ptr::from_ref(&mask).expose_provenance();
        // SAFETY: both addresses, where given, lead to 8 bytes that live across the call.
        let result = unsafe {
            raw::syscall(
                libc::SYS_rt_sigprocmask,
                [
                    libc::SIG_SETMASK as usize,
                    mask,
                    before,
                    size_of::<u64>(),
                    0,
                ],
            )
        };
        debug_assert_eq!(result, 0);
    }
}

impl Drop for SignalMask {
    fn drop(&mut self) {
        Self::set(self.before, None);
    }
}

/// Whether this process may be traced and dumped. A child that takes other credentials while it shares our memory
/// takes that from us; dropping this puts it back.
struct Dumpable {
    before: libc::c_int,
    _turn: MutexGuard<'static, ()>,
}

/// One thread's children at a time: another's would remember what the first one's child has just taken away.
static DUMPABLE_TURN: Mutex<()> = Mutex::new(());

impl Dumpable {
    fn remember() -> Dumpable {
        let turn = DUMPABLE_TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: prctl(2) with this option only reads.
        let before = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
        Dumpable {
            before,
            _turn: turn,
        }
    }
}

impl Drop for Dumpable {
    fn drop(&mut self) {
        // 2 can be read but not set.
        if self.before == 0 || self.before == 1 {
            // SAFETY: prctl(2) with this option takes one number.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, self.before as libc::c_ulong) };
        }
    }
}

/// Lets a moment pass. For the end of things alone: a loop sleeps in its poll.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody announces what is waited for here"
)]
fn nap(time: Duration) {
    std::thread::sleep(time);
}
