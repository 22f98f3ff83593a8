//! The stack of a child until its exec.
//! Unaware of what runs on it.
#![allow(unsafe_code, reason = "a mapping for a stack")]

use std::io;
use std::ptr::{self, NonNull};

use crate::sys::cvt;

/// The stack of a child until its exec; the page below it is a guard.
#[derive(Debug)]
pub(super) struct Stack {
    mapping: NonNull<libc::c_void>,
    guard_bytes: usize,
    /// A child may still run on it.
    pub(super) is_lost: bool,
}

/// The child's frames need about 2 KiB, more in a debug build.
pub(super) const STACK_BYTES: usize = 64 * 1024;

// SAFETY: the mapping belongs to this value alone, and threads have no part in it.
unsafe impl Send for Stack {}

impl Stack {
    pub(super) fn new() -> io::Result<Stack> {
        // SAFETY: sysconf(3) has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let guard_bytes = usize::try_from(page).unwrap_or(4096);
        let length = guard_bytes + STACK_BYTES;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new anonymous mapping, wherever the kernel likes.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        let mapping = NonNull::new(start).filter(|_| start != libc::MAP_FAILED);
        let mapping = mapping.ok_or_else(io::Error::last_os_error)?;
        let stack = Stack {
            mapping,
            guard_bytes,
            is_lost: false,
        };
        // SAFETY: the first page of the mapping made above, which is not used.
        cvt(unsafe { libc::mprotect(start, guard_bytes, libc::PROT_NONE) })?;
        Ok(stack)
    }

    /// The lowest address above the guard.
    pub(super) fn low(&self) -> usize {
        self.mapping.as_ptr().expose_provenance() + self.guard_bytes
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.is_lost {
            return;
        }
        // SAFETY: the mapping is this value's own, and its cradle is dropped with no child under way.
        unsafe { libc::munmap(self.mapping.as_ptr(), self.guard_bytes + STACK_BYTES) };
    }
}
