//! What a start costs while something grows: `scaling MODE METHOD X ..` prints `MODE,METHOD,X,START_US,TOTAL_US,CPU_US`
//! for each X: the medians of the time until the call returned and until the command was reaped, and the CPU time of
//! this process for each command, all in microseconds. `benches/measure.sh` runs all of it.
//!
//! MODE: `alive`: X other children sleep, with a pipe each. `memory`: X MiB are in use. `fds`: X other descriptors are
//! open. `late`: they were opened before the method made what it keeps, for execloop its reactor. METHOD: `execloop`, `std` (posix_spawn), `tokio`, `async-process`, or `all`. `SAMPLES` is the number of commands
//! that are run for each X, 200 by default.
#![allow(unsafe_code, reason = "getrusage has no safe wrapper")]
#![expect(clippy::disallowed_methods, reason = "it reads the clock")]

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Instant;

use children::Children;
use peers::{AsyncProcess, Execloop, Outcome, Peer, Std, Tokio, raise_fd_limit};

mod children;
mod peers;

/// Commands that are run first and do not count.
const WARM_UP: usize = 20;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, method, values @ ..] = &arguments[..] else {
        return Err(
            "scaling alive|memory|fds|late execloop|std|tokio|async-process|all X ..".into(),
        );
    };
    raise_fd_limit()?;
    let children = Children::new()?;
    let is_asked = |name: &str| method == "all" || method == name;
    let mut known = false;
    for value in values {
        let x: usize = value.parse()?;
        for (name, measure) in METHODS {
            if is_asked(name) {
                measure(mode, x, &children)?;
                known = true;
            }
        }
    }
    if known {
        Ok(())
    } else {
        Err("no such method, or nothing to measure".into())
    }
}

type Measure = fn(&str, usize, &Children) -> Outcome<()>;

const METHODS: [(&str, Measure); 4] = [
    (Execloop::NAME, measure::<Execloop>),
    (Std::NAME, measure::<Std>),
    (Tokio::NAME, measure::<Tokio>),
    (AsyncProcess::NAME, measure::<AsyncProcess>),
];

fn measure<P: Peer>(mode: &str, x: usize, children: &Children) -> Outcome<()> {
    let early = if mode == "late" {
        Some(opened(x)?)
    } else {
        None
    };
    let mut peer = P::new()?;
    let medians = match mode {
        "alive" => {
            peer.hold(&children.pause, x)?;
            let medians = sample(&mut peer, &children.nop)?;
            peer.release()?;
            medians
        }
        "memory" => {
            let memory = touched(x);
            let medians = sample(&mut peer, &children.nop)?;
            drop(std::hint::black_box(memory));
            medians
        }
        "fds" => {
            let open = opened(x)?;
            let medians = sample(&mut peer, &children.nop)?;
            drop(open);
            medians
        }
        "late" => sample(&mut peer, &children.nop)?,
        _ => return Err("modes are alive, memory, fds and late".into()),
    };
    drop(early);
    let Medians { start, total, cpu } = medians;
    println!("{mode},{},{x},{start:.1},{total:.1},{cpu:.1}", P::NAME);
    Ok(())
}

/// Microseconds.
struct Medians {
    start: f64,
    total: f64,
    cpu: f64,
}

fn sample<P: Peer>(peer: &mut P, program: &Path) -> Outcome<Medians> {
    let samples = match std::env::var("SAMPLES") {
        Ok(samples) => samples.parse()?,
        Err(_) => 200,
    };
    for _ in 0..WARM_UP {
        peer.start_and_wait(program, &mut || ())?;
    }
    let mut starts = Vec::with_capacity(samples);
    let mut totals = Vec::with_capacity(samples);
    let cpu = own_cpu_us()?;
    for _ in 0..samples {
        let begin = Instant::now();
        peer.start_and_wait(program, &mut || starts.push(us_since(begin)))?;
        totals.push(us_since(begin));
    }
    let cpu = (own_cpu_us()? - cpu) / samples as f64;
    Ok(Medians {
        start: median(starts)?,
        total: median(totals)?,
        cpu,
    })
}

fn us_since(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> Outcome<f64> {
    values.sort_by(f64::total_cmp);
    Ok(*values
        .get(values.len() / 2)
        .ok_or("SAMPLES must be at least 1")?)
}

/// So many open descriptors.
fn opened(count: usize) -> io::Result<Vec<File>> {
    let null = File::open("/dev/null")?;
    (0..count).map(|_| null.try_clone()).collect()
}

/// So many MiB, each page written to.
fn touched(mib: usize) -> Vec<u8> {
    let mut memory = vec![0; mib << 20];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    memory
}

/// The CPU time of this process, with all its threads.
fn own_cpu_us() -> Outcome<f64> {
    // SAFETY: rusage is plain numbers for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the structure has room for the answer.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    let us = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    Ok(us(usage.ru_utime) + us(usage.ru_stime))
}
