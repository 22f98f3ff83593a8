//! What a failed step was about: the path, and which of several possible files is missing.
//! Unaware of the loop; looks at files only after a start has failed.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::StartError;
use crate::sys::{
    CStrings, Program, StartFailure, Step, executable, is_argument_list_too_long,
    may_be_of_interpreter,
};

/// How much of a script's first line the kernel reads (binfmt_script, Linux 5.1).
const INTERPRETER_LINE_BYTES_MAX: u64 = 256;

/// Says what failed, on what, and why.
pub(crate) fn explain(
    failure: StartFailure,
    program: &Program,
    environment: &CStrings,
) -> StartError {
    let StartFailure {
        step,
        error: source,
    } = failure;
    let path = match step {
        Step::Exec => Some(path_of(&program.path)),
        Step::Chdir => program.directory.as_deref().map(path_of),
        Step::Chroot => program.attributes.chroot.as_deref().map(path_of),
        _ => None,
    };
    if may_be_of_interpreter(step, &source)
        && let Some(interpreter) = unusable_interpreter(program)
    {
        return StartError::Interpreter {
            program: path_of(&program.path),
            interpreter,
            source,
        };
    }
    let sizes = || {
        format!(
            "{} bytes of arguments, {} of environment",
            program.argv.size(),
            environment.size()
        )
    };
    let detail = if is_argument_list_too_long(step, &source) {
        Some(sizes())
    } else if step == Step::Exec
        && source.kind() == io::ErrorKind::NotFound
        && in_child(program, &path_of(&program.path)).is_some_and(|path| path.is_file())
    {
        // execve(2) says so of a program whose dynamic loader is missing, too.
        Some("the file is there: what it needs to be loaded is not".to_owned())
    } else {
        None
    };
    StartError::Step {
        step,
        path,
        source,
        detail,
    }
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
    let script = in_child(program, &path_of(&program.path))?;
    // Opening anything but a regular file could wait for ever.
    if !script.is_file() || executable(&script).is_err() {
        return None;
    }
    let interpreter = interpreter_of(&script).ok()??;
    executable(&in_child(program, &interpreter)?)
        .is_err()
        .then_some(interpreter)
}

fn interpreter_of(script: &Path) -> io::Result<Option<PathBuf>> {
    let mut line = Vec::new();
    BufReader::new(File::open(script)?.take(INTERPRETER_LINE_BYTES_MAX))
        .read_until(b'\n', &mut line)?;
    let Some(rest) = line.strip_prefix(b"#!") else {
        return Ok(None);
    };
    // Blanks alone end the name, so one with a carriage return is a file that nobody has.
    let is_end = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n');
    let name = rest
        .split(is_end)
        .find(|word| !word.is_empty())
        .unwrap_or_default();
    Ok((!name.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(name))))
}
