//! A child by its pidfd: readable once it exited, reaped and signalled through the descriptor (Linux 5.4).
//! Unaware of how it was started.
#![allow(
    unsafe_code,
    reason = "waitid with rusage, signals by pidfd and an ioctl have no safe wrapper"
)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::cgroup::OwnCgroup;
use super::cradle::Birth;
use super::fd::above_stdio_if_possible;
use crate::sys::usage::{duration, raw_usage, rss_bytes};
use crate::sys::{Exit, RawUsage, Signal, Target, cvt, is_process_gone, process_gone};

/// `PIDFD_SIGNAL_PROCESS_GROUP` (Linux 6.9).
const TO_PROCESS_GROUP: libc::c_ulong = 1 << 2;

/// A child, from its start until its handle is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    pid: u32,
    pidfd: OwnedFd,
    /// The child's pid may belong to another process by now.
    reaped: bool,
    /// Who is left of its group is killed before it is reaped.
    sweeps_group: bool,
    /// Who is left in the child's cgroup is killed before it is reaped, and then the cgroup is removed.
    cgroup: Option<Box<OwnCgroup>>,
    /// The child's program may not be executed yet.
    birth: Option<Birth>,
}

impl Child {
    /// Owns the pidfd that the clone returned.
    pub(super) fn new(pid: u32, pidfd: i32) -> io::Result<Child> {
        // Kernels before 5.2 ignore CLONE_PIDFD; `check_floor` refused them.
        if pidfd < 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // SAFETY: the kernel made this descriptor for the clone, and nobody else owns it.
        let pidfd = above_stdio_if_possible(unsafe { OwnedFd::from_raw_fd(pidfd) });
        Ok(Child {
            pid,
            pidfd,
            reaped: false,
            sweeps_group: false,
            cgroup: None,
            birth: None,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it was born, if it returned from there before its exec.
    pub(super) fn birth(&self) -> Option<Birth> {
        self.birth
    }

    pub(super) fn is_born_in(&mut self, birth: Birth) {
        self.birth = Some(birth);
    }

    /// Who is left of its group is to be killed before it is reaped.
    pub(super) fn set_sweeps_group(&mut self, sweeps_group: bool) {
        self.sweeps_group = sweeps_group;
    }

    /// It was born in this cgroup, which ends with it.
    pub(super) fn owns_cgroup(&mut self, cgroup: Option<Box<OwnCgroup>>) {
        self.cgroup = cgroup;
    }

    /// Signals the child or the group that it leads. A group can be reached after its leader was reaped where the kernel
    /// signals groups by pidfd; elsewhere only before, while the zombie still pins the number.
    pub(super) fn signal(&self, target: Target, signal: Signal) -> io::Result<()> {
        let flags = match target {
            Target::Process if self.reaped => return Err(process_gone()),
            Target::Process => 0,
            Target::Group => TO_PROCESS_GROUP,
        };
        // SAFETY: a null siginfo asks for the one that kill(2) would send.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                libc::c_long::from(self.pidfd.as_raw_fd()),
                libc::c_long::from(signal.number()),
                std::ptr::null::<libc::siginfo_t>(),
                flags,
            )
        };
        match cvt_long(sent) {
            Ok(_) => Ok(()),
            Err(error) if is_process_gone(&error) => Err(error),
            // Not known to this kernel, or refused by a filter: kill(2) gives the answer that counts.
            Err(_) => self.signal_by_pid(target, signal),
        }
    }

    /// For kernels and seccomp filters without the call above. Safe only until the child is reaped, by us or by somebody else:
    /// in the second case its number may be another's.
    fn signal_by_pid(&self, target: Target, signal: Signal) -> io::Result<()> {
        let pid = libc::pid_t::try_from(self.pid).unwrap_or(0);
        if self.reaped || pid <= 1 || self.is_lost() {
            return Err(process_gone());
        }
        let pid = if target == Target::Group { -pid } else { pid };
        // SAFETY: kill(2) takes two numbers; the pid is that of an unreaped child, or of the group it leads.
        cvt(unsafe { libc::kill(pid, signal.number()) }).map(drop)
    }

    /// Takes the status, if the child has exited. `WEXITED` alone: a stop is no exit.
    pub(super) fn reap(&mut self) -> io::Result<Option<Exit>> {
        if self.sweeps_group {
            // Until it is reaped, the group's number is this group's on every kernel.
            if !self.has_exited() {
                // The trap: it may exit right now, and be reaped below without this.
                return Ok(None);
            }
            let _ = self.signal(Target::Group, Signal::KILL);
        }
        if self.cgroup.is_some() && !self.is_cgroup_empty() {
            // Asked again by timer: those that were killed are on their way.
            return Ok(None);
        }
        let mut exit = self.wait_either_way(libc::WEXITED | libc::WNOHANG)?;
        self.reaped = exit.is_some();
        if self.reaped
            && let Some(cgroup) = self.cgroup.take()
            && let Some(usage) = exit.as_mut().and_then(|exit| exit.usage.as_mut())
        {
            usage.memory_bytes_peak = cgroup.memory_peak();
        }
        Ok(exit)
    }

    /// Somebody else has reaped it, or the kernel has, as SIGCHLD is ignored.
    fn is_lost(&self) -> bool {
        let peek = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let seen = self.wait(peek);
        seen.is_err_and(|error| error.raw_os_error() == Some(libc::ECHILD))
    }

    /// By poll(2), as waitid(2) may be refused by a filter: a living command is not swept.
    fn has_exited(&self) -> bool {
        let mut pidfd = libc::pollfd {
            fd: self.pidfd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one structure, as the count says.
        let ready = unsafe { libc::poll(&raw mut pidfd, 1, 0) };
        ready == 1 && pidfd.revents & libc::POLLIN != 0
    }

    /// Once the child has exited, ends who is left. `false`: not yet, or somebody is.
    fn is_cgroup_empty(&self) -> bool {
        let Some(cgroup) = &self.cgroup else {
            return true;
        };
        if !self.has_exited() {
            return false;
        }
        if cgroup.is_populated() {
            let _ = cgroup.kill();
        }
        !cgroup.is_populated()
    }

    /// Waits for a child that is exiting because its start failed. Its status tells nothing.
    #[cold]
    pub(super) fn reap_failed_start(self) {
        while let Err(error) = self.wait_either_way(libc::WEXITED) {
            if error.kind() != io::ErrorKind::Interrupted {
                break;
            }
        }
    }

    /// waitid(2), or wait4(2) where a filter refuses the first. An error is one that may pass.
    fn wait_either_way(&self, options: libc::c_int) -> io::Result<Option<Exit>> {
        match self.wait(options) {
            Err(error) => self.wait_otherwise(options, error),
            waited => waited,
        }
    }

    #[cold]
    fn wait_otherwise(&self, options: libc::c_int, error: io::Error) -> io::Result<Option<Exit>> {
        let lost = |error: &io::Error| error.raw_os_error() == Some(libc::ECHILD);
        let result = if lost(&error) || error.kind() == io::ErrorKind::Interrupted {
            Err(error)
        } else {
            self.wait_by_pid(options)
        };
        match result {
            Err(error) if lost(&error) => Ok(Some(Exit {
                failure: None,
                status: self.status_after_reap(),
                usage: None,
            })),
            result => result,
        }
    }

    /// The pid is the child's until it is reaped, and only its reaping ends this handle's use.
    fn wait_by_pid(&self, options: libc::c_int) -> io::Result<Option<Exit>> {
        let mut status = 0;
        // SAFETY: rusage is plain numbers for which zero is valid.
        let mut usage: libc::rusage = unsafe { mem::zeroed() };
        let pid = libc::pid_t::try_from(self.pid).unwrap_or(libc::pid_t::MAX);
        // SAFETY: `status` and `usage` have room for the answer.
        let waited = cvt(unsafe {
            libc::wait4(
                pid,
                &raw mut status,
                options & libc::WNOHANG,
                &raw mut usage,
            )
        })?;
        let has_ended = waited != 0 && !libc::WIFSTOPPED(status);
        Ok(has_ended.then(|| Exit {
            failure: None,
            status: Some(ExitStatus::from_raw(status)),
            usage: Some(raw_usage(&usage)),
        }))
    }

    fn wait(&self, options: libc::c_int) -> io::Result<Option<Exit>> {
        wait(self.pidfd.as_fd(), options)
    }

    /// The status of a child that somebody else reaped, or the kernel itself as SIGCHLD is ignored. Linux 6.15 keeps
    /// it for those who hold a pidfd.
    fn status_after_reap(&self) -> Option<ExitStatus> {
        let mut information = PidfdInfo {
            mask: PIDFD_INFO_EXIT,
            ..PidfdInfo::default()
        };
        let request = libc::_IOWR::<PidfdInfo>(0xff, 11);
        // SAFETY: the structure is as large as the request's number says.
        let result =
            cvt(unsafe { libc::ioctl(self.pidfd.as_raw_fd(), request, &raw mut information) });
        let known = result.is_ok() && information.mask & PIDFD_INFO_EXIT != 0;
        known.then(|| ExitStatus::from_raw(information.exit_code))
    }
}

/// waitid(2) as the kernel has it, with the usage in the same call. `None`: the child runs.
pub(super) fn wait(pidfd: BorrowedFd<'_>, options: libc::c_int) -> io::Result<Option<Exit>> {
    // SAFETY: siginfo_t is plain data for which zero is valid.
    let mut information: libc::siginfo_t = unsafe { mem::zeroed() };
    let mut usage = KernelUsage::default();
    // SAFETY: both structures have room for the answer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD as libc::c_long,
            libc::c_long::from(pidfd.as_raw_fd()),
            &raw mut information,
            libc::c_long::from(options),
            &raw mut usage,
        )
    };
    cvt_long(result)?;
    // SAFETY: waitid(2) fills these fields, or leaves them zero when nothing was waitable.
    let pid = unsafe { information.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let status = unsafe { information.si_status() };
    let raw = match information.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_KILLED => status,
        libc::CLD_DUMPED => status | 0x80,
        // It has made us its tracer, and has stopped for us: that is told whatever is asked for (waitid(2), ptrace(2)).
        _ => return Ok(None),
    };
    Ok(Some(Exit {
        failure: None,
        status: Some(ExitStatus::from_raw(raw)),
        usage: Some(usage.to_raw()),
    }))
}

/// The kernel's `struct rusage`. libc's is larger where its times have 64 bits and the kernel's longs 32.
#[repr(C)]
#[derive(Default)]
struct KernelUsage {
    user: [KernelLong; 2],
    system: [KernelLong; 2],
    rss_max: KernelLong,
    others: [KernelLong; 13],
}

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "32")))]
type KernelLong = libc::c_long;
#[cfg(all(target_arch = "x86_64", target_pointer_width = "32"))]
type KernelLong = i64;

impl KernelUsage {
    fn to_raw(&self) -> RawUsage {
        RawUsage {
            user: duration(self.user[0], self.user[1]),
            system: duration(self.system[0], self.system[1]),
            rss_bytes_max: rss_bytes(self.rss_max),
            memory_bytes_peak: None,
        }
    }
}

impl AsFd for Child {
    /// The child's pidfd: readable once it has exited.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `struct pidfd_info` of linux/pidfd.h, in its first size, which every later kernel accepts.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// Refuses kernels before 5.4, which cannot wait for a pidfd: they call the kind of id invalid, where a later one
/// only misses the descriptor.
pub(super) fn check_floor() -> io::Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: null pointers are allowed here, and no such descriptor exists.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD as libc::c_long,
            libc::c_long::from(libc::c_int::MAX),
            nothing,
            libc::c_long::from(libc::WEXITED | libc::WNOHANG),
            nothing,
        )
    };
    match cvt_long(result) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "waitid(P_PIDFD) does not work: Linux 5.4 or later is needed",
            ))
        }
        // `EBADF` from a kernel that looked for it, or whatever else a filter may answer: where it refuses this call, a
        // child is waited for by its pid.
        _ => Ok(()),
    }
}

/// Turns the `-1` of a function whose results are as wide as a register into the error that `errno` holds.
fn cvt_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
