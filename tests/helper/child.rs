//! Small children: they print what they see of themselves, copy, or exit.
//! Unaware of the library.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// `exit N`: exits with status N.
pub(crate) fn exit(arguments: &[OsString]) -> ExitCode {
    let number = arguments.first().and_then(|text| text.to_str());
    let status: Option<u8> = number.and_then(|text| text.parse().ok());
    ExitCode::from(status.expect("exit needs a number from 0 to 255"))
}

/// `echo ARGUMENT ..`: prints the arguments, joined by spaces, and a newline.
pub(crate) fn echo(arguments: &[OsString]) -> ExitCode {
    let words: Vec<&[u8]> = arguments.iter().map(|word| word.as_bytes()).collect();
    let mut line = words.join(&b" "[..]);
    line.push(b'\n');
    std::io::stdout().write_all(&line).expect("stdout");
    ExitCode::SUCCESS
}
