//! Lists of commands, the lines in them, and how the program is called.

use super::stopping::{assert_ends_well, line_with, sit_before};
use super::*;

#[test]
fn commands_of_stdin_and_of_a_file_run_and_all_succeed() {
    let scratch = Scratch::new();
    let file = scratch.join("list");
    fs::write(&file, "echo one\n").expect("a file");
    for done in [
        run(&[], "echo one\n"),
        run(&["-"], "echo one\n"),
        run(&[&file.display().to_string()], "echo two\n"),
    ] {
        assert_eq!((done.code, done.output().as_str()), (Some(0), "one\n"));
        assert_eq!(done.told(), "1 command: 1 succeeded, 0 failed\n");
    }
    let done = run(&[], "");
    assert_eq!(done.code, Some(0));
    assert_eq!(done.told(), "0 commands: 0 succeeded, 0 failed\n");
}

#[test]
fn blank_lines_and_comments_are_skipped_and_counted_as_lines() {
    let done = run(&[], "\n# echo no\n  \t\n   # no\necho yes; exit 4\n");
    assert_eq!((done.code, done.output().as_str()), (Some(1), "yes\n"));
    assert_eq!(
        done.told(),
        "failed: line 5: echo yes; exit 4: exit status 4\n1 command: 0 succeeded, 1 failed\n"
    );
}

#[test]
fn wrong_usage_is_exit_status_2_and_says_what_is_wrong() {
    let cases: &[(&[&str], &str)] = &[
        (&["--no-such-flag"], "--no-such-flag"),
        (&["-j", "0"], "'--jobs <N>': at least 1 must run\n"),
        (
            &["-j", "many"],
            "'--jobs <N>': expected a number, such as 8\n",
        ),
        (&["--timeout", "5x"], "500ms, 30s"),
        (&["--timeout", "-1s"], "-1"),
        (&["--timeout", ""], "--timeout"),
        (&["--wait-delay", "1e3"], "--wait-delay"),
        (&["--wait-delay", "99999999999999999999h"], "too long"),
        (&["--signal", "NOPE"], "unknown signal \"NOPE\""),
        (&["--stream", "--keep-order"], "--keep-order"),
        (
            &["no-such-program", "two"],
            "execloop: \"no-such-program\": executable file not found",
        ),
        (&["-n", "0", "echo"], "--max-args <N>"),
        (&["-n", "x", "echo"], "expected a number, such as 4\n"),
        (&["--retries", "x"], "expected a number, such as 4\n"),
        (&["--nice", "x"], "expected a number, such as 4 or -4\n"),
        // To GNU parallel it is more than the number.
        (&["-j", "+5"], "expected a number, such as 8\n"),
        (&["-j", "+5%"], "expected a percentage"),
        (&["-n", "+5", "echo"], "expected a number, such as 4\n"),
        (&["--retries", "+5"], "expected a number, such as 4\n"),
        (&["--nice", "+5"], "expected a number, such as 4 or -4\n"),
        (&["--load", "+5"], "a load, such as 4"),
        (&["--halt", "+5"], "expected a number of failures"),
        (&["--memfree", "+5"], "expected a size"),
        (&["--timeout", "+5"], "500ms, 30s"),
        (&[""], "execloop: the name of the list is empty\n"),
        (
            &["echo", "::::", ""],
            "execloop: the name of the list is empty\n",
        ),
        (&["--signal", "+15"], "unknown signal \"+15\""),
        (
            &["--dir", "/no/such", "echo", ":::", "a"],
            "execloop: /no/such: No such file or directory\n",
        ),
        (
            &["--dir", "/dev/null", "echo", ":::", "a"],
            "execloop: /dev/null: Not a directory\n",
        ),
        (
            &["--argv", "echo 'a {}", ":::", "a", "b"],
            "execloop: echo 'a {}: a quote is not closed\n",
        ),
        (&["-n", "2"], "-n needs a command"),
        (&["--pipe"], "--pipe needs a command"),
        (&["--pipe", "cat", ":::", "a"], "--pipe reads stdin"),
        (
            &["echo", "{3}", ":::", "a", ":::", "b"],
            "no argument for {3}: a command has 2",
        ),
        (
            &["-n", "2", "echo", ":::", "a", ":::", "b"],
            "-n takes arguments of one source",
        ),
        (
            &[":::", "echo a", "b", ":::", "x"],
            "several lists need a command",
        ),
        (
            &["-a", "/dev/null", "-a", "/dev/null"],
            "several lists need a command",
        ),
        (
            &["::::", "/dev/null", "/dev/null"],
            "several lists need a command",
        ),
        (
            &["-a", "-", "echo", "::::", "-"],
            "execloop: stdin can be read once, and - names it twice\n",
        ),
        (
            &["-a", "-", "-a", "-", "echo"],
            "execloop: stdin can be read once, and - names it twice\n",
        ),
        (&["--halt", "0"], "--halt"),
        (&["--resume"], "--joblog"),
        (&["--env", "A"], "LC_ALL=C"),
        (&["--load", "nan"], "a load, such as 4"),
        (&["--load=-1"], "a load, such as 4"),
        (
            &["--jobs", "-1"],
            "invalid value '-1' for '--jobs <N>': expected a number",
        ),
        (
            &["--timeout", "-1"],
            "invalid value '-1' for '--timeout <TIME>': expected a number",
        ),
        (&["--ungroup", "--tag"], "--tag"),
        (
            &["--joblog", "/no/such/log"],
            "execloop: /no/such/log: No such file",
        ),
        (
            // It could be /dev/zero, which has no end.
            &["--resume", "--joblog", "/dev/null"],
            "execloop: /dev/null: no regular file",
        ),
        (&["--results", "/proc/x"], "execloop: /proc/x: No such file"),
        (
            &["cksum"],
            "for a command that takes arguments, write: cksum {}\n",
        ),
        (
            &["true; echo 'a'"],
            "No such file or directory; for a command that takes arguments, \
             write: 'true; echo '\\''a'\\'' {}'\n",
        ),
        (
            &["my list"],
            "execloop: my list: No such file or directory\n",
        ),
        (
            &["/no/such/list"],
            "execloop: /no/such/list: No such file or directory\n",
        ),
        (&["/"], "execloop: /: Is a directory\n"),
    ];
    for (arguments, expected) in cases {
        let done = run(arguments, "echo no\n");
        assert_eq!(done.code, Some(2), "{arguments:?}: {done:?}");
        assert_eq!(done.output(), "", "{arguments:?}");
        assert!(done.stderr.contains(expected), "{arguments:?}: {done:?}");
    }
    let done = finish(&mut Command::new(env!("CARGO_BIN_EXE_execloop")));
    assert_eq!(done.code, Some(2), "no subcommand");
}

#[test]
fn of_an_option_that_is_there_several_times_the_last_counts_and_conflicts_are_told() {
    let words = ["-q", "-j8", "-P1", "-q", "--timeout", ".5d", "-t", "1d"];
    let done = run(&words, "echo 1\necho 2\n");
    let output = done.output();
    assert_eq!((done.code, output.as_str()), (Some(0), "1\n2\n"));
    // Of those that may be there several times, all count.
    let words = [
        "-q",
        "--env",
        "A=1",
        "--env",
        "B=2",
        "echo $A $B {}",
        ":::",
        "3",
    ];
    assert_eq!(run(&words, "").output(), "1 2 3\n");
    let done = run(
        &["--resume", "--resume-failed", "--joblog", "/dev/null"],
        "",
    );
    assert_eq!(done.code, Some(2), "{done:?}");
    let done = run(&["-j", "x", "-j", "1"], "");
    assert_eq!(done.code, Some(2), "each of them is read");
}

#[test]
fn a_list_that_cannot_be_read_is_exit_status_2() {
    // Reading the memory of a process from address 0 is refused: EIO.
    let done = run(&["/proc/self/mem"], "");
    assert_eq!(done.code, Some(2));
    let expected =
        "execloop: /proc/self/mem: Input/output error\n0 commands: 0 succeeded, 0 failed\n";
    assert_eq!(done.told(), expected);
}

#[test]
fn help_and_version_are_exit_status_0_and_help_names_the_statuses() {
    let done = run(&["--help"], "");
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    for word in [
        "--keep-order",
        "Exit status:",
        "130",
        "begin with #",
        "64 MiB",
    ] {
        assert!(done.output().contains(word), "{word}");
    }
    let longest = done.output().lines().map(str::len).max();
    assert!(
        longest <= Some(80),
        "no line is left to the terminal to break"
    );
    let done = finish(Command::new(env!("CARGO_BIN_EXE_execloop")).arg("--version"));
    let version = format!("execloop {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((done.code, done.output()), (Some(0), version));
}

#[test]
fn a_line_typed_now_starts_now_and_the_list_need_not_end() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    let mut live = Live::start(&["-j", "2"]);
    live.list("echo one\n");
    assert_eq!(live.output_line(), "one");
    live.list(&format!("read x <{gate}; echo waited\n"));
    for word in ["two", "three"] {
        live.list(&format!("echo {word}\n"));
        assert_eq!(live.output_line(), word);
    }
    live.list("echo un");
    live.list("finished line");
    live.close_list();
    assert_eq!(live.output_line(), "unfinished line");
    fs::write(&gate, "\n").expect("the gate");
    assert_eq!(live.output_line(), "waited");
    let done = live.finish();
    assert_eq!(done.code, Some(0));
    assert_eq!(done.told(), "5 commands: 5 succeeded, 0 failed\n");
}

#[test]
fn a_typed_list_whose_last_line_is_unfinished_ends_by_two_ctrl_d_as_with_cat() {
    let mut live = sit_before(&mut shell("\"$EXECLOOP\" run; echo \"status $?\""));
    line_with(&mut live, "Ctrl-D ends the list");
    live.list("echo o''ne\x04\x04");
    line_with(&mut live, "1 command: 1 succeeded, 0 failed in ");
    line_with(&mut live, "status 0");
    assert_ends_well(live);
}

#[test]
fn a_long_list_is_read_only_as_far_as_its_commands_start() {
    let scratch = Scratch::new();
    let path = scratch.join("list");
    let list = ":\n".repeat(300) + "exit 1\n" + &":\n".repeat(2_000_000);
    fs::write(&path, list).expect("a file");
    let mut file = File::open(&path).expect("the file");
    // Both have one position in the file.
    let shared = file.try_clone().expect("a descriptor");
    let done = finish(program(&["--fail-fast", "-j", "2"]).stdin(Input::file(shared)));
    assert_eq!(done.code, Some(1));
    let position = file.stream_position().expect("a position");
    assert!(position <= 128 * 1024, "{position} bytes were read");
}

#[test]
fn an_endless_list_ends_by_the_first_failure() {
    let list = "yes : | head -n 50; echo exit 5; exec yes :";
    let script = format!("({list}) | '{}' run -f", env!("CARGO_BIN_EXE_execloop"));
    let done = finish(&mut shell(&script));
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr
            .contains("failed: line 51: exit 5: exit status 5\n")
    );
}

#[test]
fn ten_thousand_commands_run_and_each_is_accounted_for() {
    let mut list = String::new();
    let mut expected = String::new();
    for number in 1..=10_000 {
        if number % 1000 == 0 {
            list += "exit 9\n";
        } else {
            let _ = writeln!(list, "echo {number}");
            let _ = writeln!(expected, "{number}");
        }
    }
    let done = run(&["-k", "-j", "16"], list);
    assert_eq!(done.code, Some(1));
    assert!(done.output() == expected);
    assert_eq!(done.summary(), "10000 commands: 9990 succeeded, 10 failed");
    assert!(
        done.stderr
            .starts_with("failed: line 1000: exit 9: exit status 9\n")
    );
}

#[test]
fn no_more_than_the_given_number_run_at_once() {
    let scratch = Scratch::new();
    let here = scratch.display();
    let list = format!("cd '{here}'; : >here.$$; ls | wc -l; /bin/true; rm here.$$\n").repeat(60);
    let done = run(&["--jobs", "3"], list);
    let output = done.output();
    let counts: Vec<u32> = output
        .lines()
        .map(|line| line.trim().parse().expect("a count"))
        .collect();
    assert_eq!((done.code, counts.len()), (Some(0), 60));
    assert!(
        counts.iter().all(|count| (1..=3).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn more_run_at_once_than_the_soft_limit_of_descriptors_allows_and_they_get_that_limit() {
    let scratch = Scratch::new();
    let (gate, mut release) = gate(&scratch);
    let script = format!(
        "ulimit -S -n 64; exec '{}' run -s -j 100 --timeout 10m",
        env!("CARGO_BIN_EXE_execloop")
    );
    let mut live = Live::of(&mut shell(&script));
    live.list(&format!("read x <{gate}\n").repeat(99));
    live.list("ulimit -S -n\n");
    live.close_list();
    assert_eq!(live.output_line(), "100: 64");
    release.write_all(&[b'\n'; 99]).expect("the gate");
    let done = live.finish();
    assert_eq!(done.summary(), "100 commands: 100 succeeded, 0 failed");
}

#[test]
fn a_non_blocking_stdin_and_stdout_are_waited_for() {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    theirs.set_nonblocking(true).expect("a socket");
    let stdout = theirs.try_clone().expect("a descriptor");
    let mut reactor = Reactor::new().expect("a reactor");
    let mut command = program(&["-j", "1"]);
    command
        .stdin(Input::file(theirs))
        .stdout(Output::file(stdout))
        .stderr(Output::capture());
    let id = reactor.start(&mut command).expect("the program starts");
    let mut answer = vec![0; 4_000_000];
    // The first read finds nothing, and neither does the one after the first line.
    for _ in 0..2 {
        ours.write_all(b"head -c 4000000 /dev/zero\n")
            .expect("the list");
        ours.read_exact(&mut answer).expect("the output");
    }
    ours.shutdown(Shutdown::Write).expect("the end of the list");
    let finished = reactor.wait(id).expect("a reactor");
    let done = Done::of(finished.expect("it was started"));
    assert_eq!(done.code, Some(0));
    assert_eq!(done.told(), "2 commands: 2 succeeded, 0 failed\n");
}

#[test]
fn a_line_is_run_byte_by_byte_whatever_its_encoding() {
    let done = run(
        &["-k"],
        b"printf '%s' '\xff\xc3\xa9\xe9'\r\nprintf '%s' \xf0\x9f\n echo  a  #b\n",
    );
    assert_eq!(done.code, Some(0));
    assert_eq!(done.stdout, b"\xff\xc3\xa9\xe9\xf0\x9fa\n");
}

#[test]
fn a_line_that_begins_with_a_dash_is_a_command_and_no_option() {
    let done = run(&["-k"], "-x; echo $?\n+x || echo $?\n");
    assert_eq!(done.code, Some(0));
    let output = done.output();
    let told: Vec<&str> = output
        .lines()
        .filter(|line| !line.contains("not found"))
        .collect();
    assert_eq!(told, ["127", "127"]);
}

#[test]
fn lines_that_cannot_run_have_failed_with_a_reason_and_the_others_run() {
    let long = "echo ".to_owned() + &"x".repeat(200_000);
    let longer = "echo ".to_owned() + &"y".repeat(2_000_000);
    let list = format!("echo one\necho a\0b\n{long}\n{longer}\necho two");
    let done = run(&["-k", "-j", "1"], list);
    assert_eq!((done.code, done.output().as_str()), (Some(1), "one\ntwo\n"));
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(
        lines[0],
        "failed: line 2: echo a\\u{0}b: the line contains a NUL byte"
    );
    let shown = |letter: &str| format!("echo {}...", letter.repeat(195));
    let too_long = format!(
        "failed: line 3: {}: exec /bin/sh: Argument list too long",
        shown("x")
    );
    assert!(lines[1].starts_with(&too_long), "{}", lines[1]);
    let longer = format!(
        "failed: line 4: {}: the line is longer than 1 MiB",
        shown("y")
    );
    assert_eq!(lines[2], longer);
    assert_eq!(untimed(lines[3]), "5 commands: 2 succeeded, 3 failed");
}

#[test]
fn commands_have_no_stdin_and_nothing_else_of_the_programs() {
    let done = run(&["-j", "1"], "cat; echo end\nls /proc/self/fd\n");
    // The last is that of the directory which ls reads.
    assert_eq!(done.output(), "end\n0\n1\n2\n3\n");
}
