//! The pipe of a jobserver, checked before it is trusted, and open files of our own for it. Unaware of tokens.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::no_jobserver;
use super::makeflags::Auth;
use crate::sys::{above_stdio, make_fifo};

/// How others get at it.
pub(super) enum Way {
    Fifo {
        path: PathBuf,
        /// It is ours to remove.
        is_ours: bool,
    },
    /// The end that commands read, which blocks.
    Pipe(OwnedFd),
}

impl Way {
    pub(super) fn remove(&self) {
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

pub(super) fn open(auth: &Auth) -> io::Result<(File, Way)> {
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

/// What reads this fifo.
pub(super) fn open_fifo(path: &Path) -> io::Result<File> {
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

pub(super) fn path_of(number: i32) -> PathBuf {
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

pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// An open file of our own that reads the pipe of this descriptor. It never blocks, not even to be opened.
pub(super) fn open_again(number: i32) -> io::Result<File> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path_of(number));
    opened.map_err(of_proc).and_then(no_stdio)
}

/// A closed 0, 1 or 2 of ours is to stay closed in children.
pub(super) fn no_stdio(file: File) -> io::Result<File> {
    above_stdio(file.into()).map(File::from)
}

/// Tells a missing descriptor from a missing `/proc/self/fd`.
pub(super) fn of_proc(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound && !Path::new("/proc/self/fd").is_dir() {
        let text =
            "a pipe can be opened anew by /proc/self/fd alone, which this system does not have";
        return io::Error::new(io::ErrorKind::Unsupported, text);
    }
    error
}

pub(super) fn make_new_fifo(directory: &Path) -> io::Result<PathBuf> {
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
