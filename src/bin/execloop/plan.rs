//! From arguments to a run: opens what is read and, by `records.rs`, written, and says what does not go together.
//! Unaware of how commands are run.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use execloop::{Context, TerminalSize, program};
use rustix::io::Errno;

use crate::arguments::RunArguments;
use crate::bar::{self, Style};
use crate::cut::{Cut, Cutter};
use crate::invocation::{Input, Invocation};
use crate::job::{Manner, Recipe};
use crate::jobserver::choose;
use crate::launch::Launch;
use crate::limits::{Halt, Jobs, Throttle};
use crate::printable::{printable, printable_message};
use crate::printing::Printing;
use crate::run::{Options, Origin};
use crate::search::Search;
use crate::source::Combinations;
use crate::template::{self, Position, Template};
use crate::words;

mod records;

pub(crate) use records::{Form, Record};
use records::{job_log, pictures, refuse_same_files, results};

/// All that a run needs.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) options: Options,
    pub(crate) origin: Origin,
    /// What the list is called.
    pub(crate) list: String,
    /// The list is typed.
    pub(crate) is_typed: bool,
    /// What the user is to know before anything runs.
    pub(crate) notes: Vec<String>,
    pub(crate) records: Vec<Record>,
    /// Open, so that no other run has the same directory.
    _results: Option<File>,
}

/// The terminal that controls this process.
const TERMINAL: &str = "/dev/tty";

/// What is wrong with the usage, in words.
pub(crate) type Wrong = String;

impl Plan {
    pub(crate) fn new(arguments: &RunArguments) -> Result<Plan, Wrong> {
        let input = &arguments.input;
        let words = arguments.words.clone();
        let wants_command = input.max_args.is_some() || input.pipe;
        let invocation = Invocation::new(words, input.arg_file.clone(), wants_command);
        let is_stdin = |input: &&Input| **input == Input::stdin();
        if invocation.inputs.iter().filter(is_stdin).count() > 1 {
            return Err("stdin can be read once, and - names it twice".to_owned());
        }
        if let Some(directory) = &arguments.child.dir {
            refuse_no_directory(directory)?;
        }
        let recipe = recipe(arguments, &invocation)?;
        let (origin, list, is_typed) = origin(arguments, &invocation, &recipe)?;
        let dry_run = arguments.output.dry_run;
        // First, as other records may be in there.
        let held = match &arguments.record.results {
            Some(path) if !dry_run => results(path)?,
            _ => None,
        };
        let (job_log, done_before) = job_log(arguments)?;
        let mut records: Vec<Record> = job_log.into_iter().collect();
        if !dry_run {
            records.extend(pictures(arguments)?);
            refuse_same_files(&origin, &list, &records)?;
        }
        let mut options = options(arguments, recipe, done_before, is_typed);
        let limits = &arguments.limits;
        let mut notes = Vec::new();
        let note = |note: String| notes.push(note);
        let chosen = choose(limits.jobserver, limits.jobserver_serve, options.jobs, note);
        options.launch.jobserver = chosen?;
        if arguments.output.open_tty && !options.dry_run {
            let terminal = File::open(TERMINAL);
            let terminal = terminal.map_err(|error| about(Path::new(TERMINAL), &error))?;
            options.launch.console = Some(Arc::new(terminal));
        }
        Ok(Plan {
            options,
            origin,
            list,
            is_typed,
            notes,
            records,
            _results: held,
        })
    }
}

fn about(path: &Path, error: &io::Error) -> Wrong {
    crate::about(&path.display().to_string(), error)
}

/// Each command would fail for it in the same way.
fn refuse_no_directory(path: &Path) -> Result<(), Wrong> {
    let metadata = fs::metadata(path).map_err(|error| about(path, &error))?;
    match metadata.is_dir() {
        true => Ok(()),
        false => Err(about(path, &Errno::NOTDIR.into())),
    }
}

fn recipe(arguments: &RunArguments, invocation: &Invocation) -> Result<Recipe, Wrong> {
    let input = &arguments.input;
    let manner = match (input.shell, input.argv) {
        (true, _) => Manner::Shell,
        (_, true) => Manner::Argv,
        (false, false) => Manner::Either,
    };
    let command = &invocation.command;
    if command.is_empty() {
        if input.pipe {
            return Err("--pipe needs a command that reads the blocks".to_owned());
        }
        if input.max_args.is_some() {
            return Err("-n needs a command to give the arguments to".to_owned());
        }
        if invocation.inputs.len() > 1 {
            return Err(
                "several lists need a command for their arguments, such as: echo {1} {2}; \
                 to run the commands of several files, write: cat FILE.. | execloop run"
                    .to_owned(),
            );
        }
        return Ok(Recipe::Lines(manner));
    }
    let template = Template::new(command, !input.pipe);
    let values = match (input.max_args, &invocation.inputs[..]) {
        (Some(max), [_]) => max.get(),
        (Some(_), _) => return Err("-n takes arguments of one source".to_owned()),
        (None, inputs) => inputs.len(),
    };
    if template.number_max() > values {
        let number = template.number_max();
        return Err(format!(
            "there is no argument for {{{number}}}: a command has {values}"
        ));
    }
    let is_line = match &command[..] {
        [word] => word.contains(&b' ') || input.shell,
        _ => input.shell,
    };
    if !is_line {
        refuse_missing(&search(arguments), &command[0], command)?;
    }
    if !is_line {
        return Ok(Recipe::Words(template));
    }
    // A number may stand in arithmetic, too.
    let some = vec![b"1".to_vec(); template.number_max().max(1)];
    let recipe = Recipe::Line(template, manner);
    let first = Position {
        sequence: 1,
        slot: 1,
    };
    // The line itself is not complete, or has a place that is not filled, whatever the arguments are.
    if let Err(fault) = recipe.task(&some, first) {
        let line = printable(&command.join(&b' '));
        return Err(format!("{line}: {fault}"));
    }
    Ok(recipe)
}

/// A program that is not in `PATH` would fail for each argument in the same way. And flags behind a list's file are
/// taken for arguments of a command, which it is not.
fn refuse_missing(search: &Search, program: &[u8], command: &[Vec<u8>]) -> Result<(), Wrong> {
    if template::has_place(program) {
        return Ok(());
    }
    let name = OsStr::from_bytes(program);
    let has_flag = command.get(1).is_some_and(|word| word.starts_with(b"-"));
    let is_path = program.contains(&b'/');
    let found = if is_path {
        execloop::look_path(name)
    } else {
        search.find(name)
    };
    match found {
        Ok(_) => Ok(()),
        Err(_) if has_flag && Path::new(name).is_file() => Err(format!(
            "{} is no program; if it lists commands, it stands behind all options",
            printable(program)
        )),
        // A path is looked for in the directory where it will run.
        Err(_) if is_path => Ok(()),
        Err(error) => Err(printable_message(&error.to_string())),
    }
}

fn origin(
    arguments: &RunArguments,
    invocation: &Invocation,
    recipe: &Recipe,
) -> Result<(Origin, String, bool), Wrong> {
    let input = &arguments.input;
    let separator = if input.null { 0 } else { b'\n' };
    let max = input.max_args.map_or(1, NonZeroUsize::get);
    let cut = match recipe {
        Recipe::Lines(_) => Cut::Commands { separator },
        _ if !input.pipe => Cut::Arguments { separator, max },
        _ if input.max_args.is_some() => Cut::Records { separator, max },
        _ => {
            let bytes =
                usize::try_from(input.block).map_err(|_| "--block is too large".to_owned())?;
            Cut::Block { separator, bytes }
        }
    };
    if let [Input::File(path)] = &invocation.inputs[..] {
        let is_stdin = path.to_str() == Some("-");
        let (file, name) = open(path)?;
        let is_typed = is_stdin && file.is_terminal();
        return Ok((Origin::List(file, cut), name, is_typed));
    }
    if input.pipe {
        return Err("--pipe reads stdin, or one file of -a".to_owned());
    }
    let mut lists = Vec::new();
    for input in &invocation.inputs {
        match input {
            Input::Values(values) => lists.push(values.clone()),
            Input::File(path) => lists.push(values_of(path, separator)?),
        }
    }
    Ok((
        Origin::Fixed(Combinations::new(lists, max)),
        "arguments".to_owned(),
        false,
    ))
}

/// All arguments that a file lists.
fn values_of(path: &Path, separator: u8) -> Result<Vec<Vec<u8>>, Wrong> {
    let (mut file, name) = open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|error| crate::about(&name, &error))?;
    let mut cutter = Cutter::new(Cut::Arguments { separator, max: 1 });
    let (mut rest, mut values) = (&bytes[..], Vec::new());
    while let Some(item) = cutter
        .next(&mut rest)
        .map_err(|error| crate::about(&name, &error))?
    {
        if let Some(fault) = item.fault {
            return Err(format!("{name}: line {}: {fault}", item.number));
        }
        values.extend(item.values);
    }
    Ok(values)
}

/// The file, and what it is called.
fn open(path: &Path) -> Result<(File, String), Wrong> {
    if path.as_os_str().is_empty() {
        return Err("the name of the list is empty".to_owned());
    }
    if path.to_str() == Some("-") {
        let file = stdin().map_err(|error| crate::about("stdin", &error))?;
        return Ok((file, "stdin".to_owned()));
    }
    let file = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
        true => Err(program::directory_error()),
        false => Ok(file),
    });
    match file {
        Ok(file) => Ok((file, path.display().to_string())),
        Err(error) => Err(match command_for_arguments(path) {
            Some(command) if error.kind() == io::ErrorKind::NotFound => format!(
                "{}; for a command that takes arguments, write: {}",
                about(path, &error),
                printable(&command),
            ),
            _ => about(path, &error),
        }),
    }
}

/// What was meant by one word that is a program, or a line of shell that begins with one, and no file.
fn command_for_arguments(word: &Path) -> Option<Vec<u8>> {
    let word = word.as_os_str().as_bytes();
    let ends_word = |byte: &u8| byte.is_ascii_whitespace() || b";&|".contains(byte);
    let name = word.split(ends_word).next()?;
    if name.contains(&b'/') || execloop::look_path(OsStr::from_bytes(name)).is_err() {
        return None;
    }
    let command = [word, b" {}"].concat();
    if name == word {
        return Some(command);
    }
    let mut line = Vec::new();
    words::push_quoted(&command, &mut line);
    Some(line)
}

/// What std has put in place of a closed one would be an empty list.
fn stdin() -> io::Result<File> {
    if program::was_closed_at_start(0) {
        return Err(program::closed_error());
    }
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn options(
    arguments: &RunArguments,
    recipe: Recipe,
    done_before: HashSet<u64>,
    is_typed: bool,
) -> Options {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let (limits, output) = (&arguments.limits, &arguments.output);
    let jobs = limits.jobs.unwrap_or(Jobs::PercentOfCores(100));
    let is_inherited = output.ungroup || output.open_tty;
    Options {
        jobs: if output.open_tty {
            1
        } else {
            jobs.count(cores.get())
        },
        throttle: Throttle {
            load_max: limits.load,
            memory_bytes_min: limits.memfree,
        },
        printing: match (output.keep_order, output.stream, is_inherited) {
            (_, _, true) => Printing::Inherited,
            (_, true, _) => Printing::Streamed,
            (true, ..) => Printing::InOrder,
            (false, ..) => Printing::AtEnd,
        },
        json: output.json,
        subreaper: arguments.child.subreaper,
        dry_run: output.dry_run,
        retries: limits.retries,
        halt: if limits.fail_fast {
            Some(Halt::Failures(1))
        } else {
            limits.halt
        },
        quiet: output.quiet || output.dry_run,
        has_colours: bar::has_colours(),
        progress: Style::of(
            output.progress,
            !output.quiet && !output.dry_run && !is_inherited && !is_typed,
        ),
        recipe,
        pipes: arguments.input.pipe,
        launch: Launch {
            timeout: limits.timeout.filter(|timeout| !timeout.is_zero()),
            idle_timeout: limits.idle_timeout.filter(|timeout| !timeout.is_zero()),
            wait_delay: limits.wait_delay,
            signal: limits.signal,
            env: arguments.child.env.clone(),
            search: search(arguments),
            dir: arguments.child.dir.clone(),
            output_bytes_max: output.output_limit,
            console: None,
            terminal: output.tty.then(terminal_size),
            tags: output.tag,
            results: arguments.record.results.clone(),
            context: Context::new(),
            jobserver: None,
        },
        done_before,
    }
}

fn search(arguments: &RunArguments) -> Search {
    let child = &arguments.child;
    Search::new(&child.env, child.dir.as_deref())
}

/// The commands' terminals are as large as ours.
fn terminal_size() -> TerminalSize {
    TerminalSize::of(io::stdout())
        .or_else(|| TerminalSize::of(io::stderr()))
        .unwrap_or_default()
}
