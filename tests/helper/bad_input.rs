//! Bad input of every kind, each beside a command that is fine: the error is clear, that command goes on, new ones can
//! be started, and neither a descriptor nor a child is left.
//! Unaware of the tests' harness: it runs in a process of its own, where the counts are private.

use std::error::Error as _;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use execloop::{
    CallbackPanicked, Cancel, Cause, Command, Context, Error, Finished, Input, LookPathError,
    Output, Reactor, Signal, StartError, StartStep, Stream,
};

use crate::counts::{assert_fds, assert_no_children, open_fds, wait_for_exit};
use crate::start_error::start_error;

/// `bad-input NAME DIRECTORY`: one kind of bad input, with a directory to work in.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let name = arguments[0].to_str().unwrap_or_default();
    let scenario = match name {
        "missing-program" => missing_program,
        "missing-directory" => missing_directory,
        "nul-bytes" => nul_bytes,
        "empty-command" => empty_command,
        "not-executable" => not_executable,
        "bad-interpreter" => bad_interpreter,
        "missing-loader" => missing_loader,
        "argument-list-too-long" => argument_list_too_long,
        "contradictions" => contradictions,
        "context-done" => context_done,
        "used-up" => used_up,
        "queued" => queued,
        "stdin-closed-early" => stdin_closed_early,
        "stdin-held" => stdin_held,
        "writer-fails" => writer_fails,
        "reader-fails" => reader_fails,
        "panic-in-writer" => panic_in_writer,
        "panic-in-lines" => panic_in_lines,
        "panic-in-reader" => panic_in_reader,
        "panic-in-cancel" => panic_in_cancel,
        _ => panic!("no scenario {name:?}"),
    };
    check(scenario, Path::new(&arguments[1]));
    ExitCode::SUCCESS
}

fn check(scenario: fn(&mut Reactor, &Path), directory: &Path) {
    let before = open_fds();
    let mut reactor = Reactor::new().expect("a reactor");
    let mut cat = Command::new("/bin/cat");
    let bystander = reactor
        .start(cat.stdin(Input::pipe()).stdout(Output::capture()))
        .expect("cat starts");
    // What is written is written to a program: its start is over, and nothing of it is kept.
    let mut stdin = reactor.stdin(bystander).expect("its pipe");
    stdin.write_all(b"still ").expect("it reads");
    // A reactor keeps the places that extra descriptors take.
    let mut first = Command::new("/bin/true");
    assert!(finish(&mut reactor, burdened(&mut first)).success());
    let with_bystander = open_fds();

    scenario(&mut reactor, directory);
    assert_fds(&with_bystander);

    let later = finish(&mut reactor, shell("echo later").stdout(Output::capture()));
    assert_eq!(later.stdout, b"later\n");
    let mut stdin = reactor.stdin(bystander).expect("its pipe");
    stdin.write_all(b"here").expect("it reads");
    stdin.close();
    let done = reactor.wait(bystander).expect("waited").expect("finished");
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(done.stdout, b"still here");

    assert!(reactor.is_empty());
    assert_no_children();
    drop(reactor);
    assert_fds(&before);
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// `/bin/true`, changed.
fn truth(change: impl for<'a> FnOnce(&'a mut Command) -> &'a mut Command) -> Command {
    let mut command = Command::new("/bin/true");
    change(&mut command);
    command
}

#[track_caller]
fn finish(reactor: &mut Reactor, command: &mut Command) -> Finished {
    let id = reactor.start(command).expect("it starts");
    reactor.wait(id).expect("waited").expect("finished")
}

/// Gives the command one of everything that has to be cleaned up.
fn burdened(command: &mut Command) -> &mut Command {
    let file = |path| fs::File::open(path).expect("a file");
    command
        .stdin(Input::reader(io::repeat(b'x')))
        .stdout(Output::capture())
        .stderr(Output::writer(io::sink()))
        .extra_fd(3, file("/dev/zero"))
        .extra_fd(9, file("/dev/null"))
}

#[track_caller]
fn assert_step(error: &StartError, expected: StartStep, about: &Path, number: i32, text: &str) {
    let StartError::Step {
        step, path, source, ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((*step, path.as_deref()), (expected, Some(about)));
    assert_eq!(source.raw_os_error(), Some(number));
    assert_eq!(error.to_string(), text);
}

/// A file with this text and these permissions.
fn file(directory: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
    path
}

fn missing_program(reactor: &mut Reactor, directory: &Path) {
    let error = start_error(
        reactor,
        burdened(&mut Command::new("execloop-no-such-program")),
    );
    assert!(
        matches!(error, StartError::LookPath(LookPathError::NotFound { .. })),
        "{error:?}"
    );
    let text = r#""execloop-no-such-program": executable file not found in $PATH"#;
    assert_eq!(error.to_string(), text);

    let path = directory.join("nothing");
    let error = start_error(reactor, burdened(&mut Command::new(&path)));
    let text = format!("exec {}: No such file or directory", path.display());
    assert_step(&error, StartStep::Exec, &path, libc::ENOENT, &text);

    // The directory is there, and the program is not in it.
    let error = start_error(reactor, Command::new("./nothing").current_dir(directory));
    let text = format!(
        "exec ./nothing: No such file or directory (in {})",
        directory.display()
    );
    let path = Path::new("./nothing");
    assert_step(&error, StartStep::Exec, path, libc::ENOENT, &text);
}

fn missing_directory(reactor: &mut Reactor, directory: &Path) {
    let path = directory.join("nowhere");
    let error = start_error(
        reactor,
        burdened(Command::new("/bin/true").current_dir(&path)),
    );
    let text = format!("chdir {}: No such file or directory", path.display());
    assert_step(&error, StartStep::Chdir, &path, libc::ENOENT, &text);

    let path = file(directory, "plain", "", 0o644);
    let error = start_error(
        reactor,
        burdened(Command::new("/bin/true").current_dir(&path)),
    );
    let text = format!("chdir {}: Not a directory", path.display());
    assert_step(&error, StartStep::Chdir, &path, libc::ENOTDIR, &text);
}

fn nul_bytes(reactor: &mut Reactor, _: &Path) {
    let faulty = [
        (
            truth(|command| command.args(["fine", "b\0d"])),
            "argument 2",
        ),
        (truth(|command| command.arg0("b\0d")), "argument 0"),
        (Command::new("/bin/b\0d"), "program"),
        (truth(|command| command.current_dir("/b\0d")), "directory"),
        (truth(|command| command.env("KEY", "b\0d")), "environment"),
        (truth(|command| command.env("K\0Y", "value")), "environment"),
        (
            truth(|command| command.env_entries(["A=1", "B=b\0d"])),
            "environment",
        ),
    ];
    for (mut command, expected) in faulty {
        let error = start_error(reactor, burdened(&mut command));
        assert!(
            matches!(&error, StartError::Nul { what } if what == expected),
            "{error:?}"
        );
        assert_eq!(error.to_string(), format!("{expected} contains a NUL byte"));
    }
    // A name to look up cannot be found then.
    let error = start_error(reactor, &mut Command::new("b\0d"));
    assert!(
        matches!(error, StartError::LookPath(LookPathError::NotFound { .. })),
        "{error:?}"
    );
}

fn empty_command(reactor: &mut Reactor, _: &Path) {
    let error = start_error(reactor, burdened(&mut Command::new("")));
    assert!(matches!(error, StartError::NoCommand), "{error:?}");
    assert_eq!(error.to_string(), "no command: the program's name is empty");
}

fn not_executable(reactor: &mut Reactor, directory: &Path) {
    let denied = |path: &Path| format!("exec {}: Permission denied", path.display());
    let path = file(directory, "data", "echo no", 0o644);
    let error = start_error(reactor, burdened(&mut Command::new(&path)));
    assert_step(&error, StartStep::Exec, &path, libc::EACCES, &denied(&path));

    let path = file(directory, "script", "#!/bin/sh\necho no", 0o644);
    let error = start_error(reactor, burdened(&mut Command::new(&path)));
    assert_step(&error, StartStep::Exec, &path, libc::EACCES, &denied(&path));

    let error = start_error(reactor, burdened(&mut Command::new(directory)));
    let text = format!("{} (it is a directory)", denied(directory));
    assert_step(&error, StartStep::Exec, directory, libc::EACCES, &text);

    // No shell steps in for a text without a `#!` line.
    let textual = file(directory, "text", "echo no", 0o755);
    let nested = format!("#!{}\n", textual.display());
    let long = format!("#!/{}\n", "x".repeat(300));
    let unknown = [
        ("plain", "echo no", "it has no #! line"),
        ("empty", "", "the file is empty"),
        ("blank", "#!  \n", "its #! line names no interpreter"),
        ("long", &long, "its #! line is too long"),
        (
            "foreign",
            "\x7fELF but of what",
            "a program for another system or machine",
        ),
        ("nested", &nested, "nor has the interpreter"),
    ];
    for (name, content, why) in unknown {
        let path = file(directory, name, content, 0o755);
        let error = start_error(reactor, burdened(&mut Command::new(&path)));
        let text = format!("exec {}: Exec format error ({why}", path.display());
        let told = error.to_string();
        assert!(told.starts_with(&text), "{told}");
        assert_step(&error, StartStep::Exec, &path, libc::ENOEXEC, &told);
    }
}

fn bad_interpreter(reactor: &mut Reactor, directory: &Path) {
    let data = file(directory, "data", "", 0o644);
    let data = data.to_str().expect("text");
    let cases = [
        ("/no/such/interpreter", "No such file or directory"),
        ("/bin/sh\r", "No such file or directory"),
        ("/dev/null/sh", "Not a directory"),
        ("/usr", "Permission denied"),
        (data, "Permission denied"),
    ];
    for (number, (expected, why)) in cases.into_iter().enumerate() {
        let line = format!("#! {expected} -x\necho no\n");
        let script = file(directory, &format!("script{number}"), &line, 0o755);
        let error = start_error(reactor, burdened(&mut Command::new(&script)));
        let StartError::Interpreter {
            program,
            interpreter,
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(
            (program, interpreter.as_path()),
            (&script, Path::new(expected))
        );
        let text = format!(
            "exec {}: interpreter {expected:?} of its #! line: {why}",
            script.display()
        );
        assert_eq!(error.to_string(), text);
    }

    // Paths that the child resolves in its own directory.
    file(directory, "relative", "#!missing/sh\n", 0o755);
    let error = start_error(reactor, Command::new("./relative").current_dir(directory));
    assert!(matches!(error, StartError::Interpreter { .. }), "{error:?}");
    let begin = format!(
        "exec {}/./relative: interpreter \"missing/sh\"",
        directory.display()
    );
    assert!(error.to_string().starts_with(&begin), "{error}");
}

fn missing_loader(reactor: &mut Reactor, directory: &Path) {
    let mut program =
        fs::read(std::env::current_exe().expect("our own path")).expect("our own file");
    let Some(place) = program.windows(8).position(|bytes| bytes == b"/ld-linu") else {
        return eprintln!("skipped: this program names no dynamic loader");
    };
    program[place + 1] = b'X';
    let path = directory.join("no-loader");
    fs::write(&path, program).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    let error = start_error(reactor, burdened(&mut Command::new(&path)));
    let text = format!(
        "exec {}: No such file or directory (the file is there: what it needs to be loaded is not)",
        path.display()
    );
    assert_step(&error, StartStep::Exec, &path, libc::ENOENT, &text);
}

fn argument_list_too_long(reactor: &mut Reactor, _: &Path) {
    let path = Path::new("/bin/true");
    let text = |detail: &str| format!("exec /bin/true: Argument list too long ({detail})");
    // What one string may have (MAX_ARG_STRLEN), its end counted.
    let long = "x".repeat(32 * page_bytes());
    let limit = long.len() - 1;
    let mut command = truth(|command| command.arg("short").arg(&long));
    let error = start_error(reactor, burdened(&mut command));
    let told = format!(
        "argument 2 has {} bytes, more than the {limit} of one",
        long.len()
    );
    assert_step(&error, StartStep::Exec, path, libc::E2BIG, &text(&told));

    let mut command = truth(|command| command.env("LONG", &long));
    let error = start_error(reactor, burdened(&mut command));
    let told = format!(
        "environment variable LONG has {} bytes, more than the {limit} of one",
        "LONG=".len() + long.len()
    );
    assert_step(&error, StartStep::Exec, path, libc::E2BIG, &text(&told));

    // The longest one is fine, and too many of them are not, together.
    let longest = &long[1..];
    let mut command = truth(|command| command.arg(longest));
    assert!(finish(reactor, &mut command).success());
    let mut command = truth(|command| command.env_clear().args([longest; 100]));
    let error = start_error(reactor, burdened(&mut command));
    let sum = "/bin/true".len() + 1 + 100 * long.len() + 102 * size_of::<usize>();
    let told = format!(
        "{sum} bytes of arguments, {} of environment",
        size_of::<usize>()
    );
    assert_step(&error, StartStep::Exec, path, libc::E2BIG, &text(&told));
}

#[allow(unsafe_code, reason = "sysconf has no safe wrapper")]
fn page_bytes() -> usize {
    // SAFETY: sysconf(3) takes a number and gives one.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("a size")
}

fn contradictions(reactor: &mut Reactor, _: &Path) {
    let file = || fs::File::open("/dev/null").expect("/dev/null");
    let faulty = [
        (
            truth(|command| command.on_cancel(Cancel::kill().to_group())),
            "a cancel to the group needs process_group(0) or session(true)",
        ),
        (
            truth(|command| command.session(true).process_group(1)),
            "a session leader cannot join another process group",
        ),
        (
            truth(|command| command.extra_fd(-1, file())),
            "an extra descriptor's number is negative",
        ),
        (
            truth(|command| command.extra_fd(2, file())),
            "descriptors 0, 1 and 2 are set by stdin, stdout and stderr",
        ),
    ];
    for (mut command, text) in faulty {
        let error = start_error(reactor, burdened(&mut command));
        assert!(matches!(error, StartError::Refused(_)), "{error:?}");
        assert_eq!(error.to_string(), text);
    }
}

fn context_done(reactor: &mut Reactor, _: &Path) {
    let context = Context::new();
    context.cancel();
    let error = start_error(
        reactor,
        burdened(Command::new("/bin/true").context(&context)),
    );
    assert!(
        matches!(error, StartError::Stopped(Cause::Cancelled)),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "not started: cancelled");
}

fn used_up(reactor: &mut Reactor, _: &Path) {
    let file = || fs::File::open("/dev/null").expect("/dev/null");
    let reader = Input::reader(io::empty());
    let writer = Output::writer(io::sink());
    let one_shot = [
        (truth(|command| command.stdin(reader)), "stdin"),
        (truth(|command| command.stdin(Input::file(file()))), "stdin"),
        (truth(|command| command.stdout(writer)), "stdout"),
        (
            truth(|command| command.stderr(Output::lines(|_| ()))),
            "stderr",
        ),
        (
            truth(|command| command.extra_fd(7, file())),
            "extra descriptor 7",
        ),
    ];
    for (mut command, expected) in one_shot {
        assert!(finish(reactor, &mut command).success());
        let error = start_error(reactor, &mut command);
        let text = format!("{expected} was used up by an earlier start of this command");
        assert_eq!(error.to_string(), text);
    }
}

fn queued(_: &mut Reactor, directory: &Path) {
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    let path = directory.join("nothing");
    reactor
        .start(&mut Command::new("/bin/true"))
        .expect("it starts");
    let mut command = Command::new(&path);
    let id = reactor.start(burdened(&mut command)).expect("it is queued");
    assert_eq!(reactor.queued(), 1);
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert_eq!((done.pid, done.status), (None, None));
    let Err(Error::Start(error)) = &done.outcome else {
        panic!("{:?}", done.outcome)
    };
    let text = format!("exec {}: No such file or directory", path.display());
    assert_step(error, StartStep::Exec, &path, libc::ENOENT, &text);
    assert!(
        reactor
            .wait_any()
            .expect("waited")
            .expect("the first")
            .success()
    );
    assert!(reactor.is_empty());
}

fn stdin_closed_early(reactor: &mut Reactor, _: &Path) {
    // Many times what a pipe holds.
    let mebibyte = vec![b'x'; 1024 * 1024];
    let done = finish(
        reactor,
        Command::new("/bin/true").stdin(Input::bytes(mebibyte)),
    );
    assert!(done.success(), "{:?}", done.outcome);
    let done = finish(
        reactor,
        Command::new("/bin/true").stdin(Input::reader(io::repeat(b'x'))),
    );
    assert!(done.success(), "{:?}", done.outcome);
    // It closes its stdin and goes on.
    let mut closer = shell("exec 0<&-; echo on");
    closer
        .stdin(Input::reader(io::repeat(b'x')))
        .stdout(Output::capture());
    let done = finish(reactor, &mut closer);
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(done.stdout, b"on\n");
}

fn stdin_held(reactor: &mut Reactor, _: &Path) {
    let (orphans_stdin, leash) = io::pipe().expect("a pipe");
    let mut command = shell("exec 5<&0; cat <&3 & exit 0");
    command
        .stdin(Input::bytes(vec![b'x'; 1024 * 1024]))
        .extra_fd(3, orphans_stdin)
        .wait_delay(Duration::from_millis(1));
    let done = finish(reactor, &mut command);
    drop(leash);
    let error = done.outcome.expect_err("it is cut");
    assert_eq!(
        error.to_string(),
        "wait delay expired with stdin still open"
    );
    assert_eq!(done.leaked, [Stream::Stdin]);
}

/// Takes so many bytes, then does what `end` says, once and for all.
struct Limited<E> {
    bytes: usize,
    end: E,
}

impl<E: FnMut() -> io::Result<usize>> Write for Limited<E> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes == 0 {
            return (self.end)();
        }
        let taken = bytes.len().min(self.bytes);
        self.bytes -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        (self.end)().map(drop)
    }
}

impl<E: FnMut() -> io::Result<usize>> Read for Limited<E> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes == 0 {
            return (self.end)();
        }
        let given = buffer.len().min(self.bytes);
        buffer[..given].fill(b'x');
        self.bytes -= given;
        Ok(given)
    }
}

fn full() -> io::Result<usize> {
    Err(io::Error::other("the shelf is full"))
}

#[track_caller]
fn assert_copy_error(done: &Finished, expected: Stream, text: &str) {
    let Err(error @ Error::Copy { stream, .. }) = &done.outcome else {
        panic!("{:?}", done.outcome)
    };
    assert_eq!(*stream, expected);
    assert_eq!(error.to_string(), text);
    assert!(done.status.is_some_and(|status| status.success()));
}

#[track_caller]
fn assert_killed_by(done: &Finished, signal: Signal, text: &str) {
    let Err(error @ Error::Exit(exit)) = &done.outcome else {
        panic!("{:?}", done.outcome)
    };
    assert_eq!(exit.status.signal(), Some(signal.number()));
    assert_eq!(error.to_string(), text);
}

fn writer_fails(reactor: &mut Reactor, _: &Path) {
    let writer = |bytes, end| Output::writer(Limited { bytes, end });
    let mut short = shell("echo some output");
    let done = finish(reactor, short.stdout(writer(4, full)));
    assert_copy_error(&done, Stream::Stdout, "copying stdout: the shelf is full");
    let done = finish(reactor, shell("echo some >&2").stderr(writer(0, full)));
    assert_copy_error(&done, Stream::Stderr, "copying stderr: the shelf is full");
    let done = finish(reactor, shell("echo flush").stdout(writer(100, full)));
    assert_copy_error(&done, Stream::Stdout, "copying stdout: the shelf is full");
    let nothing = || Ok(0);
    let done = finish(
        reactor,
        shell("echo some").stdout(Output::writer(Limited {
            bytes: 2,
            end: nothing,
        })),
    );
    let text = format!(
        "copying stdout: {}",
        io::Error::from(io::ErrorKind::WriteZero)
    );
    assert_copy_error(&done, Stream::Stdout, &text);

    // One that would write for ever sees a closed pipe, and what it dies of is told before the copy.
    let mut endless = Command::new("/bin/cat");
    let done = finish(
        reactor,
        endless.arg("/dev/zero").stdout(writer(100_000, full)),
    );
    assert_killed_by(&done, Signal::PIPE, "signal: SIGPIPE");
}

fn reader_fails(reactor: &mut Reactor, _: &Path) {
    for bytes in [0, 10, 200_000] {
        let mut cat = Command::new("/bin/cat");
        cat.stdin(Input::reader(Limited { bytes, end: full }));
        let done = finish(reactor, cat.stdout(Output::capture()));
        assert_copy_error(&done, Stream::Stdin, "copying stdin: the shelf is full");
        assert_eq!(
            done.stdout.len(),
            bytes,
            "what was read before is delivered"
        );
    }
}

/// The panic is in the error's `io::Error`, and its text is no source besides.
#[track_caller]
fn assert_panicked(error: &Error, text: &str) {
    assert_eq!(error.to_string(), text);
    let panicked = error
        .io_error()
        .and_then(io::Error::get_ref)
        .expect("a panic");
    assert!(panicked.is::<CallbackPanicked>(), "{panicked:?}");
    assert!(error.source().is_none());
}

fn panic_in_writer(reactor: &mut Reactor, _: &Path) {
    let panicking = |bytes| {
        Output::writer(Limited {
            bytes,
            end: || panic!("out of paper"),
        })
    };
    for bytes in [0, 4, 100] {
        let done = finish(reactor, shell("echo some output").stdout(panicking(bytes)));
        let text = "copying stdout: the writer panicked: out of paper";
        assert_copy_error(&done, Stream::Stdout, text);
        assert_panicked(&done.outcome.expect_err("a copy error"), text);
    }
    let mut endless = Command::new("/bin/cat");
    let done = finish(reactor, endless.arg("/dev/zero").stdout(panicking(100_000)));
    // That it dies of the closed pipe follows from the panic.
    let signal = done.status.and_then(|status| status.signal());
    assert_eq!(signal, Some(Signal::PIPE.number()));
    let text = "copying stdout: the writer panicked: out of paper";
    assert_panicked(&done.outcome.expect_err("a copy error"), text);
}

fn panic_in_lines(reactor: &mut Reactor, _: &Path) {
    for script in ["echo one; echo two", "echo one; printf two"] {
        let mut lines = 0;
        let output = Output::lines(move |line| {
            lines += 1;
            assert!(lines < 2, "at {}", String::from_utf8_lossy(line));
        });
        let done = finish(reactor, shell(script).stdout(output));
        let text = "copying stdout: the line callback panicked: at two";
        assert_copy_error(&done, Stream::Stdout, text);
        assert_panicked(&done.outcome.expect_err("a copy error"), text);
    }
}

fn panic_in_reader(reactor: &mut Reactor, _: &Path) {
    for bytes in [0, 10, 200_000] {
        let end = || std::panic::panic_any(7_u8);
        let mut cat = Command::new("/bin/cat");
        cat.stdin(Input::reader(Limited { bytes, end }));
        let done = finish(reactor, cat.stdout(Output::capture()));
        let text = "copying stdin: the reader panicked: no message";
        assert_copy_error(&done, Stream::Stdin, text);
        assert_panicked(&done.outcome.expect_err("a copy error"), text);
        assert_eq!(done.stdout.len(), bytes);
    }
}

fn panic_in_cancel(reactor: &mut Reactor, _: &Path) {
    let panicking = || Cancel::with(|_| panic!("wrong button"));
    // Nobody knows what the callback did, so the command is killed.
    let id = reactor.start(
        Command::new("/bin/sleep")
            .arg("1000")
            .on_cancel(panicking()),
    );
    let id = id.expect("it starts");
    assert!(reactor.cancel(id));
    let done = reactor.wait(id).expect("waited").expect("finished");
    let signal = done.status.and_then(|status| status.signal());
    assert_eq!(signal, Some(Signal::KILL.number()));
    let text = "cancelling the command: the cancel callback panicked: wrong button";
    assert_panicked(&done.outcome.expect_err("a failed cancel"), text);

    // One that had exited with 0 is told as such, and the panic with it.
    let id = reactor
        .start(Command::new("/bin/true").on_cancel(panicking()))
        .expect("it starts");
    wait_for_exit(None);
    assert!(reactor.cancel(id));
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(done.status.is_some_and(|status| status.success()));
    assert_panicked(&done.outcome.expect_err("a failed cancel"), text);
}

/// `starved`: a process that has no descriptor left is told so at once when nothing runs, and recovers.
pub(crate) fn starved() -> ExitCode {
    let mut reactor = Reactor::new().expect("a reactor");
    assert!(finish(&mut reactor, &mut Command::new("/bin/true")).success());
    let before = open_fds();
    let mut hoard = Vec::new();
    let limit = crate::counts::set_soft_fd_limit(64);
    while let Ok(file) = fs::File::open("/dev/null") {
        hoard.push(file);
    }
    let error = start_error(&mut reactor, shell("echo no").stdout(Output::capture()));
    assert_eq!(error.to_string(), "pipe: Too many open files");
    let error = start_error(&mut reactor, &mut Command::new("/bin/true"));
    assert_eq!(error.to_string(), "clone: Too many open files");
    // A pipe fits, and the child's handle does not.
    drop(hoard.split_off(hoard.len() - 2));
    let error = start_error(&mut reactor, shell("echo no").stdout(Output::capture()));
    assert_eq!(error.to_string(), "clone: Too many open files");
    drop(hoard);
    assert_fds(&before);
    assert_no_children();
    let done = finish(&mut reactor, shell("echo again").stdout(Output::capture()));
    assert_eq!(done.stdout, b"again\n");
    crate::counts::set_soft_fd_limit(limit);
    ExitCode::SUCCESS
}
