//! The parent's side of a start on Linux: the block of low descriptors, the clone, and its fallbacks.
//! Unaware of pipes' other ends and of the reactor.
//!
//! The child shares the parent's descriptor table for one system call only: with its own ends at low numbers, its
//! first act copies just those. A start therefore costs the same however many descriptors the parent opens above them.
#![allow(unsafe_code, reason = "clone, signal masks, a stack")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::child::{self, Plan, Report, gate};
use super::plan::{Attributes, IdMap, Mapping, Move, gaps, layout, stashes};
use super::raw::{self, CloneArguments};
use crate::sys::exit::Child;
use crate::sys::fd::{duplicate, duplicate_onto, fd_limit_before_raise, is_open, open_null};
use crate::sys::{Launch, StartFailure, Stdio, Step, cvt};

/// `CLONE_CLEAR_SIGHAND` (Linux 5.5): caught signals get their default action in the child.
const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// `CLONE_INTO_CGROUP` (Linux 5.7): the child is born in the cgroup.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts children. Keeps what one start leaves for the next: the stack, the block, the lists, what was refused.
#[derive(Debug)]
pub(in crate::sys) struct Spawner {
    stack: Stack,
    block: Block,
    /// clone3(2) has not been refused.
    has_clone3: bool,
    /// close_range(2) with `CLOSE_RANGE_UNSHARE` has not been refused.
    shares_table: bool,
    mappings: Vec<Mapping>,
    moves: Vec<Move>,
    /// The child's ends of our pipes, by their numbers there.
    pipes: Vec<i32>,
    gaps: Vec<(u32, u32)>,
}

/// The outcome of one attempt, where a refused mechanism is told from a failed start.
enum Attempt {
    Started(Child),
    Refused,
    Failed(StartFailure),
}

impl Spawner {
    pub(in crate::sys) fn new() -> io::Result<Spawner> {
        Ok(Spawner {
            stack: Stack::new()?,
            block: Block::new()?,
            has_clone3: raw::HAS_CLONE3,
            shares_table: true,
            mappings: Vec::new(),
            moves: Vec::new(),
            pipes: Vec::new(),
            gaps: Vec::new(),
        })
    }

    /// Starts the child. `ends` are its ends of the pipes; the caller closes them afterwards.
    pub(in crate::sys) fn spawn(
        &mut self,
        launch: &Launch,
        ends: &[Option<OwnedFd>; 3],
    ) -> Result<Child, StartFailure> {
        let had_clone3 = self.has_clone3;
        loop {
            match self.attempt(launch, ends) {
                Attempt::Started(child) => return Ok(child),
                Attempt::Failed(failure) => {
                    if failure.step == Step::Clone {
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
    fn attempt(&mut self, launch: &Launch, ends: &[Option<OwnedFd>; 3]) -> Attempt {
        let attributes = &launch.program.attributes;
        let shares = self.shares_table && !attributes.inherit_fds;
        if shares {
            self.block.sink();
        }
        let placed = self.carry(attributes, shares).and_then(|carried| {
            let placed = self.place(launch, ends, shares);
            placed.map_err(|error| StartFailure::new(Step::Open, error))?;
            Ok(carried)
        });
        let carried = match placed {
            Ok(carried) => carried,
            Err(failure) => {
                self.block.take_back();
                return Attempt::Failed(failure);
            }
        };
        let outcome = self.clone_child(launch, &carried, shares);
        self.block.take_back();
        outcome
    }

    /// Fills `mappings`, `moves` and `gaps`. Where the table is shared, everything that the child needs goes into
    /// the block first.
    fn place(
        &mut self,
        launch: &Launch,
        ends: &[Option<OwnedFd>; 3],
        shares: bool,
    ) -> io::Result<()> {
        self.mappings.clear();
        self.pipes.clear();
        for (stdio, target) in launch.stdio.iter().zip(0..) {
            let source = match stdio {
                Stdio::Null if target == 0 => Some(self.block.null_in.as_raw_fd()),
                Stdio::Null => Some(self.block.null_out.as_raw_fd()),
                // Where nothing is there, the kernel may put the new pidfd, and the child is not to find that.
                Stdio::Inherit => is_open(target).then_some(target),
                Stdio::File(fd) => Some(self.block.place(fd.as_fd(), shares)?),
                Stdio::Pipe => match &ends[target as usize] {
                    Some(end) => Some(self.block.place(end.as_fd(), shares)?),
                    None => None,
                },
                Stdio::SameAsStdout => self.mappings.get(1).and_then(|(source, _)| *source),
                Stdio::Closed => None,
            };
            if matches!(stdio, Stdio::Pipe) {
                self.pipes.push(target);
            }
            self.mappings.push((source, target));
        }
        for (target, fd) in &launch.extra {
            let source = match fd {
                Some(fd) => Some(self.block.place(fd.as_fd(), shares)?),
                None => None,
            };
            self.mappings.push((source, *target));
        }
        let spares = self.block.spares(stashes(&self.mappings), &self.mappings)?;
        layout(&self.mappings, &spares, &mut self.moves);
        self.gaps.clear();
        if !launch.program.attributes.inherit_fds {
            gaps(&self.mappings, &mut self.gaps);
        }
        Ok(())
    }

    /// Descriptors that the child uses before its exec and does not keep.
    fn carry(&mut self, attributes: &Attributes, shares: bool) -> Result<Carried, StartFailure> {
        let failed = |step| move |error| StartFailure::new(step, error);
        let mut carried = Carried::default();
        if let Some(terminal) = &attributes.foreground {
            let placed = self.block.place(terminal.as_fd(), shares);
            carried.foreground = Some(placed.map_err(failed(Step::Open))?);
        }
        if let Some(cgroup) = &attributes.cgroup
            && !self.has_clone3
        {
            let procs = open_procs(cgroup.as_fd()).map_err(failed(Step::Cgroup))?;
            let placed = self.block.place(procs.as_fd(), shares);
            carried.cgroup_procs = Some(placed.map_err(failed(Step::Open))?);
            carried.cgroup_file = Some(procs);
        }
        Ok(carried)
    }

    fn clone_child(&mut self, launch: &Launch, carried: &Carried, shares: bool) -> Attempt {
        let attributes = &launch.program.attributes;
        let block_signals = !self.has_clone3 || attributes.changes_group();
        let mask = if block_signals {
            Some(SignalMask::block_all())
        } else {
            None
        };
        let plan = Plan {
            program: &launch.program,
            environment: launch.environment.as_ptr(),
            share_below: shares.then(|| first_above(&self.mappings, carried)),
            moves: &self.moves,
            pipes: &self.pipes,
            gaps: &self.gaps,
            reset_handlers: !self.has_clone3,
            mask: mask.as_ref().map(|mask| mask.before),
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
        let dumpable = attributes.changes_credentials().then(Dumpable::remember);
        let born = if self.has_clone3 {
            self.clone3(&plan, attributes, shares)
        } else {
            self.clone(&plan, attributes, shares)
        };
        let result = born.map(|(pid, pidfd)| {
            if attributes.has_id_maps() {
                accompany(&plan, pid, attributes);
            }
            Child::new(pid, pidfd)
        });
        drop(dumpable);
        drop(mask);
        match result {
            Err(error) => self.clone_failed(error, attributes),
            Ok(Err(error)) => Attempt::Failed(StartFailure::new(Step::Clone, error)),
            Ok(Ok(child)) => match plan.report.failure() {
                None => Attempt::Started(child),
                Some((step, errno)) => {
                    child.reap_failed_start();
                    self.step_failed(step, errno, shares)
                }
            },
        }
    }

    /// Old kernels and seccomp filters refuse clone3(2) as a whole; clone(2) will tell whether it was that.
    fn clone_failed(&mut self, error: io::Error, attributes: &Attributes) -> Attempt {
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
        let step = if attributes.cgroup.is_some() && of_cgroup {
            Step::Cgroup
        } else {
            Step::Clone
        };
        Attempt::Failed(StartFailure::new(step, error))
    }

    fn step_failed(&mut self, step: Step, errno: i32, shares: bool) -> Attempt {
        let refused = matches!(errno, libc::ENOSYS | libc::EPERM | libc::EINVAL);
        if shares && step == Step::Descriptors && refused {
            self.shares_table = false;
            return Attempt::Refused;
        }
        Attempt::Failed(StartFailure::new(step, io::Error::from_raw_os_error(errno)))
    }

    fn flags(attributes: &Attributes, shares: bool) -> u64 {
        // With id maps the parent has to act while the child waits; the kernel then opens the gate at the exec.
        let waiting = if attributes.has_id_maps() {
            libc::CLONE_CHILD_CLEARTID
        } else {
            libc::CLONE_VFORK
        };
        let table = if shares { libc::CLONE_FILES } else { 0 };
        (libc::CLONE_VM | libc::CLONE_PIDFD | waiting | table) as u64
            | attributes.namespaces.flags()
    }

    fn clone3(
        &self,
        plan: &Plan<'_>,
        attributes: &Attributes,
        shares: bool,
    ) -> io::Result<(u32, i32)> {
        let mut pidfd = -1;
        let mut arguments = CloneArguments {
            flags: Self::flags(attributes, shares) | CLEAR_SIGHAND,
            pidfd: ptr::from_mut(&mut pidfd).expose_provenance() as u64,
            child_tid: plan.gate.as_ptr().expose_provenance() as u64,
            exit_signal: libc::SIGCHLD as u64,
            stack: self.stack.low() as u64,
            stack_size: STACK_BYTES as u64,
            ..CloneArguments::default()
        };
        if let Some(cgroup) = &attributes.cgroup {
            arguments.flags |= INTO_CGROUP;
            arguments.cgroup = cgroup.as_raw_fd() as u64;
        }
        // SAFETY: the arguments name this spawner's stack, which no other child uses now; `child::run` never returns; the
        // plan outlives the child's use of this memory (CLONE_VFORK, or `accompany`).
        let pid = unsafe { raw::clone3(&arguments, child::run, plan_pointer(plan)) };
        born(pid, pidfd)
    }

    fn clone(
        &self,
        plan: &Plan<'_>,
        attributes: &Attributes,
        shares: bool,
    ) -> io::Result<(u32, i32)> {
        let mut pidfd = -1;
        let flags = libc::c_int::try_from(Self::flags(attributes, shares)).unwrap_or(-1);
        // The low byte is the exit signal here, so a flag in it (CLONE_NEWTIME) cannot be asked for.
        if flags & 0xff != 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: as for `clone3`.
        let pid = unsafe {
            raw::clone(
                flags | libc::SIGCHLD,
                self.stack.low() + STACK_BYTES,
                &mut pidfd,
                plan.gate.as_ptr(),
                child::run,
                plan_pointer(plan),
            )
        };
        born(pid, pidfd)
    }
}

/// The pid and the pidfd of a child, or the error that the kernel returned in the pid's place.
fn born(pid: isize, pidfd: i32) -> io::Result<(u32, i32)> {
    if pid < 0 {
        Err(io::Error::from_raw_os_error(-pid as i32))
    } else {
        Ok((pid as u32, pidfd))
    }
}

fn plan_pointer(plan: &Plan<'_>) -> *const libc::c_void {
    ptr::from_ref(plan).cast()
}

/// Descriptors that the child uses before its exec, by their numbers in its table.
#[derive(Debug, Default)]
struct Carried {
    foreground: Option<i32>,
    cgroup_procs: Option<i32>,
    /// Keeps `cgroup.procs` open across a clone that copies the table.
    cgroup_file: Option<OwnedFd>,
}

/// The first descriptor that the child needs no copy of.
fn first_above(mappings: &[Mapping], carried: &Carried) -> u32 {
    let sources = mappings.iter().filter_map(|(source, _)| *source);
    let carried = [carried.foreground, carried.cgroup_procs];
    let highest = sources.chain(carried.into_iter().flatten()).max();
    highest.map_or(3, |highest| highest.max(2) as u32 + 1)
}

/// Writes the id maps when the child asks for them, and returns when it no longer uses our memory.
fn accompany(plan: &Plan<'_>, pid: u32, attributes: &Attributes) {
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

/// A few low descriptors that are always open, so that no other thread's `open` can take their numbers: two
/// `/dev/null`, and places that hold a child's descriptors during a start and a copy of `/dev/null` otherwise.
#[derive(Debug)]
struct Block {
    null_in: OwnedFd,
    null_out: OwnedFd,
    places: Vec<OwnedFd>,
    used: usize,
}

/// Below this a descriptor need not be moved for the child: the smallest table that the kernel makes has as many.
const LOW_FDS: i32 = 64;

/// Places for a child's stdin, stdout and stderr; extra descriptors add to them.
const PLACES_MIN: usize = 3;

/// How many places stay after a start that needed more.
const PLACES_KEPT_MAX: usize = 8;

impl Block {
    fn new() -> io::Result<Block> {
        let null_in = open_null(libc::O_RDONLY)?;
        let null_out = open_null(libc::O_WRONLY)?;
        let mut block = Block {
            null_in,
            null_out,
            places: Vec::with_capacity(PLACES_MIN),
            used: 0,
        };
        block.grow(PLACES_MIN)?;
        Ok(block)
    }

    fn grow(&mut self, places: usize) -> io::Result<()> {
        while self.places.len() < places {
            self.places.push(duplicate(self.null_in.as_fd())?);
        }
        Ok(())
    }

    /// Moves what is not low to lower numbers, if others have left some: of a reactor that was made late, when much was
    /// open, each child copies all the numbers below.
    fn sink(&mut self) {
        let Block {
            null_in,
            null_out,
            places,
            ..
        } = self;
        for fd in [null_in, null_out].into_iter().chain(places) {
            if fd.as_raw_fd() < LOW_FDS {
                continue;
            }
            match duplicate(fd.as_fd()) {
                Ok(lower) if lower.as_raw_fd() < fd.as_raw_fd() => *fd = lower,
                _ => return,
            }
        }
    }

    /// The number at which the child finds `fd`: `fd` itself where the whole table is copied or it is low enough, or a
    /// place in the block.
    fn place(&mut self, fd: BorrowedFd<'_>, shares: bool) -> io::Result<i32> {
        if !shares || fd.as_raw_fd() < LOW_FDS {
            return Ok(fd.as_raw_fd());
        }
        self.grow(self.used + 1)?;
        let place = &self.places[self.used];
        duplicate_onto(fd, place)?;
        self.used += 1;
        Ok(place.as_raw_fd())
    }

    /// Numbers for the first pass of a layout: places that are neither a source nor a target.
    fn spares(&mut self, count: usize, mappings: &[Mapping]) -> io::Result<Vec<i32>> {
        let mut spares = Vec::new();
        let mut next = self.used;
        while spares.len() < count {
            self.grow(next + 1)?;
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

    /// Takes the places back, at once: a pipe's end left here would keep its reader waiting. Those that few starts need
    /// are closed, and so is one that cannot be taken back.
    fn take_back(&mut self) {
        self.places.truncate(PLACES_KEPT_MAX);
        for index in (0..self.used.min(self.places.len())).rev() {
            if duplicate_onto(self.null_in.as_fd(), &self.places[index]).is_err() {
                drop(self.places.remove(index));
            }
        }
        self.used = 0;
    }
}

/// The stack of the children, one after the other; the page below it is a guard.
#[derive(Debug)]
struct Stack {
    mapping: NonNull<libc::c_void>,
    guard_bytes: usize,
}

/// The child's frames need about 2 KiB, more in a debug build.
const STACK_BYTES: usize = 64 * 1024;

// SAFETY: the mapping belongs to this value alone, and threads have no part in it.
unsafe impl Send for Stack {}

impl Stack {
    fn new() -> io::Result<Stack> {
        // SAFETY: sysconf(3) has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let guard_bytes = usize::try_from(page).unwrap_or(4096);
        let length = guard_bytes + STACK_BYTES;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new anonymous mapping, wherever the kernel likes.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        let mapping = NonNull::new(start).filter(|_| start != libc::MAP_FAILED);
        let mapping = mapping.ok_or_else(io::Error::last_os_error)?;
        let stack = Stack {
            mapping,
            guard_bytes,
        };
        // SAFETY: the first page of the mapping made above, which nobody uses.
        cvt(unsafe { libc::mprotect(start, guard_bytes, libc::PROT_NONE) })?;
        Ok(stack)
    }

    /// The lowest address above the guard.
    fn low(&self) -> usize {
        self.mapping.as_ptr().expose_provenance() + self.guard_bytes
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no child runs on it after its start returned.
        unsafe { libc::munmap(self.mapping.as_ptr(), self.guard_bytes + STACK_BYTES) };
    }
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
