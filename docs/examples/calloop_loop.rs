//! Inside calloop, as desktop programs are built: the reactor is the loop's data, its descriptor one of the sources.
//!
//! `cargo run --example calloop_loop`

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, Mode, PostAction};
use execloop::{Command, Output, Reactor};
use std::os::fd::AsFd;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut event_loop: EventLoop<Reactor> = EventLoop::try_new()?;
    let mut reactor = Reactor::new()?;

    // A copy of the descriptor is the same epoll, so the reactor itself stays where all callbacks reach it.
    let copy = reactor.as_fd().try_clone_to_owned()?;
    let source = Generic::new(copy, Interest::READ, Mode::Edge);
    event_loop
        .handle()
        .insert_source(source, |_, _, reactor: &mut Reactor| {
            reactor.turn(Some(Duration::ZERO))?;
            while let Some(done) = reactor.try_wait_any() {
                print!("{}: {}", done.id, String::from_utf8_lossy(&done.stdout));
            }
            Ok(PostAction::Continue)
        })?;

    // Any other callback may start commands.
    let timer = Timer::from_duration(Duration::from_millis(20));
    event_loop
        .handle()
        .insert_source(timer, |_, _, reactor: &mut Reactor| {
            let mut late = Command::new("echo");
            let started = reactor.start(late.arg("late").stdout(Output::capture()));
            started.expect("echo");
            TimeoutAction::Drop
        })?;
    reactor.start(Command::new("echo").arg("early").stdout(Output::capture()))?;

    let mut turns_without = 0;
    while turns_without < 3 {
        event_loop.dispatch(Some(Duration::from_millis(50)), &mut reactor)?;
        turns_without = if reactor.is_empty() {
            turns_without + 1
        } else {
            0
        };
    }
    Ok(())
}
