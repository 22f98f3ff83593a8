//! Commands without and with the portable attributes: output, descriptors, groups, root and directory, limits.
//! Unaware of which system calls are refused.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;

use execloop::linux::{Capability, CommandExt, Resource, UNLIMITED};
use execloop::{Command, Error, Input, Output, Reactor, StartError, StartStep};

use super::identity::may;
use super::{cat, fails, finish, is_root, leader, print, shell, skip, stat};
use crate::counts::set_soft_fd_limit;
use crate::start_error::start_error;

pub(super) fn captures(reactor: &mut Reactor) {
    let mut both = shell("echo out; echo err >&2; exit 3");
    let done = finish(
        reactor,
        both.stdout(Output::capture()).stderr(Output::capture()),
    );
    assert!(
        matches!(&done.outcome, Err(Error::Exit(exit)) if exit.status.code() == Some(3)),
        "{:?}",
        done.outcome
    );
    assert_eq!(
        (&done.stdout[..], &done.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..])
    );
    let long: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut cat = Command::new("/bin/cat");
    let done = finish(
        reactor,
        cat.stdin(Input::bytes(long.clone()))
            .stdout(Output::capture()),
    );
    assert!(done.success() && done.stdout == long);
}

/// A file with this content, at its start.
fn file_with(text: &str) -> File {
    let path = std::env::temp_dir().join(format!("execloop-{}-{text}", std::process::id()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("a file");
    fs::remove_file(path).expect("its name removed");
    file.write_all(text.as_bytes()).expect("written");
    file.rewind().expect("rewound");
    file
}

pub(super) fn extra_descriptors(reactor: &mut Reactor) {
    let mut reader = shell("cat <&7; cat <&3; cat <&5");
    reader
        .extra_fd(7, file_with("seven"))
        .extra_fd(3, file_with("three"))
        .extra_fd(5, file_with("five"));
    assert_eq!(print(reactor, &mut reader), "seventhreefive");
    let mut writer = shell("echo to-file");
    let mut file = file_with("");
    let copy = file.try_clone().expect("a copy");
    assert!(finish(reactor, writer.stdout(Output::file(copy))).success());
    let mut text = String::new();
    file.rewind().expect("rewound");
    file.read_to_string(&mut text).expect("read");
    assert_eq!(text, "to-file\n");
}

/// 9 and 900 are open in this process and lack close-on-exec.
pub(super) fn hermetic(reactor: &mut Reactor) {
    let list = || {
        let mut list = Command::new("/bin/ls");
        list.arg("/proc/self/fd");
        list
    };
    // The last one is the list itself.
    assert_eq!(print(reactor, &mut list()), "0\n1\n2\n3\n");
    let with_extra = print(
        reactor,
        list()
            .extra_fd(6, file_with("x"))
            .extra_fd(901, file_with("y")),
    );
    let mut numbers: Vec<u32> = with_extra
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 6, 901]);
    let inherited = print(reactor, list().inherit_fds(true));
    assert!(
        inherited.contains("\n9\n") && inherited.contains("\n900\n"),
        "{inherited}"
    );
    if !usr_is_a_root(reactor) {
        return;
    }
    // No /proc in there.
    let mut with_root = shell("(: <&9) 2>&1 || echo closed");
    let text = print(reactor, with_root.chroot("/usr"));
    assert!(text.ends_with("closed\n"), "{text}");
    assert_eq!(print(reactor, with_root.inherit_fds(true)), "");
    let mut missing = Command::new("/usr/nothing/like/it");
    let error = start_error(reactor, missing.chroot("/usr"));
    let text = "exec /usr/nothing/like/it: No such file or directory (under the root /usr)";
    assert_eq!(error.to_string(), text);
}

/// Where `/bin` and `/lib` lead to `/usr`, that has all that a program needs.
fn usr_is_a_root(reactor: &mut Reactor) -> bool {
    if !is_root() {
        skip("a new root needs root");
        return false;
    }
    let mut command = Command::new("/bin/true");
    match finish(reactor, command.chroot("/usr")).outcome {
        Err(Error::Start(StartError::Step {
            step: StartStep::Exec,
            source,
            ..
        })) if source.kind() == ErrorKind::NotFound => {
            skip("/usr has no /bin/true that can be run there");
            false
        }
        Err(Error::Start(error)) => panic!("{error}"),
        outcome => outcome.is_ok(),
    }
}

pub(super) fn many(reactor: &mut Reactor) {
    let mut ids = Vec::new();
    for number in 0..200 {
        let mut echo = Command::new("/bin/echo");
        ids.push(
            reactor
                .start(echo.arg(number.to_string()).stdout(Output::capture()))
                .expect("it starts"),
        );
    }
    for (number, id) in ids.into_iter().enumerate() {
        let done = reactor.wait(id).expect("waited").expect("finished");
        assert!(done.success(), "{:?}", done.outcome);
        assert_eq!(done.stdout, format!("{number}\n").into_bytes());
    }
}

pub(super) fn groups(reactor: &mut Reactor) {
    let with_us = stat(reactor, &mut cat("stat"));
    let own = stat(reactor, cat("stat").process_group(0));
    assert_eq!((own.group, own.session), (own.pid, with_us.session));
    assert_ne!(with_us.group, with_us.pid);
    let session = stat(reactor, cat("stat").session(true));
    assert_eq!((session.group, session.session), (session.pid, session.pid));
    // A leader of a session leads a group: to ask for both is no contradiction.
    let both = stat(reactor, cat("stat").session(true).process_group(0));
    assert_eq!((both.group, both.session), (both.pid, both.pid));

    let (leader, pid) = leader(reactor);
    let joined = stat(reactor, cat("stat").process_group(pid));
    assert_eq!(joined.group, pid);
    reactor.stdin(leader).expect("its pipe").close();
    assert!(
        reactor
            .wait(leader)
            .expect("waited")
            .expect("finished")
            .success()
    );
    fails(
        reactor,
        cat("stat").process_group(pid),
        StartStep::ProcessGroup,
        libc::EPERM,
    );
}

/// The process that a pidfd is for.
#[cfg(not(execloop_kqueue_shim))]
pub(super) fn pid_of(pidfd: &impl std::os::fd::AsRawFd) -> i32 {
    let text =
        fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).expect("fdinfo");
    let pid = text
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .expect("a pid");
    pid.trim().parse().expect("a number")
}

pub(super) fn root_and_directory(reactor: &mut Reactor) {
    if !usr_is_a_root(reactor) {
        return;
    }
    let pwd = || {
        let mut pwd = Command::new("/bin/pwd");
        pwd.arg("-P").chroot("/usr");
        pwd
    };
    // Not outside of the new root, where this process's directory is.
    assert_eq!(print(reactor, &mut pwd()), "/\n");
    // After the root has changed: there is no /usr/etc.
    assert_eq!(print(reactor, pwd().current_dir("/bin")), "/bin\n");
    fails(
        reactor,
        pwd().current_dir("/etc/init.d"),
        StartStep::Chdir,
        libc::ENOENT,
    );
    // Relative to the directory.
    let mut relative = Command::new("./pwd");
    assert_eq!(
        print(
            reactor,
            relative.arg("-P").chroot("/usr").current_dir("/bin")
        ),
        "/bin\n"
    );

    let closed = std::env::temp_dir().join(format!("execloop-closed-{}", std::process::id()));
    fs::create_dir(&closed).expect("a directory");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("its mode");
    let mut pwd = Command::new("/bin/pwd");
    assert!(print(reactor, pwd.current_dir(&closed)).contains("execloop-closed"));
    // After the user has changed.
    fails(reactor, pwd.uid(65534), StartStep::Chdir, libc::EACCES);
    fs::remove_dir(closed).expect("removed");
}

/// A resource's limits, soft and hard, as a child's `/proc/self/limits` has them.
#[track_caller]
fn limits_of(text: &str, name: &str) -> (String, String) {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("the resource");
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().expect("soft"), words.next().expect("hard"))
}

fn pair(soft: &str, hard: &str) -> (String, String) {
    (soft.to_owned(), hard.to_owned())
}

pub(super) fn limits(reactor: &mut Reactor) {
    let own = fs::read_to_string("/proc/self/limits").expect("own limits");
    let text = print(reactor, &mut cat("limits"));
    assert_eq!(
        limits_of(&text, "Max open files"),
        limits_of(&own, "Max open files")
    );

    let mut limited = cat("limits");
    limited
        .rlimit(Resource::CORE, 1, 1)
        .rlimit(Resource::CORE, 0, 4096)
        .rlimit(Resource::FSIZE, 512, UNLIMITED);
    let text = print(reactor, &mut limited);
    // The last of two calls counts.
    assert_eq!(limits_of(&text, "Max core file size"), pair("0", "4096"));
    assert_eq!(limits_of(&text, "Max file size"), pair("512", "unlimited"));
    // After the descriptors are in place: 20 is beyond the limit.
    let mut few = cat("fd/20");
    few.rlimit(Resource::NOFILE, 12, 12)
        .extra_fd(20, file_with("twenty"));
    assert_eq!(print(reactor, &mut few), "twenty");
    fails(
        reactor,
        cat("limits").rlimit(Resource::STACK, 2, 1),
        StartStep::Rlimit,
        libc::EINVAL,
    );
    assert_eq!(
        fs::read_to_string("/proc/self/limits").expect("own limits"),
        own
    );
    if !is_root() || !may(Capability::SYS_RESOURCE) {
        return skip("no hard limit can be raised here");
    }
    // Before the user changes, who could not raise a hard limit.
    let mut raised = cat("limits");
    raised
        .uid(65534)
        .gid(65534)
        .rlimit(Resource::RTPRIO, 90, 90);
    assert_ne!(limits_of(&own, "Max realtime priority"), pair("90", "90"));
    let text = print(reactor, &mut raised);
    assert_eq!(limits_of(&text, "Max realtime priority"), pair("90", "90"));
}

/// A reactor that raised the limit gives its children the one before, after their descriptors are in place.
pub(super) fn restored_limit() {
    assert!(set_soft_fd_limit(100) > 100);
    let mut reactor = Reactor::builder()
        .raise_fd_limit(true)
        .build()
        .expect("a reactor");
    let own = fs::read_to_string("/proc/self/limits").expect("own limits");
    let (raised, hard) = limits_of(&own, "Max open files");
    assert_eq!(raised, hard);
    let text = print(&mut reactor, &mut cat("limits"));
    assert_eq!(
        limits_of(&text, "Max open files"),
        ("100".to_owned(), hard.clone())
    );
    let mut beyond = Command::new("/bin/ls");
    beyond.args(["/proc/self/fd"]).extra_fd(200, file_with("x"));
    assert_eq!(print(&mut reactor, &mut beyond), "0\n1\n2\n200\n3\n");
    // What the command asks for itself counts more.
    let mut asked = cat("limits");
    let text = print(&mut reactor, asked.rlimit(Resource::NOFILE, 50, 60));
    assert_eq!(limits_of(&text, "Max open files"), pair("50", "60"));
    // The limit is the whole process's, so another reactor's children get the former one, too.
    let mut plain = Reactor::new().expect("a reactor");
    let text = print(&mut plain, &mut cat("limits"));
    assert_eq!(
        limits_of(&text, "Max open files"),
        ("100".to_owned(), hard.clone())
    );
    // A lower one, that the program sets later, is not raised.
    set_soft_fd_limit(60);
    let text = print(&mut plain, &mut cat("limits"));
    assert_eq!(limits_of(&text, "Max open files"), ("60".to_owned(), hard));
}
