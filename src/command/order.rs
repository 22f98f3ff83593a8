//! When a command starts, as against others: its pool, its priority, its weight, and a busy program's next try.
//! Unaware of the queue.

use super::Command;

impl Command {
    /// Runs it in this pool of the reactor ([`ReactorBuilder::pool`](crate::ReactorBuilder::pool)): it waits for a
    /// place there, too, and holds up nobody outside of the pool meanwhile. Default: none. A start in a reactor without
    /// a pool of this name is refused.
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

    /// With `false`, a program whose file is being written ([`ETXTBSY`]) fails at once. Default: `true`, its start is
    /// tried again after 1, 2, 4 .. 64 milliseconds: another thread's fork holds the file for an instant.
    ///
    /// [`ETXTBSY`]: https://man7.org/linux/man-pages/man2/execve.2.html
    pub fn retry_text_busy(&mut self, retry: bool) -> &mut Command {
        self.change(|command| command.retries_text_busy = retry)
    }

    /// The name of its pool, if it has one.
    pub(crate) fn pool_name(&self) -> Option<&str> {
        self.pool.as_deref()
    }
}
