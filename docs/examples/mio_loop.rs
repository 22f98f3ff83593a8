//! Inside a loop over mio, which tells of edges alone: the reactor beside another source.
//!
//! `cargo run --example mio_loop`

use execloop::{Command, Output, Reactor};
use mio::unix::{SourceFd, pipe};
use mio::{Events, Interest, Poll, Token};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

const REACTOR: Token = Token(0);
const REQUESTS: Token = Token(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut poll = Poll::new()?;
    let mut reactor = Reactor::new()?;
    poll.registry().register(
        &mut SourceFd(&reactor.as_raw_fd()),
        REACTOR,
        Interest::READABLE,
    )?;

    // The other source: a thread that asks for a command with each byte that it writes.
    let (mut sender, mut requests) = pipe::new()?;
    poll.registry()
        .register(&mut requests, REQUESTS, Interest::READABLE)?;
    let asks = std::thread::spawn(move || sender.write_all(b"abc"));

    let mut more_requests = true;
    let mut events = Events::with_capacity(64);
    while more_requests || !reactor.is_empty() {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                // One turn for each edge is enough: what it leaves to do becomes a new edge.
                REACTOR => {
                    reactor.turn(Some(Duration::ZERO))?;
                    while let Some(done) = reactor.try_wait_any() {
                        print!("{}: {}", done.id, String::from_utf8_lossy(&done.stdout));
                    }
                }
                _ => {
                    let mut bytes = [0; 64];
                    while let Ok(count) = requests.read(&mut bytes) {
                        more_requests = count > 0;
                        for byte in &bytes[..count] {
                            let text = char::from(*byte).to_string();
                            reactor
                                .start(Command::new("echo").arg(text).stdout(Output::capture()))?;
                        }
                        if count == 0 {
                            break;
                        }
                    }
                }
            }
        }
    }
    asks.join().expect("no panic")?;
    Ok(())
}
