//! What a command tells of itself before it runs: its getters, and the line that a shell would take.
//! Unaware of starts and of what comes of them.

#[path = "common"]
mod common {
    pub mod finish;
    pub mod shell;
    mod watchdog;
}

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use common::finish::finish;
use common::shell::shell;
use execloop::{Command, LookPathError, Output, look_path};

#[test]
fn getters_give_back_what_was_set() {
    let mut command = Command::new("sh");
    assert_eq!(
        (command.get_args().len(), command.get_envs().count()),
        (0, 0)
    );
    assert!(command.get_current_dir().is_none());
    command
        .arg0("another name")
        .args(["-c", "exit 3"])
        .env("B", "1")
        .env("B", "2=3")
        .env_remove("A")
        .current_dir("/tmp");
    assert_eq!(command.get_program(), "sh");
    assert_eq!(
        command.resolved_path(),
        look_path("sh").expect("there is a shell")
    );
    assert!(command.get_args().eq(["-c", "exit 3"]));
    let (a, b, value) = (OsStr::new("A"), OsStr::new("B"), OsStr::new("2=3"));
    assert!(command.get_envs().eq([(a, None), (b, Some(value))]));
    assert_eq!(command.get_current_dir(), Some(Path::new("/tmp")));

    command
        .env_entries(["C=1", "without", "D=2"])
        .env_remove("C");
    let (c, d, value) = (OsStr::new("C"), OsStr::new("D"), OsStr::new("2"));
    assert!(command.get_envs().eq([(c, None), (d, Some(value))]));
}

/// What `sh` makes of the arguments of the line that `command` is printed as.
fn read_back(command: &Command) -> Vec<u8> {
    let line = command.to_string();
    finish(shell(&line).stdout(Output::capture())).stdout
}

#[test]
fn printed_command_is_read_back_by_a_shell() {
    let odd: [&[u8]; 18] = [
        b"",
        b"plain-1.5_x/y:z,@%+=",
        b"a b",
        b"'",
        b"''a'",
        b"\"$HOME\" `id` $(id) \\ \\n",
        b"~",
        b"*?[a]{b,c}",
        b"# no comment",
        b"a;b&c|d<e>f(g)!h^i",
        b"\ttab\nline\n",
        b"-n",
        "grüße \u{1f600}".as_bytes(),
        b"\xff\xfe",
        b"a\xffb'c\x80",
        b"\xff\n",
        b"\x1b[31m\x7f",
        b"{",
    ];
    let mut command = Command::new("/usr/bin/printf");
    command.arg("<%s>");
    command.args(odd.map(OsStr::from_bytes));
    let expected: Vec<u8> = odd
        .iter()
        .flat_map(|word| [b"<", *word, b">"].concat())
        .collect();
    assert_eq!(
        read_back(&command).escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

#[test]
fn printed_program_is_quoted_as_its_arguments_are() {
    let mut command = Command::new("/no such/it's");
    assert_eq!(command.to_string(), r"'/no such/it'\''s'");
    command.args(["-c", "x y", "z=1"]);
    assert_eq!(command.to_string(), r"'/no such/it'\''s' -c 'x y' z=1");
    // The name of a missing program would set a variable.
    assert_eq!(Command::new("A=1").to_string(), "'A=1'");
}

#[test]
fn flags_can_be_taken_back() {
    let mut command = shell("echo out; echo err >&2");
    command.stdout(Output::capture()).stderr_to_stdout(true);
    assert_eq!(finish(&mut command).stdout, b"out\nerr\n");
    command.stderr_to_stdout(false);
    assert_eq!(finish(&mut command).stdout, b"out\n");
    let mut missing = Command::new(OsString::from("execloop-no-such-program"));
    missing.allow_dot(true);
    assert!(matches!(
        missing.lookup_error(),
        Some(LookPathError::NotFound { .. })
    ));
}
