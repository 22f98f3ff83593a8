//! What may be asked of a command that was started, by its id: to stop, to take a signal, its pid, to be let go.
//! Unaware of how it comes to its end.

use std::io;
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
use std::os::fd::BorrowedFd;

use super::Reactor;
use crate::error::NotRunning;
use crate::finished::CommandId;
use crate::sys::{Kernel, Signal, Target, Unix};

impl Reactor {
    /// Asks a command to stop, by its [`Cancel`](crate::Cancel), as if its context had ended. One that waits in the
    /// queue, or that a handle has just sent, is not started. `false` when it has finished or is not this reactor's.
    ///
    /// A second call skips to the end of the [ladder](crate::Cancel::then), as a second Ctrl-C does: it is a
    /// [`kill`](Reactor::kill). A context that ends, a time limit or a dropped [`Pending`](crate::Pending) is no call,
    /// neither a first nor a second.
    pub fn cancel(&mut self, id: CommandId) -> bool {
        let was_here = self.engine.cancel(id);
        self.tell_outer_loop();
        was_here
    }

    /// Kills a command now, and its group if its [`Cancel`](crate::Cancel) is for the group. Its pipes are read once
    /// more and closed. It is reaped and handed out like any other; one that waits in the queue, or that a handle has
    /// just sent, is not started. `false` when it has finished or is not this reactor's.
    pub fn kill(&mut self, id: CommandId) -> bool {
        let was_here = self.engine.kill(id);
        self.tell_outer_loop();
        was_here
    }

    /// Signals a command's process.
    ///
    /// # Errors
    /// [`NotRunning`] when it is queued, reaped, or not this reactor's. Never another process. `EPERM` when it took
    /// another user's identity.
    pub fn signal(&mut self, id: CommandId, signal: Signal) -> io::Result<()> {
        self.send(id, Target::Process, signal)
    }

    /// Signals the process group that a command leads.
    ///
    /// # Errors
    /// As [`signal`](Reactor::signal); [`NotRunning`] also when it leads none.
    pub fn signal_group(&mut self, id: CommandId, signal: Signal) -> io::Result<()> {
        self.send(id, Target::Group, signal)
    }

    fn send(&mut self, id: CommandId, target: Target, signal: Signal) -> io::Result<()> {
        let sent = self.engine.signal(id, target, signal);
        sent.map_err(|error| NotRunning::explain(error, target))
    }

    /// The pid of a command's process, for people and logs. `None` while it is queued and once it is finished.
    ///
    /// The traps: when the process is reaped, the number may be given to another one. [`signal`](Reactor::signal) never
    /// takes that for the command's. And until its program is executed, the process shares this one's memory: what is
    /// written to its `/proc/PID/oom_score_adj` by then is this process's own from then on.
    pub fn pid(&self, id: CommandId) -> Option<u32> {
        self.engine.child(id).map(Unix::pid)
    }

    /// The pidfd of a command's process (pidfd_open(2); Go: `SysProcAttr.PidFD`). `None` while it is queued and once it
    /// is finished. It is readable when the process has exited.
    ///
    /// A copy by [`try_clone_to_owned`](BorrowedFd::try_clone_to_owned) can be kept for as long as one likes: after the
    /// process was reaped, signals to it fail with `ESRCH`. The trap: a waitid(2) on it takes the exit status away from
    /// the reactor ([`Error::StatusLost`](crate::Error::StatusLost)).
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// let id = reactor.start(Command::new("sleep").arg("60"))?;
    /// let pidfd = reactor.pidfd(id).expect("it runs").try_clone_to_owned()?;
    /// # drop(pidfd);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
    pub fn pidfd(&self, id: CommandId) -> Option<BorrowedFd<'_>> {
        self.engine.child(id).map(Unix::pidfd)
    }

    /// Stops all commands, each with the group that it leads (SIGSTOP), and the clock of everything that would end or
    /// retry one by time: timeouts, silence, wait delays and leak timeouts, the steps of a [`Cancel`](crate::Cancel),
    /// contexts' deadlines, busy programs. Nothing is started from the queue. What is left of a time is kept, for
    /// [`unsuspend`](Reactor::unsuspend). For Ctrl-Z, whose SIGTSTP does not reach commands in groups of their own, and
    /// whose pause is no command's fault.
    ///
    /// Turns go on: exits are taken, output is read, [`kill`](Reactor::kill) kills at once and
    /// [`wake_at`](Reactor::wake_at) wakes; only a [`cancel`](Reactor::cancel) is felt when the commands go on. A
    /// second call stops those that somebody has continued. The traps: a command without a
    /// [group](crate::Command::process_group) is stopped alone, its children go on; a process with a group of its own
    /// goes on; so does, until the next call, who is left of a group whose leader has ended, where the system finds no
    /// group without that (Linux before 6.9, kqueue); a call that waits for a command, as a read of its pipe or
    /// [`into_fd`](crate::StdoutPipe::into_fd), waits for ever, if this thread alone could let it go on; a context that
    /// other parts of the program look at ends by the wall's clock for those.
    ///
    /// What a program does with SIGTSTP, and when it was continued:
    ///
    /// ```no_run
    /// use execloop::{Command, Reactor};
    /// use signal_hook::{consts::SIGTSTP, iterator::Signals, low_level::emulate_default_handler};
    /// let mut reactor = Reactor::new()?;
    /// reactor.start(Command::new("make").process_group(0))?;
    /// let mut signals = Signals::new([SIGTSTP])?;
    /// let (handle, (tell, told)) = (reactor.handle(), std::sync::mpsc::channel());
    /// std::thread::spawn(move || for signal in signals.forever() {
    ///     let _ = tell.send(signal);
    ///     handle.wake();
    /// });
    /// while !reactor.is_empty() {
    ///     reactor.turn(None)?;
    ///     if told.try_recv().is_ok() {
    ///         reactor.suspend()?;
    ///         emulate_default_handler(SIGTSTP)?; // stops this process, until fg
    ///         reactor.unsuspend();
    ///     }
    ///     while reactor.try_wait_any().is_some() {}
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// In a forked copy of the process.
    #[doc(alias("sigtstp", "sigstop", "job control", "pause"))]
    pub fn suspend(&mut self) -> io::Result<()> {
        let suspended = self.engine.suspend();
        self.tell_outer_loop();
        suspended
    }

    /// Lets everything go on that was [suspended](Reactor::suspend) (SIGCONT), each limit with the time that it had
    /// left. Does nothing where nothing is suspended.
    #[doc(alias("sigcont", "resume"))]
    pub fn unsuspend(&mut self) {
        self.engine.unsuspend();
        self.tell_outer_loop();
    }

    /// Between [`suspend`](Reactor::suspend) and [`unsuspend`](Reactor::unsuspend).
    pub fn is_suspended(&self) -> bool {
        self.engine.is_suspended()
    }

    /// Changes [`Command::kill_on_drop`](crate::Command::kill_on_drop) of a command that was started, queued or sent by a
    /// handle: with `false`, it survives the reactor, and its end is told while that lives. `false` when it has finished
    /// or is not this reactor's.
    pub fn set_kill_on_drop(&mut self, id: CommandId, kill: bool) -> bool {
        self.engine.set_survives(id, !kill)
    }

    /// Lets a running command go: it survives the reactor, its outcome is not reported, no limit of it counts any more,
    /// and its pipes are closed. Returns its pid; `None` when it is not running, as one that waits in the queue. To hear
    /// of its end all the same, use [`set_kill_on_drop`](Reactor::set_kill_on_drop).
    ///
    /// Waits until its program is executed, for a second at most. A start that has failed by then is no running command:
    /// `None`, and it is tried again, or told, as any other. The traps: of one that takes longer, a failure is told to
    /// nobody; and once the reactor is dropped, the process is not reaped before this one ends.
    pub fn detach(&mut self, id: CommandId) -> Option<u32> {
        let pid = self.engine.detach(id);
        self.tell_outer_loop();
        pid
    }
}
