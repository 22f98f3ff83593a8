//! The program `execloop`: runs many commands, some at a time.
//!
//! `main.rs` knows the exit codes, `arguments.rs` the arguments, `plan.rs` what they come to, `run.rs` the loop.
//!
//! What there is to run goes through four layers. `source.rs` has the items: `lines.rs` reads a list, which `cut.rs` cuts
//! up. `job.rs` makes a task of each, by `template.rs`, `filling.rs` and `words.rs`; `launch.rs` makes that a command of
//! the library; and `sink.rs` has the events of its life, for `joblog.rs`, `trace.rs`, `timeline.rs`, `bar.rs`, `json.rs`.
//!
//! The list is read, stdout and stderr are written (`outbox.rs`) and signals are received (`signals.rs`) by threads of
//! their own, as each may have to wait for ever (`patient.rs` does). `output.rs`, `capture.rs` and `tagged.rs` take what
//! commands write, `spill.rs` what is too large for memory. The rest is pure.

mod arguments;
mod bar;
mod bench;
mod capture;
mod clock;
mod command_line;
mod count;
mod cut;
mod defect;
mod filling;
mod invocation;
mod job;
mod joblog;
mod jobserver;
mod json;
mod launch;
mod limits;
mod lines;
mod manners;
mod order;
mod outbox;
mod output;
mod patient;
mod plan;
mod printable;
mod printing;
mod progress;
mod reaper;
mod report;
mod reserve;
mod run;
mod screen;
mod search;
mod signals;
mod sink;
mod slots;
mod source;
mod spill;
mod tagged;
mod template;
mod timeline;
mod trace;
mod words;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Parser;
use execloop::{Signal, program};

use arguments::{Action, Arguments};
use joblog::JobLog;
use patient::Patient;
use plan::{Form, Plan};
use run::Run;
use timeline::Timeline;
use trace::Trace;

/// Some command failed.
const FAILURE: u8 = 1;
/// The same as clap's.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // With SIGCHLD ignored, waitpid(2) reports no exit status. Children get the default anyway.
    program::set_default_action(Signal::CHLD);
    defect::end_program_at_panic();
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = bench::serve(words.get(1..).unwrap_or_default()) {
        return code;
    }
    if words.get(1).is_some_and(|word| word == "help") {
        // clap takes them for subcommands there.
        words.retain(|word| word != "--help" && word != "-h");
    }
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => return tell_usage(&error),
    };
    let arguments = match arguments.action {
        Action::Run(arguments) => arguments,
        Action::Bench(arguments) => return bench::bench(&arguments),
        Action::Completions { shell } => return print(manners::completions(shell)),
        Action::Man { page } => {
            return match manners::man_page(&page) {
                Ok(text) => print(text),
                Err(wrong) => {
                    write_to_stderr(&message(&wrong));
                    ExitCode::from(USAGE)
                }
            };
        }
    };
    if program::was_closed_at_start(1) {
        return fail(FAILURE, "stdout", &program::closed_error());
    }
    if let Some(nice) = arguments.child.nice
        && let Err(error) = rustix::process::nice(nice)
    {
        return fail(USAGE, "--nice", &error.into());
    }
    let plan = match Plan::new(&arguments) {
        Ok(plan) => plan,
        Err(wrong) => {
            write_to_stderr(&message(&wrong));
            return ExitCode::from(USAGE);
        }
    };
    match run(plan) {
        Ok(code) => code,
        Err(error) => fail(FAILURE, "reactor", &error),
    }
}

fn run(plan: Plan) -> io::Result<ExitCode> {
    let quiet = plan.options.quiet;
    if plan.is_typed && !quiet {
        let what = "reading the terminal, one line for each command; Ctrl-D ends the list";
        write_to_stderr(&message(what));
    }
    for note in plan.notes.iter().filter(|_| !quiet) {
        write_to_stderr(&message(&printable::printable_message(note)));
    }
    let mut run = Run::new(plan.origin, plan.options)?;
    let epoch = run.epoch();
    for mut record in plan.records {
        if let Err(error) = record.begin() {
            return Ok(fail(USAGE, &record.name, &error));
        }
        let outbox = run.file(record.name, record.file)?;
        run.add_sink(match record.form {
            Form::JobLog => Box::new(JobLog::new(outbox, epoch)),
            Form::Timeline => Box::new(Timeline::new(outbox, epoch)),
            Form::Trace => Box::new(Trace::new(outbox, epoch)),
        });
    }
    run.drive()?;
    conclude(run, &plan.list, quiet)
}

/// Says what came of it, and finds the exit status. `list` is what the list is called.
fn conclude(mut run: Run, list: &str, quiet: bool) -> io::Result<ExitCode> {
    let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    let output_error = run.take_output_error();
    let is_stdout_closed = output_error.as_ref().is_some_and(is_closed);
    if is_stdout_closed && run.interrupted_by().is_none() {
        run.say_last(Vec::new())?;
        signals::end_by(Signal::PIPE);
    }
    let mut text = Vec::new();
    let mut status = u8::from(!run.is_success()) * FAILURE;
    if let Some(error) = output_error.filter(|error| !is_closed(error)) {
        text.extend(message(&about("stdout", &error)));
        status = FAILURE;
    }
    if let Some(bytes) = run.unread_bytes_max() {
        text.extend(message(&format!(
            "stdout: up to {bytes} bytes were not read"
        )));
    }
    for (name, error) in run.take_file_errors() {
        text.extend(message(&about(&name, &error)));
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

/// Help, or what is wrong with the arguments. clap knows whether a terminal has colours, but not whether what it writes
/// arrives.
fn tell_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let _ = error.print();
        return ExitCode::from(USAGE);
    }
    if io::stdout().is_terminal() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    print(error.render().to_string().into_bytes())
}

/// Prints text and nothing else.
fn print(text: Vec<u8>) -> ExitCode {
    if program::was_closed_at_start(1) {
        return fail(FAILURE, "stdout", &program::closed_error());
    }
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    match stdout.and_then(|stdout| Patient(File::from(stdout)).write_all(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => signals::end_by(Signal::PIPE),
        Err(error) => fail(FAILURE, "stdout", &error),
    }
}

fn fail(status: u8, what: &str, error: &io::Error) -> ExitCode {
    write_to_stderr(&message(&about(what, error)));
    ExitCode::from(status)
}

/// `what` as a user wrote it.
fn about(what: &str, error: &io::Error) -> String {
    printable::printable_message(&format!("{what}: {}", plain(error)))
}

/// An error without the system's number of it, which says nothing that the text does not.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let number = |text: &str| text.strip_suffix(')')?.parse::<i32>().ok();
    match text.rsplit_once(" (os error ") {
        Some((plain, rest)) if number(rest).is_some() => plain.to_owned(),
        _ => text,
    }
}

/// A line of the program's own.
fn message(text: &str) -> Vec<u8> {
    format!("execloop: {text}\n").into_bytes()
}

/// Where stderr is closed, the text is lost, which is no error.
fn write_to_stderr(text: &[u8]) {
    if let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
        let _ = Patient(File::from(stderr)).write_all(text);
    }
}
