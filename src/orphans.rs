//! Orphans: descendants that lost their parent and became this process's children, reaped and told.
//! Unaware of commands, and of who has started which child: a pidfd says whose it is.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::process::ExitStatus;

use crate::error::ExitError;
use crate::sys::{Zombie, become_subreaper, first_zombie};

/// So many are held at once, by a descriptor each.
const HELD_MAX: usize = 64;

/// The right to reap the orphans of this process: what its commands have left in the background, and what those did.
///
/// ```
/// # #[cfg(not(execloop_kqueue_shim))] {
/// use execloop::linux::Orphans;
/// use execloop::{Command, Reactor};
/// let mut orphans = Orphans::adopt()?;
/// let mut reactor = Reactor::new()?;
/// reactor.start(Command::new("sh").args(["-c", "(sleep 0.05; exit 3) & exit 0"]))?;
/// assert!(reactor.wait_any()?.is_some_and(|done| done.success()));
/// let told = loop {
///     let told = orphans.reap(|_| false)?;
///     if let Some(orphan) = told.first() {
///         break orphan.status; // and `orphan.pid`
///     }
///     reactor.wake_at(std::time::Instant::now() + std::time::Duration::from_millis(10));
///     reactor.turn(None)?;
/// };
/// assert_eq!(told.code(), Some(3));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// By default a process whose parent has ended is given to init, and nobody here hears of it. A *subreaper* takes the
/// place of init for its descendants ([PR_SET_CHILD_SUBREAPER], Linux 3.4): they become its children, and stay zombies
/// when they exit until it [reaps](Orphans::reap) them. Process 1 of a container has them in any case.
///
/// This is a matter of the **whole process**: of all its threads, of every reactor, and of whatever else in it starts
/// children. It lasts until the process ends, and is not inherited by children. A reactor knows nothing of it; dropping
/// this changes nothing.
///
/// # Whose child it is
///
/// The kernel does not say whether a child was born as one, or is an orphan. Orphans are what is left: no child for
/// which this process has a pidfd open, as every [`Reactor`](crate::Reactor) has for each of its commands until that is
/// reaped, and as tokio has; and none that the caller says is his own. So there is one condition: **whatever is started
/// without a pidfd has to be named**, as a [`std::process::Child`] until it is waited for. A program that starts
/// everything by this crate names nothing. A command that a dropped reactor has [left
/// running](crate::Command::kill_on_drop) counts as an orphan from then on.
///
/// [PR_SET_CHILD_SUBREAPER]: https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html
#[derive(Debug)]
#[non_exhaustive]
pub struct Orphans {}

/// An orphan that has exited, and was reaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Orphan {
    /// Its process id, which may be another process's by now.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
}

/// Printed as an outcome is: `orphan 1234: exit status 3`, `orphan 1234: signal: SIGKILL`.
impl fmt::Display for Orphan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = ExitError {
            status: self.status,
            cause: None,
        };
        write!(formatter, "orphan {}: {ended}", self.pid)
    }
}

impl Orphans {
    /// Makes this process the subreaper of its descendants, for good. A second time does nothing more.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) on other systems than Linux.
    pub fn adopt() -> io::Result<Orphans> {
        become_subreaper()?;
        Ok(Orphans {})
    }

    /// Reaps the orphans that have exited, and tells of them. Does not wait. `is_own` is asked of each zombie that
    /// nothing in this process holds by a pidfd, and says by its pid whether the caller has started it otherwise; it is
    /// left alone then.
    ///
    /// Call it now and then: after a command is [finished](crate::Finished), by a timer
    /// ([`Reactor::wake_at`](crate::Reactor::wake_at)), or whenever there was a SIGCHLD. While no child at all is a
    /// zombie, it costs one system call; else it looks at each child and, if some may be an orphan, at each descriptor
    /// of this process. The traps: nothing is told where SIGCHLD is ignored, as the kernel reaps then; and a child that
    /// another thread starts by other means than this crate can be a zombie before that thread has named it, or has
    /// opened a pidfd for it.
    ///
    /// # Errors
    /// Where /proc is missing, or is another pid namespace's, or no descriptor is to be had. Nothing is reaped then.
    pub fn reap(&mut self, mut is_own: impl FnMut(u32) -> bool) -> io::Result<Vec<Orphan>> {
        let mut told = Vec::new();
        let Some(first) = first_zombie()? else {
            return Ok(told);
        };
        let this = fs::read_link("/proc/self")?;
        if this != Path::new(&std::process::id().to_string()) {
            let why = "/proc is that of another pid namespace";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let children = children().unwrap_or_else(|| vec![first]);
        for some in children.chunks(HELD_MAX) {
            let reaped = reap_some(some, &mut is_own, &mut told);
            // What was reaped has to be told; the rest, and the error, come with the next call.
            if told.is_empty() {
                reaped?;
            } else if reaped.is_err() {
                break;
            }
        }
        Ok(told)
    }
}

/// In this order: a child is held by its pidfd before it can become a zombie, and until it was reaped. So whatever is a
/// zombie and not held thereafter is nobody's, or not there any more, which its own pidfd tells.
fn reap_some(
    children: &[u32],
    is_own: &mut impl FnMut(u32) -> bool,
    told: &mut Vec<Orphan>,
) -> io::Result<()> {
    let mut zombies = Vec::new();
    for pid in children {
        zombies.extend(Zombie::of(*pid)?);
    }
    if zombies.is_empty() {
        return Ok(());
    }
    let ours: Vec<RawFd> = zombies.iter().map(Zombie::number).collect();
    let held = held_by_pidfd(&ours)?;
    for zombie in zombies {
        let pid = zombie.pid;
        if !held.contains(&pid)
            && !is_own(pid)
            && let Some(status) = zombie.reap()?
        {
            told.push(Orphan { pid, status });
        }
    }
    Ok(())
}

/// The children of all threads. The list may leave some out while others exit (proc(5)): they are there the next time.
/// `None`: this kernel has no such list.
fn children() -> Option<Vec<u32>> {
    let mut children = Vec::new();
    let mut is_known = false;
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        if let Ok(list) = fs::read_to_string(thread.path().join("children")) {
            is_known = true;
            children.extend(
                list.split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    is_known.then_some(children)
}

/// The processes that descriptors of this one name, but for these descriptors.
fn held_by_pidfd(ours: &[RawFd]) -> io::Result<HashSet<u32>> {
    let mut held = HashSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<RawFd>().ok());
        let Some(number) = number.filter(|number| !ours.contains(number)) else {
            continue;
        };
        match pid_of_pidfd(number) {
            Ok(pid) => held.extend(pid),
            // Closed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(held)
}

/// `None`: the descriptor is none of a process, or of one that is gone.
fn pid_of_pidfd(number: RawFd) -> io::Result<Option<u32>> {
    let link = fs::read_link(format!("/proc/self/fd/{number}"))?;
    if !link.to_string_lossy().contains("pidfd") {
        return Ok(None);
    }
    let information = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let pid = information
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"));
    Ok(pid.and_then(|pid| pid.trim().parse().ok()))
}
