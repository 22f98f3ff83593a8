//! What a failed step was about: the path, and which of several possible files is missing.
//! Unaware of the loop; looks at files only after a start has failed.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::StartError;
use crate::sys::{
    CStrings, Program, StartFailure, Step, is_argument_list_too_long, is_exec_missing,
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
    if is_exec_missing(step, &source)
        && program.attributes.chroot.is_none()
        && let Some(interpreter) = missing_interpreter(program)
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
    let detail = is_argument_list_too_long(step, &source).then(sizes);
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

/// The interpreter that the program's first line names, if the program is there and the interpreter is not.
fn missing_interpreter(program: &Program) -> Option<PathBuf> {
    let path = path_of(&program.path);
    let directory = program.directory.as_deref().map(path_of);
    // A relative program is looked for in the child's directory.
    let script = directory
        .as_deref()
        .map_or(path.clone(), |directory| directory.join(&path));
    let interpreter = interpreter_of(&script).ok()??;
    let place = directory
        .as_deref()
        .map_or(interpreter.clone(), |directory| {
            directory.join(&interpreter)
        });
    let is_missing = matches!(place.try_exists(), Ok(false) | Err(_));
    is_missing.then_some(interpreter)
}

fn interpreter_of(script: &Path) -> io::Result<Option<PathBuf>> {
    let mut line = Vec::new();
    BufReader::new(File::open(script)?.take(INTERPRETER_LINE_BYTES_MAX))
        .read_until(b'\n', &mut line)?;
    let Some(rest) = line.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let name = rest
        .trim_ascii()
        .split(|byte| byte.is_ascii_whitespace())
        .next()
        .unwrap_or_default();
    Ok((!name.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(name))))
}
