//! A kernel in memory, driven by a seed: pipes, children, grandchildren, a timer, a clock, and bad weather.
//! Unaware of the loop above it; for tests and fuzzing only.
//!
//! Readiness is edge-triggered as epoll's is: an edge is reported once, and nothing is repeated before something new
//! happens, neither to the loop nor to an outer loop that polls its descriptor. What one poll awaits besides is told as
//! poll(2) tells it, as long as it is ready. Time passes in `poll`, in starts and in
//! the caller's code. A poll that would sleep for ever panics, and so does a loop that spins.

mod attempts;
mod birth;
mod kernel;
mod pattern;
mod pipe;
mod process;
mod random;
mod script;
mod world;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Wake;
use birth::Exec;
use world::{Watched, Woken};

pub(crate) use attempts::Attempt;
pub(crate) use pattern::{append, prefix};
pub(crate) use pipe::Pipe;
pub(crate) use process::ChildFacts;
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
    world: Shared,
    /// Our ends that were closed while their child was on its way to its exec. It has them until somebody looks whether it is there.
    retired: Vec<SimulatedPipe>,
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
    /// Whose it is.
    process: usize,
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
    pub(crate) fn new(world: &Shared) -> Simulated {
        Simulated {
            world: Rc::clone(world),
            retired: Vec::new(),
        }
    }

    /// Takes back what a child had until its exec.
    fn settle(&mut self, process: usize) {
        if !self.world.borrow().is_under_way(process) {
            self.retired.retain(|pipe| pipe.process != process);
        }
    }

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
        world.consoles.retain(|other| *other != self.process);
        if let Some(child) = &mut world.processes[self.process].child {
            let pipes = child.pipes;
            child.is_open = false;
            child.tenant = None;
            world.fds -= usize::from(!world.weather.by_kqueue);
            world.children_open -= 1;
            world.handles.retain(|other| *other != self.process);
            world.was_dropped(pipes);
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
