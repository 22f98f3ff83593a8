//! Who a child is: user, groups, capabilities; and that this process stays who it is.
//! Unaware of which system calls are refused.

use std::fs;

use execloop::linux::{Capability, CommandExt, Namespaces, Resource};
use execloop::{Command, Input, Reactor, StartStep};

use super::{calls, cat, fails, finish, is_root, skip, status};

/// A line of this process's own status.
pub(super) fn own(name: &str) -> String {
    let text = fs::read_to_string("/proc/self/status").expect("own status");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .expect("the line");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A line of the status that is a set of bits.
pub(super) fn bits(text: &str) -> u64 {
    u64::from_str_radix(text, 16).expect("a number")
}

/// This process has it.
pub(super) fn may(capability: Capability) -> bool {
    bits(&own("CapEff")) & 1 << capability.number() != 0
}

pub(super) fn credentials(reactor: &mut Reactor) {
    if !is_root() {
        return skip("another user needs root");
    }
    let before = own("Groups");
    calls::set_groups(&[5, 6]);
    let plain = status(reactor, &mut cat("status"));
    assert_eq!(
        (&plain["Uid"][..], &plain["Gid"][..], &plain["Groups"][..]),
        ("0 0 0 0", "0 0 0 0", "5 6")
    );
    let user = status(reactor, cat("status").uid(65534));
    assert_eq!(
        (&user["Uid"][..], &user["Gid"][..]),
        ("65534 65534 65534 65534", "0 0 0 0")
    );
    assert_eq!(user["Groups"], "");
    assert_eq!(bits(&user["CapEff"]), 0);
    let group = status(reactor, cat("status").gid(65533));
    assert_eq!(
        (&group["Uid"][..], &group["Gid"][..]),
        ("0 0 0 0", "65533 65533 65533 65533")
    );
    assert_eq!(group["Groups"], "");
    let listed = status(
        reactor,
        cat("status").uid(65534).gid(65533).groups(&[7, 8, 9]),
    );
    assert_eq!(
        (&listed["Gid"][..], &listed["Groups"][..]),
        ("65533 65533 65533 65533", "7 8 9")
    );
    let groups_alone = status(reactor, cat("status").groups(&[7]));
    assert_eq!(
        (&groups_alone["Uid"][..], &groups_alone["Groups"][..]),
        ("0 0 0 0", "7")
    );
    let kept = status(reactor, cat("status").uid(65534).keep_groups(true));
    assert_eq!(kept["Groups"], "5 6");
    // The limit is there when the user changes, and the kernel then counts his processes at the exec. The other one is
    // another reactor's, as this one would wait for its own to end.
    let mut others = Reactor::new().expect("a reactor");
    let mut first = Command::new("/bin/cat");
    others
        .start(first.uid(65532).stdin(Input::pipe()))
        .expect("it starts");
    let mut second = cat("status");
    second.uid(65532).rlimit(Resource::NPROC, 0, 0);
    fails(reactor, &mut second, StartStep::Exec, libc::EAGAIN);
    drop(others);
    let numbers: Vec<u32> = before
        .split_whitespace()
        .map(|word| word.parse().expect("a group"))
        .collect();
    calls::set_groups(&numbers);
}

pub(super) fn capabilities(reactor: &mut Reactor) {
    let chosen = [Capability::NET_BIND_SERVICE, Capability::SYSLOG];
    if !is_root() || !chosen.into_iter().all(may) {
        return skip("the capabilities to give are not ours");
    }
    let wanted: u64 = chosen
        .iter()
        .map(|capability| 1 << capability.number())
        .sum();
    let given = status(
        reactor,
        cat("status")
            .uid(65534)
            .gid(65534)
            .ambient_capabilities(&chosen),
    );
    for kind in ["CapAmb", "CapEff", "CapPrm", "CapInh"] {
        assert_eq!(bits(&given[kind]), wanted, "{kind}");
    }
    let without = status(reactor, cat("status").uid(65534).gid(65534));
    assert_eq!(bits(&without["CapEff"]), 0);
    let unknown = Capability::new(63).expect("there is room for it");
    fails(
        reactor,
        cat("status").ambient_capabilities(&[unknown]),
        StartStep::Capabilities,
        libc::EINVAL,
    );

    let inside = [Capability::NET_ADMIN];
    let mut mapped = cat("status");
    mapped
        .namespaces(Namespaces::USER)
        .uid_map(0, 0, 1)
        .uid_map(1, 100_000, 1)
        .gid_map(0, 0, 1)
        .gid_map(1, 100_000, 1);
    let mapped = status(reactor, mapped.uid(1).gid(1).ambient_capabilities(&inside));
    assert_eq!(bits(&mapped["CapEff"]), 1 << Capability::NET_ADMIN.number());
}

/// The child shares this process's memory, and the kernel marks that when the child takes other credentials.
pub(super) fn dumpable(reactor: &mut Reactor) {
    if !is_root() {
        return skip("another user needs root");
    }
    assert_eq!(calls::dumpable(), 1);
    let mut nobody = Command::new("/bin/true");
    assert!(finish(reactor, nobody.uid(65534).gid(65534)).success());
    assert_eq!(calls::dumpable(), 1);
    let mut missing = Command::new("/nonexistent");
    fails(
        reactor,
        missing.uid(65534).gid(65534),
        StartStep::Exec,
        libc::ENOENT,
    );
    assert_eq!(calls::dumpable(), 1);
    let mut nobody = Command::new("/bin/true");
    assert!(
        finish(
            reactor,
            nobody.unshare(Namespaces::USER).ambient_capabilities(&[])
        )
        .success()
    );
    assert_eq!(calls::dumpable(), 1);
    calls::set_dumpable(0);
    let mut nobody = Command::new("/bin/true");
    assert!(finish(reactor, nobody.uid(65534)).success());
    assert_eq!(calls::dumpable(), 0);
    calls::set_dumpable(1);
}
