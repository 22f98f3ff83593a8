//! The backend of macOS and the BSDs: a spawner, and one private kqueue for exits and the timer.
//! Unaware of what commands are and why they end.
//!
//! On Linux it is compiled with `--cfg execloop_kqueue_shim`, over the kqueue of `tests/kqueue_shim`.

mod child;
mod events;
mod fd;
mod orphans;
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
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::Registry;

use super::fd as any_fd;
use super::pipe::pipes;
use super::quiet::set_raises_sigpipe;
use super::token::{token, untoken};
use super::unix::{Backend, Unix};
use super::{
    Exit, Launch, Ready, Signal, Source, StartFailure, StartStep, Started, Stream, Target, Tenant,
};
use events::Queue;
pub(super) use fd::CreationLock;
pub(crate) use orphans::{Zombie, become_subreaper, first_zombie};
use process::Child;
use spawn::Spawner;

/// This system. Its kernels enlarge the pipes that are used much by themselves, and a start returns when the program is
/// executed, or with the failure.
#[derive(Debug)]
pub(crate) struct System {
    spawner: Spawner,
    /// Exits and the timer.
    queue: Queue,
    /// What was over when it was to be watched, children and readers of pipes: the next poll tells.
    gone: Vec<Ready>,
}

impl Backend for System {
    type Child = Child;

    /// NetBSD does not, nor did older systems of macOS.
    const TELLS_END_OF_TERMINALS: bool = false;

    fn new() -> io::Result<(System, Vec<OwnedFd>)> {
        let spawner = Spawner::new()?;
        let taken = any_fd::take_stdio_numbers()?;
        let system = System {
            spawner,
            queue: Queue::new()?,
            gone: Vec::new(),
        };
        Ok((system, taken))
    }

    fn alarm(&self) -> RawFd {
        self.queue.as_raw_fd()
    }

    fn start(&mut self, launch: &mut Launch) -> Result<Started<Unix<System>>, StartFailure> {
        let (pipes, ends) = pipes(launch, fd::pipe)?;
        let failed = |error| StartFailure::new(StartStep::Pipe, error);
        for pipe in pipes.iter().flatten() {
            fd::never_block(&pipe.fd).map_err(failed)?;
        }
        if let Some(written) = &pipes[Stream::Stdin as usize] {
            set_raises_sigpipe(&written.fd, false).map_err(failed)?;
        }
        let mut child = self.spawner.spawn(launch, &ends)?;
        child.set_sweeps_group(launch.program.attributes.sweeps_group);
        Ok(Started { child, pipes })
    }

    /// A kqueue takes no writer whose readers are gone: FreeBSD and DragonFly answer `EPIPE`, which mio takes for success,
    /// and NetBSD `EBADF`.
    fn is_announced(&mut self, end: &OwnedFd, stream: Stream, tenant: Tenant) -> bool {
        let is_over = stream == Stream::Stdin && any_fd::is_abandoned(end);
        if is_over {
            self.gone.push(Ready {
                tenant,
                source: Source::Stream(stream),
                hung_up: true,
            });
        }
        !is_over
    }

    fn watch_child(&mut self, _: &Registry, child: &Child, tenant: Tenant) -> io::Result<bool> {
        let token = token(tenant, Source::Exit);
        let is_there = self.queue.watch_exit(child.pid(), token)?;
        if !is_there {
            self.gone.push(exited(tenant));
        }
        Ok(is_there)
    }

    fn take_exits(&mut self, is_alarmed: bool, ready: &mut VecDeque<Ready>) -> io::Result<()> {
        ready.extend(self.gone.drain(..));
        if is_alarmed {
            // By edges: what is left now would not be announced again.
            self.queue.drain(|token| {
                ready.extend(untoken(token).map(|(tenant, _)| exited(tenant)));
            })?;
        }
        Ok(())
    }

    fn signal(&mut self, child: &Child, target: Target, signal: Signal) -> io::Result<()> {
        child.signal(target, signal)
    }

    fn reap(&mut self, child: &mut Child) -> io::Result<Option<Exit>> {
        child.reap()
    }

    fn arm(&mut self, delay: Duration) -> io::Result<()> {
        self.queue.set_timer(delay)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_who_were_gone_before_the_pipe_was_watched_are_told_of_once() {
        let (mut system, taken) = System::new().expect("a system");
        drop(taken);
        let tenant = Tenant::new(3, 7);
        let (reader, writer) = fd::pipe().expect("a pipe");
        let mut ready = VecDeque::new();
        assert!(system.is_announced(&writer, Stream::Stdin, tenant));
        system.take_exits(false, &mut ready).expect("taken");
        assert_eq!(ready, []);
        drop(reader);
        assert!(!system.is_announced(&writer, Stream::Stdin, tenant));
        for _ in 0..2 {
            system.take_exits(false, &mut ready).expect("taken");
        }
        let hung_up = Ready {
            tenant,
            source: Source::Stream(Stream::Stdin),
            hung_up: true,
        };
        assert_eq!(ready, [hung_up]);
    }
}
