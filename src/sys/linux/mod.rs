//! The `Kernel` of Linux: mio's poll, a spawner, a pidfd for each child, one timerfd.
//! Unaware of what commands are and why they end.
#![allow(
    unsafe_code,
    reason = "mio's poll lends its descriptor as a number only"
)]

mod cgroup;
mod child;
mod clone;
mod cradle;
mod fd;
mod id_maps;
mod layout;
mod needs;
mod plan;
mod prepare;
mod process;
mod raw;
mod spawn;
mod timerfd;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};

use super::fd as any_fd;
use super::pipe::{Pipe, pipes, watch};
use super::quiet::QuietWrites;
use super::token::{INTERNAL, untoken};
use super::waker::Waker;
use super::{
    Exit, Kernel, Launch, Moved, Ready, Signal, Source, StartFailure, StartStep, Started, Stream,
    Target, Tenant, TerminalSize,
};
use cgroup::OwnCgroup;
use process::{Child, check_floor};
use spawn::Spawner;
use timerfd::Timer;

/// How many events one poll takes. More only wait for the next one.
const EVENTS_PER_POLL_MAX: usize = 256;

/// What a pipe grows to when its reader finds it full again and again. Beyond it measurements show no gain.
const PIPE_BYTES_LARGE: libc::c_int = 256 * 1024;

/// The kernel that this process runs on.
pub(crate) struct Unix {
    poll: Poll,
    events: Events,
    spawner: Spawner,
    timer: Timer,
    writes: QuietWrites,
    moved: Moved,
    waker: Waker,
}

impl Unix {
    /// # Errors
    /// What the kernel is short of, or `Unsupported` before Linux 5.4.
    pub(crate) fn new() -> io::Result<Unix> {
        check_floor()?;
        // The block comes first, for the lowest numbers.
        let spawner = Spawner::new()?;
        let taken = any_fd::take_stdio_numbers()?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry())?;
        let timer = Timer::new()?;
        drop(taken);
        poll.registry().register(
            &mut SourceFd(&timer.as_raw_fd()),
            INTERNAL,
            Interest::READABLE,
        )?;
        Ok(Unix {
            poll,
            events: Events::with_capacity(EVENTS_PER_POLL_MAX),
            spawner,
            timer,
            writes: QuietWrites::new(),
            moved: Moved::default(),
            waker,
        })
    }

    /// The one descriptor that is readable when `poll` has something to say.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the poll owns this descriptor for as long as `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.poll.as_raw_fd()) }
    }

    /// Each call below that others could feel begins with this: a forked copy has the same epoll, timer, pipes and pidfds.
    fn check(&self) -> io::Result<()> {
        self.waker.check_process()
    }

    /// The child's pidfd, until its handle is dropped.
    pub(crate) fn pidfd(child: &Child) -> BorrowedFd<'_> {
        child.as_fd()
    }

    /// Registers a descriptor that is never deregistered: closing is enough, as no other process holds copies for longer
    /// than its exec takes, and an event that comes late carries a generation that is over.
    fn watch(&self, fd: BorrowedFd<'_>, source: Source, tenant: Tenant) -> io::Result<()> {
        self.check()?;
        watch(self.poll.registry(), fd, source, tenant)
    }
}

impl Unix {
    fn try_start(&mut self, launch: &mut Launch) -> Result<Started<Unix>, StartFailure> {
        let cgroup = match &launch.program.attributes.own_cgroup {
            None => None,
            Some(plan) => {
                let (cgroup, directory) = OwnCgroup::make(plan)?;
                launch.cgroup = Some(directory);
                Some(cgroup)
            }
        };
        let started = self.start_in(launch, cgroup);
        launch.cgroup = None;
        started
    }

    fn start_in(
        &mut self,
        launch: &Launch,
        cgroup: Option<OwnCgroup>,
    ) -> Result<Started<Unix>, StartFailure> {
        let (pipes, ends) = pipes(launch, fd::pipe)?;
        let ours: Vec<i32> = pipes
            .iter()
            .flatten()
            .map(|pipe| pipe.fd.as_raw_fd())
            .collect();
        let mut child = self.spawner.spawn(launch, ends, &ours)?;
        child.set_sweeps_group(launch.program.attributes.sweeps_group);
        child.owns_cgroup(cgroup);
        Ok(Started { child, pipes })
    }
}

impl Kernel for Unix {
    type Child = Child;
    type Pipe = Pipe;
    type Waker = Waker;

    fn check_process(&self) -> io::Result<()> {
        self.check()
    }

    fn now(&self) -> Instant {
        super::now()
    }

    fn can_start(&self, _: &Launch) -> bool {
        self.spawner.has_room()
    }

    fn start(&mut self, launch: &mut Launch) -> Result<Started<Unix>, StartFailure> {
        let failed = |error| StartFailure::new(StartStep::Clone, error);
        self.check().map_err(failed)?;
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

    fn part_tables(&mut self) {
        self.spawner.part_tables();
    }

    fn watch_pipe(&mut self, pipe: &Pipe, stream: Stream, tenant: Tenant) -> io::Result<()> {
        self.watch(pipe.fd.as_fd(), Source::Stream(stream), tenant)
    }

    fn watch_child(&mut self, child: &Child, tenant: Tenant) -> io::Result<()> {
        self.watch(child.as_fd(), Source::Exit, tenant)
    }

    fn watch_other(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.check()?;
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd.as_raw_fd()), INTERNAL, Interest::READABLE)
    }

    fn read(&mut self, pipe: &Pipe, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        self.check()?;
        let read = pipe.read(into, bytes_max)?;
        self.moved.read += read as u64;
        Ok(read)
    }

    fn write(&mut self, pipe: &Pipe, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        let written = pipe.write(&mut self.writes, bytes)?;
        self.moved.written += written as u64;
        Ok(written)
    }

    fn is_abandoned(&mut self, pipe: &Pipe) -> bool {
        any_fd::is_abandoned(&pipe.fd)
    }

    fn close(&mut self, pipe: Pipe) {
        pipe.close(self.poll.registry());
    }

    fn give(&mut self, pipe: Pipe) -> Result<OwnedFd, (Pipe, io::Error)> {
        match self.check() {
            Ok(()) => pipe.give(self.poll.registry()),
            Err(error) => Err((pipe, error)),
        }
    }

    fn fd(pipe: &Pipe) -> Option<BorrowedFd<'_>> {
        Some(pipe.fd.as_fd())
    }

    fn enlarge(&mut self, pipe: &Pipe) {
        fd::set_pipe_bytes(&pipe.fd, PIPE_BYTES_LARGE);
    }

    fn resize(&mut self, pipe: &Pipe, size: TerminalSize) -> io::Result<()> {
        self.check()?;
        pipe.resize(size)
    }

    fn signal(&mut self, child: &Child, target: Target, signal: Signal) -> io::Result<()> {
        self.check()?;
        child.signal(target, signal)
    }

    fn reap(&mut self, child: &mut Child) -> io::Result<Option<Exit>> {
        self.check()?;
        let exit = child.reap()?;
        Ok(exit.map(|exit| Exit {
            failure: self.spawner.take_failure(child),
            ..exit
        }))
    }

    fn arm(&mut self, at: Instant) -> io::Result<()> {
        self.check()?;
        self.timer.set(at.saturating_duration_since(self.now()))
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut VecDeque<Ready>) -> io::Result<bool> {
        self.check()?;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            result => result?,
        }
        let is_full = self.events.iter().count() >= EVENTS_PER_POLL_MAX;
        ready.extend(self.events.iter().filter_map(|event| {
            let (tenant, source) = untoken(event.token())?;
            let hung_up = event.is_read_closed() || event.is_write_closed() || event.is_error();
            Some(Ready {
                tenant,
                source,
                hung_up,
            })
        }));
        Ok(is_full)
    }

    fn give_way(&mut self) {
        // Also sched_yield(2), which does not fail on Linux.
        std::thread::yield_now();
    }

    fn moved(&self) -> Moved {
        self.moved
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn pid(child: &Child) -> u32 {
        child.pid()
    }
}

impl fmt::Debug for Unix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Unix")
            .field("poll", &self.poll)
            .field("spawner", &self.spawner)
            .finish_non_exhaustive()
    }
}
