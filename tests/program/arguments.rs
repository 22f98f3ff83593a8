//! Commands with places for arguments, and where the arguments come from.

use super::*;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[test]
fn arguments_come_from_stdin_a_file_or_the_words() {
    let scratch = Scratch::new();
    let file = scratch.join("arguments");
    fs::write(&file, "a b\nc\n").expect("a file");
    let file = file.display().to_string();
    let expected = "<a b>\n<c>\n";
    for (arguments, list) in [
        (&["printf", "<%s>\\n"][..], &b"a b\nc\n"[..]),
        (&["-0", "printf", "<%s>\\n", "{}"], b"a b\0c"),
        (&["-n", "9", "printf", "<%s>\\n"], b"a b\nc\n"),
        (&["-a", &file, "printf", "<%s>\\n"], b""),
        (&["printf", "<%s>\\n", "::::", &file], b""),
        (&["printf", "<%s>\\n", ":::", "a b", "c"], b""),
        (&["echo \"<\"{}\">\"", ":::", "a b", "c"], b""),
    ] {
        let done = run(&[&["-j", "1"], arguments].concat(), list);
        assert_eq!(
            (done.code, done.output().as_str()),
            (Some(0), expected),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_resumed_run_leaves_out_what_the_job_log_has() {
    let scratch = Scratch::new();
    let log = scratch.join("log").display().to_string();
    let words = ["sh", "-c", "exit {}", ":::", "0", "3"];
    let first = run(&[&["-j", "1", "--joblog", &log][..], &words].concat(), "");
    assert_eq!(first.summary(), "2 commands: 1 succeeded, 1 failed");
    let again = run(
        &[&["--joblog", &log, "--resume-failed"][..], &words].concat(),
        "",
    );
    assert_eq!(
        again.summary(),
        "1 command: 0 succeeded, 1 failed; 1 done before"
    );
    let none = run(&[&["--joblog", &log, "--resume"][..], &words].concat(), "");
    assert_eq!(none.code, Some(0), "{none:?}");
}

#[test]
fn records_of_an_earlier_run_stay_until_there_is_a_run() {
    let scratch = Scratch::new();
    let [log, page, events] =
        ["log", "page", "events"].map(|name| scratch.join(name).display().to_string());
    let kept = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
    for file in [&log, &page, &events] {
        fs::write(file, kept).expect("a file");
    }
    let records = ["--joblog", &log, "--timeline", &page, "--trace", &events];
    for (flags, code) in [
        (&["--dry-run"][..], 0),
        (&["--dry-run", "--resume"], 0),
        (&["--results", "/proc/x"], 2),
        (&["--jobserver"], 2),
    ] {
        let words = [&records[..], flags, &["echo", ":::", "a"]].concat();
        let done = finish(program(&words).env("MAKEFLAGS", ""));
        assert_eq!(done.code, Some(code), "{done:?}");
        for file in [&log, &page, &events] {
            let text = fs::read_to_string(file).expect("a file");
            assert_eq!(text, kept, "{flags:?}: {file}");
        }
    }
    let results = scratch.join("results");
    let words = ["--dry-run", "--results", &results.display().to_string()];
    let done = run(&[&words[..], &["echo", ":::", "a"]].concat(), "");
    assert_eq!((done.code, done.output().as_str()), (Some(0), "echo a\n"));
    assert!(!results.exists());
    // A shorter one than before leaves nothing of that behind.
    fs::write(&log, "kept\n".repeat(1000)).expect("a file");
    let done = run(&["--joblog", &log, "true", ":::", "a"], "");
    assert_eq!(done.code, Some(0), "{done:?}");
    let text = fs::read_to_string(&log).expect("a file");
    assert!(
        text.starts_with("Seq\t") && text.lines().count() == 2,
        "{text}"
    );
}

#[test]
fn a_list_that_the_run_would_write_to_is_refused_and_stays() {
    let scratch = Scratch::new();
    let list = scratch.join("list").display().to_string();
    fs::write(&list, "echo no\n").expect("a file");
    for flag in ["--joblog", "--timeline", "--trace"] {
        let done = run(&[flag, &list, &list], "");
        let expected = format!("execloop: {list} and {list} are the same file\n");
        assert_eq!((done.code, done.stderr), (Some(2), expected), "{flag}");
        assert_eq!(fs::read_to_string(&list).expect("a file"), "echo no\n");
    }
    let words = ["--trace", &list, "--joblog", &list, "echo", ":::", "a"];
    assert_eq!(run(&words, "").code, Some(2));
}

#[test]
fn a_record_that_is_stdout_or_stderr_is_refused_unless_it_is_a_device() {
    let scratch = Scratch::new();
    let file = scratch.join("file").display().to_string();
    let device = "/dev/null".to_owned();
    for flag in ["--joblog", "--timeline", "--trace"] {
        for (stream, redirection) in [("stdout", ">"), ("stderr", "2>")] {
            let run = |path: &str| {
                let script =
                    format!("\"$0\" run -q {flag} '{path}' echo ::: 1 {redirection}'{path}'");
                let mut shell = shell(&script);
                finish(shell.arg(env!("CARGO_BIN_EXE_execloop")))
            };
            assert_eq!(run(&device).code, Some(0), "{flag} {redirection}");
            let done = run(&file);
            assert_eq!(
                (done.code, done.stdout.len()),
                (Some(2), 0),
                "{flag} {redirection}"
            );
            let expected = format!("execloop: {file} and {stream} are the same file\n");
            let told = match stream {
                "stderr" => fs::read_to_string(&file).expect("a file"),
                _ => done.stderr,
            };
            assert_eq!(told, expected, "{flag}");
        }
    }
}

#[test]
fn a_variable_of_the_environment_is_any_bytes() {
    let mut command = program(&["-q", "--env"]);
    command.arg(OsStr::from_bytes(b"BYTES=a\xff=b"));
    let done = finish(command.args(["printenv", ":::", "BYTES"]));
    assert_eq!(
        (done.code, done.stdout),
        (Some(0), b"a\xff=b\n".to_vec()),
        "{}",
        done.stderr
    );
}

#[test]
fn a_command_that_reads_blocks_keeps_its_braces() {
    let list = "1\n2\n3\n";
    for (command, expected) in [
        (&["awk", "{}END{print NR}"][..], "2\n1\n"),
        (&["awk '{}END{print NR}'"], "2\n1\n"),
        (
            &["sh", "-c", "echo {} {.} {2} {#}"],
            "{} {.} {2} 1\n{} {.} {2} 2\n",
        ),
    ] {
        let done = run(
            &[&["-q", "-k", "--pipe", "-n", "2"], command].concat(),
            list,
        );
        assert_eq!(
            (done.code, done.output().as_str()),
            (Some(0), expected),
            "{command:?}: {}",
            done.stderr
        );
    }
}

#[test]
fn a_program_is_looked_for_in_the_path_that_the_command_gets_with_and_without_a_shell() {
    let scratch = Scratch::new();
    let tool = scratch.join("execloop-tool");
    fs::write(&tool, "#!/bin/sh\necho given $1\n").expect("a file");
    // It has no first line, so that a shell runs it.
    let plain = scratch.join("execloop-plain");
    fs::write(&plain, "echo plain $1\n").expect("a file");
    let both = format!("'{}' '{}'", tool.display(), plain.display());
    let made = shell(&format!("chmod +x {both}")).run();
    made.expect("programs");
    let path = format!("PATH=/no/such:{}", scratch.display());
    let list = "execloop-tool 1\nexecloop-tool 2;\nexecloop-plain 3\nexecloop-plain 4;\n";
    let done = run(&["-q", "-k", "--env", &path], list);
    assert_eq!(done.output(), "given 1\ngiven 2\nplain 3\nplain 4\n");
    assert_eq!(done.code, Some(0), "{done:?}");
    let done = run(&["-q", "--env", &path, "execloop-tool", ":::", "5"], "");
    assert_eq!((done.code, done.output().as_str()), (Some(0), "given 5\n"));
    // What is in our own PATH alone, is not there.
    let done = run(&["-q", "-k", "--env", "PATH=/no/such"], "cksum /dev/null\n");
    let expected = "failed: line 1: cksum /dev/null: \
        \"cksum\": executable file not found in $PATH\n";
    assert_eq!((done.code, done.stderr.as_str()), (Some(1), expected));
    let done = run(&["--env", "PATH=/no/such", "cksum", ":::", "a"], "");
    assert_eq!(done.code, Some(2), "{done:?}");
}

#[test]
fn without_a_path_programs_are_where_the_system_has_its_own() {
    let mut command = program(&["-q", "-k"]);
    command
        .env_remove("PATH")
        .stdin(Input::bytes(&b"printenv HERE\nprintenv HERE;\n"[..]));
    let done = finish(command.env("HERE", "here"));
    assert_eq!(
        (done.code, done.output().as_str()),
        (Some(0), "here\nhere\n"),
        "{}",
        done.stderr
    );
}

#[test]
fn within_quotes_of_a_line_an_argument_is_what_it_is_and_never_run() {
    let scratch = Scratch::new();
    let mark = scratch.join("mark").display().to_string();
    let value = format!("a b's \"$(touch '{mark}')\" `touch '{mark}'` $HOME\\");
    for flags in [&[][..], &["--shell"], &["--argv"]] {
        let echo = "printf '%s.%s.%s.\\n' {} \"{}\" 'x {} y'";
        let words = [flags, &["-q", echo, ":::", &value]].concat();
        let done = run(&words, "");
        let expected = format!("{value}.{value}.x {value} y.\n");
        assert_eq!(done.output().replace("\\n", "\n"), expected, "{done:?}");
        assert_eq!(done.stderr, "", "{flags:?}");
    }
    // As many as there are, and none is made for the number.
    let words = ["-q", "--argv", "-n", "999999999999", "printf %s. \"{}\" {}"];
    assert_eq!(run(&words, "a b\nc\n").output(), "a b c.a b.c.");
    // The words of a command that is joined to a line are of one line.
    let words = [
        "-q", "--shell", "printf", "%s", "'<{}", "{}>'", ":::", &value,
    ];
    assert_eq!(run(&words, "").output(), format!("<{value} {value}>"));
    let script = "printf %s \"$1\"";
    let words = ["-q", &format!("sh -c '{script}' sh {{}}"), ":::", &value];
    assert_eq!(run(&words, "").output(), value);
    assert!(!Path::new(&mark).exists());
}

#[test]
fn behind_what_a_shell_expands_an_argument_is_what_it_is_or_the_line_is_refused() {
    let value = "a b$(id)";
    for (line, expected) in [
        ("printf %s \"${NONE}/{}\"", "/a b$(id)"),
        ("printf %s $((1<<2)) \"{}\"", "4a b$(id)"),
        ("printf %s \"$(printf %s '{}')\"", "a b$(id)"),
        ("x={}; cat <<END\n$x `echo {#}`\nEND", "a b$(id) 1\n"),
    ] {
        let done = run(&["-q", line, ":::", value], "");
        assert_eq!(done.output(), expected, "{line}: {}", done.stderr);
    }
    for (line, fault) in [
        ("echo `echo {}`", "within backquotes"),
        ("echo \"${x:-{}}\"", "within \"${..}\""),
        ("cat <<END\n{}\nEND", "behind a here-document"),
        ("cat <<END", "behind a here-document"),
    ] {
        let done = run(&["-q", line, ":::", "plain"], "");
        assert_eq!((done.code, done.output().as_str()), (Some(2), ""), "{line}");
        assert!(done.stderr.contains(fault), "{}", done.stderr);
    }
    let done = run(&["-q", "-k", "echo $(({}+1))", ":::", "1", "a[$(id)]"], "");
    let expected = "failed: job 2: a[$(id)]: an argument for a $((..)) is no number\n";
    assert_eq!((done.code, done.output().as_str()), (Some(1), "2\n"));
    assert_eq!(done.stderr, expected);
}

#[test]
#[cfg(target_os = "linux")]
fn a_number_that_this_system_has_no_signal_for_is_refused() {
    for (number, code) in [
        ("1", 0),
        ("64", 0),
        ("65", 2),
        ("99", 2),
        ("127", 2),
        ("0", 2),
    ] {
        let done = run(&["--dry-run", "--signal", number, "echo", ":::", "a"], "");
        assert_eq!(done.code, Some(code), "{number}: {}", done.stderr);
        let is_told = done
            .stderr
            .contains(&format!("unknown signal \"{number}\""));
        assert_eq!(is_told, code == 2, "{}", done.stderr);
    }
}
