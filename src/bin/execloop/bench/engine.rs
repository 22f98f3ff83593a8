//! The engines of a bench: each runs so many children, so many at once, and takes down when each was reported.
//! Unaware of tables.

use std::fs;
use std::io::{self, Write};
use std::process::{Command as StdCommand, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use clap::ValueEnum;
use execloop::{Command, Input, Output, Reactor, program};

use super::{Engine, Figures, Workload, child};
use crate::clock;

/// What `cat` is given.
const CAT_BYTES: usize = 64 * 1024;

/// What was seen while it ran.
#[derive(Debug, Default)]
struct Seen {
    latencies_ns: Vec<u64>,
    fds: u64,
}

impl Seen {
    /// One child is reported. Its output ends in the time when it was done.
    fn report(&mut self, workload: Workload, output: &[u8]) -> io::Result<()> {
        let now = clock::monotonic_ns();
        let stamp = match output.split_last_chunk() {
            Some((work, stamp)) if work.len() == output_bytes(workload) => stamp,
            _ => return Err(io::Error::other("a child did not do its work")),
        };
        let stamp = u64::from_le_bytes(*stamp);
        self.latencies_ns.push(now.saturating_sub(stamp));
        Ok(())
    }

    /// Counts the descriptors, in the middle of the run.
    fn look(&mut self, children: usize) {
        if self.latencies_ns.len() == children / 2 {
            // Without the one that is reading them.
            let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
            self.fds = open.saturating_sub(1) as u64;
        }
    }
}

/// # Errors
/// When a child cannot be started, or does not do what it should.
pub(super) fn run(
    engine: Engine,
    workload: Workload,
    children: usize,
    at_once: usize,
) -> io::Result<Figures> {
    let (begin, cpu) = (clock::now(), program::own_cpu_time());
    let mut seen = match engine {
        Engine::Execloop => by_execloop(workload, children, at_once)?,
        Engine::Threads => by_threads(workload, children, at_once)?,
    };
    let (wall, cpu) = (clock::now() - begin, program::own_cpu_time() - cpu);
    seen.latencies_ns.sort_unstable();
    let at = |share: f64| {
        let place = (share * seen.latencies_ns.len() as f64) as usize;
        let latency = seen.latencies_ns.get(place.min(children - 1));
        latency.copied().unwrap_or(0) as f64 / 1e3
    };
    Ok(Figures {
        engine: String::new(),
        per_second: children as f64 / wall.as_secs_f64(),
        p50_us: at(0.5),
        p99_us: at(0.99),
        cpu_us_per_command: cpu.as_secs_f64() * 1e6 / children as f64,
        rss_bytes: resident_bytes_max(),
        fds: seen.fds,
    })
}

fn resident_bytes_max() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kibibytes.unwrap_or(0_u64) * 1024
}

/// What a child writes before the time.
fn output_bytes(workload: Workload) -> usize {
    match workload {
        Workload::Exit | Workload::Sleep | Workload::Spin => 0,
        Workload::Echo => child::ECHO.len(),
        Workload::Cat => CAT_BYTES,
    }
}

fn word(workload: Workload) -> String {
    let value = workload.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn by_execloop(workload: Workload, children: usize, at_once: usize) -> io::Result<Seen> {
    let mut reactor = Reactor::builder().raise_fd_limit(true).build()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([child::CHILD, &word(workload)])
        .stdout(Output::capture());
    let bytes: Arc<[u8]> = vec![b'x'; CAT_BYTES].into();
    let mut seen = Seen::default();
    let mut started = 0;
    while seen.latencies_ns.len() < children {
        while started < children && started - seen.latencies_ns.len() < at_once {
            if workload == Workload::Cat {
                command.stdin(Input::bytes(Arc::clone(&bytes)));
            }
            reactor.start(&mut command).map_err(io::Error::other)?;
            started += 1;
        }
        let Some(finished) = reactor.wait_any()? else {
            return Err(io::Error::other("a child was lost"));
        };
        seen.look(children);
        finished.outcome.map_err(io::Error::other)?;
        seen.report(workload, &finished.stdout)?;
    }
    Ok(seen)
}

fn by_threads(workload: Workload, children: usize, at_once: usize) -> io::Result<Seen> {
    let program = std::env::current_exe()?;
    let bytes = vec![b'x'; CAT_BYTES];
    let (seen, next) = (Mutex::new(Seen::default()), AtomicUsize::new(0));
    let one = || -> io::Result<()> {
        let mut command = StdCommand::new(&program);
        command.args([child::CHILD, &word(workload)]);
        command.stdout(Stdio::piped()).stdin(Stdio::null());
        if workload == Workload::Cat {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // It fits into the pipe.
            stdin.write_all(&bytes)?;
        }
        let output = child.wait_with_output()?;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.look(children);
        if !output.status.success() {
            return Err(io::Error::other(output.status.to_string()));
        }
        seen.report(workload, &output.stdout)
    };
    let work = || -> io::Result<()> {
        while next.fetch_add(1, Ordering::Relaxed) < children {
            one()?;
        }
        Ok(())
    };
    thread::scope(|scope| -> io::Result<()> {
        let mut threads = Vec::new();
        for _ in 0..at_once.min(children) {
            threads.push(thread::Builder::new().spawn_scoped(scope, work)?);
        }
        for thread in threads {
            let worked = thread.join();
            worked.unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")))?;
        }
        Ok(())
    })?;
    Ok(seen.into_inner().unwrap_or_else(PoisonError::into_inner))
}
