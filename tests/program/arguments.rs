//! Commands with places for arguments, and where the arguments come from.

use super::*;

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
