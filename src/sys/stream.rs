//! `Stream`: stdin, stdout, stderr, by name and by number.
//! Unaware of pipes.

use std::fmt;

/// One of a command's standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Descriptor 0.
    Stdin,
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stream {
    /// All, by descriptor number.
    pub(crate) const ALL: [Stream; 3] = [Stream::Stdin, Stream::Stdout, Stream::Stderr];
}

impl fmt::Display for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Stream::Stdin => "stdin",
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        })
    }
}
