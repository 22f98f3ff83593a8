//! The child's side of a start, from its first instruction to its exec.
//! It shares our memory: it allocates nothing, locks nothing, cannot panic, calls no libc and no std, and touches
//! nothing of ours but the plan's report and gate. The order of the steps is that of Go's syscall.forkAndExecInChild1.
#![allow(
    unsafe_code,
    reason = "system calls in a process that shares our memory"
)]

use std::ffi::CStr;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::raw;
use crate::sys::names::{Capability, Namespaces, Resource};
use crate::sys::plan::{Attributes, Groups, Move, Program};
use crate::sys::{CStrings, Signal, StartStep};

/// What a child is to do, and where it says how far it is and what failed. It owns all that the child uses, and is kept
/// until the child uses it no more.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) program: Arc<Program>,
    pub(super) environment: Arc<CStrings>,
    /// The table is the parent's until the child cuts it off here; `None` where it has a copy already.
    pub(super) share_below: Option<u32>,
    /// Ranges of descriptors below that which are the business of others: closed before anything that can take time, as a
    /// sibling's pipe would be held open meanwhile.
    pub(super) foreign: Vec<(u32, u32)>,
    /// The child has a table of its own, without anything foreign in it.
    pub(super) has_table: AtomicU32,
    pub(super) moves: Vec<Move>,
    /// Descriptors that are to block, after the moves.
    pub(super) pipes: Vec<i32>,
    /// Ranges of descriptors to close after the moves, where the table is a copy of the whole.
    pub(super) gaps: Vec<(u32, u32)>,
    /// The parent's handlers are still in place.
    pub(super) reset_handlers: bool,
    /// The mask to put back, where the parent blocked all signals for the clone.
    pub(super) mask: Option<u64>,
    /// The directory of the cgroup that the child is born in. For the clone alone.
    pub(super) cgroup: Option<i32>,
    /// `cgroup.procs`, where the child was not born in its cgroup.
    pub(super) cgroup_procs: Option<i32>,
    /// The terminal whose foreground to take.
    pub(super) foreground: Option<i32>,
    /// The soft limit of descriptors from before the parent raised its own.
    pub(super) fd_limit: Option<u64>,
    pub(super) parent: u32,
    pub(super) gate: AtomicU32,
    pub(super) report: Report,
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
    pub(in crate::sys::linux) const RELEASED: u32 = 0;
    pub(in crate::sys::linux) const STARTED: u32 = 1;
    pub(in crate::sys::linux) const WANTS_MAPS: u32 = 2;
    pub(in crate::sys::linux) const HAS_MAPS: u32 = 3;
    pub(in crate::sys::linux) const REFUSED: u32 = 4;
}

/// The child's first function. `plan` leads to a [`Plan`].
pub(super) extern "C" fn run(plan: *const libc::c_void) -> ! {
    // SAFETY: the parent passes a plan that outlives the child's use of its memory.
    let plan = unsafe { &*plan.cast::<Plan>() };
    if let Err((step, errno)) = prepare_and_exec(plan) {
        plan.report.fail(step, errno);
    }
    loop {
        let _ = call(libc::SYS_exit_group, [253, 0, 0, 0, 0]);
    }
}

type Failed = (StartStep, i32);

fn prepare_and_exec(plan: &Plan) -> Result<(), Failed> {
    // The first act, and nothing before it: until here the table is the parent's.
    if let Some(first) = plan.share_below {
        let unshare = libc::CLOSE_RANGE_UNSHARE as usize;
        at(
            StartStep::Descriptors,
            call(
                libc::SYS_close_range,
                [first as usize, u32::MAX as usize, unshare, 0, 0],
            ),
        )?;
        for (first, last) in &plan.foreign {
            let range = [*first as usize, *last as usize, 0, 0, 0];
            at(StartStep::Descriptors, call(libc::SYS_close_range, range))?;
        }
        plan.has_table.store(1, Ordering::Release);
    } else if !plan.gaps.is_empty() && !has_close_range() {
        // Now, as a new root may have no /proc.
        close_listed_at_exec()?;
    }
    let attributes = &plan.program.attributes;
    if let Some(fd) = plan.cgroup_procs {
        at(StartStep::Cgroup, write(fd, b"0"))?;
    }
    if !attributes.ambient_capabilities.is_empty() {
        at(StartStep::Capabilities, prctl(libc::PR_SET_KEEPCAPS, 1, 0))?;
    }
    if attributes.namespaces.contains(Namespaces::USER) && attributes.has_id_maps() {
        wait_for_maps(plan)?;
    }
    enter_group(plan, attributes)?;
    restore_signals(plan)?;
    enter_namespaces(plan, attributes)?;
    set_rlimits(attributes, |resource| resource != Resource::NOFILE)?;
    take_credentials(attributes)?;
    if let Some(directory) = &plan.program.directory {
        at(
            StartStep::Chdir,
            call(libc::SYS_chdir, [text(directory), 0, 0, 0, 0]),
        )?;
    }
    if let Some(signal) = attributes.parent_death_signal {
        die_with_parent(plan, signal)?;
    }
    lay_out_descriptors(plan)?;
    settle_terminal(attributes)?;
    if let Some(soft) = plan.fd_limit {
        lower_fd_limit(soft)?;
    }
    set_rlimits(attributes, |resource| resource == Resource::NOFILE)?;
    let program = &plan.program;
    let argv = program.argv.as_ptr().expose_provenance();
    at(
        StartStep::Exec,
        call(
            libc::SYS_execve,
            [
                text(&program.path),
                argv,
                plan.environment.as_ptr().expose_provenance(),
                0,
                0,
            ],
        ),
    )?;
    Ok(())
}

/// Session, group and foreground come while signals are blocked, so that no stop of the terminal can hit the child
/// while the parent waits for it, and tcsetpgrp(3) raises no SIGTTOU.
fn enter_group(plan: &Plan, attributes: &Attributes) -> Result<(), Failed> {
    if attributes.session {
        at(StartStep::Session, call(libc::SYS_setsid, [0; 5]))?;
    }
    let group = attributes.process_group.or(plan.foreground.map(|_| 0));
    // A session's leader leads its group already, and setpgid(2) refuses it.
    let leads_already = attributes.session && group == Some(0);
    if let Some(group) = group
        && !leads_already
    {
        at(
            StartStep::ProcessGroup,
            call(libc::SYS_setpgid, [0, group as usize, 0, 0, 0]),
        )?;
    }
    if let Some(terminal) = plan.foreground {
        let own = at(StartStep::Foreground, call(libc::SYS_getpid, [0; 5]))? as i32;
        let group = match group {
            Some(group) if group > 0 => group,
            _ => own,
        };
        let group = ptr::from_ref(&group).expose_provenance();
        at(
            StartStep::Foreground,
            call(
                libc::SYS_ioctl,
                [terminal as usize, libc::TIOCSPGRP as usize, group, 0, 0],
            ),
        )?;
    }
    Ok(())
}

/// The kernel's `struct sigaction`, large enough for every architecture; zero is the default action.
type SignalAction = [usize; 8];
const SIGNAL_SET_SIZE: usize = 8;

/// Caught signals get their default action, ignored ones stay ignored, but for SIGPIPE, which Rust ignores.
fn restore_signals(plan: &Plan) -> Result<(), Failed> {
    let default: SignalAction = [0; 8];
    let default = ptr::from_ref(&default).expose_provenance();
    if plan.reset_handlers {
        for signal in 1..=64 {
            let mut present: SignalAction = [0; 8];
            let old = ptr::from_mut(&mut present).expose_provenance();
            let known = call(libc::SYS_rt_sigaction, [signal, 0, old, SIGNAL_SET_SIZE, 0]);
            // The handler is the structure's first word on every architecture but MIPS, where flags come first.
            let handler = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
                present[1]
            } else {
                present[0]
            };
            if known.is_ok() && handler != libc::SIG_DFL && handler != libc::SIG_IGN {
                at(
                    StartStep::Signals,
                    call(
                        libc::SYS_rt_sigaction,
                        [signal, default, 0, SIGNAL_SET_SIZE, 0],
                    ),
                )?;
            }
        }
    }
    at(
        StartStep::Signals,
        call(
            libc::SYS_rt_sigaction,
            [libc::SIGPIPE as usize, default, 0, SIGNAL_SET_SIZE, 0],
        ),
    )?;
    if let Some(mask) = plan.mask {
        let mask = ptr::from_ref(&mask).expose_provenance();
        let how = libc::SIG_SETMASK as usize;
        at(
            StartStep::Signals,
            call(libc::SYS_rt_sigprocmask, [how, mask, 0, SIGNAL_SET_SIZE, 0]),
        )?;
    }
    Ok(())
}

fn enter_namespaces(plan: &Plan, attributes: &Attributes) -> Result<(), Failed> {
    let entered = attributes.unshare;
    if !entered.is_empty() {
        at(
            StartStep::Unshare,
            call(libc::SYS_unshare, [entered.flags() as usize, 0, 0, 0, 0]),
        )?;
    }
    if entered.contains(Namespaces::USER) && attributes.has_id_maps() {
        wait_for_maps(plan)?;
    }
    if entered.contains(Namespaces::MOUNT) {
        // Where the parent's mounts are shared, those made in here must not travel back.
        let flags = (libc::MS_REC | libc::MS_PRIVATE) as usize;
        at(
            StartStep::Mount,
            call(libc::SYS_mount, [text(c"none"), text(c"/"), 0, flags, 0]),
        )?;
    }
    if let Some(root) = &attributes.chroot {
        at(
            StartStep::Chroot,
            call(libc::SYS_chroot, [text(root), 0, 0, 0, 0]),
        )?;
        if plan.program.directory.is_none() {
            // Else the child would stand outside of its root, and could walk up from there.
            at(
                StartStep::Chdir,
                call(libc::SYS_chdir, [text(c"/"), 0, 0, 0, 0]),
            )?;
        }
    }
    Ok(())
}

/// Raw calls, for this process alone: libc's wrappers would change every thread of the parent's.
fn take_credentials(attributes: &Attributes) -> Result<(), Failed> {
    if let Some(groups) = attributes.groups_to_set() {
        let list = groups.as_ptr().expose_provenance();
        let result = call(SYS_SETGROUPS, [groups.len(), list, 0, 0, 0]);
        // Dropping groups by default is for those who may.
        let may_fail = attributes.groups == Groups::Automatic && result == Err(libc::EPERM);
        if !may_fail {
            at(StartStep::Groups, result)?;
        }
    }
    if let Some(gid) = attributes.gid {
        at(StartStep::Gid, call(SYS_SETGID, [gid as usize, 0, 0, 0, 0]))?;
    }
    if let Some(uid) = attributes.uid {
        at(StartStep::Uid, call(SYS_SETUID, [uid as usize, 0, 0, 0, 0]))?;
    }
    if !attributes.ambient_capabilities.is_empty() {
        raise_capabilities(&attributes.ambient_capabilities)?;
    }
    Ok(())
}

/// `_LINUX_CAPABILITY_VERSION_3` of capability.h: two words of each kind.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

fn raise_capabilities(capabilities: &[Capability]) -> Result<(), Failed> {
    #[repr(C)]
    struct Header(u32, i32);
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Word {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header(CAPABILITY_VERSION, 0);
    let mut low = Word {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    };
    let mut words = (low, low);
    let (header, data) = (
        ptr::from_ref(&header).expose_provenance(),
        ptr::from_mut(&mut words).expose_provenance(),
    );
    at(
        StartStep::Capabilities,
        call(libc::SYS_capget, [header, data, 0, 0, 0]),
    )?;
    let mut high = words.1;
    low = words.0;
    for capability in capabilities {
        let number = capability.number();
        let word = if number < 32 { &mut low } else { &mut high };
        let bit = 1_u32.wrapping_shl(number);
        word.permitted |= bit;
        word.inheritable |= bit;
    }
    words = (low, high);
    let data = ptr::from_mut(&mut words).expose_provenance();
    at(
        StartStep::Capabilities,
        call(libc::SYS_capset, [header, data, 0, 0, 0]),
    )?;
    for capability in capabilities {
        at(
            StartStep::Capabilities,
            prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE as usize,
                capability.number() as usize,
            ),
        )?;
    }
    Ok(())
}

/// After setuid, which clears the setting. A parent that died before it was made sends no signal: do it ourselves.
fn die_with_parent(plan: &Plan, signal: Signal) -> Result<(), Failed> {
    let number = signal.number() as usize;
    at(
        StartStep::ParentDeath,
        prctl(libc::PR_SET_PDEATHSIG, number, 0),
    )?;
    let parent = at(StartStep::ParentDeath, call(libc::SYS_getppid, [0; 5]))?;
    // 0: the parent is outside of the child's new pid namespace.
    if parent != 0 && parent as u32 != plan.parent {
        let own = at(StartStep::ParentDeath, call(libc::SYS_getpid, [0; 5]))?;
        at(
            StartStep::ParentDeath,
            call(libc::SYS_kill, [own, number, 0, 0, 0]),
        )?;
    }
    Ok(())
}

fn lay_out_descriptors(plan: &Plan) -> Result<(), Failed> {
    for step in &plan.moves {
        let result = match *step {
            Move::Stash { from, to } => call(
                libc::SYS_dup3,
                [from as usize, to as usize, libc::O_CLOEXEC as usize, 0, 0],
            ),
            Move::Dup { from, to } => call(libc::SYS_dup3, [from as usize, to as usize, 0, 0, 0]),
            Move::Keep { fd } => call(
                libc::SYS_fcntl,
                [fd as usize, libc::F_SETFD as usize, 0, 0, 0],
            ),
            Move::Close { fd } => call(libc::SYS_close, [fd as usize, 0, 0, 0, 0]),
        };
        // A descriptor to inherit or to close may be closed in the parent already.
        let absent =
            result == Err(libc::EBADF) && matches!(step, Move::Keep { .. } | Move::Close { .. });
        if !absent {
            at(StartStep::Layout, result)?;
        }
    }
    for fd in &plan.pipes {
        let blocking = [*fd as usize, libc::F_SETFL as usize, 0, 0, 0];
        at(StartStep::Layout, call(libc::SYS_fcntl, blocking))?;
    }
    for (first, last) in &plan.gaps {
        // Where it is refused, exec closes all that is no target.
        let _ = call(
            libc::SYS_close_range,
            [*first as usize, *last as usize, 0, 0, 0],
        );
    }
    Ok(())
}

/// Whether close_range(2) is there and allowed. Closes nothing: there is no such number.
pub(super) fn has_close_range() -> bool {
    let nothing = u32::MAX as usize;
    call(libc::SYS_close_range, [nothing, nothing, 0, 0, 0]).is_ok()
}

/// Marks what `/proc/self/fd` lists above 2 to be closed by exec. The moves that come later unmark their targets.
fn close_listed_at_exec() -> Result<(), Failed> {
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) as usize;
    let here = libc::AT_FDCWD as usize;
    let list = at(
        StartStep::Descriptors,
        call(
            libc::SYS_openat,
            [here, text(c"/proc/self/fd"), flags, 0, 0],
        ),
    )?;
    let mut buffer = [0_u8; 1024];
    loop {
        let start = buffer.as_mut_ptr().expose_provenance();
        let length = at(
            StartStep::Descriptors,
            call(libc::SYS_getdents64, [list, start, buffer.len(), 0, 0]),
        )?;
        if length == 0 {
            break;
        }
        // struct linux_dirent64: inode (8), offset (8), record length (2), type (1), name.
        let mut rest = buffer.get(..length).unwrap_or(&[]);
        while let Some((low, high)) = rest.get(16).zip(rest.get(17)) {
            let record = u16::from_ne_bytes([*low, *high]) as usize;
            if let Some(fd @ 3..) = number(rest.get(19..record).unwrap_or(&[])) {
                let mark = [
                    fd as usize,
                    libc::F_SETFD as usize,
                    libc::FD_CLOEXEC as usize,
                    0,
                    0,
                ];
                let _ = call(libc::SYS_fcntl, mark);
            }
            rest = rest.get(record..).unwrap_or(&[]);
        }
    }
    let _ = call(libc::SYS_close, [list, 0, 0, 0, 0]);
    Ok(())
}

/// The decimal number before the NUL.
fn number(name: &[u8]) -> Option<u32> {
    let mut value = None;
    for byte in name {
        match byte {
            b'0'..=b'9' => {
                let digit = u32::from(byte.wrapping_sub(b'0'));
                value = Some(value.unwrap_or(0_u32).wrapping_mul(10).wrapping_add(digit));
            }
            _ => break,
        }
    }
    value
}

fn settle_terminal(attributes: &Attributes) -> Result<(), Failed> {
    if attributes.leave_terminal {
        at(
            StartStep::Terminal,
            call(libc::SYS_ioctl, [0, libc::TIOCNOTTY as usize, 0, 0, 0]),
        )?;
    }
    if let Some(fd) = attributes.controlling_terminal {
        at(
            StartStep::Terminal,
            call(
                libc::SYS_ioctl,
                [fd as usize, libc::TIOCSCTTY as usize, 1, 0, 0],
            ),
        )?;
    }
    Ok(())
}

fn set_rlimits(attributes: &Attributes, which: fn(Resource) -> bool) -> Result<(), Failed> {
    for limit in &attributes.rlimits {
        if which(limit.resource) {
            set_rlimit(limit.resource, limit.soft, limit.hard)?;
        }
    }
    Ok(())
}

fn set_rlimit(resource: Resource, soft: u64, hard: u64) -> Result<(), Failed> {
    let limit = [soft, hard];
    let limit = ptr::from_ref(&limit).expose_provenance();
    at(
        StartStep::Rlimit,
        call(
            libc::SYS_prlimit64,
            [0, resource.number() as usize, limit, 0, 0],
        ),
    )
    .map(drop)
}

/// Only ever lowers the soft limit: the program may have set a lower one, or a lower hard one, since it was raised.
fn lower_fd_limit(soft: u64) -> Result<(), Failed> {
    let mut present = [0_u64; 2];
    let old = ptr::from_mut(&mut present).expose_provenance();
    let resource = Resource::NOFILE.number() as usize;
    at(
        StartStep::Rlimit,
        call(libc::SYS_prlimit64, [0, resource, 0, old, 0]),
    )?;
    let [present, hard] = present;
    if present > soft {
        set_rlimit(Resource::NOFILE, soft, hard)?;
    }
    Ok(())
}

/// Tells the parent that the namespace is there, and waits until its maps are written. If the parent is killed
/// meanwhile, nobody would ever come: then this child is killed too.
fn wait_for_maps(plan: &Plan) -> Result<(), Failed> {
    let kill = libc::SIGKILL as usize;
    at(StartStep::IdMaps, prctl(libc::PR_SET_PDEATHSIG, kill, 0))?;
    let parent = at(StartStep::IdMaps, call(libc::SYS_getppid, [0; 5]))?;
    if parent != 0 && parent as u32 != plan.parent {
        return Err((StartStep::IdMaps, libc::ESRCH));
    }
    await_answer(plan)?;
    at(StartStep::IdMaps, prctl(libc::PR_SET_PDEATHSIG, 0, 0)).map(drop)
}

fn await_answer(plan: &Plan) -> Result<(), Failed> {
    plan.gate.store(gate::WANTS_MAPS, Ordering::Release);
    wake(&plan.gate);
    loop {
        match plan.gate.load(Ordering::Acquire) {
            gate::WANTS_MAPS => wait(&plan.gate, gate::WANTS_MAPS),
            gate::HAS_MAPS => return Ok(()),
            _ => {
                let errno = plan.report.errno.load(Ordering::Acquire);
                return Err((StartStep::IdMaps, errno as i32));
            }
        }
    }
}

/// Sleeps while `word` has this value. May return early.
pub(super) fn wait(word: &AtomicU32, value: u32) {
    let wait = libc::FUTEX_WAIT as usize;
    let _ = call(
        libc::SYS_futex,
        [
            word.as_ptr().expose_provenance(),
            wait,
            value as usize,
            0,
            0,
        ],
    );
}

/// Wakes whoever sleeps on `word`.
pub(super) fn wake(word: &AtomicU32) {
    let _ = call(
        libc::SYS_futex,
        [
            word.as_ptr().expose_provenance(),
            libc::FUTEX_WAKE as usize,
            1,
            0,
            0,
        ],
    );
}

// On these two, the plain names are those of calls with 16 bits for an id.
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
use libc::{SYS_setgid as SYS_SETGID, SYS_setgroups as SYS_SETGROUPS, SYS_setuid as SYS_SETUID};
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
use libc::{
    SYS_setgid32 as SYS_SETGID, SYS_setgroups32 as SYS_SETGROUPS, SYS_setuid32 as SYS_SETUID,
};

fn write(fd: i32, bytes: &[u8]) -> Result<usize, i32> {
    call(
        libc::SYS_write,
        [
            fd as usize,
            bytes.as_ptr().expose_provenance(),
            bytes.len(),
            0,
            0,
        ],
    )
}

fn prctl(option: i32, second: usize, third: usize) -> Result<usize, i32> {
    call(libc::SYS_prctl, [option as usize, second, third, 0, 0])
}

fn text(string: &CStr) -> usize {
    string.as_ptr().expose_provenance()
}

fn call(number: libc::c_long, arguments: [usize; 5]) -> Result<usize, i32> {
    // SAFETY: every caller in this file passes numbers, or addresses of values that live across the call.
    let result = unsafe { raw::syscall(number, arguments) };
    if result < 0 {
        Err(result.wrapping_neg() as i32)
    } else {
        Ok(result as usize)
    }
}

fn at(step: StartStep, result: Result<usize, i32>) -> Result<usize, Failed> {
    match result {
        Ok(value) => Ok(value),
        Err(errno) => Err((step, errno)),
    }
}
