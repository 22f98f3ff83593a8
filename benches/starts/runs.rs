//! One run of one peer, in a process of its own: what it took, in microseconds. Unaware of tables.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command as StdCommand, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use execloop::{Command, Output, Reactor};

use crate::Figures;
use crate::peers::{AsyncProcess, Execloop, Outcome, Peer, Std, Tokio};

pub(crate) struct Run<'a> {
    pub(crate) count: usize,
    pub(crate) at_once: usize,
    pub(crate) program: &'a Path,
    pub(crate) writer: Option<&'a Path>,
}

impl Run<'_> {
    pub(crate) fn by(&self, peer: &str, workload: &str) -> Outcome<Figures> {
        match (workload, peer) {
            ("W1" | "W2", "execloop") => self.short::<Execloop>(workload),
            ("W1" | "W2", "std") => self.short::<Std>(workload),
            ("W1" | "W2", "tokio") => self.short::<Tokio>(workload),
            ("W1" | "W2", "async-process") => self.short::<AsyncProcess>(workload),
            ("W3", "execloop") => self.sleepers(),
            ("W3", "std") => self.sleepers_of_std(),
            ("W6", "execloop") => self.beside_a_writer(),
            ("W6", "std") => self.beside_a_writer_of_std(),
            ("turns", "execloop") => self.turns(),
            ("turns", "std") => self.spawns_of_std(),
            _ => Err(format!("no {workload} of {peer}").into()),
        }
    }

    fn short<P: Peer>(&self, workload: &str) -> Outcome<Figures> {
        let meter = Meter::begin()?;
        let mut peer = P::new()?;
        match workload {
            "W1" => peer.run(self.program, self.count, self.at_once)?,
            _ => peer.capture(self.program, self.count, self.at_once)?,
        }
        meter.end(self.count)
    }

    fn sleepers(&self) -> Outcome<Figures> {
        let mut reactor = Reactor::builder().raise_fd_limit(true).build()?;
        let meter = Meter::begin()?;
        let mut ids = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let mut command = Command::new(self.program);
            ids.push(reactor.start(command.stdout(Output::capture()))?);
        }
        while reactor.queued() > 0 {
            reactor.turn(Some(Duration::from_millis(1)))?;
        }
        let figures = meter.end(self.count)?;
        for id in ids {
            reactor.kill(id);
        }
        while reactor.wait_any()?.is_some() {}
        Ok(figures)
    }

    fn sleepers_of_std(&self) -> Outcome<Figures> {
        crate::peers::raise_fd_limit()?;
        let meter = Meter::begin()?;
        let mut children = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            children.push(null(self.program).stdout(Stdio::piped()).spawn()?);
        }
        let figures = meter.end(self.count)?;
        for child in &mut children {
            child.kill()?;
            child.wait()?;
        }
        Ok(figures)
    }

    fn beside_a_writer(&self) -> Outcome<Figures> {
        let mut reactor = Reactor::new()?;
        let writer = self.writer.ok_or("no writer")?;
        reactor.start(Command::new(writer).stdout(Output::writer(std::io::sink())))?;
        let mut since = HashMap::new();
        let mut times = Vec::with_capacity(self.count);
        let mut started = 0;
        while times.len() < self.count {
            while started < self.count && since.len() < self.at_once {
                let at = Instant::now();
                let mut command = Command::new(self.program);
                command.stdout(Output::capture()).stderr(Output::capture());
                since.insert(reactor.start(&mut command)?, at);
                started += 1;
            }
            let done = reactor.wait_any()?.ok_or("a command was lost")?;
            done.outcome?;
            let at = since.remove(&done.id).ok_or("the writer has ended")?;
            times.push(micros(at.elapsed()));
        }
        Ok(vec![
            percentile(&mut times, 0.5),
            percentile(&mut times, 0.99),
        ])
    }

    fn beside_a_writer_of_std(&self) -> Outcome<Figures> {
        let mut writer = null(self.writer.ok_or("no writer")?);
        let mut writer = writer.stdout(Stdio::piped()).spawn()?;
        let mut stream = writer.stdout.take().ok_or("no pipe")?;
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
        });
        let next = AtomicUsize::new(0);
        let times = Mutex::new(Vec::with_capacity(self.count));
        let work = || -> Outcome<()> {
            while next.fetch_add(1, Ordering::Relaxed) < self.count {
                let at = Instant::now();
                let output = StdCommand::new(self.program)
                    .stdin(Stdio::null())
                    .output()?;
                let time = micros(at.elapsed());
                if !output.status.success() || output.stdout.is_empty() {
                    return Err("it failed".into());
                }
                times.lock().map_err(|_| "a thread panicked")?.push(time);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.at_once).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
        })?;
        writer.kill()?;
        writer.wait()?;
        reader.join().map_err(|_| "the reader panicked")?;
        let mut times = times.into_inner().map_err(|_| "a thread panicked")?;
        Ok(vec![
            percentile(&mut times, 0.5),
            percentile(&mut times, 0.99),
        ])
    }

    /// How long each call of the loop lasts, with the sleeps between them left out: those of `start` and of `turn`.
    fn turns(&self) -> Outcome<Figures> {
        let mut reactor = Reactor::builder().raise_fd_limit(true).build()?;
        let _ = std::os::fd::AsFd::as_fd(&reactor);
        let mut times = Vec::new();
        let (mut started, mut done) = (0, 0);
        while done < self.count {
            while started < self.count && started - done < self.at_once {
                let mut command = Command::new(self.program);
                let at = Instant::now();
                reactor.start(&mut command)?;
                times.push(micros(at.elapsed()));
                started += 1;
            }
            let at = Instant::now();
            reactor.turn(Some(Duration::ZERO))?;
            times.push(micros(at.elapsed()));
            let before = done;
            while let Some(finished) = reactor.try_wait_any() {
                finished.outcome?;
                done += 1;
            }
            if done == before {
                sleep_on(&reactor)?;
            }
        }
        Ok(spread(&mut times))
    }

    fn spawns_of_std(&self) -> Outcome<Figures> {
        let mut times = Vec::new();
        let mut children = std::collections::VecDeque::new();
        for _ in 0..self.count {
            if children.len() == self.at_once {
                let mut child: std::process::Child = children.pop_front().ok_or("none")?;
                child.wait()?;
            }
            let mut command = null(self.program);
            let at = Instant::now();
            children.push_back(command.spawn()?);
            times.push(micros(at.elapsed()));
        }
        for child in &mut children {
            child.wait()?;
        }
        Ok(spread(&mut times))
    }
}

fn null(program: &Path) -> StdCommand {
    let mut command = StdCommand::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn sleep_on(reactor: &Reactor) -> Outcome<()> {
    let fd = std::os::fd::AsFd::as_fd(reactor);
    let mut poll = libc::pollfd {
        fd: std::os::fd::AsRawFd::as_raw_fd(&fd),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one structure, which lives across the call.
    unsafe { libc::poll(&raw mut poll, 1, -1) };
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn percentile(times: &mut [f64], part: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = (part * times.len() as f64) as usize;
    times[at.min(times.len() - 1)]
}

fn spread(times: &mut [f64]) -> Figures {
    [0.5, 0.99, 1.0]
        .map(|part| percentile(times, part))
        .to_vec()
}

struct Meter {
    start: Instant,
    used: f64,
}

impl Meter {
    fn begin() -> Outcome<Meter> {
        let used = cpu_us(libc::RUSAGE_SELF)?;
        let start = Instant::now();
        Ok(Meter { start, used })
    }

    fn end(&self, count: usize) -> Outcome<Figures> {
        let wall = micros(self.start.elapsed());
        let used = cpu_us(libc::RUSAGE_SELF)? - self.used;
        Ok(vec![wall / count as f64, used / count as f64])
    }
}

/// The processor time so far, of this process or of its children that were reaped.
pub(crate) fn cpu_us(who: libc::c_int) -> Outcome<f64> {
    // SAFETY: rusage is plain numbers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` has room for the answer.
    if unsafe { libc::getrusage(who, &raw mut usage) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let micros = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    Ok(micros(usage.ru_utime) + micros(usage.ru_stime))
}
