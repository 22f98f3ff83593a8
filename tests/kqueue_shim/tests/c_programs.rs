//! C programs in `tests/c`, written as for FreeBSD, linked with the static library.
//! Unaware of what they check: each says so by its exit status.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The static library that cargo built beside these tests: the newest of its name.
fn library() -> PathBuf {
    let tests = std::env::current_exe().expect("a path");
    let folder = tests.parent().expect("a folder");
    let entries = std::fs::read_dir(folder).expect("a folder");
    let libraries = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?;
        let is_it = name.starts_with("libkqueue_shim") && name.ends_with(".a");
        let made = path.metadata().ok()?.modified().ok()?;
        is_it.then_some((made, path))
    });
    let newest = libraries.max().expect("libkqueue_shim*.a beside the tests");
    newest.1
}

/// Compiles one program and runs it. Without gcc, says so and does nothing.
#[track_caller]
fn run(name: &str, force: &str) {
    if Command::new("gcc").arg("--version").output().is_err() {
        eprintln!("skipped: no gcc to compile {name}.c with");
        return;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let compiled = Command::new("gcc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(here.join("include"))
        .arg("-o")
        .arg(&program)
        .arg(here.join("tests/c").join(name).with_extension("c"))
        .arg(library())
        .args(["-lpthread", "-ldl", "-lm", "-lgcc_s"])
        .output()
        .expect("gcc");
    let errors = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{errors}");
    let ran = Command::new(&program)
        .env("KQUEUE_SHIM_FORCE", force)
        .output()
        .expect("the program");
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{name}: {}: {errors}", ran.status);
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(told.starts_with(&format!("{name}: ")), "{told}");
}

#[test]
fn children_are_told_and_reaped() {
    run("children", "");
}

#[test]
fn bytes_pass_through_a_child() {
    run("copy", "");
}

#[test]
fn timers_and_user_events_come_at_their_turn() {
    run("timers", "");
}

#[test]
fn a_closed_queue_leaves_nothing() {
    run("lifetime", "");
}

#[test]
fn the_environment_forces_races() {
    run("forced", "interrupted/2,early/1,gone/3");
}
