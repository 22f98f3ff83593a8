//! A kernel in memory, driven by a seed: pipes, children, grandchildren, a timer, a clock, and bad weather.
//! Unaware of the loop above it; for tests and fuzzing only.
//!
//! Readiness is edge-triggered as epoll's is: an edge is reported once, and nothing is repeated before something new
//! happens, neither to the loop nor to an outer loop that polls its descriptor. Time passes in `poll`, in starts and in
//! the caller's code. A poll that would sleep for ever panics, and so does a loop that spins.

mod pattern;
mod pipe;
mod process;
mod random;
mod script;
mod world;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{
    Exit, Kernel, Launch, Moved, RawUsage, Ready, Signal, StartFailure, StartStep, Started, Stdio,
    Stream, Target, Tenant, Wake,
};
use world::{Watched, Woken};

pub(crate) use pattern::{append, prefix};
pub(crate) use pipe::Pipe;
pub(crate) use process::{ChildFacts, Exec};
pub(crate) use random::Random;
pub(crate) use script::{Act, Reaction, Script, Weather};
pub(crate) use world::{World, now};

thread_local! {
    /// Commands whose reader or writer has said that it would block.
    static PAUSED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

thread_local! {
    /// The time that the caller's code has taken since the clock was last read.
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The caller's code takes its time.
pub(crate) fn spend(time: Duration) {
    SPENT.set(SPENT.get() + time);
}

/// A reader or a writer of this command would block, and is to be resumed some time later.
pub(crate) fn pause(command: usize) {
    PAUSED.with_borrow_mut(|paused| paused.push(command));
}

/// The world, shared by the kernel, its handles and the driver.
pub(crate) type Shared = Rc<RefCell<World>>;

/// The kernel.
#[derive(Debug)]
pub(crate) struct Simulated {
    pub(crate) world: Shared,
}

/// A child's handle.
pub(crate) struct SimulatedChild {
    process: usize,
    sweeps_group: bool,
    world: Shared,
}

/// Our end of a pipe.
pub(crate) struct SimulatedPipe {
    pipe: usize,
    world: Shared,
}

#[cfg(test)]
impl SimulatedPipe {
    /// Which of the world's pipes it is.
    pub(crate) fn index(&self) -> usize {
        self.pipe
    }
}

/// Makes the next poll return.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedWaker(Arc<Woken>);

impl Wake for SimulatedWaker {
    fn wake(&self) {
        self.0.is_due.store(true, Ordering::Release);
        self.0.is_edge.store(true, Ordering::Release);
    }
}

impl Simulated {
    /// Lets another thread resume what has paused, a little later.
    fn plan_resumes(world: &mut World) {
        for command in PAUSED.take() {
            let Some(resume) = world.on_resume.clone() else {
                return;
            };
            let after = Duration::from_micros(world.random.below(5000) as u64);
            world.outside(after, move || resume(command));
        }
    }

    /// Lets time pass while the kernel is not asked for anything.
    pub(crate) fn dawdle(world: &Shared, time: Duration) {
        let until = world.borrow().now() + time;
        loop {
            let deed = world.borrow_mut().dawdle(until);
            match deed {
                Some(deed) => deed(),
                None => return,
            }
        }
    }

    /// Sleeps as an outer loop does that polls the loop's descriptor, by edges alone or by all that is there.
    pub(crate) fn sleep_outside(world: &Shared, minds_edges: bool) {
        Simulated::plan_resumes(&mut world.borrow_mut());
        loop {
            let is_edge = world.borrow_mut().take_edge() || !minds_edges;
            if is_edge && world.borrow().is_readable_outside() {
                return;
            }
            let deed = world.borrow_mut().advance(None);
            if let Some(deed) = deed {
                deed();
            }
        }
    }

    fn start_failure(world: &mut World, launch: &Launch, fds: usize) -> Option<StartFailure> {
        let failure = |step, number| {
            let error = io::Error::from_raw_os_error(number);
            Some(StartFailure::new(step, error))
        };
        if world.fds + fds > world.weather.fds_max {
            return failure(StartStep::Pipe, libc::EMFILE);
        }
        if world.strikes(world.weather.shortages) {
            let shortages = [
                (StartStep::Open, libc::ENFILE),
                (StartStep::Pipe, libc::EMFILE),
                (StartStep::Clone, libc::EAGAIN),
                (StartStep::Clone, libc::ENOMEM),
            ];
            let (step, number) = *world.random.pick(&shortages);
            return failure(step, number);
        }
        let program = program_of(launch);
        let script = Rc::make_mut(&mut world.programs[program]);
        script
            .clone_error
            .and_then(|number| failure(StartStep::Clone, number))
    }

    /// What a child of this program finds at its exec.
    fn exec_failure(world: &mut World, program: usize) -> Option<i32> {
        let script = Rc::make_mut(&mut world.programs[program]);
        if script.busy_times > 0 {
            script.busy_times -= 1;
            return Some(libc::ETXTBSY);
        }
        script.exec_error
    }
}

/// A stream is not cut into more pieces than this by a small pipe.
const PIECES_MAX: usize = 200;

/// The program that a path of `World::install` names.
fn program_of(launch: &Launch) -> usize {
    let path = launch.program.path.to_str().expect("a simulated path");
    let name = path.rsplit('/').next();
    name.and_then(|name| name.parse().ok()).expect("a number")
}

fn pipes_of(world: &mut World, launch: &Launch) -> [Option<usize>; 3] {
    let mut pipes = [None; 3];
    let program = program_of(launch);
    let script = Rc::clone(&world.programs[program]);
    for ((pipe, stdio), stream) in pipes.iter_mut().zip(&launch.stdio).zip(Stream::ALL) {
        if matches!(stdio, Stdio::Pipe) {
            // The input of a command is known by its program, as its caller has to know it before there is a pipe.
            let is_input = stream == Stream::Stdin;
            let key = if is_input { program } else { world.pipes.len() };
            let mut new = Pipe::new(stream, key, world.free_descriptor());
            let sizes = world.weather.pipe_bytes.len();
            let size = world.weather.pipe_bytes[world.random.below(sizes)];
            new.bytes_max = size.max(script.traffic / PIECES_MAX);
            if script.writes_packets && !is_input {
                new.bytes_max = new.bytes_max.max(pipe::PACKET_BYTES_MAX);
                new.packets = Some(VecDeque::new());
            }
            world.pipes.push(new);
            world.fds += 1;
            *pipe = Some(world.pipes.len() - 1);
        }
    }
    pipes
}

impl Kernel for Simulated {
    type Child = SimulatedChild;
    type Pipe = SimulatedPipe;
    type Waker = SimulatedWaker;

    fn now(&self) -> Instant {
        let mut world = self.world.borrow_mut();
        world.pass(SPENT.take());
        world.now()
    }

    fn can_start(&self, _: &Launch) -> bool {
        let world = self.world.borrow();
        world.starts_under_way() < world.weather.starts_max
    }

    fn start(&mut self, launch: &mut Launch) -> Result<Started<Simulated>, StartFailure> {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        world.was_used = true;
        let slow_starts = world.weather.slow_starts;
        if world.strikes(slow_starts) {
            let time = Duration::from_micros(world.random.below(60_000) as u64);
            world.pass(time);
        }
        let is_pipe = |stdio: &&Stdio| matches!(stdio, Stdio::Pipe);
        let count = launch.stdio.iter().filter(is_pipe).count();
        let pidfds = usize::from(!world.weather.by_kqueue);
        if let Some(failure) = Simulated::start_failure(world, launch, pidfds + 2 * count) {
            return Err(failure);
        }
        let pipes = pipes_of(world, launch);
        let mut ends = pipes;
        if matches!(launch.stdio[2], Stdio::SameAsStdout) {
            ends[2] = ends[1];
        }
        let program = program_of(launch);
        let failure = Simulated::exec_failure(world, program);
        let late = world.weather.late_execs;
        let is_late = world.strikes(late);
        if let Some(number) = failure.filter(|_| !is_late) {
            for pipe in pipes.into_iter().flatten() {
                world.close_ours(pipe);
            }
            let error = io::Error::from_raw_os_error(number);
            return Err(StartFailure::new(StartStep::Exec, error));
        }
        let script = Rc::clone(&world.programs[program]);
        let facts = ChildFacts {
            exec: if is_late {
                Exec::UnderWay(failure)
            } else {
                Exec::Done
            },
            tenant: None,
            program,
            pipes,
            started: world.now(),
            ended: None,
            waitable: None,
            reaped: None,
            number: world.free_pid(),
            is_open: true,
            early_exits: script.early_exits,
            signals: Vec::new(),
        };
        world.fds += pidfds;
        world.children_open += 1;
        let process = world.spawn(script, ends, None, Some(facts));
        world.was_started(process);
        if launch.program.attributes.leads_group() {
            world.lead_group(process);
        }
        let ours = |pipe| SimulatedPipe {
            pipe,
            world: Rc::clone(&self.world),
        };
        Ok(Started {
            child: SimulatedChild {
                process,
                sweeps_group: launch.program.attributes.sweeps_group,
                world: Rc::clone(&self.world),
            },
            pipes: pipes.map(|pipe| pipe.map(ours)),
        })
    }

    fn has_executed(&mut self, child: &SimulatedChild) -> bool {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        let process = &world.processes[child.process];
        let facts = process.child.as_ref().expect("a child of ours");
        facts.exec == Exec::Done || (!process.is_alive && !matches!(facts.exec, Exec::Failed(_)))
    }

    fn watch_pipe(&mut self, pipe: &SimulatedPipe, _: Stream, tenant: Tenant) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.watch(Watched::Pipe(pipe.pipe), tenant)
    }

    fn watch_child(&mut self, child: &SimulatedChild, tenant: Tenant) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.watch(Watched::Exit(child.process), tenant)
    }

    fn read(
        &mut self,
        pipe: &SimulatedPipe,
        into: &mut Vec<u8>,
        bytes_max: usize,
    ) -> io::Result<usize> {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        if let Some(reads) = &mut world.reads {
            reads.push(pipe.pipe);
        }
        if world.strikes(world.weather.interrupts) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if world.strikes(world.weather.read_errors) {
            world.pipes[pipe.pipe].has_failed = true;
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        assert!(bytes_max > 0, "a read of nothing says nothing");
        if world.lies_of(pipe.pipe) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let end = &mut world.pipes[pipe.pipe];
        if end.len() == 0 {
            end.was_found_ended = end.holders == 0;
            end.was_found_empty = true;
            world.was_used |= end.was_found_ended;
            return if end.was_found_ended {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        end.was_found_empty = false;
        world.was_used = true;
        let (from, count) = end.take(bytes_max);
        append(end.key, from, count, into);
        world.stir(pipe.pipe);
        Ok(count)
    }

    fn write(&mut self, pipe: &SimulatedPipe, bytes: &[u8]) -> io::Result<usize> {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        if world.strikes(world.weather.interrupts) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if world.lies_of(pipe.pipe) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let end = &mut world.pipes[pipe.pipe];
        end.was_found_ended = end.holders == 0;
        if end.was_found_ended {
            world.was_used = true;
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        }
        let from = end.written;
        let count = end.put(bytes.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        assert!(
            pattern::matches(end.key, from, &bytes[..count]),
            "wrong bytes on stdin"
        );
        world.was_used = true;
        world.stir(pipe.pipe);
        Ok(count)
    }

    fn is_abandoned(&mut self, pipe: &SimulatedPipe) -> bool {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        let standing = world.standing(pipe.pipe);
        world.pipes[pipe.pipe].at_question = Some(standing);
        standing.holders == 0
    }

    fn close(&mut self, pipe: SimulatedPipe) {
        let mut world = self.world.borrow_mut();
        world.jostle();
        world.was_used = true;
        drop(world);
        drop(pipe);
    }

    fn give(&mut self, _pipe: SimulatedPipe) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn fd(_pipe: &SimulatedPipe) -> Option<BorrowedFd<'_>> {
        None
    }

    fn enlarge(&mut self, pipe: &SimulatedPipe) {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        if world.random.one_in(2) {
            world.pipes[pipe.pipe].bytes_max *= 4;
            world.stir(pipe.pipe);
        }
    }

    fn signal(&mut self, child: &SimulatedChild, target: Target, signal: Signal) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        world.was_used = true;
        let sent = world.send(child.process, target, signal);
        sent.map_err(io::Error::from_raw_os_error)
    }

    fn reap(&mut self, child: &mut SimulatedChild) -> io::Result<Option<Exit>> {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        if world.strikes(world.weather.interrupts) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if world.strikes(world.weather.reap_errors) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        let now = world.now();
        let process = &mut world.processes[child.process];
        let loses_status = process.script().loses_status;
        let facts = process.child.as_mut().expect("a child of ours");
        assert!(facts.reaped.is_none(), "a child is reaped twice");
        let Some((_, status)) = facts.ended.filter(|_| facts.waitable <= Some(now)) else {
            return Ok(None);
        };
        if facts.early_exits > 0 {
            facts.early_exits -= 1;
            return Ok(None);
        }
        facts.reaped = Some(now);
        let failure = match facts.exec {
            Exec::Failed(number) => {
                let error = io::Error::from_raw_os_error(number);
                Some(StartFailure::new(StartStep::Exec, error))
            }
            Exec::UnderWay(_) | Exec::Done => None,
        };
        world.was_used = true;
        if child.sweeps_group {
            world.sweep(child.process);
        }
        Ok(Some(Exit {
            failure,
            status: (!loses_status).then(|| ExitStatus::from_raw(status)),
            usage: (!loses_status).then(RawUsage::default),
        }))
    }

    fn arm(&mut self, at: Instant) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        if world.strikes(world.weather.arm_errors) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        world.arm(at);
        Ok(())
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut VecDeque<Ready>) -> io::Result<bool> {
        let until = {
            let world = &mut *self.world.borrow_mut();
            world.pass(SPENT.take());
            world.enter_poll(timeout);
            Simulated::plan_resumes(world);
            if world.strikes(world.weather.early_polls) {
                return Ok(true);
            }
            if world.strikes(world.weather.poll_errors) {
                return Err(io::Error::from_raw_os_error(libc::ENOMEM));
            }
            timeout.map(|timeout| world.now() + timeout)
        };
        loop {
            let mut world = self.world.borrow_mut();
            if world.report(ready) {
                return Ok(world.is_batch_full);
            }
            if world.has_come(until) {
                return Ok(false);
            }
            let deed = world.advance(until);
            drop(world);
            if let Some(deed) = deed {
                deed();
            }
        }
    }

    fn give_way(&mut self) {
        self.world.borrow_mut().give_way();
    }

    fn moved(&self) -> Moved {
        Moved::default()
    }

    fn waker(&self) -> SimulatedWaker {
        SimulatedWaker(Arc::clone(&self.world.borrow().woken))
    }

    fn pid(child: &SimulatedChild) -> u32 {
        child.process as u32 + 1
    }
}

impl Drop for SimulatedPipe {
    fn drop(&mut self) {
        self.world.borrow_mut().close_ours(self.pipe);
    }
}

impl Drop for SimulatedChild {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        world.forget(Watched::Exit(self.process));
        if let Some(child) = &mut world.processes[self.process].child {
            child.is_open = false;
            child.tenant = None;
            world.fds -= usize::from(!world.weather.by_kqueue);
            world.children_open -= 1;
        }
    }
}

impl fmt::Debug for SimulatedChild {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SimulatedChild({})", self.process)
    }
}

impl fmt::Debug for SimulatedPipe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SimulatedPipe({})", self.pipe)
    }
}
