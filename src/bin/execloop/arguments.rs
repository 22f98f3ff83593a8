//! The arguments of the program, as clap reads them and `--help` tells of them.
//! Unaware of what is done with them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use execloop::Signal;

use crate::command_line::parse_duration;

/// Runs thousands of commands at once
#[derive(Debug, Parser)]
#[command(name = "execloop", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    Run(RunArguments),
}

/// Run shell commands from a list, several at a time
///
/// Each line of FILE is run by /bin/sh -c. Blank lines and lines that begin with #
/// are skipped. A line is read when its command can start, or little before, so
/// that the list may be of any length, and may come from a program or a terminal
/// that goes on writing it.
///
/// What a command writes to stdout and stderr is kept together and printed on
/// stdout when it ends; until then it is in memory, and in a temporary file where
/// it is more than 1 MiB. Commands have no stdin, and cannot read from the
/// terminal.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
pub(crate) struct RunArguments {
    /// The list of commands; - is stdin
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,

    /// How many run at once [default: one for each core]
    #[arg(short, long, value_name = "N", value_parser = parse_jobs)]
    pub(crate) jobs: Option<NonZeroUsize>,

    /// Print the outputs in the order of the list
    ///
    /// An output is held back until all before it are printed. While 10000
    /// outputs or 64 MiB for them are held back, no further command starts.
    #[arg(short, long, verbatim_doc_comment)]
    pub(crate) keep_order: bool,

    /// Print each line as it comes, with its command's number
    ///
    /// The number is that of the command's line in the list. A line longer
    /// than 1 MiB is cut into pieces of that size. While nobody reads the
    /// output, commands that write have to wait; timeouts run on.
    #[arg(short, long, verbatim_doc_comment, conflicts_with = "keep_order")]
    pub(crate) stream: bool,

    /// Stop a command that runs longer: 500ms, 30s, 1.5m, 1h
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// How long a command has to stop; 0 is for ever
    ///
    /// It is killed then. And a command that has ended by itself, but has
    /// left a process that holds its output open, has failed after this time.
    #[arg(long, verbatim_doc_comment, value_name = "TIME", default_value = "5s",
        value_parser = parse_duration)]
    pub(crate) wait_delay: Duration,

    /// What asks a command's processes to stop
    #[arg(long, value_name = "SIGNAL", default_value = "TERM")]
    pub(crate) signal: Signal,

    /// Stop everything after the first failure
    #[arg(short, long)]
    pub(crate) fail_fast: bool,

    /// Print no summary; failures are told all the same
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

const AFTER_HELP: &str = "\
Exit status: 0 if all succeeded, 1 if not, 2 for wrong usage. More with --help.";

const AFTER_LONG_HELP: &str = "\
On stderr, a failure is told when it happens, and there is a summary at the end:
  failed: line 7: make test: exit status 2
  300 commands: 299 succeeded, 1 failed in 12.3s

Exit status:
  0  all commands succeeded
  1  some failed or were stopped, or their output could not be written
  2  wrong usage, or FILE could not be read

Signals: the first Ctrl-C (SIGINT, SIGTERM, SIGHUP) asks all commands to stop
and waits for them, a second one or SIGQUIT kills them. Then this program ends
by the first signal, so that a shell shows 130 for Ctrl-C. A third one ends it
at once. When stdout is closed, as by head, it kills them and ends by SIGPIPE,
shown as 141. Ctrl-Z suspends the commands, too; their timeouts run on. A signal
that was ignored when it was started, as with nohup, stays ignored. If it is
killed itself, the commands are killed, too.";

fn parse_jobs(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<usize>() {
        Ok(jobs) => NonZeroUsize::new(jobs).ok_or_else(|| "at least 1 must run".to_owned()),
        Err(_) => Err("expected a number, such as 8".to_owned()),
    }
}
