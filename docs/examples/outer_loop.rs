//! Inside another event loop: a poll(2) over the reactor's one descriptor and this program's own stdin.
//!
//! `cargo run --example outer_loop`, and type lines: each is run by `sh -c`. Ctrl-D ends it.

use execloop::{Command, Output, Reactor};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut reactor = Reactor::builder().max_running(4).build()?;
    let mut stdin = BufReader::new(std::io::stdin());
    let mut more_input = true;

    while more_input || !reactor.is_empty() {
        // The reactor is readable for everything that it has to do: output, exits, deadlines, and finished commands
        // that were not taken. So the outer loop computes no timeout of its own.
        let mut wanted = vec![reactor.as_fd().as_raw_fd()];
        if more_input {
            wanted.push(stdin.get_ref().as_raw_fd());
        }
        let readable = poll(&wanted)?;

        if readable.contains(&wanted[0]) {
            reactor.turn(Some(Duration::ZERO))?;
            while let Some(done) = reactor.try_wait_any() {
                print!("{}", String::from_utf8_lossy(&done.stdout));
                if let Err(error) = &done.outcome {
                    println!("{}: {error}", done.id);
                }
            }
        }
        if wanted.get(1).is_some_and(|fd| readable.contains(fd)) {
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

/// Waits until one of the descriptors is readable or hung up, and returns those that are.
#[allow(unsafe_code, reason = "std has no poll(2)")]
fn poll(wanted: &[RawFd]) -> std::io::Result<Vec<RawFd>> {
    let mut entries: Vec<libc::pollfd> = wanted
        .iter()
        .map(|fd| libc::pollfd {
            fd: *fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // SAFETY: the pointer and the count describe `entries`.
    let count = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, -1) };
    if count < 0 {
        let error = std::io::Error::last_os_error();
        return if error.kind() == std::io::ErrorKind::Interrupted {
            Ok(Vec::new())
        } else {
            Err(error)
        };
    }
    Ok(entries
        .iter()
        .filter(|entry| entry.revents != 0)
        .map(|entry| entry.fd)
        .collect())
}
