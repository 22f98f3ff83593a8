//! The program `execloop`: runs a list of shell commands, many at a time.
//!
//! `main.rs` knows the exit codes, `arguments.rs` the arguments, `run.rs` the loop. `lines.rs` reads the list, `outbox.rs`
//! writes stdout and stderr, and `signals.rs` receives signals, each by threads of their own, as each may have to wait
//! for ever (`patient.rs` does, for the first two). `output.rs` and `tagged.rs` take what commands write, `spill.rs` what
//! is too large for memory. The rest is pure.

mod arguments;
mod clock;
mod command_line;
mod lines;
mod order;
mod outbox;
mod output;
mod patient;
mod printable;
mod report;
mod run;
mod signals;
mod slots;
mod spill;
mod tagged;

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use execloop::{Signal, program};

use arguments::{Action, Arguments, RunArguments};
use patient::Patient;
use run::{Options, Printing, Run};

/// Some command failed.
const FAILURE: u8 = 1;
/// The same as clap's.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // Else nobody is told how a child ended (waitpid(2)). Children get the default anyway.
    program::set_default_action(Signal::CHLD);
    let Action::Run(arguments) = Arguments::parse().action;
    let (input, name) = match arguments.file.to_str() {
        Some("-") => (stdin(), "stdin".to_owned()),
        _ => (open(&arguments.file), arguments.file.display().to_string()),
    };
    let input = match input {
        Ok(input) => input,
        Err(error) => return fail(USAGE, &name, &error),
    };
    if program::was_closed_at_start(1) {
        return fail(FAILURE, "stdout", &closed());
    }
    match run(input, &name, arguments) {
        Ok(code) => code,
        Err(error) => fail(FAILURE, "reactor", &error),
    }
}

fn run(input: File, name: &str, arguments: RunArguments) -> io::Result<ExitCode> {
    let quiet = arguments.quiet;
    let mut run = Run::new(input, arguments.into_options())?;
    run.drive()?;
    conclude(run, name, quiet)
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

/// What std has put in place of a closed one would be an empty list.
fn stdin() -> io::Result<File> {
    if program::was_closed_at_start(0) {
        return Err(closed());
    }
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn closed() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    Ok(file)
}

/// Says what came of it, and finds the exit status. `list` is what the list is called.
fn conclude(mut run: Run, list: &str, quiet: bool) -> io::Result<ExitCode> {
    let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    let output_error = run.take_output_error();
    let is_stdout_closed = output_error.as_ref().is_some_and(is_closed);
    if is_stdout_closed && run.interrupted_by().is_none() {
        signals::end_by(Signal::PIPE);
    }
    let mut text = Vec::new();
    let mut status = u8::from(!run.is_success()) * FAILURE;
    if let Some(error) = output_error.filter(|error| !is_closed(error)) {
        text.extend(message(&about("stdout", &error)));
        status = FAILURE;
    }
    if let Some(error) = run.take_input_error() {
        text.extend(message(&about(list, &error)));
        status = USAGE;
    }
    if !quiet {
        // Into a vector it does not fail.
        let _ = writeln!(text, "{}", run.summary());
    }
    run.say_last(text)?;
    if let Some(signal) = run.interrupted_by() {
        signals::end_by(signal);
    }
    Ok(ExitCode::from(status))
}

fn fail(status: u8, what: &str, error: &io::Error) -> ExitCode {
    write_to_stderr(&message(&about(what, error)));
    ExitCode::from(status)
}

/// `what` as a user wrote it.
fn about(what: &str, error: &io::Error) -> String {
    printable::printable_message(&format!("{what}: {}", plain(error)))
}

/// An error of the system without its number, which says nothing that the text does not.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error
        .raw_os_error()
        .map(|number| format!(" (os error {number})"));
    let plain = number.and_then(|number| Some(text.strip_suffix(&number)?.to_owned()));
    plain.unwrap_or(text)
}

/// A line of the program's own.
fn message(text: &str) -> Vec<u8> {
    format!("execloop: {text}\n").into_bytes()
}

/// Where stderr is closed, nobody wants to know.
fn write_to_stderr(text: &[u8]) {
    if let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
        let _ = Patient(File::from(stderr)).write_all(text);
    }
}
