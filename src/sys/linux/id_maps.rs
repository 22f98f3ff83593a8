//! The parent's side of id maps: it writes them while the child of a new user namespace waits.
//! Unaware of how the child was made.

use std::io;
use std::sync::atomic::Ordering;

use super::child;
use super::plan::{Plan, gate};
use crate::sys::{Attributes, IdMap};

/// Writes the id maps when the child asks for them, and returns when it no longer uses our memory.
#[cold]
pub(super) fn accompany(plan: &Plan, pid: u32, attributes: &Attributes) {
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
