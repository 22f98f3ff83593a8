//! `execloop bench`: many children by this engine and by threads of std (and, with the feature `bench-peers`, by tokio and
//! async-process), in one run, each in a process of its own.
//! Unaware of how an engine works.

mod batch;
mod child;
mod engine;
#[cfg(feature = "bench-peers")]
mod peers;
mod plot;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::{Args, ValueEnum};

pub(crate) use child::serve;

use crate::limits::parse_count;

/// Measure how fast children are run, on this machine
///
/// Children are run by this engine, and by as many threads of std as run at once,
/// in the same run. Each writes the time when it is done to its stdout, so that
/// it is known how long after that it was reported. They are processes of this
/// program itself, which start more slowly than the smallest program would.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(crate) struct BenchArguments {
    /// How many children, all together
    #[arg(long, value_name = "N", default_value = "1000", value_parser = parse_count)]
    children: NonZeroUsize,

    /// How many run at once
    #[arg(long, value_name = "C", default_value = "64", value_parser = parse_count)]
    at_once: NonZeroUsize,

    /// What each does
    #[arg(long, value_name = "WORK", default_value = "exit")]
    workload: Workload,

    /// Which engines, in this order
    #[arg(
        long,
        value_name = "ENGINE",
        value_delimiter = ',',
        default_value = ENGINES
    )]
    engines: Vec<Engine>,

    /// Print an object of JSON a line for each engine
    #[arg(long)]
    json: bool,

    /// Draw the figures, too
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// All there are.
const ENGINES: &str = if cfg!(feature = "bench-peers") {
    "execloop,threads,tokio,async-process"
} else {
    "execloop,threads"
};

const AFTER_HELP: &str = "\
Examples:
  execloop bench
  execloop bench --children 5000 --at-once 1000 --workload sleep
  execloop bench --workload cat --json --plot bench.svg";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Ends at once
    Exit,
    /// Writes a line
    Echo,
    /// Copies 64 KiB from stdin to stdout
    Cat,
    /// Sleeps for 50 ms
    Sleep,
    /// Computes for 5 ms
    Spin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// This library: one thread
    Execloop,
    /// A thread of std for each child that runs
    Threads,
    /// tokio's runtime of one thread
    #[cfg(feature = "bench-peers")]
    Tokio,
    /// async-process, with its own threads
    #[cfg(feature = "bench-peers")]
    AsyncProcess,
}

fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What was measured of one engine.
#[derive(Clone, Debug, Default, PartialEq)]
struct Figures {
    engine: String,
    per_second: f64,
    /// From the time a child wrote to that at which its result was there.
    p50_us: f64,
    p99_us: f64,
    /// Of the parent.
    cpu_us_per_command: f64,
    rss_bytes: u64,
    /// The parent's, while all run.
    fds: u64,
}

impl Figures {
    /// All figures, under the names that they have in JSON.
    fn numbers(&self) -> [(&'static str, f64); 6] {
        [
            ("per_second", self.per_second),
            ("p50_us", self.p50_us),
            ("p99_us", self.p99_us),
            ("cpu_us_per_command", self.cpu_us_per_command),
            ("rss_bytes", self.rss_bytes as f64),
            ("descriptors", self.fds as f64),
        ]
    }

    /// As the process of an engine prints them.
    fn line(&self) -> String {
        self.numbers()
            .map(|(_, number)| number.to_string())
            .join(" ")
    }

    fn parse(engine: Engine, line: &str) -> Option<Figures> {
        let mut words = line.split_whitespace();
        let mut number = || -> Option<f64> { words.next()?.parse().ok() };
        Some(Figures {
            engine: name(engine),
            per_second: number()?,
            p50_us: number()?,
            p99_us: number()?,
            cpu_us_per_command: number()?,
            rss_bytes: number()? as u64,
            fds: number()? as u64,
        })
    }

    fn json(&self, arguments: &BenchArguments) -> String {
        let mut object = format!(
            "{{\"engine\":\"{}\",\"workload\":\"{}\",\"children\":{},\"at_once\":{}",
            self.engine,
            name(arguments.workload),
            arguments.children,
            arguments.at_once,
        );
        for (name, number) in self.numbers() {
            let _ = write!(object, ",\"{name}\":{}", (number * 10.0).round() / 10.0);
        }
        object + "}\n"
    }
}

/// The table, with what is measured and in which unit.
fn table(arguments: &BenchArguments, all: &[Figures]) -> String {
    let mut text = format!(
        "{} children, {} at once, each: {}\n\n{:14}{:>11}{:>13}{:>12}{:>13}{:>12}{:>4}\n",
        arguments.children,
        arguments.at_once,
        name(arguments.workload),
        "engine",
        "commands/s",
        "reported p50",
        "p99",
        "CPU/command",
        "resident",
        "fds"
    );
    for figures in all {
        let _ = writeln!(
            text,
            "{:14}{:>11.0}{:>10.0} us{:>9.0} us{:>10.0} us{:>8.1} MiB{:>4}",
            figures.engine,
            figures.per_second,
            figures.p50_us,
            figures.p99_us,
            figures.cpu_us_per_command,
            figures.rss_bytes as f64 / 1024.0 / 1024.0,
            figures.fds
        );
    }
    text.push_str(
        "\nreported: how long after a child was done its result was there; CPU: the parent's\n",
    );
    text
}

/// Runs all engines and prints what came of it.
pub(crate) fn bench(arguments: &BenchArguments) -> ExitCode {
    let mut plot = None;
    if let Some(path) = &arguments.plot {
        match File::create(path) {
            Ok(file) => plot = Some((path.display().to_string(), file)),
            Err(error) => {
                return crate::fail(crate::USAGE, &path.display().to_string(), &error);
            }
        }
    }
    let mut all = Vec::new();
    let mut failed = None;
    for engine in &arguments.engines {
        match measure(arguments, *engine) {
            Ok(figures) => all.push(figures),
            // The others' figures are as good.
            Err(error) => failed = Some(crate::fail(crate::FAILURE, &name(*engine), &error)),
        }
    }
    if let (Some(code), true) = (failed, all.is_empty()) {
        return code;
    }
    if let Some((path, mut file)) = plot {
        let drawn = plot::draw(&title(arguments), &all);
        if let Err(error) = file.write_all(drawn.as_bytes()) {
            return crate::fail(crate::FAILURE, &path, &error);
        }
    }
    let text = if arguments.json {
        all.iter().map(|figures| figures.json(arguments)).collect()
    } else {
        table(arguments, &all)
    };
    let printed = crate::print(text.into_bytes());
    failed.unwrap_or(printed)
}

fn title(arguments: &BenchArguments) -> String {
    let (children, at_once) = (arguments.children, arguments.at_once);
    let workload = name(arguments.workload);
    format!("{children} children, {at_once} at once, each: {workload}")
}

/// An engine in a process of its own, as memory and descriptors are those of a process.
fn measure(arguments: &BenchArguments, engine: Engine) -> io::Result<Figures> {
    let words: [OsString; 5] = [
        child::ENGINE.into(),
        name(engine).into(),
        name(arguments.workload).into(),
        arguments.children.to_string().into(),
        arguments.at_once.to_string().into(),
    ];
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(words).stderr(Stdio::piped()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    match Figures::parse(engine, &text) {
        Some(figures) if output.status.success() => Ok(figures),
        _ => {
            let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let wrong = match told.strip_prefix("execloop: ") {
                Some(told) => told.to_owned(),
                None => format!("its process ended with {} {told}", output.status),
            };
            Err(io::Error::other(wrong))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_back_as_they_were_printed() {
        let figures = Figures {
            engine: "threads".to_owned(),
            per_second: 1234.5,
            p50_us: 6.25,
            p99_us: 7.5,
            cpu_us_per_command: 8.0,
            rss_bytes: 9,
            fds: 10,
        };
        let parsed = Figures::parse(Engine::Threads, &figures.line());
        assert_eq!(parsed, Some(figures));
        assert_eq!(Figures::parse(Engine::Threads, "1 2 3"), None);
    }
}
