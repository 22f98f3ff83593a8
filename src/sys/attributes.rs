//! What a child is to be, as data that the parent prepares once: its program, its arguments, its attributes.
//! Unaware of system calls, and of the descriptors of a single start.

use std::ffi::{CString, OsStr, c_char};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::names::{Capability, Namespaces, Resource};
use super::{CStrings, Signal};

/// Prepared once for each `Command`, shared by all its starts.
#[derive(Debug)]
pub(crate) struct Program {
    /// Its path, where that is not argument 0.
    pub(crate) found: Option<CString>,
    pub(crate) argv: CStrings,
    pub(crate) directory: Option<CString>,
    pub(crate) attributes: Arc<Attributes>,
}

impl Program {
    /// The path for execve(2), also in a child: it is there already. Valid as long as `self`.
    pub(crate) fn as_ptr(&self) -> *const c_char {
        match &self.found {
            Some(path) => path.as_ptr(),
            None => self.argv.first_as_ptr(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        let bytes = match &self.found {
            Some(path) => path.to_bytes(),
            None => self.argv.iter().next().unwrap_or_default(),
        };
        Path::new(OsStr::from_bytes(bytes))
    }
}

/// How the child differs from a plain one. The default changes nothing.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub(crate) struct Attributes {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Groups,
    pub(crate) session: bool,
    /// 0 makes a group of the child's own.
    pub(crate) process_group: Option<i32>,
    /// Who is left of the child's group is killed before the child is reaped.
    pub(crate) sweeps_group: bool,
    /// Descriptors above 2 that lack close-on-exec are inherited.
    pub(crate) inherit_fds: bool,
    /// It has the console while it runs.
    pub(crate) console: bool,
    /// The parent's terminal, whose foreground the child's group takes.
    pub(crate) foreground: Option<Arc<OwnedFd>>,
    /// The child's descriptor that becomes its controlling terminal.
    pub(crate) controlling_terminal: Option<i32>,
    pub(crate) leave_terminal: bool,
    pub(crate) chroot: Option<CString>,
    pub(crate) parent_death_signal: Option<Signal>,
    /// The child is born in these.
    pub(crate) namespaces: Namespaces,
    /// The child enters these.
    pub(crate) unshare: Namespaces,
    pub(crate) uid_maps: Vec<IdMap>,
    pub(crate) gid_maps: Vec<IdMap>,
    /// setgroups(2) stays allowed in a user namespace with maps.
    pub(crate) setgroups_in_namespace: bool,
    pub(crate) ambient_capabilities: Vec<Capability>,
    pub(crate) cgroup: Option<Arc<OwnedFd>>,
    /// A cgroup is made for each start.
    pub(crate) own_cgroup: Option<Arc<CgroupPlan>>,
    pub(crate) rlimits: Vec<Rlimit>,
}

/// The supplementary groups of the child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Groups {
    /// None, when a user or group is set; else those of the parent.
    #[default]
    Automatic,
    /// Those of the parent, whatever else is set.
    Keep,
    /// These.
    Set(Vec<u32>),
}

/// One line of `/proc/PID/uid_map` or `gid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdMap {
    pub(crate) inside: u32,
    pub(crate) outside: u32,
    pub(crate) count: u32,
}

/// A cgroup to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupPlan {
    pub(crate) under: PathBuf,
    /// What to write into which of its files.
    pub(crate) settings: Vec<(String, String)>,
}

/// A resource limit for the child alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rlimit {
    pub(crate) resource: Resource,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl Attributes {
    /// The child leads a process group of its own.
    pub(crate) fn leads_group(&self) -> bool {
        match self.process_group {
            Some(group) => group == 0,
            None => self.session || self.foreground.is_some() || self.console,
        }
    }

    /// Somebody outside has to write the child's id maps while it waits.
    pub(crate) fn has_id_maps(&self) -> bool {
        !self.uid_maps.is_empty() || !self.gid_maps.is_empty()
    }

    /// The list for setgroups(2), or `None` to leave the groups alone.
    pub(in crate::sys) fn groups_to_set(&self) -> Option<&[u32]> {
        let denied = self.has_id_maps() && !self.setgroups_in_namespace;
        match &self.groups {
            Groups::Set(groups) => Some(groups),
            Groups::Automatic if (self.uid.is_some() || self.gid.is_some()) && !denied => Some(&[]),
            Groups::Automatic | Groups::Keep => None,
        }
    }
}
