//! What ends a command or its pipes before their time, and how it is asked to end.
//! Unaware of what enforces it (`job`).

use std::sync::Arc;
use std::time::Duration;

use super::Command;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::sys::Signal;

impl Command {
    /// Ends it with this context. Default: none. A context that has ended already makes the start fail.
    pub fn context(&mut self, context: &Context) -> &mut Command {
        self.set(|command| command.context = Some(context.clone()))
    }

    /// Sets what happens when it is cancelled: when its context ends, a time limit is over, or
    /// [`Reactor::cancel`](crate::Reactor::cancel) names it. Default: [`Cancel::kill`].
    pub fn on_cancel(&mut self, cancel: Cancel) -> &mut Command {
        self.change(|command| command.cancel = Arc::new(cancel))
    }

    /// Short for `on_cancel(Cancel::signal(signal))`: ask before the kill (golang/go#50436).
    pub fn interrupt(&mut self, signal: Signal) -> &mut Command {
        self.on_cancel(Cancel::signal(signal))
    }

    /// With `false`, the end of its reactor does not kill it: a drop and a [shutdown](crate::Reactor::shutdown) let it
    /// go as [`Reactor::detach`](crate::Reactor::detach) does. Default: `true` (tokio has the other default). Until
    /// then it is a command as any other: it takes its place, its limits and its context end it, and its
    /// [`Finished`](crate::Finished) is handed out. By [`Reactor::set_kill_on_drop`](crate::Reactor::set_kill_on_drop)
    /// this is changed while it runs.
    ///
    /// When the reactor ends, no limit of it counts any more, also none that has asked it to stop; its pipes are
    /// closed, so that a program which writes to one gets SIGPIPE: give one that is to live on files. One that has
    /// exited, but whose pipes are held, is ended as any other. The trap: one that is queued then is not started. Also
    /// a reactor without limits queues, while many starts are under way ([`Reactor::start`](crate::Reactor::start)):
    /// let it turn until [`queued`](crate::Reactor::queued) is zero. The end waits for the exec of those that are
    /// started, for a second at most; a start that has failed by then is not tried again.
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// let server = reactor.start(Command::new("sleep").arg("0.1").kill_on_drop(false))?;
    /// // While the reactor is there, the server's end is told.
    /// # let pid = reactor.pid(server);
    /// # assert!(pid.is_some());
    /// drop(reactor); // and the server runs on
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.set(|command| command.survives = !kill)
    }

    /// Bounds the time between its being asked to stop, or its exit, and its end. Default, and zero, which takes it
    /// back in a clone: no bound.
    ///
    /// When the delay is over it is killed, and its pipes, which a descendant may hold, are read once more and closed.
    /// The clock starts when the cancel action has returned or when it exits, whichever is earlier, and does not start
    /// again. Output never restarts it (Go: `Cmd.WaitDelay`). The trap: a child that this process may not signal
    /// (`EPERM`), as it took another user's identity, has its pipes closed then, and is waited for until it exits. Only
    /// a drop and a [shutdown](crate::Reactor::shutdown) of the reactor give it up.
    pub fn wait_delay(&mut self, delay: Duration) -> &mut Command {
        self.change(|command| command.policy_mut().wait_delay = (!delay.is_zero()).then_some(delay))
    }

    /// Bounds the time that its pipes may be held after its exit, apart from the [wait delay](Command::wait_delay),
    /// which bounds the exit alone then. Default: the wait delay is for both. The clock starts when its exit is seen
    /// and what the pipes held was read once: a busy machine is no leak, and a writer that has
    /// [paused](crate::Output::writer) reads nothing. What is cut then is told as by the wait delay
    /// ([`Error::WaitDelay`](crate::Error::WaitDelay), [`Finished::leaked`](crate::Finished::leaked)). Zero cuts them
    /// at once then. The trap: with [`Duration::MAX`] they may be held for ever, and nothing gives them the wait delay
    /// back.
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
        self.change(|command| command.policy_mut().leak_timeout = Some(timeout))
    }

    /// With `true`, who holds a pipe that has to be cut is looked up then, for
    /// [`Finished::holders`](crate::Finished::holders). Default: `false`, as that reads the descriptors of all
    /// processes ([`pipe_holders`](crate::linux::pipe_holders)), on the reactor's thread. Linux only; elsewhere nobody
    /// is found.
    pub fn name_holders(&mut self, name: bool) -> &mut Command {
        self.change(|command| command.policy_mut().names_holders = name)
    }

    /// Has [`Reactor::wait_event`](crate::Reactor::wait_event) tell, after each such period that it runs, that it still
    /// does ([`Event::Slow`](crate::Event::Slow)). Default, and zero: never. It goes on; [`timeout`](Command::timeout)
    /// ends it. The trap: the reactor wakes for each period, and with a tiny one keeps a processor busy.
    pub fn slow_after(&mut self, period: Duration) -> &mut Command {
        self.change(|command| {
            command.policy_mut().slow_after = (!period.is_zero()).then_some(period)
        })
    }

    /// Ends it as a context would, this long after its start; time in a queue does not count. Default: never. Zero ends
    /// it at once, and [`Duration::MAX`] never, which takes it back in a clone. The trap: one that ignores its signal
    /// is waited for without a [wait delay](Command::wait_delay), and one that this process may not signal, with it,
    /// too.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Command {
        self.change(|command| command.policy_mut().timeout = Some(timeout))
    }

    /// Ends it as a context would, once nothing of its output was read for this long. Default: never. Zero ends it at
    /// once, and [`Duration::MAX`] never. Only what passes through this process can be seen: with any such limit, the
    /// start is refused where an output is inherited or a file, and where no output passes through this process. Of an
    /// [`Output::pipe`](crate::Output::pipe) counts what the caller reads. The trap: one that has closed its outputs
    /// and goes on is silent from then on, and is ended.
    pub fn idle_timeout(&mut self, timeout: Duration) -> &mut Command {
        self.change(|command| command.policy_mut().idle_timeout = Some(timeout))
    }

    /// Ends it as a context would, once more than so many bytes of its output were read, stdout and stderr together.
    /// Default, and `u64::MAX`: no limit. With zero, the first byte ends it. One that had exited already with status 0
    /// is [stopped](crate::Error::Stopped), too: a command over the limit never succeeds, unless its [cancel
    /// action](Command::on_cancel) is [`Cancel::nothing`]. What the reactor or the caller reads counts, as for an [idle
    /// timeout](Command::idle_timeout); an output that is inherited or a file has no limit. The trap: what it writes
    /// until it has ended is still taken; [`Output::capture_ends`](crate::Output::capture_ends) bounds what is kept.
    ///
    /// ```
    /// use execloop::{Cause, Command, Output};
    /// let error = Command::new("yes").stdout(Output::capture_ends(100)).output_limit(10_000).run().unwrap_err();
    /// assert_eq!(error.reason().cause(), Some(Cause::OutputLimit));
    /// ```
    pub fn output_limit(&mut self, bytes: u64) -> &mut Command {
        self.change(|command| command.policy_mut().output_limit = Some(bytes))
    }

    /// With `false`, the time that it waits in the queue does not count for the deadline of its context: what was left
    /// of that when it was queued, is left when it starts. Default: `true`, it can end in the queue. That somebody
    /// cancels the context ends it in any case.
    pub fn deadline_counts_queue(&mut self, counts: bool) -> &mut Command {
        self.set(|command| command.counts_queue = counts)
    }

    /// The queue counts for the deadline of its context.
    pub(crate) fn counts_queue(&self) -> bool {
        self.counts_queue
    }
}
