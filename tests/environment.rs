//! What environment and directory a child gets, as the child itself sees them.
//! Unaware of how programs are found.

#[path = "common"]
mod common {
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod scratch;
    pub mod text;
    mod watchdog;
}

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::finish::finish;
use common::helper::helper;
use common::scratch::Scratch;
use common::text::text;
use execloop::{Command, Output};

/// The entries that the command's child has, in their order.
#[track_caller]
fn entries(command: &mut Command) -> Vec<String> {
    let done = finish(command.stdout(Output::capture()).stderr(Output::capture()));
    assert!(done.success(), "{:?}\n{}", done.outcome, text(&done.stderr));
    text(&done.stdout).lines().map(str::to_owned).collect()
}

/// The child's entries, which must be what `Command::environment` foretells (statement 25).
#[track_caller]
fn foretold_entries(command: &mut Command) -> Vec<String> {
    let found = entries(command);
    assert_eq!(found, lossy(command.environment()));
    found
}

fn lossy(entries: Vec<OsString>) -> Vec<String> {
    entries
        .iter()
        .map(|entry| entry.to_string_lossy().into_owned())
        .collect()
}

/// A child whose environment, and whose parent's, is known: the entries given, of a command that inherits nothing.
fn with_entries(given: &[&str]) -> Command {
    let mut command = helper("environ");
    command.env_entries(given);
    command
}

fn own() -> Vec<String> {
    lossy(
        std::env::vars_os()
            .map(|(key, value)| [key, value].join(OsStr::new("=")))
            .collect(),
    )
}

// Statement 20.
#[test]
fn environment_is_the_parents_by_default() {
    assert_eq!(foretold_entries(&mut helper("environ")), own());
}

// Statement 20.
#[test]
fn empty_environment_is_truly_empty() {
    assert!(foretold_entries(helper("environ").env_clear()).is_empty());
    assert!(foretold_entries(&mut with_entries(&[])).is_empty());
    assert!(foretold_entries(helper("environ").env("A", "1").env_clear()).is_empty());
}

#[test]
fn variables_are_added_to_the_parents_and_taken_from_them() {
    let mut expected = own();
    expected.push("EXECLOOP_ONE=1".to_owned());
    expected.push("EXECLOOP_TWO=2".to_owned());
    let mut command = helper("environ");
    command.envs([("EXECLOOP_ONE", "1"), ("EXECLOOP_TWO", "2")]);
    assert_eq!(foretold_entries(&mut command), expected);

    command.env_remove("EXECLOOP_ONE").env_remove("PATH");
    expected.retain(|entry| !entry.starts_with("EXECLOOP_ONE=") && !entry.starts_with("PATH="));
    assert_eq!(foretold_entries(&mut command), expected);
}

// Statement 21.
#[test]
fn directory_sets_pwd_where_the_environment_is_inherited() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("sub")).expect("a directory");
    symlink(scratch.join("sub"), scratch.join("link")).expect("a link");
    let sub = scratch.join("sub");
    let (root, sub) = (&*scratch, sub.as_path());
    let cases = [
        (sub.to_owned(), sub.to_owned()),
        (root.join("sub/"), sub.to_owned()),
        (root.join("./sub/."), sub.to_owned()),
        (root.join("sub/.."), root.to_owned()),
        (root.join("link"), root.join("link")),
        // What is above the link's place is not above its target.
        (root.join("link/../sub"), sub.to_owned()),
        (".".into(), std::env::current_dir().expect("a directory")),
    ];
    for (directory, expected) in cases {
        let mut command = helper("environ");
        command.current_dir(&directory);
        let found = foretold_entries(&mut command);
        let expected = format!("PWD={}", expected.display());
        assert_eq!(found.last(), Some(&expected), "{}", directory.display());
        let count = found
            .iter()
            .filter(|entry| entry.starts_with("PWD="))
            .count();
        assert_eq!(count, 1, "{found:?}");
    }
}

// Statement 21.
#[test]
fn child_runs_in_the_directory_that_pwd_names() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("sub")).expect("a directory");
    for directory in ["sub", "sub/..", "."] {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "pwd; pwd -P"])
            .current_dir(scratch.join(directory));
        let printed = text(&command.output().expect("it runs"));
        let real = fs::canonicalize(scratch.join(directory)).expect("a directory");
        assert_eq!(
            printed,
            format!("{0}\n{0}\n", real.display()),
            "{directory}"
        );
    }
}

// Statement 21.
#[test]
fn relative_directory_of_a_command_that_is_run_again_is_that_of_now() {
    let scratch = Scratch::new();
    let mut expected = String::new();
    for place in ["one/sub", "two/sub"] {
        fs::create_dir_all(scratch.join(place)).expect("directories");
        let real = fs::canonicalize(scratch.join(place)).expect("a directory");
        expected += &format!("PWD={}\n", real.display());
    }
    let real = fs::canonicalize(&*scratch).expect("a directory");
    let printed = text(
        &helper("moving")
            .current_dir(real)
            .output()
            .expect("it runs"),
    );
    let lines = printed.split_inclusive('\n');
    let named: String = lines.filter(|line| line.starts_with("PWD=")).collect();
    assert_eq!(named, expected);
}

// Statement 21.
#[test]
fn environment_that_is_given_keeps_its_pwd() {
    let directory = Path::new("/");
    let given = ["A=1", "PWD=/given"];
    assert_eq!(
        foretold_entries(with_entries(&given).current_dir(directory)),
        given
    );
    assert_eq!(
        foretold_entries(with_entries(&["A=1"]).current_dir(directory)),
        ["A=1"]
    );
    assert!(foretold_entries(helper("environ").env_clear().current_dir(directory)).is_empty());
    // As is one that was set or removed by name.
    let mut command = helper("environ");
    let found = foretold_entries(command.current_dir(directory).env("PWD", "/named"));
    assert_eq!(found.last().map(String::as_str), Some("PWD=/named"));
    let found = foretold_entries(command.env_remove("PWD"));
    assert!(
        !found.iter().any(|entry| entry.starts_with("PWD=")),
        "{found:?}"
    );
}

// Statement 21: a directory that has no absolute path is told as such.
#[test]
fn relative_directory_in_a_lost_one_is_refused() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("lost")).expect("a directory");
    let done = finish(
        helper("start-in-lost-directory")
            .arg(scratch.join("lost"))
            .stdout(Output::capture())
            .stderr_to_stdout(true),
    );
    let printed = text(&done.stdout);
    let expected = "/bin/true: absolute path of directory \"sub\": No such file or directory\nStart(Directory ";
    assert!(printed.starts_with(expected), "{printed}");
}

// Statement 22.
#[test]
fn last_value_of_a_key_wins_and_keeps_the_last_position() {
    let found = foretold_entries(&mut with_entries(&["k1=v1", "K1=V2", "k1=v3"]));
    assert_eq!(found, ["K1=V2", "k1=v3"]);
    let mut command = helper("environ");
    command
        .env_clear()
        .env("a", "1")
        .env("b", "2")
        .env("a", "3")
        .env("A", "4");
    assert_eq!(foretold_entries(&mut command), ["b=2", "a=3", "A=4"]);
    // Also where the first stands in the parent's environment.
    let mut command = helper("environ");
    let found = foretold_entries(command.env("PATH", "/changed"));
    assert_eq!(found.last().map(String::as_str), Some("PATH=/changed"));
    assert_eq!(found.len(), own().len());
}

// Statement 23.
#[test]
fn odd_entries_are_passed_on() {
    let found = foretold_entries(&mut with_entries(&[
        "dodgy", "a=b", "dodgy", "", "=x=1", "=x=2",
    ]));
    assert_eq!(found, ["dodgy", "a=b", "dodgy", "=x=2"]);
    let found = foretold_entries(&mut with_entries(&["=a", "=b", "empty=", "e=f=g"]));
    assert_eq!(found, ["=b", "empty=", "e=f=g"]);
}

#[test]
fn entries_need_not_be_text() {
    let mut command = helper("environ");
    command
        .env_clear()
        .env(OsStr::from_bytes(b"K\xff"), OsStr::from_bytes(b"v\xfe"));
    let done = finish(command.stdout(Output::capture()));
    assert_eq!(done.stdout, b"K\xff=v\xfe\n");
}

// Statements 24 and 25: what cannot be passed on is left out of the list, and refused at the start.
#[test]
fn entry_with_nul_is_left_out_of_the_list_and_refused_at_the_start() {
    let mut command = with_entries(&["A=1", "B=b\0d", "C=3"]);
    assert_eq!(lossy(command.environment()), ["A=1", "C=3"]);
    let error = command.run().expect_err("NUL");
    assert_eq!(
        error.reason().to_string(),
        "environment contains a NUL byte"
    );
}
