//! A reactor on a thread of its own, for a program that has no loop: any thread runs commands by a handle, and has the
//! result where it waits for it, or through a channel.
//!
//! `cargo run --example server_thread`

use execloop::{Command, Handle, Output, Reactor};
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// The whole server. It ends when the last handle is gone and nothing runs any more.
fn serve() -> io::Result<(Handle, JoinHandle<io::Result<()>>)> {
    let mut reactor = Reactor::builder().max_running(64).build()?;
    let handle = reactor.handle();
    let thread = std::thread::spawn(move || {
        while reactor.serve()?.is_some() {}
        Ok(())
    });
    Ok((handle, thread))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (handle, server) = serve()?;

    // Whoever wants one result waits for it.
    let done = handle
        .run(Command::new("uname").stdout(Output::capture()))
        .wait();
    println!("on {}", String::from_utf8_lossy(&done.stdout).trim_end());

    // Whoever wants many has them sent, each with what it is about.
    let (sender, results) = mpsc::channel();
    for path in ["/etc/passwd", "/etc/group", "/no/such/file"] {
        let sender = sender.clone();
        let mut command = Command::new("wc");
        command.arg("-l").arg(path).stdout(Output::capture());
        handle.run_then(command, move |done| {
            let _ = sender.send((path, done));
        });
    }
    drop(sender);
    for (path, done) in results {
        match &done.outcome {
            Ok(()) => print!("{}", String::from_utf8_lossy(&done.stdout)),
            Err(error) => println!("{path}: {error}"),
        }
    }

    drop(handle);
    server.join().expect("no panic")?;
    Ok(())
}
