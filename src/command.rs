//! `Command`: what to run, as plain data with a builder: program, arguments, environment and directory; the folder has
//! the rest. Unaware of how it is run, and of system calls, but for `PATH`, where `new` looks for the program.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::iter;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use crate::cancel::Cancel;
use crate::context::Context;
use crate::data::{Carried, Data};
use crate::env::EnvChanges;
use crate::job::Policy;
use crate::lookpath::{LookPathError, look_path};
use crate::stdio::{Input, Output};
use crate::sys::Attributes;

mod again;
mod display;
mod getters;
mod identity;
mod limits;
mod order;
mod prepare;
mod shell_line;
mod streams;

use prepare::Prepared;
pub(crate) use prepare::{Retry, Spec};

/// A descriptor of the child, by number; `Consumed` once a start took it.
enum Extra {
    Closed,
    File(OwnedFd),
    Consumed,
}

/// What to run, and how.
///
/// ```
/// use execloop::Command;
/// use std::time::Duration;
/// let mut make = Command::new("echo");
/// make.args(["all", "check"]).env("LC_ALL", "C").timeout(Duration::from_secs(60));
/// println!("{make}"); // a line that a shell takes: /usr/bin/echo all check
/// assert_eq!(make.output()?, b"all check\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The builder has the names of [`std::process::Command`] and the rules of Go's `os/exec`: no shell, no stdin, and
/// output that goes nowhere unless asked for.
///
/// # Once more
///
/// It can be started any number of times; what the kernel needs is prepared once. What is for one start alone is used
/// up by the first: a [reader](Input::reader), a [writer](Output::writer), a [callback](Output::lines), a
/// [file](Input::file), an [extra descriptor](Command::extra_fd), the caller's [data](Command::data). A second then
/// fails with [`StartError::Consumed`](crate::StartError::Consumed), unless it was set anew.
///
/// A **clone** has all that can be started again. What is for one start stays with the original.
///
/// A [`Handle`](crate::Handle) takes `&mut Command`, which each builder call returns, for one start. What is for one
/// start goes along. The command stays with the caller, who can start it again or give it again.
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
pub struct Command {
    /// As it was given.
    program: OsString,
    /// What was found for it, if it was looked for.
    found: Option<PathBuf>,
    lookup_error: Option<Box<LookPathError>>,
    allows_dot: bool,
    arg0: Option<OsString>,
    args: Vec<OsString>,
    environment: EnvChanges,
    directory: Option<PathBuf>,
    stdin: Option<Input>,
    pub(crate) stdout: Option<Output>,
    pub(crate) stderr: Option<Output>,
    pub(crate) stderr_to_stdout: bool,
    extra: Vec<(i32, Extra)>,
    pub(crate) attributes: Arc<Attributes>,
    pub(crate) chroot: Option<PathBuf>,
    context: Option<Context>,
    cancel: Arc<Cancel>,
    policy: Arc<Policy>,
    retries_text_busy: bool,
    data: Carried,
    pool: Option<Arc<str>>,
    priority: i32,
    weight: u32,
    counts_queue: bool,
    survives: bool,
    prepared: Option<Prepared>,
}

/// What most commands leave as it is: they share it.
#[derive(Default)]
struct Plain {
    attributes: Arc<Attributes>,
    cancel: Arc<Cancel>,
    policy: Arc<Policy>,
}

static PLAIN: LazyLock<Plain> = LazyLock::new(Plain::default);

impl Command {
    /// A command that runs `program` with no arguments.
    ///
    /// A name without a slash is looked for in this process's `PATH`, now ([`look_path`]), and not in one that
    /// [`env`](Command::env) sets ([`look_path_in`](crate::look_path_in) does that); a failure is reported by the
    /// start. A name with a slash is taken as it is; a relative one is resolved by the child, in its
    /// [directory](Command::current_dir) (Go's rule).
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        let name = program.as_ref();
        let (found, lookup_error) = if name.is_empty() || name.as_encoded_bytes().contains(&b'/') {
            (None, None)
        } else {
            match look_path(name) {
                Ok(path) => (Some(path), None),
                Err(error) => (error.path().map(Path::to_owned), Some(Box::new(error))),
            }
        };
        Command {
            program: name.to_owned(),
            found,
            lookup_error,
            allows_dot: false,
            arg0: None,
            args: Vec::new(),
            environment: EnvChanges::default(),
            directory: None,
            stdin: None,
            stdout: None,
            stderr: None,
            stderr_to_stdout: false,
            extra: Vec::new(),
            attributes: Arc::clone(&PLAIN.attributes),
            chroot: None,
            context: None,
            cancel: Arc::clone(&PLAIN.cancel),
            policy: Arc::clone(&PLAIN.policy),
            retries_text_busy: true,
            data: Carried::Nothing,
            pool: None,
            priority: 0,
            weight: 1,
            counts_queue: true,
            survives: false,
            prepared: None,
        }
    }

    pub(crate) fn attributes_mut(&mut self) -> &mut Attributes {
        Arc::make_mut(&mut self.attributes)
    }

    /// What the program gets, beginning with argument 0.
    fn argv(&self) -> impl Iterator<Item = &OsStr> + Clone {
        let first = self.arg0.as_deref().unwrap_or(&self.program);
        iter::once(first).chain(self.args.iter().map(OsString::as_os_str))
    }

    fn policy_mut(&mut self) -> &mut Policy {
        Arc::make_mut(&mut self.policy)
    }

    /// Changes something that is prepared for all starts: the program, its environment, its limits and its cancel action.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Command)) -> &mut Command {
        self.prepared = None;
        self.set(change)
    }

    /// Changes something that each start looks at anew: its streams, its context, its place in the queue.
    fn set(&mut self, set: impl FnOnce(&mut Command)) -> &mut Command {
        set(self);
        self
    }

    /// Adds one argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.change(|command| command.args.push(argument.as_ref().to_owned()))
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(
        &mut self,
        arguments: impl IntoIterator<Item = S>,
    ) -> &mut Command {
        self.change(|command| {
            command.args.extend(
                arguments
                    .into_iter()
                    .map(|argument| argument.as_ref().to_owned()),
            )
        })
    }

    /// Sets what the program sees as its own name. Default: the name given to [`new`](Command::new), not the path
    /// found.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        self.change(|command| command.arg0 = Some(name.as_ref().to_owned()))
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

    /// Removes one variable. Default: all of this process's are inherited.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.change(|command| command.environment.remove(key.as_ref().to_owned()))
    }

    /// Starts from an empty environment. Default: from this process's. Earlier calls of `env` do not count any more.
    pub fn env_clear(&mut self) -> &mut Command {
        self.change(|command| command.environment.clear())
    }

    /// Sets the whole environment, as entries `KEY=value` (Go: `Cmd.Env`). Default: that of this process. Entries
    /// without `=` are passed on as they are, empty ones dropped; of equal keys the last counts.
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

    /// Sets the working directory. Default: the parent's. Where the environment is inherited, `PWD` is set to it.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.change(|command| command.directory = Some(directory.as_ref().to_owned()))
    }

    /// Allows a program that was found relative to the current directory, as `.` or an empty element is in `PATH` (Go:
    /// clearing `ErrDot`). Default: `false`, the start refuses it.
    pub fn allow_dot(&mut self, allow: bool) -> &mut Command {
        self.change(|command| command.allows_dot = allow)
    }

    /// Gives the command something of the caller's to carry: it comes back with its [`Finished`](crate::Finished), by
    /// [`Finished::take_data`](crate::Finished::take_data), also where it could not be started. For one start. Default:
    /// nothing. A second call replaces what the first gave.
    ///
    /// So no caller needs a table from ids to what a command is about. The reactor has no type parameter for it, so
    /// that several parts of a program, each with data of its own type, can share one reactor. Where
    /// [`Reactor::start`](crate::Reactor::start) refuses the command, its data stays in it. The trap: data of a command
    /// that is [detached](crate::Reactor::detach), or left to the reactor's drop, is dropped.
    pub fn data(&mut self, data: impl Any + Send) -> &mut Command {
        self.data = Carried::Data(Data::new(data));
        self
    }

    /// What it carries, for one start.
    pub(crate) fn take_data(&mut self) -> Option<Data> {
        self.data.take().into_data()
    }
}
