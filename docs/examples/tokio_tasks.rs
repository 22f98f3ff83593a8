//! Inside tokio: any task runs commands by a handle, and one task drives the reactor.
//!
//! `cargo run --example tokio_tasks`

use execloop::{Command, Output, Reactor};
use std::io;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Drives the reactor until the last handle is gone. All that tokio has to know of it.
//
// Since 1.54, tokio wants an `unsafe { AsyncFd::register_with_interest(..) }` here, as there are types that lie about
// their descriptor. A reactor does not: its descriptor is one and the same, and open, until it is dropped.
#[allow(deprecated, reason = "the safe call, which older versions have, too")]
async fn drive(reactor: Reactor) -> io::Result<()> {
    let mut reactor = AsyncFd::with_interest(reactor, Interest::READABLE)?;
    while !reactor.get_ref().is_served() {
        let mut ready = reactor.readable_mut().await?;
        ready.clear_ready();
        ready.get_inner_mut().turn(Some(Duration::ZERO))?;
    }
    Ok(())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let reactor = Reactor::builder().max_running(64).build()?;
    let handle = reactor.handle();
    let driver = tokio::spawn(drive(reactor));

    let mut tasks = Vec::new();
    for name in ["one", "two", "three"] {
        let handle = handle.clone();
        tasks.push(tokio::spawn(async move {
            let done = handle
                .run(Command::new("echo").arg(name).stdout(Output::capture()))
                .await;
            print!("{}", String::from_utf8_lossy(&done.stdout));
        }));
    }
    for task in tasks {
        task.await?;
    }

    // A future that loses a race is dropped, and its command is cancelled.
    let slow = handle.run(Command::new("sleep").arg("60"));
    let quick = handle.run(Command::new("true"));
    let id = slow.id();
    let done = first(slow, quick).await;
    println!("{} was finished before {id}: {}", done.id, done.success());

    drop(handle);
    driver.await??;
    Ok(())
}

/// Whichever comes first; the other one is dropped.
async fn first<F: Future + Unpin>(mut one: F, mut two: F) -> F::Output {
    std::future::poll_fn(|context| {
        let one = std::pin::Pin::new(&mut one).poll(context);
        if one.is_ready() {
            return one;
        }
        std::pin::Pin::new(&mut two).poll(context)
    })
    .await
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(run())
}
