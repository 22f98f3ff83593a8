//! A bound for every test binary: what hangs becomes a failure that names the tests that were running.
//! Unaware of what the tests do; it starts by itself, before the first of them.
#![allow(
    unsafe_code,
    reason = "a function to run before main has to be named to the linker"
)]

use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// How long all tests of one binary may take together, many times what they do. `EXECLOOP_TEST_SECONDS` says otherwise,
/// for tests that are to run for longer; 0 is no bound.
const SECONDS: u64 = 15 * 60;

// SAFETY: the linker's list of functions that run before main; ours takes no arguments and returns.
#[used]
#[cfg(not(miri))]
#[cfg_attr(
    target_vendor = "apple",
    unsafe(link_section = "__DATA,__mod_init_func")
)]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static START: extern "C" fn() = start;

#[cfg_attr(
    miri,
    expect(dead_code, reason = "Miri's clock is not the one to watch")
)]
extern "C" fn start() {
    let seconds = std::env::var("EXECLOOP_TEST_SECONDS");
    let seconds = seconds.map_or(Ok(SECONDS), |text| text.parse());
    match seconds {
        // It only lists its tests.
        _ if std::env::args_os().any(|argument| argument == "--list") => {}
        Ok(0) => {}
        Ok(seconds) => {
            std::thread::spawn(move || watch(Duration::from_secs(seconds)));
        }
        Err(_) => panic!("EXECLOOP_TEST_SECONDS is no number"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no test waits for this, but the end of all of them for a test that hangs"
)]
fn watch(bound: Duration) {
    std::thread::sleep(bound);
    eprintln!(
        "\nHANGS: the tests of this binary are not over after {bound:?}. Running, or named alike:"
    );
    for test in running() {
        eprintln!("    {test}");
    }
    std::process::abort();
}

/// The tests that run now. Each has a thread of its name, of which the system keeps the first 15 bytes: where several tests
/// begin alike, all of them are told. Without threads for tests, the harness has told the name before it began.
fn running() -> Vec<String> {
    let tests = all_tests();
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    let mut running = Vec::new();
    for thread in threads.flatten() {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let name = name.trim_end_matches('\n');
        let is_it = |test: &&String| {
            test.as_bytes()
                .get(..15)
                .map_or(test.as_str() == name, |begin| begin == name.as_bytes())
        };
        running.extend(tests.iter().filter(is_it).cloned());
    }
    running.sort();
    running.dedup();
    running
}

/// The names of all tests of this binary, as it tells them itself.
fn all_tests() -> Vec<String> {
    let program = std::env::current_exe().unwrap_or_default();
    let listed = Command::new(program)
        .args([OsString::from("--list")])
        .output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let names = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    names.map(str::to_owned).collect()
}
