//! A test that hangs is ended, and named; and every test binary is watched.
//! Unaware of what may hang.

#[path = "common/watchdog.rs"]
mod watchdog;

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "hangs: the next test runs it"]
fn hangs_for_ever() {
    let (mut silence, _writer) = io::pipe().expect("a pipe");
    silence.read_exact(&mut [0]).expect("nobody writes");
}

#[test]
fn hang_is_ended_and_named() {
    let myself = std::env::current_exe().expect("our own path");
    for threads in ["1", "2"] {
        let run = Command::new(&myself)
            .args(["--ignored", "--exact", "hangs_for_ever"])
            .args(["--test-threads", threads])
            .env("EXECLOOP_TEST_SECONDS", "1")
            .output()
            .expect("it runs");
        assert!(!run.status.success());
        let told = [run.stdout, run.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains("HANGS"), "{told}");
        assert!(told.contains("hangs_for_ever"), "{told}");
        assert!(!told.contains("hang_is_ended"), "{told}");
    }
}

#[test]
fn every_test_binary_is_watched() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = 0;
    for entry in fs::read_dir(directory).expect("the tests") {
        let mut path = entry.expect("an entry").path();
        if path.join("main.rs").exists() {
            path.push("main.rs");
        }
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let is_watched = |line: &str| matches!(line, "mod common;" | "mod watchdog;");
            assert!(text.lines().any(is_watched), "{path:?} is not");
            files += 1;
        }
    }
    assert!(files > 10, "{files}");
}
