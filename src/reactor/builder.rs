//! `ReactorBuilder`: the limits of a reactor, set before it is made.
//! Unaware of what it does, and of what keeps the limits.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Reactor;
use crate::admission::Admission;
use crate::brakes::Brakes;
use crate::engine::Engine;
use crate::jobserver::Jobserver;
use crate::sys::{Unix, fd_limit_soft, raise_fd_limit};

/// The limits of a [`Reactor`].
///
/// ```
/// use execloop::{Command, Reactor};
/// let mut reactor = Reactor::builder().max_running(16).pool("link", 2).raise_fd_limit(true).build()?;
/// reactor.start(Command::new("true").pool("link"))?;
/// # while reactor.wait_any()?.is_some() {}
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ReactorBuilder {
    running_max: usize,
    pools: Vec<(String, usize)>,
    brakes: Brakes,
    jobserver: Option<Jobserver>,
    takes_before_start: bool,
    raises_fd_limit: bool,
}

impl Reactor {
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
}

impl ReactorBuilder {
    /// Runs at most this many commands at once, at least 1; more wait in the queue. A command counts from its start
    /// until it is finished. Default: no limit but that of descriptors, which queues too: each command costs one
    /// descriptor and one for each pipe, and that is counted against the soft limit, less 32 for others. What a start
    /// takes for a moment is counted, too.
    pub fn max_running(mut self, commands: usize) -> ReactorBuilder {
        self.running_max = commands;
        self
    }

    /// Makes a pool of this name, in which at most so many [commands](crate::Command::pool) run at once, at least 1,
    /// also where [`max_running`](ReactorBuilder::max_running) would allow more: links that need much memory, for
    /// example (ninja's pools). Of equal names the last counts. Default: no pool.
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

    /// Starts no command beyond this load average of the last minute, while others run (`make -l`, `ninja -l`).
    /// Default: no such brake. The average is read once a second, and so many are started then as fit below the limit.
    ///
    /// The trap: it is the whole machine's, also in a container, and follows what happens by half a minute.
    pub fn max_load(mut self, average: f64) -> ReactorBuilder {
        self.brakes.on_load(average);
        self
    }

    /// Starts no command, while others run, when in more than this share of the last ten seconds some process waited
    /// for memory, in percent (Linux 4.20, `some avg10` of `/proc/pressure/memory`). Read once a second. Default: no
    /// such brake. A machine that swaps shows some 10 and more. Where there is no such file,
    /// [`build`](ReactorBuilder::build) fails.
    pub fn max_memory_pressure(mut self, percent: f64) -> ReactorBuilder {
        self.brakes.on_pressure("memory", percent);
        self
    }

    /// The same for those who waited for a processor (`/proc/pressure/cpu`), which follows faster than a load average.
    /// Default: no such brake.
    pub fn max_cpu_pressure(mut self, percent: f64) -> ReactorBuilder {
        self.brakes.on_pressure("cpu", percent);
        self
    }

    /// Runs each command but one with a token of this jobserver, beside all other limits. Default: none. Whatever its
    /// [weight](crate::Command::weight), a command takes one token. The commands themselves know of it by
    /// [`Jobserver::pass_to`].
    pub fn jobserver(mut self, jobserver: &Jobserver) -> ReactorBuilder {
        self.jobserver = Some(jobserver.clone());
        self
    }

    /// With `true`, no command starts while a finished one was not [taken](Reactor::wait_any): who stops at a failure
    /// hears of it before anything else begins, as with `make` and ninja, and may [cancel](Reactor::cancel) what is
    /// queued. Default: `false`, the next of the queue starts in the turn in which a place becomes free. What goes to
    /// who sent it ([`Handle::run`](crate::Handle::run), [`Handle::run_then`](crate::Handle::run_then)) is taken at
    /// once. The trap: who waits for one command alone ([`wait`](Reactor::wait), a read of its pipe) while it is in the
    /// queue, waits for ever if another is finished.
    ///
    /// ```
    /// use execloop::{Command, Reactor};
    /// let mut reactor = Reactor::builder().max_running(1).take_before_start(true).build()?;
    /// let ids = ["true", "false", "true"].map(|program| reactor.submit(Command::new(program)));
    /// while let Some(done) = reactor.wait_any()? {
    ///     if done.pid.is_some() && !done.success() {
    ///         for id in ids {
    ///             // What is queued. What runs goes on: of that, a second call would be a kill.
    ///             if reactor.pid(id).is_none() {
    ///                 reactor.cancel(id);
    ///             }
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

    /// With `true`, raises this process's soft limit of descriptors to the hard one. Children still get the old one,
    /// whichever reactor starts them (Go does the same). Default: `false`, as the limit belongs to the whole process.
    pub fn raise_fd_limit(mut self, raise: bool) -> ReactorBuilder {
        self.raises_fd_limit = raise;
        self
    }

    /// Makes the reactor.
    ///
    /// # Errors
    /// As [`Reactor::new`]; and [`Unsupported`](io::ErrorKind::Unsupported) for a brake whose gauge this system does
    /// not have.
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

/// Marks ids, so that one reactor's is not taken for another's.
static NEXT_REACTOR: AtomicU32 = AtomicU32::new(1);
