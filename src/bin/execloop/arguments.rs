//! The arguments of the program, as clap reads them and `--help` tells of them.
//! Unaware of what is done with them.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use execloop::{Signal, program};

use crate::bar::When;
use crate::bench::BenchArguments;
use crate::command_line::parse_duration;
use crate::jobserver::Way;
use crate::limits::{
    Halt, Jobs, parse_count, parse_halt, parse_jobs, parse_load, parse_nice, parse_retries,
    parse_size,
};

/// Runs thousands of commands at once
#[derive(Debug, Parser)]
#[command(name = "execloop", version, max_term_width = 80, after_help = AFTER_PROGRAM_HELP,
    args_override_self = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    Run(Box<RunArguments>),
    Bench(BenchArguments),
    /// Print completions for a shell: bash, zsh, fish
    ///
    /// They go where the shell looks for them, under this name:
    ///   bash  ~/.local/share/bash-completion/completions/execloop
    ///   zsh   _execloop, in a directory of $fpath
    ///   fish  ~/.config/fish/completions/execloop.fish
    #[command(verbatim_doc_comment)]
    Completions {
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the man page of run, or of another subcommand
    ///
    /// execloop man | man -l - shows it.
    Man {
        #[arg(value_name = "SUBCOMMAND", default_value = "run")]
        page: String,
    },
}

/// Run many commands, several at a time
///
/// With one word, FILE (or - for stdin) lists commands, one a line. Blank lines
/// and lines that begin with # are skipped; a line that ends in a backslash goes
/// on in the next. With a COMMAND of several words, or with a place such as {} in
/// it, each line of stdin is an argument for it. ::: begins arguments, and ::::
/// files of them; of several of these all combinations are run.
///
/// A list is read when the next command can start, or little before, so that it
/// may be of any length, and may come from a program that goes on writing it.
///
/// What a command writes to stdout and stderr is kept together and printed on
/// stdout when it ends; until then it is in memory, and in a temporary file where
/// it is more than 1 MiB. Commands have no stdin, and cannot read from the
/// terminal.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP,
    override_usage = USAGE)]
pub(crate) struct RunArguments {
    /// The list of commands, or a command and its arguments
    ///
    /// Places in the command are filled:
    ///   {}   the argument                {.}  without its extension
    ///   {/}  without its directory       {//} its directory
    ///   {/.} without both                {2}  the second argument
    ///   {#}  the command's number        {%}  its slot, 1 to that of --jobs
    ///
    /// Without a place for it, the argument comes last. A command of several
    /// words is executed as it is; a text file without a #! line is run by
    /// /bin/sh. One word with blanks in it is a line of shell, in which an
    /// argument is what it is, also within quotes. Where it could not be, as
    /// in backquotes or a here-document, a line is refused. A shell that the
    /// line starts would run it as code, and is given it as an argument:
    /// sh -c 'echo "$1"' sh {}
    #[arg(value_name = "COMMAND", trailing_var_arg = true, verbatim_doc_comment)]
    pub(crate) words: Vec<OsString>,

    #[command(flatten)]
    pub(crate) input: InputArguments,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    #[command(flatten)]
    pub(crate) child: ChildArguments,
    #[command(flatten)]
    pub(crate) record: RecordArguments,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Arguments of commands")]
pub(crate) struct InputArguments {
    /// Read arguments, one a line, from FILE; - is stdin
    #[arg(short = 'a', long, value_name = "FILE")]
    pub(crate) arg_file: Vec<PathBuf>,

    /// What is read ends in NUL, not in a newline: find -print0
    #[arg(short = '0', long)]
    pub(crate) null: bool,

    /// Give each command up to N arguments, or records of --pipe
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    pub(crate) max_args: Option<NonZeroUsize>,

    /// Cut stdin into blocks, each the stdin of one command
    ///
    /// A block ends where a line ends, or with -0 at a NUL. It has at least
    /// the size that --block gives, or the number of lines that -n gives.
    /// In the command only {#} and {%} are places.
    #[arg(long, verbatim_doc_comment)]
    pub(crate) pipe: bool,

    /// The size of a block: 512K, 1M, 1G, in powers of 1024
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, default_value = "1M", value_parser = parse_size,
        requires = "pipe", conflicts_with = "max_args")]
    pub(crate) block: u64,

    /// Give every line to /bin/sh -c
    ///
    /// By default one that needs no shell is executed directly, as make does:
    /// it has no character that means something to a shell, and its command
    /// is not built into shells. Words of COMMAND are joined to a line.
    #[arg(long, verbatim_doc_comment, conflicts_with = "argv")]
    pub(crate) shell: bool,

    /// Give no line to a shell; only blanks, quotes and \ count
    #[arg(long)]
    pub(crate) argv: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "How many, and how long")]
pub(crate) struct LimitArguments {
    /// How many run at once, or 50% of the cores [default: the cores]
    ///
    /// While it runs, SIGUSR1 makes it one more, and SIGUSR2 one less.
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = parse_jobs, verbatim_doc_comment,
        visible_short_alias = 'P')]
    pub(crate) jobs: Option<Jobs>,

    /// Start no further command while so many processes want to run
    ///
    /// As many as /proc/loadavg says at this instant. One command always
    /// runs.
    #[arg(short = 'l', long, value_name = "LOAD", allow_negative_numbers = true, value_parser = parse_load,
        verbatim_doc_comment)]
    pub(crate) load: Option<f64>,

    /// Start no further command while less memory is available
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = parse_size)]
    pub(crate) memfree: Option<u64>,

    /// Fail unless MAKEFLAGS names a jobserver that can be used
    ///
    /// One that is there is used anyway: under make or cargo, a command
    /// starts when there is a token for it, too, and knows of the jobserver.
    #[arg(long, verbatim_doc_comment)]
    pub(crate) jobserver: bool,

    /// Share --jobs with the commands: make, cargo, ninja [default: fifo]
    ///
    /// A jobserver of its own, of which they learn by MAKEFLAGS. GNU make
    /// before 4.4 understands a pipe alone.
    #[arg(long, value_name = "WAY", num_args = 0..=1, require_equals = true,
        default_missing_value = "fifo", hide_default_value = true,
        conflicts_with = "jobserver", verbatim_doc_comment)]
    pub(crate) jobserver_serve: Option<Way>,

    /// Stop a command that runs longer: 500ms, 30s, 1.5m, 1h30m, 1d; 0 is never
    #[arg(short, long, value_name = "TIME", allow_negative_numbers = true, value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// Stop a command that writes nothing for so long
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = parse_duration)]
    pub(crate) idle_timeout: Option<Duration>,

    /// How long a command has to stop; 0 is for ever
    ///
    /// It is killed then. And a command that has ended by itself, but has
    /// left a process that holds its output open, has failed after this time.
    #[arg(long, verbatim_doc_comment, value_name = "TIME", allow_negative_numbers = true, default_value = "5s",
        value_parser = parse_duration)]
    pub(crate) wait_delay: Duration,

    /// What asks a command's processes to stop
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", value_parser = parse_signal)]
    pub(crate) signal: Signal,

    /// Run a failed command up to N times more
    ///
    /// Only the output of the last try is printed, unless by --stream.
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        default_value = "0",
        hide_default_value = true,
        value_parser = parse_retries,
        verbatim_doc_comment
    )]
    pub(crate) retries: u32,

    /// Stop everything after the first failure
    #[arg(short, long, conflicts_with_all = ["keep_going", "halt"])]
    pub(crate) fail_fast: bool,

    /// Go on after failures (this is the default)
    #[arg(long, conflicts_with = "halt")]
    pub(crate) keep_going: bool,

    /// Stop everything after N failures, or when N% have failed
    ///
    /// The percentage is of those that have ended, and counts from the third
    /// failure on.
    #[arg(long, value_name = "N|N%", allow_negative_numbers = true, value_parser = parse_halt, verbatim_doc_comment)]
    pub(crate) halt: Option<Halt>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    /// Print a command's output when it ends (this is the default)
    #[arg(long, conflicts_with_all = ["stream", "ungroup"])]
    pub(crate) group: bool,

    /// Print the outputs in the order of the list
    ///
    /// An output is held back until all before it are printed. While 10000
    /// outputs or 64 MiB for them are held back, no further command starts.
    #[arg(short, long, verbatim_doc_comment)]
    pub(crate) keep_order: bool,

    /// Print each line as it comes, with its command's number
    ///
    /// The number is that of the command's line in the list. A line longer
    /// than 1 MiB is cut into pieces of that size. While the output is not
    /// read, commands that write have to wait; timeouts run on.
    #[arg(short, long, verbatim_doc_comment, conflicts_with = "keep_order")]
    pub(crate) stream: bool,

    /// Let commands write to stdout and stderr themselves
    #[arg(short, long, conflicts_with_all = ["keep_order", "stream", "tag", "output_limit",
        "idle_timeout", "json", "results"])]
    pub(crate) ungroup: bool,

    /// Give each command this terminal, one at a time: an editor, say
    ///
    /// It reads from /dev/tty, writes to stdout and stderr itself, and has
    /// Ctrl-C and Ctrl-Z for itself. Who is ended by Ctrl-C ends the rest, too.
    #[arg(short, long, verbatim_doc_comment, conflicts_with_all = ["jobs", "ungroup", "group",
        "keep_order", "stream", "tag", "tty", "output_limit", "idle_timeout", "json", "results",
        "pipe"])]
    pub(crate) open_tty: bool,

    /// Give each command a terminal to write to, so that its colours stay
    ///
    /// It is as large as the one that execloop writes to, or else 80 by 24,
    /// and is no place to read from: commands have no stdin all the same. What
    /// is printed, recorded or limited is what the command writes there. With
    /// --results, stdout and stderr have one each.
    #[arg(long, verbatim_doc_comment, conflicts_with = "ungroup")]
    pub(crate) tty: bool,

    /// Put the arguments before each line of output, or the command
    #[arg(long)]
    pub(crate) tag: bool,

    /// Keep no more than the first SIZE of each command's output
    ///
    /// How much is left out stands behind it; with --json in output_cut. With
    /// --results, stdout and stderr have SIZE each.
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = parse_size, verbatim_doc_comment)]
    pub(crate) output_limit: Option<u64>,

    /// Print an object of JSON a line for each command that ended
    ///
    /// Its output is in it, and is not printed otherwise.
    #[arg(long, conflicts_with = "stream", verbatim_doc_comment)]
    pub(crate) json: bool,

    /// Print the commands; run none, and write no records
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Show what is done, what runs and how long yet
    ///
    /// On a terminal by lines at its bottom, unless stdout is a pipe: whoever
    /// reads that may write there, too. Elsewhere, with always, by a line on
    /// stderr now and then.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        verbatim_doc_comment
    )]
    pub(crate) progress: When,

    /// Print no summary; failures are reported all the same
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What commands are given")]
pub(crate) struct ChildArguments {
    /// Set a variable in the commands' environment
    ///
    /// With PATH, programs are looked for there.
    #[arg(long, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(parse_variable))]
    pub(crate) env: Vec<(OsString, OsString)>,

    /// Run the commands in DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Run everything with a niceness that is N higher
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = parse_nice)]
    pub(crate) nice: Option<i32>,

    /// Take the place of init for what commands leave behind
    ///
    /// A process whose parent has ended becomes a child of this program. It
    /// is reaped when it ends, and told on stderr with its status; with -q,
    /// only if it has failed. Linux only.
    #[arg(long, verbatim_doc_comment)]
    pub(crate) subreaper: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Records")]
pub(crate) struct RecordArguments {
    /// Keep stdout, stderr and status of each in DIR/NUMBER
    ///
    /// The status is there once the command has ended. DIR is of one run at a
    /// time.
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    pub(crate) results: Option<PathBuf>,

    /// Write a line for each command that ended, as GNU parallel does
    ///
    /// The line is written once the command's output is, in its order. Those
    /// that were cancelled are left out: they have still to run. FILE is of one
    /// run at a time.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub(crate) joblog: Option<PathBuf>,

    /// Write a page of HTML that shows what ran when
    ///
    /// Open it in a browser: it has a lane for each command that ran at
    /// once, can be zoomed and searched, and needs nothing but itself.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub(crate) timeline: Option<PathBuf>,

    /// Write Chrome trace events, which ui.perfetto.dev opens
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Skip commands whose number is in the job log, and add to it
    #[arg(long, requires = "joblog")]
    pub(crate) resume: bool,

    /// The same, but run those again that failed
    #[arg(long, requires = "joblog", conflicts_with = "resume")]
    pub(crate) resume_failed: bool,
}

const AFTER_PROGRAM_HELP: &str = "\
Examples:
  find . -name '*.gz' -print0 | execloop run -0 -j 64 gzip -t {}
  execloop run -j 8 < commands
  execloop run --help                      has all of it";

const USAGE: &str = "\
execloop run [OPTIONS] [FILE]
       execloop run [OPTIONS] [-a FILE] COMMAND.. [{}] [< FILE]
       execloop run [OPTIONS] COMMAND.. ::: ARGUMENT.. [:::: FILE..]";

const AFTER_HELP: &str = "\
Exit status: 0 if all succeeded, 1 if not, 2 for wrong usage. More with --help.";

const AFTER_LONG_HELP: &str = "\
Examples:
  execloop run -j 8 < commands             the commands of a list
  execloop run gzip -t {} ::: *.gz         one command an argument
  find . -name '*.png' -print0 | execloop run -0 cwebp -quiet {} -o {.}.webp
  execloop run 'sort {} > {.}.sorted' ::: *.txt
  execloop run --joblog log --resume -a urls curl -fsSO

On stderr, a failure is told when it happens, and there is a summary at the end:
  failed: line 7: make test: exit status 2
  300 commands: 299 succeeded, 1 failed in 12.3s, 24.4/s

Exit status:
  0  all commands succeeded
  1  some failed or were stopped, or their output could not be written
  2  wrong usage, or FILE could not be read
  70 a defect of this program, which it reports

Signals: the first Ctrl-C (SIGINT, SIGTERM, SIGHUP) asks all commands to stop
and waits for them, a second one or SIGQUIT kills them. Then this program ends
by the first signal, so that a shell shows 130 for Ctrl-C; who has not read its
stdout or stderr --wait-delay after the last command's end is not waited for. A
third one ends it at once. When stdout is closed, as by head, it kills them and
ends by SIGPIPE, shown as 141. Ctrl-Z suspends the commands and their time
limits, too. A signal that was ignored when it was started, as with nohup, stays
ignored, but for SIGPIPE and SIGCHLD. If it is killed itself, the commands are
killed, too.";

/// A number has no sign, and is one that this system has.
fn parse_signal(text: &str) -> Result<Signal, String> {
    let unknown = || format!("unknown signal {text:?}");
    if text.starts_with('+') {
        return Err(unknown());
    }
    let signal: Signal = text.parse().map_err(|error| format!("{error}"))?;
    match signal.number() <= program::signal_number_max() {
        true => Ok(signal),
        false => Err(unknown()),
    }
}

/// It is bytes, as the environment is.
fn parse_variable(text: OsString) -> Result<(OsString, OsString), String> {
    let bytes = text.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(end @ 1..) => {
            let part = |bytes| OsStr::from_bytes(bytes).to_owned();
            Ok((part(&bytes[..end]), part(&bytes[end + 1..])))
        }
        _ => Err("expected a name and a value, such as LC_ALL=C".to_owned()),
    }
}
