//! The soak: `soak [MINUTES] [SEED]`, a random mix of everything with random ends, for hours if asked, ten minutes by default.
//!
//! It runs in rounds. Each has a reactor of its own, which at the round's end is emptied, shut down, or dropped with
//! children running. Between the rounds there is nothing, so nothing may be left: no child, no descriptor more than
//! before the first round; and memory is compared. Every output is checked byte by byte, every outcome against what was
//! done to the command. Each second a sample is taken under load, too. The last line is the verdict; the exit status
//! is 1 unless it is `flat`.
#![allow(
    clippy::disallowed_methods,
    reason = "a soak lasts a time, and its other thread ends commands after a moment"
)]

use std::collections::{BTreeMap, HashMap};
use std::error::Error as AnyError;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use execloop::{
    Cancel, Cause, Command, CommandId, Context, Error, Finished, Handle, Input, Output, Reactor,
    Signal, StartError, Stream,
};

type Result<T> = std::result::Result<T, Box<dyn AnyError>>;

const MINUTES_DEFAULT: f64 = 10.0;
const ROUND_SECONDS: u64 = 5;
/// As many commands are kept started or queued; fewer run.
const COMMANDS_AT_ONCE_MAX: usize = 96;
const RUNNING_MAX: usize = 64;
/// Memory grows if, between the rounds, the least of the last third is more than this above the most of the middle third.
const RSS_KIB_NOISE: u64 = 256;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let minutes = arguments
        .next()
        .map_or(Ok(MINUTES_DEFAULT), |text| text.parse())?;
    let seed = match arguments.next() {
        Some(text) => text.parse()?,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64 | 1,
    };
    println!("soak of {minutes} minutes, seed {seed}");
    let mut soak = Soak::begin(minutes, seed)?;
    while Instant::now() < soak.ends_at || soak.quiet.len() < 3 {
        soak.round()?;
    }
    soak.report()
}

/// What is true of a command, whatever the moment at which it was ended.
#[derive(Debug)]
enum Want {
    Success(Vec<u8>),
    Code(i32),
    /// Its stdout is held by an orphan, and is cut.
    Cut(Vec<u8>),
    /// By this signal for this cause, unless it was not started for it.
    Killed(&'static [i32], Cause),
    Missing,
}

#[derive(Debug)]
struct Begun {
    want: Want,
    /// Somebody ends it at a random moment, so that it may also be killed or never started.
    may_be_cancelled: bool,
}

/// What the other thread is to do in a moment.
enum Order {
    CancelContext(Context),
    Cancel(CommandId),
    Kill(CommandId),
    Signal(CommandId),
    Wake,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    rss_kib: u64,
    fds: usize,
    children: usize,
}

struct Soak {
    random: Random,
    started_at: Instant,
    ends_at: Instant,
    next_sample_at: Instant,
    next_line_at: Instant,
    fds_before: usize,
    /// Between the rounds.
    quiet: Vec<Sample>,
    most: Sample,
    samples: usize,
    /// The longest that a call took. None should wait for more than the slowest command: a second or so.
    longest: BTreeMap<&'static str, Duration>,
    outcomes: BTreeMap<&'static str, u64>,
    bytes: u64,
}

impl Soak {
    fn begin(minutes: f64, seed: u64) -> Result<Soak> {
        let now = Instant::now();
        Ok(Soak {
            random: Random(seed | 1),
            started_at: now,
            ends_at: now + Duration::from_secs_f64(minutes * 60.0),
            next_sample_at: now,
            next_line_at: now,
            fds_before: sample()?.fds,
            quiet: Vec::new(),
            most: Sample::default(),
            samples: 0,
            longest: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            bytes: 0,
        })
    }

    fn round(&mut self) -> Result<()> {
        let mut reactor = Reactor::builder().max_running(RUNNING_MAX).build()?;
        let (orders, received) = channel();
        let handle = reactor.handle();
        let other_thread = std::thread::spawn(move || obey(&received, &handle));
        let all = Context::new();
        let ends_at = Instant::now() + Duration::from_secs(ROUND_SECONDS);
        let mut begun = HashMap::new();
        while Instant::now() < ends_at {
            while reactor.len() < COMMANDS_AT_ONCE_MAX {
                self.start(&mut reactor, &all, &orders, &mut begun)?;
            }
            let wait = Duration::from_millis(self.random.below(20));
            self.timed("turn", || reactor.turn(Some(wait)))?;
            while let Some(done) = reactor.try_wait_any() {
                self.check(&mut begun, &done)?;
            }
            self.sample_under_load()?;
        }
        match self.random.below(4) {
            // All at once, as a build that is interrupted.
            0 => {
                begun
                    .values_mut()
                    .for_each(|begun: &mut Begun| begun.may_be_cancelled = true);
                all.cancel();
            }
            1 => {
                begun
                    .values_mut()
                    .for_each(|begun: &mut Begun| begun.may_be_cancelled = true);
                for done in reactor.shutdown()? {
                    self.check(&mut begun, &done)?;
                }
                reactor = Reactor::new()?;
            }
            2 => {
                // What was not handed out is gone with it, by its user's will.
                begun.clear();
                drop(reactor);
                reactor = Reactor::new()?;
            }
            _ => {}
        }
        while let Some(done) = self.timed("wait", || reactor.wait_any())? {
            self.check(&mut begun, &done)?;
        }
        if !begun.is_empty() {
            return Err(format!("never handed out: {begun:?}").into());
        }
        drop(reactor);
        drop(orders);
        other_thread
            .join()
            .map_err(|_| "the other thread panicked")?;
        self.sample_between_rounds()
    }

    fn start(
        &mut self,
        reactor: &mut Reactor,
        all: &Context,
        orders: &Sender<Order>,
        begun: &mut HashMap<CommandId, Begun>,
    ) -> Result<()> {
        let Planned {
            mut command,
            want,
            spoken,
        } = plan(&mut self.random);
        let mut may_be_cancelled = false;
        let mut context = None;
        match self.random.below(8) {
            0 => {
                let own = all.child();
                command.context(&own);
                context = Some(own);
            }
            1 => {
                command.context(&all.with_timeout(Duration::from_millis(self.random.below(30))));
                may_be_cancelled = true;
            }
            _ => {
                command.context(all);
            }
        }
        let started = self.timed("start", || reactor.start(&mut command));
        let id = match started {
            Ok(id) => id,
            Err(StartError::Stopped(_)) if may_be_cancelled => {
                self.count("context over before the start");
                return Ok(());
            }
            Err(error) => return Err(format!("{command}: {error}").into()),
        };
        if let Some(bytes) = spoken {
            let mut stdin = reactor.stdin(id).ok_or("it has a stdin")?;
            // It may be killed while it waits or reads: its outcome tells.
            let _ = self.timed("write", || stdin.write_all(&bytes));
            stdin.close();
        }
        if let Some(context) = context {
            may_be_cancelled = true;
            orders.send(Order::CancelContext(context))?;
        }
        match self.random.below(16) {
            0 => {
                may_be_cancelled = true;
                orders.send(Order::Cancel(id))?;
            }
            1 => {
                may_be_cancelled = true;
                orders.send(Order::Kill(id))?;
            }
            2 => {
                may_be_cancelled = true;
                orders.send(Order::Signal(id))?;
            }
            3 => {
                may_be_cancelled = true;
                reactor.cancel(id);
            }
            4 => orders.send(Order::Wake)?,
            _ => {}
        }
        if begun
            .insert(
                id,
                Begun {
                    want,
                    may_be_cancelled,
                },
            )
            .is_some()
        {
            return Err(format!("{id} was given twice").into());
        }
        Ok(())
    }

    fn timed<T>(&mut self, what: &'static str, call: impl FnOnce() -> T) -> T {
        let before = Instant::now();
        let result = call();
        let longest = self.longest.entry(what).or_default();
        *longest = before.elapsed().max(*longest);
        result
    }

    fn count(&mut self, what: &'static str) {
        *self.outcomes.entry(what).or_default() += 1;
    }

    fn check(&mut self, begun: &mut HashMap<CommandId, Begun>, done: &Finished) -> Result<()> {
        let begun = begun
            .remove(&done.id)
            .ok_or_else(|| format!("{} came twice", done.id))?;
        self.bytes += done.stdout.len() as u64;
        let what = match (&begun.want, &done.outcome) {
            (Want::Success(stdout), Ok(())) if *stdout == done.stdout => "success",
            (Want::Code(code), Err(Error::Exit(exit))) if exit.status.code() == Some(*code) => {
                "exit status"
            }
            (Want::Cut(stdout), Err(Error::WaitDelay { .. }))
                if *stdout == done.stdout && done.leaked == [Stream::Stdout] =>
            {
                "cut from an orphan"
            }
            // The orphan was done before the delay was.
            (Want::Cut(stdout), Ok(())) if *stdout == done.stdout => "success",
            (Want::Killed(signals, cause), Err(Error::Exit(exit)))
                if exit.cause == Some(*cause)
                    && exit
                        .status
                        .signal()
                        .is_some_and(|signal| signals.contains(&signal)) =>
            {
                "killed in time"
            }
            (Want::Missing, Err(Error::Start(StartError::Step { .. }))) => "missing",
            (_, Err(Error::Exit(exit)))
                if begun.may_be_cancelled && exit.status.signal().is_some() =>
            {
                "killed"
            }
            (_, Err(Error::Stopped(_))) if begun.may_be_cancelled => "stopped",
            (_, Err(Error::Start(StartError::Stopped(_) | StartError::ShutDown)))
                if begun.may_be_cancelled =>
            {
                "never started"
            }
            _ => {
                let begun = format!("{begun:?}");
                let begun = begun.get(..200).unwrap_or(&begun);
                let outcome = &done.outcome;
                return Err(
                    format!("{}: {outcome:?}, {:?}, of {begun}", done.id, done.leaked).into(),
                );
            }
        };
        self.count(what);
        Ok(())
    }

    fn sample_under_load(&mut self) -> Result<()> {
        let now = Instant::now();
        if now < self.next_sample_at {
            return Ok(());
        }
        self.next_sample_at = now + Duration::from_secs(1);
        let sample = sample()?;
        self.samples += 1;
        self.most.rss_kib = self.most.rss_kib.max(sample.rss_kib);
        self.most.fds = self.most.fds.max(sample.fds);
        self.most.children = self.most.children.max(sample.children);
        if now >= self.next_line_at {
            self.next_line_at = now + Duration::from_secs(60);
            let commands: u64 = self.outcomes.values().sum();
            println!(
                "{:4} s: {commands} commands, {} KiB, {} descriptors, {} children",
                (now - self.started_at).as_secs(),
                sample.rss_kib,
                sample.fds,
                sample.children
            );
        }
        Ok(())
    }

    /// Nothing of the library is alive, so everything but memory is to be as before.
    fn sample_between_rounds(&mut self) -> Result<()> {
        let sample = sample()?;
        self.quiet.push(sample);
        if sample.children > 0 || sample.fds != self.fds_before {
            let before = self.fds_before;
            return Err(
                format!("left after a round: {sample:?}, {before} descriptors before").into(),
            );
        }
        Ok(())
    }

    fn report(&self) -> Result<ExitCode> {
        let seconds = self.started_at.elapsed().as_secs_f64();
        let commands: u64 = self.outcomes.values().sum();
        println!(
            "{commands} commands in {seconds:.0} s, {} MiB of output compared",
            self.bytes >> 20
        );
        for (what, count) in &self.outcomes {
            println!("{count:9} {what}");
        }
        let most = self.most;
        println!(
            "under load ({} samples): at most {} KiB, {} descriptors, {} children",
            self.samples, most.rss_kib, most.fds, most.children
        );
        let longest = self.longest.iter();
        let longest: Vec<_> = longest
            .map(|(what, time)| format!("{what} {:.2} s", time.as_secs_f64()))
            .collect();
        println!("longest calls: {}", longest.join(", "));
        let third = self.quiet.len() / 3;
        let rss = |samples: &[Sample]| {
            samples
                .iter()
                .map(|sample| sample.rss_kib)
                .collect::<Vec<_>>()
        };
        let (first, rest) = self.quiet.split_at(third);
        let (middle, last) = rest.split_at(third);
        let bounds = |samples: &[Sample]| {
            let rss = rss(samples);
            (
                rss.iter().min().copied().unwrap_or(0),
                rss.iter().max().copied().unwrap_or(0),
            )
        };
        for (name, samples) in [("first", first), ("middle", middle), ("last", last)] {
            let (least, most) = bounds(samples);
            println!(
                "between rounds, {name} third ({}): {least} to {most} KiB",
                samples.len()
            );
        }
        println!(
            "between rounds, always: {} descriptors, as before the first; no child",
            self.fds_before
        );
        let grows = bounds(last).0 > bounds(middle).1 + RSS_KIB_NOISE;
        println!("{}", if grows { "growing" } else { "flat" });
        Ok(ExitCode::from(u8::from(grows)))
    }
}

/// Ends commands from outside, a moment after their start.
fn obey(orders: &Receiver<Order>, handle: &Handle) {
    for (number, order) in orders.iter().enumerate() {
        std::thread::sleep(Duration::from_micros(number as u64 % 5 * 300));
        match order {
            Order::CancelContext(context) => context.cancel(),
            Order::Cancel(id) => handle.cancel(id),
            Order::Kill(id) => handle.kill(id),
            Order::Signal(id) => handle.signal(id, Signal::USR1),
            Order::Wake => handle.wake(),
        }
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

struct Planned {
    command: Command,
    want: Want,
    /// What the caller writes to its stdin.
    spoken: Option<Vec<u8>>,
}

/// One command, and what is true of it if nobody interferes.
fn plan(random: &mut Random) -> Planned {
    let delay = Duration::from_millis(5);
    let mut spoken = None;
    let (command, want) = match random.below(13) {
        0 => (Command::new("/bin/true"), Want::Success(Vec::new())),
        1 => {
            let number = random.next().to_string();
            let mut echo = Command::new("/bin/echo");
            echo.arg(&number).stdout(Output::capture());
            (echo, Want::Success(format!("{number}\n").into_bytes()))
        }
        2 | 3 => {
            let end = if random.below(20) == 0 {
                2_000_000
            } else {
                20_000
            };
            let bytes = random.bytes(end);
            let mut cat = Command::new("/bin/cat");
            cat.stdin(Input::bytes(bytes.clone()))
                .stdout(Output::capture());
            (cat, Want::Success(bytes))
        }
        4 => {
            let mut merged = shell("echo 1; echo 2 >&2; echo 3");
            merged.stdout(Output::capture()).stderr_to_stdout(true);
            (merged, Want::Success(b"1\n2\n3\n".to_vec()))
        }
        5 => {
            let code = 1 + random.below(100) as i32;
            let mut fails = shell(&format!("echo sorry >&2; exit {code}"));
            fails.stderr(Output::capture_ends(100));
            (fails, Want::Code(code))
        }
        6 => {
            let mut timed = Command::new("/bin/sleep");
            timed
                .arg("1000")
                .stdout(Output::capture())
                .wait_delay(delay);
            timed.timeout(Duration::from_millis(random.below(50)));
            (timed, Want::Killed(&[libc::SIGKILL], Cause::Timeout))
        }
        7 => {
            let mut stubborn = shell("trap '' TERM; echo; exec sleep 1000");
            stubborn.stdout(Output::lines(|line| assert!(line.is_empty())));
            stubborn.timeout(Duration::from_millis(random.below(50)));
            stubborn.interrupt(Signal::TERM).wait_delay(delay);
            (
                stubborn,
                Want::Killed(&[libc::SIGTERM, libc::SIGKILL], Cause::Timeout),
            )
        }
        8 => {
            let mut silent = Command::new("/bin/sleep");
            let ladder = Cancel::signal(Signal::INT)
                .then(delay, Signal::TERM)
                .to_group();
            silent
                .arg("1000")
                .stdout(Output::capture())
                .idle_timeout(delay);
            silent
                .process_group(0)
                .on_cancel(ladder)
                .wait_delay(4 * delay);
            let signals = &[libc::SIGINT, libc::SIGTERM, libc::SIGKILL];
            (silent, Want::Killed(signals, Cause::IdleTimeout))
        }
        9 => {
            let mut parent = shell("sleep 0.2 & echo parent");
            parent.stdout(Output::capture()).wait_delay(delay);
            (parent, Want::Cut(b"parent\n".to_vec()))
        }
        10 => (Command::new("/nonexistent/program"), Want::Missing),
        11 => {
            let bytes = random.bytes(200_000);
            spoken = Some(bytes.clone());
            let mut cat = Command::new("/bin/cat");
            cat.stdin(Input::pipe()).stdout(Output::capture());
            (cat, Want::Success(bytes))
        }
        _ => {
            let length = random.below(300_000);
            let mut zeros = Command::new("/usr/bin/head");
            zeros
                .args(["-c", &length.to_string(), "/dev/zero"])
                .session(true);
            zeros.stdout(Output::capture());
            (zeros, Want::Success(vec![0; length as usize]))
        }
    };
    Planned {
        command,
        want,
        spoken,
    }
}

/// What this process holds now.
fn sample() -> Result<Sample> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss = rss
        .and_then(|text| text.split_whitespace().next())
        .ok_or("no VmRSS")?;
    let mut children = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        // A thread may end meanwhile, without children.
        let list = std::fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        children += list.split_whitespace().count();
    }
    // The listing itself is one.
    let fds = std::fs::read_dir("/proc/self/fd")?.count() - 1;
    Ok(Sample {
        rss_kib: rss.parse()?,
        fds,
        children,
    })
}

/// Numbers that look random and follow from the seed (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Fewer than `end` bytes.
    fn bytes(&mut self, end: u64) -> Vec<u8> {
        let length = self.below(end);
        (0..length).map(|_| self.next() as u8).collect()
    }
}
