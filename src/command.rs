//! `Command`, `Input`, `Output`: what to run, as plain data with a builder.
//! Unaware of the reactor's loop and of system calls.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::context::Context;
use crate::env::{EnvChanges, Snapshot, resolve};
use crate::error::{Error, StartError, Stream};
use crate::finished::Finished;
use crate::job::Policy;
use crate::lookpath::{LookPathError, look_path};
use crate::reactor::Reactor;
use crate::sys::{Attributes, CStrings, Groups, Launch, Program, Signal, Stdio, Target, nul_free};

/// Where a command's stdin comes from. Default: [`null`](Input::null).
pub struct Input(pub(crate) InputKind);

pub(crate) enum InputKind {
    Null,
    Inherit,
    Pipe,
    Bytes(Arc<[u8]>),
    Reader(Box<dyn Read + Send>),
    File(OwnedFd),
    /// An earlier start took it.
    Consumed,
}

impl Input {
    /// `/dev/null`: reads give the end at once. The default.
    pub fn null() -> Input {
        Input(InputKind::Null)
    }

    /// The parent's own stdin, shared with it and with every other child that inherits it.
    pub fn inherit() -> Input {
        Input(InputKind::Inherit)
    }

    /// A pipe, written by the caller through [`Reactor::stdin`]. The trap: a command that reads to the end runs until the
    /// caller closes it (Go: `StdinPipe`).
    pub fn pipe() -> Input {
        Input(InputKind::Pipe)
    }

    /// These bytes, then the end. Shared, not copied, when the command is started again. A command that exits or
    /// closes its stdin without reading them all has done nothing wrong.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Input {
        Input(InputKind::Bytes(bytes.into()))
    }

    /// What `reader` gives, then the end. It is read on the reactor's thread and must not block; one that returns
    /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) pauses the stream until [`Reactor::resume`]. For one start.
    pub fn reader(reader: impl Read + Send + 'static) -> Input {
        Input(InputKind::Reader(Box::new(reader)))
    }

    /// This file, socket or pipe end itself, without copying. Ours is closed once the child has it. For one start.
    pub fn file(file: impl Into<OwnedFd>) -> Input {
        Input(InputKind::File(file.into()))
    }

    fn take(&mut self) -> Result<InputKind, StartError> {
        Ok(match &mut self.0 {
            InputKind::Null => InputKind::Null,
            InputKind::Inherit => InputKind::Inherit,
            InputKind::Pipe => InputKind::Pipe,
            InputKind::Bytes(bytes) => InputKind::Bytes(Arc::clone(bytes)),
            InputKind::Consumed => {
                return Err(StartError::Consumed {
                    stream: "stdin".to_owned(),
                });
            }
            one_shot => std::mem::replace(one_shot, InputKind::Consumed),
        })
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match &self.0 {
            InputKind::Null => "Input::null",
            InputKind::Inherit => "Input::inherit",
            InputKind::Pipe => "Input::pipe",
            InputKind::Bytes(_) => "Input::bytes",
            InputKind::Reader(_) => "Input::reader",
            InputKind::File(_) => "Input::file",
            InputKind::Consumed => "Input (used up)",
        })
    }
}

/// Where a command's stdout or stderr goes. Default: [`null`](Output::null).
pub struct Output(pub(crate) OutputKind);

pub(crate) type LineCallback = Box<dyn FnMut(&[u8]) + Send>;

pub(crate) enum OutputKind {
    Null,
    Inherit,
    Pipe,
    Capture,
    CaptureEnds(usize),
    Writer(Box<dyn Write + Send>),
    Lines(LineCallback),
    File(OwnedFd),
    /// An earlier start took it.
    Consumed,
}

impl Output {
    /// `/dev/null`. The default.
    pub fn null() -> Output {
        Output(OutputKind::Null)
    }

    /// The parent's own descriptor of the same number.
    pub fn inherit() -> Output {
        Output(OutputKind::Inherit)
    }

    /// A pipe, read by the caller through [`Reactor::stdout`] or [`Reactor::stderr`]. The trap: nobody else reads it, so a
    /// command that fills it waits for the caller; what is unread when its [`Finished`] is handed out is lost (Go:
    /// `StdoutPipe`).
    pub fn pipe() -> Output {
        Output(OutputKind::Pipe)
    }

    /// Collects everything, for [`Finished::stdout`] or [`Finished::stderr`]. Without a limit: see
    /// [`capture_ends`](Output::capture_ends) for output that may be endless.
    pub fn capture() -> Output {
        Output(OutputKind::Capture)
    }

    /// Collects the first and the last `bytes` bytes. If anything between was left out, a line
    /// `... omitting 123 bytes ...` stands in its place. The command is read to its end all the same.
    pub fn capture_ends(bytes: usize) -> Output {
        Output(OutputKind::CaptureEnds(bytes))
    }

    /// Hands each chunk to `writer`, on the reactor's thread; it must not block, and one that returns
    /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) pauses the stream until [`Reactor::resume`]. Its first error ends the
    /// stream: the command then sees a closed pipe. Flushed at the end. For one start.
    pub fn writer(writer: impl Write + Send + 'static) -> Output {
        Output(OutputKind::Writer(Box::new(writer)))
    }

    /// Calls `callback` with each line, without its newline, on the reactor's thread. A last line without a newline
    /// counts. A line longer than 1 MiB comes in pieces of that size. For one start.
    pub fn lines(callback: impl FnMut(&[u8]) + Send + 'static) -> Output {
        Output(OutputKind::Lines(Box::new(callback)))
    }

    /// This file, socket or pipe end itself, without copying. Ours is closed once the child has it. For one start.
    pub fn file(file: impl Into<OwnedFd>) -> Output {
        Output(OutputKind::File(file.into()))
    }

    fn take(&mut self, stream: &str) -> Result<OutputKind, StartError> {
        Ok(match &mut self.0 {
            OutputKind::Null => OutputKind::Null,
            OutputKind::Inherit => OutputKind::Inherit,
            OutputKind::Pipe => OutputKind::Pipe,
            OutputKind::Capture => OutputKind::Capture,
            OutputKind::CaptureEnds(bytes) => OutputKind::CaptureEnds(*bytes),
            OutputKind::Consumed => {
                return Err(StartError::Consumed {
                    stream: stream.to_owned(),
                });
            }
            one_shot => std::mem::replace(one_shot, OutputKind::Consumed),
        })
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match &self.0 {
            OutputKind::Null => "Output::null",
            OutputKind::Inherit => "Output::inherit",
            OutputKind::Pipe => "Output::pipe",
            OutputKind::Capture => "Output::capture",
            OutputKind::CaptureEnds(_) => "Output::capture_ends",
            OutputKind::Writer(_) => "Output::writer",
            OutputKind::Lines(_) => "Output::lines",
            OutputKind::File(_) => "Output::file",
            OutputKind::Consumed => "Output (used up)",
        })
    }
}

/// A descriptor for the child above 2; `Consumed` once a start took it.
enum Extra {
    Closed,
    File(OwnedFd),
    Consumed,
}

/// What to run, and how.
///
/// The builder has the names of [`std::process::Command`] and the rules of Go's `os/exec`: no shell, no stdin, and output
/// that goes nowhere unless asked for. It can be started any number of times; what the kernel needs is prepared once.
/// A [reader](Input::reader), [writer](Output::writer) or [file](Input::file) is used up by the first start, and a second
/// then fails with [`StartError::Consumed`].
///
/// ```
/// use execloop::Command;
/// let greeting = Command::new("echo").arg("hello").output()?;
/// assert_eq!(greeting, b"hello\n");
/// # Ok::<(), execloop::Error>(())
/// ```
pub struct Command {
    path: PathBuf,
    lookup_error: Option<LookPathError>,
    argv: Vec<OsString>,
    environment: EnvChanges,
    directory: Option<PathBuf>,
    stdin: Option<Input>,
    stdout: Option<Output>,
    stderr: Option<Output>,
    stderr_to_stdout: bool,
    extra: Vec<(i32, Extra)>,
    pub(crate) attributes: Attributes,
    pub(crate) chroot: Option<PathBuf>,
    context: Option<Context>,
    cancel: Cancel,
    policy: Policy,
    retries_text_busy: bool,
    prepared: Option<Prepared>,
}

/// What all starts of a command share, until it is changed.
#[derive(Clone)]
struct Prepared {
    program: Arc<Program>,
    /// `None`: the parent's, from the reactor's snapshot.
    environment: Option<Arc<CStrings>>,
    policy: Arc<Policy>,
    cancel: Arc<Cancel>,
}

/// One start of a command: everything that the engine needs, and nothing borrowed.
pub(crate) struct Spec {
    pub(crate) launch: Launch,
    pub(crate) stdin: InputKind,
    pub(crate) stdout: OutputKind,
    pub(crate) stderr: OutputKind,
    pub(crate) policy: Arc<Policy>,
    pub(crate) cancel: Arc<Cancel>,
    pub(crate) context: Option<Context>,
    pub(crate) retries_text_busy: bool,
}

impl Spec {
    /// The caller is to read or write this stream's pipe himself.
    pub(crate) fn asks_for_pipe(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdin => matches!(self.stdin, InputKind::Pipe),
            Stream::Stdout => matches!(self.stdout, OutputKind::Pipe),
            Stream::Stderr => matches!(self.stderr, OutputKind::Pipe),
        }
    }
}

impl Command {
    /// A command that runs `program` with no arguments.
    ///
    /// A name without a slash is looked for in this process's `PATH`, now ([`look_path`]); a failure is told by the start.
    /// A name with a slash is taken as it is; a relative one is resolved by the child, in its
    /// [directory](Command::current_dir) (Go's rule).
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        let name = program.as_ref();
        let (path, lookup_error) = if name.is_empty() || name.as_encoded_bytes().contains(&b'/') {
            (PathBuf::from(name), None)
        } else {
            match look_path(name) {
                Ok(path) => (path, None),
                Err(error) => (
                    error.path().unwrap_or(Path::new(name)).to_owned(),
                    Some(error),
                ),
            }
        };
        Command {
            path,
            lookup_error,
            argv: vec![name.to_owned()],
            environment: EnvChanges::default(),
            directory: None,
            stdin: None,
            stdout: None,
            stderr: None,
            stderr_to_stdout: false,
            extra: Vec::new(),
            attributes: Attributes::default(),
            chroot: None,
            context: None,
            cancel: Cancel::default(),
            policy: Policy::default(),
            retries_text_busy: true,
            prepared: None,
        }
    }

    /// Every builder call goes through here, as what was prepared is then out of date.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Command)) -> &mut Command {
        self.prepared = None;
        change(self);
        self
    }

    /// Adds one argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.change(|command| command.argv.push(argument.as_ref().to_owned()))
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(
        &mut self,
        arguments: impl IntoIterator<Item = S>,
    ) -> &mut Command {
        self.change(|command| {
            command.argv.extend(
                arguments
                    .into_iter()
                    .map(|argument| argument.as_ref().to_owned()),
            )
        })
    }

    /// Sets what the program sees as its own name. Default: the name given to [`new`](Command::new), not the path found.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        self.change(|command| command.argv[0] = name.as_ref().to_owned())
    }

    /// Sets one variable. Of equal names the last counts. Default: the parent's environment, unchanged.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.change(|command| {
            command
                .environment
                .set(key.as_ref().to_owned(), value.as_ref().to_owned())
        })
    }

    /// Sets variables.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Command {
        for (key, value) in variables {
            self.env(key, value);
        }
        self
    }

    /// Removes one variable.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.change(|command| command.environment.remove(key.as_ref().to_owned()))
    }

    /// Starts from an empty environment. Calls of `env` before this one are forgotten.
    pub fn env_clear(&mut self) -> &mut Command {
        self.change(|command| command.environment.clear())
    }

    /// Sets the whole environment, as entries `KEY=value` (Go: `Cmd.Env`). Entries without `=` are passed on as they
    /// are, empty ones dropped; of equal keys the last counts.
    pub fn env_entries<S: AsRef<OsStr>>(
        &mut self,
        entries: impl IntoIterator<Item = S>,
    ) -> &mut Command {
        let entries = entries
            .into_iter()
            .map(|entry| entry.as_ref().to_owned())
            .collect();
        self.change(|command| command.environment.replace(entries))
    }

    /// The environment that the program would get, as entries `KEY=value`, with errors ignored (Go: `Cmd.Environ`).
    pub fn environment(&self) -> Vec<OsString> {
        let pwd = self
            .directory
            .as_deref()
            .and_then(|directory| std::path::absolute(directory).ok());
        resolve(
            &Snapshot::take(),
            &self.environment,
            pwd.as_deref().map(Path::as_os_str),
        )
        .0
    }

    /// Sets the working directory. Default: the parent's. Where the environment is inherited, `PWD` is set to it.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.change(|command| command.directory = Some(directory.as_ref().to_owned()))
    }

    /// Sets stdin. Default: [`Input::null`].
    pub fn stdin(&mut self, input: Input) -> &mut Command {
        self.change(|command| command.stdin = Some(input))
    }

    /// Sets stdout. Default: [`Output::null`].
    pub fn stdout(&mut self, output: Output) -> &mut Command {
        self.change(|command| command.stdout = Some(output))
    }

    /// Sets stderr. Default: [`Output::null`]. Takes [`stderr_to_stdout`](Command::stderr_to_stdout) back.
    pub fn stderr(&mut self, output: Output) -> &mut Command {
        self.change(|command| {
            command.stderr = Some(output);
            command.stderr_to_stdout = false;
        })
    }

    /// Sends stderr wherever stdout goes, through the same pipe, so that their order is kept.
    pub fn stderr_to_stdout(&mut self) -> &mut Command {
        self.change(|command| {
            command.stderr = None;
            command.stderr_to_stdout = true;
        })
    }

    /// Gives the child `file` as descriptor `number`, 3 or above, kept by exec. Ours is closed once the child has it. For
    /// one start. Of equal numbers the last counts.
    pub fn extra_fd(&mut self, number: i32, file: impl Into<OwnedFd>) -> &mut Command {
        self.set_extra(number, Extra::File(file.into()))
    }

    /// Makes sure that the child has no descriptor `number`. Without [`inherit_fds`](Command::inherit_fds) it has none
    /// anyway, but 0, 1 and 2 can be closed by this alone (Go: a nil entry of `ExtraFiles`).
    pub fn close_fd(&mut self, number: i32) -> &mut Command {
        self.set_extra(number, Extra::Closed)
    }

    fn set_extra(&mut self, number: i32, extra: Extra) -> &mut Command {
        self.change(|command| {
            command.extra.retain(|(other, _)| *other != number);
            command.extra.push((number, extra));
        })
    }

    /// With `true`, the child inherits every descriptor that lacks close-on-exec, as Unix has it. Default: `false`, it gets
    /// 0, 1, 2 and its [extra](Command::extra_fd) ones. The cost: its start copies the parent's whole table.
    pub fn inherit_fds(&mut self, inherit: bool) -> &mut Command {
        self.change(|command| command.attributes.inherit_fds = inherit)
    }

    /// Runs it as this user. Unless [`groups`](Command::groups) says otherwise, supplementary groups are dropped where this
    /// process may do that.
    pub fn uid(&mut self, uid: u32) -> &mut Command {
        self.change(|command| command.attributes.uid = Some(uid))
    }

    /// Runs it with this group.
    pub fn gid(&mut self, gid: u32) -> &mut Command {
        self.change(|command| command.attributes.gid = Some(gid))
    }

    /// Sets its supplementary groups.
    pub fn groups(&mut self, groups: &[u32]) -> &mut Command {
        self.change(|command| command.attributes.groups = Groups::Set(groups.to_vec()))
    }

    /// Leaves its supplementary groups as the parent's, also with a [user](Command::uid) set (Go: `NoSetGroups`).
    pub fn keep_groups(&mut self) -> &mut Command {
        self.change(|command| command.attributes.groups = Groups::Keep)
    }

    /// Puts it into the process group `group`; 0 makes a new one that it leads. Default: the parent's. Terminal signals such
    /// as Ctrl-C then no longer reach it, and [`Cancel::to_group`] reaches its descendants.
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.change(|command| command.attributes.process_group = Some(group))
    }

    /// With `true`, makes it the leader of a new session, and so of a new group, without a terminal (setsid(2)).
    pub fn session(&mut self, session: bool) -> &mut Command {
        self.change(|command| command.attributes.session = session)
    }

    /// Ends it with this context. Default: none. A context that has ended already makes the start fail.
    pub fn context(&mut self, context: &Context) -> &mut Command {
        self.change(|command| command.context = Some(context.clone()))
    }

    /// The context given, if any.
    pub fn context_ref(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    /// Sets what happens when it is to end. Default: [`Cancel::kill`].
    pub fn cancel(&mut self, cancel: Cancel) -> &mut Command {
        self.change(|command| command.cancel = cancel)
    }

    /// Short for `cancel(Cancel::signal(signal))`: ask before the kill (golang/go#50436).
    pub fn interrupt(&mut self, signal: Signal) -> &mut Command {
        self.cancel(Cancel::signal(signal))
    }

    /// Bounds the time between its being asked to stop, or its exit, and its end. Default, and zero: no bound.
    ///
    /// When the delay is over it is killed, and its pipes, which a descendant may hold, are read once more and closed. The
    /// clock starts when the cancel action has returned or when it exits, whichever is earlier, and does not start again.
    /// Output never restarts it (Go: `Cmd.WaitDelay`).
    pub fn wait_delay(&mut self, delay: Duration) -> &mut Command {
        self.change(|command| command.policy.wait_delay = (!delay.is_zero()).then_some(delay))
    }

    /// Ends it as a context would, this long after its start; time in a queue does not count. Default: never.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Command {
        self.change(|command| command.policy.timeout = Some(timeout))
    }

    /// Ends it as a context would, once it has written nothing to its captured or copied output for this long. Default:
    /// never.
    pub fn idle_timeout(&mut self, timeout: Duration) -> &mut Command {
        self.change(|command| command.policy.idle_timeout = Some(timeout))
    }

    /// With `false`, a program whose file is being written ([`ETXTBSY`]) fails at once. Default: `true`, its start is tried
    /// again after 1, 2, 4 .. 64 milliseconds: another thread's fork holds the file for an instant.
    ///
    /// [`ETXTBSY`]: https://man7.org/linux/man-pages/man2/execve.2.html
    pub fn retry_text_busy(&mut self, retry: bool) -> &mut Command {
        self.change(|command| command.retries_text_busy = retry)
    }

    /// The path that will be executed: what was given, or what was found in `PATH`.
    pub fn program(&self) -> &Path {
        &self.path
    }

    /// Why the program was not found, which the start would tell (Go: `Cmd.Err`).
    pub fn lookup_error(&self) -> Option<&LookPathError> {
        self.lookup_error.as_ref()
    }

    /// Allows a program that was found relative to the current directory, as `.` or an empty element is in `PATH` (Go:
    /// clearing `ErrDot`). Default: the start refuses it.
    pub fn allow_dot(&mut self) -> &mut Command {
        self.change(|command| {
            if matches!(command.lookup_error, Some(LookPathError::Dot { .. })) {
                command.lookup_error = None;
            }
        })
    }

    /// Runs it to its end, on this thread, in a reactor of its own.
    ///
    /// # Errors
    /// As [`Finished::outcome`], or why it could not be started.
    pub fn run(&mut self) -> Result<(), Error> {
        self.finish()?.outcome
    }

    /// Runs it to its end and tells everything: with the output so far, whatever the outcome.
    ///
    /// # Errors
    /// Why it could not be started, or [`Error::Reactor`].
    pub fn finish(&mut self) -> Result<Finished, Error> {
        let mut reactor = Reactor::new().map_err(StartError::Reactor)?;
        let id = reactor.start(self)?;
        match reactor.wait(id).map_err(Error::Reactor)? {
            Some(finished) => Ok(finished),
            None => Err(Error::StatusLost),
        }
    }

    /// Runs it to its end and returns its stdout (Go: `Cmd.Output`).
    ///
    /// # Errors
    /// As [`run`](Command::run). On an exit status other than 0, [`ExitError::stderr`](crate::ExitError::stderr) holds the
    /// first and last 32 KiB of its stderr, unless stderr was set. Refused when stdout was set.
    pub fn output(&mut self) -> Result<Vec<u8>, Error> {
        self.refuse_set(self.stdout.is_some(), "stdout is already set")?;
        let keeps_stderr = self.stderr.is_none() && !self.stderr_to_stdout;
        self.stdout = Some(Output::capture());
        if keeps_stderr {
            self.stderr = Some(Output::capture_ends(STDERR_END_BYTES));
        }
        let finished = self.finish();
        self.stdout = None;
        if keeps_stderr {
            self.stderr = None;
        }
        let mut finished = finished?;
        if let Err(Error::Exit(exit)) = &mut finished.outcome
            && keeps_stderr
        {
            exit.stderr = std::mem::take(&mut finished.stderr);
        }
        finished.outcome.map(|()| finished.stdout)
    }

    /// Runs it to its end and returns its stdout and stderr, in the order in which it wrote them (Go:
    /// `Cmd.CombinedOutput`).
    ///
    /// # Errors
    /// As [`run`](Command::run). Refused when stdout or stderr was set.
    pub fn combined_output(&mut self) -> Result<Vec<u8>, Error> {
        self.refuse_set(self.stdout.is_some(), "stdout is already set")?;
        self.refuse_set(
            self.stderr.is_some() || self.stderr_to_stdout,
            "stderr is already set",
        )?;
        self.stdout = Some(Output::capture());
        self.stderr_to_stdout = true;
        let finished = self.finish();
        self.stdout = None;
        self.stderr_to_stdout = false;
        let finished = finished?;
        finished.outcome.map(|()| finished.stdout)
    }

    fn refuse_set(&self, is_set: bool, why: &'static str) -> Result<(), StartError> {
        if is_set {
            Err(StartError::Refused(why))
        } else {
            Ok(())
        }
    }

    /// What one start needs, checked in Go's order: the program, the settings, the context, the streams, the environment.
    pub(crate) fn spec(&mut self, snapshot: &mut Snapshot) -> Result<Spec, StartError> {
        if self.path.as_os_str().is_empty() {
            return Err(StartError::NoCommand);
        }
        if let Some(error) = &self.lookup_error {
            return Err(StartError::LookPath(error.again()));
        }
        self.refuse_contradictions()?;
        if let Some(cause) = self.context.as_ref().and_then(Context::cause) {
            return Err(StartError::ContextDone(cause));
        }
        let prepared = match &self.prepared {
            Some(prepared) => prepared.clone(),
            None => self.prepare(snapshot)?,
        };
        let environment = prepared
            .environment
            .clone()
            .unwrap_or_else(|| snapshot.shared());
        self.prepared = Some(prepared.clone());
        let consumed = self
            .extra
            .iter()
            .find(|(_, extra)| matches!(extra, Extra::Consumed));
        if let Some((number, _)) = consumed {
            return Err(StartError::Consumed {
                stream: format!("extra descriptor {number}"),
            });
        }
        let mut stdin = self
            .stdin
            .as_mut()
            .map_or(Ok(InputKind::Null), Input::take)?;
        let mut stdout = self
            .stdout
            .as_mut()
            .map_or(Ok(OutputKind::Null), |output| output.take("stdout"))?;
        let mut stderr = self
            .stderr
            .as_mut()
            .map_or(Ok(OutputKind::Null), |output| output.take("stderr"))?;
        let stderr_stdio = if self.stderr_to_stdout {
            Stdio::SameAsStdout
        } else {
            stderr.stdio()
        };
        let mut stdio = [stdin.stdio(), stdout.stdio(), stderr_stdio];
        let mut extra = self.take_extra();
        extra.retain(|(number, _)| {
            match usize::try_from(*number)
                .ok()
                .and_then(|number| stdio.get_mut(number))
            {
                Some(stdio) => {
                    *stdio = Stdio::Closed;
                    false
                }
                None => true,
            }
        });
        let launch = Launch {
            program: prepared.program,
            environment,
            stdio,
            extra,
        };
        Ok(Spec {
            launch,
            stdin,
            stdout,
            stderr,
            policy: prepared.policy,
            cancel: prepared.cancel,
            context: self.context.clone(),
            retries_text_busy: self.retries_text_busy,
        })
    }

    fn refuse_contradictions(&self) -> Result<(), StartError> {
        let attributes = &self.attributes;
        let leads_group = attributes.session
            || attributes.process_group == Some(0)
            || attributes.foreground.is_some();
        let kills_group = self.cancel.target == Target::Group;
        self.refuse_set(
            kills_group && !leads_group,
            "a cancel to the group needs process_group(0) or session(true)",
        )?;
        let rejoins =
            attributes.session && attributes.process_group.is_some_and(|group| group != 0);
        self.refuse_set(
            rejoins,
            "a session leader cannot join another process group",
        )?;
        let both = attributes.foreground.is_some() && attributes.controlling_terminal.is_some();
        self.refuse_set(
            both,
            "foreground and a new controlling terminal exclude each other",
        )?;
        let no_session = attributes.controlling_terminal.is_some() && !attributes.session;
        self.refuse_set(no_session, "a controlling terminal needs session(true)")?;
        let negative = self.extra.iter().any(|(number, _)| *number < 0);
        self.refuse_set(negative, "an extra descriptor's number is negative")?;
        let low =
            |extra: &(i32, Extra)| (0..3).contains(&extra.0) && !matches!(extra.1, Extra::Closed);
        self.refuse_set(
            self.extra.iter().any(low),
            "descriptors 0, 1 and 2 are set by stdin, stdout and stderr",
        )
    }

    fn prepare(&self, snapshot: &mut Snapshot) -> Result<Prepared, StartError> {
        let nul = |what: &str| StartError::Nul {
            what: what.to_owned(),
        };
        let mut attributes = self.attributes.clone();
        if let Some(root) = &self.chroot {
            attributes.chroot =
                Some(nul_free(root.as_os_str()).ok_or_else(|| nul("root directory"))?);
        }
        let directory = match &self.directory {
            Some(directory) => {
                Some(nul_free(directory.as_os_str()).ok_or_else(|| nul("directory"))?)
            }
            None => None,
        };
        let path = nul_free(self.path.as_os_str()).ok_or_else(|| nul("program"))?;
        let argv = CStrings::new(&self.argv).ok_or_else(|| self.argument_with_nul())?;
        let environment = self.prepare_environment(snapshot)?;
        let mut policy = self.policy.clone();
        policy.ignores_context = self.cancel.is_nothing();
        policy.rungs = self.cancel.rungs.iter().map(|(after, _)| *after).collect();
        Ok(Prepared {
            program: Arc::new(Program {
                path,
                argv,
                directory,
                attributes,
            }),
            environment,
            policy: Arc::new(policy),
            cancel: Arc::new(self.cancel.clone()),
        })
    }

    fn argument_with_nul(&self) -> StartError {
        let position = self
            .argv
            .iter()
            .position(|argument| argument.as_encoded_bytes().contains(&0));
        StartError::Nul {
            what: format!("argument {}", position.unwrap_or(0)),
        }
    }

    /// `None` where all commands that change nothing can share one.
    fn prepare_environment(
        &self,
        snapshot: &mut Snapshot,
    ) -> Result<Option<Arc<CStrings>>, StartError> {
        let pwd = match &self.directory {
            Some(path) if self.environment.is_inherited() => {
                let absolute = std::path::absolute(path);
                Some(absolute.map_err(|source| StartError::Directory {
                    path: path.clone(),
                    source,
                })?)
            }
            _ => None,
        };
        if self.environment.is_unchanged() && pwd.is_none() {
            return Ok(None);
        }
        let (entries, has_nul) = resolve(
            snapshot.entries(),
            &self.environment,
            pwd.as_deref().map(Path::as_os_str),
        );
        let block = CStrings::new(&entries).filter(|_| !has_nul);
        let block = block.ok_or_else(|| StartError::Nul {
            what: "environment".to_owned(),
        })?;
        Ok(Some(Arc::new(block)))
    }

    fn take_extra(&mut self) -> Vec<(i32, Option<OwnedFd>)> {
        let take = |(number, extra): &mut (i32, Extra)| match extra {
            Extra::File(_) => match std::mem::replace(extra, Extra::Consumed) {
                Extra::File(file) => (*number, Some(file)),
                _ => (*number, None),
            },
            Extra::Closed | Extra::Consumed => (*number, None),
        };
        self.extra.iter_mut().map(take).collect()
    }
}

/// How much of stderr's beginning and end a failed [`Command::output`] keeps (Go: 32 KiB each).
const STDERR_END_BYTES: usize = 32 * 1024;

impl InputKind {
    /// What the child gets; a file moves into it.
    fn stdio(&mut self) -> Stdio {
        match self {
            InputKind::Null | InputKind::Consumed => Stdio::Null,
            InputKind::Inherit => Stdio::Inherit,
            InputKind::Pipe | InputKind::Bytes(_) | InputKind::Reader(_) => Stdio::Pipe,
            InputKind::File(_) => match std::mem::replace(self, InputKind::Consumed) {
                InputKind::File(file) => Stdio::File(file),
                _ => Stdio::Null,
            },
        }
    }
}

impl OutputKind {
    /// What the child gets; a file moves into it.
    fn stdio(&mut self) -> Stdio {
        match self {
            OutputKind::Null | OutputKind::Consumed => Stdio::Null,
            OutputKind::Inherit => Stdio::Inherit,
            OutputKind::File(_) => match std::mem::replace(self, OutputKind::Consumed) {
                OutputKind::File(file) => Stdio::File(file),
                _ => Stdio::Null,
            },
            _ => Stdio::Pipe,
        }
    }
}

/// The path and the arguments after the first, joined by spaces, unquoted: for people, not for a shell (Go:
/// `Cmd.String`).
impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lookup_error {
            None => write!(formatter, "{}", self.path.display())?,
            Some(_) => write!(formatter, "{}", self.argv[0].display())?,
        }
        for argument in &self.argv[1..] {
            write!(formatter, " {}", argument.display())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Command")
            .field("path", &self.path)
            .field("argv", &self.argv)
            .field("directory", &self.directory)
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("cancel", &self.cancel)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
