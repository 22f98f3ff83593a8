//! The engines that the feature `bench-peers` adds: `tokio::process` on its runtime of one thread, and `async-process`, with
//! the threads that it starts for itself.
//! Unaware of tables.

use std::io;
use std::sync::Arc;

use super::batch::Batch;

pub(super) fn by_tokio(batch: Batch, at_once: usize) -> io::Result<Batch> {
    use tokio::io::AsyncWriteExt;
    use tokio::process::Command;

    async fn work(batch: Arc<Batch>) -> io::Result<()> {
        while batch.take() {
            let mut child = Command::from(batch.command()).spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(batch.input()).await?;
            }
            batch.report(&child.wait_with_output().await?)?;
        }
        Ok(())
    }

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let batch = Arc::new(batch);
    runtime.block_on(async {
        let tasks = (0..at_once).map(|_| work(Arc::clone(&batch)));
        let mut tasks: tokio::task::JoinSet<_> = tasks.collect();
        while let Some(joined) = tasks.join_next().await {
            joined.map_err(io::Error::other)??;
        }
        io::Result::Ok(())
    })?;
    Arc::into_inner(batch).ok_or_else(|| io::Error::other("a task is left"))
}

pub(super) fn by_async_process(batch: Batch, at_once: usize) -> io::Result<Batch> {
    use async_process::{Command, Stdio};
    use futures_lite::AsyncWriteExt;
    use futures_lite::future::block_on;

    let work = async || -> io::Result<()> {
        while batch.take() {
            let mut command = Command::from(batch.command());
            // What the command of std has is not known to its `spawn`, which would inherit streams.
            command.stdout(Stdio::piped()).stdin(batch.stdin());
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(batch.input()).await?;
            }
            batch.report(&child.output().await?)?;
        }
        Ok(())
    };
    let executor = async_executor::LocalExecutor::new();
    block_on(executor.run(async {
        let tasks: Vec<_> = (0..at_once).map(|_| executor.spawn(work())).collect();
        for task in tasks {
            task.await?;
        }
        io::Result::Ok(())
    }))?;
    drop(executor);
    Ok(batch)
}
