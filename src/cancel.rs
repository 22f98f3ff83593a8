//! `Cancel`: how a command is asked to end (a signal, a callback, nothing), the ladder of signals after that, and who gets them.
//! Unaware of when that is, of the wait before the kill (`job`), and of how signals are sent.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::error::NotRunning;
use crate::guard::drop_callers;
use crate::sys::{Signal, Target};

/// What happens to a running command when its [`Context`](crate::Context) ends, its
/// [timeout](crate::Command::timeout) is over, or [`Reactor::cancel`](crate::Reactor::cancel) names it.
///
/// ```
/// use execloop::{Cancel, Command, Signal};
/// use std::time::Duration;
/// let mut server = Command::new("server");
/// server
///     .process_group(0)
///     .on_cancel(Cancel::signal(Signal::INT).then(Duration::from_secs(2), Signal::TERM).to_group())
///     .wait_delay(Duration::from_secs(10)); // SIGINT, SIGTERM, SIGKILL
/// ```
///
/// The default is [`Cancel::kill`] (Go: `CommandContext`). A gentler one asks first; then
/// [`Command::wait_delay`](crate::Command::wait_delay) says how long it may take before it is killed. The trap: without
/// a wait delay, a command that ignores the request is waited for as long as it likes.
#[derive(Clone)]
#[must_use]
pub struct Cancel {
    pub(crate) action: Action,
    pub(crate) target: Target,
    /// Further signals, each so long after the one before.
    pub(crate) rungs: Vec<(Duration, Signal)>,
}

type Callback = dyn Fn(&CancelTarget<'_>) -> io::Result<()> + Send + Sync;

#[derive(Clone)]
pub(crate) enum Action {
    Nothing,
    Signal(Signal),
    Callback(Arc<Callback>),
}

impl Default for Cancel {
    fn default() -> Cancel {
        Cancel::kill()
    }
}

impl Cancel {
    /// SIGKILL. The default.
    pub fn kill() -> Cancel {
        Cancel::signal(Signal::KILL)
    }

    /// Any other signal, for example [`Signal::INT`] or [`Signal::TERM`].
    pub fn signal(signal: Signal) -> Cancel {
        Cancel::new(Action::Signal(signal))
    }

    /// Nothing: the command goes on until the wait delay is over, and for ever without one (Go: a nil `Cmd.Cancel`).
    pub fn nothing() -> Cancel {
        Cancel::new(Action::Nothing)
    }

    /// Calls `callback`, at most once a start, on the reactor's thread; it must not block. Its error becomes
    /// [`Error::Cancel`](crate::Error::Cancel) if the command then exits with status 0. One with [`NotRunning`] or
    /// `ESRCH` in it means that the command was done already, and counts as no cancellation at all (Go:
    /// `os.ErrProcessDone`).
    pub fn with(
        callback: impl Fn(&CancelTarget<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Cancel {
        Cancel::new(Action::Callback(Arc::new(callback)))
    }

    fn new(action: Action) -> Cancel {
        Cancel {
            action,
            target: Target::Process,
            rungs: Vec::new(),
        }
    }

    /// Signals go to the whole process group, the final kill too. Default: to the process alone. The command needs a
    /// group of its own ([`Command::process_group(0)`](crate::Command::process_group) or
    /// [`session`](crate::Command::session)), else its start is refused.
    ///
    /// The trap: when the command obeys and exits, the rest of its group is not killed. Where the pipes are still held
    /// when its [wait delay](crate::Command::wait_delay) or leak timeout is over, or at a [kill](crate::Reactor::kill),
    /// the rest of the group is killed (Linux 6.9), and has 100 milliseconds to let go of them. Without a wait delay, a
    /// process that holds a pipe is waited for, and one that holds none is left alone. So is the whole group when the
    /// command ends by itself. [`Command::sweep_group`](crate::Command::sweep_group) kills all of them at the exit.
    pub fn to_group(mut self) -> Cancel {
        self.target = Target::Group;
        self
    }

    /// If the command still runs `after` this long, sends `signal`. Calls add up to a ladder, each rung timed from the
    /// one before. The wait delay runs from the first, and cuts the ladder short.
    pub fn then(mut self, after: Duration, signal: Signal) -> Cancel {
        self.rungs.push((after, signal));
        self
    }

    /// Drops one hold on it. The last one drops the callback, which is the caller's and may panic.
    pub(crate) fn let_go(self: Arc<Cancel>) {
        if matches!(self.action, Action::Callback(_)) {
            drop_callers("callback", self);
        }
    }

    /// It does nothing, now or later.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self.action, Action::Nothing) && self.rungs.is_empty()
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Cancel");
        match &self.action {
            Action::Nothing => debug.field("action", &"nothing"),
            Action::Signal(signal) => debug.field("action", signal),
            Action::Callback(_) => debug.field("action", &"callback"),
        };
        debug
            .field("target", &self.target)
            .field("rungs", &self.rungs)
            .finish()
    }
}

/// The running child, as lent to the callback of [`Cancel::with`].
///
/// ```
/// use execloop::{Cancel, Command, Signal};
/// let mut server = Command::new("server");
/// server.on_cancel(Cancel::with(|child| {
///     eprintln!("asking {} to stop", child.pid());
///     child.signal(Signal::HUP)
/// }));
/// ```
pub struct CancelTarget<'a> {
    pub(crate) pid: u32,
    pub(crate) signal: &'a dyn Fn(Target, Signal) -> io::Result<()>,
}

impl CancelTarget<'_> {
    /// Its process id. It stays the child's for as long as this is lent.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Signals the process.
    ///
    /// # Errors
    /// [`NotRunning`] when it was reaped already, `EPERM` when it took another user's identity.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.send(Target::Process, signal)
    }

    /// Signals the group that it leads.
    ///
    /// # Errors
    /// [`NotRunning`] when it leads none; `EPERM`.
    pub fn signal_group(&self, signal: Signal) -> io::Result<()> {
        self.send(Target::Group, signal)
    }

    fn send(&self, target: Target, signal: Signal) -> io::Result<()> {
        (self.signal)(target, signal).map_err(|error| NotRunning::explain(error, target))
    }
}

impl fmt::Debug for CancelTarget<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CancelTarget")
            .field("pid", &self.pid)
            .finish()
    }
}
