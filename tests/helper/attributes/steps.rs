//! Starts that fail, each at another step: what is told, and that nothing is left behind.
//! Unaware of which system calls are refused, but where it says so.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use execloop::linux::{Capability, CommandExt, Namespaces, Resource};
use execloop::{Command, Input, Output, Reactor, Signal, StartStep};

use super::{calls, fails, finish, is_root, open, skip};
use crate::counts::{assert_fds, assert_no_children, open_fds};

/// One way to fail.
struct Case {
    step: StartStep,
    errno: i32,
    /// Runs this instead of `/bin/cat`.
    program: Option<PathBuf>,
    change: fn(&mut Command) -> &mut Command,
}

fn case(step: StartStep, errno: i32, change: fn(&mut Command) -> &mut Command) -> Case {
    Case {
        step,
        errno,
        program: None,
        change,
    }
}

/// In the order of the steps.
fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(StartStep::Cgroup, libc::EBADF, |command| {
            command.cgroup(open("/tmp"))
        }),
        case(StartStep::IdMaps, libc::EINVAL, |command| {
            command.namespaces(Namespaces::USER).uid_map(0, 0, 0)
        }),
        case(StartStep::ProcessGroup, libc::EPERM, |command| {
            command.process_group(1)
        }),
        case(StartStep::Foreground, libc::ENOTTY, |command| {
            command.foreground(open("/dev/null"))
        }),
        case(StartStep::Chroot, libc::ENOENT, |command| {
            command.chroot("/nonexistent")
        }),
        case(StartStep::Rlimit, libc::EINVAL, |command| {
            command.rlimit(Resource::CORE, 2, 1)
        }),
        case(StartStep::Groups, libc::EPERM, |command| {
            command
                .namespaces(Namespaces::USER)
                .uid_map(0, 0, 1)
                .gid_map(0, 0, 1)
                .groups(&[0])
        }),
        case(StartStep::Gid, libc::EINVAL, |command| {
            command.gid(u32::MAX)
        }),
        case(StartStep::Uid, libc::EINVAL, |command| {
            command.uid(u32::MAX)
        }),
        case(StartStep::Capabilities, libc::EINVAL, |command| {
            command.ambient_capabilities(&[Capability::new(63).expect("there is room for it")])
        }),
        case(StartStep::Chdir, libc::ENOENT, |command| {
            command.current_dir("/nonexistent")
        }),
        case(StartStep::ParentDeath, libc::EINVAL, |command| {
            command.parent_death_signal(Signal::new(100).expect("a number"))
        }),
        case(StartStep::Layout, libc::EBADF, |command| {
            command.extra_fd(i32::MAX, open("/dev/null"))
        }),
        case(StartStep::Terminal, libc::ENOTTY, |command| {
            command.leave_terminal(true)
        }),
        case(StartStep::Rlimit, libc::EINVAL, |command| {
            command.rlimit(Resource::NOFILE, 60, 50)
        }),
    ];
    let missing = Case {
        program: Some("/nonexistent/program".into()),
        ..case(StartStep::Exec, libc::ENOENT, |command| command)
    };
    cases.push(missing);
    if cfg!(execloop_kqueue_shim) {
        // What Linux alone has is refused before any step, this case of groups needs a namespace, and on Linux alone the
        // terminal to leave is that of descriptor 0.
        cases.retain(|case| {
            let of_linux = [
                StartStep::Cgroup,
                StartStep::IdMaps,
                StartStep::Groups,
                StartStep::Capabilities,
                StartStep::ParentDeath,
                StartStep::Terminal,
            ];
            !of_linux.contains(&case.step)
        });
    }
    cases
}

fn command(program: Option<&PathBuf>) -> (Command, PipeReader) {
    let mut command = Command::new(program.map_or("/bin/cat".as_ref(), |path| path.as_os_str()));
    let (ours, theirs) = io::pipe().expect("a pipe");
    command
        .stdin(Input::pipe())
        .stdout(Output::capture())
        .stderr(Output::pipe())
        .extra_fd(7, theirs);
    (command, ours)
}

/// Nobody holds the other end: no child, and no place where descriptors are put for one.
#[track_caller]
fn assert_ended(mut end: PipeReader) {
    calls::set_nonblocking(&end);
    assert_eq!(end.read(&mut [0]).expect("the end, not an empty pipe"), 0);
}

pub(super) fn each_fails(reactor: &mut Reactor) {
    if !is_root() {
        return skip("some of these need root");
    }
    let mut cases = cases();
    cases.push(case(StartStep::Terminal, libc::ENOTTY, |command| {
        command.session(true).controlling_terminal(1)
    }));
    let directory = std::env::temp_dir().join(format!("execloop-steps-{}", std::process::id()));
    fs::create_dir(&directory).expect("a directory");
    let text = directory.join("text");
    fs::write(&text, "neither a binary nor a script").expect("a file");
    let denied = Case {
        program: Some(text.clone()),
        ..case(StartStep::Exec, libc::EACCES, |command| command)
    };
    let executable = directory.join("executable");
    fs::copy(text, &executable).expect("a copy");
    fs::set_permissions(&executable, fs::Permissions::from_mode(0o755)).expect("its mode");
    let no_format = Case {
        program: Some(executable),
        ..case(StartStep::Exec, libc::ENOEXEC, |command| command)
    };
    cases.extend([denied, no_format]);

    // A reactor keeps the places that extra descriptors take.
    let mut burdened = Command::new("/bin/true");
    for number in 20..28 {
        burdened.extra_fd(number, open("/dev/null"));
    }
    assert!(finish(reactor, &mut burdened).success());
    let before = open_fds();
    for Case {
        step,
        errno,
        program,
        change,
    } in &cases
    {
        let (mut command, end) = command(program.as_ref());
        change(&mut command);
        fails(reactor, &mut command, *step, *errno);
        assert_ended(end);
        drop(command);
        assert_fds(&before);
        assert_no_children();
        let (mut command, end) = self::command(None);
        let id = reactor.start(&mut command).expect("a plain one starts");
        reactor.stdin(id).expect("its pipe").close();
        assert!(
            reactor
                .wait(id)
                .expect("waited")
                .expect("finished")
                .success()
        );
        assert_ended(end);
    }
    fs::remove_dir_all(directory).expect("removed");
}

/// Of two failures the earlier step's is told, for each pair of steps.
pub(super) fn first_is_told(reactor: &mut Reactor) {
    if !is_root() {
        return skip("some of these need root");
    }
    let cases = cases();
    for (place, first) in cases.iter().enumerate() {
        for second in &cases[place + 1..] {
            let (mut command, end) = command(second.program.as_ref());
            (first.change)(&mut command);
            (second.change)(&mut command);
            if first.step == second.step {
                continue;
            }
            fails(reactor, &mut command, first.step, first.errno);
            assert_ended(end);
        }
    }
}

/// With unshare(2) refused.
pub(super) fn unshare_refused() {
    refused(StartStep::Unshare, |command| {
        command.unshare(Namespaces::MOUNT)
    });
}

/// With mount(2) refused.
pub(super) fn mount_refused() {
    if !is_root() {
        return skip("a mount namespace needs root");
    }
    refused(StartStep::Mount, |command| {
        command.unshare(Namespaces::MOUNT)
    });
}

/// With clone3(2) and clone(2) refused.
pub(super) fn clone_refused() {
    refused(StartStep::Clone, |command| command);
}

/// A program that confines itself when it has its reactor. Several starts are under way then.
#[cfg(not(execloop_kqueue_shim))]
pub(super) fn refused_later() {
    let mut reactor = Reactor::new().expect("a reactor");
    assert!(finish(&mut reactor, &mut Command::new("/bin/true")).success());
    calls::refuse(&["close_range=EPERM"]);
    for _ in 0..2 {
        let mut ids = Vec::new();
        for _ in 0..20 {
            let mut command = Command::new("/bin/cat");
            command
                .stdin(Input::bytes(*b"word"))
                .stdout(Output::capture());
            ids.push(reactor.start(&mut command).expect("it starts"));
        }
        for id in ids {
            let done = reactor.wait(id).expect("waited").expect("finished");
            assert!(done.success(), "{:?}", done.outcome);
            assert_eq!(done.stdout, b"word");
        }
    }
}

/// What one command may not have, does not take clone3(2) from those after it. Another user is refused a namespace, and is not let
/// into a cgroup either.
#[cfg(not(execloop_kqueue_shim))]
pub(super) fn refused_once() {
    if !is_root() {
        return skip("who is to give up root must have it");
    }
    calls::become_user(65534);
    let mut reactor = Reactor::new().expect("a reactor");
    let mut confined = Command::new("/bin/true");
    confined.namespaces(Namespaces::MOUNT).cgroup(open("/"));
    fails(&mut reactor, &mut confined, StartStep::Cgroup, libc::EBADF);
    // From here on, no other way is left.
    calls::refuse(&["clone=EPERM"]);
    assert!(finish(&mut reactor, &mut Command::new("/bin/true")).success());
}

fn refused(step: StartStep, change: fn(&mut Command) -> &mut Command) {
    let mut reactor = Reactor::new().expect("a reactor");
    let (mut first, _) = command(None);
    // A reactor keeps the places that extra descriptors take.
    let started = reactor.start(&mut first);
    if let Ok(id) = started {
        reactor.kill(id);
        let _ = reactor.wait(id).expect("waited").expect("finished");
    }
    let before = open_fds();
    for _ in 0..3 {
        let (mut command, end) = command(None);
        change(&mut command);
        fails(&mut reactor, &mut command, step, libc::EPERM);
        assert_ended(end);
        drop(command);
        assert_fds(&before);
        assert_no_children();
    }
}
