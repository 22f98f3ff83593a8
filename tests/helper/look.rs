//! Looks names up, and starts commands by name, in a process whose `PATH`, directory and mounts the test chooses.
//! Unaware of what is right: it prints what the library says.
#![allow(unsafe_code, reason = "mount, unshare and prctl have no safe wrapper")]

#[cfg(target_os = "linux")]
use std::ffi::CString;
use std::ffi::OsString;
#[cfg(target_os = "linux")]
use std::io;
#[cfg(target_os = "linux")]
use std::os::unix::ffi::OsStrExt;
#[cfg(target_os = "linux")]
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;

use execloop::{Command, LookPathError, Output, Reactor, look_path};

/// `look NAME ..`: prints for each name what `look_path` and what `Command::new` make of it.
pub(crate) fn look(names: &[OsString]) -> ExitCode {
    for name in names {
        println!("{}", verdict(look_path(name)));
        let command = Command::new(name);
        println!(
            "{} {}",
            command.resolved_path().display(),
            command.lookup_error().is_none()
        );
    }
    ExitCode::SUCCESS
}

fn verdict(found: Result<std::path::PathBuf, LookPathError>) -> String {
    match found {
        Ok(path) => format!("found {}", path.display()),
        Err(LookPathError::NotFound { .. }) => "not found".to_owned(),
        Err(LookPathError::Dot { path, .. }) => format!("dot {}", path.display()),
        Err(LookPathError::Io { source, .. }) => format!("error {:?}", source.kind()),
        Err(other) => format!("unforeseen: {other}"),
    }
}

#[cfg(target_os = "linux")]
/// `look-noexec DIRECTORY`: mounts a file system without exec there, puts a program into it, and looks it up. Prints
/// `skipped` where it may not mount.
pub(crate) fn look_noexec(arguments: &[OsString]) -> ExitCode {
    let directory = CString::new(arguments[0].as_bytes()).expect("no NUL");
    if let Err(error) = mount_noexec(&directory) {
        println!("skipped {error}");
        return ExitCode::SUCCESS;
    }
    let program = std::path::Path::new(&arguments[0]).join("tool");
    let mut options = std::fs::OpenOptions::new();
    options
        .create(true)
        .write(true)
        .mode(0o755)
        .open(&program)
        .expect("a file on the mount");
    look(&[program.into_os_string()])
}

#[cfg(target_os = "linux")]
fn mount_noexec(directory: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: unshare(2) takes a number.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let (nothing, flags) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: each address is that of a C string, or null where mount(2) ignores it.
    let private = unsafe {
        libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            nothing,
            flags,
            nothing.cast(),
        )
    };
    check(private)?;
    let tmpfs = c"tmpfs".as_ptr();
    // SAFETY: as above.
    check(unsafe {
        libc::mount(
            tmpfs,
            directory.as_ptr(),
            tmpfs,
            libc::MS_NOEXEC,
            nothing.cast(),
        )
    })
}

#[cfg(target_os = "linux")]
/// `look-refused NAME ..`: looks up under a seccomp filter that refuses faccessat(2) with `EPERM`.
pub(crate) fn look_refused(names: &[OsString]) -> ExitCode {
    if let Err(error) = refuse_access_checks() {
        println!("skipped {error}");
        return ExitCode::SUCCESS;
    }
    look(names)
}

#[cfg(target_os = "linux")]
fn refuse_access_checks() -> io::Result<()> {
    let load_number = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let jump_if_equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        line(load_number, 0, 0, 0),
        line(jump_if_equal, 2, 0, libc::SYS_faccessat as u32),
        line(jump_if_equal, 1, 0, libc::SYS_faccessat2 as u32),
        line(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
        line(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: prctl(2) with this option takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program and its lines live across the call, which copies them.
    check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) })
}

#[cfg(target_os = "linux")]
fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `start [--allow-dot] [--dir DIRECTORY] NAME ARGUMENT ..`: runs a command with its output as ours, and tells how it ended.
pub(crate) fn start(arguments: &[OsString]) -> ExitCode {
    let mut rest = arguments;
    let (mut allows_dot, mut directory) = (false, None);
    while let Some(option) = rest.first().and_then(|word| word.to_str()) {
        match option {
            "--allow-dot" => (allows_dot, rest) = (true, &rest[1..]),
            "--dir" => (directory, rest) = (Some(&rest[1]), &rest[2..]),
            _ => break,
        }
    }
    let mut command = Command::new(&rest[0]);
    command.args(&rest[1..]).stdout(Output::inherit());
    if allows_dot {
        command.allow_dot(true);
    }
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    match command.run() {
        Ok(()) => println!("ok"),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}

/// `start-in-lost-directory`: starts a command in a relative directory after our own was removed.
pub(crate) fn start_in_lost_directory(arguments: &[OsString]) -> ExitCode {
    std::env::set_current_dir(&arguments[0]).expect("the directory");
    std::fs::remove_dir(&arguments[0]).expect("an empty directory");
    let error = Command::new("/bin/true")
        .current_dir("sub")
        .run()
        .expect_err("no directory");
    println!("{error}");
    println!("{:?}", error.reason());
    ExitCode::SUCCESS
}

/// `snapshot`: prints what children see of a variable that changes between their starts.
pub(crate) fn snapshot() -> ExitCode {
    let mut reactor = Reactor::new().expect("a reactor");
    let value_seen = |reactor: &mut Reactor| {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "echo $CHANGING"])
            .stdout(Output::capture());
        let id = reactor.start(&mut command).expect("started");
        let done = reactor.wait(id).expect("waited").expect("finished");
        print!("{}", String::from_utf8_lossy(&done.stdout));
    };
    let set = |value: &str| {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("CHANGING", value) };
    };
    set("first");
    value_seen(&mut reactor);
    set("second");
    value_seen(&mut reactor);
    value_seen(&mut Reactor::new().expect("a reactor"));
    reactor.refresh_environment();
    value_seen(&mut reactor);
    ExitCode::SUCCESS
}

/// `moving`: a command with a relative directory is run again from elsewhere.
pub(crate) fn moving() -> ExitCode {
    // Not a shell, which would set PWD right.
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command
        .arg("environ")
        .current_dir("sub")
        .env("A", "1")
        .stdout(Output::inherit());
    let start = std::env::current_dir().expect("a directory");
    for place in ["one", "two"] {
        std::env::set_current_dir(start.join(place)).expect("it is there");
        command.run().expect("it runs");
    }
    ExitCode::SUCCESS
}
