//! `CStrings`: an owned, null-terminated array of C strings, as execve(2) wants argv and envp.
//! Unaware of what the strings mean.
#![allow(unsafe_code, reason = "the array of pointers is sent between threads")]

use std::ffi::{CString, OsStr, c_char};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

/// All strings in one buffer, and the array of pointers into it that ends with a null pointer.
pub(crate) struct CStrings {
    /// Not a box: to move one ends the life of the pointers into it, by Rust's rules of aliasing.
    bytes: Vec<u8>,
    pointers: Box<[*const c_char]>,
}

// SAFETY: the pointers lead into `bytes`, which this value owns and which is not changed.
unsafe impl Send for CStrings {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for CStrings {}

impl Default for CStrings {
    /// No strings.
    fn default() -> CStrings {
        CStrings {
            bytes: Vec::new(),
            pointers: Box::new([ptr::null()]),
        }
    }
}

impl CStrings {
    /// Copies the strings. `None` when one holds a NUL byte.
    pub(crate) fn new<'a, I>(strings: I) -> Option<CStrings>
    where
        I: IntoIterator<Item = &'a OsStr, IntoIter: Clone>,
    {
        let strings = strings.into_iter();
        let (mut length, mut count) = (0, 1);
        for string in strings.clone() {
            length += string.len() + 1;
            count += 1;
        }
        let mut bytes = Vec::with_capacity(length);
        for string in strings.clone() {
            let string = string.as_bytes();
            if string.contains(&0) {
                return None;
            }
            bytes.extend_from_slice(string);
            bytes.push(0);
        }
        let mut pointers = Vec::with_capacity(count);
        let mut rest = &bytes[..];
        for string in strings {
            pointers.push(rest.as_ptr().cast());
            rest = &rest[string.len() + 1..];
        }
        pointers.push(ptr::null());
        Some(CStrings {
            bytes,
            pointers: pointers.into_boxed_slice(),
        })
    }

    /// The array for execve(2), valid as long as `self`.
    pub(crate) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }

    /// The first string for execve(2), valid as long as `self`; null where there is none.
    pub(crate) fn first_as_ptr(&self) -> *const c_char {
        self.pointers.first().copied().unwrap_or(ptr::null())
    }

    /// The strings, without their ends.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let strings = self.bytes.split(|byte| *byte == 0);
        strings.take(self.pointers.len() - 1)
    }

    /// The bytes that execve(2) has to copy, with their ends and pointers.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.pointers)
    }
}

impl fmt::Debug for CStrings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(
                self.iter()
                    .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            )
            .finish()
    }
}

/// The string for C, or `None` when it holds a NUL byte.
pub(crate) fn nul_free(string: &OsStr) -> Option<CString> {
    CString::new(string.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn pointers_lead_to_the_strings_and_end_with_null() {
        let strings = CStrings::new(["one", "", "drei"].map(OsStr::new)).expect("no NUL");
        let mut seen = Vec::new();
        for pointer in &strings.pointers[..3] {
            // SAFETY: `CStrings::new` made each pointer lead to bytes that end with NUL.
            seen.push(unsafe { CStr::from_ptr(*pointer) }.to_str().expect("text"));
        }
        assert_eq!(seen, ["one", "", "drei"]);
        assert!(strings.pointers[3].is_null());
        assert_eq!(format!("{strings:?}"), r#"["one", "", "drei"]"#);
    }

    #[test]
    fn a_nul_byte_anywhere_is_refused() {
        assert!(CStrings::new(["fine", "b\0d"].map(OsStr::new)).is_none());
        assert!(CStrings::new([]).is_some());
        assert!(nul_free(OsStr::new("x\0")).is_none());
    }
}
