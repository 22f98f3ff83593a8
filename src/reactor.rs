//! The public face: `Reactor` and its `ReactorBuilder`.
//! Unaware of how the loop works; short methods, long documentation.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::admission::Admission;
use crate::brakes::Brakes;
use crate::command::Command;
use crate::engine::Engine;
use crate::error::{NotRunning, StartError, Stream};
use crate::finished::{CommandId, Finished};
use crate::handle::Handle;
use crate::holders::Holder;
use crate::jobserver::Jobserver;
use crate::observer::{Observer, Stats};
use crate::pipes::{StdinPipe, StdoutPipe};
use crate::sys::{Kernel, Signal, Target, Unix, fd_limit_soft, now, raise_fd_limit};

/// Owns every child that it starts, and drives them all on the thread that calls it.
///
/// Nothing happens between calls: a program either waits in it ([`wait_any`](Reactor::wait_any), [`wait`](Reactor::wait))
/// or polls its descriptor ([`AsFd`]) in a loop of its own, and calls [`turn`](Reactor::turn) with a zero timeout when that
/// is readable.
///
/// Dropping it kills what still runs, with the process groups that commands lead, and reaps it: no zombie and no child
/// is left. It owns no signal handler; several reactors in one process do not know of each other.
///
/// # Make it early
///
/// A start costs the same however many descriptors this process opens after its reactor was made. The reactor takes the
/// lowest free numbers for what a child needs, and each child copies what is below those, as it copies everything where
/// others start it. So one that is made when 10,000 are open copies 10,000 into each child, until lower numbers become
/// free: from then on it uses these.
///
/// # In a forked copy of the process
///
/// A reactor works in the process that made it. In a copy of that, as fork(2) makes it, it only closes: dropping it there
/// kills, reaps and waits for nothing. Until then the copy holds descriptors that the commands may need closed, as every
/// forked copy does that does not exec. [`start`](Reactor::start) answers [`StartError::Forked`] there; whatever would
/// wait, read, write or signal fails with [`Unsupported`](io::ErrorKind::Unsupported); a [`Handle`] and a
/// [`Context`](crate::Context) reach no reactor. The original feels none of it. The copy may make a reactor of its own; a copy
/// of a process with several threads may call little more than exec or _exit, here as everywhere (fork(2)). One
/// that is made while a start is under way has the child's ends of that command's pipes, too, until it execs or exits.
///
/// ```
/// use execloop::{Command, Output, Reactor};
/// let mut reactor = Reactor::builder().max_running(8).build()?;
/// for name in ["a", "b", "c"] {
///     reactor.start(Command::new("echo").arg(name).stdout(Output::capture()))?;
/// }
/// while let Some(done) = reactor.wait_any()? {
///     assert!(done.success(), "{}: {:?}", done.id, done.outcome);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reactor {
    pub(crate) engine: Engine<Unix>,
    /// Somebody polls the descriptor, so it has to tell of work that no event will announce.
    is_embedded: Cell<bool>,
}

/// What a [turn](Reactor::turn) has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing to do before something happens.
    Done,
    /// Something to do or to take: leftovers of a budget, events behind a full batch, finished commands.
    More,
}

/// What [`Reactor::wait_event`] tells.
#[derive(Debug)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "it is moved once, and most are of the large kind"
)]
pub enum Event {
    /// A command is finished. Where the caller waits for an output of it, as that has said `WouldBlock`, its end comes
    /// first, so nothing is lost of a pipe that is read until it says `WouldBlock` or `Ok(0)`. The trap: what is left in
    /// one that is not is lost, as taking the [`Finished`] closes it.
    Finished(Finished),
    /// A pipe of the caller's that had said [`WouldBlock`](io::ErrorKind::WouldBlock) is worth another try: it can be read
    /// or written, has ended, or was cut.
    Ready(CommandId, Stream),
    /// A command still runs, after another period of [`Command::slow_after`]. Told once, however late it is heard of.
    Slow(CommandId),
}

fn next_event(engine: &mut Engine<Unix>) -> Option<Event> {
    // A pipe before its command, whose pipes are closed when it is taken.
    match engine.pop_ready() {
        Some((id, stream)) => Some(Event::Ready(id, stream)),
        None => match engine.pop_slow() {
            Some(id) => Some(Event::Slow(id)),
            None => engine.pop_read().map(Event::Finished),
        },
    }
}

/// Marks ids, so that one reactor's is not taken for another's.
static NEXT_REACTOR: AtomicU32 = AtomicU32::new(1);

impl Reactor {
    /// A reactor without a limit but that of descriptors.
    ///
    /// # Errors
    /// When the kernel has no descriptors or memory for it, or is older than Linux 5.4
    /// ([`Unsupported`](io::ErrorKind::Unsupported)).
    pub fn new() -> io::Result<Reactor> {
        Reactor::builder().build()
    }

    /// Sets limits first.
    pub fn builder() -> ReactorBuilder {
        ReactorBuilder {
            running_max: usize::MAX,
            pools: Vec::new(),
            brakes: Brakes::default(),
            jobserver: None,
            takes_before_start: false,
            raises_fd_limit: false,
        }
    }

    /// Starts `command`, or queues it when a limit is reached, as many starts as may be are under way, or the kernel is
    /// short of descriptors, processes or memory while others run. Returns at once, and does not wait for the program's
    /// exec. First in, first out, but for [priorities](Command::priority) and [pools](Command::pool).
    ///
    /// It fails in one way: the command itself is refused, and is left as it was. That is known without the system, and is
    /// the same with an empty and a full queue. An accepted command has a [`Finished`], whatever happens: what the system
    /// says of a start (a pipe, the process, a directory, the program ..) is reported there, with
    /// [`Error::Start`](crate::Error::Start) and without a pid. No child is left in either case. To hear of both in one
    /// place, [`submit`](Reactor::submit) it.
    ///
    /// # Errors
    /// [`StartError`] without a system call behind it: no program, a name not found in `PATH`, settings that contradict each
    /// other, a NUL byte, streams that were used up, a context that has ended, a reactor of another process.
    pub fn start(&mut self, command: &mut Command) -> Result<CommandId, StartError> {
        let started = self.engine.start(command);
        self.tell_outer_loop();
        started
    }

    /// Starts or queues a command, and accepts any: one that [`start`](Reactor::start) would refuse is finished at once, with
    /// that [`StartError`] in its [`Finished`] and with its [data](Command::data). So every failure is reported in one place.
    /// It takes a [`Command`], or the chain of a builder as a [`Handle`] does: one start of it ([`Command`], "Once more").
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

    /// Waits until some command is finished, and hands it out. `None` when there is no command left.
    ///
    /// # Errors
    /// When polling fails, which it does not in normal operation. The commands go on; the call can be repeated. Always in
    /// a forked copy of the process ([`Unsupported`](io::ErrorKind::Unsupported)).
    pub fn wait_any(&mut self) -> io::Result<Option<Finished>> {
        self.wait_for(None, Engine::pop_finished, |engine| engine.len() > 0)
    }

    /// As [`wait_any`](Reactor::wait_any), but waits no longer than `timeout`: `None` then, too.
    /// [`is_empty`](Reactor::is_empty) tells whether any command is left. With a zero timeout it does one turn.
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// use std::time::Duration;
    /// let mut reactor = Reactor::new()?;
    /// reactor.start(Command::new("sleep").arg("0.2"))?;
    /// while !reactor.is_empty() {
    ///     match reactor.wait_any_timeout(Duration::from_millis(50))? {
    ///         Some(done) => println!("{} is finished", done.id),
    ///         None => println!("still {} running", reactor.running()),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn wait_any_timeout(&mut self, timeout: Duration) -> io::Result<Option<Finished>> {
        let timeout = Some(timeout);
        self.wait_for(timeout, Engine::pop_finished, |engine| engine.len() > 0)
    }

    /// As [`wait_any_timeout`](Reactor::wait_any_timeout), and tells also when a pipe of the caller's is worth another
    /// [`try_read`](StdoutPipe::try_read) or [`try_write`](StdinPipe::try_write). So one thread reads and writes any number
    /// of pipes, both directions of one command among them. A `timeout` of `None` is none.
    ///
    /// ```
    /// use execloop::{Command, Event, Input, Output, Reactor, Stream};
    /// use std::io::ErrorKind::WouldBlock;
    /// let mut reactor = Reactor::new()?;
    /// let mut cat = Command::new("cat");
    /// let id = reactor.start(cat.stdin(Input::pipe()).stdout(Output::pipe()))?;
    /// let sent = vec![b'x'; 1_000_000]; // more than both pipes hold
    /// let (mut written, mut got) = (0, Vec::new());
    /// loop {
    ///     while written < sent.len() {
    ///         match reactor.stdin(id).expect("a pipe").try_write(&sent[written..]) {
    ///             Ok(count) => written += count,
    ///             Err(error) if error.kind() == WouldBlock => break,
    ///             Err(error) => return Err(error.into()),
    ///         }
    ///     }
    ///     if written == sent.len() {
    ///         reactor.stdin(id).expect("a pipe").close();
    ///     }
    ///     let mut buffer = [0; 4096];
    ///     let is_over = loop {
    ///         match reactor.stdout(id).expect("a pipe").try_read(&mut buffer) {
    ///             Ok(0) => break true,
    ///             Ok(count) => got.extend_from_slice(&buffer[..count]),
    ///             Err(error) if error.kind() == WouldBlock => break false,
    ///             Err(error) => return Err(error.into()),
    ///         }
    ///     };
    ///     if is_over {
    ///         break;
    ///     }
    ///     // Which of them it is would matter with many commands.
    ///     let event = reactor.wait_event(None)?;
    ///     assert!(matches!(event, Some(Event::Ready(of, Stream::Stdin | Stream::Stdout)) if of == id));
    /// }
    /// assert_eq!(got, sent);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn wait_event(&mut self, timeout: Option<Duration>) -> io::Result<Option<Event>> {
        self.wait_for(timeout, next_event, |engine| engine.len() > 0)
    }

    /// The next event, if there is one now. Does not wait and does not turn, as
    /// [`try_wait_any`](Reactor::try_wait_any).
    pub fn try_event(&mut self) -> Option<Event> {
        let event = next_event(&mut self.engine);
        self.tell_outer_loop();
        event
    }

    /// Turns until there is something to take, nothing can come any more, or the time is over. Sleeps also while other
    /// things wait to be taken: nobody is told of them meanwhile.
    fn wait_for<T>(
        &mut self,
        timeout: Option<Duration>,
        mut take: impl FnMut(&mut Engine<Unix>) -> Option<T>,
        may_come: impl Fn(&Engine<Unix>) -> bool,
    ) -> io::Result<Option<T>> {
        let until = timeout.and_then(|timeout| now().checked_add(timeout));
        let mut left = timeout;
        let mut is_over = false;
        let waited = loop {
            if let Some(taken) = take(&mut self.engine) {
                break Ok(Some(taken));
            }
            if is_over {
                break Ok(None);
            }
            if !may_come(&self.engine) {
                // What a handle has sent and no turn has taken may be a start.
                self.engine.take_messages();
                if !may_come(&self.engine) {
                    break Ok(None);
                }
                continue;
            }
            if let Err(error) = self.engine.turn(left) {
                break Err(error);
            }
            left = until.map(|until| until.saturating_duration_since(now()));
            is_over = left == Some(Duration::ZERO);
        };
        self.tell_outer_loop();
        waited
    }

    /// As [`wait_any`](Reactor::wait_any) for a reactor that others use by their handles: `None` when there is no command
    /// left **and no [`Handle`]**, nor a [`Pending`](crate::Pending). What is run by [`Handle::run`] and
    /// [`Handle::run_then`] goes to who sent it, so the loop of a thread that only serves others is
    /// `while reactor.serve()?.is_some() {}`. The trap: a handle that this very thread keeps makes it wait for ever.
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// let server = std::thread::spawn(move || {
    ///     while reactor.serve()?.is_some() {}
    ///     Ok::<(), std::io::Error>(())
    /// });
    /// let other = handle.clone();
    /// let one = std::thread::spawn(move || other.run(Command::new("true")).wait().success());
    /// let two = handle.run(Command::new("true")).wait().success();
    /// assert!(one.join().unwrap() && two);
    /// drop(handle); // the last one
    /// server.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn serve(&mut self) -> io::Result<Option<Finished>> {
        loop {
            if let Some(finished) = self.wait_any()? {
                return Ok(Some(finished));
            }
            // In this order: no handle sends any more, and what the last handle has sent may be a start.
            if !self.engine.inbox().has_no_handle() {
                self.engine.turn(None)?;
            } else {
                self.engine.take_messages();
                if self.engine.len() == 0 {
                    return Ok(None);
                }
            }
        }
    }

    /// What [`serve`](Reactor::serve) waits for: there is no command left, and no [`Handle`] to bring one. For outer loops,
    /// whose descriptor tells when the last one goes.
    pub fn is_served(&self) -> bool {
        let inbox = self.engine.inbox();
        inbox.has_no_handle() && !inbox.has_messages() && self.is_empty()
    }

    /// Waits until this command is finished, and hands it out. Others that finish meanwhile stay for later calls. `None`
    /// when it was handed out already, detached, or never this reactor's.
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn wait(&mut self, id: CommandId) -> io::Result<Option<Finished>> {
        let take = |engine: &mut Engine<Unix>| engine.take_finished(id);
        self.wait_for(None, take, |engine| engine.knows(id))
    }

    /// Does one pass: waits at most `timeout` for events (`None`: as long as it takes; zero: not at all), and acts on
    /// them. Returns early when something happens, when a [`Handle`] wakes it, and by a signal handler that ran. Says
    /// whether the next pass has something to do already; the [descriptor](AsFd) then tells it, too.
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        // Who asks for a turn is to see what is finished; who waits for something else may sleep on it.
        let timeout = if self.engine.is_pending() || self.engine.is_any_ready() {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let turned = self.engine.turn(timeout);
        self.tell_outer_loop();
        turned?;
        Ok(if self.engine.is_unannounced() {
            Turn::More
        } else {
            Turn::Done
        })
    }

    /// Hands out a command that is finished; `None` when there is none now. Does not wait, and does not turn: what has
    /// ended since the last [`turn`](Reactor::turn) is not known yet.
    pub fn try_wait_any(&mut self) -> Option<Finished> {
        let finished = self.engine.pop_finished();
        self.tell_outer_loop();
        finished
    }

    /// Hands out this command if it is finished; `None` when it is not yet, was handed out already, or never was this
    /// reactor's. Does not wait and does not turn, as [`try_wait_any`](Reactor::try_wait_any); the trap for those who
    /// come from std, whose `try_wait` asks the system.
    pub fn try_wait(&mut self, id: CommandId) -> Option<Finished> {
        let finished = self.engine.take_finished(id);
        self.tell_outer_loop();
        finished
    }

    /// Asks a command to stop, by its [`Cancel`](crate::Cancel), as if its context had ended. One that waits in the queue
    /// is not started. `false` when it has finished or is not this reactor's.
    ///
    /// A second call skips to the end of the [ladder](crate::Cancel::then), as a second Ctrl-C does: it is a
    /// [`kill`](Reactor::kill). A context that ends, a time limit or a dropped [`Pending`](crate::Pending) is no call, neither
    /// a first nor a second.
    pub fn cancel(&mut self, id: CommandId) -> bool {
        let was_here = self.engine.cancel(id);
        self.tell_outer_loop();
        was_here
    }

    /// Kills a command now, and its group if its [`Cancel`](crate::Cancel) is for the group. Its pipes are read once more
    /// and closed. It is reaped and handed out like any other. `false` when it has finished or is not this reactor's.
    pub fn kill(&mut self, id: CommandId) -> bool {
        let was_here = self.engine.kill(id);
        self.tell_outer_loop();
        was_here
    }

    /// Signals a command's process.
    ///
    /// # Errors
    /// [`NotRunning`] when it is queued, reaped, or not this reactor's. Never another process. `EPERM` when it took another
    /// user's identity.
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
    /// The trap: when the process is reaped, the number may be given to another one.
    /// [`signal`](Reactor::signal) never takes that for the command's.
    pub fn pid(&self, id: CommandId) -> Option<u32> {
        self.engine.child(id).map(Unix::pid)
    }

    /// The pidfd of a command's process (pidfd_open(2); Go: `SysProcAttr.PidFD`). `None` while it is queued and once it is
    /// finished. It is readable when the process has exited.
    ///
    /// A copy by [`try_clone_to_owned`](BorrowedFd::try_clone_to_owned) can be kept for as long as one likes: after the
    /// process was reaped, signals to it fail with `ESRCH`. The trap: a waitid(2) on it takes the exit status away from the
    /// reactor ([`Error::StatusLost`](crate::Error::StatusLost)).
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

    /// The write end of a command's stdin, if that is [`Input::pipe`](crate::Input::pipe) and its outcome was not handed
    /// out yet.
    pub fn stdin(&mut self, id: CommandId) -> Option<StdinPipe<'_>> {
        self.engine
            .has_callers_pipe(id, Stream::Stdin)
            .then_some(StdinPipe::new(self, id))
    }

    /// The read end of a command's stdout, if that is [`Output::pipe`](crate::Output::pipe) and its outcome was not handed
    /// out yet.
    pub fn stdout(&mut self, id: CommandId) -> Option<StdoutPipe<'_>> {
        self.engine
            .has_callers_pipe(id, Stream::Stdout)
            .then_some(StdoutPipe::new(self, id, Stream::Stdout))
    }

    /// The read end of a command's stderr, as [`stdout`](Reactor::stdout).
    pub fn stderr(&mut self, id: CommandId) -> Option<StdoutPipe<'_>> {
        self.engine
            .has_callers_pipe(id, Stream::Stderr)
            .then_some(StdoutPipe::new(self, id, Stream::Stderr))
    }

    /// The processes, other than this one, that hold the pipe of a stream that the reactor copies: the command's own, and
    /// after its exit those that keep it from being finished. None where there is no such pipe (any more). As costly as
    /// [`pipe_holders`](crate::linux::pipe_holders).
    ///
    /// # Errors
    /// Where /proc cannot be read.
    pub fn holders(&mut self, id: CommandId, stream: Stream) -> io::Result<Vec<Holder>> {
        self.engine.holders(id, stream)
    }

    /// Goes on with the reader and the writers of a command that had returned
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn resume(&mut self, id: CommandId) {
        self.engine.resume(id);
        self.tell_outer_loop();
    }

    /// Lets a running command go: it survives the reactor, its outcome is not reported, and its pipes are closed. Returns its
    /// pid; `None` when it is not running. The trap: once the reactor is dropped, it is not reaped before this process
    /// ends.
    pub fn detach(&mut self, id: CommandId) -> Option<u32> {
        let pid = self.engine.detach(id);
        self.tell_outer_loop();
        pid
    }

    /// For other threads.
    pub fn handle(&self) -> Handle {
        Handle::new(self.engine.share_inbox(), self.engine.reactor())
    }

    /// Kills what runs, at once, with the process groups that commands lead, waits until all of it is reaped, and hands
    /// out everything that was not yet. Commands in the queue end with [`StartError::ShutDown`]. A command that this process
    /// may not kill, as it took another user's identity, is not waited for: its pipes are closed, and it is handed out with
    /// [`Error::Kill`](crate::Error::Kill) and without a status. To ask first, cancel a [`Context`](crate::Context) and use
    /// [`wait_any`](Reactor::wait_any).
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn shutdown(mut self) -> io::Result<Vec<Finished>> {
        self.engine.shut_down()
    }

    /// When the reactor has something to do by itself, if nothing happens before: the earliest limit of a command, a
    /// context's deadline, a [`wake_at`](Reactor::wake_at), or a next try of something. `None`: nothing. For who wants to
    /// know; a turn and the [descriptor](AsFd) need not know.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.engine.next_deadline()
    }

    /// A timer of the caller's: makes a [turn](Reactor::turn) return at that time, or soon after, and the
    /// [descriptor](AsFd) readable. Nothing else happens, and each is for once; any number can be set, of which those at the
    /// same instant are one. So a program whose one sleep is the reactor's needs no timer besides. The trap:
    /// [`wait_any`](Reactor::wait_any) sleeps on, as it waits for a command.
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// use std::time::{Duration, Instant};
    /// let mut reactor = Reactor::new()?;
    /// reactor.start(Command::new("sleep").arg("0.2"))?;
    /// let mut next = Instant::now();
    /// while !reactor.is_empty() {
    ///     if Instant::now() >= next {
    ///         print!("."); // progress, whatever the commands do
    ///         next += Duration::from_millis(20);
    ///         reactor.wake_at(next);
    ///     }
    ///     reactor.turn(None)?;
    ///     while let Some(done) = reactor.try_wait_any() {
    ///         println!("{} is finished", done.id);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wake_at(&mut self, at: Instant) {
        self.engine.wake_at(at);
        self.tell_outer_loop();
    }

    /// Commands that were started or queued and not handed out.
    pub fn len(&self) -> usize {
        self.engine.len()
    }

    /// There is no command: `wait_any` would return `None`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Commands whose process was started and that are not finished.
    pub fn running(&self) -> usize {
        self.engine.running()
    }

    /// Commands that wait for their start.
    pub fn queued(&self) -> usize {
        self.engine.queued()
    }

    /// What this reactor has done so far. Default: all is counted from its making on, at the cost of one look at the clock
    /// for each turn.
    ///
    /// ```
    /// use execloop::{Command, Output, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// reactor.start(Command::new("echo").arg("hello").stdout(Output::capture()))?;
    /// while reactor.wait_any()?.is_some() {}
    /// let stats = reactor.stats();
    /// assert_eq!((stats.started, stats.finished, stats.bytes_read), (1, 1, 6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Has `observer` told of each command's instants, in place of an earlier one.
    pub fn observe(&mut self, observer: impl Observer + 'static) {
        self.engine.observe(Box::new(observer));
    }

    /// Changes [`max_running`](ReactorBuilder::max_running). With a lower one, no command starts until enough have ended;
    /// those that run go on. With a higher one, the next of the queue start at once.
    pub fn set_max_running(&mut self, commands: usize) {
        self.engine.set_running_max(commands);
        self.tell_outer_loop();
    }

    /// Makes a [pool](ReactorBuilder::pool) of this name, or gives the one that there is another depth: as
    /// [`set_max_running`](Reactor::set_max_running) for the commands in it.
    pub fn set_pool(&mut self, name: &str, depth: usize) {
        self.engine.set_pool(name, depth);
        self.tell_outer_loop();
    }

    /// Reads this process's environment again. Default: commands that inherit it share one copy, taken at the first such
    /// start; and a command that was started before keeps what was prepared then, until it is changed.
    pub fn refresh_environment(&mut self) {
        self.engine.refresh_environment();
    }

    /// An outer loop would sleep on work that no event announces: leftovers of a budget, what is finished, and deadlines
    /// that came up since the turn began.
    pub(crate) fn tell_outer_loop(&mut self) {
        if self.is_embedded.get() {
            self.engine.prepare_sleep();
            self.wake_outer_loop();
        }
    }

    fn wake_outer_loop(&self) {
        if self.engine.is_unannounced() {
            self.engine.inbox().wake();
        }
    }
}

/// One descriptor for an outer loop. It is readable whenever there is something to do inside: events, deadlines, ended
/// contexts, messages from other threads, leftovers of the last turn, and finished commands that were not taken. Then call
/// [`turn`](Reactor::turn) with a zero timeout and take what is [finished](Reactor::try_wait_any). No timeout has to be
/// computed outside.
///
/// An outer loop that learns of edges alone (`EPOLLET`, tokio's `AsyncFd`) is served as well: whatever a turn or any other
/// call leaves to do, and no kernel will announce anew, becomes a new edge before that call returns. So one turn for each
/// edge is enough.
impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.is_embedded.set(true);
        self.wake_outer_loop();
        self.engine.kernel().as_fd()
    }
}

/// The same descriptor as [`AsFd`]'s, for loops that ask for a number (tokio's `AsyncFd`, `mio::unix::SourceFd`): one and
/// the same, and open, until the reactor is dropped.
impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reactor")
            .field("running", &self.running())
            .field("queued", &self.queued())
            .field("finished", &(self.len() - self.running() - self.queued()))
            .finish()
    }
}

/// The limits of a [`Reactor`].
#[derive(Clone, Debug)]
pub struct ReactorBuilder {
    running_max: usize,
    pools: Vec<(String, usize)>,
    brakes: Brakes,
    jobserver: Option<Jobserver>,
    takes_before_start: bool,
    raises_fd_limit: bool,
}

impl ReactorBuilder {
    /// Runs at most this many commands at once, at least 1; more wait in the queue. A command counts from its start until
    /// it is finished. Default: no limit but that of descriptors, which queues too: each command costs one descriptor and
    /// one for each pipe, and that is counted against the soft limit, less 32 for others. What a start takes for a moment
    /// is counted, too.
    pub fn max_running(mut self, commands: usize) -> ReactorBuilder {
        self.running_max = commands;
        self
    }

    /// Makes a pool of this name, in which at most so many [commands](Command::pool) run at once, at least 1, also where
    /// [`max_running`](ReactorBuilder::max_running) would allow more: links that need much memory, for example (ninja's
    /// pools). Of equal names the last counts. Default: no pool.
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// let mut reactor = Reactor::builder().max_running(16).pool("link", 2).build()?;
    /// for unit in ["a", "b", "c"] {
    ///     reactor.start(Command::new("echo").args(["cc", unit]))?;
    ///     reactor.start(Command::new("echo").args(["ld", unit]).pool("link"))?;
    /// }
    /// # while reactor.wait_any()?.is_some() {}
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pool(mut self, name: impl Into<String>, depth: usize) -> ReactorBuilder {
        self.pools.push((name.into(), depth));
        self
    }

    /// Starts no command beyond this load average of the last minute, while others run (`make -l`, `ninja -l`). Default:
    /// no such brake. The average is read once a second, and so many are started then as fit below the limit.
    ///
    /// The trap: it is the whole machine's, also in a container, and follows what happens by half a minute.
    pub fn max_load(mut self, average: f64) -> ReactorBuilder {
        self.brakes.on_load(average);
        self
    }

    /// Starts no command, while others run, when in more than this share of the last ten seconds some process waited for
    /// memory, in percent (Linux 4.20, `some avg10` of `/proc/pressure/memory`). Read once a second. Default: no such brake.
    /// A machine that swaps shows some 10 and more. Where there is no such file, [`build`](ReactorBuilder::build) fails.
    pub fn max_memory_pressure(mut self, percent: f64) -> ReactorBuilder {
        self.brakes.on_pressure("memory", percent);
        self
    }

    /// The same for those who waited for a processor (`/proc/pressure/cpu`), which follows faster than a load average.
    pub fn max_cpu_pressure(mut self, percent: f64) -> ReactorBuilder {
        self.brakes.on_pressure("cpu", percent);
        self
    }

    /// Runs each command but one with a token of this jobserver, beside all other limits. Default: none. Whatever its
    /// [weight](Command::weight), a command takes one token. The commands themselves know of it by
    /// [`Jobserver::pass_to`].
    pub fn jobserver(mut self, jobserver: &Jobserver) -> ReactorBuilder {
        self.jobserver = Some(jobserver.clone());
        self
    }

    /// With `true`, no command starts while a finished one was not [taken](Reactor::wait_any): who stops at a failure hears of
    /// it before anything else begins (`make` without `-k`, ninja), and may [cancel](Reactor::cancel) what is queued.
    /// Default: `false`, a place is taken by the next of the queue in the turn in which it becomes free. What goes to who
    /// sent it ([`Handle::run`], [`Handle::run_then`]) is taken at once. The trap: who waits for one command alone
    /// ([`wait`](Reactor::wait), a read of its pipe), and it is in the queue, waits for ever if another is finished.
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// let mut reactor = Reactor::builder().max_running(1).take_before_start(true).build()?;
    /// let ids = ["true", "false", "true"].map(|program| reactor.submit(Command::new(program)));
    /// while let Some(done) = reactor.wait_any()? {
    ///     if done.pid.is_some() && !done.success() {
    ///         for id in ids {
    ///             reactor.cancel(id);
    ///         }
    ///     }
    /// }
    /// assert_eq!(reactor.stats().started, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_before_start(mut self, take: bool) -> ReactorBuilder {
        self.takes_before_start = take;
        self
    }

    /// With `true`, raises this process's soft limit of descriptors to the hard one. From then on children get the limit as
    /// it was, whichever reactor starts them, after their descriptors are in place (Go does both). Default: `false`, as the
    /// limit belongs to the whole process.
    pub fn raise_fd_limit(mut self, raise: bool) -> ReactorBuilder {
        self.raises_fd_limit = raise;
        self
    }

    /// Makes the reactor.
    ///
    /// # Errors
    /// As [`Reactor::new`]; and [`Unsupported`](io::ErrorKind::Unsupported) for a brake whose gauge this system does not
    /// have.
    pub fn build(self) -> io::Result<Reactor> {
        if self.raises_fd_limit {
            raise_fd_limit()?;
        }
        let kernel = Unix::new()?;
        let mut admission = Admission::new(self.running_max, fd_limit_soft());
        for (name, depth) in &self.pools {
            admission.set_pool(name, *depth);
        }
        let mut engine = Engine::new(
            kernel,
            admission,
            NEXT_REACTOR.fetch_add(1, Ordering::Relaxed),
        );
        if self.takes_before_start {
            engine.take_before_start();
        }
        if !self.brakes.is_none() {
            self.brakes.check()?;
            engine.add_permits(Box::new(self.brakes))?;
        }
        if let Some(jobserver) = &self.jobserver {
            engine.add_permits(Box::new(jobserver.permits()))?;
        }
        Ok(Reactor {
            engine,
            is_embedded: Cell::new(false),
        })
    }
}
