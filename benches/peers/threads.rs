//! `std::process`, which waits for one command only: more at once take a thread each. Unaware of what is timed.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Outcome, Peer, check, check_said};

#[derive(Debug, Default)]
pub(crate) struct Std {
    held: Vec<Child>,
}

fn null(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Does `one` so many times, by so many threads; by this one, if that is enough.
fn run_all(count: usize, at_once: usize, one: impl Fn() -> Outcome<()> + Sync) -> Outcome<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        while next.fetch_add(1, Ordering::Relaxed) < count {
            one()?;
        }
        Ok(())
    };
    if at_once == 1 {
        return work();
    }
    thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
}

impl Peer for Std {
    const NAME: &str = "std";

    fn new() -> Outcome<Std> {
        Ok(Std::default())
    }

    fn run(&mut self, program: &Path, count: usize, at_once: usize) -> Outcome<()> {
        run_all(count, at_once, || {
            check(null(program).status()?.success(), "it failed")
        })
    }

    fn capture(&mut self, program: &Path, count: usize, at_once: usize) -> Outcome<()> {
        run_all(count, at_once, || {
            let output = Command::new(program).stdin(Stdio::null()).output()?;
            check_said(&output.stdout, &output.stderr)?;
            check(output.status.success(), "it failed")
        })
    }

    fn count_bytes(&mut self, program: &Path, count: usize) -> Outcome<usize> {
        let bytes = AtomicUsize::new(0);
        run_all(count, count, || {
            let mut child = null(program).stdout(Stdio::piped()).spawn()?;
            let mut stdout = child.stdout.take().ok_or("no pipe")?;
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match stdout.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => bytes.fetch_add(read, Ordering::Relaxed),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error.into()),
                };
            }
            check(child.wait()?.success(), "it failed")
        })?;
        Ok(bytes.into_inner())
    }

    fn start_and_wait(&mut self, program: &Path, started: &mut dyn FnMut()) -> Outcome<()> {
        let mut child = null(program).spawn()?;
        started();
        check(child.wait()?.success(), "it failed")
    }

    fn hold(&mut self, program: &Path, count: usize) -> Outcome<()> {
        for _ in 0..count {
            self.held
                .push(null(program).stdout(Stdio::piped()).spawn()?);
        }
        Ok(())
    }

    fn release(&mut self) -> Outcome<()> {
        for child in &mut self.held {
            child.kill()?;
        }
        for mut child in self.held.drain(..) {
            child.wait()?;
        }
        Ok(())
    }
}
