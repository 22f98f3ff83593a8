//! What the system said of a jobserver. Unaware of what was done with it.

use std::fmt;
use std::io;

use crate::plain::Plain;

/// What the system said of a jobserver. It is inside the [`io::Error`] of
/// [`Jobserver::from_makeflags`](super::Jobserver::from_makeflags),
/// [`from_env`](super::Jobserver::from_env) and [`fifo`](super::Jobserver::fifo), which has the same kind.
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
    pub(super) fn explain(what: String, error: io::Error) -> io::Error {
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

pub(super) fn no_jobserver(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
