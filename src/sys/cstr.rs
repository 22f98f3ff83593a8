//! `CStrings`: an owned, null-terminated array of C strings, as execve(2) wants argv and envp.
//! Unaware of what the strings mean.
#![allow(unsafe_code, reason = "the array of pointers is sent between threads")]

use std::ffi::{CString, OsStr, c_char};
use std::fmt;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::slice;

/// The array of pointers, which ends with a null pointer, and behind it the strings that they lead to.
pub(crate) struct CStrings {
    /// Not a box: to move one ends the life of the pointers into it, by Rust's rules of aliasing.
    words: Vec<*const c_char>,
    /// How many strings there are, and how many bytes they take with their ends.
    count: usize,
    length: usize,
}

// SAFETY: the pointers lead into `words`, which this value owns and which is not changed.
unsafe impl Send for CStrings {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for CStrings {}

impl Default for CStrings {
    /// No strings.
    fn default() -> CStrings {
        CStrings {
            words: vec![ptr::null()],
            count: 0,
            length: 0,
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
        let (mut length, mut count) = (0, 0);
        strings.clone().for_each(|string| {
            length += string.len() + 1;
            count += 1;
        });
        let length_in_words = length.div_ceil(size_of::<*const c_char>());
        let mut words: Vec<*const c_char> = Vec::with_capacity(count + 1 + length_in_words);
        // All zero, so that each string has its end already, and the array, too.
        words.resize(words.capacity(), ptr::null());
        let (array, behind) = words.split_at_mut(count + 1);
        // SAFETY: the words are initialized, and these are used as bytes alone from here on.
        let mut rest: &mut [u8] =
            unsafe { slice::from_raw_parts_mut(behind.as_mut_ptr().cast(), size_of_val(behind)) };
        let mut pointers = array.iter_mut();
        let mut has_nul = false;
        strings.for_each(|string| {
            let string = string.as_bytes();
            has_nul |= contains_nul(string);
            let (copy, behind) = mem::take(&mut rest).split_at_mut(string.len() + 1);
            copy[..string.len()].copy_from_slice(string);
            rest = behind;
            if let Some(pointer) = pointers.next() {
                *pointer = copy.as_ptr().cast();
            }
        });
        (!has_nul).then_some(CStrings {
            words,
            count,
            length,
        })
    }

    /// The array for execve(2), valid as long as `self`.
    pub(crate) fn as_ptr(&self) -> *const *const c_char {
        self.words.as_ptr()
    }

    /// The first string for execve(2), valid as long as `self`; null where there is none.
    pub(crate) fn first_as_ptr(&self) -> *const c_char {
        self.words.first().copied().unwrap_or(ptr::null())
    }

    /// The strings, without their ends.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let strings = self.bytes().split(|byte| *byte == 0);
        strings.take(self.count)
    }

    /// All strings, with their ends.
    fn bytes(&self) -> &[u8] {
        let behind = &self.words[self.count + 1..];
        // SAFETY: behind the array are so many bytes, which are initialized.
        unsafe { slice::from_raw_parts(behind.as_ptr().cast(), self.length) }
    }

    /// The bytes that execve(2) has to copy, with their ends and pointers.
    pub(crate) fn size(&self) -> usize {
        self.length + (self.count + 1) * size_of::<*const c_char>()
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

/// By libc, whose search is made for this processor.
fn contains_nul(bytes: &[u8]) -> bool {
    // SAFETY: memchr(3) reads no byte beyond the slice.
    !unsafe { libc::memchr(bytes.as_ptr().cast(), 0, bytes.len()) }.is_null()
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
        for pointer in &strings.words[..3] {
            // SAFETY: `CStrings::new` made each pointer lead to bytes that end with NUL.
            seen.push(unsafe { CStr::from_ptr(*pointer) }.to_str().expect("text"));
        }
        assert_eq!(seen, ["one", "", "drei"]);
        assert!(strings.words[3].is_null());
        assert_eq!(format!("{strings:?}"), r#"["one", "", "drei"]"#);
    }

    #[test]
    fn a_nul_byte_anywhere_is_refused() {
        assert!(CStrings::new(["fine", "b\0d"].map(OsStr::new)).is_none());
        assert!(CStrings::new([]).is_some());
        assert!(nul_free(OsStr::new("x\0")).is_none());
    }
}
