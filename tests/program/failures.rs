//! How failures are told, and what a run makes of them.

use super::*;

#[test]
fn failures_are_told_with_their_line_and_their_reason() {
    let list = "exit 3\ntrue\nkill -KILL $$\nno-such-program\nexit 0\n";
    let done = run(&["-j", "1"], list);
    assert_eq!(done.code, Some(1));
    let expected = "failed: line 1: exit 3: exit status 3\n\
        failed: line 3: kill -KILL $$: signal: SIGKILL\n\
        failed: line 4: no-such-program: \"no-such-program\": executable file not found in $PATH\n\
        5 commands: 2 succeeded, 3 failed\n";
    assert_eq!(done.told(), expected);
    assert_eq!(done.output(), "");
}

#[test]
fn a_failure_is_told_when_it_happens_behind_its_output() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    for flags in [&["-j", "2"][..], &["-j", "2", "-k"], &["-j", "2", "-s"]] {
        let mut live = Live::start(flags);
        live.list(&format!("read x <{gate}\nexit 3\n"));
        let told = live.line(Stream::Stderr);
        assert_eq!(told, "failed: line 2: exit 3: exit status 3", "{flags:?}");
        live.close_list();
        fs::write(&gate, "\n").expect("the gate");
        let done = live.finish();
        assert_eq!(done.told(), "2 commands: 1 succeeded, 1 failed\n");
    }
    // Both streams are one here, and the reader comes late.
    let program = env!("CARGO_BIN_EXE_execloop");
    let script = format!("'{program}' run -j 1 2>&1");
    let mut command = shell(&script);
    let list = "head -c 300000 /dev/zero; exit 1\nhead -c 1500000 /dev/zero; exit 2\n";
    let done = finish(command.stdin(Input::bytes(list.as_bytes())));
    let text = String::from_utf8(done.stdout)
        .expect("text")
        .replace('\0', "");
    // Each begins on a line of its own, as the output has no newline.
    let expected = "\nfailed: line 1: head -c 300000 /dev/zero; exit 1: exit status 1\n\n\
        failed: line 2: head -c 1500000 /dev/zero; exit 2: exit status 2\n\
        2 commands: 0 succeeded, 2 failed\n";
    assert_eq!(untimed(&text), expected);
}

#[test]
fn quiet_drops_the_summary_and_nothing_else() {
    assert_eq!(run(&["-q"], "true\n").stderr, "");
    let done = run(&["--quiet"], "echo out; false\n");
    assert_eq!((done.code, done.output().as_str()), (Some(1), "out\n"));
    assert_eq!(
        done.stderr,
        "failed: line 1: echo out; false: exit status 1\n"
    );
}

#[test]
fn names_and_reasons_are_shown_without_what_would_mislead_a_reader() {
    let list = "exit 1 # \u{202e}gnp\u{202c} a\u{200b}b \x1b[2J\n";
    let done = run(&[], list);
    let expected =
        "failed: line 1: exit 1 # \\u{202e}gnp\\u{202c} a\\u{200b}b \\u{1b}[2J: exit status 1\n";
    assert!(done.stderr.starts_with(expected), "{}", done.stderr);
    let done = run(&["/no/\u{202e}such\x1b[2J"], "");
    let expected = "execloop: /no/\\u{202e}such\\u{1b}[2J: No such file or directory\n";
    assert_eq!(done.stderr, expected);
}

#[test]
fn fail_fast_stops_what_runs_and_starts_nothing_more() {
    let scratch = Scratch::new();
    let mark = scratch.join("mark");
    // Of a file all is counted; the end of a pipe may come after the count.
    let path = scratch.join("list");
    let list = format!("sleep 1000\nexit 3\necho no >'{}'\n", mark.display());
    fs::write(&path, list).expect("a file");
    let done = run(&["--fail-fast", "-j", "2", &path.display().to_string()], "");
    assert_eq!(done.code, Some(1));
    let expected = "failed: line 2: exit 3: exit status 3\n\
        2 commands: 0 succeeded, 1 failed, 1 cancelled; 1 never started\n";
    assert_eq!(done.told(), expected);
    assert!(!mark.exists());
}

#[test]
fn one_that_is_stopped_before_its_program_runs_is_cancelled_and_has_not_failed() {
    // The failure comes while others are started.
    let scratch = Scratch::new();
    let path = scratch.join("list");
    fs::write(&path, "exit 3\n".to_owned() + &"sleep 1000\n".repeat(400)).expect("a file");
    let done = run(&["-f", "-j", "401", &path.display().to_string()], "");
    let told = done.told();
    let count = |word: &str| -> u64 {
        let before = told.split(word).next().expect("text");
        let number = before.rsplit(' ').next().expect("a number");
        number.parse().expect("a number")
    };
    assert_eq!((count(" succeeded"), count(" failed, ")), (0, 1), "{told}");
    let never_started = match told.contains("never started") {
        true => count(" never started"),
        false => 0,
    };
    assert_eq!(count(" cancelled") + never_started, 400, "{told}");
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
fn a_command_that_runs_longer_than_the_timeout_has_failed() {
    let done = run(&["--timeout", "100ms"], "sleep 1000\n");
    assert_eq!(done.code, Some(1));
    let expected = "failed: line 1: sleep 1000: signal: SIGTERM (timed out)\n\
        1 command: 0 succeeded, 1 failed\n";
    assert_eq!(done.told(), expected);
    let done = run(&["-t", "0"], "echo no limit\n");
    assert_eq!((done.code, done.output().as_str()), (Some(0), "no limit\n"));
}

#[test]
fn a_process_left_behind_with_the_output_open_is_a_failure_after_the_wait_delay() {
    let done = run(&["--wait-delay", "100ms"], "sleep 1000 & echo $!\n");
    let orphan = done.output();
    shell(&format!("kill {orphan}"))
        .run()
        .expect("the orphan was let live");
    assert_eq!(done.code, Some(1));
    let reason = "wait delay expired with stdout still open";
    assert!(done.stderr.contains(reason), "{done:?}");
}

#[test]
fn commands_that_never_started_are_counted_as_far_as_the_list_is_known() {
    let scratch = Scratch::new();
    let path = scratch.join("list");
    fs::write(
        &path,
        "exit 1\n# none\n".to_owned() + &"true\n".repeat(100_000),
    )
    .expect("a file");
    let done = run(&["-f", "-j", "1", &path.display().to_string()], "");
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.summary(),
        "1 command: 0 succeeded, 1 failed; 100000 never started"
    );
    // A pipe may have no end.
    let mut live = Live::start(&["-f", "-j", "1"]);
    live.list(&("exit 1\n".to_owned() + &"true\n".repeat(10)));
    let done = live.finish();
    assert_eq!(
        done.summary(),
        "1 command: 0 succeeded, 1 failed; at least 10 never started"
    );
}

#[test]
fn the_most_tries_that_can_be_asked_for_are_told_and_made() {
    let scratch = Scratch::new();
    let mark = scratch.join("mark").display().to_string();
    let line = format!("mkdir '{mark}' && exit 3; true\n");
    let done = run(&["-q", "--retries", "4294967295"], &line);
    let expected = format!(
        "retrying: line 1: {}: exit status 3; try 2 of 4294967296\n",
        line.trim_end()
    );
    assert_eq!((done.code, done.stderr), (Some(0), expected));
}

#[test]
fn a_file_that_is_no_program_is_run_by_a_shell_if_it_is_text_and_has_failed_if_not() {
    let scratch = Scratch::new();
    let mut foreign = fs::read("/bin/true").expect("a program");
    // No machine has this number.
    foreign[18..20].fill(0xee);
    let files: [(&str, &[u8], Option<&str>); 6] = [
        ("foreign", &foreign, None),
        ("cut", b"\x7fELF", None),
        ("nul", b"\0\0\0", None),
        ("first", b"exit 0 # \0\n", None),
        ("text", b"echo text\n\0", Some("text\n")),
        ("empty", b"", Some("")),
    ];
    for (name, bytes, printed) in files {
        let path = scratch.join(name);
        fs::write(&path, bytes).expect("a file");
        let path = path.display().to_string();
        shell(&format!("chmod +x '{path}'"))
            .run()
            .expect("it is ours");
        let local = format!("./{name}");
        let scratch = scratch.display().to_string();
        for words in [
            &["-q", &path, ":::", "a"][..],
            &["-q", "--dir", &scratch, &local, ":::", "a"],
        ] {
            let done = run(words, "");
            let code = if printed.is_some() { 0 } else { 1 };
            assert_eq!(done.code, Some(code), "{name}: {done:?}");
            assert_eq!(done.output(), printed.unwrap_or(""), "{name}");
            let is_told = done.stderr.contains("Exec format error");
            assert_eq!(is_told, printed.is_none(), "{}", done.stderr);
        }
    }
}

#[test]
fn an_argument_with_a_nul_is_told_without_its_line_end() {
    let done = run(&["-q", "--json", "printf", "%s"], "a\0b\n");
    let expected = "failed: job 1: a\\u{0}b: the line contains a NUL byte\n";
    assert_eq!((done.code, done.stderr.as_str()), (Some(1), expected));
    let command = "\"command\":\"a\\u0000b\"";
    assert!(done.output().contains(command), "{}", done.output());
}
