//! Every variant of every error, walked as `anyhow`'s `{:#}` walks it: no text twice, no reason missing.
//! Unaware of how the errors come about.

use super::*;
use crate::lookpath::LookPathError;
use crate::sys::StartStep;

/// A caller's own error, with a cause that its text leaves out.
#[derive(Debug, thiserror::Error)]
#[error("the shelf is full")]
struct Outer(#[source] Inner);

#[derive(Debug, thiserror::Error)]
#[error("too many books")]
struct Inner;

/// One plain error of the system, one with a text of its own, and one with causes behind it.
fn io_errors() -> [io::Error; 3] {
    [
        io::Error::from_raw_os_error(libc::ENOENT),
        io::Error::other("no paper"),
        io::Error::other(Outer(Inner)),
    ]
}

fn look_path_errors() -> Vec<LookPathError> {
    let name = || "cc".into();
    let mut errors = vec![
        LookPathError::NotFound { name: name() },
        LookPathError::Dot {
            name: name(),
            path: "./cc".into(),
        },
    ];
    errors.extend(io_errors().map(|source| LookPathError::Io {
        name: name(),
        source,
    }));
    for error in &errors {
        // A new variant has to be listed above.
        match error {
            LookPathError::NotFound { .. }
            | LookPathError::Dot { .. }
            | LookPathError::Io { .. } => {}
        }
    }
    errors
}

fn start_errors() -> Vec<StartError> {
    let mut errors = vec![
        StartError::NoCommand,
        StartError::Stopped(Cause::Cancelled),
        StartError::Stopped(Cause::DeadlineExceeded),
        StartError::Nul {
            what: "argument 2".to_owned(),
        },
        StartError::Consumed {
            stream: "stdin".to_owned(),
        },
        StartError::Refused("stdout is already set"),
        StartError::ShutDown,
        StartError::Forked,
    ];
    errors.extend(look_path_errors().into_iter().map(StartError::from));
    for (first, (second, third)) in io_errors()
        .into_iter()
        .zip(io_errors().into_iter().zip(io_errors()))
    {
        errors.push(StartError::Directory {
            path: "/d".into(),
            source: first,
        });
        errors.push(StartError::Interpreter {
            program: "/p".into(),
            interpreter: "/i".into(),
            source: second,
        });
        errors.push(StartError::Reactor(third));
    }
    for (step, path, detail) in [
        (StartStep::Pipe, None, None),
        (StartStep::Chdir, Some("/d".into()), None),
        (StartStep::Exec, Some("/p".into()), Some("in /d".to_owned())),
    ] {
        errors.extend(io_errors().map(|source| StartError::Step {
            step,
            path: path.clone(),
            source,
            detail: detail.clone(),
        }));
    }
    for error in &errors {
        // A new variant has to be listed above.
        match error {
            StartError::NoCommand
            | StartError::LookPath(_)
            | StartError::Stopped(_)
            | StartError::Nul { .. }
            | StartError::Consumed { .. }
            | StartError::Refused(_)
            | StartError::Directory { .. }
            | StartError::Interpreter { .. }
            | StartError::Step { .. }
            | StartError::ShutDown
            | StartError::Forked
            | StartError::Reactor(_) => {}
        }
    }
    errors
}

fn ended(code: i32, cause: Option<Cause>) -> Error {
    use std::os::unix::process::ExitStatusExt;
    Error::Exit(ExitError {
        status: ExitStatus::from_raw(code),
        cause,
    })
}

fn cut(streams: &[Stream]) -> Error {
    Error::WaitDelay {
        streams: streams.to_vec(),
    }
}

fn errors() -> Vec<Error> {
    let mut errors = vec![
        ended(1 << 8, None),
        ended(libc::SIGKILL, Some(Cause::Timeout)),
        Error::Stopped(Cause::Cancelled),
        cut(&[Stream::Stdin]),
        cut(&[Stream::Stdin, Stream::Stdout, Stream::Stderr]),
        Error::StatusLost,
    ];
    errors.extend(start_errors().into_iter().map(Error::from));
    errors.extend(io_errors().map(Error::Cancel));
    errors.extend(io_errors().map(Error::Kill));
    errors.extend(io_errors().map(Error::Reactor));
    errors.extend(io_errors().map(|source| Error::Copy {
        stream: Stream::Stdout,
        source,
    }));
    errors.push(Error::Copy {
        stream: Stream::Stdin,
        source: CallbackPanicked::new("reader", &"out of ink").into(),
    });
    for error in &errors {
        // A new variant has to be listed above.
        match error {
            Error::Start(_)
            | Error::Exit(_)
            | Error::Stopped(_)
            | Error::Cancel(_)
            | Error::Kill(_)
            | Error::WaitDelay { .. }
            | Error::Copy { .. }
            | Error::StatusLost
            | Error::Reactor(_) => {}
        }
    }
    errors
}

type Dynamic = dyn std::error::Error;

fn command_errors() -> impl Iterator<Item = CommandError> {
    let output = || (b"out".to_vec(), b"err".to_vec());
    errors().into_iter().map(move |error| {
        let (stdout, stderr) = output();
        CommandError::new("cc".into(), error, stdout, stderr)
    })
}

/// The texts of an error and of everything behind it.
fn chain(error: &Dynamic) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source())
        .map(|error| error.to_string())
        .collect()
}

/// What the reason's own text is, without an error number.
fn reason(error: &io::Error) -> String {
    Plain(error).to_string()
}

#[track_caller]
fn check(error: &Dynamic, io_error: Option<&io::Error>) {
    let texts = chain(error);
    for (place, text) in texts.iter().enumerate() {
        assert!(!text.is_empty() && !text.contains("os error"), "{texts:?}");
        for later in &texts[place + 1..] {
            assert!(!text.contains(later.as_str()), "{later:?} twice: {texts:?}");
        }
    }
    if let Some(io_error) = io_error {
        assert!(texts[0].contains(&reason(io_error)), "no reason: {texts:?}");
        let behind: &Dynamic = io_error;
        assert_eq!(texts[1..], chain(behind)[1..], "what is behind is kept");
    }
}

#[test]
fn no_error_says_a_text_twice_and_each_says_its_reason() {
    for error in look_path_errors() {
        check(&error, error.io_error());
    }
    for error in start_errors() {
        check(&error, error.io_error());
    }
    for error in errors() {
        check(&error, error.io_error());
    }
    for error in command_errors() {
        check(&error, error.io_error());
        check(&io::Error::from(error), None);
    }
}

#[test]
fn causes_behind_a_callers_own_error_are_reached() {
    let error = Error::Copy {
        stream: Stream::Stdout,
        source: io::Error::other(Outer(Inner)),
    };
    assert_eq!(
        chain(&error),
        ["copying stdout: the shelf is full", "too many books"]
    );
}

#[test]
fn an_io_error_made_of_an_error_keeps_its_kind_its_text_and_the_error() {
    for error in command_errors() {
        let (kind, text) = (error.kind(), error.to_string());
        let made = io::Error::from(error);
        assert_eq!((made.kind(), made.to_string()), (kind, text));
        assert!(
            made.get_ref()
                .is_some_and(|inner| inner.is::<CommandError>())
        );
    }
    let kinds = [
        (io::Error::from(ended(1 << 8, None)), io::ErrorKind::Other),
        (
            ended(libc::SIGKILL, Some(Cause::Timeout)).into(),
            io::ErrorKind::TimedOut,
        ),
        (cut(&[Stream::Stdout]).into(), io::ErrorKind::TimedOut),
        (
            StartError::from(LookPathError::NotFound { name: "cc".into() }).into(),
            io::ErrorKind::NotFound,
        ),
        (
            LookPathError::NotFound { name: "cc".into() }.into(),
            io::ErrorKind::NotFound,
        ),
        (StartError::NoCommand.into(), io::ErrorKind::InvalidInput),
        (
            StartError::Stopped(Cause::Cancelled).into(),
            io::ErrorKind::Other,
        ),
        (
            Error::Kill(io::Error::from_raw_os_error(libc::EPERM)).into(),
            io::ErrorKind::PermissionDenied,
        ),
    ];
    for (error, kind) in kinds {
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn the_error_number_is_had_from_every_layer() {
    let source = io::Error::from_raw_os_error(libc::ENOENT);
    let look_path = LookPathError::Io {
        name: "./cc".into(),
        source,
    };
    assert_eq!(look_path.raw_os_error(), Some(libc::ENOENT));
    let start = StartError::from(look_path);
    assert_eq!(start.raw_os_error(), Some(libc::ENOENT));
    let error = Error::from(start);
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    let error = CommandError::new("./cc".into(), error, Vec::new(), Vec::new());
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn a_signal_that_finds_no_process_says_so_and_keeps_its_number_behind_it() {
    for target in [Target::Process, Target::Group] {
        let error = NotRunning::explain(crate::sys::process_gone(), target);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let texts = chain(&error);
        assert!(texts[0].starts_with("the command "), "{texts:?}");
        assert_eq!(texts[1..], ["No such process (os error 3)"]);
        assert!(is_process_gone(&error), "a cancel callback may pass it on");
    }
    let refused = io::Error::from_raw_os_error(libc::EPERM);
    let error = NotRunning::explain(refused, Target::Process);
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
}

#[test]
fn the_program_is_named_once() {
    let text =
        |reason: Error| CommandError::new("cc".into(), reason, Vec::new(), Vec::new()).to_string();
    assert_eq!(text(ended(1 << 8, None)), "cc: exit status 1");
    assert_eq!(
        text(StartError::Stopped(Cause::Timeout).into()),
        "cc: not started: timed out"
    );
    for error in start_errors() {
        let is_exec = matches!(
            &error,
            StartError::Step {
                step: StartStep::Exec,
                ..
            } | StartError::Interpreter { .. }
        );
        let is_about_program = is_exec || matches!(error, StartError::LookPath(_));
        let own = error.to_string();
        let expected = if is_about_program {
            own
        } else {
            format!("cc: {own}")
        };
        assert_eq!(text(error.into()), expected);
    }
}

#[test]
fn the_wait_delay_names_the_streams_that_it_cut() {
    let text = |streams: &[Stream]| cut(streams).to_string();
    let all = [Stream::Stdin, Stream::Stdout, Stream::Stderr];
    assert_eq!(text(&all[..1]), "wait delay expired with stdin still open");
    assert_eq!(
        text(&all[1..]),
        "wait delay expired with stdout and stderr still open"
    );
    assert_eq!(
        text(&all),
        "wait delay expired with stdin, stdout and stderr still open"
    );
}

#[test]
fn debug_prints_output_as_text_and_a_long_one_shortened() {
    let long = [b"begin".to_vec(), vec![b'x'; 100_000], b"end".to_vec()].concat();
    let error = CommandError::new("cc".into(), ended(1 << 8, None), long, b"no\xff\n".to_vec());
    let text = format!("{error:?}");
    assert!(text.contains("stdout: \"beginxxx"), "{text}");
    assert!(text.contains("xxx\" .. 99496 bytes .. \"xxx"), "{text}");
    assert!(
        text.contains("xxxend\", stderr: \"no\u{fffd}\\n\""),
        "{text}"
    );
    assert!(text.len() < 1000, "{text}");
}
