//! Whether this is the process that made a value, or a forked copy of it.
//! Unaware of what the value is.
#![allow(unsafe_code, reason = "a page that the kernel wipes at a fork")]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

/// The process that made this value. To ask costs one load of memory, so that everything can ask.
#[derive(Debug)]
pub(super) struct Origin {
    pid: u32,
    /// `true` here and `false` in every forked copy, as the kernel wipes its page there. `None` where it does not do that:
    /// then the pid is compared.
    mark: Option<Mark>,
}

impl Origin {
    pub(super) fn new() -> Origin {
        Origin {
            pid: std::process::id(),
            mark: Mark::new().ok(),
        }
    }

    /// This is the process that made the value.
    pub(super) fn is_here(&self) -> bool {
        match &self.mark {
            Some(mark) => mark.flag().load(Ordering::Relaxed),
            None => std::process::id() == self.pid,
        }
    }

    /// # Errors
    /// `Unsupported` in a forked copy.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_here() {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the reactor belongs to the process that this one was forked from",
            ))
        }
    }
}

/// A page of our own, with one flag in it.
#[derive(Debug)]
struct Mark(NonNull<libc::c_void>);

/// The kernel rounds it up to a page.
const MARK_BYTES: usize = 1;

// SAFETY: the mapping belongs to this value alone, and its content is an atomic.
unsafe impl Send for Mark {}
// SAFETY: as above.
unsafe impl Sync for Mark {}

impl Mark {
    #[cfg(not(target_os = "linux"))]
    fn new() -> io::Result<Mark> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(target_os = "linux")]
    fn new() -> io::Result<Mark> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping, wherever the kernel likes.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), MARK_BYTES, access, flags, -1, 0) };
        let mapping = NonNull::new(start).filter(|_| start != libc::MAP_FAILED);
        let mark = Mark(mapping.ok_or_else(io::Error::last_os_error)?);
        // SAFETY: the mapping made above, which no other code knows.
        super::cvt(unsafe { libc::madvise(start, MARK_BYTES, libc::MADV_WIPEONFORK) })?;
        mark.flag().store(true, Ordering::Relaxed);
        Ok(mark)
    }

    fn flag(&self) -> &AtomicBool {
        // SAFETY: the mapping lives as long as this value; zero and one are the only bytes that were ever in it.
        unsafe { self.0.cast::<AtomicBool>().as_ref() }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference to it outlives the value.
        unsafe { libc::munmap(self.0.as_ptr(), MARK_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_tells_a_copy_where_no_page_does() {
        let pid = std::process::id();
        let own = Origin { pid, mark: None };
        assert!(own.is_here() && own.check().is_ok());
        let copy = Origin {
            pid: pid + 1,
            mark: None,
        };
        assert!(!copy.is_here());
        assert_eq!(
            copy.check().expect_err("a copy").kind(),
            io::ErrorKind::Unsupported
        );
    }
}
