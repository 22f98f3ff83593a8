//! Our ends of the pipes to a child, as both real backends have them: made for a launch, and watched by mio's poll.
//! Unaware of how a pipe is made and of who is at the other end.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::fd::set_blocking;
use super::token::token;
use super::{Launch, Source, StartFailure, StartStep, Stdio, Stream, Tenant};

/// Our end of a pipe that we made.
#[derive(Debug)]
pub(crate) struct Pipe(pub(super) OwnedFd);

/// The child's ends, by its descriptor number.
pub(super) type ChildsEnds = [Option<OwnedFd>; 3];

/// The pipes that a launch asks for: our ends and the child's. `make` gives a pipe's end for reading and for writing.
pub(super) fn pipes(
    launch: &Launch,
    make: impl Fn() -> io::Result<(OwnedFd, OwnedFd)>,
) -> Result<([Option<Pipe>; 3], ChildsEnds), StartFailure> {
    let mut ours = [None, None, None];
    let mut theirs = [None, None, None];
    for (stdio, stream) in launch.stdio.iter().zip(Stream::ALL) {
        if matches!(stdio, Stdio::Pipe) {
            let (read, write) =
                make().map_err(|error| StartFailure::new(StartStep::Pipe, error))?;
            let (our_end, their_end) = match stream {
                Stream::Stdin => (write, read),
                Stream::Stdout | Stream::Stderr => (read, write),
            };
            ours[stream as usize] = Some(Pipe(our_end));
            theirs[stream as usize] = Some(their_end);
        }
    }
    Ok((ours, theirs))
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

/// Our end as a descriptor that blocks, as others' do, and that the poll does not announce any more.
pub(super) fn give(registry: &Registry, pipe: Pipe) -> io::Result<OwnedFd> {
    // It may not have been announced.
    let _ = registry.deregister(&mut SourceFd(&pipe.0.as_raw_fd()));
    set_blocking(&pipe.0)?;
    Ok(pipe.0)
}
