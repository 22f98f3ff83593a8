//! When a command starts, as against others: its pool, the console, its priority, its weight, and a busy program's next try.
//! Unaware of the queue.

use super::Command;

impl Command {
    /// Runs it in this pool of the reactor ([`ReactorBuilder::pool`](crate::ReactorBuilder::pool)): it waits for a
    /// place there, too, and holds up nobody outside of the pool meanwhile. Default: none. A start in a reactor without
    /// a pool of this name is refused.
    pub fn pool(&mut self, name: impl AsRef<str>) -> &mut Command {
        self.set(|command| command.pool = Some(name.as_ref().into()))
    }

    /// Sets who goes first in the queue: the higher number, and of equal ones who came first. Default: 0. A start that
    /// is under way is not undone for a higher one. The trap: the lower ones wait for as long as there are higher ones.
    pub fn priority(&mut self, priority: i32) -> &mut Command {
        self.set(|command| command.priority = priority)
    }

    /// Makes it count as so many for [`max_running`](crate::ReactorBuilder::max_running) and in its
    /// [pool](Command::pool), at least 1. Default: 1. One that weighs more than the limit runs alone. Nobody light
    /// passes it in the queue, so places stay free until there are enough.
    pub fn weight(&mut self, commands: u32) -> &mut Command {
        self.set(|command| command.weight = commands.max(1))
    }

    /// With `false`, a program whose file is being written ([`ETXTBSY`]) fails at once. Default: `true`, its start is
    /// tried again after 1, 2, 4 .. 64 milliseconds: another thread's fork holds the file for an instant.
    ///
    /// [`ETXTBSY`]: https://man7.org/linux/man-pages/man2/execve.2.html
    pub fn retry_text_busy(&mut self, retry: bool) -> &mut Command {
        self.set(|command| command.retries_text_busy = retry)
    }

    /// With `true`, gives it the terminal while it runs, one such command at a time, as ninja's pool `console` does.
    /// Default: `false`.
    ///
    /// The terminal is the one that controls this process (`/dev/tty`); the command leads a process group of its own,
    /// which is put into that terminal's foreground and taken out again when the command has ended, in whichever way,
    /// also by the reactor's end. It gets the terminal's signals, such as that of Ctrl-C, and this process does not.
    /// Its streams are what they are set to be: the terminal too, by [`Input::inherit`](crate::Input::inherit) and
    /// [`Output::inherit`](crate::Output::inherit).
    ///
    /// What stops it at the terminal (Ctrl-Z) stops this process's group by the same signal, within a quarter of a
    /// second, as the shell would else not know of it; when that goes on, so does the command. A SIGSTOP that this
    /// reactor has not sent is followed by SIGTSTP. Whoever catches SIGTSTP calls
    /// [`Reactor::suspend`](crate::Reactor::suspend), which takes the terminal back as well. Where this process has no
    /// terminal, or is in its background, the command gets none, and still runs alone among its kind.
    ///
    /// ```
    /// use execloop::{Command, Input, Output, Reactor};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let mut editor = Command::new("sh");
    /// editor.args(["-c", "echo alone on the terminal"]).console(true);
    /// editor.stdin(Input::inherit()).stdout(Output::inherit()).stderr(Output::inherit());
    /// let id = reactor.start(&mut editor)?;
    /// assert!(reactor.wait(id)?.is_some_and(|finished| finished.success()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// One that is [detached](crate::Reactor::detach) has the terminal until it ends or another one gets it. Refused at
    /// the start together with a [`pool`](Command::pool), a [`session`](Command::session), somebody else's process
    /// group, [`foreground`](crate::linux::CommandExt::foreground) or
    /// [`leave_terminal`](crate::linux::CommandExt::leave_terminal). A start that gets the terminal waits for the
    /// program's exec.
    ///
    /// The traps: this process writes to the terminal from the background meanwhile, which a terminal with
    /// `stty tostop` does not allow; the terminal's modes are left as the command leaves them; who is stopped between a
    /// vfork(2) of its own and the exec does not count as stopped, as for a shell; of two reactors of one process, only
    /// one gives away the terminal at a time; and whoever stops the command (SIGSTOP, or `suspend`) waits until it has
    /// stopped, up to 100 ms, as it could read what is typed for the next one until then.
    pub fn console(&mut self, console: bool) -> &mut Command {
        self.change(|command| command.attributes_mut().console = console)
    }

    pub(crate) fn has_console(&self) -> bool {
        self.attributes.console
    }

    /// The name of its pool, if it has one.
    pub(crate) fn pool_name(&self) -> Option<&str> {
        self.pool.as_deref()
    }
}
