//! Our ends of the pipes and terminals to a child, as both real backends have them: made for a launch, watched by mio's poll,
//! and read and written in a pipe's words. Unaware of how a pipe is made and of who is at the other end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::fd::{duplicate, read_into, set_blocking};
use super::quiet::{QuietWrites, set_raises_sigpipe, write_plainly};
use super::terminal::{self, END_OF_INPUT, read_of_master, write_to_master};
use super::token::token;
use super::{Launch, Source, StartFailure, StartStep, Stdio, Stream, Tenant, TerminalSize};

/// Our end of a pipe or terminal that we made.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(super) fd: OwnedFd,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pipe,
    /// The master of a terminal.
    Terminal,
    /// The same open file for what is typed into it.
    Keyboard,
    /// A terminal's master beside such a one.
    Screen,
}

impl Pipe {
    pub(super) fn read(&self, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        let mut read = || read_into(&self.fd, into, bytes_max);
        match self.kind {
            Kind::Pipe => read(),
            Kind::Terminal | Kind::Keyboard | Kind::Screen => read_of_master(read),
        }
    }

    pub(super) fn write(&self, writes: &mut QuietWrites, bytes: &[u8]) -> io::Result<usize> {
        match self.kind {
            Kind::Pipe => writes.write(&self.fd, bytes),
            // It raises no SIGPIPE.
            _ => write_to_master(write_plainly(&self.fd, bytes)),
        }
    }

    pub(super) fn is_of_terminal(&self) -> bool {
        self.kind != Kind::Pipe
    }

    pub(super) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        match self.kind {
            Kind::Terminal | Kind::Screen => terminal::resize(&self.fd, size),
            Kind::Pipe | Kind::Keyboard => Err(io::Error::from_raw_os_error(libc::ENOTTY)),
        }
    }

    /// Ends it for who reads or writes at the other end, as soon as the descriptor is closed.
    pub(super) fn close(self, registry: &Registry) -> OwnedFd {
        if self.kind == Kind::Keyboard {
            // A terminal that is full of what nobody reads takes no more, and then has no end either.
            let _ = write_plainly(&self.fd, END_OF_INPUT);
        }
        if matches!(self.kind, Kind::Keyboard | Kind::Screen) {
            // The open file goes on behind the other descriptor, and the poll would still announce this one.
            let _ = registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()));
        }
        self.fd
    }

    /// As a descriptor that blocks, as others' do, and that the poll does not announce any more.
    pub(super) fn give(self, registry: &Registry) -> Result<OwnedFd, (Pipe, io::Error)> {
        if matches!(self.kind, Kind::Keyboard | Kind::Screen) {
            // Whether it blocks is told of the open file, which both ends are.
            let why = "one terminal is the command's stdin and stdout: neither can be taken out";
            return Err((self, io::Error::new(io::ErrorKind::Unsupported, why)));
        }
        // It may not have been announced.
        let _ = registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()));
        match set_blocking(&self.fd).and_then(|()| set_raises_sigpipe(&self.fd, true)) {
            Ok(()) => Ok(self.fd),
            Err(error) => Err((self, error)),
        }
    }
}

/// The child's ends, by its descriptor number.
pub(super) type ChildsEnds = [Option<OwnedFd>; 3];

/// The pipes and terminals that a launch asks for: our ends and the child's. `make` gives a pipe's end for reading and for
/// writing.
pub(super) fn pipes(
    launch: &Launch,
    make: impl Fn() -> io::Result<(OwnedFd, OwnedFd)>,
) -> Result<([Option<Pipe>; 3], ChildsEnds), StartFailure> {
    let mut ours: [Option<Pipe>; 3] = [None, None, None];
    let mut theirs = [None, None, None];
    if !launch.has_ends() {
        return Ok((ours, theirs));
    }
    // stdin last: it may be on the terminal of stdout.
    for stream in [Stream::Stdout, Stream::Stderr, Stream::Stdin] {
        let (our_end, their_end) = match &launch.stdio[stream as usize] {
            Stdio::Pipe => {
                let (read, write) =
                    make().map_err(|error| StartFailure::new(StartStep::Pipe, error))?;
                let (our_end, their_end) = match stream {
                    Stream::Stdin => (write, read),
                    Stream::Stdout | Stream::Stderr => (read, write),
                };
                (end(our_end, Kind::Pipe), Some(their_end))
            }
            Stdio::Terminal(plan) => {
                let (master, slave) = terminal::open(*plan)
                    .map_err(|error| StartFailure::new(StartStep::Pty, error))?;
                (end(master, Kind::Terminal), Some(slave))
            }
            Stdio::TerminalOfStdout => {
                let keyboard = keyboard_of(ours[Stream::Stdout as usize].as_mut())
                    .map_err(|error| StartFailure::new(StartStep::Pty, error))?;
                (keyboard, None)
            }
            _ => continue,
        };
        ours[stream as usize] = Some(our_end);
        theirs[stream as usize] = their_end;
    }
    Ok((ours, theirs))
}

fn end(fd: OwnedFd, kind: Kind) -> Pipe {
    Pipe { fd, kind }
}

/// What types into this terminal.
fn keyboard_of(terminal: Option<&mut Pipe>) -> io::Result<Pipe> {
    let Some(terminal) = terminal.filter(|end| end.kind == Kind::Terminal) else {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    };
    let fd = duplicate(terminal.fd.as_fd())?;
    terminal.kind = Kind::Screen;
    Ok(end(fd, Kind::Keyboard))
}

/// Has the poll announce a descriptor, which is never deregistered: closing it is enough. To ask again does nothing.
pub(super) fn watch(
    registry: &Registry,
    fd: BorrowedFd<'_>,
    source: Source,
    tenant: Tenant,
) -> io::Result<()> {
    let interest = match source {
        Source::Stream(Stream::Stdin) => Interest::WRITABLE,
        Source::Stream(Stream::Stdout | Stream::Stderr) | Source::Exit => Interest::READABLE,
    };
    let token = token(tenant, source);
    match registry.register(&mut SourceFd(&fd.as_raw_fd()), token, interest) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}
