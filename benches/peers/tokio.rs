//! `tokio::process` on its runtime of one thread. Unaware of what is timed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::{Outcome, Peer, check, check_said};

#[derive(Debug)]
pub(crate) struct Tokio {
    runtime: Runtime,
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

impl Tokio {
    /// Does `one` so many times, by so many tasks.
    fn run_all<F: Future<Output = Outcome<()>> + Send + 'static>(
        &self,
        count: usize,
        at_once: usize,
        one: impl Fn() -> F + Clone + Send + Sync + 'static,
    ) -> Outcome<()> {
        let next = Arc::new(AtomicUsize::new(0));
        let work = move || {
            let (next, one) = (Arc::clone(&next), one.clone());
            async move {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    one().await?;
                }
                Ok(())
            }
        };
        if at_once == 1 {
            return self.runtime.block_on(work());
        }
        self.runtime.block_on(async {
            let mut tasks: JoinSet<Outcome<()>> = (0..at_once).map(|_| work()).collect();
            while let Some(joined) = tasks.join_next().await {
                joined??;
            }
            Ok(())
        })
    }
}

async fn run_one(program: PathBuf) -> Outcome<()> {
    check(null(&program).status().await?.success(), "it failed")
}

async fn capture_one(program: PathBuf) -> Outcome<()> {
    let output = Command::new(program).stdin(Stdio::null()).output().await?;
    check_said(&output.stdout, &output.stderr)?;
    check(output.status.success(), "it failed")
}

async fn count_one(program: PathBuf, bytes: Arc<AtomicUsize>) -> Outcome<()> {
    let mut child = null(&program).stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().ok_or("no pipe")?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = stdout.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        bytes.fetch_add(read, Ordering::Relaxed);
    }
    check(child.wait().await?.success(), "it failed")
}

impl Peer for Tokio {
    const NAME: &str = "tokio";

    fn new() -> Outcome<Tokio> {
        Ok(Tokio {
            runtime: Builder::new_current_thread().enable_io().build()?,
            held: Vec::new(),
        })
    }

    fn run(&mut self, program: &Path, count: usize, at_once: usize) -> Outcome<()> {
        let program = program.to_owned();
        self.run_all(count, at_once, move || run_one(program.clone()))
    }

    fn capture(&mut self, program: &Path, count: usize, at_once: usize) -> Outcome<()> {
        let program = program.to_owned();
        self.run_all(count, at_once, move || capture_one(program.clone()))
    }

    fn count_bytes(&mut self, program: &Path, count: usize) -> Outcome<usize> {
        let bytes = Arc::new(AtomicUsize::new(0));
        let (program, counter) = (program.to_owned(), Arc::clone(&bytes));
        let one = move || count_one(program.clone(), Arc::clone(&counter));
        self.run_all(count, count, one)?;
        Ok(bytes.load(Ordering::Relaxed))
    }

    fn start_and_wait(&mut self, program: &Path, started: &mut dyn FnMut()) -> Outcome<()> {
        self.runtime.block_on(async {
            let mut child = null(program).spawn()?;
            started();
            check(child.wait().await?.success(), "it failed")
        })
    }

    fn hold(&mut self, program: &Path, count: usize) -> Outcome<()> {
        let _inside = self.runtime.enter();
        for _ in 0..count {
            self.held
                .push(null(program).stdout(Stdio::piped()).spawn()?);
        }
        Ok(())
    }

    fn release(&mut self) -> Outcome<()> {
        let held = std::mem::take(&mut self.held);
        self.runtime.block_on(async {
            let mut held = held;
            for child in &mut held {
                child.start_kill()?;
            }
            for mut child in held {
                child.wait().await?;
            }
            Ok(())
        })
    }
}
