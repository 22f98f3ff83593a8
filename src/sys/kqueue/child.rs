//! The forked child's side of a start, up to its exec.
//! It has a copy of our memory, but not of our other threads: whatever lock one of them held stays held. So it allocates
//! nothing, locks nothing and cannot panic. The order of the steps is that of Go's syscall.forkAndExecInChild.
#![allow(unsafe_code, reason = "system calls between fork and exec")]

use std::ffi::c_char;
use std::io;
use std::mem;
use std::ptr;

use libc::c_int;

use crate::sys::attributes::{Attributes, Groups, Program};
use crate::sys::mapping::Mapping;
use crate::sys::names::Resource;
use crate::sys::{Signal, StartStep};

/// What a child is to do, and where it says what failed.
pub(super) struct Plan<'a> {
    pub(super) program: &'a Program,
    pub(super) environment: *const *const c_char,
    /// No source is a target.
    pub(super) mappings: &'a [Mapping],
    /// Ranges of descriptors to close; `report_place` is in none.
    pub(super) gaps: &'a [(u32, u32)],
    /// The mask to put back: all signals are blocked until then.
    pub(super) mask: &'a libc::sigset_t,
    /// The list for setgroups(2).
    pub(super) groups: Option<&'a [u32]>,
    /// The terminal whose foreground to take.
    pub(super) foreground: Option<c_int>,
    /// The soft limit of descriptors from before the parent raised its own.
    pub(super) fd_limit: Option<u64>,
    #[cfg(any(target_os = "freebsd", target_os = "dragonfly"))]
    pub(super) parent: u32,
    /// A pipe's end, closed by exec; it is no target.
    pub(super) report: c_int,
    /// Where the report goes once the targets stand. It is no target either.
    pub(super) report_place: c_int,
    #[cfg(target_vendor = "apple")]
    pub(super) exec: Option<super::posix::ExecInPlace>,
}

/// A failed step and its error number, as the child writes them: two numbers.
pub(super) const REPORT_BYTES: usize = 8;

type Failed = (StartStep, c_int);

/// The child's first function.
pub(super) fn run(plan: &Plan<'_>) -> ! {
    let mut report = plan.report;
    let Err((step, errno)) = prepare_and_exec(plan, &mut report);
    let [step, errno] = [(step as u32).to_ne_bytes(), errno.to_ne_bytes()];
    let mut bytes = [0_u8; REPORT_BYTES];
    for (to, from) in bytes.iter_mut().zip(step.iter().chain(&errno)) {
        *to = *from;
    }
    // A pipe has room for these, and takes them whole.
    // SAFETY: readable bytes.
    unsafe { libc::write(report, bytes.as_ptr().cast(), REPORT_BYTES) };
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(253) }
}

enum Never {}

fn prepare_and_exec(plan: &Plan<'_>, report: &mut c_int) -> Result<Never, Failed> {
    let attributes = &plan.program.attributes;
    enter_group(plan, attributes)?;
    restore_signals(plan)?;
    if let Some(root) = &attributes.chroot {
        // SAFETY: a C string.
        at(StartStep::Chroot, unsafe { libc::chroot(root.as_ptr()) })?;
        if plan.program.directory.is_none() {
            // Else the child would stand outside of its root, and could walk up from there.
            // SAFETY: a C string.
            at(StartStep::Chdir, unsafe { libc::chdir(c"/".as_ptr()) })?;
        }
    }
    set_rlimits(attributes, |resource| resource != Resource::NOFILE)?;
    take_credentials(plan, attributes)?;
    if let Some(directory) = &plan.program.directory {
        // SAFETY: a C string.
        at(StartStep::Chdir, unsafe { libc::chdir(directory.as_ptr()) })?;
    }
    if let Some(signal) = attributes.parent_death_signal {
        die_with_parent(plan, signal)?;
    }
    lay_out_descriptors(plan, report)?;
    settle_terminal(attributes)?;
    if let Some(soft) = plan.fd_limit {
        lower_fd_limit(soft)?;
    }
    set_rlimits(attributes, |resource| resource == Resource::NOFILE)?;
    Err((StartStep::Exec, exec(plan)))
}

/// Session, group and foreground come while signals are blocked, so that no stop of the terminal can hit the child
/// before it is out of reach, and tcsetpgrp(3) raises no SIGTTOU.
fn enter_group(plan: &Plan<'_>, attributes: &Attributes) -> Result<(), Failed> {
    if attributes.session {
        // SAFETY: setsid(2) has no preconditions.
        at(StartStep::Session, unsafe { libc::setsid() })?;
    }
    let group = attributes.process_group.or(plan.foreground.map(|_| 0));
    // A session's leader leads its group already, and setpgid(2) refuses it.
    let leads_already = attributes.session && group == Some(0);
    if let Some(group) = group
        && !leads_already
    {
        // SAFETY: setpgid(2) takes two numbers.
        at(StartStep::ProcessGroup, unsafe { libc::setpgid(0, group) })?;
    }
    if let Some(terminal) = plan.foreground {
        let group = match group {
            Some(group) if group > 0 => group,
            // SAFETY: getpid(2) has no preconditions.
            _ => unsafe { libc::getpid() },
        };
        // SAFETY: tcsetpgrp(3) takes two numbers.
        at(StartStep::Foreground, unsafe {
            libc::tcsetpgrp(terminal, group)
        })?;
    }
    Ok(())
}

/// The largest signal number of any of these systems.
const SIGNAL_MAX: c_int = 127;

/// Caught signals get their default action, ignored ones stay ignored, but for SIGPIPE, which Rust ignores.
fn restore_signals(plan: &Plan<'_>) -> Result<(), Failed> {
    // SAFETY: zero is valid, and is the default action.
    let default: libc::sigaction = unsafe { mem::zeroed() };
    for signal in 1..=SIGNAL_MAX {
        let mut present = default;
        // SAFETY: `present` has room for the answer.
        let known = unsafe { libc::sigaction(signal, ptr::null(), &raw mut present) };
        let handler = present.sa_sigaction;
        let is_caught = known == 0 && handler != libc::SIG_DFL && handler != libc::SIG_IGN;
        if is_caught || signal == libc::SIGPIPE {
            // SAFETY: a whole action.
            at(StartStep::Signals, unsafe {
                libc::sigaction(signal, &raw const default, ptr::null_mut())
            })?;
        }
    }
    // SAFETY: the set is whole, and the old one is not asked for.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, plan.mask, ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err((StartStep::Signals, result))
    }
}

/// The first entry of setgroups(2)'s list becomes the effective group (FreeBSD: before 15), which setgid(2) sets as well.
const GROUPS_BEGIN_WITH_EFFECTIVE: bool = cfg!(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly"
));

/// The list for setgroups(2), made before the fork. What is asked for stands behind the effective group where that is first.
pub(super) fn group_list(attributes: &Attributes) -> Option<Vec<u32>> {
    list_groups(attributes, GROUPS_BEGIN_WITH_EFFECTIVE)
}

fn list_groups(attributes: &Attributes, begins_with_effective: bool) -> Option<Vec<u32>> {
    let asked = attributes.groups_to_set()?;
    // SAFETY: getegid(2) takes nothing and does not fail.
    let effective = attributes.gid.unwrap_or_else(|| unsafe { libc::getegid() });
    let first = begins_with_effective.then_some(effective);
    Some(first.into_iter().chain(asked.iter().copied()).collect())
}

fn take_credentials(plan: &Plan<'_>, attributes: &Attributes) -> Result<(), Failed> {
    if let Some(groups) = plan.groups {
        // SAFETY: the list is as long as said.
        let result = at(StartStep::Groups, unsafe {
            libc::setgroups(groups.len() as _, groups.as_ptr())
        });
        // Dropping groups by default is for those who may.
        let is_automatic = attributes.groups == Groups::Automatic;
        if !(is_automatic && result == Err((StartStep::Groups, libc::EPERM))) {
            result?;
        }
    }
    if let Some(gid) = attributes.gid {
        // SAFETY: setgid(2) takes a number.
        at(StartStep::Gid, unsafe { libc::setgid(gid) })?;
    }
    if let Some(uid) = attributes.uid {
        // SAFETY: setuid(2) takes a number.
        at(StartStep::Uid, unsafe { libc::setuid(uid) })?;
    }
    Ok(())
}

/// A parent that died before the setting was made sends no signal: do it ourselves.
#[cfg(any(target_os = "freebsd", target_os = "dragonfly"))]
fn die_with_parent(plan: &Plan<'_>, signal: Signal) -> Result<(), Failed> {
    let mut number = signal.number();
    // SAFETY: procctl(2) with this command reads one number; process 0 is the caller.
    at(StartStep::ParentDeath, unsafe {
        libc::procctl(
            libc::P_PID,
            0,
            libc::PROC_PDEATHSIG_CTL,
            (&raw mut number).cast(),
        )
    })?;
    // SAFETY: getppid(2) has no preconditions.
    if unsafe { libc::getppid() }.unsigned_abs() != plan.parent {
        // SAFETY: getpid(2) has no preconditions.
        let own = unsafe { libc::getpid() };
        // SAFETY: kill(2) takes two numbers.
        at(StartStep::ParentDeath, unsafe { libc::kill(own, number) })?;
    }
    Ok(())
}

#[cfg(not(any(target_os = "freebsd", target_os = "dragonfly")))]
fn die_with_parent(_plan: &Plan<'_>, _signal: Signal) -> Result<(), Failed> {
    Err((StartStep::ParentDeath, libc::ENOTSUP))
}

fn lay_out_descriptors(plan: &Plan<'_>, report: &mut c_int) -> Result<(), Failed> {
    for (source, target) in plan.mappings {
        match source {
            Some(source) => {
                // SAFETY: dup2(2) takes two numbers, which are not equal.
                at(StartStep::Layout, unsafe { libc::dup2(*source, *target) })?;
            }
            None => {
                // It may be closed in the parent already.
                // SAFETY: close(2) takes a number, and this table is the child's own.
                unsafe { libc::close(*target) };
            }
        }
    }
    if plan.gaps.is_empty() {
        return Ok(());
    }
    if *report != plan.report_place {
        // SAFETY: dup2(2) takes two numbers.
        at(StartStep::Layout, unsafe {
            libc::dup2(*report, plan.report_place)
        })?;
        *report = plan.report_place;
        // SAFETY: fcntl(2) with this command takes one number.
        at(StartStep::Layout, unsafe {
            libc::fcntl(*report, libc::F_SETFD, libc::FD_CLOEXEC)
        })?;
    }
    for (first, last) in plan.gaps {
        close_range(*first, *last)?;
    }
    Ok(())
}

fn close_range(first: u32, last: u32) -> Result<(), Failed> {
    match c_int::try_from(last) {
        Ok(last) => close_between(first.cast_signed(), last),
        Err(_) => close_from(first.cast_signed()),
    }
}

#[cfg(target_os = "freebsd")]
fn close_between(first: c_int, last: c_int) -> Result<(), Failed> {
    let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
    // SAFETY: close_range(2) takes numbers, and this table is the child's own.
    let result = unsafe { libc::close_range(first, last, 0) };
    at(StartStep::Descriptors, result).map(drop)
}

#[cfg(target_os = "linux")]
fn close_between(first: c_int, last: c_int) -> Result<(), Failed> {
    // SAFETY: close_range(2) takes numbers, and this table is the child's own.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    at(StartStep::Descriptors, result as c_int).map(drop)
}

/// The gaps are as wide as the child's highest number, which is low but for those who ask for a high one.
#[cfg(not(any(target_os = "freebsd", target_os = "linux")))]
fn close_between(first: c_int, last: c_int) -> Result<(), Failed> {
    for fd in first..=last {
        // SAFETY: close(2) takes a number, and this table is the child's own.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

#[cfg(any(
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
fn close_from(first: c_int) -> Result<(), Failed> {
    // SAFETY: closefrom(2) takes a number, and this table is the child's own. Where it answers, it fails for want of
    // anything to close.
    unsafe { libc::closefrom(first) };
    Ok(())
}

/// `exec` closes the rest there.
#[cfg(target_vendor = "apple")]
fn close_from(_first: c_int) -> Result<(), Failed> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn close_from(first: c_int) -> Result<(), Failed> {
    // SAFETY: close_range(2) takes numbers, and this table is the child's own.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    at(StartStep::Descriptors, result as c_int).map(drop)
}

/// The same on all BSDs; libc has them for some.
#[cfg(not(target_os = "linux"))]
const TIOCSCTTY: libc::c_ulong = 0x2000_7461;
#[cfg(not(target_os = "linux"))]
const TIOCNOTTY: libc::c_ulong = 0x2000_7471;
#[cfg(target_os = "linux")]
use libc::{TIOCNOTTY, TIOCSCTTY};

fn settle_terminal(attributes: &Attributes) -> Result<(), Failed> {
    if attributes.leave_terminal {
        leave_terminal()?;
    }
    if let Some(fd) = attributes.controlling_terminal {
        // SAFETY: ioctl(2) with this command takes one number, which the BSDs ignore.
        at(StartStep::Terminal, unsafe {
            libc::ioctl(fd, TIOCSCTTY, 1)
        })?;
    }
    Ok(())
}

/// macOS and the BSDs know this ioctl of `/dev/tty` alone.
fn leave_terminal() -> Result<(), Failed> {
    let flags = libc::O_RDWR | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let opened = at(StartStep::Terminal, unsafe {
        libc::open(c"/dev/tty".as_ptr(), flags)
    });
    let terminal = match opened {
        // There is none.
        Err((_, libc::ENXIO)) => return Ok(()),
        opened => opened?,
    };
    // SAFETY: ioctl(2) with this command takes no more.
    let left = at(StartStep::Terminal, unsafe {
        libc::ioctl(terminal, TIOCNOTTY)
    });
    // SAFETY: the descriptor was opened above, and this table is the child's own.
    unsafe { libc::close(terminal) };
    left.map(drop)
}

fn set_rlimits(attributes: &Attributes, which: fn(Resource) -> bool) -> Result<(), Failed> {
    for limit in &attributes.rlimits {
        if which(limit.resource) {
            set_rlimit(limit.resource, limit.soft, limit.hard)?;
        }
    }
    Ok(())
}

/// `UNLIMITED` is the largest number; some of these systems have a smaller one for it.
fn raw_limit(limit: u64) -> libc::rlim_t {
    match libc::rlim_t::try_from(limit) {
        Ok(limit) if limit < libc::RLIM_INFINITY => limit,
        _ => libc::RLIM_INFINITY,
    }
}

fn set_rlimit(resource: Resource, soft: u64, hard: u64) -> Result<(), Failed> {
    let limit = libc::rlimit {
        rlim_cur: raw_limit(soft),
        rlim_max: raw_limit(hard),
    };
    // SAFETY: a whole structure.
    at(StartStep::Rlimit, unsafe {
        libc::setrlimit(resource.number() as _, &raw const limit)
    })
    .map(drop)
}

/// Only ever lowers the soft limit: the program may have set a lower one, or a lower hard one, since it was raised.
fn lower_fd_limit(soft: u64) -> Result<(), Failed> {
    let mut present = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `present` has room for the answer.
    at(StartStep::Rlimit, unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut present)
    })?;
    if present.rlim_cur > raw_limit(soft) {
        present.rlim_cur = raw_limit(soft);
        // SAFETY: a whole structure.
        at(StartStep::Rlimit, unsafe {
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const present)
        })?;
    }
    Ok(())
}

/// What comes back is the error number.
fn exec(plan: &Plan<'_>) -> c_int {
    let argv = plan.program.argv.as_ptr();
    #[cfg(target_vendor = "apple")]
    if let Some(exec) = &plan.exec {
        // SAFETY: both lists end with null pointers.
        return unsafe { exec.exec(plan.program.as_ptr(), argv, plan.environment) };
    }
    // SAFETY: a C string, and two lists that end with null pointers.
    unsafe { libc::execve(plan.program.as_ptr(), argv, plan.environment) };
    errno()
}

/// Does not allocate: it is one number.
fn errno() -> c_int {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

fn at(step: StartStep, result: c_int) -> Result<c_int, Failed> {
    if result == -1 {
        Err((step, errno()))
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_behind_the_effective_one_where_setgroups_takes_the_first_for_that() {
        let list = |gid, groups, begins_with_effective| {
            let attributes = Attributes {
                gid,
                groups,
                ..Attributes::default()
            };
            list_groups(&attributes, begins_with_effective)
        };
        // SAFETY: getegid(2) takes nothing and does not fail.
        let own = unsafe { libc::getegid() };
        let set = |groups: &[u32]| Groups::Set(groups.to_vec());
        for begins in [false, true] {
            assert_eq!(list(None, Groups::Automatic, begins), None);
            assert_eq!(list(Some(7), Groups::Keep, begins), None);
        }
        assert_eq!(list(Some(7), set(&[8, 9]), false), Some(vec![8, 9]));
        assert_eq!(list(Some(7), set(&[8, 9]), true), Some(vec![7, 8, 9]));
        assert_eq!(list(Some(7), Groups::Automatic, false), Some(Vec::new()));
        assert_eq!(list(Some(7), Groups::Automatic, true), Some(vec![7]));
        assert_eq!(list(None, set(&[]), true), Some(vec![own]));
    }
}
