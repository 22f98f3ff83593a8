//! The backend of Linux: a spawner, a pidfd for each child, one timerfd.
//! Unaware of what commands are and why they end.

mod cgroup;
mod child;
mod clone;
mod cradle;
mod fd;
mod fd_table;
mod id_maps;
mod layout;
mod needs;
mod orphans;
mod plan;
mod prepare;
mod process;
mod raw;
mod spawn;
mod stack;
mod timerfd;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use mio::Registry;

use super::fd as any_fd;
use super::pipe::{Pipe, pipes, watch};
use super::unix::{Backend, Unix};
use super::{Exit, Launch, Signal, Source, StartFailure, Started, Target, Tenant};
use cgroup::OwnCgroup;
pub(crate) use orphans::{Zombie, become_subreaper, first_zombie};
use process::{Child, check_floor};
use spawn::Spawner;
use timerfd::Timer;

/// What a pipe grows to when its reader finds it full again and again. Beyond it measurements show no gain.
const PIPE_BYTES_LARGE: libc::c_int = 256 * 1024;

/// This system.
#[derive(Debug)]
pub(crate) struct System {
    spawner: Spawner,
    timer: Timer,
}

impl System {
    fn try_start(&mut self, launch: &mut Launch) -> Result<Started<Unix<System>>, StartFailure> {
        let Some(plan) = &launch.program.attributes.own_cgroup else {
            return self.start_in(launch, None);
        };
        let (cgroup, directory) = OwnCgroup::make(plan)?;
        launch.cgroup = Some(directory);
        let started = self.start_in(launch, Some(Box::new(cgroup)));
        launch.cgroup = None;
        started
    }

    fn start_in(
        &mut self,
        launch: &Launch,
        cgroup: Option<Box<OwnCgroup>>,
    ) -> Result<Started<Unix<System>>, StartFailure> {
        let (pipes, ends) = pipes(launch, fd::pipe)?;
        let number = |pipe: &Option<Pipe>| pipe.as_ref().map(|pipe| pipe.fd.as_raw_fd());
        let ours = pipes.each_ref().map(number);
        let mut child = self.spawner.spawn(launch, ends, &ours)?;
        child.set_sweeps_group(launch.program.attributes.sweeps_group);
        child.owns_cgroup(cgroup);
        Ok(Started { child, pipes })
    }
}

impl Unix<System> {
    /// The child's pidfd, until its handle is dropped.
    pub(crate) fn pidfd(child: &Child) -> BorrowedFd<'_> {
        child.as_fd()
    }
}

impl Backend for System {
    type Child = Child;

    /// # Errors
    /// `Unsupported` before Linux 5.4.
    fn new() -> io::Result<(System, Vec<OwnedFd>)> {
        check_floor()?;
        // The block comes first, for the lowest numbers.
        let spawner = Spawner::new()?;
        let taken = any_fd::take_stdio_numbers()?;
        let timer = Timer::new()?;
        Ok((System { spawner, timer }, taken))
    }

    fn alarm(&self) -> RawFd {
        self.timer.as_raw_fd()
    }

    fn can_start(&self) -> bool {
        self.spawner.has_room()
    }

    fn start(&mut self, launch: &mut Launch) -> Result<Started<Unix<System>>, StartFailure> {
        match self.try_start(launch) {
            // What is kept for many starts at once may be all that one of them lacks.
            Err(failure) if failure.is_shortage() && self.spawner.shrink() => {
                self.try_start(launch)
            }
            started => started,
        }
    }

    fn has_executed(&mut self, child: &Child) -> bool {
        self.spawner.has_executed(child)
    }

    fn await_exec(&mut self, child: &Child, until: Instant) -> bool {
        self.spawner.await_exec(child, until)
    }

    fn newborn(&self) -> Vec<u32> {
        self.spawner.newborn()
    }

    fn await_table(&mut self, child: &Child, until: Instant) {
        self.spawner.await_table(child, until);
    }

    fn retire(&mut self, end: OwnedFd) {
        self.spawner.retire(end);
    }

    /// A pidfd is never deregistered: closing is enough, as no other process holds copies for longer than its exec takes,
    /// and an event that comes late carries a generation that is over.
    fn watch_child(
        &mut self,
        registry: &Registry,
        child: &Child,
        tenant: Tenant,
    ) -> io::Result<bool> {
        watch(registry, child.as_fd(), Source::Exit, tenant).map(|()| true)
    }

    fn exit_fd(child: &Child) -> Option<RawFd> {
        Some(child.as_fd().as_raw_fd())
    }

    fn enlarge(&mut self, pipe: &Pipe) {
        fd::set_pipe_bytes(&pipe.fd, PIPE_BYTES_LARGE);
    }

    fn signal(&mut self, child: &Child, target: Target, signal: Signal) -> io::Result<()> {
        child.signal(target, signal)
    }

    fn reap(&mut self, child: &mut Child) -> io::Result<Option<Exit>> {
        let mut exit = child.reap()?;
        if let Some(exit) = &mut exit {
            exit.failure = self.spawner.take_failure(child, exit.status.is_some());
        }
        Ok(exit)
    }

    fn arm(&mut self, delay: Duration) -> io::Result<()> {
        self.timer.set(delay)
    }

    fn pid(child: &Child) -> u32 {
        child.pid()
    }
}
