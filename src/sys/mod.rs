//! The boundary to the operating system: the contract `Kernel`, and the data that crosses it.
//! Unaware of jobs, contexts, queues and callers; imports nothing of ours.
//!
//! Each implementation of [`Kernel`] defines: a child's handle, our end of a pipe, a waker, and some calls. The real one
//! is `unix.rs`, over mio and one of two backends, `linux/` and `kqueue/`, which share what stands here beside them;
//! `simulated.rs` is a machine in memory. Every `unsafe` block of the crate is in this folder.

#[cfg(not(any(
    target_os = "linux",
    target_os = "macos",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
)))]
compile_error!(
    "execloop runs on Linux, macOS, FreeBSD, NetBSD, OpenBSD and DragonFly (docs/porting.md)"
);

mod attributes;
mod awaited;
// Which of the real ones this is.
#[cfg_attr(
    all(target_os = "linux", not(execloop_kqueue_shim)),
    path = "linux/mod.rs"
)]
#[cfg_attr(
    any(not(target_os = "linux"), execloop_kqueue_shim),
    path = "kqueue/mod.rs"
)]
mod backend;
mod clock;
mod console;
mod cstr;
mod executable;
mod failure;
mod fd;
mod fork;
mod load;
mod mapping;
mod mask;
mod names;
mod pipe;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod program;
mod quiet;
mod signal;
#[cfg(any(test, fuzzing))]
pub(crate) mod simulated;
mod stream;
mod terminal;
mod token;
mod unix;
mod usage;
mod waker;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use attributes::{Attributes, CgroupPlan, Groups, IdMap, Program, Rlimit};
pub(crate) use backend::{Zombie, become_subreaper, first_zombie};
#[cfg(not(any(test, fuzzing)))]
pub(crate) use clock::now;
pub(crate) use cstr::{CStrings, nul_free};
pub(crate) use executable::{executable, string_bytes_max};
pub use failure::StartStep;
pub(crate) use failure::{
    StartFailure, is_argument_list_too_long, is_number_too_large, is_process_gone,
    is_unknown_format, may_be_of_interpreter, process_gone,
};
pub(crate) use fd::{above_stdio, bytes_in_pipe, fd_limit_soft, make_fifo, raise_fd_limit};
pub(crate) use load::load_average;
pub use names::{Capability, Namespaces, Resource};
pub use signal::{Signal, SignalParseError};
#[cfg(any(test, fuzzing))]
pub(crate) use simulated::now;
pub use stream::Stream;
pub(crate) use terminal::TerminalPlan;
pub use terminal::TerminalSize;
pub(crate) use token::SLOTS_MAX;

/// The kernel that this process runs on.
pub(crate) type Unix = unix::Unix<backend::System>;

/// The system, as the loop sees it.
pub(crate) trait Kernel {
    /// A started child: its pid and whatever addresses it until it is reaped.
    type Child: fmt::Debug;
    /// Our end of one pipe. Never blocks. Closed by `close`, or by dropping it.
    type Pipe: fmt::Debug;
    /// Ends a `poll` from any thread.
    type Waker: Wake;

    /// Whether this kernel is the calling process's own. In a forked copy nothing else may be asked of it but to close:
    /// what it polls by is shared with the process that was copied, and so are its children's handles and pipes.
    ///
    /// # Errors
    /// In a forked copy.
    fn check_process(&self) -> io::Result<()> {
        Ok(())
    }
    /// The monotonic clock: the only place where time is read.
    fn now(&self) -> Instant;
    /// `false`: as many starts as may be are under way, so this one would wait for another child's exec.
    fn can_start(&self, launch: &Launch) -> bool;
    /// Starts one child. Its program may be executed later, or not at all, which its exit tells. Nothing of it is watched
    /// yet. On failure nothing is left behind and `launch` can be started again.
    fn start(&mut self, launch: &mut Launch) -> Result<Started<Self>, StartFailure>;
    /// The child's program is executed, or it was ended before by somebody. `false`: it is under way, or has failed.
    fn has_executed(&mut self, child: &Self::Child) -> bool;
    /// Waits for a child's exec, no longer than that. `false`: its start has failed, which its exit tells.
    fn await_exec(&mut self, child: &Self::Child, until: Instant) -> bool;
    /// The pids of children that have all that this process has open, for the moment of their birth.
    fn newborn(&self) -> Vec<u32> {
        Vec::new()
    }
    /// Waits, no longer than that, until a child uses nothing any more that `close` would have to keep for it.
    fn await_table(&mut self, _child: &Self::Child, _until: Instant) {}
    /// Makes `poll` report our end of a pipe, until it is closed: what there is to say of it now, and each change. To ask
    /// for it again does nothing.
    fn watch_pipe(&mut self, pipe: &Self::Pipe, stream: Stream, tenant: Tenant) -> io::Result<()>;
    /// The same for a child's exit.
    fn watch_child(&mut self, child: &Self::Child, tenant: Tenant) -> io::Result<()>;
    /// Has the next `poll`, and that one alone, report a child's exit as well, also one that came before: cheaper than to
    /// watch a child that is over soon. `false`: this one has to be watched.
    fn await_child(&mut self, _child: &Self::Child, _tenant: Tenant) -> bool {
        false
    }
    /// The same for a pipe of a child that is awaited.
    fn await_pipe(&mut self, _pipe: &Self::Pipe, _stream: Stream, _tenant: Tenant) {}
    /// Makes `poll` return when this descriptor of somebody else's becomes readable, without an event: by edges.
    fn watch_other(&mut self, _fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }
    /// Appends at most `bytes_max` bytes to `into`, in one read. `Ok(0)` is the end of the stream.
    fn read(
        &mut self,
        pipe: &Self::Pipe,
        into: &mut Vec<u8>,
        bytes_max: usize,
    ) -> io::Result<usize>;
    /// Writes what fits, in one write. Where no process reads, it fails with `EPIPE`, and no signal is raised.
    fn write(&mut self, pipe: &Self::Pipe, bytes: &[u8]) -> io::Result<usize>;
    /// That a terminal has ended may never be told: once its child is over, somebody has to look.
    fn may_end_unsaid(&self, _pipe: &Self::Pipe) -> bool {
        false
    }
    /// No other process has the other end now. Asked only where no event could have come in time.
    fn is_abandoned(&mut self, pipe: &Self::Pipe) -> bool;
    /// Closes our end, or has it closed as soon as no child under way keeps its number. Events for it may still be reported.
    fn close(&mut self, pipe: Self::Pipe);
    /// Gives our end away, as a descriptor that blocks as others' do and that nothing watches. On failure it comes back.
    fn give(&mut self, pipe: Self::Pipe) -> Result<OwnedFd, (Self::Pipe, io::Error)>;
    /// Our end as a descriptor, where it is one.
    fn fd(pipe: &Self::Pipe) -> Option<BorrowedFd<'_>>;
    /// Asks for a pipe that holds more bytes. A wish: a refusal is no error.
    fn enlarge(&mut self, pipe: &Self::Pipe);
    /// Gives the terminal behind our end another size; `ENOTTY` where there is none.
    fn resize(&mut self, pipe: &Self::Pipe, size: TerminalSize) -> io::Result<()>;
    /// Signals the child or its process group. `ESRCH` once it was reaped: never another process.
    fn signal(&mut self, child: &Self::Child, target: Target, signal: Signal) -> io::Result<()>;
    /// The child is in another group than the one that it led, if it led one: a signal to that one does not reach it.
    fn has_left_group(&mut self, child: &Self::Child) -> bool;
    /// Takes the status of a child that exited; `None` while it has not. Does not block.
    fn reap(&mut self, child: &mut Self::Child) -> io::Result<Option<Exit>>;
    /// Makes a later `poll` return at `at`, whoever polls. Replaces the time armed before.
    fn arm(&mut self, at: Instant) -> io::Result<()>;
    /// Waits for events until one comes, the armed time comes, the waker is used, or `timeout` is over. `true`: there may be
    /// more, which the next poll brings and nothing announces anew.
    fn poll(&mut self, timeout: Option<Duration>, ready: &mut VecDeque<Ready>) -> io::Result<bool>;
    /// Lets other processes have this processor, if any wait for it.
    fn give_way(&mut self);
    /// How much all reads and writes have moved.
    fn moved(&self) -> Moved;
    /// A waker for this kernel's `poll`.
    fn waker(&self) -> Self::Waker;
    /// The pid of a child, for people and logs.
    fn pid(child: &Self::Child) -> u32;
}

/// Bytes that reads and writes have moved so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// Ends a `poll`, from any thread.
pub(crate) trait Wake: Clone + Send + Sync + fmt::Debug + 'static {
    fn wake(&self);
    /// Whether there is a `poll` to end: none in a forked copy of the process.
    fn is_heard(&self) -> bool {
        true
    }
}

/// What `Kernel::start` made: the child, and our ends of the pipes asked for, by descriptor number.
#[derive(Debug)]
pub(crate) struct Started<K: Kernel + ?Sized> {
    pub(crate) child: K::Child,
    pub(crate) pipes: [Option<K::Pipe>; 3],
}

/// What one command needs to be started: the prepared program, and the descriptors of this start.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: Arc<Program>,
    pub(crate) environment: Arc<CStrings>,
    pub(crate) stdio: [Stdio; 3],
    /// Descriptors above 2, by their number in the child.
    pub(crate) extra: Vec<(i32, Option<OwnedFd>)>,
    /// The directory of the cgroup that was made for this start.
    #[cfg_attr(
        any(execloop_kqueue_shim, not(target_os = "linux")),
        allow(dead_code, reason = "only Linux has cgroups")
    )]
    pub(crate) cgroup: Option<OwnedFd>,
    /// The terminal that this start takes the foreground of, as it is for the console.
    pub(crate) console: Option<Arc<OwnedFd>>,
}

impl Launch {
    /// The terminal whose foreground the child's group takes.
    pub(in crate::sys) fn foreground(&self) -> Option<&OwnedFd> {
        let given = self.program.attributes.foreground.as_ref();
        self.console.as_ref().or(given).map(Arc::as_ref)
    }

    /// The directory of the cgroup that the child is to be in.
    #[cfg_attr(
        any(execloop_kqueue_shim, not(target_os = "linux")),
        allow(dead_code, reason = "only Linux has cgroups")
    )]
    pub(in crate::sys) fn cgroup(&self) -> Option<&OwnedFd> {
        let given = self.program.attributes.cgroup.as_deref();
        self.cgroup.as_ref().or(given)
    }

    /// It has pipes or terminals whose other ends are ours.
    pub(crate) fn has_ends(&self) -> bool {
        self.stdio.iter().any(Stdio::has_our_end)
    }

    /// It has descriptors that the caller gave, who may wait for the other end: ours are to be closed once the child has them.
    pub(crate) fn has_files(&self) -> bool {
        let is_file = |stdio: &Stdio| matches!(stdio, Stdio::File(_));
        self.stdio.iter().any(is_file) || self.extra.iter().any(|(_, fd)| fd.is_some())
    }
}

/// What one of the child's descriptors 0, 1, 2 is.
#[derive(Debug)]
pub(crate) enum Stdio {
    /// `/dev/null`.
    Null,
    /// The parent's descriptor of the same number.
    Inherit,
    /// A descriptor of the caller's; our copy is closed once the child has it.
    File(OwnedFd),
    /// A new pipe; our end is in `Started::pipes`.
    Pipe,
    /// A new terminal; our end is in `Started::pipes`. For descriptors 1 and 2 only.
    Terminal(TerminalPlan),
    /// The terminal that the child's descriptor 1 is; what we type into it is in `Started::pipes`. For descriptor 0 only.
    TerminalOfStdout,
    /// Whatever the child's descriptor 1 is. For descriptor 2 only.
    SameAsStdout,
    /// Nothing.
    Closed,
}

impl Stdio {
    /// We get an end of it.
    pub(crate) fn has_our_end(&self) -> bool {
        matches!(
            self,
            Stdio::Pipe | Stdio::Terminal(_) | Stdio::TerminalOfStdout
        )
    }
}

/// Which of a command's sources an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stream(Stream),
    Exit,
}

/// Who an event is for. The generation tells a slot's former tenant from the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl Tenant {
    /// The tenant of this number, of all that there ever were. Of a large one, only a part comes back with an event.
    pub(crate) fn new(slot: u32, number: u64) -> Tenant {
        Tenant {
            slot,
            generation: number as u32 & token::GENERATION_MASK,
        }
    }
}

/// One event of `poll`: there may be something to read or to write, or a status to reap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) tenant: Tenant,
    pub(crate) source: Source,
    /// Everybody has closed the other end of the pipe.
    pub(crate) hung_up: bool,
}

/// Who gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Process,
    Group,
}

/// How a child ended, and what it used.
#[derive(Debug)]
pub(crate) struct Exit {
    /// The child ended because its start has failed.
    pub(crate) failure: Option<StartFailure>,
    /// `None`: somebody else reaped it, and the kernel no longer knows.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) usage: Option<RawUsage>,
}

/// `struct rusage`, as far as Linux and the BSDs fill it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawUsage {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    pub(crate) rss_bytes_max: u64,
    /// Of all in the command's cgroup.
    pub(crate) memory_bytes_peak: Option<u64>,
}

/// Turns the `-1` of a C function into the error that `errno` holds.
fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
