//! The clone itself, clone3(2) or clone(2), and what has to be put right around it: signals, the dumpable flag, the group.
//! Unaware of what the child does, and of what is done when the kernel refuses.
#![allow(unsafe_code, reason = "clone, signal masks")]

use std::io;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::child;
use super::plan::Plan;
use super::raw::{self, CloneArguments};
use super::stack::{STACK_BYTES, Stack};
use crate::sys::Attributes;

/// `CLONE_CLEAR_SIGHAND` (Linux 5.5): caught signals get their default action in the child.
const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// `CLONE_INTO_CGROUP` (Linux 5.7): the child is born in the cgroup.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Puts the child into its group, as it does itself: whoever is first. From here on, a signal to the child's group is not one
/// to ours, and others can join it.
pub(super) fn enter_group(pid: u32, group: i32) {
    // SAFETY: setpgid(2) takes two numbers. That it fails means that the child has executed, ended, or may not: it tells.
    unsafe { libc::setpgid(libc::pid_t::try_from(pid).unwrap_or(-1), group) };
}

fn flags(plan: &Plan, attributes: &Attributes, waits: bool) -> u64 {
    // With id maps the parent has to act while the child waits; the kernel then opens the gate at the exec, too.
    let waiting = if waits && !attributes.has_id_maps() {
        libc::CLONE_VFORK
    } else {
        libc::CLONE_CHILD_CLEARTID
    };
    let table = if plan.lists.share_below.is_some() {
        libc::CLONE_FILES
    } else {
        0
    };
    (libc::CLONE_VM | libc::CLONE_PIDFD | waiting | table) as u64 | attributes.namespaces.flags()
}

pub(super) fn clone3(
    plan: &Plan,
    attributes: &Attributes,
    stack: &Stack,
    waits: bool,
) -> io::Result<(u32, i32)> {
    let mut pidfd = -1;
    let mut arguments = CloneArguments {
        flags: flags(plan, attributes, waits) | CLEAR_SIGHAND,
        pidfd: ptr::from_mut(&mut pidfd).expose_provenance() as u64,
        child_tid: plan.gate.as_ptr().expose_provenance() as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.low() as u64,
        stack_size: STACK_BYTES as u64,
        ..CloneArguments::default()
    };
    if let Some(cgroup) = plan.circumstances.cgroup {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = cgroup as u64;
    }
    // SAFETY: the arguments name the stack of a free cradle, which no other child uses now; `child::run` never returns; the
    // plan outlives the child's use of this memory (CLONE_VFORK, `accompany`, or the cradle).
    let pid = unsafe { raw::clone3(&arguments, child::run, plan_pointer(plan)) };
    born(pid, pidfd)
}

/// The fallback.
#[cold]
pub(super) fn clone(
    plan: &Plan,
    attributes: &Attributes,
    stack: &Stack,
    waits: bool,
) -> io::Result<(u32, i32)> {
    let mut pidfd = -1;
    let flags = libc::c_int::try_from(flags(plan, attributes, waits)).unwrap_or(-1);
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

fn plan_pointer(plan: &Plan) -> *const libc::c_void {
    ptr::from_ref(plan).cast()
}

/// All signals blocked on this thread, until dropped. Raw calls, as libc leaves out the signals that it uses itself.
pub(super) struct SignalMask {
    pub(super) before: u64,
}

impl SignalMask {
    pub(super) fn block_all() -> SignalMask {
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
pub(super) struct Dumpable {
    before: libc::c_int,
    _turn: MutexGuard<'static, ()>,
}

/// One thread's children at a time: another's would remember what the first one's child has just taken away.
static DUMPABLE_TURN: Mutex<()> = Mutex::new(());

impl Dumpable {
    #[cold]
    pub(super) fn remember() -> Dumpable {
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
