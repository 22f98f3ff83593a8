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
    let results = full_results(&scratch, "status");
    let [log, events, page] =
        ["log", "events", "page"].map(|name| scratch.join(name).display().to_string());
    let records = ["--results", &results, "--joblog", &log];
    let pictures = ["--trace", &events, "--timeline", &page];
    let command = ["sh", "-c", "echo $0", ":::", "a"];
    let done = run(
        &[&records[..], &pictures, &["--json"], &command].concat(),
        "",
    );
    let reason = "its results could not be kept: No space left on device";
    let told =
        format!("failed: job 1: sh -c 'echo $0' a: {reason}\n1 command: 0 succeeded, 1 failed\n");
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
    fs::remove_file(Path::new(&results).join("1/status")).expect("the link");
    let again = run(&[&records[..], &["--resume-failed"], &command].concat(), "");
    assert_eq!(again.told(), "1 command: 1 succeeded, 0 failed\n");
}
