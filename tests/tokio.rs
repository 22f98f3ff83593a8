//! A reactor inside tokio: tasks of several threads run commands by handles, one task drives, and edges are enough.
//! Unaware of how the handle brings results back, which needs no runtime (`tests/reactor/run.rs`).

#[path = "common"]
mod common {
    pub mod shell;
    mod watchdog;
}

use std::io;
use std::time::Duration;

use execloop::{Command, Error, Handle, Input, Output, Reactor, ReactorBuilder, StartError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};

use common::shell::shell;

#[allow(deprecated, reason = "the safe call, which older versions have, too")]
async fn drive(reactor: Reactor) -> io::Result<usize> {
    let mut reactor = AsyncFd::with_interest(reactor, Interest::READABLE)?;
    let mut turns = 0;
    while !reactor.get_ref().is_served() {
        let mut ready = reactor.readable_mut().await?;
        ready.clear_ready();
        ready.get_inner_mut().turn(Some(Duration::ZERO))?;
        turns += 1;
    }
    Ok(turns)
}

/// Drives a reactor in the runtime while `caller` has a handle of it. Returns how many turns it took.
fn with_driver<F>(
    runtime: &Runtime,
    builder: ReactorBuilder,
    caller: impl FnOnce(Handle) -> F,
) -> usize
where
    F: Future<Output = ()>,
{
    let reactor = builder.build().expect("a reactor");
    let handle = reactor.handle();
    runtime.block_on(async {
        let driver = runtime.spawn(drive(reactor));
        caller(handle).await;
        driver.await.expect("no panic").expect("poll")
    })
}

#[test]
fn a_thousand_commands_of_eight_tasks_come_back_to_their_own() {
    const TASKS: usize = 8;
    const COMMANDS: usize = 125;
    let threads = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_io()
        .build()
        .expect("a runtime");
    let one = Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    for runtime in [threads, one] {
        let limited = Reactor::builder().max_running(32);
        with_driver(&runtime, limited, |handle| async {
            let tasks: Vec<_> = (0..TASKS)
                .map(|task| {
                    let handle = handle.clone();
                    tokio::spawn(async move {
                        let sent: Vec<_> = (0..COMMANDS)
                            .map(|number| {
                                let text = format!("{task} {number}");
                                let mut cat = Command::new("cat");
                                cat.stdin(Input::bytes(text.clone().into_bytes()))
                                    .stdout(Output::capture());
                                (text, handle.run(&mut cat))
                            })
                            .collect();
                        for (text, pending) in sent {
                            let done = pending.await;
                            assert!(done.success(), "{done:?}");
                            assert_eq!(done.stdout, text.into_bytes());
                        }
                    })
                })
                .collect();
            drop(handle);
            for task in tasks {
                task.await.expect("no panic");
            }
        });
    }
}

#[test]
fn an_aborted_task_leaves_no_command_and_a_failed_start_is_told() {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    let (mut alive, writer) = io::pipe().expect("a pipe");
    with_driver(&runtime, Reactor::builder(), |handle| async move {
        let mut sleeper = shell("echo >&3; exec sleep 1000");
        sleeper.extra_fd(3, writer);
        let sent = handle.clone();
        let task = tokio::spawn(async move { sent.run(sleeper).await });
        let read = tokio::task::spawn_blocking(move || {
            let mut line = [0];
            io::Read::read_exact(&mut alive, &mut line).map(|()| alive)
        });
        let mut alive = read.await.expect("no panic").expect("it is ready");
        task.abort();
        assert!(task.await.is_err(), "it was aborted");
        let missing = handle.run(Command::new("/no/such/program")).await;
        let is_told = matches!(missing.outcome, Err(Error::Start(StartError::Step { .. })));
        assert!(is_told, "{missing:?}");
        // Nobody holds it any more.
        let read = tokio::task::spawn_blocking(move || io::Read::read(&mut alive, &mut [0]));
        assert_eq!(read.await.expect("no panic").expect("the pipe"), 0);
    });
}

#[test]
fn a_driver_that_has_nothing_to_do_sleeps() {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    let turns = with_driver(&runtime, Reactor::builder(), |handle| async move {
        let done = handle.run(Command::new("sleep").arg("0.5")).await;
        assert!(done.success(), "{done:?}");
    });
    // A loop that spins makes some hundred thousand. One that looks after an exec makes some more than one.
    assert!(turns < 100, "{turns} turns for one command");
}
