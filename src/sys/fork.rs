//! Whether this is the process that made a value, or a forked copy of it; and values that no copy has.
//! Unaware of what the value is.
#![allow(unsafe_code, reason = "a page that the kernel wipes at a fork")]

use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
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

/// A fork's copy has the descriptors that polls are made by. No kqueue is inherited (kqueue(2)).
const INHERITS_POLLS: bool = cfg!(all(target_os = "linux", not(execloop_kqueue_shim)));

/// A poll, or what wakes one, with its descriptors. It is not dropped where a copy has not inherited them: their numbers are
/// free there, or another's.
#[derive(Debug)]
pub(super) struct OfPoll<T> {
    value: ManuallyDrop<T>,
    /// By pid alone, as it is asked once.
    origin: Origin,
}

impl<T> OfPoll<T> {
    pub(super) fn new(value: T) -> OfPoll<T> {
        OfPoll {
            value: ManuallyDrop::new(value),
            origin: Origin {
                pid: std::process::id(),
                mark: None,
            },
        }
    }
}

impl<T> Deref for OfPoll<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for OfPoll<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for OfPoll<T> {
    fn drop(&mut self) {
        if INHERITS_POLLS || self.origin.is_here() {
            // SAFETY: it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.value) };
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
    fn what_no_fork_inherits_is_dropped_by_its_own_process_alone() {
        let mark = std::rc::Rc::new(());
        let own = OfPoll::new(std::rc::Rc::clone(&mark));
        drop(own);
        assert_eq!(std::rc::Rc::strong_count(&mark), 1);
        let mut copy = OfPoll::new(std::rc::Rc::clone(&mark));
        copy.origin.pid += 1;
        drop(copy);
        let is_dropped = std::rc::Rc::strong_count(&mark) == 1;
        assert_eq!(is_dropped, INHERITS_POLLS);
    }

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
