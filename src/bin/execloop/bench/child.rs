//! The processes of a bench: one for each engine, and the children, which write the time when they are done.
//! Unaware of the figures that are printed.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use super::{Engine, Workload, engine};
use crate::clock;

/// The first argument of a process of this program that belongs to a bench.
pub(super) const CHILD: &str = "bench-child";
pub(super) const ENGINE: &str = "bench-engine";

pub(super) const ECHO: &[u8] = b"a line of text\n";
const SPIN: Duration = Duration::from_millis(5);
const SLEEP: Duration = Duration::from_millis(50);

/// Does the work of a process of a bench, if the arguments say that this is one. They know no other argument.
pub(crate) fn serve(arguments: &[OsString]) -> Option<ExitCode> {
    let words: Vec<&str> = arguments.iter().map_while(|word| word.to_str()).collect();
    let served = match words[..] {
        [CHILD, workload] => work(Workload::from_str(workload, false).ok()?),
        [ENGINE, engine, workload, children, at_once] => {
            let engine = Engine::from_str(engine, false).ok()?;
            let workload = Workload::from_str(workload, false).ok()?;
            let (children, at_once) = (children.parse().ok()?, at_once.parse().ok()?);
            engine::run(engine, workload, children, at_once)
                .and_then(|figures| writeln!(io::stdout(), "{}", figures.line()))
        }
        _ => return None,
    };
    Some(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{}\n", crate::plain(&error));
            crate::write_to_stderr(format!("execloop: {text}").as_bytes());
            ExitCode::from(crate::FAILURE)
        }
    })
}

/// Does the work, and writes when it was done: the last thing it does.
fn work(workload: Workload) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match workload {
        Workload::Exit => {}
        Workload::Echo => stdout.write_all(ECHO)?,
        Workload::Cat => {
            let mut all = Vec::new();
            io::stdin().lock().read_to_end(&mut all)?;
            stdout.write_all(&all)?;
        }
        Workload::Sleep => clock::sleep(SLEEP),
        Workload::Spin => {
            let end = clock::now() + SPIN;
            while clock::now() < end {}
        }
    }
    stdout.flush()?;
    stdout.write_all(&clock::monotonic_ns().to_le_bytes())?;
    stdout.flush()
}
