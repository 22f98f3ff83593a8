//! The public face: `Reactor`, its `ReactorBuilder`, `Handle`, and the pipes that borrow it.
//! Unaware of how the loop works; short methods, long documentation.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::admission::Admission;
use crate::brakes::Brakes;
use crate::command::Command;
use crate::engine::Engine;
use crate::error::{NotRunning, StartError, Stream};
use crate::finished::{CommandId, Finished};
use crate::inbox::{Inbox, Message};
use crate::jobserver::Jobserver;
use crate::reply::Pending;
use crate::sys::{Kernel, Signal, Target, Unix, fd_limit_soft, raise_fd_limit};

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
/// [`Context`](crate::Context) reach nobody. The original feels none of it. The copy may make a reactor of its own; a copy
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
    engine: Engine<Unix>,
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
            raises_fd_limit: false,
        }
    }

    /// Starts `command`, or queues it when a limit is reached, as many starts as may be are under way, or the kernel is
    /// short of descriptors, processes or memory while others run. Returns at once, and does not wait for the program's
    /// exec. First in, first out, but for [priorities](Command::priority) and [pools](Command::pool).
    ///
    /// There are two kinds of failure, and which one it is never depends on the queue. What is wrong with the command itself
    /// is told here. Whatever the system has to say (a pipe, the process, a directory, the program ..) arrives as the
    /// command's [`Finished`], with [`Error::Start`](crate::Error::Start) and without a pid. No child is left in either case.
    ///
    /// # Errors
    /// [`StartError`] without a system call behind it: no program, a name not found in `PATH`, settings that contradict each
    /// other, a NUL byte, streams that were used up, a context that has ended, a reactor of another process.
    pub fn start(&mut self, command: &mut Command) -> Result<CommandId, StartError> {
        let started = self.engine.start(command);
        self.tell_outer_loop();
        started
    }

    /// Waits until some command is finished, and hands it out. `None` when there is no command left.
    ///
    /// # Errors
    /// When polling fails, which it does not in normal operation. The commands go on; the call can be repeated. Always in
    /// a forked copy of the process ([`Unsupported`](io::ErrorKind::Unsupported)).
    pub fn wait_any(&mut self) -> io::Result<Option<Finished>> {
        loop {
            if let Some(finished) = self.try_wait_any() {
                return Ok(Some(finished));
            }
            if self.engine.len() == 0 {
                // What a handle has sent and no turn has taken may be a start.
                self.engine.take_messages();
                if self.engine.len() == 0 {
                    return Ok(None);
                }
            }
            self.turn(None)?;
        }
    }

    /// Waits until this command is finished, and hands it out. Others that finish meanwhile stay for later calls. `None`
    /// when it was handed out already, detached, or never this reactor's.
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn wait(&mut self, id: CommandId) -> io::Result<Option<Finished>> {
        let waited = self.wait_asleep(id);
        self.tell_outer_loop();
        waited
    }

    /// Sleeps also while other commands are finished: nobody is told of them meanwhile.
    fn wait_asleep(&mut self, id: CommandId) -> io::Result<Option<Finished>> {
        loop {
            if let Some(finished) = self.engine.take_finished(id) {
                return Ok(Some(finished));
            }
            if !self.engine.knows(id) {
                // It may be on its way from a handle.
                self.engine.take_messages();
                if !self.engine.knows(id) {
                    return Ok(None);
                }
            }
            self.engine.turn(None)?;
        }
    }

    /// Does one pass: waits at most `timeout` for events (`None`: as long as it takes; zero: not at all), and acts on
    /// them. Returns early when something happens, when a [`Handle`] wakes it, and by a signal handler that ran. Says
    /// whether the next pass has something to do already; the [descriptor](AsFd) then tells it, too.
    ///
    /// # Errors
    /// As [`wait_any`](Reactor::wait_any).
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        // Who asks for a turn is to see what is finished; who waits for something else may sleep on it.
        let timeout = if self.engine.is_pending() {
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
    /// A second call does nothing while the first is at work; [`kill`](Reactor::kill) is the stronger word.
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
            .then_some(StdinPipe { reactor: self, id })
    }

    /// The read end of a command's stdout, if that is [`Output::pipe`](crate::Output::pipe) and its outcome was not handed
    /// out yet.
    pub fn stdout(&mut self, id: CommandId) -> Option<StdoutPipe<'_>> {
        self.engine
            .has_callers_pipe(id, Stream::Stdout)
            .then_some(StdoutPipe {
                reactor: self,
                id,
                stream: Stream::Stdout,
            })
    }

    /// The read end of a command's stderr, as [`stdout`](Reactor::stdout).
    pub fn stderr(&mut self, id: CommandId) -> Option<StdoutPipe<'_>> {
        self.engine
            .has_callers_pipe(id, Stream::Stderr)
            .then_some(StdoutPipe {
                reactor: self,
                id,
                stream: Stream::Stderr,
            })
    }

    /// Goes on with the reader and the writers of a command that had returned
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn resume(&mut self, id: CommandId) {
        self.engine.resume(id);
        self.tell_outer_loop();
    }

    /// Lets a running command go: it survives the reactor, its outcome is not told, and its pipes are closed. Returns its
    /// pid; `None` when it is not running. The trap: once the reactor is dropped, nobody reaps it before this process
    /// ends.
    pub fn detach(&mut self, id: CommandId) -> Option<u32> {
        let pid = self.engine.detach(id);
        self.tell_outer_loop();
        pid
    }

    /// For other threads.
    pub fn handle(&self) -> Handle {
        Handle {
            inbox: self.engine.share_inbox(),
            reactor: self.engine.reactor(),
        }
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
    fn tell_outer_loop(&mut self) {
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
/// An outer loop that is told of edges alone (`EPOLLET`, tokio's `AsyncFd`) is served as well: whatever a turn or any other
/// call leaves to do, and no kernel will announce anew, becomes a new edge before that call returns. So one turn for each
/// edge is enough.
impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.is_embedded.set(true);
        self.wake_outer_loop();
        self.engine.kernel().as_fd()
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

/// Speaks to a [`Reactor`] from any thread. What it says is done in the reactor's next turn, which it wakes; after the
/// reactor is gone, nothing is. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    inbox: Arc<Inbox<<Unix as Kernel>::Waker>>,
    reactor: u32,
}

impl Handle {
    /// Starts or queues a command. Returns the id that its [`Finished`] will carry, also if it cannot be started; `None`
    /// when the reactor is gone, or another process's that this one was forked from.
    pub fn start(&self, command: Command) -> Option<CommandId> {
        let (number, id) = self.take_id();
        let sent = self.inbox.send(Message::Start(number, Box::new(command)));
        sent.then_some(id)
    }

    /// Starts or queues a command whose [`Finished`] comes back here: a future without a runtime, or by
    /// [`Pending::wait`] a call that blocks. The reactor's own calls ([`wait_any`](Reactor::wait_any), ..) do not hand it
    /// out. Dropped before that, it cancels the command.
    ///
    /// ```
    /// use execloop::{Command, Output, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// let caller = std::thread::spawn(move || {
    ///     let mut command = Command::new("echo");
    ///     command.arg("hello").stdout(Output::capture());
    ///     handle.run(command).wait() // or, in a future: handle.run(command).await
    /// });
    /// while !caller.is_finished() {
    ///     reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// }
    /// assert_eq!(caller.join().unwrap().stdout, b"hello\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(&self, command: Command) -> Pending {
        let (number, id) = self.take_id();
        let (pending, reply) = Pending::new(self.clone(), id);
        self.inbox
            .send(Message::Run(number, Box::new(command), reply));
        pending
    }

    /// Starts or queues a command, and calls `then` with its [`Finished`], on the reactor's thread; it must not block. A
    /// channel's sender in it is a way to tell any thread; what is captured in it is the caller's own data, which travels
    /// with the command. The reactor's own calls do not hand this command out. Where the reactor is dropped or
    /// [detaches](Reactor::detach) the command, `then` is dropped uncalled. A panic in it is dropped: nobody is left to
    /// hear of it.
    ///
    /// Returns as [`start`](Handle::start).
    pub fn run_then(
        &self,
        command: Command,
        then: impl FnOnce(Finished) + Send + 'static,
    ) -> Option<CommandId> {
        let (number, id) = self.take_id();
        let message = Message::Run(number, Box::new(command), Box::new(then));
        self.inbox.send(message).then_some(id)
    }

    fn take_id(&self) -> (u64, CommandId) {
        let number = self.inbox.take_number();
        let reactor = self.reactor;
        (number, CommandId { number, reactor })
    }

    /// It speaks to a reactor of this very process.
    pub(crate) fn is_heard(&self) -> bool {
        self.inbox.is_heard()
    }

    /// As [`Reactor::cancel`].
    pub fn cancel(&self, id: CommandId) {
        self.tell(id, Message::Cancel(id.number));
    }

    /// As [`Reactor::kill`].
    pub fn kill(&self, id: CommandId) {
        self.tell(id, Message::Kill(id.number));
    }

    /// As [`Reactor::signal`], without the answer.
    pub fn signal(&self, id: CommandId, signal: Signal) {
        self.tell(id, Message::Signal(id.number, signal));
    }

    /// As [`Reactor::resume`].
    pub fn resume(&self, id: CommandId) {
        self.tell(id, Message::Resume(id.number));
    }

    /// Makes the present or the next [`Reactor::turn`] return early.
    pub fn wake(&self) {
        self.inbox.wake();
    }

    fn tell(&self, id: CommandId, message: Message) {
        if id.reactor == self.reactor {
            self.inbox.send(message);
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Handle")
            .field("reactor", &self.reactor)
            .finish_non_exhaustive()
    }
}

/// The write end of a command's stdin. A write waits while the pipe is full, and all other commands go on meanwhile.
///
/// Dropping it closes nothing, as it only borrows: call [`close`](StdinPipe::close) to give the command its end of input.
#[derive(Debug)]
pub struct StdinPipe<'a> {
    reactor: &'a mut Reactor,
    id: CommandId,
}

impl StdinPipe<'_> {
    /// Closes the pipe. A second time does nothing.
    pub fn close(self) {
        self.reactor
            .engine
            .close_callers_pipe(self.id, Stream::Stdin);
    }
}

impl Write for StdinPipe<'_> {
    /// # Errors
    /// `BrokenPipe` when the command reads no more, `NotConnected` after `close` or after the pipe was cut; its text says by what.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.reactor.engine.write_callers_pipe(self.id, bytes);
        self.reactor.tell_outer_loop();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The read end of a command's stdout or stderr. A read waits until there is something, and all other commands go on
/// meanwhile. The end of the stream is `Ok(0)`, as ever.
#[derive(Debug)]
pub struct StdoutPipe<'a> {
    reactor: &'a mut Reactor,
    id: CommandId,
    stream: Stream,
}

impl StdoutPipe<'_> {
    /// Closes the pipe: the command gets SIGPIPE when it writes on. A second time does nothing.
    pub fn close(self) {
        self.reactor.engine.close_callers_pipe(self.id, self.stream);
    }
}

impl Read for StdoutPipe<'_> {
    /// # Errors
    /// `NotConnected` after `close` or after the pipe was cut; its text says by what.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let held = &mut self.reactor.engine;
        let read = held.read_callers_pipe(self.id, self.stream, buffer);
        self.reactor.tell_outer_loop();
        read
    }
}
