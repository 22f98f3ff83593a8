//! A test that hangs is ended, and named; every test binary is watched; and no part that tests share is left over.
//! Unaware of what may hang, and of what the parts are for.

#[path = "common/watchdog.rs"]
mod watchdog;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
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
            let is_watched = |line: &str| line.trim() == "mod watchdog;";
            assert!(text.lines().any(is_watched), "{path:?} is not");
            files += 1;
        }
    }
    assert!(files > 10, "{files}");
}

/// All files of the tests.
fn test_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the tests") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The name that a line defines for others, if it does.
fn defined(line: &str) -> Option<&str> {
    let kinds = ["pub fn ", "pub struct ", "pub enum ", "pub const "];
    let line = line.trim_start();
    let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
    rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .next()
}

/// Each test binary uses the part that it needs of `tests/common`, so the compiler cannot tell that none needs some part.
#[test]
fn every_part_that_tests_share_is_used() {
    let files: Vec<(PathBuf, String)> = test_files()
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).expect("text")))
        .collect();
    let mut parts = 0;
    for (path, text) in &files {
        if !path
            .parent()
            .is_some_and(|folder| folder.ends_with("common"))
        {
            continue;
        }
        for (line, name) in text.lines().filter_map(|line| Some((line, defined(line)?))) {
            parts += 1;
            // A method is called by a dot or by its type; a function's name may be all there is.
            let is_method = line.starts_with(' ');
            let is_use = |other: &&str| {
                *other != line
                    && other.match_indices(name).any(|(at, _)| {
                        let (before, after) = (&other[..at], &other[at + name.len()..]);
                        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
                        let is_whole = !before.ends_with(is_part) && !after.starts_with(is_part);
                        is_whole && (!is_method || before.ends_with(['.', ':']))
                    })
            };
            let is_used = files
                .iter()
                .any(|(_, text)| text.lines().any(|line| is_use(&line)));
            assert!(is_used, "{path:?}: nothing uses {name}");
        }
    }
    assert!(parts > 30, "{parts}");
}
