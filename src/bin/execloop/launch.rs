//! Makes the library's `Command` of a task: what it executes, what it is given, how it is stopped, where its output goes.
//! Unaware of the list and of what becomes of the command.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use execloop::jobserver::Jobserver;
use execloop::linux::CommandExt;
use execloop::{Cancel, Command, Context, Input, LookPathError, Output, Signal, TerminalSize};

use crate::capture::{Copied, LeftOut, Limited, Lost};
use crate::job::Work;
use crate::outbox::Outbox;
use crate::output::Collector;
use crate::search::Search;
use crate::sink::Job;
use crate::tagged::{Backlog, TaggedLines, Tagging};

/// Systems where a command can ask for a signal at its parent's death. Elsewhere, one that outlives a SIGKILL of this
/// process goes on.
const CAN_DIE_WITH_PARENT: bool = cfg!(any(
    target_os = "freebsd",
    target_os = "dragonfly",
    all(target_os = "linux", not(execloop_kqueue_shim))
));

/// What all commands have in common.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    /// Zero: no bound.
    pub(crate) wait_delay: Duration,
    pub(crate) signal: Signal,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) search: Search,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) output_bytes_max: Option<u64>,
    /// They have this terminal, one at a time.
    pub(crate) console: Option<Arc<File>>,
    /// They write to a terminal of this size in place of a pipe.
    pub(crate) terminal: Option<TerminalSize>,
    /// Output's lines are tagged by the command.
    pub(crate) tags: bool,
    /// Where each has a directory for its results.
    pub(crate) results: Option<PathBuf>,
    pub(crate) context: Context,
    /// The commands are to know of it.
    pub(crate) jobserver: Option<Jobserver>,
}

/// Where one command's output goes.
pub(crate) enum Target<'a> {
    Collected(&'a Collector),
    Streamed(&'a Outbox, &'a Backlog),
    /// To our own stdout and stderr.
    Inherited,
}

impl Target<'_> {
    fn left_out(&self) -> LeftOut {
        match self {
            Target::Collected(collector) => LeftOut::Counted((*collector).clone()),
            Target::Streamed(..) => LeftOut::Noted,
            Target::Inherited => LeftOut::Untold,
        }
    }
}

/// Why there is no command.
#[derive(Debug)]
pub(crate) enum LaunchError {
    /// There is no such program.
    Program(LookPathError),
    /// There is no place for its results.
    Results(io::Error),
}

impl From<io::Error> for LaunchError {
    fn from(error: io::Error) -> LaunchError {
        LaunchError::Results(error)
    }
}

impl Launch {
    /// # Errors
    /// When there is no such program, or no place for its results.
    pub(crate) fn command(
        &self,
        work: &Work,
        input: Option<&Arc<[u8]>>,
        job: &Job,
        target: &Target<'_>,
        lost: &Lost,
    ) -> Result<Command, LaunchError> {
        let mut command = match work {
            Work::Shell(line) => {
                let mut command = Command::new("/bin/sh");
                // The text may begin with a dash.
                command.args(["-c", "--"]).arg(OsStr::from_bytes(line));
                command
            }
            Work::Program(words) => {
                let mut words = words.iter().map(|word| OsStr::from_bytes(word));
                let name = words.next().unwrap_or_default();
                let command = self.search.command(name);
                let mut command = command.map_err(LaunchError::Program)?;
                command.args(words);
                command
            }
        };
        command
            // A terminal's signals reach only this process; it passes on what they mean.
            .process_group(0)
            .on_cancel(self.cancel())
            .wait_delay(self.wait_delay)
            .context(&self.context);
        if CAN_DIE_WITH_PARENT {
            // However this process ends, even by SIGKILL.
            command.parent_death_signal(Signal::KILL);
        }
        if let Some(input) = input {
            command.stdin(Input::bytes(Arc::clone(input)));
        }
        if let Some(terminal) = &self.console {
            command
                .console(true)
                .stdin(Input::file(terminal.try_clone()?));
        }
        if let Some(timeout) = self.timeout {
            command.timeout(timeout);
        }
        if let Some(timeout) = self.idle_timeout {
            command.idle_timeout(timeout);
        }
        if let Some(jobserver) = &self.jobserver {
            jobserver.pass_to(&mut command)?;
        }
        for (name, value) in &self.env {
            command.env(name, value);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        self.set_output(&mut command, job, target, lost)?;
        Ok(command)
    }

    /// A command that is stopped, as it has read from the terminal, sees the signal once it is continued.
    fn cancel(&self) -> Cancel {
        Cancel::signal(self.signal)
            .then(Duration::ZERO, Signal::CONT)
            .to_group()
    }

    /// What runs a file that may be executed and has no format that the kernel knows: a shell, as execvp(3) has it. `None`
    /// for one that is no text, as shells themselves have it.
    pub(crate) fn by_shell(&self, work: &Work) -> Option<Work> {
        let Work::Program(words) = work else {
            return None;
        };
        let (program, arguments) = words.split_first()?;
        let program = OsStr::from_bytes(program);
        let path = self.search.find(program).unwrap_or_else(|_| program.into());
        let from = self.dir.as_deref().unwrap_or(Path::new(""));
        if !is_text(&from.join(&path)).unwrap_or(false) {
            return None;
        }
        let mut words = vec![b"/bin/sh".to_vec(), b"--".to_vec()];
        words.push(path.as_os_str().as_bytes().to_vec());
        words.extend_from_slice(arguments);
        Some(Work::Program(words))
    }

    fn set_output(
        &self,
        command: &mut Command,
        job: &Job,
        target: &Target<'_>,
        lost: &Lost,
    ) -> io::Result<()> {
        if let Target::Inherited = target {
            command.stdout(Output::inherit()).stderr(Output::inherit());
            return Ok(());
        }
        if let Some(results) = &self.results {
            let directory = results.join(job.sequence.to_string());
            fs::create_dir_all(&directory)?;
            remove_status(&directory)?;
            fs::write(directory.join("command"), [&job.text[..], b"\n"].concat())?;
            let stream = |name: &str| -> io::Result<Output> {
                let to = self.limited(self.writer(job, target), target.left_out());
                let file = File::create(directory.join(name))?;
                let file = self.limited(Box::new(file), LeftOut::Untold);
                let lost = lost.clone();
                Ok(self.output(Copied { to, file, lost }))
            };
            command.stdout(stream("stdout")?).stderr(stream("stderr")?);
            return Ok(());
        }
        let output = match target {
            // The most common one needs no box.
            Target::Collected(collector) if !self.tags && self.output_bytes_max.is_none() => {
                self.output((*collector).clone())
            }
            _ => self.output(self.limited(self.writer(job, target), target.left_out())),
        };
        command.stdout(output).stderr_to_stdout(true);
        Ok(())
    }

    fn output(&self, writer: impl Write + Send + 'static) -> Output {
        let output = Output::writer(writer);
        match self.terminal {
            // Raw, as what is printed may go to a terminal again, or into a file.
            Some(size) => output.raw_terminal(size),
            None => output,
        }
    }

    fn limited(&self, writer: Box<dyn Write + Send>, left_out: LeftOut) -> Box<dyn Write + Send> {
        match self.output_bytes_max {
            Some(bytes_max) => Box::new(Limited::new(writer, bytes_max, left_out)),
            None => writer,
        }
    }

    fn writer(&self, job: &Job, target: &Target<'_>) -> Box<dyn Write + Send> {
        let tag = || format!("{}\t", job.tag).into_bytes();
        match target {
            Target::Collected(collector) if self.tags => {
                Box::new(Tagging::new((*collector).clone(), tag()))
            }
            Target::Collected(collector) => Box::new((*collector).clone()),
            Target::Streamed(outbox, backlog) => {
                let tag = if self.tags {
                    tag()
                } else {
                    format!("{}: ", job.number).into_bytes()
                };
                Box::new(TaggedLines::new(outbox, backlog, job.slot, tag))
            }
            Target::Inherited => Box::new(io::sink()),
        }
    }
}

/// That of an earlier run would say that this command is done.
fn remove_status(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join("status")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// POSIX lets a shell refuse a file that has a NUL byte in its first line. A longer line than this is not looked at.
const FIRST_LINE_BYTES_MAX: u64 = 4096;

fn is_text(path: &Path) -> io::Result<bool> {
    let mut first = Vec::new();
    let file = File::open(path)?.take(FIRST_LINE_BYTES_MAX);
    BufReader::new(file).read_until(b'\n', &mut first)?;
    Ok(!first.contains(&0) && !first.starts_with(b"\x7fELF"))
}

/// Records how a command ended beside its output.
pub(crate) fn write_status(results: &Path, job: &Job, status: &str) -> io::Result<()> {
    let directory = results.join(job.sequence.to_string());
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("status"), format!("{status}\n"))
}
