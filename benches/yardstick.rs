//! The yardstick: six workloads, `yardstick WORKLOAD N C`, one line of JSON. Uses the public API alone.
//!
//! The children's folder is in `CHILDREN`, and `docs/performance.md` says what it has to hold; `W1_CHILD` is another program
//! for W1. In W1 and W2 one `Command` is started again and again, as the library offers it; `FRESH=1` makes a new one for
//! each run.
#![allow(
    unsafe_code,
    clippy::disallowed_methods,
    reason = "getrusage has no safe wrapper, and a yardstick reads the clock"
)]

use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use execloop::{Command, Finished, Input, Output, Reactor, Signal};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PATTERN_BYTES: usize = 1 << 20;
const CAT_BYTES: usize = 64 << 20;
const BLAST_BYTES: usize = 256 << 20;
const GIB: f64 = (1_u64 << 30) as f64;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, workload, n, c] = &arguments[..] else {
        return Err("yardstick WORKLOAD N C".into());
    };
    let (n, c) = (n.parse()?, c.parse()?);
    let line = match workload.as_str() {
        "W1" => short(n, c, false)?,
        "W2" => short(n, c, true)?,
        "W3" => idle(n)?,
        "W4" => blast(n)?,
        "W5" => cats(n)?,
        "W6" => beside_a_writer(n, c)?,
        _ => return Err("workloads are W1 to W6".into()),
    };
    println!("{{\"peer\":\"execloop\",\"w\":\"{workload}\",\"n\":{n},\"c\":{c},{line}}}");
    Ok(())
}

fn child(name: &str) -> String {
    match std::env::var("W1_CHILD") {
        Ok(path) if name == "nop" => path,
        _ => format!(
            "{}/{name}",
            std::env::var("CHILDREN").unwrap_or_else(|_| ".".to_owned())
        ),
    }
}

fn is_fresh() -> bool {
    std::env::var("FRESH").is_ok_and(|value| value == "1")
}

fn succeed(done: &Finished) -> Outcome<()> {
    match &done.outcome {
        Ok(()) => Ok(()),
        Err(error) => Err(format!("{}: {error}", done.id).into()),
    }
}

/// W1 and W2: runs of `nop`, or of `say` with both streams captured and checked.
fn short(n: usize, c: usize, captures: bool) -> Outcome<String> {
    let path = child(if captures { "say" } else { "nop" });
    let make = || {
        let mut command = Command::new(&path);
        if captures {
            command.stdout(Output::capture()).stderr(Output::capture());
        }
        command
    };
    let meter = Meter::begin()?;
    let mut reactor = Reactor::builder().raise_fd_limit(true).build()?;
    let mut kept = make();
    let fresh = is_fresh();
    let (mut started, mut done) = (0, 0);
    while done < n {
        while started < n && started - done < c {
            if fresh {
                reactor.start(&mut make())?;
            } else {
                reactor.start(&mut kept)?;
            }
            started += 1;
        }
        let finished = reactor.wait_any()?.ok_or("lost")?;
        succeed(&finished)?;
        if captures {
            check_say(&finished)?;
        }
        done += 1;
    }
    Ok(format!(
        "{},\"threads\":{}",
        meter.end()?,
        status_field("Threads")?
    ))
}

fn check_say(finished: &Finished) -> Outcome<()> {
    let (out, err) = (&finished.stdout, &finished.stderr);
    let right = out.len() == 100 && err.len() == 20 && out[99] == b'\n' && err[0] == b'0';
    if right {
        Ok(())
    } else {
        Err("wrong output".into())
    }
}

/// Behind others that are on their way to their exec, a command waits for its start.
fn drive_until_started(reactor: &mut Reactor) -> Outcome<()> {
    while reactor.queued() > 0 {
        reactor.turn(None)?;
    }
    Ok(())
}

/// W3: children that sleep, all at once; then two idle seconds; then all killed and reaped.
fn idle(n: usize) -> Outcome<String> {
    let path = child("pause");
    // Memory is counted from before the library is set up.
    let before = status_field("VmRSS")?;
    let meter = Meter::begin()?;
    let mut reactor = Reactor::builder().raise_fd_limit(true).build()?;
    let mut ids = Vec::with_capacity(n);
    let pipes = std::env::var("PIPES").is_ok_and(|pipes| pipes == "2");
    let quarter_of_first = n.min(250);
    let mut first = 0.0;
    for number in 0..n {
        if number == quarter_of_first {
            drive_until_started(&mut reactor)?;
            first = meter.elapsed();
        }
        let mut command = Command::new(&path);
        command.stdout(Output::capture());
        if pipes {
            command.stderr(Output::capture());
        }
        ids.push(reactor.start(&mut command)?);
    }
    drive_until_started(&mut reactor)?;
    let start = meter.elapsed();
    let memory = status_field("VmRSS")? - before;
    let cpu = self_cpu()?;
    let rested = Instant::now() + Duration::from_secs(2);
    while Instant::now() < rested {
        reactor.turn(Some(rested.saturating_duration_since(Instant::now())))?;
    }
    let cpu = self_cpu()? - cpu;
    let end = Instant::now();
    for id in ids {
        reactor.signal(id, Signal::KILL)?;
    }
    let mut reaped = 0;
    while let Some(finished) = reactor.wait_any()? {
        reaped += usize::from(finished.status.is_some() && finished.stdout.is_empty());
    }
    let end = end.elapsed().as_secs_f64();
    if reaped != n {
        return Err(format!("{reaped} of {n} reaped").into());
    }
    Ok(format!(
        "{},\"start_s\":{start:.4},\"first_s\":{first:.4},\"kib_child\":{:.3},\"idle_ms\":{:.3},\"end_s\":{end:.4},\"threads\":{}",
        meter.end()?,
        memory as f64 / n as f64,
        cpu * 1e3,
        status_field("Threads")?
    ))
}

/// Counts what it is given.
struct Counter(Arc<AtomicUsize>);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// W4: children that each write 256 MiB.
fn blast(n: usize) -> Outcome<String> {
    let path = child("blast");
    let meter = Meter::begin()?;
    let mut reactor = Reactor::new()?;
    let counts: Vec<_> = (0..n).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    for count in &counts {
        let counter = Output::writer(Counter(Arc::clone(count)));
        reactor.start(
            Command::new(&path)
                .arg(BLAST_BYTES.to_string())
                .stdout(counter),
        )?;
    }
    while let Some(finished) = reactor.wait_any()? {
        succeed(&finished)?;
    }
    if counts
        .iter()
        .any(|count| count.load(Ordering::Relaxed) != BLAST_BYTES)
    {
        return Err("wrong count".into());
    }
    let rate = (n * BLAST_BYTES) as f64 / GIB / meter.elapsed();
    Ok(format!("{},\"gib_s\":{rate:.4}", meter.end()?))
}

fn pattern() -> Arc<[u8]> {
    (0..PATTERN_BYTES)
        .map(|at| (at.wrapping_mul(7) + (at >> 8)) as u8)
        .collect()
}

/// Gives the pattern, over and over.
struct Repeat {
    pattern: Arc<[u8]>,
    at: usize,
}

impl Read for Repeat {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Repeat {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let from = self.at % PATTERN_BYTES;
        let count = (PATTERN_BYTES - from).min(CAT_BYTES - self.at);
        Ok(&self.pattern[from..from + count])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

/// Fails unless it is given the pattern, over and over.
struct Compare {
    pattern: Arc<[u8]>,
    at: Arc<AtomicUsize>,
}

impl Write for Compare {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = self.at.load(Ordering::Relaxed);
        let from = at % PATTERN_BYTES;
        let count = bytes.len().min(PATTERN_BYTES - from);
        if self.pattern[from..from + count] != bytes[..count] {
            return Err(io::Error::other("cat changed the bytes"));
        }
        self.at.store(at + count, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// W5: `cat`s, 64 MiB each way.
fn cats(n: usize) -> Outcome<String> {
    let pattern = pattern();
    let meter = Meter::begin()?;
    let mut reactor = Reactor::new()?;
    let ends: Vec<_> = (0..n).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    for at in &ends {
        let input = Input::buffered(Repeat {
            pattern: Arc::clone(&pattern),
            at: 0,
        });
        let output = Output::writer(Compare {
            pattern: Arc::clone(&pattern),
            at: Arc::clone(at),
        });
        reactor.start(Command::new("/bin/cat").stdin(input).stdout(output))?;
    }
    while let Some(finished) = reactor.wait_any()? {
        succeed(&finished)?;
    }
    if ends
        .iter()
        .any(|end| end.load(Ordering::Relaxed) != CAT_BYTES)
    {
        return Err("wrong count".into());
    }
    let rate = (n * CAT_BYTES) as f64 / GIB / meter.elapsed();
    Ok(format!("{},\"gib_s\":{rate:.4}", meter.end()?))
}

/// W6: short runs, each timed, beside one endless writer.
fn beside_a_writer(n: usize, c: usize) -> Outcome<String> {
    let (say, blast) = (child("say"), child("blast"));
    let meter = Meter::begin()?;
    let mut reactor = Reactor::new()?;
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Output::writer(Counter(Arc::clone(&count)));
    let writer = reactor.start(Command::new(&blast).arg("0").stdout(counter))?;
    let mut starts = std::collections::HashMap::new();
    let mut times = Vec::with_capacity(n);
    let mut started = 0;
    while times.len() < n {
        while started < n && starts.len() < c {
            let at = Instant::now();
            let mut command = Command::new(&say);
            let id = reactor.start(command.stdout(Output::capture()).stderr(Output::capture()))?;
            starts.insert(id, at);
            started += 1;
        }
        let finished = reactor.wait_any()?.ok_or("lost")?;
        succeed(&finished)?;
        check_say(&finished)?;
        let at = starts.remove(&finished.id).ok_or("unknown id")?;
        times.push(at.elapsed().as_secs_f64());
    }
    let rate = count.load(Ordering::Relaxed) as f64 / GIB / meter.elapsed();
    reactor.kill(writer);
    reactor.wait(writer)?;
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((part * times.len() as f64) as usize).min(times.len() - 1)] * 1e6;
    let (p50, p99) = (at(0.5), at(0.99));
    Ok(format!(
        "{},\"p50_us\":{p50:.1},\"p99_us\":{p99:.1},\"gib_s\":{rate:.3},\"threads\":1",
        meter.end()?
    ))
}

/// The times and the usage since the workload began.
struct Meter {
    start: Instant,
    own: libc::rusage,
    children: libc::rusage,
}

impl Meter {
    fn begin() -> Outcome<Meter> {
        let (own, children) = (usage(libc::RUSAGE_SELF)?, usage(libc::RUSAGE_CHILDREN)?);
        Ok(Meter {
            start: Instant::now(),
            own,
            children,
        })
    }

    fn elapsed(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn end(&self) -> Outcome<String> {
        let wall = self.elapsed();
        let (own, children) = (usage(libc::RUSAGE_SELF)?, usage(libc::RUSAGE_CHILDREN)?);
        let switches = |usage: &libc::rusage| usage.ru_nvcsw + usage.ru_nivcsw;
        Ok(format!(
            "\"wall\":{wall:.6},\"utime\":{:.6},\"stime\":{:.6},\"kids\":{:.6},\"rss_kb\":{},\"ctxsw\":{}",
            seconds(own.ru_utime) - seconds(self.own.ru_utime),
            seconds(own.ru_stime) - seconds(self.own.ru_stime),
            cpu_of(&children) - cpu_of(&self.children),
            status_field("VmHWM")?,
            switches(&own) - switches(&self.own),
        ))
    }
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

fn cpu_of(usage: &libc::rusage) -> f64 {
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn self_cpu() -> Outcome<f64> {
    Ok(cpu_of(&usage(libc::RUSAGE_SELF)?))
}

fn usage(who: libc::c_int) -> Outcome<libc::rusage> {
    // SAFETY: rusage is plain numbers for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` has room for the answer.
    let result = unsafe { libc::getrusage(who, &raw mut usage) };
    if result == 0 {
        Ok(usage)
    } else {
        Err(io::Error::last_os_error().into())
    }
}

/// A number of `/proc/self/status`.
fn status_field(field: &str) -> Outcome<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(value
        .and_then(|value| value.split_whitespace().next())
        .ok_or("no such field")?
        .parse()?)
}
