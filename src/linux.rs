//! What goes beyond the portable [`Command`]: terminals, roots, limits, namespaces, capabilities, cgroups.
//! Unaware of how a child does any of it.
//!
//! Bring [`CommandExt`] into scope, as one does with `std::os::unix::process::CommandExt`:
//!
//! ```no_run
//! use execloop::linux::{CommandExt, Namespaces, Resource};
//! use execloop::{Command, Signal};
//!
//! let mut build = Command::new("make");
//! build
//!     .parent_death_signal(Signal::KILL)
//!     .namespaces(Namespaces::USER | Namespaces::NET)
//!     .uid_map(0, 1000, 1)
//!     .rlimit(Resource::CORE, 0, 0);
//! build.run()?;
//! # Ok::<(), execloop::CommandError>(())
//! ```
//!
//! # The order in the child
//!
//! That of Go's `syscall.SysProcAttr`, with the resource limits added: descriptor table of its own; cgroup; new
//! namespaces of [`namespaces`](CommandExt::namespaces) with their maps; session, process group, foreground; signals as
//! they shall be; namespaces of [`unshare`](CommandExt::unshare) with their maps; root; resource limits but that of
//! descriptors; groups, group, user; ambient capabilities; working directory; signal at the parent's death;
//! descriptors; controlling terminal; limit of descriptors; exec. A step that fails is named by [`StartError::Step`],
//! and no child is left.
//!
//! # What is left out
//!
//! Ptrace (Go: `SysProcAttr.Ptrace`). A traced child stops at its exec and at each signal, and only the thread that
//! started it can make it go on, by waiting for those stops. A reactor waits for exits alone, by descriptors; a
//! debugger needs a loop of its own.
//!
//! [`StartError::Step`]: crate::StartError::Step

pub use crate::holders::{Holder, pipe_holders};
pub use crate::orphans::{Orphan, Orphans};

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use crate::command::Command;
pub use crate::sys::{Capability, Namespaces, Resource};
use crate::sys::{CgroupPlan, IdMap, Rlimit, Signal};

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Command {}
}

/// Child attributes of Linux, for [`Command`]. Implemented for it alone.
///
/// ```
/// use execloop::linux::{CommandExt, Resource};
/// use execloop::Command;
/// let limits = Command::new("sh").args(["-c", "ulimit -c"]).rlimit(Resource::CORE, 0, 0).output()?;
/// assert_eq!(limits, b"0\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Some of them work on other Unixes too and may move; the names stay.
pub trait CommandExt: sealed::Sealed {
    /// Makes `directory` the child's root, and its working directory unless [`Command::current_dir`] names another.
    /// Default: the parent's root. Needs `CAP_SYS_CHROOT` (chroot(2)).
    ///
    /// The program, its interpreter and the working directory are looked for under the new root. The trap: a name
    /// without a slash was looked for under the old one, when the command was made; give a path. Go leaves the working
    /// directory outside of the new root, from where all of the old one can be reached.
    fn chroot(&mut self, directory: impl AsRef<Path>) -> &mut Self;

    /// Makes the child's descriptor `number` its controlling terminal (`TIOCSCTTY`; Go: `Setctty` and `Ctty`). Default:
    /// that of the parent's session.
    ///
    /// It is one of 0, 1, 2 or an [extra](Command::extra_fd) one, and leads to a terminal that is no session's yet.
    /// Needs [`Command::session`], and excludes [`foreground`](CommandExt::foreground): both are refused at the start.
    /// The trap: a terminal of another session is taken away from it where this process has `CAP_SYS_ADMIN`.
    #[doc(alias = "setctty")]
    fn controlling_terminal(&mut self, number: i32) -> &mut Self;

    /// With `true`, the child gives up its controlling terminal (`TIOCNOTTY`; Go: `Noctty`). Default: `false`.
    /// [`Command::session`] does the same without asking for a descriptor.
    ///
    /// On Linux the child's descriptor 0 must lead to that terminal. Elsewhere it is `/dev/tty` that is asked for it, and
    /// that there is none is no error; FreeBSD cannot do it.
    #[doc(alias = "noctty")]
    fn leave_terminal(&mut self, leave: bool) -> &mut Self;

    /// Puts the child into a process group of its own, or that of [`Command::process_group`], and makes that the
    /// foreground group of this process's controlling terminal, which `terminal` leads to (tcsetpgrp(3); Go:
    /// `Foreground`). Default: the foreground stays as it is.
    ///
    /// The terminal changes hands while the child has all signals blocked, so neither it nor this process is stopped by
    /// SIGTTOU. A start with it waits for the program's exec. The trap: this process is in the background from then on,
    /// and has to take the foreground back when the child has ended, with SIGTTOU blocked or ignored. Excludes
    /// [`Command::session`] and [`controlling_terminal`](CommandExt::controlling_terminal).
    fn foreground(&mut self, terminal: impl Into<OwnedFd>) -> &mut Self;

    /// Sends the child this signal when the thread that starts it ends (`PR_SET_PDEATHSIG`; Go: `Pdeathsig`). Default:
    /// none, children outlive this process.
    ///
    /// If this process is dead by the time that the child asks for it, the child sends the signal to itself, unless a
    /// new pid namespace hides the parent from it. The traps: it is bound to the thread that turns the reactor, not to
    /// the process; the child's own children do not inherit it; a program with set-user-ID bit or capabilities clears
    /// it.
    #[doc(alias = "pdeathsig")]
    fn parent_death_signal(&mut self, signal: Signal) -> &mut Self;

    /// Makes the child in new namespaces of these kinds (clone(2); Go: `Cloneflags`). Default: in those of this
    /// process.
    ///
    /// In a new pid namespace it is process 1, and all processes of that namespace end with it. Needs `CAP_SYS_ADMIN`,
    /// unless a new user namespace is among them. A start with it waits for the program's exec. The trap: mounts are
    /// copied, and those of a shared mount still propagate; [`unshare`](CommandExt::unshare) makes them private.
    #[doc(alias("cloneflags", "clone_flags"))]
    fn namespaces(&mut self, namespaces: Namespaces) -> &mut Self;

    /// Moves the child into new namespaces of these kinds before it takes another root or user (unshare(2); Go:
    /// `Unshareflags`). Default: none. With [`Namespaces::MOUNT`], all mounts become private, so that what is mounted
    /// in there stays in there. A start with it waits for the program's exec.
    ///
    /// The trap: a new pid namespace is for the child's children, not for the child; and a new time namespace before
    /// Linux 6.0 too.
    #[doc(alias = "unshareflags")]
    fn unshare(&mut self, namespaces: Namespaces) -> &mut Self;

    /// Adds a line to the user map of the new user namespace: `count` users from `inside` are those from `outside` here
    /// (user_namespaces(7); Go: `UidMappings`). Default: no map, and the child's user is the overflow user.
    ///
    /// This process writes the map while the child waits, so it may map whatever this process may: without
    /// `CAP_SETUID`, its own user in one line. [`Command::uid`] is a user inside. Needs [`Namespaces::USER`], else the
    /// start is refused. A start with it waits for the program's exec.
    fn uid_map(&mut self, inside: u32, outside: u32, count: u32) -> &mut Self;

    /// The same for groups (Go: `GidMappings`). Unless [`setgroups_in_namespace`](CommandExt::setgroups_in_namespace)
    /// allows it, setgroups(2) is denied in the namespace, which the kernel wants for a map by an unprivileged process.
    fn gid_map(&mut self, inside: u32, outside: u32, count: u32) -> &mut Self;

    /// With `true`, setgroups(2) stays allowed in a user namespace with a group map (Go: `GidMappingsEnableSetgroups`).
    /// Default: `false`, and [`Command::groups`] then fails in there.
    fn setgroups_in_namespace(&mut self, allow: bool) -> &mut Self;

    /// Gives the program these capabilities although it is not root and its file has none (capabilities(7); Go:
    /// `AmbientCaps`). Default: none. Only those that this process has can be given. They survive [`Command::uid`].
    #[doc(alias = "ambient_caps")]
    fn ambient_capabilities(&mut self, capabilities: &[Capability]) -> &mut Self;

    /// Starts the child in the cgroup whose directory this is, of the unified hierarchy (cgroups(7); Go: `UseCgroupFD`
    /// and `CgroupFD`). Default: in that of this process.
    ///
    /// It is born there; where the kernel (before 5.7) or a seccomp filter refuses that, it moves there first thing, by
    /// `cgroup.procs`. The directory is kept open, so later starts find it also if it was renamed or hidden. A start
    /// with it waits for the program's exec: the OOM killer of a cgroup kills all who share its victim's memory, but
    /// for the parent of a vfork.
    ///
    /// ```no_run
    /// use execloop::Command;
    /// use execloop::linux::CommandExt;
    /// let cgroup = std::fs::File::open("/sys/fs/cgroup/build")?;
    /// Command::new("make").cgroup(cgroup).run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn cgroup(&mut self, directory: impl Into<OwnedFd>) -> &mut Self;

    /// Makes a cgroup for each start, below a directory of the caller's, and starts the child in it. Default: that of
    /// this process. Excludes [`cgroup`](CommandExt::cgroup). A start with it waits for the program's exec.
    ///
    /// No process of its cgroup survives the command. When its process has exited, also after a normal end, whoever is
    /// left in the cgroup is killed by `cgroup.kill`, whatever session and group they are in. The command is finished
    /// when the cgroup is empty (`populated 0`); then the cgroup is removed.
    ///
    /// The start fails with [`StartStep::Cgroup`](crate::StartStep::Cgroup) where no cgroup can be made, a setting is
    /// refused, or the kernel is older than Linux 5.14. The traps: the directory has to be delegated to this user
    /// (cgroups(7)), and its `cgroup.subtree_control` has to name the controllers of the settings; a process that does
    /// not die (state D) keeps its command from finishing.
    ///
    /// ```no_run
    /// use execloop::Command;
    /// use execloop::linux::{Cgroup, CommandExt};
    /// let limits = Cgroup::under("/sys/fs/cgroup/build").memory_max(1 << 30).pids_max(64);
    /// let done = Command::new("make").own_cgroup(limits).finish()?;
    /// if let Some(usage) = done.usage {
    ///     println!("{:?} bytes at once", usage.memory_bytes_peak);
    /// }
    /// # Ok::<(), execloop::CommandError>(())
    /// ```
    fn own_cgroup(&mut self, cgroup: Cgroup) -> &mut Self;

    /// Limits a resource of the child: what is enforced (`soft`) and what it may raise that to (`hard`), in the
    /// resource's unit (setrlimit(2)). Default: the limits of this process; of descriptors, see
    /// [`ReactorBuilder::raise_fd_limit`](crate::ReactorBuilder::raise_fd_limit). Of calls for one resource the last
    /// counts.
    ///
    /// Limits are set before the user changes, so a privileged process can give more than it has itself; that of
    /// descriptors comes last of all, so that a low one is not in the way of the child's own descriptors.
    fn rlimit(&mut self, resource: Resource, soft: u64, hard: u64) -> &mut Self;
}

/// A cgroup to be made, for [`CommandExt::own_cgroup`].
///
/// ```no_run
/// use execloop::Command;
/// use execloop::linux::{Cgroup, CommandExt};
/// let limits = Cgroup::under("/sys/fs/cgroup/build").memory_max(1 << 30).set("cpu.max", "50000 100000");
/// Command::new("make").own_cgroup(limits).run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup(CgroupPlan);

impl Cgroup {
    /// Below this directory of the unified hierarchy.
    pub fn under(directory: impl AsRef<Path>) -> Cgroup {
        Cgroup(CgroupPlan {
            under: directory.as_ref().to_owned(),
            settings: Vec::new(),
        })
    }

    /// No more memory than so many bytes for all in it (`memory.max`). Beyond it, the kernel kills one of them.
    pub fn memory_max(self, bytes: u64) -> Cgroup {
        self.set("memory.max", &bytes.to_string())
    }

    /// No more than so many processes and threads in it (`pids.max`). Beyond it, a fork fails with `EAGAIN`.
    pub fn pids_max(self, count: u64) -> Cgroup {
        self.set("pids.max", &count.to_string())
    }

    /// Writes `value` into this file of the cgroup before the start, `cpu.max` for example. Written in the order of the
    /// calls. The trap: the name is taken as it is.
    pub fn set(mut self, file: &str, value: &str) -> Cgroup {
        self.0.settings.push((file.to_owned(), value.to_owned()));
        self
    }
}

/// No limit, for [`CommandExt::rlimit`] (`RLIM_INFINITY`).
pub const UNLIMITED: u64 = u64::MAX;

impl CommandExt for Command {
    fn chroot(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.change(|command| command.chroot = Some(directory.as_ref().to_owned()))
    }

    fn controlling_terminal(&mut self, number: i32) -> &mut Command {
        self.change(|command| command.attributes_mut().controlling_terminal = Some(number))
    }

    fn leave_terminal(&mut self, leave: bool) -> &mut Command {
        self.change(|command| command.attributes_mut().leave_terminal = leave)
    }

    fn foreground(&mut self, terminal: impl Into<OwnedFd>) -> &mut Command {
        self.change(|command| command.attributes_mut().foreground = Some(Arc::new(terminal.into())))
    }

    fn parent_death_signal(&mut self, signal: Signal) -> &mut Command {
        self.change(|command| command.attributes_mut().parent_death_signal = Some(signal))
    }

    fn namespaces(&mut self, namespaces: Namespaces) -> &mut Command {
        self.change(|command| command.attributes_mut().namespaces = namespaces)
    }

    fn unshare(&mut self, namespaces: Namespaces) -> &mut Command {
        self.change(|command| command.attributes_mut().unshare = namespaces)
    }

    fn uid_map(&mut self, inside: u32, outside: u32, count: u32) -> &mut Command {
        let map = IdMap {
            inside,
            outside,
            count,
        };
        self.change(|command| command.attributes_mut().uid_maps.push(map))
    }

    fn gid_map(&mut self, inside: u32, outside: u32, count: u32) -> &mut Command {
        let map = IdMap {
            inside,
            outside,
            count,
        };
        self.change(|command| command.attributes_mut().gid_maps.push(map))
    }

    fn setgroups_in_namespace(&mut self, allow: bool) -> &mut Command {
        self.change(|command| command.attributes_mut().setgroups_in_namespace = allow)
    }

    fn ambient_capabilities(&mut self, capabilities: &[Capability]) -> &mut Command {
        self.change(|command| command.attributes_mut().ambient_capabilities = capabilities.to_vec())
    }

    fn cgroup(&mut self, directory: impl Into<OwnedFd>) -> &mut Command {
        self.change(|command| command.attributes_mut().cgroup = Some(Arc::new(directory.into())))
    }

    fn own_cgroup(&mut self, cgroup: Cgroup) -> &mut Command {
        self.change(|command| command.attributes_mut().own_cgroup = Some(Arc::new(cgroup.0)))
    }

    fn rlimit(&mut self, resource: Resource, soft: u64, hard: u64) -> &mut Command {
        self.change(|command| {
            let limits = &mut command.attributes_mut().rlimits;
            limits.retain(|limit| limit.resource != resource);
            limits.push(Rlimit {
                resource,
                soft,
                hard,
            });
        })
    }
}
