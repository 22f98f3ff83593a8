//! What people read in place of what the system gives: errors without their numbers, bytes as text.
//! Unaware of where they come from.

use std::fmt;
use std::io;

/// Prints an error of the system without its number: one readable line.
pub(crate) struct Plain<'a>(pub(crate) &'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let number = self
            .0
            .raw_os_error()
            .map(|number| format!(" (os error {number})"));
        formatter.write_str(
            number
                .and_then(|number| text.strip_suffix(&number))
                .unwrap_or(&text),
        )
    }
}

/// How much of each end of a long output is printed.
const EXCERPT_END_BYTES: usize = 256;

/// Prints output as text in quotes, a long one shortened to its ends: for `Debug`, which prints bytes as numbers.
pub(crate) struct Excerpt<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Excerpt<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        let bytes = self.0;
        if bytes.len() <= 2 * EXCERPT_END_BYTES {
            return write!(formatter, "{:?}", text(bytes));
        }
        let (head, rest) = bytes.split_at(EXCERPT_END_BYTES);
        let (left_out, tail) = rest.split_at(rest.len() - EXCERPT_END_BYTES);
        let count = left_out.len();
        write!(
            formatter,
            "{:?} .. {count} bytes .. {:?}",
            text(head),
            text(tail)
        )
    }
}
