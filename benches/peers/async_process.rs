//! `async-process`, with the threads that it starts for itself. Unaware of what is timed.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_executor::LocalExecutor;
use async_process::{Child, Command, Stdio};
use futures_lite::AsyncReadExt;
use futures_lite::future::block_on;

use super::{Outcome, Peer, check, check_said};

#[derive(Debug, Default)]
pub(crate) struct AsyncProcess {
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

/// Does `one` so many times, by so many tasks.
fn run_all<'a, F: Future<Output = Outcome<()>> + 'a>(
    count: usize,
    at_once: usize,
    one: impl Fn() -> F + 'a,
) -> Outcome<()> {
    let next = AtomicUsize::new(0);
    let work = async || {
        while next.fetch_add(1, Ordering::Relaxed) < count {
            one().await?;
        }
        Ok(())
    };
    if at_once == 1 {
        return block_on(work());
    }
    let executor = LocalExecutor::new();
    block_on(executor.run(async {
        let tasks: Vec<_> = (0..at_once).map(|_| executor.spawn(work())).collect();
        for task in tasks {
            task.await?;
        }
        Ok(())
    }))
}

impl Peer for AsyncProcess {
    const NAME: &str = "async-process";

    fn new() -> Outcome<AsyncProcess> {
        Ok(AsyncProcess::default())
    }

    fn run(&mut self, program: &Path, count: usize, at_once: usize) -> Outcome<()> {
        run_all(count, at_once, async || {
            check(null(program).status().await?.success(), "it failed")
        })
    }

    fn capture(&mut self, program: &Path, count: usize, at_once: usize) -> Outcome<()> {
        run_all(count, at_once, async || {
            let output = Command::new(program).stdin(Stdio::null()).output().await?;
            check_said(&output.stdout, &output.stderr)?;
            check(output.status.success(), "it failed")
        })
    }

    fn count_bytes(&mut self, program: &Path, count: usize) -> Outcome<usize> {
        let bytes = AtomicUsize::new(0);
        run_all(count, count, async || {
            let mut child = null(program).stdout(Stdio::piped()).spawn()?;
            let mut stdout = child.stdout.take().ok_or("no pipe")?;
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let read = stdout.read(&mut buffer).await?;
                if read == 0 {
                    break;
                }
                bytes.fetch_add(read, Ordering::Relaxed);
            }
            check(child.status().await?.success(), "it failed")
        })?;
        Ok(bytes.into_inner())
    }

    fn start_and_wait(&mut self, program: &Path, started: &mut dyn FnMut()) -> Outcome<()> {
        let mut child = null(program).spawn()?;
        started();
        check(block_on(child.status())?.success(), "it failed")
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
            block_on(child.status())?;
        }
        Ok(())
    }
}
