//! From a name to a running program: lookup, `ErrDot`, arguments, starting again, and which error comes first.
//! Unaware of streams.

#[path = "common"]
mod common {
    pub mod check;
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod scratch;
    pub mod start_error;
    pub mod text;
    mod watchdog;
}

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::check::check;
use common::finish::finish;
use common::helper::helper;
use common::helper_path::helper_path;
use common::scratch::Scratch;
use common::start_error::start_error;
use common::text::text;
use execloop::{
    Cancel, Cause, Command, CommandError, Context, Error, Input, LookPathError, Output, Reactor,
    StartError, look_path,
};

/// Puts an executable of this name into a new subdirectory: the helper, by another name.
fn place_tool(scratch: &Scratch, directory: &str, name: &str) {
    let directory = scratch.join(directory);
    fs::create_dir_all(&directory).expect("a directory");
    symlink(helper_path(), directory.join(name)).expect("a link");
}

fn place_file(scratch: &Scratch, name: &str, mode: u32) {
    let path = scratch.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(&path, "").expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
}

/// What `mode` of the helper prints, with this `PATH` (`{}` is the scratch directory), in the scratch directory.
#[track_caller]
fn in_scratch(scratch: &Scratch, path: Option<&str>, mode: &str, arguments: &[&str]) -> String {
    let root = scratch.to_str().expect("text");
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("{}", root));
    let mut command = helper(mode);
    command
        .args(arguments)
        .current_dir(&**scratch)
        .stdout(Output::capture())
        .stderr(Output::capture());
    match path {
        Some(path) => command.env("PATH", path.replace("{}", root)),
        None => command.env_remove("PATH"),
    };
    let done = finish(&mut command);
    assert!(done.success(), "{:?}\n{}", done.outcome, text(&done.stderr));
    text(&done.stdout).replace(root, "{}")
}

// Statement 1.
#[test]
fn argument_zero_is_the_name_as_given() {
    let scratch = Scratch::new();
    place_tool(&scratch, "bin", "tool");
    let printed = in_scratch(
        &scratch,
        Some("{}/bin"),
        "start",
        &["tool", "argv", "two words", ""],
    );
    assert_eq!(printed, "tool\nargv\ntwo words\n\nok\n");
    let printed = in_scratch(&scratch, None, "start", &["bin/../bin/tool", "argv"]);
    assert_eq!(printed, "bin/../bin/tool\nargv\nok\n");
}

// Statement 9.
#[test]
fn argument_zero_can_be_chosen() {
    let done = finish(
        helper("argv")
            .arg0("another name")
            .stdout(Output::capture()),
    );
    assert_eq!(text(&done.stdout), "another name\nargv\n");
}

// Statement 2.
#[test]
fn bare_name_is_looked_up_at_construction() {
    let found = Command::new("sh");
    assert_eq!(found.resolved_path(), look_path("sh").expect("a shell"));
    assert!(found.resolved_path().is_absolute() && found.lookup_error().is_none());

    let missing = Command::new("execloop-no-such-program");
    assert_eq!(
        missing.resolved_path(),
        Path::new("execloop-no-such-program")
    );
    assert!(matches!(
        missing.lookup_error(),
        Some(LookPathError::NotFound { .. })
    ));
}

// Statements 2 and 17: behind a symbolic link only the file system knows where `..` leads.
#[test]
fn entries_are_taken_as_they_are_spelt() {
    let scratch = Scratch::new();
    place_tool(&scratch, "far/bin", "tool");
    fs::create_dir_all(scratch.join("far/away")).expect("a directory");
    symlink("far/away", scratch.join("link")).expect("a link");
    let path = Some("{}/link/../bin//");
    assert_eq!(
        in_scratch(&scratch, path, "look", &["tool"]),
        "found {}/link/../bin//tool\n{}/link/../bin//tool true\n"
    );
    let ran = in_scratch(&scratch, path, "start", &["tool", "echo", "found"]);
    assert_eq!(ran, "found\nok\n");
}

// Statements 2 and 17: the path that was found is kept beside the error.
#[test]
fn name_found_by_a_relative_entry_is_refused_with_its_path() {
    let scratch = Scratch::new();
    place_tool(&scratch, "", "tool");
    place_tool(&scratch, "bin", "tool");
    place_tool(&scratch, "sub", "tool");
    for (path, found) in [
        (".", "./tool"),
        ("", "not found"),
        (":{}/bin", "./tool"),
        ("{}/nothing::{}/bin", "./tool"),
        ("sub:{}/bin", "sub/tool"),
        ("./sub:{}/bin", "./sub/tool"),
        ("sub/../sub", "sub/../sub/tool"),
    ] {
        let expected = match found {
            "not found" => "not found\ntool false\n".to_owned(),
            found => format!("dot {found}\n{found} false\n"),
        };
        assert_eq!(
            in_scratch(&scratch, Some(path), "look", &["tool"]),
            expected,
            "{path}"
        );
    }
    // An absolute entry that happens to be the current directory is no relative one, nor is one that is never reached.
    for path in ["{}", "{}:.", "{}/nothing:{}/.:."] {
        let printed = in_scratch(&scratch, Some(path), "look", &["tool"]);
        assert!(
            printed.starts_with("found {}/") && printed.ends_with("tool true\n"),
            "{printed}"
        );
    }
}

// Statement 3.
#[test]
fn lookup_error_is_told_by_every_start_until_it_is_allowed() {
    let scratch = Scratch::new();
    place_tool(&scratch, "", "tool");
    let refused = in_scratch(&scratch, Some("."), "start", &["tool", "echo", "hello"]);
    assert!(
        refused.starts_with(r#""tool": found relative to the current directory"#),
        "{refused}"
    );
    let allowed = in_scratch(
        &scratch,
        Some("."),
        "start",
        &["--allow-dot", "tool", "echo", "hello"],
    );
    assert_eq!(allowed, "hello\nok\n");

    let mut missing = Command::new("execloop-no-such-program");
    missing.allow_dot(true);
    let is_lookup = |error: CommandError| {
        matches!(
            error.reason(),
            Error::Start(StartError::LookPath(LookPathError::NotFound { .. }))
        )
    };
    assert!(is_lookup(missing.run().expect_err("not found")));
    assert!(is_lookup(missing.output().expect_err("not found")));
    assert!(is_lookup(missing.combined_output().expect_err("not found")));
    assert!(is_lookup(missing.finish().expect_err("not found")));
}

// Statement 4.
#[test]
fn name_with_a_slash_is_taken_as_it_is() {
    for name in ["nothing/here", "nothing/", "/", "./nothing"] {
        let command = Command::new(name);
        assert_eq!(command.resolved_path(), Path::new(name));
        assert!(command.lookup_error().is_none(), "{name}");
    }
    let error = Command::new("nothing/").run().expect_err("no such program");
    assert_eq!(
        error.to_string(),
        "exec nothing/: No such file or directory"
    );
}

// Statement 4.
#[test]
fn relative_program_is_resolved_in_the_childs_directory() {
    let scratch = Scratch::new();
    place_tool(&scratch, "sub", "tool");
    let printed = in_scratch(&scratch, None, "start", &["--dir", "sub", "./tool", "cwd"]);
    assert_eq!(printed, "{}/sub\nok\n");
    let printed = in_scratch(
        &scratch,
        None,
        "start",
        &["--dir", "sub", "sub/tool", "cwd"],
    );
    assert_eq!(
        printed,
        "exec sub/tool: No such file or directory (in sub)\n"
    );
    // The same goes for one that was looked up relative to the directory and allowed.
    let arguments = ["--allow-dot", "--dir", "sub", "tool", "cwd"];
    let printed = in_scratch(&scratch, Some("sub"), "start", &arguments);
    assert_eq!(
        printed,
        "exec sub/tool: No such file or directory (in sub)\n"
    );
}

// Statement 5.
#[test]
fn lookup_is_by_the_parents_path_and_not_by_the_childs() {
    let scratch = Scratch::new();
    place_tool(&scratch, "bin", "execloop-tool");
    let mut command = Command::new("execloop-tool");
    command.env("PATH", scratch.join("bin"));
    let error = command.run().expect_err("not found");
    assert!(matches!(
        error.reason(),
        Error::Start(StartError::LookPath(_))
    ));

    let mut command = Command::new("sh");
    command.args(["-c", "echo $PATH"]).env("PATH", "/nowhere");
    assert_eq!(command.output().expect("sh runs"), b"/nowhere\n");
}

// Statement 6: a bare name is never taken for a file of the current directory.
#[test]
fn bare_name_is_no_file_of_the_current_directory() {
    let scratch = Scratch::new();
    place_tool(&scratch, "", "tool");
    let printed = in_scratch(&scratch, Some("{}/nothing"), "start", &["tool", "echo"]);
    assert_eq!(printed, "\"tool\": executable file not found in $PATH\n");
    let printed = in_scratch(&scratch, Some("{}/nothing"), "start", &["./tool", "echo"]);
    assert_eq!(printed, "\nok\n");
}

// Statement 11.
#[test]
fn empty_name_and_dots_are_never_found() {
    let scratch = Scratch::new();
    place_tool(&scratch, "", "tool");
    for path in ["{}", ".", "{}/tool", "{}/tool/xx", "/"] {
        let printed = in_scratch(&scratch, Some(path), "look", &["", ".", ".."]);
        let expected = "not found\n true\nnot found\n. false\nnot found\n.. false\n";
        assert_eq!(printed, expected, "{path}");
    }
}

// Statement 12.
#[test]
fn name_with_a_slash_is_checked_by_look_path_and_returned_unchanged() {
    let scratch = Scratch::new();
    place_tool(&scratch, "bin", "tool");
    place_file(&scratch, "bin/data", 0o644);
    let names = [
        "bin/tool",
        "./bin//tool",
        "{}/bin/tool",
        "bin/",
        "bin/none",
        "bin/data",
        "bin/tool/x",
    ];
    let printed = in_scratch(&scratch, None, "look", &names);
    let found: Vec<&str> = printed.lines().step_by(2).collect();
    let expected = [
        "found bin/tool",
        "found ./bin//tool",
        "found {}/bin/tool",
        "error IsADirectory",
        "error NotFound",
        "error PermissionDenied",
        "error NotADirectory",
    ];
    assert_eq!(found, expected);
}

// Statement 13.
#[cfg(target_os = "linux")]
#[test]
fn mode_bits_decide_where_the_access_check_is_refused() {
    let scratch = Scratch::new();
    place_tool(&scratch, "bin", "tool");
    place_file(&scratch, "bin/data", 0o644);
    let printed = in_scratch(&scratch, None, "look-refused", &["bin/tool", "bin/data"]);
    if printed.starts_with("skipped") {
        return eprintln!("skipped: no seccomp filter here: {printed}");
    }
    let found: Vec<&str> = printed.lines().step_by(2).collect();
    assert_eq!(found, ["found bin/tool", "error PermissionDenied"]);
}

// Statement 14.
#[cfg(target_os = "linux")]
#[test]
fn program_on_a_noexec_mount_is_not_found_executable() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("mount")).expect("a directory");
    let printed = in_scratch(&scratch, None, "look-noexec", &["{}/mount"]);
    if printed.starts_with("skipped") {
        return eprintln!("skipped: may not mount: {printed}");
    }
    assert_eq!(printed, "error PermissionDenied\n{}/mount/tool true\n");
}

// Statement 15.
#[test]
fn entries_that_fail_are_passed_over() {
    let scratch = Scratch::new();
    place_file(&scratch, "plain/tool", 0o644);
    fs::create_dir_all(scratch.join("directory/tool")).expect("a directory");
    place_tool(&scratch, "bin", "tool");
    let path = "{}/plain:{}/directory:{}/plain/tool:{}/missing";
    let printed = in_scratch(&scratch, Some(path), "look", &["tool"]);
    assert_eq!(printed, "not found\ntool false\n");
    let path = format!("{path}:{{}}/bin");
    let printed = in_scratch(&scratch, Some(&path), "look", &["tool"]);
    assert_eq!(printed, "found {}/bin/tool\n{}/bin/tool true\n");
}

// Statement 16.
#[test]
fn empty_or_unset_path_finds_nothing() {
    let scratch = Scratch::new();
    place_tool(&scratch, "", "tool");
    for path in [None, Some("")] {
        assert_eq!(
            in_scratch(&scratch, path, "look", &["tool"]),
            "not found\ntool false\n"
        );
    }
}

// Statement 18.
#[test]
fn lookup_error_names_the_program_and_keeps_its_cause() {
    let error = look_path("execloop-no-such-program").expect_err("no such program");
    assert_eq!(
        error.to_string(),
        r#""execloop-no-such-program": executable file not found in $PATH"#
    );
    assert_eq!(error.name(), "execloop-no-such-program");
    let error = look_path("/").expect_err("a directory");
    assert_eq!(error.raw_os_error(), Some(libc::EISDIR));
    assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory);
}

// Statement 19: a command can be started again, which Go refuses.
#[test]
fn command_can_be_started_again() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut command = Command::new("/bin/cat");
    command
        .stdin(Input::bytes(*b"again"))
        .stdout(Output::capture());
    let ids = [(); 3].map(|()| reactor.start(&mut command).expect("it starts"));
    for id in ids {
        let done = reactor.wait(id).expect("waited").expect("finished");
        assert!(done.success());
        assert_eq!(done.stdout, b"again");
    }
    command.stdin(Input::bytes(*b"changed"));
    assert_eq!(finish(&mut command).stdout, b"changed");
}

// Statement 19: and where it cannot, that leaves the first start alone.
#[test]
fn refused_second_start_leaves_the_firsts_pipes_open() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut command = Command::new("/bin/cat");
    let input = std::io::Cursor::new(vec![b'x'; 500_000]);
    command
        .stdin(Input::reader(input))
        .stdout(Output::capture());
    let id = reactor.start(&mut command).expect("it starts");
    let error = reactor
        .start(&mut command)
        .expect_err("its reader is used up");
    assert!(matches!(error, StartError::Consumed { .. }), "{error:?}");
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(done.stdout.len(), 500_000);
}

/// A command whose faults are of all kinds; `heal` takes away as many as it says, the first ones first.
fn faulty(heal: usize) -> Command {
    let program = match heal {
        0 => "",
        1 => "execloop-no-such-program",
        _ => "/bin/true",
    };
    let mut command = Command::new(program);
    let context = Context::new();
    command
        .context(&context)
        .on_cancel(Cancel::kill().to_group());
    command.stdin(Input::reader(std::io::empty()));
    if heal > 1 {
        // Uses the reader up.
        command.process_group(0).run().expect("it runs once");
        command.process_group(1);
    }
    if heal > 2 {
        command.process_group(0);
    }
    if heal < 4 {
        context.cancel();
    }
    if heal > 4 {
        command.stdin(Input::null());
    }
    command.env("A", if heal < 6 { "b\0d" } else { "fine" });
    command.current_dir(if heal < 7 { "/no/such/directory" } else { "/" });
    command
}

// Statement 53.
#[test]
fn of_several_faults_the_first_in_gos_order_is_told() {
    let told: Vec<String> = (0..7)
        .map(|heal| faulty(heal).run().expect_err("faulty").to_string())
        .collect();
    let expected = [
        "no command: the program's name is empty",
        "\"execloop-no-such-program\": executable file not found in $PATH",
        "/bin/true: a cancel to the group needs process_group(0) or session(true)",
        "/bin/true: not started: cancelled",
        "/bin/true: stdin was used up by an earlier start of this command",
        "/bin/true: environment contains a NUL byte",
        "/bin/true: chdir /no/such/directory: No such file or directory",
    ];
    assert_eq!(told, expected);
    faulty(7).run().expect("nothing is wrong any more");
}

// Statement 57.
#[test]
fn failed_start_leaves_no_command_and_calls_no_cancel() {
    let mut reactor = Reactor::new().expect("a reactor");
    let context = Context::new();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let mut command = Command::new("/no/such/program");
    command.context(&context).on_cancel(Cancel::with(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }));
    let error = start_error(&mut reactor, &mut command);
    assert!(matches!(error, StartError::Step { .. }), "{error:?}");
    context.cancel();
    assert!(reactor.is_empty());
    assert!(reactor.wait_any().expect("nothing to wait for").is_none());
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    let error = reactor
        .start(&mut command)
        .expect_err("the context has ended");
    assert!(
        matches!(error, StartError::Stopped(Cause::Cancelled)),
        "{error:?}"
    );
}

// Statement 80.
#[test]
fn command_is_printed_as_path_and_arguments() {
    let sh = look_path("sh").expect("a shell");
    let mut command = Command::new("sh");
    assert_eq!(command.to_string(), sh.display().to_string());
    command.args(["-c", "echo a b"]);
    assert_eq!(
        command.to_string(),
        format!("{} -c 'echo a b'", sh.display())
    );
    command.run().expect("it runs");
    assert_eq!(
        command.to_string(),
        format!("{} -c 'echo a b'", sh.display())
    );

    let mut missing = Command::new("execloop-no-such-program");
    missing.arg("x");
    assert_eq!(missing.to_string(), "execloop-no-such-program x");
    assert_eq!(Command::new("").to_string(), "''");
}

// Statement 20, of the reactor's snapshot.
#[test]
fn environment_is_taken_at_a_reactors_first_start_and_refreshed_on_demand() {
    let done = finish(helper("snapshot").stdout(Output::capture()));
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(text(&done.stdout), "first\nfirst\nsecond\nsecond\n");
}

// Statement 4, and `check` itself: what a helper mode finds wrong must come through.
#[test]
#[should_panic(expected = "unknown mode")]
fn helper_that_fails_fails_its_test() {
    check("no-such-mode", &[]);
}
