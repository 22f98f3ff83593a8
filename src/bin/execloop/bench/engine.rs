//! The engines of a bench: each runs so many children, so many at once, and takes down when each was reported.
//! Unaware of tables.

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;

use execloop::{Command, Input, Output, Reactor, program};

use super::batch::{Batch, CAT_BYTES, Seen};
#[cfg(feature = "bench-peers")]
use super::peers;
use super::{Engine, Figures, Workload, child, name};
use crate::clock;

/// # Errors
/// When a child cannot be started, or does not do what it should.
pub(super) fn run(
    engine: Engine,
    workload: Workload,
    children: usize,
    at_once: usize,
) -> io::Result<Figures> {
    let (begin, cpu) = (clock::now(), program::own_cpu_time());
    let batch = || Batch::new(workload, children);
    let workers = at_once.min(children);
    let mut seen = match engine {
        Engine::Execloop => by_execloop(workload, children, at_once)?,
        Engine::Threads => by_threads(batch()?, workers)?.into_seen(),
        #[cfg(feature = "bench-peers")]
        Engine::Tokio => peers::by_tokio(batch()?, workers)?.into_seen(),
        #[cfg(feature = "bench-peers")]
        Engine::AsyncProcess => peers::by_async_process(batch()?, workers)?.into_seen(),
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

fn by_execloop(workload: Workload, children: usize, at_once: usize) -> io::Result<Seen> {
    let mut reactor = Reactor::builder().raise_fd_limit(true).build()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([child::CHILD, &name(workload)])
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
        finished.outcome.map_err(io::Error::other)?;
        seen.report(workload, children, &finished.stdout)?;
    }
    Ok(seen)
}

fn by_threads(batch: Batch, workers: usize) -> io::Result<Batch> {
    let work = || -> io::Result<()> {
        while batch.take() {
            let mut child = batch.command().spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(batch.input())?;
            }
            batch.report(&child.wait_with_output()?)?;
        }
        Ok(())
    };
    thread::scope(|scope| -> io::Result<()> {
        let mut threads = Vec::new();
        for _ in 0..workers {
            threads.push(thread::Builder::new().spawn_scoped(scope, work)?);
        }
        for thread in threads {
            let worked = thread.join();
            worked.unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")))?;
        }
        Ok(())
    })?;
    Ok(batch)
}
