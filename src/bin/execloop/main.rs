//! The program `execloop`: runs a list of shell commands, many at a time.
//!
//! `main.rs` knows the arguments and the exit codes, `run.rs` the loop. `lines.rs` reads the list, `outbox.rs` writes
//! stdout and `signals.rs` receives signals, each by a thread of its own, as each may have to wait for ever (`patient.rs`
//! does, for the first two). `command_line.rs`, `order.rs` and `report.rs` are pure.

mod command_line;
mod lines;
mod order;
mod outbox;
mod patient;
mod report;
mod run;
mod signals;

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use execloop::Signal;

use patient::Patient;
use run::{Options, Outcome, Printing};

/// Runs thousands of commands at once
#[derive(Debug, Parser)]
#[command(name = "execloop", version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Run(RunArguments),
}

/// Run shell commands from a list, several at a time
///
/// Each line of FILE is run by /bin/sh -c. Blank lines and lines that begin with # are skipped. A
/// line is read when its command can start, or little before, so that the list may be of any
/// length, and may come from a program or a terminal that goes on writing it.
///
/// What a command writes to stdout and stderr is kept together and printed on stdout when it ends;
/// until then it is in memory. Commands have no stdin, and cannot read from the terminal.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
struct RunArguments {
    /// The list of commands; - is stdin
    #[arg(default_value = "-")]
    file: PathBuf,

    /// How many commands run at once [default: one for each core]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Print the outputs in the order of the list
    ///
    /// An output is held back until all before it are printed. While 10000 outputs or 64 MiB of
    /// them are held back, no further command is started.
    #[arg(short, long, verbatim_doc_comment)]
    keep_order: bool,

    /// Print each line as it is written, behind its command's number
    ///
    /// The number is that of the command's line in the list. A line longer than 1 MiB is cut into
    /// pieces of that size. While nobody reads the output, everything waits, timeouts too.
    #[arg(short, long, verbatim_doc_comment, conflicts_with = "keep_order")]
    stream: bool,

    /// Stop a command that runs longer than this, such as 500ms, 30s, 1.5m, 1h
    #[arg(short, long, value_name = "DURATION", value_parser = command_line::parse_duration)]
    timeout: Option<Duration>,

    /// How long a command has to end once it was asked to stop; 0 is for ever
    ///
    /// It is killed then. And a command that has ended by itself, but has left a process behind
    /// that holds its output open, has failed after this time.
    #[arg(long, verbatim_doc_comment, value_name = "DURATION", default_value = "5s", value_parser = command_line::parse_duration)]
    wait_delay: Duration,

    /// The signal that asks a command, with all processes of its group, to stop
    #[arg(long, value_name = "SIGNAL", default_value = "TERM")]
    signal: Signal,

    /// After the first failure, stop everything that runs and start nothing more
    #[arg(short, long)]
    fail_fast: bool,

    /// Print no summary; failed commands are listed all the same
    #[arg(short, long)]
    quiet: bool,
}

const AFTER_HELP: &str =
    "Exit status: 0 if all succeeded, 1 if not, 2 for wrong usage. More with --help.";

const AFTER_LONG_HELP: &str = "\
At the end, failed commands are listed on stderr (the first 1000 of them), and a summary:
  failed: line 7: make test: exit status 2
  300 commands: 299 succeeded, 1 failed

Exit status:
  0  all commands succeeded
  1  some failed or were stopped, or their output could not be written
  2  wrong usage, or FILE could not be read

Signals: the first Ctrl-C (SIGINT, SIGTERM, SIGHUP) asks all commands to stop and waits for them, a second one or
SIGQUIT kills them. Then this program ends by the first signal, so that a shell shows 130 for Ctrl-C. When stdout is
closed, as by head, it kills them and ends by SIGPIPE, shown as 141. Ctrl-Z suspends the commands, too; their timeouts
run on. A signal that was ignored when it was started, as with nohup, stays ignored.";

/// Some command failed.
const FAILURE: u8 = 1;
/// The same as clap's.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let Action::Run(arguments) = Arguments::parse().action;
    let (input, name) = match arguments.file.to_str() {
        Some("-") => (stdin(), "stdin".to_owned()),
        _ => (open(&arguments.file), arguments.file.display().to_string()),
    };
    let input = match input {
        Ok(input) => input,
        Err(error) => return fail(USAGE, &name, &error),
    };
    let quiet = arguments.quiet;
    match run::run(input, arguments.into_options()) {
        Ok(outcome) => conclude(outcome, &name, quiet),
        Err(error) => fail(FAILURE, "reactor", &error),
    }
}

impl RunArguments {
    fn into_options(self) -> Options {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Options {
            jobs: self.jobs.unwrap_or_else(cores).get(),
            printing: match (self.keep_order, self.stream) {
                (_, true) => Printing::Streamed,
                (true, false) => Printing::InOrder,
                (false, false) => Printing::AtEnd,
            },
            timeout: self.timeout.filter(|timeout| !timeout.is_zero()),
            wait_delay: self.wait_delay,
            signal: self.signal,
            fail_fast: self.fail_fast,
            quiet: self.quiet,
        }
    }
}

fn stdin() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    Ok(file)
}

/// Prints what came of it, and finds the exit status. `list` is what the list is called.
fn conclude(mut outcome: Outcome, list: &str, quiet: bool) -> ExitCode {
    let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    let is_stdout_closed = outcome.output_error.as_ref().is_some_and(is_closed);
    if is_stdout_closed && outcome.interrupted_by.is_none() {
        signals::end_by(Signal::PIPE);
    }
    let mut text = Vec::new();
    // Into a vector it does not fail.
    let _ = outcome.report.write_failures(&mut text);
    if !quiet {
        let _ = writeln!(text, "{}", outcome.report.summary());
    }
    let mut status = u8::from(!outcome.report.is_success()) * FAILURE;
    if let Some(error) = outcome.output_error.filter(|error| !is_closed(error)) {
        fail(FAILURE, "stdout", &error);
        status = FAILURE;
    }
    if let Some(error) = outcome.input_error {
        fail(USAGE, list, &error);
        status = USAGE;
    }
    write_to_stderr(&text);
    if let Some(signal) = outcome.interrupted_by {
        signals::end_by(signal);
    }
    ExitCode::from(status)
}

fn fail(status: u8, what: &str, error: &io::Error) -> ExitCode {
    let text = error.to_string();
    // The number says nothing that the text does not.
    let number = error
        .raw_os_error()
        .map(|number| format!(" (os error {number})"));
    let text = number
        .and_then(|number| text.strip_suffix(&number))
        .unwrap_or(&text);
    tell(&format!("{what}: {text}"));
    ExitCode::from(status)
}

fn tell(text: &str) {
    write_to_stderr(format!("execloop: {text}\n").as_bytes());
}

/// Where stderr is closed, nobody wants to know.
fn write_to_stderr(text: &[u8]) {
    if let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
        let _ = Patient(File::from(stderr)).write_all(text);
    }
}
