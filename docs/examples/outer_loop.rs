//! Inside another event loop: a poll(2) over the reactor's one descriptor and this program's own stdin.
//!
//! `cargo run --example outer_loop`, and type lines: each is run by `sh -c`. Ctrl-D ends it.

use execloop::{Command, Output, Reactor};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{BufRead, BufReader};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut reactor = Reactor::builder().max_running(4).build()?;
    let mut stdin = BufReader::new(std::io::stdin());
    let mut more_input = true;

    while more_input || !reactor.is_empty() {
        // The reactor is readable for everything that it has to do: output, exits, deadlines, and finished commands
        // that were not taken. So the outer loop computes no timeout of its own.
        let mut wanted = vec![PollFd::new(&reactor, PollFlags::IN)];
        if more_input {
            wanted.push(PollFd::new(stdin.get_ref(), PollFlags::IN));
        }
        match poll(&mut wanted, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut readable = wanted.iter().map(|fd| !fd.revents().is_empty());
        let (reactor_is_ready, stdin_is_ready) = (readable.next(), readable.next());

        if reactor_is_ready == Some(true) {
            reactor.turn(Some(Duration::ZERO))?;
            while let Some(done) = reactor.try_wait_any() {
                print!("{}", String::from_utf8_lossy(&done.stdout));
                if let Err(error) = &done.outcome {
                    println!("{}: {error}", done.id);
                }
            }
        }
        if stdin_is_ready == Some(true) {
            // All lines that one read brings: those in the buffer don't make the descriptor readable again.
            let mut line = String::new();
            loop {
                line.clear();
                more_input = stdin.read_line(&mut line)? > 0;
                if !line.trim().is_empty() {
                    let mut command = Command::new("sh");
                    command
                        .args(["-c", &line])
                        .stdout(Output::capture())
                        .stderr_to_stdout(true);
                    println!("{} is: {}", reactor.start(&mut command)?, line.trim_end());
                }
                if stdin.buffer().is_empty() {
                    break;
                }
            }
        }
    }
    Ok(())
}
