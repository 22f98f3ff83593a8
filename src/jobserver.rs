//! GNU make's jobserver: one limit shared with make, cargo, ninja and compilers, as their child or as their parent.
//! Unaware of commands' lives and of the loop, which asks for permits (`permits.rs`).
//!
//! Many build tools under one another would start as many jobs each as the machine has processors. So they share
//! tokens, one byte each, in a pipe: who wants to run a second job reads one first, and writes it back afterwards. The
//! first job of each process is free, as its parent has a token for it. The protocol is in make's manual, "POSIX
//! Jobserver"; `MAKEFLAGS` in the environment names the pipe.
//!
//! ```
//! use execloop::jobserver::Jobserver;
//! use execloop::{Command, Reactor};
//!
//! // The limit of who has started this program, if there is one that works, or one of our own.
//! let jobserver = match Jobserver::from_env() {
//!     Ok(Some(theirs)) => theirs,
//!     Ok(None) | Err(_) => Jobserver::fifo(8)?,
//! };
//! let mut reactor = Reactor::builder().jobserver(&jobserver).build()?;
//! let mut build = Command::new("echo"); // make, cargo, ninja ..
//! jobserver.pass_to(&mut build)?;
//! reactor.start(&mut build)?;
//! # while reactor.wait_any()?.is_some() {}
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::command::Command;
use crate::sys::above_stdio;

mod client;
mod error;
mod makeflags;
mod tokens;
mod way;

pub(crate) use client::Client;
pub use error::JobserverError;
use tokens::{Shared, State, TOKEN};
use way::{Way, make_new_fifo, open, open_again, open_fifo};

/// A pipe of one page holds so many tokens, and a user may have used up his share of larger ones.
const TOKENS_MAX: usize = 4096;
/// What a child has the two ends of a pipe as.
const CHILD_READ: i32 = 8;
const CHILD_WRITE: i32 = 9;

/// A jobserver: that of who started this process, or one of our own for those that it starts. A clone is the same one.
///
/// ```
/// use execloop::jobserver::Jobserver;
/// use execloop::{Command, Output, Reactor};
/// let jobserver = Jobserver::fifo(8)?;
/// let mut reactor = Reactor::builder().jobserver(&jobserver).build()?;
/// let mut make = Command::new("sh");
/// make.args(["-c", "echo $MAKEFLAGS"]).stdout(Output::capture());
/// jobserver.pass_to(&mut make)?;
/// reactor.start(&mut make)?;
/// let done = reactor.wait_any()?.expect("it was started");
/// assert!(String::from_utf8(done.stdout)?.contains("--jobserver-auth=fifo:/"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Give it to one reactor ([`ReactorBuilder::jobserver`](crate::ReactorBuilder::jobserver)): each further one would
/// start a command without a token.
///
/// Tokens go back, byte for byte as they came, when their command is over, when the reactor is dropped or shut down,
/// and when it unwinds. The trap: a process that ends by `std::process::exit` or by a signal gives nothing back, as
/// nothing runs then; so drop the reactor first, and catch the signals that ask the program to end.
#[derive(Clone)]
pub struct Jobserver {
    shared: Arc<Shared>,
}

impl Jobserver {
    /// The jobserver that `MAKEFLAGS` in this process's environment names, or, if that names none, `CARGO_MAKEFLAGS`,
    /// as cargo sets it for build scripts; `None` if neither does. Ask early: a pipe is named by numbers, which the
    /// program may use for something else meanwhile.
    ///
    /// It is checked before it is trusted: a fifo, or two ends of one pipe. Pipes are opened anew by `/proc/self/fd`.
    ///
    /// # Errors
    /// When it is not there, as make gives its pipe to recipes alone that are marked by `+` or use `$(MAKE)`
    /// ([`NotFound`](io::ErrorKind::NotFound)), or is no jobserver at all
    /// ([`InvalidInput`](io::ErrorKind::InvalidInput)). A build tool goes on then without one. The system's error is in
    /// the [`JobserverError`]. [`Unsupported`](io::ErrorKind::Unsupported) for a pipe on systems without
    /// `/proc/self/fd`.
    pub fn from_env() -> io::Result<Option<Jobserver>> {
        for name in ["MAKEFLAGS", "CARGO_MAKEFLAGS"] {
            let flags = std::env::var_os(name).unwrap_or_default();
            if let Some(jobserver) = Jobserver::from_makeflags(flags)? {
                return Ok(Some(jobserver));
            }
        }
        Ok(None)
    }

    /// The same for this value of `MAKEFLAGS`.
    ///
    /// # Errors
    /// As [`from_env`](Jobserver::from_env).
    pub fn from_makeflags(flags: impl AsRef<OsStr>) -> io::Result<Option<Jobserver>> {
        let flags = flags.as_ref().as_bytes();
        let Some(auth) = makeflags::auth(flags) else {
            return Ok(None);
        };
        let jobs = makeflags::jobs(flags).unwrap_or_else(|| "-j".to_owned());
        let opened = open(&auth).and_then(|(reader, way)| Jobserver::new(reader, way, jobs, None));
        let explain = |error| JobserverError::explain(format!("no jobserver at {auth}"), error);
        opened.map(Some).map_err(explain)
    }

    /// A jobserver of our own for so many jobs in all, at least 1 and at most 4097, as a fifo in the directory for
    /// temporary files. GNU make understands that since 4.4, ninja since 1.13, cargo since 1.71; see
    /// [`pipe`](Jobserver::pipe) for older ones. The fifo is removed with the last clone.
    ///
    /// A client that is killed takes its tokens along. They are made anew when the last command of the reactors that
    /// have this jobserver is over, unless some process still has it open for writing; then it is looked at again when
    /// that happens the next time. Until then there are fewer jobs. So a client has to have it open for as long as it
    /// has a token, as make, ninja and cargo do; one that closes it meanwhile is taken for dead.
    ///
    /// # Errors
    /// What the system says of the fifo; [`InvalidInput`](io::ErrorKind::InvalidInput) for too many jobs, and for a
    /// directory whose name cannot be told in `MAKEFLAGS`.
    pub fn fifo(jobs: usize) -> io::Result<Jobserver> {
        Jobserver::fifo_in(std::env::temp_dir(), jobs)
    }

    /// The same in this directory.
    ///
    /// # Errors
    /// As [`fifo`](Jobserver::fifo).
    pub fn fifo_in(directory: impl AsRef<Path>, jobs: usize) -> io::Result<Jobserver> {
        let directory = std::path::absolute(directory)?;
        if !makeflags::is_plain(directory.as_os_str()) {
            let text = "the directory's name cannot be told in MAKEFLAGS";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let explain = |error| JobserverError::explain(directory.display().to_string(), error);
        let path = make_new_fifo(&directory).map_err(explain)?;
        let opened = open_fifo(&path);
        let way = Way::Fifo {
            path,
            is_ours: true,
        };
        match opened {
            Ok(reader) => Jobserver::serve(reader, way, jobs),
            Err(error) => {
                way.remove();
                Err(error)
            }
        }
    }

    /// A jobserver of our own as a pipe, which GNU make understands since 4.2. Each child needs the pipe's ends, as
    /// descriptors 8 and 9: see [`pass_to`](Jobserver::pass_to) for what that means.
    ///
    /// # Errors
    /// As [`fifo`](Jobserver::fifo); [`Unsupported`](io::ErrorKind::Unsupported) on systems without `/proc/self/fd`.
    pub fn pipe(jobs: usize) -> io::Result<Jobserver> {
        let (read, _write) = io::pipe()?;
        let read = above_stdio(read.into())?;
        let reader = open_again(read.as_raw_fd())?;
        Jobserver::serve(reader, Way::Pipe(read), jobs)
    }

    fn serve(reader: File, way: Way, jobs: usize) -> io::Result<Jobserver> {
        let jobs = jobs.max(1);
        let flag = format!("-j{jobs}");
        // What was made so far goes with this, whatever comes.
        let jobserver = Jobserver::new(reader, way, flag, Some(jobs))?;
        if jobs - 1 > TOKENS_MAX {
            let text = format!("a jobserver's pipe holds {TOKENS_MAX} tokens");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let tokens = vec![TOKEN; jobs - 1];
        jobserver
            .shared
            .write(&mut jobserver.shared.state(), &tokens)?;
        Ok(jobserver)
    }

    fn new(reader: File, way: Way, jobs: String, slots: Option<usize>) -> io::Result<Jobserver> {
        let shared = Shared {
            reader,
            way,
            jobs,
            slots,
            state: Mutex::new(State {
                running: 0,
                writers: None,
            }),
            pid: std::process::id(),
        };
        shared.state().writers = Some(shared.open_writers()?);
        Ok(Jobserver {
            shared: Arc::new(shared),
        })
    }

    /// Tells a command of it, by `MAKEFLAGS`: what this process's says otherwise, with the jobserver named anew.
    /// `CARGO_MAKEFLAGS` and `MFLAGS`, by which some programs look first, are removed. Default: a command knows what it
    /// inherits, which is right for a fifo alone, as no descriptor is inherited.
    ///
    /// A pipe's ends are given as [extra descriptors](Command::extra_fd), for one start: call it again for the next.
    /// Such a start waits for the program's exec. Until that start, the command itself counts as a client that may have
    /// tokens: see [`fifo`](Jobserver::fifo).
    ///
    /// # Errors
    /// When there is no descriptor left for a copy of a pipe's ends.
    pub fn pass_to(&self, command: &mut Command) -> io::Result<()> {
        let auth = match &self.shared.way {
            Way::Fifo { path, .. } => {
                let mut auth = OsString::from("fifo:");
                auth.push(path);
                auth
            }
            Way::Pipe(read) => {
                let (read, write) = (read.try_clone()?, self.shared.childs_writer()?);
                command
                    .extra_fd(CHILD_READ, read)
                    .extra_fd(CHILD_WRITE, write);
                format!("{CHILD_READ},{CHILD_WRITE}").into()
            }
        };
        let inherited = std::env::var_os("MAKEFLAGS").unwrap_or_default();
        let flags = makeflags::with(inherited.as_bytes(), &self.shared.jobs, auth.as_bytes());
        command
            .env("MAKEFLAGS", OsString::from_vec(flags))
            .env_remove("CARGO_MAKEFLAGS")
            .env_remove("MFLAGS");
        Ok(())
    }

    /// How many jobs there may be in all, where that is known: it is a jobserver of our own.
    pub fn jobs(&self) -> Option<usize> {
        self.shared.slots
    }

    /// The fifo of [`fifo`](Jobserver::fifo), for a process that ends without dropping it, by a signal say, and removes
    /// it before; `None` for a pipe and for a jobserver that is somebody else's.
    pub fn own_fifo(&self) -> Option<&Path> {
        match &self.shared.way {
            Way::Fifo {
                path,
                is_ours: true,
            } => Some(path),
            Way::Fifo { .. } | Way::Pipe(..) => None,
        }
    }

    /// What a reactor asks.
    pub(crate) fn permits(&self) -> Client {
        Client {
            shared: Arc::clone(&self.shared),
            tokens: Vec::new(),
            taken: 0,
        }
    }
}

impl fmt::Debug for Jobserver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = formatter.debug_struct("Jobserver");
        match &self.shared.way {
            Way::Fifo { path, .. } => name.field("fifo", path),
            Way::Pipe(read) => name.field("pipe", read),
        };
        name.field("jobs", &self.shared.jobs).finish()
    }
}

#[cfg(test)]
mod tests;
