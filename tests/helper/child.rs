//! Small children: they print what they see of themselves, or exit. Whatever `/bin/sh` and `cat` do is not repeated here.
//! Unaware of the library.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use crate::counts::open_fds;

/// `exit N`: exits with status N.
pub(crate) fn exit(arguments: &[OsString]) -> ExitCode {
    let number = arguments.first().and_then(|text| text.to_str());
    let status: Option<u8> = number.and_then(|text| text.parse().ok());
    ExitCode::from(status.expect("exit needs a number from 0 to 255"))
}

/// `echo ARGUMENT ..`: prints the arguments, joined by spaces, and a newline.
pub(crate) fn echo(arguments: &[OsString]) -> ExitCode {
    let words: Vec<&[u8]> = arguments.iter().map(|word| word.as_bytes()).collect();
    print(&words.join(&b" "[..]))
}

/// `argv ..`: prints each of its arguments on a line, the name that it was started by first.
pub(crate) fn argv() -> ExitCode {
    for argument in std::env::args_os() {
        print(argument.as_bytes());
    }
    ExitCode::SUCCESS
}

/// `environ`: prints each entry of the environment that exec gave it on a line, in its order, odd ones too.
pub(crate) fn environ() -> ExitCode {
    let block = fs::read("/proc/self/environ").expect("/proc/self/environ");
    for entry in block.split_inclusive(|byte| *byte == 0) {
        print(&entry[..entry.len() - 1]);
    }
    ExitCode::SUCCESS
}

/// `cwd`: prints its working directory, as the kernel knows it.
pub(crate) fn cwd() -> ExitCode {
    let directory = std::env::current_dir().expect("a working directory");
    print(directory.as_os_str().as_bytes())
}

/// `stdin-is TEXT`: reads its stdin to the end, and exits with 1 unless it is TEXT.
pub(crate) fn stdin_is(arguments: &[OsString]) -> ExitCode {
    let mut all = Vec::new();
    io::stdin().read_to_end(&mut all).expect("stdin");
    let is_expected = arguments.first().is_some_and(|text| text.as_bytes() == all);
    ExitCode::from(u8::from(!is_expected))
}

/// `burn MS`: exits once it has used so much CPU time.
pub(crate) fn burn(arguments: &[OsString]) -> ExitCode {
    let number = arguments.first().and_then(|text| text.to_str());
    let wanted: u64 = number
        .and_then(|text| text.parse().ok())
        .expect("burn needs milliseconds");
    while used_ms() < wanted {}
    ExitCode::SUCCESS
}

/// The CPU time that this process has used so far.
#[allow(unsafe_code, reason = "getrusage has no safe wrapper")]
fn used_ms() -> u64 {
    // SAFETY: rusage is plain numbers for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the structure has room for the answer.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    assert_eq!(result, 0);
    let ms = |time: libc::timeval| time.tv_sec as u64 * 1000 + time.tv_usec as u64 / 1000;
    ms(usage.ru_utime) + ms(usage.ru_stime)
}

/// `describe-fds N`: prints to its descriptor N, for each descriptor, a line with its number, its access and what it
/// leads to.
///
/// The trap: Rust opens `/dev/null` for reading and writing where it finds 0, 1 or 2 closed. The library opens it for
/// one of both, so `rw /dev/null` at these numbers means: closed.
pub(crate) fn describe_fds(arguments: &[OsString]) -> ExitCode {
    let to = arguments
        .first()
        .and_then(|text| text.to_str())
        .expect("a descriptor's number");
    let report = own_fds().join("\n");
    fs::write(format!("/proc/self/fd/{to}"), report + "\n").expect("the descriptor for the report");
    ExitCode::SUCCESS
}

/// `expect-fds LINE ..`: exits with 0 if its descriptors are these, each line the beginning of what `describe-fds` says,
/// and no others; else tells on stderr what they are.
pub(crate) fn expect_fds(arguments: &[OsString]) -> ExitCode {
    let found = own_fds();
    let begins = |(expected, found): (&OsString, &String)| {
        expected
            .to_str()
            .is_some_and(|expected| found.starts_with(expected))
    };
    if found.len() == arguments.len() && arguments.iter().zip(&found).all(begins) {
        return ExitCode::SUCCESS;
    }
    eprintln!("expected {arguments:?}\nfound    {found:?}");
    ExitCode::FAILURE
}

fn own_fds() -> Vec<String> {
    let describe = |(number, link): (&i32, &String)| format!("{number} {} {link}", access(*number));
    open_fds().iter().map(describe).collect()
}

/// `r`, `w` or `rw`, with `,nonblock` behind it.
fn access(number: i32) -> String {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags
        .and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok())
        .unwrap_or(0);
    let access = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => "r",
        libc::O_WRONLY => "w",
        _ => "rw",
    };
    let nonblock = if flags & libc::O_NONBLOCK != 0 {
        ",nonblock"
    } else {
        ""
    };
    format!("{access}{nonblock}")
}

/// Prints one line, of any bytes.
fn print(line: &[u8]) -> ExitCode {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(line)
        .and_then(|()| stdout.write_all(b"\n"))
        .expect("stdout");
    ExitCode::SUCCESS
}

/// `trace-me`: asks its parent to trace it, and stops for it.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "ptrace")]
pub(crate) fn trace_me() -> ExitCode {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: this request takes nothing.
    let result = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, nothing, nothing) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: raise(3) takes a number.
    unsafe { libc::raise(libc::SIGUSR1) };
    ExitCode::SUCCESS
}
