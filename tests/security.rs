//! What a child gets beside what it was given, what its program may be, and what arguments and variables can hold.
//! Descriptors, signals, limits and namespaces have tests of their own, in layout.rs, signals.rs and attributes.rs.

#[path = "common"]
mod common {
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod shell;
    pub mod text;
    mod watchdog;
}
#[path = "common/hostile.rs"]
mod hostile;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::helper::helper;
use common::helper_path::helper_path;
use common::shell::shell;
use common::text::text;
use execloop::{Command, CommandError, Error, StartError, StartStep};
use hostile::said;

#[test]
fn a_plain_child_is_what_its_parent_is() {
    said(helper("faults").arg("inherited"));
}

#[test]
fn a_start_changes_nothing_of_its_parent() {
    said(helper("faults").arg("unchanged"));
}

/// In a directory that everybody may enter, unlike a home that a target directory may be in.
#[test]
fn a_setuid_program_is_ended_as_far_as_the_kernel_allows_and_never_waited_for_in_vain() {
    let place = std::env::temp_dir().join(format!("execloop-setuid-{}", std::process::id()));
    fs::create_dir_all(&place).expect("a directory");
    let program = place.join("program");
    fs::copy(helper_path(), &program).expect("a copy");
    let open =
        |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    open(&place, 0o755).expect("its mode");
    open(&program, 0o4755).expect("its mode");
    let path = program.to_str().expect("text");
    let result = std::panic::catch_unwind(|| said(helper("faults").args(["setuid", path])));
    fs::remove_dir_all(&place).expect("a directory");
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn arguments_are_bytes_and_nothing_in_them_is_special() {
    let every_byte: Vec<u8> = (1..=255).collect();
    let odd: [&[u8]; 7] = [
        b"",
        b"a b",
        b"$(exit 1)",
        b"; exit 1",
        b"--",
        b"'\"\\\n",
        &every_byte,
    ];
    let mut command = Command::new("/usr/bin/printf");
    command.arg("%s\\0");
    for argument in odd {
        command.arg(std::os::unix::ffi::OsStrExt::from_bytes(argument) as &std::ffi::OsStr);
    }
    let output = command.output().expect("it succeeds");
    let arrived: Vec<&[u8]> = output.split(|byte| *byte == 0).collect();
    assert_eq!(arrived[..odd.len()], odd);
}

/// 32 pages with its NUL, whatever else there is (execve(2)).
#[test]
fn the_longest_argument_arrives_and_one_byte_more_is_too_long() {
    let page = Command::new("getconf")
        .arg("PAGESIZE")
        .output()
        .expect("a number");
    let page: usize = text(&page).trim().parse().expect("a number");
    let bytes_max = 32 * page - 1;
    let count = |bytes: usize| {
        let mut command = shell("echo ${#1}");
        command.arg("sh").arg("x".repeat(bytes));
        command.output()
    };
    let output = count(bytes_max).expect("it fits");
    assert_eq!(text(&output), format!("{bytes_max}\n"));
    assert!(is_too_long(&count(bytes_max + 1).expect_err("too long")).is_some());
}

/// The detail of a refusal for its length; `None` for other errors.
fn is_too_long(error: &CommandError) -> Option<&str> {
    match error.reason() {
        Error::Start(StartError::Step {
            step: StartStep::Exec,
            source,
            detail,
            ..
        }) if source.raw_os_error() == Some(libc::E2BIG) => detail.as_deref(),
        _ => None,
    }
}

/// Each size from nothing to beyond the limit, in steps of 100,000 bytes: it runs, or it is told, and nothing between.
#[test]
fn argument_lists_up_to_the_limit_run_and_longer_ones_are_told_with_their_size() {
    let argument = "x".repeat(99_999);
    let mut refused = 0;
    for count in 0..100 {
        let mut command = shell("echo $#");
        command.env_clear().arg("sh").args(vec![&argument; count]);
        match command.output() {
            Ok(output) => {
                assert_eq!(refused, 0, "{count} fit, and fewer did not");
                assert_eq!(text(&output), format!("{count}\n"));
            }
            Err(error) => {
                let size = count * 100_000;
                let told = is_too_long(&error).unwrap_or_else(|| panic!("{count}: {error}"));
                let bytes: Option<usize> =
                    told.split(' ').next().and_then(|text| text.parse().ok());
                let is_near = bytes.is_some_and(|bytes| (size..size + 1000).contains(&bytes));
                assert!(is_near, "{told} of {size}");
                refused += 1;
            }
        }
        if refused == 3 {
            return;
        }
    }
    panic!("ten million bytes of arguments are no limit: {refused} refused");
}

#[test]
fn a_name_that_would_set_another_variable_is_refused() {
    for name in ["PATH=/tmp:", "=", "", "A="] {
        let error = helper("environ").env(name, "value").run().expect_err(name);
        assert!(
            error.to_string().contains("environment variable"),
            "{error}"
        );
    }
    // What is cleared is forgotten.
    let mut command = helper("environ");
    command.env("A=B", "C").env_clear().env("A", "=B=C");
    assert_eq!(text(&command.output().expect("it succeeds")), "A==B=C\n");
}
