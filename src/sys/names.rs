//! `Namespaces`, `Resource` and `Capability`: the kernel's numbers under their usual names.
//! Unaware of what a child does with them.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of kinds of namespaces, made by `|` of the constants (namespaces(7)). The default is the empty set.
///
/// ```
/// use execloop::linux::Namespaces;
/// let sandbox = Namespaces::USER | Namespaces::NET;
/// assert!(sandbox.contains(Namespaces::NET));
/// assert_eq!(format!("{sandbox:?}"), "USER | NET");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Namespaces(pub(super) u64);

macro_rules! namespaces {
    ($($(#[$doc:meta])* $name:ident = $flag:literal,)*) => {
        impl Namespaces {
            $($(#[$doc])* pub const $name: Namespaces = Namespaces($flag);)*
            const NAMES: &[(&str, Namespaces)] = &[$((stringify!($name), Namespaces::$name),)*];
        }
    };
}

namespaces! {
    /// Users, groups and capabilities: see user_namespaces(7).
    USER = 0x1000_0000,
    /// Process ids: see pid_namespaces(7).
    PID = 0x2000_0000,
    /// Mounts: see mount_namespaces(7).
    MOUNT = 0x0002_0000,
    /// Network interfaces, addresses and ports: see network_namespaces(7). Not even the loopback is up in a new one.
    NET = 0x4000_0000,
    /// System V IPC and POSIX message queues: see ipc_namespaces(7).
    IPC = 0x0800_0000,
    /// Host and domain name: see uts_namespaces(7).
    UTS = 0x0400_0000,
    /// The root of what is seen of cgroups: see cgroup_namespaces(7).
    CGROUP = 0x0200_0000,
    /// Monotonic and boot time: see time_namespaces(7). Linux 5.6, and by clone3(2) or unshare(2) alone: a start that has
    /// to fall back to clone(2) fails with it.
    TIME = 0x0000_0080,
}

impl Namespaces {
    /// All of `other` are in this set.
    pub const fn contains(self, other: Namespaces) -> bool {
        self.0 & other.0 == other.0
    }

    /// There is none in this set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Namespaces {
    type Output = Namespaces;

    fn bitor(self, other: Namespaces) -> Namespaces {
        Namespaces(self.0 | other.0)
    }
}

impl BitOrAssign for Namespaces {
    fn bitor_assign(&mut self, other: Namespaces) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Namespaces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, one) in Namespaces::NAMES {
            if self.contains(*one) {
                write!(formatter, "{separator}{name}")?;
                separator = " | ";
            }
        }
        if self.is_empty() {
            formatter.write_str("none")?;
        }
        Ok(())
    }
}

/// A resource that can be limited, under its usual name without `RLIMIT_`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(u32);

macro_rules! resources {
    ($list:ident: $($(#[$doc:meta])* $name:ident = $number:ident,)*) => {
        impl Resource {
            $($(#[$doc])* pub const $name: Resource = Resource(libc::$number as u32);)*
            const $list: &[(&str, Resource)] = &[$((stringify!($name), Resource::$name),)*];
        }
    };
}

resources! { NAMES:
    /// Size of a core file, in bytes; 0 makes none.
    CORE = RLIMIT_CORE,
    /// CPU time, in seconds: SIGXCPU at the soft limit, SIGKILL at the hard one.
    CPU = RLIMIT_CPU,
    /// Data segment and private writable memory, in bytes.
    DATA = RLIMIT_DATA,
    /// Size of a file that it writes, in bytes: SIGXFSZ beyond.
    FSIZE = RLIMIT_FSIZE,
    /// Locked memory, in bytes.
    MEMLOCK = RLIMIT_MEMLOCK,
    /// One more than the highest descriptor number.
    NOFILE = RLIMIT_NOFILE,
    /// Processes and threads of its user.
    NPROC = RLIMIT_NPROC,
    /// Resident memory, in bytes. Linux does not enforce it.
    RSS = RLIMIT_RSS,
    /// Stack of the first thread, in bytes. On Linux, a quarter of it is what arguments and environment may take.
    STACK = RLIMIT_STACK,
}

#[cfg(not(target_os = "openbsd"))]
resources! { NAMES_OF_MOST:
    /// Address space, in bytes. OpenBSD has no such limit.
    AS = RLIMIT_AS,
}

#[cfg(target_os = "openbsd")]
resources! { NAMES_OF_MOST: }

#[cfg(target_os = "linux")]
resources! { NAMES_OF_LINUX:
    /// POSIX message queues of its user, in bytes. Linux only.
    MSGQUEUE = RLIMIT_MSGQUEUE,
    /// The lowest nice value that it may take, as 20 minus that value. Linux only.
    NICE = RLIMIT_NICE,
    /// Real-time priority. Linux only.
    RTPRIO = RLIMIT_RTPRIO,
    /// CPU time of a real-time thread without a blocking call, in microseconds. Linux only.
    RTTIME = RLIMIT_RTTIME,
    /// Queued signals of its user. Linux only.
    SIGPENDING = RLIMIT_SIGPENDING,
}

#[cfg(not(target_os = "linux"))]
resources! { NAMES_OF_LINUX: }

impl Resource {
    /// The number for prlimit(2).
    pub(in crate::sys) const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            Resource::NAMES,
            Resource::NAMES_OF_MOST,
            Resource::NAMES_OF_LINUX,
        ];
        let mut names = lists.into_iter().flatten();
        let name = names.find(|(_, resource)| resource == self);
        formatter.write_str(name.map_or("?", |(name, _)| name))
    }
}

/// A capability, under its usual name without `CAP_` (capabilities(7)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(u32);

/// The kernel's interface has room for this many.
const CAPABILITIES_MAX: u32 = 64;

macro_rules! capabilities {
    ($($name:ident = $number:literal,)*) => {
        impl Capability {
            $(
                #[doc = concat!("`CAP_", stringify!($name), "`.")]
                pub const $name: Capability = Capability($number);
            )*
            const NAMES: &[(&str, Capability)] = &[$((stringify!($name), Capability::$name),)*];
        }
    };
}

capabilities! {
    CHOWN = 0, DAC_OVERRIDE = 1, DAC_READ_SEARCH = 2, FOWNER = 3, FSETID = 4, KILL = 5, SETGID = 6, SETUID = 7,
    SETPCAP = 8, LINUX_IMMUTABLE = 9, NET_BIND_SERVICE = 10, NET_BROADCAST = 11, NET_ADMIN = 12, NET_RAW = 13,
    IPC_LOCK = 14, IPC_OWNER = 15, SYS_MODULE = 16, SYS_RAWIO = 17, SYS_CHROOT = 18, SYS_PTRACE = 19, SYS_PACCT = 20,
    SYS_ADMIN = 21, SYS_BOOT = 22, SYS_NICE = 23, SYS_RESOURCE = 24, SYS_TIME = 25, SYS_TTY_CONFIG = 26, MKNOD = 27,
    LEASE = 28, AUDIT_WRITE = 29, AUDIT_CONTROL = 30, SETFCAP = 31, MAC_OVERRIDE = 32, MAC_ADMIN = 33, SYSLOG = 34,
    WAKE_ALARM = 35, BLOCK_SUSPEND = 36, AUDIT_READ = 37, PERFMON = 38, BPF = 39, CHECKPOINT_RESTORE = 40,
}

impl Capability {
    /// The capability with this number, or `None` beyond 63, for which the kernel's interface has no room. One that the
    /// kernel does not know makes the start fail.
    pub const fn new(number: u32) -> Option<Capability> {
        if number < CAPABILITIES_MAX {
            Some(Capability(number))
        } else {
            None
        }
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Capability::NAMES
            .iter()
            .find(|(_, capability)| capability == self)
        {
            Some((name, _)) => formatter.write_str(name),
            None => write!(formatter, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn namespaces_have_the_kernels_flags() {
        let flags = [
            (Namespaces::USER, libc::CLONE_NEWUSER),
            (Namespaces::PID, libc::CLONE_NEWPID),
            (Namespaces::MOUNT, libc::CLONE_NEWNS),
            (Namespaces::NET, libc::CLONE_NEWNET),
            (Namespaces::IPC, libc::CLONE_NEWIPC),
            (Namespaces::UTS, libc::CLONE_NEWUTS),
            (Namespaces::CGROUP, libc::CLONE_NEWCGROUP),
            (Namespaces::TIME, libc::CLONE_NEWTIME),
        ];
        for (namespace, flag) in flags {
            assert_eq!(
                namespace.0,
                u64::from(flag.cast_unsigned()),
                "{namespace:?}"
            );
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn no_namespace_flag_is_one_that_changes_what_is_shared() {
        let all = Namespaces::NAMES
            .iter()
            .fold(Namespaces::default(), |all, (_, one)| all | *one);
        let sharing = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD;
        let others =
            libc::CLONE_VFORK | libc::CLONE_PARENT | libc::CLONE_SETTLS | libc::CLONE_CHILD_SETTID;
        assert_eq!(all.0 & (sharing | others) as u64, 0);
        assert_eq!(
            format!("{all:?}"),
            "USER | PID | MOUNT | NET | IPC | UTS | CGROUP | TIME"
        );
        assert_eq!(format!("{:?}", Namespaces::default()), "none");
    }

    #[test]
    fn capabilities_are_numbered_without_a_gap() {
        for (number, (_, capability)) in (0..).zip(Capability::NAMES) {
            assert_eq!(capability.number(), number);
        }
        assert_eq!(
            Capability::new(63).map(|last| format!("{last:?}")),
            Some("63".to_owned())
        );
        assert_eq!(Capability::new(64), None);
    }

    #[test]
    fn resources_print_their_names() {
        assert_eq!(
            format!("{:?} {:?}", Resource::NOFILE, Resource::CORE),
            "NOFILE CORE"
        );
    }
}
