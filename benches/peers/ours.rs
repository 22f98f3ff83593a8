//! execloop. Unaware of what is timed.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use execloop::{Command, Context, Finished, Output, Reactor};

use super::{Outcome, Peer, check_said};

/// What is held and still queued after so many turns will not start.
const HOLD_TURNS_MAX: usize = 20_000;

#[derive(Debug)]
pub(crate) struct Execloop {
    reactor: Reactor,
    /// Ends what is held.
    held: Context,
}

impl Execloop {
    fn run_all(
        &mut self,
        count: usize,
        at_once: usize,
        make: impl Fn() -> Command,
        check: impl Fn(&Finished) -> Outcome<()>,
    ) -> Outcome<()> {
        let (mut started, mut finished) = (0, 0);
        while finished < count {
            while started < count && started - finished < at_once {
                self.reactor.start(&mut make())?;
                started += 1;
            }
            let done = self.reactor.wait_any()?.ok_or("a command was lost")?;
            check(&done)?;
            done.outcome?;
            finished += 1;
        }
        Ok(())
    }
}

impl Peer for Execloop {
    const NAME: &str = "execloop";

    fn new() -> Outcome<Execloop> {
        Ok(Execloop {
            reactor: Reactor::new()?,
            held: Context::new(),
        })
    }

    fn run(&mut self, program: &Path, count: usize, at_once: usize) -> Outcome<()> {
        self.run_all(count, at_once, || Command::new(program), |_| Ok(()))
    }

    fn capture(&mut self, program: &Path, count: usize, at_once: usize) -> Outcome<()> {
        let make = || {
            let mut command = Command::new(program);
            command.stdout(Output::capture()).stderr(Output::capture());
            command
        };
        self.run_all(count, at_once, make, |done| {
            check_said(&done.stdout, &done.stderr)
        })
    }

    fn count_bytes(&mut self, program: &Path, count: usize) -> Outcome<usize> {
        let bytes = Arc::new(AtomicUsize::new(0));
        let make = || {
            let mut command = Command::new(program);
            command.stdout(Output::writer(Counter(Arc::clone(&bytes))));
            command
        };
        self.run_all(count, count, make, |_| Ok(()))?;
        Ok(bytes.load(Ordering::Relaxed))
    }

    fn start_and_wait(&mut self, program: &Path, started: &mut dyn FnMut()) -> Outcome<()> {
        let id = self.reactor.start(&mut Command::new(program))?;
        started();
        self.reactor
            .wait(id)?
            .ok_or("the command was lost")?
            .outcome?;
        Ok(())
    }

    fn hold(&mut self, program: &Path, count: usize) -> Outcome<()> {
        for _ in 0..count {
            let mut command = Command::new(program);
            self.reactor
                .start(command.stdout(Output::capture()).context(&self.held))?;
        }
        // Only so many are on their way to their exec at once; the rest is in the queue until the next turns.
        for _ in 0..HOLD_TURNS_MAX {
            if self.reactor.queued() == 0 {
                return Ok(());
            }
            self.reactor.turn(Some(Duration::from_millis(1)))?;
        }
        Err("the limit of descriptors is too low".into())
    }

    fn release(&mut self) -> Outcome<()> {
        self.held.cancel();
        self.held = Context::new();
        while self.reactor.wait_any()?.is_some() {}
        Ok(())
    }
}

struct Counter(Arc<AtomicUsize>);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
