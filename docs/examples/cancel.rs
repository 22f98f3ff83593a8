//! Ending commands: one that obeys, one that ignores the request, and one that leaves an orphan with its output.
//!
//! `cargo run --example cancel`

use execloop::{Cause, Command, Context, Error, Output, Reactor, Signal};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A context is cancelled from any thread, or by its deadline, and ends every command that carries it.
    let build = Context::new();
    let soon = build.with_timeout(Duration::from_millis(300));
    let mut reactor = Reactor::new()?;

    let obeys = reactor.start(
        sh("trap 'echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
            .context(&soon),
    )?;
    let ignores = reactor.start(sh("trap '' TERM; while :; do sleep 0.05; done").context(&soon))?;
    // This one exits at once. The sleep that it leaves behind holds its stdout, and nobody waits for that.
    let leaks = reactor.start(&mut sh("echo done; sleep 30 & exit 0"))?;

    while let Some(done) = reactor.wait_any()? {
        let name = match done.id {
            id if id == obeys => "obeys",
            id if id == ignores => "ignores",
            id if id == leaks => "leaks",
            id => return Err(format!("a stranger: {id}").into()),
        };
        let wrote = String::from_utf8_lossy(&done.stdout).replace('\n', "; ");
        match &done.outcome {
            Ok(()) => println!("{name}: ok, wrote: {wrote}"),
            // Exit status 0 after it was asked to stop.
            Err(Error::Stopped(Cause::DeadlineExceeded)) => {
                println!("{name}: stopped in time, wrote: {wrote}")
            }
            // Killed when the wait delay was over.
            Err(Error::Exit(exit)) => println!("{name}: {exit}"),
            // Exit status 0, but its pipe had to be cut. What was written before is here.
            Err(Error::WaitDelay { .. }) => {
                println!("{name}: left {:?} open, wrote: {wrote}", done.leaked)
            }
            Err(error) => println!("{name}: {error}"),
        }
    }
    Ok(())
}

/// Asked by SIGTERM; 500 ms later it is killed and its pipes are closed.
fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .stdout(Output::capture())
        .interrupt(Signal::TERM)
        .wait_delay(Duration::from_millis(500));
    command
}
