//! The forms for one command, what they give and refuse, and how a command's end is told: status, text, usage.
//! Unaware of what runs beside it.

#[path = "common"]
mod common {
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod scratch;
    pub mod shell;
    pub mod text;
    mod watchdog;
}

use std::io::{self, PipeWriter};
use std::os::unix::process::ExitStatusExt;
use std::sync::Mutex;
use std::time::Duration;

use common::finish::finish;
use common::helper::helper;
use common::helper_path::helper_path;
use common::scratch::Scratch;
use common::shell::shell;
use common::text::text;
use execloop::{
    Cancel, CancelTarget, Command, CommandError, Context, Error, ExitError, Input, Output, Signal,
    StartError,
};

/// How much of each end of stderr a failed `output` keeps.
const END_BYTES: usize = 32 * 1024;

#[track_caller]
fn exit_error(outcome: Result<(), Error>) -> ExitError {
    match outcome {
        Err(Error::Exit(exit)) => exit,
        other => panic!("{other:?}"),
    }
}

/// The error of a form whose command exited with a status other than 0.
#[track_caller]
fn failure<T: std::fmt::Debug>(result: Result<T, CommandError>) -> CommandError {
    let error = result.expect_err("another status than 0");
    assert!(matches!(error.reason(), Error::Exit(_)), "{error:?}");
    error
}

/// Copies its stdin to its stderr and exits with this status.
fn complaining(complaint: &[u8], status: u8) -> Command {
    let mut command = shell("cat >&2; exit $0");
    command
        .arg(status.to_string())
        .stdin(Input::bytes(complaint));
    command
}

/// Bytes that are different at each place, as far as it goes.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| b'!' + (place % 89) as u8).collect()
}

#[test]
fn run_tells_success_and_failure() {
    helper("exit").arg("0").run().expect("status 0");
    let error = failure(helper("exit").arg("7").run());
    assert_eq!(error.program(), helper_path());
    let exit = exit_error(Err(error.into_reason()));
    assert_eq!(exit.status.code(), Some(7));
}

// Statement 74.
#[test]
fn output_is_stdout() {
    let mut command = shell("echo out; echo err >&2");
    for _ in 0..2 {
        assert_eq!(command.output().expect("status 0"), b"out\n");
    }
    let large = pattern(1_000_000);
    let mut cat = Command::new("/bin/cat");
    assert!(
        cat.stdin(Input::bytes(large.as_slice()))
            .output()
            .expect("status 0")
            == large
    );
}

// Statements 74 and 77.
#[test]
fn output_forms_refuse_streams_that_are_set() {
    let refused =
        |result: Result<Vec<u8>, CommandError>| match result.map_err(CommandError::into_reason) {
            Err(Error::Start(error @ StartError::Refused(_))) => error.to_string(),
            other => panic!("{other:?}"),
        };
    let mut command = shell("echo out");
    command.stdout(Output::null());
    assert_eq!(refused(command.output()), "stdout is already set");
    assert_eq!(refused(command.combined_output()), "stdout is already set");
    let mut command = shell("echo out");
    command.stderr(Output::null());
    assert_eq!(refused(command.combined_output()), "stderr is already set");
    assert_eq!(command.output().expect("stderr may be set"), b"out\n");
    let mut command = shell("echo out; echo err >&2");
    command.stderr_to_stdout(true);
    assert_eq!(refused(command.combined_output()), "stderr is already set");
    assert_eq!(command.output().expect("status 0"), b"out\nerr\n");
}

// Nobody could reach it.
#[test]
fn forms_for_one_command_refuse_a_pipe_of_the_callers() {
    let pipes: [fn(&mut Command); 3] = [
        |command| _ = command.stdin(Input::pipe()),
        |command| _ = command.stdout(Output::pipe()),
        |command| _ = command.stderr(Output::pipe()),
    ];
    for pipe in pipes {
        let mut command = shell("cat");
        pipe(&mut command);
        let refused = command.run().expect_err("refused");
        assert_eq!(
            refused.into_reason().to_string(),
            "nobody can read or write a pipe of the caller's meanwhile: that needs a reactor"
        );
    }
}

// Statement 74: Go returns what there is beside the error; here `finish` does.
#[test]
fn finish_gives_output_beside_a_failure() {
    let done = finish(
        shell("echo out; echo err >&2; exit 4")
            .stdout(Output::capture())
            .stderr(Output::capture()),
    );
    assert_eq!(exit_error(done.outcome).status.code(), Some(4));
    assert_eq!(
        (&done.stdout[..], &done.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..])
    );
}

// Statement 75.
#[test]
fn failed_output_keeps_stderr() {
    let error = failure(complaining(b"what went wrong", 1).output());
    assert_eq!(text(error.stderr()), "what went wrong");
    assert_eq!(error.to_string(), "/bin/sh: exit status 1");
    let error = failure(shell("echo dying >&2; kill -TERM $$").output());
    assert_eq!(text(error.stderr()), "dying\n");
    assert_eq!(error.to_string(), "/bin/sh: signal: SIGTERM");
    // Success has no use for it.
    assert_eq!(
        complaining(b"just a warning", 0)
            .output()
            .expect("status 0"),
        b""
    );
}

// Statements 75 and 76.
#[test]
fn failed_output_keeps_both_ends_of_a_long_stderr() {
    for length in [2 * END_BYTES - 1, 2 * END_BYTES] {
        let complaint = pattern(length);
        assert!(
            failure(complaining(&complaint, 2).output()).stderr() == complaint,
            "{length}"
        );
    }
    for skipped in [1, 200_000] {
        let complaint = pattern(2 * END_BYTES + skipped);
        let mut expected = complaint[..END_BYTES].to_vec();
        expected.extend_from_slice(format!("\n... omitting {skipped} bytes ...\n").as_bytes());
        expected.extend_from_slice(&complaint[complaint.len() - END_BYTES..]);
        assert!(
            failure(complaining(&complaint, 2).output()).stderr() == expected,
            "{skipped}"
        );
    }
}

// Statement 75.
#[test]
fn failed_output_leaves_a_stderr_alone_that_was_set() {
    let mut command = complaining(b"gone", 1);
    assert_eq!(
        failure(command.stderr(Output::null()).output()).stderr(),
        b""
    );
    let merged = failure(command.stderr_to_stdout(true).output()).into_output();
    assert_eq!(merged, (b"gone".to_vec(), Vec::new()));
    // What the caller has captured is in the error, too.
    let captured = command.stderr(Output::capture()).output();
    assert_eq!(failure(captured).stderr(), b"gone");
    // No other form captures by itself.
    assert_eq!(failure(complaining(b"gone", 1).run()).stderr(), b"");
    assert_eq!(
        failure(complaining(b"gone", 1).combined_output()).stderr(),
        b""
    );
}

// Statement 76.
#[test]
fn both_ends_of_a_captured_stream_are_kept() {
    let keep = |bytes: usize, given: &[u8]| {
        let mut command = Command::new("/bin/cat");
        command
            .stdin(Input::bytes(given))
            .stdout(Output::capture_ends(bytes));
        text(&finish(&mut command).stdout)
    };
    assert_eq!(keep(3, b"abcdef"), "abcdef");
    assert_eq!(keep(3, b"abcdefg"), "abc\n... omitting 1 bytes ...\nefg");
    assert_eq!(keep(0, b"abc"), "\n... omitting 3 bytes ...\n");
    assert_eq!(keep(0, b""), "");
}

// Statement 77.
#[test]
fn combined_output_is_one_stream_in_order() {
    let mut command = shell("echo one; echo two >&2; echo three; echo four >&2");
    for _ in 0..2 {
        assert_eq!(
            command.combined_output().expect("status 0"),
            b"one\ntwo\nthree\nfour\n"
        );
    }
    // It has left no setting behind.
    assert_eq!(command.output().expect("status 0"), b"one\nthree\n");
}

// Statements 81 and 82.
#[test]
fn exit_status_is_told_with_its_number() {
    for number in [1, 2, 127, 255] {
        let done = finish(helper("exit").arg(number.to_string()));
        let status = done.status.expect("a status");
        assert_eq!(
            (status.code(), status.signal(), status.success()),
            (Some(number), None, false)
        );
        let exit = exit_error(done.outcome);
        assert_eq!((exit.status, exit.cause), (status, None));
        assert_eq!(exit.to_string(), format!("exit status {number}"));
    }
    let done = finish(helper("exit").arg("0"));
    assert!(done.success() && done.status.expect("a status").success());
}

// Statements 81 and 82.
#[test]
fn death_by_a_signal_is_told_with_its_name() {
    for signal in [
        Signal::KILL,
        Signal::TERM,
        Signal::USR2,
        Signal::PIPE,
        Signal::USR1,
    ] {
        let done = finish(shell("kill -$0 $$; sleep 1000").arg(signal.number().to_string()));
        let status = done.status.expect("a status");
        assert_eq!(
            (status.code(), status.signal()),
            (None, Some(signal.number()))
        );
        assert_eq!(
            exit_error(done.outcome).to_string(),
            format!("signal: {signal}")
        );
    }
}

// Statement 82: whether there is a core is for the system to say.
#[test]
fn core_dump_is_told() {
    let scratch = Scratch::new();
    for limit in ["0", "unlimited"] {
        let mut command = shell("ulimit -c $0; kill -SEGV $$");
        let done = finish(command.arg(limit).current_dir(&*scratch));
        let is_dumped = done.status.expect("a status").core_dumped();
        let expected = if is_dumped {
            "signal: SIGSEGV (core dumped)"
        } else {
            "signal: SIGSEGV"
        };
        assert_eq!(exit_error(done.outcome).to_string(), expected);
        if limit == "unlimited" && !is_dumped {
            eprintln!("skipped: this system dumps no core");
        }
    }
}

#[test]
fn failure_after_a_cancel_tells_the_cause() {
    let context = Context::new().with_timeout(Duration::from_millis(1));
    let mut command = Command::new("/bin/sleep");
    let done = finish(command.arg("1000").timeout(Duration::from_millis(1)));
    assert_eq!(
        exit_error(done.outcome).to_string(),
        "signal: SIGKILL (timed out)"
    );
    let run = command
        .timeout(Duration::from_secs(1000))
        .context(&context)
        .run();
    match run.map_err(CommandError::into_reason) {
        Err(error @ Error::Exit(_)) => {
            assert_eq!(error.to_string(), "signal: SIGKILL (deadline exceeded)")
        }
        // The millisecond was over before it was started.
        Err(Error::Start(error)) => assert_eq!(error.to_string(), "not started: deadline exceeded"),
        other => panic!("{other:?}"),
    }
}

// Statement 83.
#[test]
fn pid_is_the_childs_own() {
    let done = finish(shell("echo $$").stdout(Output::capture()));
    assert_eq!(
        text(&done.stdout),
        format!("{}\n", done.pid.expect("a pid"))
    );
}

// Statements 83 and 84.
#[test]
fn usage_is_that_of_the_child_and_of_descendants_that_it_waited_for() {
    let burnt = Duration::from_millis(30);
    let done = finish(helper("burn").arg(burnt.as_millis().to_string()));
    let usage = done.usage.expect("with the status");
    assert!(usage.user + usage.system >= burnt, "{usage:?}");
    assert!(usage.rss_bytes_max > 0, "{usage:?}");
    let script = format!("'{}' burn {}; true", helper_path(), burnt.as_millis());
    let usage = finish(&mut shell(&script)).usage.expect("with the status");
    assert!(usage.user + usage.system >= burnt, "{usage:?}");
}

#[test]
fn times_of_a_command_are_in_their_order() {
    let done = finish(shell("echo out").stdout(Output::capture()));
    let (started, reaped, drained) = (done.started, done.reaped, done.drained);
    assert!(started.is_some() && started <= reaped && reaped <= drained);
    assert_eq!(
        Some(done.elapsed()),
        reaped
            .zip(started)
            .map(|(reaped, started)| reaped - started)
    );
}

/// One kind of error that can end a command: its text, a script that comes to it, and what the command needs for that.
/// What `set_up` returns is held until the outcome is there.
struct Ending {
    text: &'static str,
    script: &'static str,
    set_up: fn(&mut Command) -> Option<PipeWriter>,
}

const ENDINGS: [Ending; 5] = [
    Ending {
        text: "/bin/sh: exit status 3",
        script: "exit 3",
        set_up: |_| None,
    },
    Ending {
        text: "/bin/sh: signal: SIGKILL",
        script: "kill -KILL $$",
        set_up: |_| None,
    },
    Ending {
        text: "/bin/sh: wait delay expired with stdout ",
        script: "cat <&3 & exit 0",
        set_up: |command| {
            let (orphans_stdin, leash) = io::pipe().expect("a pipe");
            command
                .extra_fd(3, orphans_stdin)
                .wait_delay(Duration::from_millis(1));
            Some(leash)
        },
    },
    Ending {
        text: "/bin/sh: timed out",
        script: "read -r line; exit 0",
        set_up: |command| {
            let (stdin, leash) = io::pipe().expect("a pipe");
            let leash = Mutex::new(Some(leash));
            let let_go = move |_: &CancelTarget<'_>| {
                leash.lock().expect("no panic").take();
                Ok(())
            };
            command
                .stdin(Input::file(stdin))
                .on_cancel(Cancel::with(let_go))
                .timeout(Duration::from_millis(1));
            None
        },
    },
    Ending {
        text: "/bin/sh: copying stdin: no paper",
        script: "read -r line; exit 0",
        set_up: |command| {
            command.stdin(Input::reader(NoPaper));
            None
        },
    },
];

struct NoPaper;

impl io::Read for NoPaper {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("no paper"))
    }
}

// Statements 74 and 77: Go returns the output beside the error.
#[test]
fn failed_output_forms_carry_the_output_so_far_whatever_ended_the_command() {
    for ending in ENDINGS {
        let run = |form: fn(&mut Command) -> Result<Vec<u8>, CommandError>| {
            let mut command = shell(&format!("echo one; echo two >&2; {}", ending.script));
            let leash = (ending.set_up)(&mut command);
            let error = form(&mut command).expect_err(ending.text);
            drop(leash);
            assert!(error.to_string().starts_with(ending.text), "{error:?}");
            (text(error.stdout()), text(error.stderr()))
        };
        assert_eq!(run(Command::output), ("one\n".into(), "two\n".into()));
        let combined = run(Command::combined_output);
        assert_eq!(combined, ("one\ntwo\n".into(), String::new()));
        let captured = run(|command| {
            command.stdout(Output::capture());
            command.run().map(|()| Vec::new())
        });
        assert_eq!(captured, ("one\n".into(), String::new()));
    }
}

#[test]
fn error_of_a_form_names_the_program_as_it_was_given() {
    let text = |command: &mut Command| command.run().expect_err("it fails").to_string();
    assert_eq!(text(&mut Command::new("false")), "false: exit status 1");
    assert_eq!(
        text(Command::new("false").arg0("true")),
        "false: exit status 1"
    );
    assert_eq!(
        text(&mut Command::new("execloop-no-such-program")),
        r#""execloop-no-such-program": executable file not found in $PATH"#
    );
    assert_eq!(
        text(Command::new("false").current_dir("/no/such")),
        "false: chdir /no/such: No such file or directory"
    );
    assert_eq!(
        text(&mut Command::new("/no/such")),
        "exec /no/such: No such file or directory"
    );
    let ended = Context::new();
    ended.cancel();
    assert_eq!(
        text(Command::new("false").context(&ended)),
        "false: not started: cancelled"
    );
}

#[test]
fn failure_is_an_io_error_of_its_kind() {
    let error = Command::new("execloop-no-such-program")
        .run()
        .expect_err("");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
    let error = Command::new("/no/such").output().expect_err("");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
}

#[test]
fn finished_is_printed_with_its_output_as_text() {
    let done = finish(
        shell("echo out; echo err >&2")
            .stdout(Output::capture())
            .stderr(Output::capture()),
    );
    let printed = format!("{done:?}");
    assert!(
        printed.contains(r#"stdout: "out\n", stderr: "err\n""#),
        "{printed}"
    );
}
