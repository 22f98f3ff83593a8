//! What a user reads where this program panics: one line that says that it is a defect, in which place, and where to report
//! it, in place of Rust's message.
//! Unaware of what the program does.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic::{self, Location, PanicHookInfo};

use crate::patient::Patient;

/// `EX_SOFTWARE` of sysexits(3).
pub(crate) const STATUS: u8 = 70;

/// Makes the first panic of any thread the end of the program: it says the line and exits with [`STATUS`]. Commands die with
/// the program.
pub(crate) fn end_program_at_panic() {
    panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let line = line(panic.location());
        // Where stderr cannot be written, the status is all there is.
        let _ = match io::stderr().as_fd().try_clone_to_owned() {
            Ok(stderr) => Patient(File::from(stderr)).write_all(line.as_bytes()),
            // No descriptor is left.
            Err(_) => io::stderr().write_all(line.as_bytes()),
        };
        std::process::exit(STATUS.into());
    }));
}

fn line(place: Option<&Location<'_>>) -> String {
    let place = place.map_or_else(String::new, |place| {
        format!(" ({}:{})", place.file(), place.line())
    });
    format!(
        "execloop: this is a defect of execloop {}{place}; please report it at {}/issues\n",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_REPOSITORY"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_version_the_place_and_where_to_report() {
        let here = Location::caller();
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "execloop: this is a defect of execloop {version} ({}:{}); please report it at \
            https://github.com/execloop/execloop/issues\n",
            file!(),
            here.line()
        );
        assert_eq!(line(Some(here)), expected);
        assert!(line(None).contains(&format!("execloop {version}; please report")));
    }
}
