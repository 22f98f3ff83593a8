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
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::command::Command;
use crate::permits::{Permit, Permits};
use crate::plain::Plain;
use crate::sys::{above_stdio, bytes_in_pipe, make_fifo};

mod makeflags;

use makeflags::Auth;

/// What make writes for each token.
const TOKEN: u8 = b'+';
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

struct Shared {
    /// An open file of our own, which never blocks: that flag belongs to the open file, which others share.
    reader: File,
    way: Way,
    /// `-j8`, or `-j` where the number is not known.
    jobs: String,
    /// How many there are in all, where it is ours.
    slots: Option<usize>,
    state: Mutex<State>,
    /// A forked copy owns neither tokens nor the file.
    pid: u32,
}

struct State {
    /// How many commands have a permit, in all reactors.
    running: usize,
    /// `None`: they were closed for a moment (`make_lost_tokens`), and could not be opened again yet.
    writers: Option<Writers>,
}

/// All that this process has open for writing.
struct Writers {
    /// An open file of our own, which never blocks.
    own: File,
    /// What commands get of a pipe, which blocks.
    childs: Option<OwnedFd>,
}

/// How others get at it.
enum Way {
    Fifo {
        path: PathBuf,
        /// It is ours to remove.
        is_ours: bool,
    },
    /// The end that commands read, which blocks.
    Pipe(OwnedFd),
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

fn open(auth: &Auth) -> io::Result<(File, Way)> {
    match auth {
        Auth::Fifo(path) => {
            let way = Way::Fifo {
                path: path.clone(),
                is_ours: false,
            };
            Ok((open_fifo(path)?, way))
        }
        Auth::Pipe(read, write) => {
            let ends = (pipe_of(*read)?, pipe_of(*write)?);
            if ends.0 != ends.1 {
                return Err(no_jobserver("they are not the ends of one pipe"));
            }
            let reader = open_again(*read)?;
            // A fifo can be named by its numbers, too: with a writer, the next open does not wait for one.
            let _writer = OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(path_of(*read))?;
            let read = File::open(path_of(*read))?;
            Ok((reader, Way::Pipe(above_stdio(read.into())?)))
        }
        Auth::Other(_) => Err(no_jobserver("neither a fifo nor a pipe")),
    }
}

/// What the system said of a jobserver. It is inside the [`io::Error`] of [`Jobserver::from_makeflags`],
/// [`from_env`](Jobserver::from_env) and [`fifo`](Jobserver::fifo), which has the same kind.
///
/// ```
/// use execloop::jobserver::{Jobserver, JobserverError};
/// let error = Jobserver::from_makeflags("-j --jobserver-auth=fifo:/no/such").unwrap_err();
/// assert_eq!(error.to_string(), "no jobserver at fifo:/no/such: No such file or directory");
/// let inside: &JobserverError = error.get_ref().and_then(|inside| inside.downcast_ref()).unwrap();
/// assert_eq!(inside.io_error().raw_os_error(), Some(2)); // ENOENT
/// ```
#[derive(Debug)]
pub struct JobserverError {
    what: String,
    error: io::Error,
}

impl JobserverError {
    fn explain(what: String, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), JobserverError { what, error })
    }

    /// The error of the system, with its number if it has one.
    pub fn io_error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for JobserverError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.what, Plain(&self.error))
    }
}

impl std::error::Error for JobserverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

fn no_jobserver(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// What reads this fifo.
fn open_fifo(path: &Path) -> io::Result<File> {
    // Before it is opened: to open a device may do something.
    if !fs::metadata(path)?.file_type().is_fifo() {
        return Err(no_jobserver("that is no fifo"));
    }
    let reader = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if reader.metadata()?.file_type().is_fifo() {
        no_stdio(reader)
    } else {
        Err(no_jobserver("that is no fifo"))
    }
}

fn path_of(number: i32) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{number}"))
}

/// What tells the pipe of this descriptor from others.
fn pipe_of(number: i32) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path_of(number)).map_err(of_proc)?;
    if metadata.file_type().is_fifo() {
        Ok(identity(&metadata))
    } else {
        Err(no_jobserver("that is no pipe"))
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// An open file of our own that reads the pipe of this descriptor. It never blocks, not even to be opened.
fn open_again(number: i32) -> io::Result<File> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path_of(number));
    opened.map_err(of_proc).and_then(no_stdio)
}

/// A closed 0, 1 or 2 of ours is to stay closed in children.
fn no_stdio(file: File) -> io::Result<File> {
    above_stdio(file.into()).map(File::from)
}

/// Tells a missing descriptor from a missing `/proc/self/fd`.
fn of_proc(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound && !Path::new("/proc/self/fd").is_dir() {
        let text =
            "a pipe can be opened anew by /proc/self/fd alone, which this system does not have";
        return io::Error::new(io::ErrorKind::Unsupported, text);
    }
    error
}

fn make_new_fifo(directory: &Path) -> io::Result<PathBuf> {
    let pid = std::process::id();
    for number in 0.. {
        let path = directory.join(format!("execloop-jobserver-{pid}-{number}"));
        match make_fifo(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 10_000 => {}
            result => return result.map(|()| path),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

impl Way {
    fn remove(&self) {
        if let Way::Fifo {
            path,
            is_ours: true,
        } = self
        {
            // Who cleans up temporary files may have been faster.
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            self.way.remove();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_writers(&self) -> io::Result<Writers> {
        let (path, is_pipe) = match &self.way {
            Way::Fifo { path, .. } => (path.clone(), false),
            Way::Pipe(_) => (path_of(self.reader.as_raw_fd()), true),
        };
        // None of them waits, as there is a reader.
        let mut options = OpenOptions::new();
        options.write(true);
        let childs = match is_pipe {
            true => Some(above_stdio(options.open(&path).map_err(of_proc)?.into())?),
            false => None,
        };
        let own = options.custom_flags(libc::O_NONBLOCK).open(&path);
        let own = no_stdio(own.map_err(of_proc)?)?;
        if identity(&own.metadata()?) == identity(&self.reader.metadata()?) {
            Ok(Writers { own, childs })
        } else {
            Err(no_jobserver("another file has its name now"))
        }
    }

    fn writers<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Writers> {
        match &mut state.writers {
            Some(writers) => Ok(writers),
            writers => Ok(writers.insert(self.open_writers()?)),
        }
    }

    /// What a command gets of a pipe to write.
    fn childs_writer(&self) -> io::Result<OwnedFd> {
        let mut state = self.state();
        match &self.writers(&mut state)?.childs {
            Some(writer) => writer.try_clone(),
            None => Err(no_jobserver("that is no pipe")),
        }
    }

    /// One token, if there is one.
    fn read_token(&self) -> Option<u8> {
        let mut token = [0];
        match self.read_once(&mut token) {
            Ok(1) => Some(token[0]),
            _ => None,
        }
    }

    /// `Ok(0)`: it is empty, and nobody has it open for writing.
    fn read_once(&self, token: &mut [u8; 1]) -> io::Result<usize> {
        loop {
            match (&self.reader).read(token) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// # Errors
    /// The pipe is full, which it can't be with what was read of it; or it could not be opened again.
    fn write(&self, state: &mut State, tokens: &[u8]) -> io::Result<()> {
        self.writers(state)?.own.write_all(tokens)
    }

    /// None of our commands runs. So what is there beyond all tokens was given back twice, and is taken out. And where
    /// nobody else has the pipe open, those that are not there were taken by clients that were killed: they are made
    /// anew.
    fn settle(&self, state: &mut State) {
        let Some(slots) = self.slots else {
            return;
        };
        let all = slots - 1;
        let Ok(there) = bytes_in_pipe(self.reader.as_fd()) else {
            return;
        };
        for _ in all..there {
            self.read_token();
        }
        if there < all {
            self.make_lost_tokens(all, state);
        }
    }

    /// A client that has a token has the pipe open for writing, to give it back. The kernel tells who reads an empty
    /// pipe whether anybody has. So ours are closed for that one read, and all tokens are in our hands.
    fn make_lost_tokens(&self, all: usize, state: &mut State) {
        // They can be opened again, by the same way.
        let Ok(proof) = self.open_writers() else {
            return;
        };
        drop(proof);
        let mut tokens: Vec<u8> = std::iter::from_fn(|| self.read_token()).collect();
        state.writers = None;
        let mut token = [0];
        match self.read_once(&mut token) {
            Ok(0) => tokens.resize(all, TOKEN),
            // Somebody has just given it back.
            Ok(_) => tokens.push(token[0]),
            Err(_) => {}
        }
        // Also with nothing to write: who opens it to read may wait for a writer.
        let _ = self.write(state, &tokens);
    }
}

/// One reactor's part in a jobserver: the tokens that it has.
pub(crate) struct Client {
    shared: Arc<Shared>,
    tokens: Vec<u8>,
    /// How many permits were given: one of them is for free.
    taken: usize,
}

impl Permits for Client {
    fn take(&mut self, _running: usize, _now: Instant) -> Permit {
        let mut state = self.shared.state();
        if self.taken > 0 {
            match self.shared.read_token() {
                Some(token) => self.tokens.push(token),
                None => return Permit::Announced,
            }
        }
        self.taken += 1;
        state.running += 1;
        Permit::Granted
    }

    fn give_back(&mut self) {
        let mut state = self.shared.state();
        self.taken -= 1;
        state.running -= 1;
        while self.tokens.len() > self.taken.saturating_sub(1) {
            match self.tokens.pop() {
                Some(token) if self.shared.write(&mut state, &[token]).is_err() => {
                    // It is tried again with the next.
                    return self.tokens.push(token);
                }
                _ => {}
            }
        }
        if state.running == 0 {
            self.shared.settle(&mut state);
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.shared.reader.as_fd())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.shared.pid != std::process::id() {
            return;
        }
        let mut state = self.shared.state();
        state.running -= self.taken;
        let _ = self.shared.write(&mut state, &self.tokens);
        if state.running == 0 {
            self.shared.settle(&mut state);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
