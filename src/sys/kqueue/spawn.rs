//! The parent's side of a start on macOS and the BSDs: descriptors, then posix_spawn(3) or fork(2) as `ways` says.
//! Unaware of pipes' other ends and of the reactor.
#![allow(unsafe_code, reason = "fork")]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};

use super::child::{self, Plan, REPORT_BYTES};
use super::fd::{CreationLock, duplicate_from, pipe_under_lock};
use super::posix::{self, Abilities};
use super::process::Child;
use super::ways::{Way, way};
use crate::sys::fd::{fd_limit_before_raise, is_open, open_null};
use crate::sys::mapping::{Mapping, gaps, targets};
use crate::sys::mask::SignalMask;
use crate::sys::{Launch, StartFailure, StartStep, Stdio, cvt};

/// Starts children. Keeps what one start leaves for the next.
#[derive(Debug)]
pub(super) struct Spawner {
    abilities: Abilities,
    null_in: OwnedFd,
    null_out: OwnedFd,
    mappings: Vec<Mapping>,
    gaps: Vec<(u32, u32)>,
    /// Copies of sources whose own numbers are targets.
    copies: Vec<OwnedFd>,
}

impl Spawner {
    pub(super) fn new() -> io::Result<Spawner> {
        Ok(Spawner {
            abilities: Abilities::find(),
            null_in: open_null(libc::O_RDONLY)?,
            null_out: open_null(libc::O_WRONLY)?,
            mappings: Vec::new(),
            gaps: Vec::new(),
            copies: Vec::new(),
        })
    }

    /// Starts the child. `ends` are its ends of the pipes; the caller closes them afterwards.
    pub(super) fn spawn(
        &mut self,
        launch: &Launch,
        ends: &[Option<OwnedFd>; 3],
    ) -> Result<Child, StartFailure> {
        let way = way(launch, &self.abilities)?;
        let placed = self.place(launch, ends);
        let child = placed
            .map_err(|error| StartFailure::new(StartStep::Open, error))
            .and_then(|()| self.start(launch, way));
        // At once: a pipe's end left here would keep its reader waiting.
        self.copies.clear();
        child
    }

    /// posix_spawn does not say which step failed, and fork does. So what fails by the first is tried by the second.
    fn start(&mut self, launch: &Launch, way: Way) -> Result<Child, StartFailure> {
        let _lock = CreationLock::hold();
        if way == Way::Spawn {
            self.set_gaps(launch, None);
            let spawned = posix::spawn(launch, &self.mappings, &self.gaps, &self.abilities);
            if let Ok(pid) = spawned {
                return Ok(Child::new(pid));
            }
        }
        self.fork(launch)
    }

    /// Fills `mappings` so that no source is a target: then the order of the copies does not matter.
    fn place(&mut self, launch: &Launch, ends: &[Option<OwnedFd>; 3]) -> io::Result<()> {
        self.mappings.clear();
        for (stdio, target) in launch.stdio.iter().zip(0..) {
            let source = match stdio {
                Stdio::Null if target == 0 => Some(self.null_in.as_raw_fd()),
                Stdio::Null => Some(self.null_out.as_raw_fd()),
                Stdio::Inherit => is_open(target).then_some(target),
                Stdio::File(fd) => Some(fd.as_raw_fd()),
                Stdio::Pipe | Stdio::Terminal(_) => {
                    ends[target as usize].as_ref().map(AsRawFd::as_raw_fd)
                }
                Stdio::TerminalOfStdout => ends[1].as_ref().map(AsRawFd::as_raw_fd),
                Stdio::SameAsStdout => self.mappings.get(1).and_then(|(source, _)| *source),
                Stdio::Closed => None,
            };
            self.mappings.push((source, target));
        }
        for (target, fd) in &launch.extra {
            self.mappings
                .push((fd.as_ref().map(AsRawFd::as_raw_fd), *target));
        }
        for index in 0..self.mappings.len() {
            if let Some(source) = self.mappings[index].0
                && is_target(&self.mappings, source)
            {
                let copy = copy_away(source, &self.mappings)?;
                self.mappings[index].0 = Some(copy.as_raw_fd());
                self.copies.push(copy);
            }
        }
        Ok(())
    }

    /// What a hermetic child closes: all but its own, and the place of its report.
    fn set_gaps(&mut self, launch: &Launch, report_place: Option<i32>) {
        self.gaps.clear();
        if launch.program.attributes.inherit_fds {
            return;
        }
        self.mappings
            .extend(report_place.map(|place| (None, place)));
        gaps(targets(&self.mappings), u32::MAX, &mut self.gaps);
        if report_place.is_some() {
            self.mappings.pop();
        }
    }

    fn fork(&mut self, launch: &Launch) -> Result<Child, StartFailure> {
        let made = |error| StartFailure::new(StartStep::Pipe, error);
        let (ours, theirs) = fork_pipe(&self.mappings).map_err(made)?;
        let report_place = free_number(&self.mappings);
        self.set_gaps(launch, Some(report_place));
        #[cfg(target_vendor = "apple")]
        let exec = if launch.program.attributes.inherit_fds {
            None
        } else {
            let exec = posix::ExecInPlace::new(&self.mappings);
            Some(exec.map_err(|error| StartFailure::new(StartStep::Exec, error))?)
        };
        // A terminal's number may be a target.
        let foreground = match launch.foreground() {
            Some(terminal) => {
                let copy = copy_away(terminal.as_raw_fd(), &self.mappings);
                Some(copy.map_err(|error| StartFailure::new(StartStep::Open, error))?)
            }
            None => None,
        };
        let groups = child::group_list(&launch.program.attributes);
        let mask = SignalMask::block(None);
        let plan = Plan {
            program: &launch.program,
            environment: launch.environment.as_ptr(),
            mappings: &self.mappings,
            gaps: &self.gaps,
            mask: &mask.before,
            groups: groups.as_deref(),
            foreground: foreground.as_ref().map(AsRawFd::as_raw_fd),
            fd_limit: fd_limit_before_raise(),
            #[cfg(any(target_os = "freebsd", target_os = "dragonfly"))]
            parent: std::process::id(),
            report: theirs.as_raw_fd(),
            report_place,
            #[cfg(target_vendor = "apple")]
            exec,
        };
        // SAFETY: the child calls nothing but `child::run`, which keeps to what may be called after a fork.
        let pid = match cvt(unsafe { libc::fork() }) {
            Err(error) => return Err(StartFailure::new(StartStep::Clone, error)),
            Ok(0) => child::run(&plan),
            Ok(pid) => pid,
        };
        drop(mask);
        drop(theirs);
        let child = Child::new(pid);
        match read_report(ours) {
            None => Ok(child),
            Some((step, errno)) => {
                child.reap_failed_start();
                let error = io::Error::from_raw_os_error(errno);
                Err(StartFailure::new(step, error))
            }
        }
    }
}

fn is_target(mappings: &[Mapping], number: i32) -> bool {
    mappings.iter().any(|(_, target)| *target == number)
}

/// The lowest number above 2 that the child does not get.
fn free_number(mappings: &[Mapping]) -> i32 {
    let mut numbers = 3..;
    numbers
        .find(|number| !is_target(mappings, *number))
        .unwrap_or(i32::MAX)
}

/// A copy, close-on-exec, whose number is no target.
fn copy_away(fd: i32, mappings: &[Mapping]) -> io::Result<OwnedFd> {
    let mut floor = 3;
    loop {
        let copy = duplicate_from(fd, floor)?;
        if !is_target(mappings, copy.as_raw_fd()) {
            return Ok(copy);
        }
        floor = copy.as_raw_fd() + 1;
    }
}

/// The pipe by which a forked child says what failed. Exec closes it.
fn fork_pipe(mappings: &[Mapping]) -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pipe_under_lock()?;
    let theirs = if is_target(mappings, theirs.as_raw_fd()) {
        copy_away(theirs.as_raw_fd(), mappings)?
    } else {
        theirs
    };
    Ok((ours, theirs))
}

/// Returns when the child has executed, or has said why not.
fn read_report(ours: OwnedFd) -> Option<(StartStep, i32)> {
    let mut bytes = [0; REPORT_BYTES];
    File::from(ours).read_exact(&mut bytes).ok()?;
    let [a, b, c, d, rest @ ..] = bytes;
    let step = StartStep::from_number(u32::from_ne_bytes([a, b, c, d]))?;
    Some((step, i32::from_ne_bytes(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_never_at_a_targets_number() {
        let null = open_null(libc::O_RDONLY).expect("/dev/null");
        let first = copy_away(null.as_raw_fd(), &[]).expect("a copy");
        let number = first.as_raw_fd();
        drop(first);
        let targets: Vec<Mapping> = (number..number + 40).map(|target| (None, target)).collect();
        let copy = copy_away(null.as_raw_fd(), &targets).expect("a copy");
        assert!(!is_target(&targets, copy.as_raw_fd()));
    }

    #[test]
    fn the_report_goes_to_the_lowest_number_that_the_child_does_not_get() {
        let targets = |numbers: &[i32]| -> Vec<Mapping> {
            numbers.iter().map(|number| (None, *number)).collect()
        };
        assert_eq!(free_number(&targets(&[0, 1, 2])), 3);
        assert_eq!(free_number(&targets(&[0, 1, 2, 4])), 3);
        assert_eq!(free_number(&targets(&[0, 1, 2, 4, 3, 5])), 6);
    }
}
