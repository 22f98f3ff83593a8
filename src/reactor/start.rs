//! Handing commands in: `start`, which may refuse one, and `submit`, which takes any.
//! Unaware of limits and queues, and of how a child is made.

use super::Reactor;
use crate::command::Command;
use crate::error::StartError;
use crate::finished::CommandId;

impl Reactor {
    /// Starts `command`, or queues it when a limit is reached, as many starts as may be are under way, or the kernel is
    /// short of descriptors, processes or memory while others run. Returns at once, and does not wait for the program's
    /// exec. First in, first out, but for [priorities](Command::priority) and [pools](Command::pool).
    ///
    /// Some settings have the start wait for the exec, here or in the turn in which the command leaves the queue:
    /// [`Input::file`](crate::Input::file), [`Output::file`](crate::Output::file) and [`extra_fd`](Command::extra_fd);
    /// [`session`](Command::session); [`foreground`](crate::linux::CommandExt::foreground) and, with a terminal,
    /// [`console`](Command::console); [`uid`](Command::uid) and [`gid`](Command::gid);
    /// [`namespaces`](crate::linux::CommandExt::namespaces), [`unshare`](crate::linux::CommandExt::unshare), [id
    /// maps](crate::linux::CommandExt::uid_map) and [cgroups](crate::linux::CommandExt::cgroup). So does every start
    /// before Linux 5.9, where a filter refuses clone3(2) or close_range(2), on architectures other than x86_64 and
    /// aarch64, and on other systems.
    ///
    /// It fails in one way: the command itself is refused, and is left as it was. That is known before anything is
    /// made, and is the same with an empty and a full queue. An accepted command has a [`Finished`](crate::Finished),
    /// whatever happens: what the system says of a start (a pipe, the process, a directory, the program ..) is reported
    /// there, with [`Error::Start`](crate::Error::Start) and without a pid. No child is left in either case. To hear of
    /// both in one place, [`submit`](Reactor::submit) it.
    ///
    /// # Errors
    /// [`StartError`] of what is known before anything is made: no program, a name not found in `PATH`, settings that
    /// contradict each other, a NUL byte, streams that were used up, a context that has ended, a directory that cannot
    /// be made absolute for `PWD`, a reactor of another process.
    pub fn start(&mut self, command: &mut Command) -> Result<CommandId, StartError> {
        let started = self.engine.start(command);
        self.tell_outer_loop();
        started
    }

    /// Starts or queues a command, and accepts any: one that [`start`](Reactor::start) would refuse is finished at
    /// once, with that [`StartError`] in its [`Finished`](crate::Finished) and with its [data](Command::data). So every
    /// failure is reported in one place. It takes a [`Command`], or the chain of a builder as a
    /// [`Handle`](crate::Handle) does: one start of it ([`Command`], "Once more").
    ///
    /// ```
    /// use execloop::{Command, Error, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// for name in ["true", "no-such-program", "/etc/no-such-file"] {
    ///     reactor.submit(Command::new(name).data(name));
    /// }
    /// let mut failed = Vec::new();
    /// while let Some(mut done) = reactor.wait_any()? {
    ///     if let Err(Error::Start(_)) = done.outcome {
    ///         failed.push(done.take_data::<&str>().expect("its name"));
    ///     }
    /// }
    /// failed.sort();
    /// assert_eq!(failed, ["/etc/no-such-file", "no-such-program"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn submit(&mut self, command: impl Into<Command>) -> CommandId {
        let id = self.engine.submit(Box::new(command.into()));
        self.tell_outer_loop();
        id
    }
}
