//! `Command`: what to run, as plain data with a builder: program, arguments, environment, streams, identity, limits.
//! Unaware of how it is run, and of system calls, but for `PATH`, where `new` looks for the program.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::context::Context;
use crate::data::{Carried, Data};
use crate::env::{EnvChanges, Snapshot, resolve};
use crate::error::StartError;
use crate::job::Policy;
use crate::lines::Lines;
use crate::lookpath::{LookPathError, look_path};
use crate::plain::ShellWord;
use crate::stdio::{Input, Output};
use crate::sys::{Attributes, Groups, Signal};

mod again;
mod prepare;

use prepare::Prepared;
pub(crate) use prepare::{Rank, Retry, Spec};

/// A descriptor for the child above 2; `Consumed` once a start took it.
enum Extra {
    Closed,
    File(OwnedFd),
    Consumed,
}

/// What to run, and how.
///
/// The builder has the names of [`std::process::Command`] and the rules of Go's `os/exec`: no shell, no stdin, and output
/// that goes nowhere unless asked for.
///
/// # Once more
///
/// It can be started any number of times; what the kernel needs is prepared once. What is for one start alone is used up by
/// the first: a [reader](Input::reader), a [writer](Output::writer), a [callback](Output::lines), a [file](Input::file), an
/// [extra descriptor](Command::extra_fd), the caller's [data](Command::data). A second then fails with
/// [`StartError::Consumed`], unless it was set anew.
///
/// A **clone** is as the original is for its second start: it has all that can be started again, and what is for one start
/// stays with the original. What is given by reference to a [`Handle`](crate::Handle) (`&mut Command`, as each builder call
/// returns it) is one start: that takes what is for one start along, and the command can be given again as it can be
/// started again.
///
/// ```
/// use execloop::{Command, Output, Reactor};
/// let mut compile = Command::new("echo");
/// compile.arg("cc").stdout(Output::capture());
/// let mut reactor = Reactor::new()?;
/// for unit in ["one.c", "two.c"] {
///     reactor.start(compile.clone().arg(unit).data(unit))?;
/// }
/// while let Some(mut done) = reactor.wait_any()? {
///     let unit: &str = done.take_data().expect("its unit");
///     assert_eq!(done.stdout, format!("cc {unit}\n").into_bytes());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Example
///
/// ```
/// use execloop::Command;
/// let greeting = Command::new("echo").arg("hello").output()?;
/// assert_eq!(greeting, b"hello\n");
/// # Ok::<(), execloop::CommandError>(())
/// ```
pub struct Command {
    /// As it was given.
    program: OsString,
    path: PathBuf,
    lookup_error: Option<LookPathError>,
    allows_dot: bool,
    argv: Vec<OsString>,
    environment: EnvChanges,
    directory: Option<PathBuf>,
    stdin: Option<Input>,
    pub(crate) stdout: Option<Output>,
    pub(crate) stderr: Option<Output>,
    pub(crate) stderr_to_stdout: bool,
    extra: Vec<(i32, Extra)>,
    pub(crate) attributes: Attributes,
    pub(crate) chroot: Option<PathBuf>,
    context: Option<Context>,
    cancel: Cancel,
    policy: Policy,
    retries_text_busy: bool,
    data: Carried,
    pool: Option<Arc<str>>,
    priority: i32,
    weight: u32,
    counts_queue: bool,
    prepared: Option<Prepared>,
}

impl Command {
    /// A command that runs `program` with no arguments.
    ///
    /// A name without a slash is looked for in this process's `PATH`, now ([`look_path`]); a failure is reported by the start.
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
            program: name.to_owned(),
            path,
            lookup_error,
            allows_dot: false,
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
            data: Carried::Nothing,
            pool: None,
            priority: 0,
            weight: 1,
            counts_queue: true,
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

    /// Sets one variable. Of equal names the last counts. Default: the parent's environment, unchanged. A name that is
    /// empty or contains `=` is refused by the start, as another variable would be set.
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
        let pwd = self.pwd().ok().flatten();
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

    /// Sends stdout and stderr, line by line, to a callback that is told whose each line is, in place of what was set for
    /// them. With [`stderr_to_stdout`](Command::stderr_to_stdout) after it, all are stdout's.
    pub fn lines(&mut self, lines: &Lines) -> &mut Command {
        let to_lines = || Output::shared(lines);
        self.stdout(to_lines()).stderr(to_lines())
    }

    /// With `true`, sends stderr wherever stdout goes, through the same pipe, so that their order is kept, and takes
    /// [`stderr`](Command::stderr) back. Default: `false`.
    pub fn stderr_to_stdout(&mut self, merge: bool) -> &mut Command {
        self.change(|command| {
            if merge {
                command.stderr = None;
            }
            command.stderr_to_stdout = merge;
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

    /// Sets its supplementary groups. Takes [`keep_groups`](Command::keep_groups) back.
    pub fn groups(&mut self, groups: &[u32]) -> &mut Command {
        self.change(|command| command.attributes.groups = Groups::Set(groups.to_vec()))
    }

    /// With `true`, leaves its supplementary groups as the parent's, also with a [user](Command::uid) set, and takes
    /// [`groups`](Command::groups) back (Go: `NoSetGroups`). Default: `false`.
    pub fn keep_groups(&mut self, keep: bool) -> &mut Command {
        self.change(|command| {
            let groups = &mut command.attributes.groups;
            if keep {
                *groups = Groups::Keep;
            } else if *groups == Groups::Keep {
                *groups = Groups::default();
            }
        })
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

    /// With `true`, whoever is left of its process group when it has exited is killed then, also after a normal end: what
    /// it has left in the background does not survive it. Default: `false`. It has to lead a group
    /// ([`process_group(0)`](Command::process_group) or [`session`](Command::session)), else its start is refused. The
    /// trap: a descendant with a group or session of its own is out of reach.
    pub fn sweep_group(&mut self, sweep: bool) -> &mut Command {
        self.change(|command| command.attributes.sweeps_group = sweep)
    }

    /// Ends it with this context. Default: none. A context that has ended already makes the start fail.
    pub fn context(&mut self, context: &Context) -> &mut Command {
        self.change(|command| command.context = Some(context.clone()))
    }

    /// Sets what happens when it is cancelled: when its context ends, a time limit is over, or
    /// [`Reactor::cancel`](crate::Reactor::cancel) names it. Default: [`Cancel::kill`].
    pub fn on_cancel(&mut self, cancel: Cancel) -> &mut Command {
        self.change(|command| command.cancel = cancel)
    }

    /// Short for `on_cancel(Cancel::signal(signal))`: ask before the kill (golang/go#50436).
    pub fn interrupt(&mut self, signal: Signal) -> &mut Command {
        self.on_cancel(Cancel::signal(signal))
    }

    /// Bounds the time between its being asked to stop, or its exit, and its end. Default, and zero: no bound.
    ///
    /// When the delay is over it is killed, and its pipes, which a descendant may hold, are read once more and closed. The
    /// clock starts when the cancel action has returned or when it exits, whichever is earlier, and does not start again.
    /// Output never restarts it (Go: `Cmd.WaitDelay`).
    pub fn wait_delay(&mut self, delay: Duration) -> &mut Command {
        self.change(|command| command.policy.wait_delay = (!delay.is_zero()).then_some(delay))
    }

    /// Bounds the time that its pipes may be held after its exit, apart from the [wait delay](Command::wait_delay), which
    /// bounds the exit alone then. Default: the wait delay is for both. The clock starts when its exit is seen and what the
    /// pipes held was read once: a busy machine is no leak. What is cut then is told as by the wait delay
    /// ([`Error::WaitDelay`](crate::Error::WaitDelay), [`Finished::leaked`](crate::Finished::leaked)).
    ///
    /// ```
    /// use execloop::{Command, Error, Output};
    /// use std::time::Duration;
    /// let mut leaks = Command::new("sh");
    /// leaks.args(["-c", "echo done; sleep 5 &"]).stdout(Output::capture());
    /// leaks.wait_delay(Duration::from_secs(60)).leak_timeout(Duration::from_millis(100));
    /// let done = leaks.finish()?;
    /// assert!(matches!(done.outcome, Err(Error::WaitDelay { .. })) && done.stdout == b"done\n");
    /// # Ok::<(), execloop::CommandError>(())
    /// ```
    pub fn leak_timeout(&mut self, timeout: Duration) -> &mut Command {
        self.change(|command| command.policy.leak_timeout = Some(timeout))
    }

    /// With `true`, who holds a pipe that has to be cut is looked up then, for [`Finished::holders`](crate::Finished::holders). Default: `false`, as
    /// that reads the descriptors of all processes ([`pipe_holders`](crate::linux::pipe_holders)), on the reactor's
    /// thread. Linux only; elsewhere nobody is found.
    pub fn name_holders(&mut self, name: bool) -> &mut Command {
        self.change(|command| command.policy.names_holders = name)
    }

    /// Has [`Reactor::wait_event`](crate::Reactor::wait_event) tell, after each such period that it runs, that it still does
    /// ([`Event::Slow`](crate::Event::Slow)). Default: never. It goes on; [`timeout`](Command::timeout) ends it.
    pub fn slow_after(&mut self, period: Duration) -> &mut Command {
        self.change(|command| command.policy.slow_after = (!period.is_zero()).then_some(period))
    }

    /// Ends it as a context would, this long after its start; time in a queue does not count. Default: never.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Command {
        self.change(|command| command.policy.timeout = Some(timeout))
    }

    /// Ends it as a context would, once nothing of its output was read for this long. Default: never. Only what passes
    /// through this process can be seen: an output that is inherited or a file is refused by the start, and so is a
    /// command without any other. Of an [`Output::pipe`](crate::Output::pipe) counts what the caller reads.
    pub fn idle_timeout(&mut self, timeout: Duration) -> &mut Command {
        self.change(|command| command.policy.idle_timeout = Some(timeout))
    }

    /// Ends it as a context would, once more than so many bytes of its output were read, stdout and stderr together.
    /// Default: no limit. One that had exited already with status 0 is [stopped](crate::Error::Stopped), too: with too much
    /// output nothing succeeds. Counted is what the reactor or the caller reads, as for an
    /// [idle timeout](Command::idle_timeout); an output that is inherited or a file has no limit. The trap: what it writes
    /// until it has ended is still taken; [`Output::capture_ends`] bounds what is kept.
    ///
    /// ```
    /// use execloop::{Cause, Command, Output};
    /// let error = Command::new("yes").stdout(Output::capture_ends(100)).output_limit(10_000).run().unwrap_err();
    /// assert_eq!(error.reason().cause(), Some(Cause::OutputLimit));
    /// ```
    pub fn output_limit(&mut self, bytes: u64) -> &mut Command {
        self.change(|command| command.policy.output_limit = Some(bytes))
    }

    /// With `false`, a program whose file is being written ([`ETXTBSY`]) fails at once. Default: `true`, its start is tried
    /// again after 1, 2, 4 .. 64 milliseconds: another thread's fork holds the file for an instant.
    ///
    /// [`ETXTBSY`]: https://man7.org/linux/man-pages/man2/execve.2.html
    pub fn retry_text_busy(&mut self, retry: bool) -> &mut Command {
        self.change(|command| command.retries_text_busy = retry)
    }

    /// Runs it in this pool of the reactor ([`ReactorBuilder::pool`](crate::ReactorBuilder::pool)): it waits for a place
    /// there, too, and holds up nobody outside of the pool meanwhile. Default: none. A start in a reactor without a pool of
    /// this name is refused.
    pub fn pool(&mut self, name: impl AsRef<str>) -> &mut Command {
        self.change(|command| command.pool = Some(name.as_ref().into()))
    }

    /// Sets who goes first in the queue: the higher number, and of equal ones who came first. Default: 0. A start that is
    /// under way is not undone for a higher one. The trap: the lower ones wait for as long as there are higher ones.
    pub fn priority(&mut self, priority: i32) -> &mut Command {
        self.change(|command| command.priority = priority)
    }

    /// Makes it count as so many for [`max_running`](crate::ReactorBuilder::max_running) and in its
    /// [pool](Command::pool), at least 1. Default: 1. One that weighs more than the limit runs alone. Nobody light passes
    /// it in the queue, so places stay free until there are enough.
    pub fn weight(&mut self, commands: u32) -> &mut Command {
        self.change(|command| command.weight = commands.max(1))
    }

    /// With `false`, the time that it waits in the queue does not count for the deadline of its context: what was left of
    /// that when it was queued, is left when it starts. Default: `true`, it can end in the queue. That somebody
    /// cancels the context ends it in any case.
    pub fn deadline_counts_queue(&mut self, counts: bool) -> &mut Command {
        self.change(|command| command.counts_queue = counts)
    }

    /// The name of its pool, if it has one.
    pub(crate) fn pool_name(&self) -> Option<&str> {
        self.pool.as_deref()
    }

    /// The queue counts for the deadline of its context.
    pub(crate) fn counts_queue(&self) -> bool {
        self.counts_queue
    }

    /// Allows a program that was found relative to the current directory, as `.` or an empty element is in `PATH` (Go:
    /// clearing `ErrDot`). Default: `false`, the start refuses it.
    pub fn allow_dot(&mut self, allow: bool) -> &mut Command {
        self.change(|command| command.allows_dot = allow)
    }

    /// Gives the command something of the caller's to carry: it comes back with its [`Finished`](crate::Finished), by
    /// [`Finished::take_data`](crate::Finished::take_data), also where it could not be started. For one start. Default: nothing. A second call replaces
    /// what the first gave.
    ///
    /// So no caller needs a table from ids to what a command is about; the reactor has no type parameter for it, as commands
    /// of several parts of a program, each with data of its own, may share one. Where [`Reactor::start`](crate::Reactor::start) refuses the
    /// command, its data stays in it. The trap: data of a command that is [detached](crate::Reactor::detach), or left to the
    /// reactor's drop, is dropped.
    pub fn data(&mut self, data: impl Any + Send) -> &mut Command {
        self.data = Carried::Data(Data::new(data));
        self
    }

    /// What it carries, for one start.
    pub(crate) fn take_data(&mut self) -> Option<Data> {
        self.data.take().into_data()
    }

    /// The program as it was given to [`new`](Command::new).
    pub fn get_program(&self) -> &OsStr {
        &self.program
    }

    /// The path that will be executed: what was given, or what was found for it in `PATH` (Go: `Cmd.Path`).
    pub fn resolved_path(&self) -> &Path {
        &self.path
    }

    /// Why the program was not found, or is refused, which the start would tell (Go: `Cmd.Err`).
    pub fn lookup_error(&self) -> Option<&LookPathError> {
        let refused = |error: &&LookPathError| {
            !(self.allows_dot && matches!(error, LookPathError::Dot { .. }))
        };
        self.lookup_error.as_ref().filter(refused)
    }

    /// The arguments after argument 0, in their order.
    pub fn get_args(&self) -> impl ExactSizeIterator<Item = &OsStr> {
        self.argv[1..].iter().map(OsString::as_os_str)
    }

    /// The variables that the command sets (`Some`) and removes (`None`), by name, each once. What it inherits is not
    /// among them: [`environment`](Command::environment) is the whole.
    pub fn get_envs(&self) -> impl Iterator<Item = (&OsStr, Option<&OsStr>)> {
        self.environment.variables().into_iter()
    }

    /// The working directory, if one was set.
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The context, if one was given.
    pub fn get_context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    pub(crate) fn refuse_set(&self, is_set: bool, why: &'static str) -> Result<(), StartError> {
        if is_set {
            Err(StartError::Refused(why))
        } else {
            Ok(())
        }
    }
}

/// A line that a POSIX shell takes: the path and the arguments after argument 0, quoted where they need it (Go:
/// `Cmd.String`, which does not quote). The program as it was given where none was found. Neither the directory nor the
/// environment is shown. The trap: an argument with a line break in it is shown with that.
impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = match self.lookup_error() {
            None => self.path.as_os_str(),
            Some(_) => &self.program,
        };
        write!(formatter, "{}", ShellWord::Program(program))?;
        for argument in self.get_args() {
            write!(formatter, " {}", ShellWord::Argument(argument))?;
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
