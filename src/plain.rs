//! `Plain`: an error of the system, as people read it.
//! Unaware of where errors come from.

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
