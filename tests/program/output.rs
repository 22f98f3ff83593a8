//! What commands write: in one piece, in order, line by line; and what becomes of it when nobody reads.

use super::*;

#[test]
fn stdout_and_stderr_of_a_command_stay_together_and_in_order() {
    let mut list = String::new();
    for number in 0..40 {
        let _ = writeln!(
            list,
            "echo {number} a; echo {number} b >&2; /bin/echo {number} c; echo {number} d >&2"
        );
    }
    let done = run(&["-j", "8"], list);
    let output = done.output();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!((done.code, lines.len()), (Some(0), 160));
    for four in lines.chunks(4) {
        let number = four[0].split(' ').next().expect("a number");
        let expected = ["a", "b", "c", "d"].map(|letter| format!("{number} {letter}"));
        assert_eq!(four, expected);
    }
}

#[test]
fn output_is_passed_on_byte_by_byte() {
    let list = "printf 'no newline'\nprintf '\\0\\377'\nhead -c 3000000 /dev/zero\n";
    let done = run(&["-j", "1"], list);
    let expected = [&b"no newline\0\xff"[..], &vec![0; 3_000_000]].concat();
    assert_eq!(done.code, Some(0));
    assert!(done.stdout == expected, "{} bytes", done.stdout.len());
}

#[test]
fn a_message_has_a_line_of_its_own_wherever_stdout_and_stderr_are_one() {
    let scratch = Scratch::new();
    let list = "printf early; exit 3\nprintf late\n";
    let expected = "early\nfailed: line 1: printf early; exit 3: exit status 3\nlate\n\
        2 commands: 1 succeeded, 1 failed\n";
    let run = |command: &mut Command| {
        let finished = command.stdin(Input::bytes(list.as_bytes())).timeout(GUARD);
        Done::of(finished.finish().expect("the program starts")).stdout
    };
    let both = |target: File| {
        let other = target.try_clone().expect("a descriptor");
        let mut command = program(&["-j", "1"]);
        command.stdout(Output::file(target));
        run(command.stderr(Output::file(other)))
    };
    let mut command = program(&["-j", "1"]);
    command.stdout(Output::capture());
    let piped = run(command.stderr_to_stdout(true));
    assert_eq!(untimed(&text(&piped)), expected);
    let log = scratch.join("log");
    both(File::create(&log).expect("a file"));
    let log = fs::read_to_string(&log).expect("a log");
    assert_eq!(untimed(&log), expected);
    let (mut ours, its) = UnixStream::pair().expect("sockets");
    both(File::from(OwnedFd::from(its)));
    let mut sent = String::new();
    ours.read_to_string(&mut sent).expect("the socket");
    assert_eq!(untimed(&sent), expected);
}

#[test]
fn all_lines_are_whole_where_stdout_and_stderr_are_one_pipe() {
    let list = "seq -f 'LINE-%06.0f-END' 20000; false\n".repeat(20);
    for flag in ["--keep-order", "--stream", "--json"] {
        let mut command = program(&["-j", "4", "--retries", "1", flag]);
        command
            .stdin(Input::bytes(list.as_bytes()))
            .stdout(Output::capture())
            .stderr_to_stdout(true)
            .timeout(GUARD);
        let done = Done::of(command.finish().expect("the program starts"));
        let (mut messages, mut failures) = (0, 0);
        for line in done.output().lines() {
            let output = line.split_once(": ").map_or(line, |(_, output)| output);
            let is_message = line.ends_with(": exit status 1")
                || line.ends_with(": exit status 1; try 2 of 2")
                || line.starts_with("20 commands: ");
            let is_output = output.starts_with("LINE-") && output.len() == 15;
            let is_object = line.starts_with("{\"seq\":") && line.ends_with("-END\\n\"}");
            assert!(is_message || is_output || is_object, "{flag}: {line:.200}");
            messages += u32::from(is_message);
            failures += u32::from(line.starts_with("failed: "));
        }
        // Each was tried twice, and there is a summary.
        assert_eq!((messages, failures), (41, 20), "{flag}");
    }
}

/// Line 1 ends after line 3 has started, which is after line 2 has ended, as two run at once.
fn out_of_order(scratch: &Scratch) -> String {
    let gate = fifo(scratch, "gate");
    format!("read x <{gate}; echo first\necho second\necho >{gate}\n")
}

#[test]
fn an_output_is_printed_when_its_command_ends() {
    let scratch = Scratch::new();
    let list = out_of_order(&scratch);
    let done = run(&["-j", "2"], list);
    assert_eq!(
        (done.code, done.output().as_str()),
        (Some(0), "second\nfirst\n")
    );
}

#[test]
fn keep_order_prints_in_the_order_of_the_list() {
    let scratch = Scratch::new();
    let list = out_of_order(&scratch) + "a\0b\nexit 1\necho last\n";
    for flag in ["-k", "--keep-order"] {
        let done = run(&["-j", "2", flag], &list);
        assert_eq!(done.output(), "first\nsecond\nlast\n");
        assert_eq!(done.summary(), "6 commands: 4 succeeded, 2 failed");
    }
}

#[test]
fn keep_order_holds_back_no_more_than_its_limit() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    let told = fifo(&scratch, "told");
    let mark = scratch.join("mark").display().to_string();
    // Behind line 1, 70 MiB are held back: line 9 cannot start before that ends, and finds what it leaves.
    let mut list = format!("read x <{gate}; echo >{mark}; echo first\n");
    list += &"head -c 10485760 /dev/zero\n".repeat(6);
    let _ = writeln!(list, "head -c 10485760 /dev/zero; echo >{told}");
    let _ = writeln!(list, "test -e {mark} && echo last");
    let mut live = Live::start(&["-k", "-j", "2"]);
    live.list(&list);
    live.close_list();
    // The program has the time to make the mistake.
    shell(&format!("read x <{told}; sleep 0.2"))
        .run()
        .expect("line 8 ends");
    fs::write(&gate, "\n").expect("the gate");
    assert_eq!(live.output_line(), "first");
    let done = live.finish();
    assert_eq!(done.summary(), "9 commands: 9 succeeded, 0 failed");
    assert_eq!(done.stdout.len(), 7 * 10_485_760 + "last\n".len());
}

#[test]
fn stream_prints_each_line_as_it_is_written_behind_its_number() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    let mut live = Live::start(&["--stream", "-j", "2"]);
    live.list(&format!(
        "# numbers count every line\necho one; echo two >&2; read x <{gate}; printf end\n"
    ));
    assert_eq!(live.output_line(), "2: one");
    assert_eq!(live.output_line(), "2: two");
    live.list("echo other\n");
    assert_eq!(live.output_line(), "3: other");
    live.close_list();
    fs::write(&gate, "\n").expect("the gate");
    let done = live.finish();
    assert_eq!((done.code, done.output().as_str()), (Some(0), "2: end\n"));
}

#[test]
fn a_closed_stdout_ends_it_quietly_and_its_commands_are_killed() {
    for flags in [&["-j", "2"][..], &["-j", "2", "--stream"]] {
        let scratch = Scratch::new();
        let told = fifo(&scratch, "told");
        let mut live = Live::start(flags);
        live.list(&format!(
            "trap '' TERM; sleep 100000 & echo $$ $! >'{told}'; wait\n"
        ));
        let pids = fs::read_to_string(&told).expect("two pids");
        live.list("echo one\n");
        assert!(live.output_line().ends_with("one"));
        live.close_stdout();
        live.list("echo two\n");
        let done = live.finish_unread();
        assert_eq!(done.signal, Some(Signal::PIPE.number()), "{flags:?}");
        assert_eq!(done.stderr, "", "{flags:?}");
        assert_gone(pids.trim());
    }
}

#[test]
fn a_stdout_that_is_closed_for_commands_that_write_to_it_themselves_ends_it_as_well() {
    for second in ["exec /bin/echo two\n", "/bin/echo two; exit $?\n"] {
        let scratch = Scratch::new();
        let told = fifo(&scratch, "told");
        let mut live = Live::start(&["-j", "2", "--ungroup", "--retries", "1"]);
        live.list(&format!(
            "trap '' TERM; sleep 100000 & echo $$ $! >'{told}'; wait\n"
        ));
        let pids = fs::read_to_string(&told).expect("two pids");
        // A pipe of its own is no reason to end.
        live.list("/bin/echo one; kill -PIPE $$\n");
        assert_eq!(live.output_line(), "one");
        assert!(live.line(Stream::Stderr).contains("SIGPIPE; try 2 of 2"));
        assert_eq!(live.output_line(), "one");
        assert!(live.line(Stream::Stderr).ends_with("signal: SIGPIPE"));
        live.close_stdout();
        live.list(second);
        let done = live.finish_unread();
        assert_eq!(done.signal, Some(Signal::PIPE.number()), "{done:?}");
        assert_eq!(done.stderr, "", "{second:?}");
        assert_gone(pids.trim());
    }
}

#[test]
fn a_stdout_that_cannot_be_written_is_told_and_exit_status_1() {
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let mut command = program(&["-j", "1"]);
    command
        .stdin(Input::bytes(&b"echo one\nsleep 100000\n"[..]))
        .stdout(Output::file(full))
        .stderr(Output::capture());
    let done = Done::of(command.finish().expect("the program starts"));
    assert_eq!(done.code, Some(1));
    let told = "execloop: stdout: No space left on device\n";
    assert!(done.stderr.starts_with(told), "{done:?}");
}

#[test]
fn the_rest_of_the_output_is_written_before_the_end() {
    // The last write waits for a reader that comes late.
    let mut live = Live::start(&["-j", "1"]);
    live.list("head -c 5000000 /dev/zero\n");
    live.close_list();
    let done = live.finish();
    assert_eq!((done.code, done.stdout.len()), (Some(0), 5_000_000));
}

#[test]
fn a_file_that_may_not_grow_is_told_and_commands_have_the_signals_default() {
    let scratch = Scratch::new();
    let path = scratch.join("file").display().to_string();
    let program = env!("CARGO_BIN_EXE_execloop");
    let script = format!("ulimit -f 1; exec '{program}' run >'{path}'");
    let list = b"head -c 100000 /dev/zero\n";
    let done = finish(shell(&script).stdin(Input::bytes(&list[..])));
    assert_eq!(done.code, Some(1), "{done:?}");
    let told = "execloop: stdout: File too large\n";
    assert!(done.stderr.starts_with(told), "{done:?}");
    if is_ignored(Signal::XFSZ) {
        return;
    }
    let script = format!("ulimit -f 1; exec '{program}' run");
    let list = format!("exec head -c 100000 /dev/zero >'{path}'\n");
    let done = finish(shell(&script).stdin(Input::bytes(list.as_bytes())));
    assert!(done.stderr.contains(": signal: SIGXFSZ"), "{done:?}");
}

/// Lets time pass, in which the program could make a mistake.
fn let_time_pass() {
    shell("sleep 0.5").run().expect("it sleeps");
}

/// Until the program's loop sleeps, and nothing wakes it any more.
fn wait_until_idle(live: &Live) {
    let is_idle = || {
        let sleeps = live.proc_status("voluntary_ctxt_switches");
        let_time_pass();
        let is_asleep = live.proc_status("State").starts_with('S');
        is_asleep && live.proc_status("voluntary_ctxt_switches") == sleeps
    };
    assert!((0..100).any(|_| is_idle()), "it goes on and on");
}

fn kib(text: &str) -> u64 {
    let number = text.strip_suffix(" kB").expect("a size");
    number.trim().parse().expect("a number")
}

#[test]
fn stream_loses_no_line_while_nobody_reads_and_takes_no_more_memory() {
    // Together far more than pipes and the program hold; the time beyond the wait delay is that of a stalled pager.
    let mut live = Live::start(&["--stream", "-j", "40", "--wait-delay", "100ms"]);
    let (short, long) = ("seq 1 8000", "seq 1 300000");
    live.list(&format!("{short}\n{long}\n").repeat(30));
    live.close_list();
    assert!(live.output_line().contains(": "));
    let_time_pass();
    assert!(kib(&live.proc_status("VmHWM")) < 100 * 1024);
    let mut next = [0_u32; 61];
    let mut lines = 1;
    loop {
        let line = live.output_line();
        let Some((command, number)) = line.split_once(": ") else {
            assert_eq!(line, "");
            break;
        };
        let command: usize = command.parse().expect("a number");
        let number: u32 = number.parse().expect("a number");
        if next[command] == 0 && number == 2 {
            next[command] = 1;
        }
        next[command] += 1;
        assert_eq!(next[command], number, "command {command}");
        lines += 1;
    }
    let done = live.finish();
    assert_eq!(done.summary(), "60 commands: 60 succeeded, 0 failed");
    assert_eq!(lines, 30 * (8000 + 300_000));
}

#[test]
fn while_nobody_reads_messages_nothing_is_tried_again_and_what_waits_for_that_is_cancelled() {
    // A reason has the program's whole name in it, so that a dozen are more than the program holds.
    let long = format!("/no/{}{{}}", "x".repeat(100_000));
    let mut live = Live::start(&["-j", "1", "--retries", "100000", &long, ":::", "1"]);
    let mut told = live.line(Stream::Stderr) + "\n";
    wait_until_idle(&live);
    live.signal(Signal::TERM);
    // Before anything is read, which would let the next try begin.
    wait_until_idle(&live);
    let done = live.finish_unread();
    assert_eq!(done.signal, Some(Signal::TERM.number()));
    told += &done.stderr;
    let tries = told.lines().filter(|line| line.starts_with("retrying: "));
    let tries = tries.count();
    assert!(tries < 40, "{tries}");
    let counted = "1 command: 0 succeeded, 0 failed, 1 cancelled";
    assert!(done.summary().contains(counted), "{}", done.summary());
}

#[test]
fn while_nobody_reads_messages_no_further_command_starts_and_no_message_is_lost() {
    // A reason has the program's whole name in it, so that 60 are more than the program holds.
    let long = format!("/no/{}{{}}", "x".repeat(20_000));
    let numbers: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let mut words = vec!["-j", "1", &long, ":::"];
    words.extend(numbers.iter().map(String::as_str));
    let mut live = Live::start(&words);
    let mut told = live.line(Stream::Stderr) + "\n";
    wait_until_idle(&live);
    live.signal(Signal::TERM);
    let done = live.finish_unread();
    assert_eq!(done.signal, Some(Signal::TERM.number()));
    told += &done.stderr;
    let failures = told.lines().filter(|line| line.starts_with("failed: "));
    let failures = failures.count();
    assert!(failures < 80, "{failures}");
    let counted = format!(" 0 succeeded, {failures} failed");
    assert!(done.summary().contains(&counted), "{}", done.summary());
}

#[test]
fn a_large_output_does_not_stay_in_memory() {
    let program = env!("CARGO_BIN_EXE_execloop");
    let list = "head -c 300000000 /dev/zero\necho; grep VmHWM /proc/$PPID/status\n";
    let run = format!("'{program}' run -k -j 1");
    let script = format!("{run} | {{ head -c 300000000 | wc -c; cat; }}");
    let done = finish(shell(&script).stdin(Input::bytes(list.as_bytes())));
    let output = done.output();
    let (count, rest) = output.split_once("\n\n").expect("two outputs");
    assert_eq!(count, "300000000");
    let resident = rest.strip_prefix("VmHWM:").expect("a size").trim();
    assert!(kib(resident) < 100 * 1024, "{resident}");
    assert_eq!(done.summary(), "2 commands: 2 succeeded, 0 failed");
}

#[test]
fn an_output_that_cannot_be_kept_is_a_failure_and_its_command_is_gone() {
    let mut live = Live::of(program(&["-j", "1"]).env("TMPDIR", "/no/such/directory"));
    live.list("head -c 3000000 /dev/zero\nhead -c 1000 /dev/zero\n");
    live.close_list();
    let done = live.finish();
    assert_eq!(done.code, Some(1));
    let directory = "/no/such/directory (TMPDIR)";
    let reason = format!("its output could not be kept in {directory}: No such file or directory");
    let expected = format!(
        "failed: line 1: head -c 3000000 /dev/zero: {reason}\n\
        2 commands: 1 succeeded, 1 failed\n"
    );
    assert_eq!(done.told(), expected);
    // What was written before is not thrown away.
    assert!(done.stdout.len() > 1000, "{}", done.stdout.len());
}

#[test]
fn a_stdout_or_stdin_that_is_closed_at_the_start_is_told() {
    let program = env!("CARGO_BIN_EXE_execloop");
    for (closed, code, name) in [(">&-", 1, "stdout"), ("<&-", 2, "stdin")] {
        let done = finish(&mut shell(&format!("exec '{program}' run {closed}")));
        assert_eq!(done.code, Some(code));
        assert_eq!(
            done.stderr,
            format!("execloop: {name}: Bad file descriptor\n")
        );
    }
    let done = finish(&mut shell(&format!(
        "echo echo yes | '{program}' run 2>&-; exec '{program}' run /dev/null <&-"
    )));
    assert_eq!((done.code, done.output().as_str()), (Some(0), "yes\n"));
}

#[test]
fn on_terminals_of_their_own_commands_write_as_on_ours() {
    let list = "test -t 1 && test -t 2 && ! test -t 0 && stty size <&2\n";
    let done = run(&["--tty"], list);
    assert_eq!(
        (done.code, done.output().as_str()),
        (Some(0), "24 80\n"),
        "{done:?}"
    );
    let piped = run(&["--quiet"], "test -t 1 || test -t 2 || echo no\n");
    assert_eq!(piped.output(), "no\n");
    // As large as the program's own.
    let size = TerminalSize {
        rows: 30,
        columns: 100,
    };
    let mut command = program(&["--tty", "--quiet", "--stream"]);
    command
        .stdin(Input::bytes(*b"stty size <&1\n"))
        .stdout(Output::capture().raw_terminal(size));
    let done = command.finish().expect("it starts");
    assert_eq!(text(&done.stdout), "1: 30 100\n");
}

#[test]
fn results_of_commands_on_terminals_are_kept_apart() {
    let scratch = Scratch::new();
    let results = scratch.join("results").display().to_string();
    let list = "test -t 1 && echo out; test -t 2 && echo err >&2\n";
    let done = run(&["--tty", "--results", &results], list);
    assert_eq!(done.code, Some(0), "{done:?}");
    let kept = |name: &str| fs::read_to_string(scratch.join("results/1").join(name));
    assert_eq!(kept("stdout").expect("a file"), "out\n");
    assert_eq!(kept("stderr").expect("a file"), "err\n");
}

#[test]
fn results_of_more_than_there_are_descriptors_for_wait_until_others_have_ended() {
    let scratch = Scratch::new();
    let (gate, mut release) = gate(&scratch);
    let results = scratch.join("results");
    let script = format!(
        "ulimit -n 64; exec '{}' run -s -j 100 --results '{}'",
        env!("CARGO_BIN_EXE_execloop"),
        results.display()
    );
    let mut live = Live::of(&mut shell(&script));
    live.list(&format!("echo up; read x <{gate}; exit 3\n").repeat(100));
    live.close_list();
    // By the fourth, the program has come upon the limit: none ends before the gate is open.
    for _ in 0..4 {
        assert!(live.output_line().ends_with(": up"));
    }
    release.write_all(&[b'\n'; 100]).expect("the gate");
    let done = live.finish();
    assert_eq!(
        done.summary(),
        "100 commands: 0 succeeded, 100 failed",
        "{done:?}"
    );
    for number in 1..=100 {
        let kept = |name: &str| {
            let file = results.join(number.to_string()).join(name);
            fs::read_to_string(file).expect("a file")
        };
        assert_eq!(kept("stdout"), "up\n", "{number}");
        assert_eq!(kept("status"), "exit status 3\n", "{number}");
    }
    let reasons = done.stderr.lines().filter(|line| line.contains("failed: "));
    assert!(
        reasons
            .clone()
            .all(|line| line.ends_with(": exit status 3")),
        "{done:?}"
    );
    assert_eq!(reasons.count(), 100, "{done:?}");
}
