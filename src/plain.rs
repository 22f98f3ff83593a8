//! What people read in place of what the system gives: errors without their numbers, output as text, words quoted for a
//! shell.
//! Unaware of where they come from.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;

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

/// Prints one word as a POSIX shell reads it back: bare where that is safe, else in single quotes. Bytes that are no
/// text go through `printf`, as `Display` writes text alone.
pub(crate) enum ShellWord<'a> {
    /// The first of a line, where `NAME=value` would set a variable.
    Program(&'a OsStr),
    Argument(&'a OsStr),
}

impl fmt::Display for ShellWord<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ShellWord::Program(word) | ShellWord::Argument(word)) = self;
        let bytes = word.as_bytes();
        let assigns = matches!(self, ShellWord::Program(_)) && bytes.contains(&b'=');
        if bytes.is_empty() {
            return formatter.write_str("''");
        }
        if bytes.iter().all(|byte| is_bare(*byte)) && !assigns {
            return formatter.write_str(&word.to_string_lossy());
        }
        for chunk in bytes.utf8_chunks() {
            if !chunk.valid().is_empty() {
                write!(formatter, "'{}'", chunk.valid().replace('\'', r"'\''"))?;
            }
            if !chunk.invalid().is_empty() {
                formatter.write_str("\"$(printf '")?;
                for byte in chunk.invalid() {
                    write!(formatter, "\\{byte:03o}")?;
                }
                formatter.write_str("')\"")?;
            }
        }
        Ok(())
    }
}

/// A shell takes it as itself, wherever it stands in a word.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./:,@%+=".contains(&byte)
}
