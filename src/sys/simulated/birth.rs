//! Starts a simulated child: what may fail, which pipes it gets, and what is known of it from then on.
//! Unaware of what it does.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::super::{Launch, StartFailure, StartStep, Started, Stdio, Stream};
use super::{ChildFacts, Pipe, Simulated, SimulatedChild, SimulatedPipe, World, pipe};

/// Where a child's start stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exec {
    /// With what it will meet, if it does.
    UnderWay(Option<Obstacle>),
    Failed(Obstacle),
    Done,
}

/// What keeps a child from executing its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The exec fails with this error number.
    Exec(i32),
    /// A filter refuses the way of starting. There is another.
    WayRefused,
}

impl Obstacle {
    pub(super) fn failure(self) -> StartFailure {
        let (step, number) = match self {
            Obstacle::Exec(number) => (StartStep::Exec, number),
            Obstacle::WayRefused => (StartStep::Descriptors, libc::EPERM),
        };
        let mut failure = StartFailure::new(step, io::Error::from_raw_os_error(number));
        failure.has_another_way = self == Obstacle::WayRefused;
        failure
    }
}

impl Simulated {
    pub(super) fn give_birth(
        &mut self,
        launch: &Launch,
    ) -> Result<Started<Simulated>, StartFailure> {
        let mut attempt = self.world.borrow().attempt(launch);
        let born = self.try_birth(launch);
        let mut world = self.world.borrow_mut();
        attempt.at = world.now();
        let failure = born.as_ref().err();
        attempt.refused = failure.map(|failure| failure.error.raw_os_error().unwrap_or(0));
        world.attempts.push(attempt);
        born
    }

    fn try_birth(&mut self, launch: &Launch) -> Result<Started<Simulated>, StartFailure> {
        let world = &mut *self.world.borrow_mut();
        world.jostle();
        world.was_used = true;
        let slow_starts = world.weather.slow_starts;
        let mut time = START_MIN;
        if world.strikes(slow_starts) {
            time += Duration::from_micros(world.random.below(60_000) as u64);
        }
        world.pass(time);
        let is_pipe = |stdio: &&Stdio| stdio.has_our_end();
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
        let obstacle = Simulated::exec_obstacle(world, program);
        let late = world.weather.late_execs;
        let is_late = world.strikes(late);
        if let Some(obstacle) = obstacle.filter(|_| !is_late) {
            for pipe in pipes.into_iter().flatten() {
                world.close_ours(pipe);
            }
            return Err(obstacle.failure());
        }
        let script = Rc::clone(&world.programs[program]);
        let facts = ChildFacts {
            exec: if is_late {
                Exec::UnderWay(obstacle)
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
        world.handles.push(process);
        for pipe in pipes.into_iter().flatten() {
            world.pipes[pipe].child = Some(process);
        }
        if launch.program.attributes.console {
            world.consoles.push(process);
        }
        if launch.program.attributes.leads_group() {
            world.lead_group(process);
        }
        let ours = |pipe| SimulatedPipe {
            pipe,
            process,
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

    /// What a child of this program finds before it has executed.
    fn exec_obstacle(world: &mut World, program: usize) -> Option<Obstacle> {
        let script = Rc::make_mut(&mut world.programs[program]);
        if script.refusals > 0 {
            script.refusals -= 1;
            return Some(Obstacle::WayRefused);
        }
        if script.busy_times > 0 {
            script.busy_times -= 1;
            return Some(Obstacle::Exec(libc::ETXTBSY));
        }
        script.exec_error.map(Obstacle::Exec)
    }
}

/// Each start takes some time, so that it can be told from the clock what was before it.
const START_MIN: Duration = Duration::from_nanos(1);
/// A stream is not cut into more pieces than this by a small pipe.
const PIECES_MAX: usize = 200;

/// The program that a path of `World::install` names.
pub(super) fn program_of(launch: &Launch) -> usize {
    let path = launch.program.path().to_str().expect("a simulated path");
    let name = path.rsplit('/').next();
    name.and_then(|name| name.parse().ok()).expect("a number")
}

fn pipes_of(world: &mut World, launch: &Launch) -> [Option<usize>; 3] {
    let mut pipes = [None; 3];
    let program = program_of(launch);
    let script = Rc::clone(&world.programs[program]);
    for ((pipe, stdio), stream) in pipes.iter_mut().zip(&launch.stdio).zip(Stream::ALL) {
        if stdio.has_our_end() {
            // The input of a command is known by its program, as its caller has to know it before there is a pipe.
            let is_input = stream == Stream::Stdin;
            let key = if is_input { program } else { world.pipes.len() };
            let mut new = Pipe::new(stream, key, world.free_descriptor());
            new.is_terminal = !matches!(stdio, Stdio::Pipe);
            let sizes = world.weather.pipe_bytes.len();
            let size = world.weather.pipe_bytes[world.random.below(sizes)];
            new.bytes_max = size.max(script.traffic / PIECES_MAX);
            if script.writes_packets && !is_input {
                new.bytes_max = new.bytes_max.max(pipe::PACKET_BYTES_MAX);
                new.packets = Some(VecDeque::new());
            }
            world.pipes.push(new);
            world.fds += 1;
            world.open += 1;
            *pipe = Some(world.pipes.len() - 1);
        }
    }
    pipes
}
