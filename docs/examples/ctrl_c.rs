//! Ctrl-C: the first asks all commands to stop, the second kills them. signal-hook's thread is the only one that hears of
//! it, and wakes the reactor.
//!
//! `cargo run --example ctrl_c`, then press Ctrl-C. Without one it ends by itself.

use execloop::{Cancel, Command, Context, Reactor, Signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut reactor = Reactor::new()?;
    let build = Context::new();

    let presses = Arc::new(AtomicUsize::new(0));
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (context, handle, count) = (build.clone(), reactor.handle(), Arc::clone(&presses));
    std::thread::spawn(move || {
        for _ in signals.forever() {
            count.fetch_add(1, Ordering::Relaxed);
            context.cancel();
            handle.wake();
        }
    });

    for seconds in ["1", "2", "3"] {
        reactor.start(
            Command::new("sleep")
                .arg(seconds)
                // A group of its own: the terminal's Ctrl-C is ours alone, and we pass it on, to its children, too. None of
                // them outlives it.
                .process_group(0)
                .sweep_group(true)
                .context(&build)
                .on_cancel(Cancel::signal(Signal::TERM).to_group())
                .wait_delay(Duration::from_secs(5))
                .data(seconds),
        )?;
    }

    while !reactor.is_empty() {
        reactor.turn(None)?;
        while let Some(mut done) = reactor.try_wait_any() {
            let seconds: Option<&str> = done.take_data();
            println!("sleep {}: {:?}", seconds.unwrap_or("?"), done.outcome);
        }
        if presses.load(Ordering::Relaxed) > 1 {
            println!("killed: {} commands", reactor.shutdown()?.len());
            std::process::exit(130);
        }
    }
    if build.cause().is_some() {
        std::process::exit(130);
    }
    Ok(())
}
