//! Who a child becomes: its namespaces and their id maps, its root, its groups, user and capabilities, its parent's death.
//! As for all of the child's side: it allocates nothing, locks nothing, cannot panic.
#![allow(
    unsafe_code,
    reason = "system calls in a process that shares our memory"
)]

use std::ptr;
use std::sync::atomic::Ordering;

use super::{Failed, at, call, prctl, text, wait, wake};
use crate::sys::attributes::{Attributes, Groups, Program};
use crate::sys::backend::plan::{Plan, gate};
use crate::sys::names::{Capability, Namespaces};
use crate::sys::{Signal, StartStep};

// On these two, the plain names are those of calls with 16 bits for an id.
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
use libc::{SYS_setgid as SYS_SETGID, SYS_setgroups as SYS_SETGROUPS, SYS_setuid as SYS_SETUID};
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
use libc::{
    SYS_setgid32 as SYS_SETGID, SYS_setgroups32 as SYS_SETGROUPS, SYS_setuid32 as SYS_SETUID,
};

pub(super) fn enter_namespaces(plan: &Plan, program: &Program) -> Result<(), Failed> {
    let attributes = &program.attributes;
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
        if program.directory.is_none() {
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
pub(super) fn take_credentials(attributes: &Attributes) -> Result<(), Failed> {
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
pub(super) fn die_with_parent(plan: &Plan, signal: Signal) -> Result<(), Failed> {
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

/// Tells the parent that the namespace is there, and waits until its maps are written. If the parent is killed
/// meanwhile, no one would ever come: then this child is killed too.
pub(super) fn wait_for_maps(plan: &Plan) -> Result<(), Failed> {
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
                return Err((StartStep::IdMaps, plan.report.refused()));
            }
        }
    }
}
