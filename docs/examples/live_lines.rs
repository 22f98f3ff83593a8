//! Live output: each line of two commands as it arrives, with a prefix; and a conversation with a third.
//!
//! `cargo run --example live_lines`

use execloop::{Command, Input, Output, Reactor};
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut reactor = Reactor::new()?;

    // The callback runs on this thread while it waits in the reactor: share what you like, but don't block.
    for name in ["one", "two"] {
        let script = "for step in a b c; do echo $step; sleep 0.1; done";
        reactor.start(
            Command::new("sh")
                .args(["-c", script])
                .stdout(Output::lines(move |line| {
                    println!("[{name}] {}", String::from_utf8_lossy(line));
                }))
                .stderr_to_stdout(true),
        )?;
    }

    // While this conversation waits, the two go on.
    let calculator = reactor.start(
        Command::new("sh")
            .args(["-c", "while read -r a b; do echo $((a + b)); done"])
            .stdin(Input::pipe())
            .stdout(Output::pipe()),
    )?;
    for (a, b) in [(1, 2), (20, 22)] {
        let mut stdin = reactor.stdin(calculator).ok_or("no stdin")?;
        writeln!(stdin, "{a} {b}")?;
        let mut answer = Vec::new();
        let mut stdout = reactor.stdout(calculator).ok_or("no stdout")?;
        while answer.last() != Some(&b'\n') {
            let mut chunk = [0; 64];
            match stdout.read(&mut chunk)? {
                0 => return Err("the calculator left".into()),
                count => answer.extend_from_slice(&chunk[..count]),
            }
        }
        print!("{a} + {b} = {}", String::from_utf8_lossy(&answer));
    }
    // Its end of input: without this it would wait for ever, and so would `wait_any`.
    reactor.stdin(calculator).ok_or("no stdin")?.close();

    while let Some(done) = reactor.wait_any()? {
        done.outcome?;
    }
    Ok(())
}
