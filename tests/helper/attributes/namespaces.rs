//! Namespaces and their maps, made by clone and entered by unshare, by root and by others.
//! Unaware of which system calls are refused, but where it says so.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use execloop::linux::{Capability, CommandExt, Namespaces, Resource};
use execloop::{Command, Error, Output, Reactor, StartError, StartStep};

use super::plain::pid_of;
use super::{calls, cat, fails, finish, helper, is_root, print, shell, skip, status};

/// Those that any start can make, with their names under `/proc/PID/ns`.
const KINDS: [(&str, Namespaces); 7] = [
    ("user", Namespaces::USER),
    ("pid", Namespaces::PID),
    ("mnt", Namespaces::MOUNT),
    ("net", Namespaces::NET),
    ("ipc", Namespaces::IPC),
    ("uts", Namespaces::UTS),
    ("cgroup", Namespaces::CGROUP),
];

fn readlink(name: &str) -> Command {
    let mut command = Command::new("/bin/readlink");
    command.arg(format!("/proc/self/ns/{name}"));
    command
}

fn own_link(name: &str) -> String {
    let link = fs::read_link(format!("/proc/self/ns/{name}")).expect("own namespace");
    format!("{}\n", link.display())
}

pub(super) fn entered(reactor: &mut Reactor) {
    if !is_root() {
        return skip("most namespaces need root");
    }
    for (name, kind) in KINDS {
        assert_eq!(print(reactor, &mut readlink(name)), own_link(name));
        assert_ne!(
            print(reactor, readlink(name).namespaces(kind)),
            own_link(name),
            "{name}"
        );
        if kind != Namespaces::PID {
            assert_ne!(
                print(reactor, readlink(name).unshare(kind)),
                own_link(name),
                "{name}"
            );
        }
    }
    let all = KINDS
        .iter()
        .fold(Namespaces::default(), |all, (_, kind)| all | *kind);
    for (name, _) in KINDS {
        assert_ne!(
            print(reactor, readlink(name).namespaces(all)),
            own_link(name),
            "{name}"
        );
    }
    assert_eq!(
        print(reactor, shell("echo $$").namespaces(Namespaces::PID)),
        "1\n"
    );
    // By unshare, the first one in there is the child's child.
    let mut parent = shell("(exec sh -c 'echo $$'); [ $$ != 1 ]");
    assert_eq!(print(reactor, parent.unshare(Namespaces::PID)), "1\n");
}

/// `unshare` makes all mounts private, `namespaces` leaves them as they are.
pub(super) fn private_mounts(reactor: &mut Reactor) {
    if !is_root() {
        return skip("mounts need root");
    }
    let shared = "mount --make-rshared / || exit 9; exec \"$0\" attributes shared-mounts";
    let mut inside = shell(shared);
    inside
        .arg(std::env::current_exe().expect("its own path"))
        .namespaces(Namespaces::MOUNT);
    print(reactor, &mut inside);
}

fn count_shared(text: &str) -> usize {
    text.lines()
        .filter(|line| line.contains(" shared:"))
        .count()
}

/// In a mount namespace where all mounts are shared.
pub(super) fn shared_mounts() {
    let mut reactor = Reactor::new().expect("a reactor");
    let own = fs::read_to_string("/proc/self/mountinfo").expect("own mounts");
    assert_ne!(count_shared(&own), 0);
    let copied = print(&mut reactor, cat("mountinfo").namespaces(Namespaces::MOUNT));
    assert_eq!(count_shared(&copied), count_shared(&own));
    let private = print(&mut reactor, cat("mountinfo").unshare(Namespaces::MOUNT));
    assert_eq!(count_shared(&private), 0);
    // What is mounted in there stays in there.
    let directory = std::env::temp_dir().join(format!("execloop-mount-{}", std::process::id()));
    fs::create_dir(&directory).expect("a directory");
    let mut mount = shell("mount -t tmpfs none \"$0\" && : > \"$0/inside\" && ls \"$0\"");
    assert_eq!(
        print(
            &mut reactor,
            mount.arg(&directory).unshare(Namespaces::MOUNT)
        ),
        "inside\n"
    );
    assert_eq!(fs::read_dir(&directory).expect("readable").count(), 0);
    fs::remove_dir(directory).expect("removed");
}

/// The maps as a child sees them, in words.
fn maps_of(reactor: &mut Reactor, command: &mut Command) -> String {
    command.args(["/proc/self/gid_map", "/proc/self/setgroups"]);
    let text = print(reactor, command);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn born(command: &mut Command) -> &mut Command {
    command.namespaces(Namespaces::USER)
}

fn enters(command: &mut Command) -> &mut Command {
    command.unshare(Namespaces::USER)
}

pub(super) fn maps(reactor: &mut Reactor) {
    if !is_root() {
        return skip("these maps need root");
    }
    for into_namespace in [born, enters] {
        let mapped = || {
            let mut command = cat("uid_map");
            into_namespace(&mut command)
                .uid_map(0, 100_000, 10)
                .uid_map(10, 200_000, 5)
                .gid_map(0, 300_000, 7);
            command
        };
        let map = "0 100000 10 10 200000 5 0 300000 7";
        assert_eq!(maps_of(reactor, &mut mapped()), format!("{map} deny"));
        assert_eq!(
            maps_of(reactor, mapped().uid(3).gid(4)),
            format!("{map} deny")
        );
        let allowed = maps_of(
            reactor,
            mapped()
                .uid(3)
                .gid(4)
                .groups(&[5])
                .setgroups_in_namespace(true),
        );
        assert_eq!(allowed, format!("{map} allow"));

        let mut inside = cat("status");
        into_namespace(&mut inside)
            .uid_map(0, 100_000, 10)
            .gid_map(0, 300_000, 7)
            .setgroups_in_namespace(true);
        let facts = status(reactor, inside.uid(3).gid(4).groups(&[5]));
        assert_eq!(
            (&facts["Uid"][..], &facts["Gid"][..], &facts["Groups"][..]),
            ("3 3 3 3", "4 4 4 4", "5")
        );
        // Denied groups are no reason to fail where none are asked for.
        let mut root = cat("status");
        let facts = status(
            reactor,
            into_namespace(&mut root)
                .uid_map(0, 0, 1)
                .gid_map(0, 0, 1)
                .uid(0)
                .gid(0),
        );
        assert_eq!(facts["Uid"], "0 0 0 0");

        fails(
            reactor,
            mapped().groups(&[5]),
            StartStep::Groups,
            libc::EPERM,
        );
        fails(
            reactor,
            mapped().uid_map(20, 1, 0),
            StartStep::IdMaps,
            libc::EINVAL,
        );
        fails(
            reactor,
            mapped().gid_map(0, 1, 1),
            StartStep::IdMaps,
            libc::EINVAL,
        );
        fails(reactor, mapped().uid(99), StartStep::Uid, libc::EINVAL);
        fails(
            reactor,
            mapped().current_dir("/nonexistent"),
            StartStep::Chdir,
            libc::ENOENT,
        );
    }
    let mut sleeper = Command::new("/bin/sleep");
    sleeper
        .arg("1000")
        .namespaces(Namespaces::USER | Namespaces::PID)
        .uid_map(0, 0, 1);
    let id = reactor.start(&mut sleeper).expect("it starts");
    let pid = pid_of(&reactor.pidfd(id).expect("it runs"));
    assert!(reactor.kill(id));
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert_eq!(done.pid, u32::try_from(pid).ok());
}

/// The child must not wait for its maps for ever, with our pipe in its hand, when its parent is killed.
pub(super) fn waiter_dies(reactor: &mut Reactor) {
    if !is_root() {
        return skip("this map needs root");
    }
    let mut parent = helper("killed-at-maps");
    parent
        .rlimit(Resource::CORE, 0, 0)
        .stdout(Output::capture())
        .wait_delay(Duration::from_secs(600));
    let done = finish(reactor, &mut parent);
    let killed = matches!(&done.outcome, Err(Error::Exit(exit)) if exit.status.signal() == Some(libc::SIGSYS));
    assert!(
        killed && done.leaked.is_empty(),
        "{:?} {:?}",
        done.outcome,
        done.leaked
    );
    assert_eq!(done.stdout, b"starting\n");
}

/// Is killed when it opens the child's map to write it.
pub(super) fn killed_at_maps() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut child = Command::new("/bin/true");
    child
        .namespaces(Namespaces::USER)
        .uid_map(0, 0, 1)
        .stdout(Output::inherit());
    println!("starting");
    calls::die_at_create();
    let started = reactor.start(&mut child);
    panic!("still here: {started:?}");
}

/// A time namespace is made by clone3(2) alone, and lost with it.
pub(super) fn time() {
    let mut reactor = Reactor::new().expect("a reactor");
    if fs::read_link("/proc/self/ns/time").is_err() || !is_root() {
        return skip("time namespaces need Linux 5.6 and root");
    }
    assert_ne!(
        print(&mut reactor, readlink("time").namespaces(Namespaces::TIME)),
        own_link("time")
    );
    assert!(
        finish(
            &mut reactor,
            Command::new("/bin/true").unshare(Namespaces::TIME)
        )
        .success()
    );
}

/// What somebody without privileges may do, and what he is told of the rest.
pub(super) fn unprivileged() {
    if !is_root() {
        return skip("who is to give up root must have it");
    }
    calls::become_user(65534);
    let mut reactor = Reactor::new().expect("a reactor");
    let reactor = &mut reactor;
    let mut mapped = cat("status");
    mapped
        .namespaces(Namespaces::USER)
        .uid_map(0, 65534, 1)
        .gid_map(0, 65534, 1);
    match finish(reactor, &mut mapped).outcome {
        Err(Error::Start(StartError::Step {
            step: StartStep::Clone,
            source,
            ..
        })) => return skip(&format!("user namespaces: {source}")),
        outcome => outcome.expect("it starts and succeeds"),
    }
    assert_eq!(status(reactor, &mut mapped)["Uid"], "0 0 0 0");
    let mut as_root = cat("status");
    as_root
        .unshare(Namespaces::USER)
        .uid_map(0, 65534, 1)
        .gid_map(0, 65534, 1)
        .uid(0)
        .gid(0);
    assert_eq!(status(reactor, &mut as_root)["Uid"], "0 0 0 0");
    let mut foreign = cat("status");
    fails(
        reactor,
        foreign.namespaces(Namespaces::USER).uid_map(0, 0, 1),
        StartStep::IdMaps,
        libc::EPERM,
    );
    let mut foreign = cat("status");
    fails(
        reactor,
        foreign.unshare(Namespaces::USER).gid_map(0, 0, 1),
        StartStep::IdMaps,
        libc::EPERM,
    );

    fails(
        reactor,
        cat("status").namespaces(Namespaces::NET),
        StartStep::Clone,
        libc::EPERM,
    );
    // That refusal was not of clone3(2): time namespaces, which need it, go on.
    if fs::read_link("/proc/self/ns/time").is_ok() {
        let both = Namespaces::USER | Namespaces::TIME;
        assert_ne!(
            print(reactor, readlink("time").namespaces(both)),
            own_link("time")
        );
    }
    fails(
        reactor,
        cat("status").unshare(Namespaces::NET),
        StartStep::Unshare,
        libc::EPERM,
    );
    fails(
        reactor,
        cat("status").chroot("/usr"),
        StartStep::Chroot,
        libc::EPERM,
    );
    fails(reactor, cat("status").uid(0), StartStep::Uid, libc::EPERM);
    fails(reactor, cat("status").gid(0), StartStep::Gid, libc::EPERM);
    fails(
        reactor,
        cat("status").groups(&[]),
        StartStep::Groups,
        libc::EPERM,
    );
    // Groups that cannot be dropped are kept, where nothing was said about them.
    assert_eq!(
        status(reactor, cat("status").uid(65534).gid(65534))["Uid"],
        "65534 65534 65534 65534"
    );
    let chosen = [Capability::NET_RAW];
    fails(
        reactor,
        cat("status").ambient_capabilities(&chosen),
        StartStep::Capabilities,
        libc::EPERM,
    );
    fails(
        reactor,
        cat("status").rlimit(Resource::RTPRIO, 90, 90),
        StartStep::Rlimit,
        libc::EPERM,
    );
}
