//! What a command tells of itself before it runs: its getters, and the line that a shell would take.
//! Unaware of starts and of what comes of them.

#[path = "common"]
mod common {
    pub mod finish;
    #[cfg(target_os = "linux")]
    pub mod scratch;
    pub mod shell;
    mod watchdog;
}

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use common::finish::finish;
#[cfg(target_os = "linux")]
use common::scratch::Scratch;
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

/// What the program was given: its directory, its words, and its variables but for those that a shell exports by itself,
/// sorted.
#[cfg(target_os = "linux")]
fn given(command: &mut Command, has_pwd: bool) -> Vec<String> {
    let done = finish(command.stdout(Output::capture()));
    assert!(done.success(), "{command}: {:?}", done.outcome);
    let is_shells = |entry: &&[u8]| {
        let name = entry
            .split(|byte| *byte == b'=')
            .next()
            .expect("one at least");
        // Dash loses what it could not name.
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let is_lost =
            !name.iter().all(is_name) && std::env::var_os(OsStr::from_bytes(name)).is_some();
        let is_set = [&b"OLDPWD"[..], b"SHLVL", b"_"].contains(&name);
        is_lost || is_set || (name == b"PWD" && !has_pwd)
    };
    let entries = done.stdout.split(|byte| *byte == 0);
    let mut entries: Vec<_> = entries
        .filter(|entry| !is_shells(entry))
        .map(|entry| entry.escape_ascii().to_string())
        .collect();
    entries.sort();
    entries
}

/// Says all of that, with a NUL between any two.
#[cfg(target_os = "linux")]
const TELLS: &str =
    r#"readlink -n /proc/self/cwd; printf '\0'; cat /proc/$$/cmdline /proc/$$/environ"#;

// The lines are run as they are, by each shell that there is.
#[cfg(target_os = "linux")]
#[test]
fn a_whole_line_gives_the_program_what_its_command_would() {
    let scratch = Scratch::new();
    let odd = OsStr::from_bytes(b"-it's\xff a=b\n$(id)");
    let directory = scratch.join(odd);
    std::fs::create_dir_all(directory.join("below")).expect("a directory");
    let link = scratch.join("link");
    std::os::unix::fs::symlink(directory.join("below"), &link).expect("a link");
    let program = scratch.join("pro=gram");
    std::os::unix::fs::symlink("/bin/sh", &program).expect("a link");
    std::fs::create_dir(scratch.join("src")).expect("a directory");

    let tells = |program: &Path| {
        let mut command = Command::new(program);
        command.args(["-c", TELLS, "word"]).arg(odd);
        command
    };
    let plain = || tells(Path::new("/bin/sh"));
    let mut cases = vec![plain(), tells(&program)];
    let mut add = |mut command: Command, change: &dyn Fn(&mut Command)| {
        change(&mut command);
        cases.push(command);
    };
    add(plain(), &|command| {
        command.current_dir(&directory).env("A", odd).env("B", "");
    });
    add(plain(), &|command| {
        command.current_dir(&link);
    });
    add(plain(), &|command| {
        command.current_dir(link.join(".."));
    });
    // Every one of these would go wrong in some shell as `NAME=value`.
    for name in [
        "_",
        "UID",
        "OPTIND",
        "1x",
        "a.b",
        "-n",
        "x y",
        "BASH_VERSINFO",
    ] {
        add(tells(&program), &|command| {
            command.env(name, "7").env("A", "1");
        });
    }
    add(plain(), &|command| {
        command.env_remove("HOME").env_remove("").env_remove("A=B");
    });
    add(tells(&program), &|command| {
        command.env("A", "1").env_remove("PATH");
    });
    add(plain(), &|command| {
        command.env_clear().env("A", odd).env_remove("B");
        command.current_dir(&directory);
    });
    add(plain(), &|command| {
        command.env_entries(["A=1", "PWD=nowhere", "A=2"]);
    });
    add(plain(), &|command| {
        command.env("PWD", "nowhere").current_dir("/");
    });
    // Not the one that `CDPATH` leads to.
    add(plain(), &|command| {
        command.current_dir("src");
    });
    assert_eq!(cases.len(), 19);
    for mut command in cases {
        let has_pwd = command.get_current_dir().is_some()
            || command.get_envs().any(|(name, _)| name == "PWD");
        let line = command.shell_line().to_string();
        let expected = given(&mut command, has_pwd);
        for name in ["sh", "bash", "busybox", "zsh", "ksh"] {
            let mut by_shell = Command::new(name);
            if by_shell.lookup_error().is_some() {
                continue;
            }
            if name == "busybox" {
                by_shell.arg("sh");
            }
            by_shell.args(["-c", &line]).env("CDPATH", &*scratch);
            let mut got = given(&mut by_shell, has_pwd);
            got.retain(|entry| !entry.starts_with("CDPATH="));
            assert_eq!(got, expected, "{name}: {line}");
        }
    }
}
