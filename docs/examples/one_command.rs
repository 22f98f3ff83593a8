//! One command, three ways: for its output, for its success, and for everything that is known of it.
//!
//! `cargo run --example one_command`

use execloop::{Command, Error, Output};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Its output. No shell is involved, and stdin is empty unless given.
    let listing = Command::new("ls").arg("/").output()?;
    println!(
        "/ has {} entries",
        listing.split(|byte| *byte == b'\n').count() - 1
    );

    // Its success. A failure names the program and tells the status, and keeps what it wrote.
    match Command::new("ls").arg("/no/such/directory").output() {
        Err(error) if matches!(error.reason(), Error::Exit(_)) => {
            let complaint = String::from_utf8_lossy(error.stderr());
            println!("{error}: {}", complaint.trim_end());
        }
        other => return Err(format!("expected a failure, got {other:?}").into()),
    }

    // A start that fails says at which step, and on which path.
    if let Err(error) = Command::new("ls").current_dir("/no/such/directory").run() {
        println!("{error}");
    }

    // Everything: status, output, times and what it used.
    let finished = Command::new("sh")
        .args(["-c", "echo out; echo err >&2"])
        .stdout(Output::capture())
        .stderr_to_stdout(true)
        .finish()?;
    println!(
        "pid {:?} took {:?}, {:?} of it on a CPU, and wrote {:?}",
        finished.pid,
        finished.elapsed(),
        finished.usage.map(|usage| usage.user + usage.system),
        String::from_utf8_lossy(&finished.stdout),
    );
    Ok(())
}
