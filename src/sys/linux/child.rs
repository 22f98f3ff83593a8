//! The child's side of a start, from its first instruction to its exec.
//! It shares our memory: it allocates nothing, locks nothing, cannot panic, calls no std and of libc at most syscall(2), and
//! touches nothing of ours but the plan's report and gate. The order of the steps is that of Go's syscall.forkAndExecInChild1.
#![allow(
    unsafe_code,
    reason = "system calls in a process that shares our memory"
)]

use std::ffi::CStr;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::layout::Move;
use super::plan::Plan;
use super::raw;
use crate::sys::StartStep;
use crate::sys::attributes::Attributes;
use crate::sys::names::{Namespaces, Resource};

mod identity;

use identity::{die_with_parent, enter_namespaces, take_credentials, wait_for_maps};

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

/// The step, and the error number.
type Failed = (StartStep, i32);

fn prepare_and_exec(plan: &Plan) -> Result<(), Failed> {
    // The first act, and nothing before it: until here the table is the parent's.
    if let Some(first) = plan.lists.share_below {
        let unshare = libc::CLOSE_RANGE_UNSHARE as usize;
        at(
            StartStep::Descriptors,
            call(
                libc::SYS_close_range,
                [first as usize, u32::MAX as usize, unshare, 0, 0],
            ),
        )?;
        for (first, last) in &plan.lists.foreign {
            let range = [*first as usize, *last as usize, 0, 0, 0];
            at(StartStep::Descriptors, call(libc::SYS_close_range, range))?;
        }
        plan.has_table.store(1, Ordering::Release);
    } else if !plan.lists.gaps.is_empty() && !has_close_range() {
        // Now, as a new root may have no /proc.
        close_listed_at_exec()?;
    }
    let Some(exec) = &plan.exec else {
        return Err((StartStep::Exec, libc::EINVAL));
    };
    let program = &exec.program;
    let attributes = &program.attributes;
    if let Some(fd) = plan.circumstances.cgroup_procs {
        at(StartStep::Cgroup, write(fd, b"0"))?;
    }
    if !attributes.ambient_capabilities.is_empty() {
        at(StartStep::Capabilities, prctl(libc::PR_SET_KEEPCAPS, 1, 0))?;
    }
    if attributes.namespaces.contains(Namespaces::USER) && attributes.has_id_maps() {
        wait_for_maps(plan)?;
    }
    enter_group(plan, attributes)?;
    if attributes.changes_group() {
        forget_stops()?;
    }
    restore_signals(plan)?;
    enter_namespaces(plan, program)?;
    set_rlimits(attributes, |resource| resource != Resource::NOFILE)?;
    take_credentials(attributes)?;
    if let Some(directory) = &program.directory {
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
    if let Some(soft) = plan.circumstances.fd_limit {
        lower_fd_limit(soft)?;
    }
    set_rlimits(attributes, |resource| resource == Resource::NOFILE)?;
    let argv = program.argv.as_ptr().expose_provenance();
    at(
        StartStep::Exec,
        call(
            libc::SYS_execve,
            [program.as_ptr().expose_provenance(), argv, exec.envp, 0, 0],
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
    let group = attributes
        .process_group
        .or(plan.circumstances.foreground.map(|_| 0));
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
    if let Some(terminal) = plan.circumstances.foreground {
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

/// A stop that the terminal sent to our parent's group while we were in it is not for us, and waits, as signals are blocked.
/// Where it stopped us now, nobody would let us go on: who continues the parent's group does not reach ours.
fn forget_stops() -> Result<(), Failed> {
    let stops: u64 = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]
        .iter()
        .fold(0, |set, signal| set | 1 << (signal - 1));
    let stops = ptr::from_ref(&stops).expose_provenance();
    let at_once = [0_usize; 4];
    let at_once = ptr::from_ref(&at_once).expose_provenance();
    // SAFETY: siginfo_t is plain data for which zero is valid.
    let mut information: libc::siginfo_t = unsafe { mem::zeroed() };
    loop {
        let into = ptr::from_mut(&mut information).expose_provenance();
        let arguments = [stops, into, at_once, SIGNAL_SET_SIZE, 0];
        let Ok(signal) = call(libc::SYS_rt_sigtimedwait, arguments) else {
            return Ok(());
        };
        // SAFETY: a signal's sender is a plain number.
        let sender = unsafe { information.si_pid() };
        // One that came during the clone has lost where it is from, and has no sender.
        if information.si_code != libc::SI_KERNEL && sender != 0 {
            // Somebody means us.
            let own = at(StartStep::Signals, call(libc::SYS_getpid, [0; 5]))?;
            at(
                StartStep::Signals,
                call(libc::SYS_kill, [own, signal, 0, 0, 0]),
            )?;
            return Ok(());
        }
    }
}

#[cfg(any(
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "mips64",
    target_arch = "mips64r6",
    target_arch = "sparc",
    target_arch = "sparc64"
))]
compile_error!("execloop does not know what rt_sigaction(2) takes on this architecture");

/// The kernel's `struct sigaction`, large enough for every architecture; zero is the default action. Its first word is the
/// handler, and a set has 64 signals: on MIPS neither is so, and on SPARC the call has one argument more.
type SignalAction = [usize; 8];
const SIGNAL_SET_SIZE: usize = 8;

/// Caught signals get their default action, ignored ones stay ignored, but for SIGPIPE, which Rust ignores.
fn restore_signals(plan: &Plan) -> Result<(), Failed> {
    let default: SignalAction = [0; 8];
    let default = ptr::from_ref(&default).expose_provenance();
    if plan.circumstances.reset_handlers {
        for signal in 1..=64 {
            let mut present: SignalAction = [0; 8];
            let old = ptr::from_mut(&mut present).expose_provenance();
            let known = call(libc::SYS_rt_sigaction, [signal, 0, old, SIGNAL_SET_SIZE, 0]);
            let [handler, ..] = present;
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

fn lay_out_descriptors(plan: &Plan) -> Result<(), Failed> {
    for step in &plan.lists.moves {
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
    let sources = plan.lists.sources.iter();
    for (is_pipe, fd) in sources.flat_map(|sources| sources.pipes.iter().zip(0..)) {
        if *is_pipe {
            let blocking = [fd, libc::F_SETFL as usize, 0, 0, 0];
            at(StartStep::Layout, call(libc::SYS_fcntl, blocking))?;
        }
    }
    for (first, last) in &plan.lists.gaps {
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
    // SAFETY: every caller in this file and below passes numbers, or addresses of values that live across the call.
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
