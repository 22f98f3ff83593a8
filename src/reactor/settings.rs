//! What can be changed while it runs: limits, the environment that commands inherit, who is told.
//! Unaware of what each of them means to a start.

use super::Reactor;
use crate::observer::Observer;

impl Reactor {
    /// Has `observer` told of each command's instants, in place of an earlier one.
    pub fn observe(&mut self, observer: impl Observer + 'static) {
        self.engine.observe(Box::new(observer));
    }

    /// Changes [`max_running`](crate::ReactorBuilder::max_running). With a lower one, no command starts until enough
    /// have ended; those that run go on. With a higher one, the next of the queue start at once.
    pub fn set_max_running(&mut self, commands: usize) {
        self.engine.set_running_max(commands);
        self.tell_outer_loop();
    }

    /// Makes a [pool](crate::ReactorBuilder::pool) of this name, or gives the one that there is another depth: as
    /// [`set_max_running`](Reactor::set_max_running) for the commands in it.
    pub fn set_pool(&mut self, name: &str, depth: usize) {
        self.engine.set_pool(name, depth);
        self.tell_outer_loop();
    }

    /// Reads this process's environment again. Default: commands that inherit it share one copy, taken at the first such
    /// start; and a command that was started before keeps what was prepared then, until something else of it is changed than
    /// its streams, its context and its place in the queue.
    pub fn refresh_environment(&mut self) {
        self.engine.refresh_environment();
    }
}
