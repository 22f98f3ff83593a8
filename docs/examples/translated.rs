//! The examples of `docs/from-go.md` and `docs/from-std.md`, so that they are compiled and run.
//!
//! `cargo run --example translated`

use execloop::{Command, Context, Output, Reactor, Signal};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    from_go()?;
    from_std()?;
    from_tokio()
}

fn from_go() -> Result<(), Box<dyn std::error::Error>> {
    let context = Context::new().with_timeout(Duration::from_secs(60));
    let done = Command::new("ls")
        .arg("-l")
        .current_dir("/usr")
        .stdout(Output::capture())
        .stderr_to_stdout(true)
        .context(&context)
        .interrupt(Signal::INT)
        .wait_delay(Duration::from_secs(5))
        .finish()?;
    if let Err(error) = &done.outcome {
        println!("{error}\n{}", String::from_utf8_lossy(&done.stdout));
    }
    Ok(())
}

fn from_std() -> Result<(), Box<dyn std::error::Error>> {
    let mut reactor = Reactor::builder().max_running(8).build()?;
    for name in ["/bin", "/usr", "/etc"] {
        reactor.start(Command::new("ls").arg(name).stdout(Output::capture()))?;
    }
    while let Some(done) = reactor.wait_any()? {
        println!("{:?}: {} bytes", done.status, done.stdout.len());
    }
    Ok(())
}

fn from_tokio() -> Result<(), Box<dyn std::error::Error>> {
    let done = Command::new("sleep")
        .arg("60")
        .timeout(Duration::from_millis(200))
        .finish()?;
    if let Err(error) = &done.outcome {
        println!("{error}");
    }
    Ok(())
}
