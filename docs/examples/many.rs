//! Many commands from one thread, 16 at a time: the size of each file in a directory, by `wc -c`.
//!
//! `cargo run --example many [DIRECTORY]`

use execloop::{Command, Output, Reactor};
use std::collections::HashMap;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| "/etc".into());
    let mut reactor = Reactor::builder().max_running(16).build()?;

    // Starting returns at once. Beyond the limit, commands wait in a queue, first in, first out.
    let mut names = HashMap::new();
    for entry in std::fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.is_file() {
            let mut command = Command::new("wc");
            command.arg("-c").arg("--").arg(&path);
            command.stdout(Output::capture()).stderr_to_stdout(true);
            names.insert(reactor.start(&mut command)?, path);
        }
    }
    println!("{} running, {} queued", reactor.running(), reactor.queued());

    // They are handed out in the order in which they finish, each exactly once.
    let (mut total, mut failed) = (0_u64, 0);
    while let Some(done) = reactor.wait_any()? {
        let text = String::from_utf8_lossy(&done.stdout);
        match &done.outcome {
            Ok(()) => {
                let size = text.split_whitespace().next().unwrap_or_default();
                total += size.parse::<u64>()?;
            }
            Err(error) => {
                failed += 1;
                eprintln!(
                    "{}: {error}: {}",
                    names[&done.id].display(),
                    text.trim_end()
                );
            }
        }
    }
    println!(
        "{total} bytes in {} files, {failed} not readable",
        names.len() - failed
    );
    Ok(())
}
