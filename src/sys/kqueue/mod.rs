//! The `Kernel` of macOS and the BSDs: mio's poll, one private kqueue for exits and the timer, a spawner.
//! Unaware of what commands are and why they end.
//!
//! On Linux it is compiled with `--cfg execloop_kqueue_shim`, over the kqueue of `tests/kqueue_shim`.
#![allow(
    unsafe_code,
    reason = "mio's poll lends its descriptor as a number only"
)]

mod child;
mod events;
mod fd;
mod posix;
mod process;
#[cfg(execloop_kqueue_shim)]
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a crate of its own, of which this one uses a part"
)]
#[path = "../../../tests/kqueue_shim/src/lib.rs"]
mod shim;
mod spawn;
mod ways;

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
use super::token::{INTERNAL, token, untoken};
use super::waker::Waker;
use super::{
    Exit, Kernel, Launch, Moved, Ready, Signal, Source, StartFailure, StartStep, Started, Stream,
    Target, Tenant, TerminalSize, Wake,
};
use events::Queue;
pub(super) use fd::CreationLock;
use process::Child;
use spawn::Spawner;

/// How many events one poll takes. More only wait for the next one.
const EVENTS_PER_POLL_MAX: usize = 256;

/// The kernel that this process runs on.
pub(crate) struct Unix {
    poll: Poll,
    events: Events,
    spawner: Spawner,
    /// Exits and the timer.
    queue: Queue,
    /// Children that had exited when their exit was to be watched: the next poll tells.
    gone: Vec<Tenant>,
    writes: QuietWrites,
    moved: Moved,
    waker: Waker,
}

impl Unix {
    /// # Errors
    /// What the kernel is short of.
    pub(crate) fn new() -> io::Result<Unix> {
        let spawner = Spawner::new()?;
        let taken = any_fd::take_stdio_numbers()?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry())?;
        let queue = Queue::new()?;
        drop(taken);
        poll.registry().register(
            &mut SourceFd(&queue.as_raw_fd()),
            INTERNAL,
            Interest::READABLE,
        )?;
        Ok(Unix {
            poll,
            events: Events::with_capacity(EVENTS_PER_POLL_MAX),
            spawner,
            queue,
            gone: Vec::new(),
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

    /// Each call below that others could feel begins with this: a forked copy has the same pipes and knows the same pids.
    fn check(&self) -> io::Result<()> {
        self.waker.check_process()
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
        true
    }

    fn start(&mut self, launch: &mut Launch) -> Result<Started<Unix>, StartFailure> {
        let failed = |error| StartFailure::new(StartStep::Clone, error);
        self.check().map_err(failed)?;
        let (pipes, ends) = pipes(launch, fd::pipe)?;
        for pipe in pipes.iter().flatten() {
            let failed = |error| StartFailure::new(StartStep::Pipe, error);
            fd::never_block(&pipe.fd).map_err(failed)?;
        }
        let mut child = self.spawner.spawn(launch, &ends)?;
        child.set_sweeps_group(launch.program.attributes.sweeps_group);
        Ok(Started { child, pipes })
    }

    fn has_executed(&mut self, _: &Child) -> bool {
        // `start` returns when it has, or with the failure.
        true
    }

    fn watch_pipe(&mut self, pipe: &Pipe, stream: Stream, tenant: Tenant) -> io::Result<()> {
        self.check()?;
        let source = Source::Stream(stream);
        watch(self.poll.registry(), pipe.fd.as_fd(), source, tenant)
    }

    fn watch_child(&mut self, child: &Child, tenant: Tenant) -> io::Result<()> {
        self.check()?;
        let is_there = self
            .queue
            .watch_exit(child.pid(), token(tenant, Source::Exit))?;
        if !is_there {
            // Nothing else ends the next poll, or makes our descriptor readable for an outer loop.
            self.gone.push(tenant);
            self.waker.wake();
        }
        Ok(())
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

    fn enlarge(&mut self, _pipe: &Pipe) {
        // These kernels enlarge the pipes that are used much by themselves.
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
        child.reap()
    }

    fn arm(&mut self, at: Instant) -> io::Result<()> {
        self.check()?;
        let delay = at.saturating_duration_since(self.now());
        self.queue.set_timer(delay)
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut VecDeque<Ready>) -> io::Result<bool> {
        self.check()?;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            result => result?,
        }
        let is_full = self.events.iter().count() >= EVENTS_PER_POLL_MAX;
        let mut exits = false;
        for event in &self.events {
            exits |= event.token() == INTERNAL;
            let Some((tenant, source)) = untoken(event.token()) else {
                continue;
            };
            let hung_up = event.is_read_closed() || event.is_write_closed() || event.is_error();
            ready.push_back(Ready {
                tenant,
                source,
                hung_up,
            });
        }
        ready.extend(self.gone.drain(..).map(exited));
        if exits {
            // By edges: what is left now would not be announced again.
            self.queue.drain(|token| {
                ready.extend(untoken(token).map(|(tenant, _)| exited(tenant)));
            })?;
        }
        Ok(is_full)
    }

    fn give_way(&mut self) {
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

fn exited(tenant: Tenant) -> Ready {
    Ready {
        tenant,
        source: Source::Exit,
        hung_up: false,
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
