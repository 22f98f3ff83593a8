//! One descriptor that is held back, so that a file can be written where no other is left.
//! Unaware of what is written.

use std::fs::File;
use std::io;

/// What holds it.
const NOTHING: &str = "/dev/null";

#[derive(Debug)]
pub(crate) struct Reserve {
    /// `None`: it is lent, or somebody else was faster when it came back.
    held: Option<File>,
}

impl Reserve {
    /// # Errors
    /// Where no descriptor is left.
    pub(crate) fn new() -> io::Result<Reserve> {
        let held = Some(File::open(NOTHING)?);
        Ok(Reserve { held })
    }

    /// Takes it back, if that was not possible before.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub(crate) fn restore(&mut self) -> io::Result<()> {
        if self.held.is_none() {
            *self = Reserve::new()?;
        }
        Ok(())
    }

    /// Does what needs one descriptor at a time, with this one if there is no other.
    pub(crate) fn lend<T>(&mut self, write: impl FnOnce() -> T) -> T {
        self.held = None;
        let written = write();
        // Where this fails, nothing is started before it does not.
        let _ = self.restore();
        written
    }
}
