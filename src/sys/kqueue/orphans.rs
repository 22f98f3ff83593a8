//! Orphans, which are not to be had here: FreeBSD and DragonFly have reapers (procctl(2)), but nothing by which a process
//! could tell an orphan from a child of its own. Unaware of whose child one is.

use std::convert::Infallible;
use std::io;
use std::os::fd::RawFd;
use std::process::ExitStatus;

/// Refused, so nobody asks for any of what follows.
pub(crate) fn become_subreaper() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn first_zombie() -> io::Result<Option<u32>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is none.
#[derive(Debug)]
pub(crate) struct Zombie {
    pub(crate) pid: u32,
    never: Infallible,
}

impl Zombie {
    pub(crate) fn of(_pid: u32) -> io::Result<Option<Zombie>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn number(&self) -> RawFd {
        match self.never {}
    }

    pub(crate) fn reap(self) -> io::Result<Option<ExitStatus>> {
        match self.never {}
    }
}
