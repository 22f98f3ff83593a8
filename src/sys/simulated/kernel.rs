//! The kernel's functions over the simulated machine: what each answers, and what weather may make of it.
//! Unaware of what the processes do, and of the loop.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::terminal::{read_of_master, write_to_master};
use super::super::{
    Exit, Kernel, Launch, Moved, RawUsage, Ready, Signal, StartFailure, Started, Stream, Target,
    Tenant, TerminalSize,
};
use super::process::ChildFacts;
use super::world::Watched;
use super::{
    Exec, SPENT, Simulated, SimulatedChild, SimulatedPipe, SimulatedWaker, append, pattern,
};

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
        self.give_birth(launch)
    }

    fn has_executed(&mut self, child: &SimulatedChild) -> bool {
        self.world.borrow_mut().jostle();
        // What happens from here on, the next look finds.
        self.settle(child.process);
        let world = self.world.borrow();
        let process = &world.processes[child.process];
        let facts = process.child.as_ref().expect("a child of ours");
        facts.exec == Exec::Done || (!process.is_alive && !facts.has_failed())
    }

    /// Where that takes longer, it is as if the time were over soon.
    fn await_exec(&mut self, child: &SimulatedChild, until: Instant) -> bool {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        if world.is_under_way(child.process) {
            let time = Duration::from_micros(world.random.below(2000) as u64);
            world.pass(time.min(until.saturating_duration_since(world.now())));
        }
        let facts = world.processes[child.process].child.as_ref();
        !facts.is_some_and(ChildFacts::has_failed)
    }

    fn watch_pipe(&mut self, pipe: &SimulatedPipe, _: Stream, tenant: Tenant) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.watch(Watched::Pipe(pipe.pipe), tenant)
    }

    fn watch_child(&mut self, child: &SimulatedChild, tenant: Tenant) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.watch(Watched::Exit(child.process), tenant)
    }

    fn await_child(&mut self, child: &SimulatedChild, tenant: Tenant) -> bool {
        let world = &mut *self.world.borrow_mut();
        let unwatched = world.weather.unwatched;
        if world.weather.by_kqueue || world.strikes(unwatched) {
            return false;
        }
        world.await_once(Watched::Exit(child.process), tenant);
        true
    }

    fn await_pipe(&mut self, pipe: &SimulatedPipe, _: Stream, tenant: Tenant) {
        let world = &mut *self.world.borrow_mut();
        world.await_once(Watched::Pipe(pipe.pipe), tenant);
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
            // Of a terminal, EIO would be its end.
            let number = if world.pipes[pipe.pipe].is_terminal {
                libc::ENOMEM
            } else {
                libc::EIO
            };
            return Err(io::Error::from_raw_os_error(number));
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
            return match (end.was_found_ended, end.is_terminal) {
                (false, _) => Err(io::ErrorKind::WouldBlock.into()),
                (true, false) => Ok(0),
                (true, true) => read_of_master(|| Err(io::Error::from_raw_os_error(libc::EIO))),
            };
        }
        end.was_found_empty = false;
        let may_be_hasty = end.is_terminal && end.holders == 0;
        let mut is_hasty = may_be_hasty && world.strikes(world.weather.hasty_ends);
        let end = &mut world.pipes[pipe.pipe];
        // A pipe's end is never hasty.
        let read = read_of_master(|| {
            if std::mem::take(&mut is_hasty) {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            let (from, count) = end.take(bytes_max);
            append(end.key, from, count, into);
            Ok(count)
        });
        world.was_used = true;
        world.stir(pipe.pipe);
        read
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
            let number = if end.is_terminal {
                libc::EIO
            } else {
                libc::EPIPE
            };
            world.was_used = true;
            return write_to_master(Err(io::Error::from_raw_os_error(number)));
        }
        let from = end.written;
        let mut most = bytes.len();
        if world.strikes(world.weather.short_writes) {
            most = 1 + world.random.below(most);
        }
        let end = &mut world.pipes[pipe.pipe];
        // Against the truth once, as a refusal.
        end.has_lied = most < bytes.len();
        let count = end.put(most);
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

    fn may_end_unsaid(&self, pipe: &SimulatedPipe) -> bool {
        let world = self.world.borrow();
        world.weather.silent_ends && world.pipes[pipe.pipe].is_terminal
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
        let is_under_way = world.is_under_way(pipe.process);
        drop(world);
        if is_under_way {
            let mut world = self.world.borrow_mut();
            world.pipes[pipe.pipe].is_retired = true;
            world.was_closed(pipe.pipe);
            drop(world);
            self.retired.push(pipe);
        }
    }

    fn give(&mut self, pipe: SimulatedPipe) -> Result<OwnedFd, (SimulatedPipe, io::Error)> {
        Err((pipe, io::ErrorKind::Unsupported.into()))
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

    fn resize(&mut self, pipe: &SimulatedPipe, _: TerminalSize) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        if world.pipes[pipe.pipe].is_terminal {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ENOTTY))
        }
    }

    fn signal(&mut self, child: &SimulatedChild, target: Target, signal: Signal) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        world.was_used = true;
        let sent = world.send(child.process, target, signal);
        sent.map_err(io::Error::from_raw_os_error)
    }

    fn has_left_group(&mut self, child: &SimulatedChild) -> bool {
        let world = self.world.borrow();
        world.processes[child.process].group != Some(child.process)
    }

    fn reap(&mut self, child: &mut SimulatedChild) -> io::Result<Option<Exit>> {
        self.world.borrow_mut().jostle();
        self.settle(child.process);
        let world = &mut *self.world.borrow_mut();
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
            world.follow_stop(child.process);
            return Ok(None);
        };
        if facts.early_exits > 0 {
            facts.early_exits -= 1;
            return Ok(None);
        }
        facts.reaped = Some(now);
        world.consoles.retain(|other| *other != child.process);
        let failure = match facts.exec {
            Exec::Failed(obstacle) => Some(obstacle.failure()),
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
        let polled = self.sleep(timeout, ready);
        self.world.borrow_mut().await_nothing();
        polled
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

impl Simulated {
    fn sleep(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut VecDeque<Ready>,
    ) -> io::Result<bool> {
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
            timeout.map(|timeout| world.now() + in_whole_milliseconds(timeout))
        };
        loop {
            let mut world = self.world.borrow_mut();
            if !world.is_late() {
                if world.report(ready) {
                    return Ok(world.is_batch_full);
                }
                if world.has_come(until) {
                    return Ok(false);
                }
            }
            let deed = world.advance(until);
            drop(world);
            if let Some(deed) = deed {
                deed();
            }
        }
    }
}

/// As epoll_wait(2) counts, which is rounded up to.
fn in_whole_milliseconds(timeout: Duration) -> Duration {
    let rest = timeout.subsec_nanos() % 1_000_000;
    let missing = if rest == 0 { 0 } else { 1_000_000 - rest };
    timeout.saturating_add(Duration::from_nanos(missing.into()))
}
