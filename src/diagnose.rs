//! What a failed step was about: the path, and which of several possible files is missing (the program, its directory, the
//! interpreter of its `#!` line, its loader).
//! Unaware of the loop; looks at files only after a start has failed.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::StartError;
use crate::sys::{
    CStrings, Program, StartFailure, StartStep, executable, is_argument_list_too_long,
    is_number_too_large, is_unknown_format, may_be_of_interpreter, string_bytes_max,
};

/// How much of a file the kernel reads to know its format, a script's first line included (Linux 5.1).
const FIRST_BYTES_MAX: u64 = 256;

/// Says what failed, on what, and why.
pub(crate) fn explain(
    failure: StartFailure,
    program: &Program,
    environment: &CStrings,
) -> StartError {
    let StartFailure {
        step,
        error: source,
        path,
        ..
    } = failure;
    let path = path.map(PathBuf::from).or_else(|| match step {
        StartStep::Exec => Some(program.path().to_owned()),
        StartStep::Chdir => program.directory.as_deref().map(path_of),
        StartStep::Chroot => program.attributes.chroot.as_deref().map(path_of),
        _ => None,
    });
    if may_be_of_interpreter(step, &source)
        && let Some(interpreter) = unusable_interpreter(program)
    {
        let path = program.path().to_owned();
        return StartError::Interpreter {
            program: in_child(program, &path).unwrap_or(path),
            interpreter,
            source,
        };
    }
    let detail = match step {
        StartStep::Exec => detail_of_exec(program, environment, &source),
        _ if is_number_too_large(step, &source) => {
            Some("a number is not below RLIMIT_NOFILE".to_owned())
        }
        _ => None,
    };
    StartError::Step {
        step,
        path,
        source,
        detail,
    }
}

/// What the error number of exec leaves open: where the program was looked for, and what is wrong with it.
fn detail_of_exec(program: &Program, environment: &CStrings, error: &io::Error) -> Option<String> {
    if is_argument_list_too_long(StartStep::Exec, error) {
        return Some(too_long(program, environment));
    }
    let path = program.path().to_owned();
    let directory = program.directory.as_deref().map(path_of);
    let found = in_child(program, &path);
    let wrong = match found {
        // execve(2) says so of a program whose dynamic loader is missing, too.
        Some(path) if error.kind() == io::ErrorKind::NotFound && path.is_file() => {
            Some("the file is there: what it needs to be loaded is not".to_owned())
        }
        Some(path) if error.kind() == io::ErrorKind::PermissionDenied && path.is_dir() => {
            Some("it is a directory".to_owned())
        }
        Some(path) if is_unknown_format(StartStep::Exec, error) && path.is_file() => {
            why_unknown(program, &path)
        }
        _ => None,
    };
    let place = match (&program.attributes.chroot, directory) {
        (Some(root), _) => Some(format!("under the root {}", path_of(root).display())),
        (None, Some(directory)) if path.is_relative() => {
            Some(format!("in {}", directory.display()))
        }
        _ => None,
    };
    let notes: Vec<String> = place.into_iter().chain(wrong).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// One string that the kernel does not take (`MAX_ARG_STRLEN`, execve(2)), or else the sum, which it does not take
/// either.
fn too_long(program: &Program, environment: &CStrings) -> String {
    let bytes_max = string_bytes_max();
    let is_long = |(_, string): &(usize, &[u8])| string.len() > bytes_max;
    let what = if let Some((number, string)) = program.argv.iter().enumerate().find(is_long) {
        Some((format!("argument {number}"), string.len()))
    } else if let Some((_, entry)) = environment.iter().enumerate().find(is_long) {
        let name = entry.split(|byte| *byte == b'=').next().unwrap_or_default();
        let name = OsStr::from_bytes(&name[..name.len().min(NAME_BYTES_MAX)]);
        Some((
            format!("environment variable {}", name.display()),
            entry.len(),
        ))
    } else {
        None
    };
    match what {
        Some((what, length)) => {
            format!("{what} has {length} bytes, more than the {bytes_max} of one")
        }
        None => format!(
            "{} bytes of arguments, {} of environment",
            program.argv.size(),
            environment.size()
        ),
    }
}

/// As much of a variable's name as is shown: an entry without `=` is all name.
const NAME_BYTES_MAX: usize = 64;

/// Why a file that may be executed has no format that the kernel knows.
fn why_unknown(program: &Program, path: &Path) -> Option<String> {
    let first = first_bytes(path).ok()?;
    let why = match interpreter_of(&first) {
        _ if first.is_empty() => "the file is empty".to_owned(),
        _ if first.starts_with(b"\x7fELF") => "a program for another system or machine".to_owned(),
        _ if !first.starts_with(b"#!") => "it has no #! line".to_owned(),
        None => "its #! line names no interpreter".to_owned(),
        Some(interpreter) => {
            let is_file = in_child(program, &interpreter).is_some_and(|path| path.is_file());
            if is_file && first.contains(&b'\n') {
                format!("nor has the interpreter {interpreter:?} of its #! line a known format")
            } else {
                "its #! line is too long".to_owned()
            }
        }
    };
    Some(why)
}

fn path_of(string: &CStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(string.to_bytes()))
}

/// Where the child found this path: relative ones are in its own directory. `None` where it had another root.
fn in_child(program: &Program, path: &Path) -> Option<PathBuf> {
    let directory = program
        .directory
        .as_deref()
        .map(path_of)
        .unwrap_or_default();
    program
        .attributes
        .chroot
        .is_none()
        .then(|| directory.join(path))
}

/// The interpreter that the program's first line names, if the program may be executed and the interpreter may not.
fn unusable_interpreter(program: &Program) -> Option<PathBuf> {
    let script = in_child(program, program.path())?;
    // Opening anything but a regular file could wait for ever.
    if !script.is_file() || executable(&script).is_err() {
        return None;
    }
    let interpreter = interpreter_of(&first_bytes(&script).ok()?)?;
    executable(&in_child(program, &interpreter)?)
        .is_err()
        .then_some(interpreter)
}

/// As much of a file as the kernel looks at.
fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FIRST_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn interpreter_of(first: &[u8]) -> Option<PathBuf> {
    let line = first.split(|byte| *byte == b'\n').next()?;
    let rest = line.strip_prefix(b"#!")?;
    // Blanks alone end the name, so a name with a carriage return is that of no file.
    let is_end = |byte: &u8| matches!(byte, b' ' | b'\t');
    let name = rest.split(is_end).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}
