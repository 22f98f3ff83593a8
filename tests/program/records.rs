//! Records: what they say of a command that has lost its results, and whose they are.

use super::*;
use std::os::unix::fs::symlink;

/// Results of the first command, of which this one's file takes no byte.
fn full_results(scratch: &Scratch, file: &str) -> String {
    let results = scratch.join("results");
    fs::create_dir_all(results.join("1")).expect("a directory");
    symlink("/dev/full", results.join("1").join(file)).expect("a link");
    results.display().to_string()
}

#[test]
fn a_command_whose_results_are_lost_has_failed_in_every_record_and_is_resumed() {
    let scratch = Scratch::new();
    let results = scratch.join("results").display().to_string();
    let [log, events, page] =
        ["log", "events", "page"].map(|name| scratch.join(name).display().to_string());
    let records = ["--results", &results, "--joblog", &log];
    let pictures = ["--trace", &events, "--timeline", &page];
    let command = ["sh", "-c", "echo $0; $SPOIL", ":::", "a"];
    let spoil = format!("ln -s /dev/full {results}/1/status");
    let words = [&records[..], &pictures, &["--json"], &command].concat();
    let done = finish(program(&words).env("SPOIL", spoil));
    let reason = "its results could not be kept: No space left on device";
    let told = format!(
        "failed: job 1: sh -c 'echo $0; $SPOIL' a: {reason}\n1 command: 0 succeeded, 1 failed\n"
    );
    assert_eq!((done.code, done.told()), (Some(1), told));
    let object = format!("\"outcome\":\"failed\",\"reason\":\"{reason}\",\"status\":0,");
    assert!(done.output().contains(&object), "{done:?}");
    assert!(
        done.output().ends_with("\"output\":\"a\\n\"}\n"),
        "{done:?}"
    );
    let kept = |path: &String| fs::read_to_string(path).expect("a record");
    let last = kept(&log).lines().last().expect("a line").to_owned();
    let columns: Vec<&str> = last.split('\t').collect();
    assert_eq!(columns[6..8], ["-1", "0"], "{last}");
    assert!(kept(&events).contains("\"outcome\":\"failed\""));
    assert!(kept(&page).contains(reason));
    let again = run(&[&records[..], &["--resume-failed"], &command].concat(), "");
    assert_eq!(again.told(), "1 command: 1 succeeded, 0 failed\n");
}

#[test]
fn a_status_of_an_earlier_run_is_gone_while_the_command_runs_again() {
    let scratch = Scratch::new();
    let results = scratch.join("results").display().to_string();
    let status = scratch.join("results/1/status");
    let first = run(&["-q", "--results", &results, "true #", ":::", "1"], "");
    assert_eq!(first.code, Some(0), "{first:?}");
    let kept = || fs::read_to_string(&status).expect("a status");
    assert_eq!(kept(), "exit status 0\n");
    let (gate, mut release) = gate(&scratch);
    let mut live = Live::start(&["-s", "--results", &results]);
    live.list(&format!("echo up; read x <{gate}; exit 3\n"));
    assert_eq!(live.output_line(), "1: up");
    assert!(!status.exists(), "{}", kept());
    release.write_all(b"\n").expect("the gate");
    live.close_list();
    assert_eq!(live.finish().code, Some(1));
    assert_eq!(kept(), "exit status 3\n");
}

#[test]
fn a_full_disk_below_the_results_is_told_also_of_a_command_that_dies_of_the_closed_pipe() {
    for file in ["stdout", "stderr"] {
        let scratch = Scratch::new();
        let results = full_results(&scratch, file);
        for script in [
            "exec seq 100000",
            "exec seq 100000 >&2",
            "seq 10; seq 10 >&2",
        ] {
            let done = run(&["--results", &results, "exec sh -c {}", ":::", script], "");
            let is_lost = script.starts_with("seq") || script.ends_with("&2") == (file == "stderr");
            let reason = "its results could not be kept: No space left on device";
            assert_eq!(
                done.told().contains(reason),
                is_lost,
                "{file}, {script}: {}",
                done.stderr
            );
            assert_eq!(done.code, Some(i32::from(is_lost)), "{file}, {script}");
        }
    }
}

#[test]
fn the_other_records_may_be_in_the_directory_of_the_results_which_is_made_for_them() {
    let scratch = Scratch::new();
    let results = scratch.join("results");
    let names = ["", "log", "events", "page"];
    let [directory, log, events, page] = names.map(|name| results.join(name).display().to_string());
    let records = ["--results", &directory, "--joblog", &log];
    let pictures = ["--trace", &events, "--timeline", &page];
    let command = ["echo", ":::", "a"];
    let dry = run(&[&records[..], &["--dry-run"], &command].concat(), "");
    assert!(dry.code == Some(0) && !results.exists(), "{dry:?}");
    let done = run(&[&records[..], &pictures, &command].concat(), "");
    assert_eq!(
        (done.code, done.told()),
        (Some(0), "1 command: 1 succeeded, 0 failed\n".to_owned())
    );
    for name in ["1/stdout", "log", "events", "page"] {
        assert!(results.join(name).exists(), "{name}");
    }
}

#[test]
fn a_command_whose_output_could_not_be_written_is_in_no_job_log_and_is_resumed() {
    let scratch = Scratch::new();
    let log = scratch.join("log").display().to_string();
    for flags in [&[][..], &["-k"], &["-s"]] {
        let _ = fs::remove_file(&log);
        let words = ["-q", "-j", "1", "--joblog", &log, "echo", ":::", "1", "2"];
        let full = OpenOptions::new().write(true).open("/dev/full");
        let mut command = program(&[flags, &words].concat());
        command.stdout(Output::file(full.expect("a device")));
        let lost = Done::of(command.timeout(GUARD).finish().expect("it starts"));
        assert_eq!(lost.code, Some(1), "{lost:?}");
        let text = fs::read_to_string(&log).expect("a log");
        assert_eq!(text.lines().count(), 1, "{flags:?}: {text}");
        let again = run(&[flags, &["--resume"], &words].concat(), "");
        let lines = again.output();
        assert_eq!(lines.lines().count(), 2, "{flags:?}: {again:?}");
        let text = fs::read_to_string(&log).expect("a log");
        assert_eq!(text.lines().count(), 3, "{flags:?}: {text}");
    }
}

#[test]
fn a_command_whose_output_is_held_back_is_in_no_job_log_and_is_resumed() {
    let scratch = Scratch::new();
    let [log, again] = ["log", "again"].map(|name| scratch.join(name).display().to_string());
    let ended = fifo(&scratch, "ended");
    let (gate, _release) = gate(&scratch);
    // The last says that all but the first have ended.
    let line = format!(
        "[ -e '{again}' ] || case {{}} in 1) read x <'{gate}';; 50) echo >'{ended}';; esac; echo {{}}"
    );
    let numbers: Vec<String> = (1..=50).map(|number| number.to_string()).collect();
    let mut words = vec!["-q", "-k", "-j", "2", "--joblog", &log, &line, ":::"];
    words.extend(numbers.iter().map(String::as_str));
    let mut live = Live::start(&words);
    fs::read_to_string(&ended).expect("the last one");
    live.signal(Signal::KILL);
    let killed = live.finish();
    assert_eq!(killed.output(), "", "{killed:?}");
    let text = fs::read_to_string(&log).expect("a log");
    assert_eq!(text.lines().count(), 1, "{text}");
    fs::write(&again, "").expect("a file");
    words.insert(0, "--resume");
    let resumed = run(&words, "");
    assert_eq!(resumed.output(), numbers.join("\n") + "\n", "{resumed:?}");
}

#[test]
fn records_are_of_one_run_at_a_time() {
    let scratch = Scratch::new();
    let log = scratch.join("log").display().to_string();
    let results = scratch.join("results").display().to_string();
    let mut live = Live::start(&["-s", "--joblog", &log, "--results", &results]);
    live.list("echo up\n");
    assert_eq!(live.output_line(), "1: up");
    for (flag, path) in [("--joblog", &log), ("--results", &results)] {
        let done = run(&[flag, path, "echo", ":::", "no"], "");
        let told = format!("execloop: {path}: in use by another execloop\n");
        assert_eq!((done.code, done.stderr), (Some(2), told), "{flag}");
        assert_eq!(done.stdout, b"");
        // Who runs nothing disturbs nobody.
        let dry = run(&["--dry-run", flag, path, "echo", ":::", "a"], "");
        assert_eq!((dry.code, dry.output().as_str()), (Some(0), "echo a\n"));
    }
    live.list("echo still\n");
    live.close_list();
    assert_eq!(live.finish().code, Some(0));
    let text = fs::read_to_string(&log).expect("a log");
    assert_eq!(text.lines().count(), 3, "{text}");
    let next = run(&["--joblog", &log, "--resume", "true", ":::", "1", "2"], "");
    assert_eq!(next.code, Some(0), "{next:?}");
    // A device is everybody's.
    let mut first = Live::start(&["-s", "--joblog", "/dev/null"]);
    first.list("echo up\n");
    assert_eq!(first.output_line(), "1: up");
    let done = run(&["--joblog", "/dev/null", "true", ":::", "a"], "");
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn what_others_write_to_a_job_log_meanwhile_stays() {
    let scratch = Scratch::new();
    let log = scratch.join("log").display().to_string();
    let mut live = Live::start(&["-s", "--joblog", &log]);
    live.list("echo up\n");
    assert_eq!(live.output_line(), "1: up");
    let mut others = OpenOptions::new().append(true).open(&log).expect("a log");
    others.write_all(b"mine\n").expect("a line");
    live.list("echo still\n");
    live.close_list();
    assert_eq!(live.finish().code, Some(0));
    let text = fs::read_to_string(&log).expect("a log");
    let whole = |line: &str| line == "mine" || line.split('\t').count() == 9;
    assert!(
        text.lines().count() == 4 && text.lines().all(whole),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_job_log_is_not_resumed_and_stays() {
    let scratch = Scratch::new();
    let log = scratch.join("log").display().to_string();
    fs::write(&log, "echo precious\n").expect("a file");
    for flag in ["--resume", "--resume-failed"] {
        let done = run(&["--joblog", &log, flag, "echo", ":::", "a"], "");
        let told = format!("execloop: {log}: no job log, so there is nothing to resume\n");
        assert_eq!((done.code, done.stderr), (Some(2), told), "{flag}");
        let text = fs::read_to_string(&log).expect("a file");
        assert_eq!(text, "echo precious\n");
    }
    // The beginning of a header is what is left of a log whose run was killed.
    for text in ["", "Seq\tHo"] {
        fs::write(&log, text).expect("a file");
        let done = run(&["--joblog", &log, "--resume", "echo", ":::", "a"], "");
        assert_eq!(done.output(), "a\n", "{done:?}");
        let text = fs::read_to_string(&log).expect("a file");
        assert!(
            text.starts_with("Seq\tHost\t") && text.lines().count() == 2,
            "{text}"
        );
    }
}

#[test]
fn what_is_left_out_of_an_output_is_counted_and_no_note_is_taken_for_output() {
    let scratch = Scratch::new();
    let [log, results] = ["log", "results"].map(|name| scratch.join(name).display().to_string());
    let records = [
        "--output-limit",
        "3",
        "--joblog",
        &log,
        "--results",
        &results,
    ];
    let command = ["-q", "printf abcde; printf 12 >&2", ":::", "a"];
    for (flags, expected) in [
        (&[][..], "execloop: 2 more bytes are left out\n"),
        (&["--tag"], "\ta\texecloop: 2 more bytes are left out\n"),
        (&["--stream"], "\n1: execloop: 2 more bytes are left out\n"),
        (&["--json"], ",\"output_cut\":2,\"output\":\"abc12\"}\n"),
    ] {
        let done = run(&[&records[..], flags, &command].concat(), "");
        assert_eq!(done.code, Some(0), "{done:?}");
        let output = done.output();
        let expected = expected.trim_start_matches('\t');
        assert!(output.contains(expected), "{flags:?}: {output}");
        assert_eq!(
            output.matches("left out").count(),
            usize::from(flags != ["--json"])
        );
        let kept = |name: &str| fs::read_to_string(Path::new(&results).join("1").join(name));
        assert_eq!(kept("stdout").expect("a file"), "abc", "{flags:?}");
        assert_eq!(kept("stderr").expect("a file"), "12", "{flags:?}");
    }
    let text = fs::read_to_string(&log).expect("a log");
    assert_eq!(
        text.lines().last().and_then(|line| line.split('\t').nth(5)),
        Some("7")
    );
    let whole = run(&["-q", "--output-limit", "3", "printf abc", ":::", "a"], "");
    assert_eq!(whole.output(), "abc");
}
