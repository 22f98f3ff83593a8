//! The `Kernel` of a real system: mio's poll, our ends of pipes, a waker; what systems do in their own ways is a `Backend`.
//! Unaware of what commands are and why they end.
#![allow(
    unsafe_code,
    reason = "mio's poll lends its descriptor as a number only"
)]

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry};

use super::awaited::Awaited;
use super::console::Console;
use super::fd::is_abandoned;
use super::fork::OfPoll;
use super::pipe::{Pipe, watch};
use super::quiet::QuietWrites;
use super::token::{INTERNAL, untoken};
use super::waker::Waker;
use super::{
    Exit, Kernel, Launch, Moved, Ready, Signal, Source, StartFailure, StartStep, Started, Stream,
    Target, Tenant, TerminalSize, Wake,
};

/// How many events one poll takes. More only wait for the next one.
const EVENTS_PER_POLL_MAX: usize = 256;

/// How one system starts children, tells their exits and counts time. Each call belongs to the function of [`Kernel`] of its
/// name, and is made by the process that made the backend alone.
pub(crate) trait Backend: fmt::Debug + Sized {
    /// A started child: its pid and whatever addresses it until it is reaped.
    type Child: fmt::Debug;

    /// The poll tells of the last close of a terminal.
    const TELLS_END_OF_TERMINALS: bool = true;

    /// The backend, and the numbers 0, 1 and 2 where they are free: the poll, too, must not get one of them.
    ///
    /// # Errors
    /// What the kernel is short of.
    fn new() -> io::Result<(Self, Vec<OwnedFd>)>;
    /// A descriptor that becomes readable when the armed time comes, and when `take_exits` has something.
    fn alarm(&self) -> RawFd;
    fn can_start(&self) -> bool {
        true
    }
    /// The child, and our ends of the pipes asked for.
    fn start(&mut self, launch: &mut Launch) -> Result<Started<Unix<Self>>, StartFailure>;
    fn has_executed(&mut self, _child: &Self::Child) -> bool {
        true
    }
    fn await_exec(&mut self, _child: &Self::Child, _until: Instant) -> bool {
        true
    }
    fn await_table(&mut self, _child: &Self::Child, _until: Instant) {}
    fn newborn(&self) -> Vec<u32> {
        Vec::new()
    }
    /// Closes our end of a pipe, at once or as soon as no child under way keeps its number.
    fn retire(&mut self, _end: OwnedFd) {}
    /// After our end of a pipe was registered. `false`: the other end is gone, and the poll will not say so. The next
    /// `take_exits` has it, and somebody has to end the next poll.
    fn is_announced(&mut self, _end: &OwnedFd, _stream: Stream, _tenant: Tenant) -> bool {
        true
    }
    /// `false`: the child has exited before. The next `take_exits` has it, and somebody has to end the next poll.
    fn watch_child(
        &mut self,
        registry: &Registry,
        child: &Self::Child,
        tenant: Tenant,
    ) -> io::Result<bool>;
    /// A descriptor that is readable once the child has exited, where there is one.
    fn exit_fd(_child: &Self::Child) -> Option<RawFd> {
        None
    }
    /// Adds the exits and hang-ups of which the poll itself has no event. `is_alarmed`: the alarm has become readable.
    fn take_exits(&mut self, _is_alarmed: bool, _ready: &mut VecDeque<Ready>) -> io::Result<()> {
        Ok(())
    }
    fn enlarge(&mut self, _pipe: &Pipe) {}
    fn signal(&mut self, child: &Self::Child, target: Target, signal: Signal) -> io::Result<()>;
    fn reap(&mut self, child: &mut Self::Child) -> io::Result<Option<Exit>>;
    /// Makes the alarm readable after this, once, in place of what was asked for before.
    fn arm(&mut self, delay: Duration) -> io::Result<()>;
    fn pid(child: &Self::Child) -> u32;
}

/// The kernel that this process runs on.
pub(crate) struct Unix<B> {
    poll: OfPoll<Poll>,
    events: Events,
    awaited: Awaited,
    backend: B,
    writes: QuietWrites,
    moved: Moved,
    waker: Waker,
    /// The hold on the terminal of the one child that has it.
    console: Option<Console>,
}

impl<B: Backend> Unix<B> {
    /// # Errors
    /// What the kernel is short of, or `Unsupported` where it is too old.
    pub(crate) fn new() -> io::Result<Unix<B>> {
        let (backend, taken) = B::new()?;
        let poll = OfPoll::new(Poll::new()?);
        let waker = Waker::new(poll.registry())?;
        drop(taken);
        poll.registry().register(
            &mut SourceFd(&backend.alarm()),
            INTERNAL,
            Interest::READABLE,
        )?;
        Ok(Unix {
            poll,
            events: Events::with_capacity(EVENTS_PER_POLL_MAX),
            awaited: Awaited::default(),
            backend,
            writes: QuietWrites::new(),
            moved: Moved::default(),
            waker,
            console: None,
        })
    }

    /// The one descriptor that is readable when `poll` has something to say.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the poll owns this descriptor for as long as `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.poll.as_raw_fd()) }
    }

    /// Until something comes. `false`: the poll itself has nothing, and was not asked.
    fn sleep(
        &mut self,
        mut timeout: Option<Duration>,
        ready: &mut VecDeque<Ready>,
    ) -> io::Result<bool> {
        if !self.awaited.is_empty() {
            if !self.awaited.wait(self.poll.as_raw_fd(), timeout, ready)? {
                return Ok(false);
            }
            timeout = Some(Duration::ZERO);
        }
        self.poll.poll(&mut self.events, timeout)?;
        Ok(true)
    }

    /// Each call below that others could feel begins with this: a forked copy has the same poll, timer and pipes, and knows
    /// the same children.
    fn check(&self) -> io::Result<()> {
        self.waker.check_process()
    }
}

impl<B: Backend> Kernel for Unix<B> {
    type Child = B::Child;
    type Pipe = Pipe;
    type Waker = Waker;

    fn check_process(&self) -> io::Result<()> {
        self.check()
    }

    fn now(&self) -> Instant {
        super::now()
    }

    fn can_start(&self, _: &Launch) -> bool {
        self.backend.can_start()
    }

    fn start(&mut self, launch: &mut Launch) -> Result<Started<Unix<B>>, StartFailure> {
        let failed = |error| StartFailure::new(StartStep::Clone, error);
        self.check().map_err(failed)?;
        if !launch.program.attributes.console {
            return self.backend.start(launch);
        }
        // One that was let go may have it still. The new hold is dropped where the start fails.
        self.console = None;
        let mut console = Console::open();
        launch.console = console.as_ref().and_then(Console::to_take);
        let started = self.backend.start(launch);
        launch.console = None;
        let started = started?;
        if let Some(console) = &mut console {
            console.held_by(B::pid(&started.child));
        }
        self.console = console;
        Ok(started)
    }

    fn has_executed(&mut self, child: &B::Child) -> bool {
        self.backend.has_executed(child)
    }

    fn await_exec(&mut self, child: &B::Child, until: Instant) -> bool {
        self.backend.await_exec(child, until)
    }

    fn newborn(&self) -> Vec<u32> {
        self.backend.newborn()
    }

    fn await_table(&mut self, child: &B::Child, until: Instant) {
        self.backend.await_table(child, until);
    }

    fn watch_pipe(&mut self, pipe: &Pipe, stream: Stream, tenant: Tenant) -> io::Result<()> {
        self.check()?;
        let source = Source::Stream(stream);
        let watched = watch(self.poll.registry(), pipe.fd.as_fd(), source, tenant);
        if !self.backend.is_announced(&pipe.fd, stream, tenant) {
            // Also where it was refused, as there is no more to be told of such a pipe.
            self.waker.wake();
            return Ok(());
        }
        watched
    }

    fn watch_child(&mut self, child: &B::Child, tenant: Tenant) -> io::Result<()> {
        self.check()?;
        let registry = self.poll.registry();
        if !self.backend.watch_child(registry, child, tenant)? {
            // Nothing else ends the next poll, or makes our descriptor readable for an outer loop.
            self.waker.wake();
        }
        Ok(())
    }

    fn await_child(&mut self, child: &B::Child, tenant: Tenant) -> bool {
        let fd = B::exit_fd(child).filter(|_| !self.awaited.is_refused);
        if let Some(fd) = fd {
            self.awaited.insert(fd, Source::Exit, tenant);
        }
        fd.is_some()
    }

    fn await_pipe(&mut self, pipe: &Pipe, stream: Stream, tenant: Tenant) {
        let source = Source::Stream(stream);
        self.awaited.insert(pipe.fd.as_raw_fd(), source, tenant);
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

    fn may_end_unsaid(&self, pipe: &Pipe) -> bool {
        !B::TELLS_END_OF_TERMINALS && pipe.is_of_terminal()
    }

    fn is_abandoned(&mut self, pipe: &Pipe) -> bool {
        is_abandoned(&pipe.fd)
    }

    fn close(&mut self, pipe: Pipe) {
        // A forked copy has the same poll, and would type the end of the input into the same terminal.
        if self.check().is_ok() {
            let end = pipe.close(self.poll.registry());
            self.backend.retire(end);
        }
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
        self.backend.enlarge(pipe);
    }

    fn resize(&mut self, pipe: &Pipe, size: TerminalSize) -> io::Result<()> {
        self.check()?;
        pipe.resize(size)
    }

    fn signal(&mut self, child: &B::Child, target: Target, signal: Signal) -> io::Result<()> {
        self.check()?;
        let mut console = self.console.as_mut();
        console = console.filter(|console| console.is_of(B::pid(child)));
        if let Some(console) = &mut console {
            console.before(signal);
        }
        self.backend.signal(child, target, signal)?;
        if let Some(console) = &mut console {
            console.after(signal);
        }
        Ok(())
    }

    fn has_left_group(&mut self, child: &B::Child) -> bool {
        let pid = libc::pid_t::try_from(B::pid(child)).unwrap_or(0);
        // SAFETY: getpgid(2) takes a number.
        let group = unsafe { libc::getpgid(pid) };
        group != -1 && group != pid
    }

    fn reap(&mut self, child: &mut B::Child) -> io::Result<Option<Exit>> {
        self.check()?;
        let exit = self.backend.reap(child)?;
        if let Some(console) = &mut self.console
            && console.is_of(B::pid(child))
        {
            if exit.is_some() {
                self.console = None;
            } else {
                console.follow_stop();
            }
        }
        Ok(exit)
    }

    fn arm(&mut self, at: Instant) -> io::Result<()> {
        self.check()?;
        let delay = at.saturating_duration_since(self.now());
        self.backend.arm(delay)
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut VecDeque<Ready>) -> io::Result<bool> {
        self.check()?;
        match self.sleep(timeout, ready) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        }
        let is_full = self.events.iter().count() >= EVENTS_PER_POLL_MAX;
        let mut is_alarmed = false;
        for event in &self.events {
            is_alarmed |= event.token() == INTERNAL;
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
        self.backend.take_exits(is_alarmed, ready)?;
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

    fn pid(child: &B::Child) -> u32 {
        B::pid(child)
    }
}

impl<B: fmt::Debug> fmt::Debug for Unix<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Unix")
            .field("poll", &self.poll)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
