//! Terminals: taking one, giving it up, and being put into its foreground.
//! Unaware of which system calls are refused.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use execloop::linux::CommandExt;
use execloop::{Command, Input, Reactor};

use super::identity::{bits, own};
use super::{Stat, calls, cat, helper, leader, print, skip, stat, status};
use crate::until::Until;

pub(super) fn terminals(reactor: &mut Reactor) {
    let (_master, terminal) = match calls::terminal() {
        Ok(both) => both,
        Err(error) => return skip(&format!("no pseudo-terminal: {error}")),
    };
    assert_eq!(stat(reactor, cat("stat").session(true)).terminal, 0);
    // By the child's number, also where the parent has something else there.
    let mut fifth = cat("stat");
    fifth
        .session(true)
        .extra_fd(5, terminal.try_clone().expect("a copy"))
        .controlling_terminal(5);
    let found = stat(reactor, &mut fifth);
    assert_ne!(found.terminal, 0);
    assert_eq!(
        (found.group, found.session, found.foreground),
        (found.pid, found.pid, found.pid)
    );
    for name in ["in-session", "console"] {
        let mut session = helper(name);
        session
            .session(true)
            .stdin(Input::file(terminal.try_clone().expect("a copy")))
            .controlling_terminal(0);
        print(reactor, &mut session);
    }
}

/// Somebody types Ctrl-Z all the time at the terminal of a process that starts children.
pub(super) fn types_stops() {
    let (master, terminal) = match calls::terminal() {
        Ok(both) => both,
        Err(error) => return skip(&format!("no pseudo-terminal: {error}")),
    };
    let mut reactor = Reactor::new().expect("a reactor");
    let mut session = helper("typed-stops");
    session
        .session(true)
        .stdin(Input::file(terminal.try_clone().expect("a copy")))
        .controlling_terminal(0);
    let types = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            calls::set_nonblocking(&master);
            let mut keys = File::from(master.try_clone().expect("a copy"));
            while types.load(Ordering::Relaxed) {
                // What is typed is echoed, and neither side holds much.
                let _ = keys.write(b"\x1a");
                let _ = keys.read(&mut [0; 64]);
            }
        });
        let _until = Until(&types);
        print(&mut reactor, &mut session);
    });
}

/// The leader of a session at whose terminal that happens. Its own group is an orphaned one, which such a
/// stop spares; those of its children are not.
pub(super) fn typed_stops() {
    let mut reactor = Reactor::new().expect("a reactor");
    for _ in 0..500 {
        let id = reactor.start(Command::new("/bin/true").process_group(0));
        let id = id.expect("it starts");
        let stat = format!("/proc/{}/stat", reactor.pid(id).expect("it runs"));
        while reactor.try_wait(id).is_none() {
            let stat = fs::read_to_string(&stat).unwrap_or_default();
            let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
            let is_stopped = state.is_some_and(|state| state.starts_with('T'));
            assert!(!is_stopped, "by a stop that was not for it: {stat}");
            reactor
                .turn(Some(Duration::from_millis(1)))
                .expect("a turn");
        }
    }
}

/// The leader of a session whose terminal is stdin, in its foreground.
pub(super) fn in_session() {
    let terminal = io::stdin();
    let own_stat = Stat::parse(&fs::read_to_string("/proc/self/stat").expect("own stat"));
    assert_ne!(own_stat.terminal, 0);
    assert_eq!(own_stat.foreground, own_stat.pid);
    let mut reactor = Reactor::new().expect("a reactor");
    let reactor = &mut reactor;
    let ours = || terminal.as_fd().try_clone_to_owned().expect("a copy");

    let plain = stat(reactor, &mut cat("stat"));
    assert_eq!(
        (plain.group, plain.terminal, plain.foreground),
        (own_stat.group, own_stat.terminal, own_stat.group)
    );
    let gone = stat(
        reactor,
        cat("stat").stdin(Input::inherit()).leave_terminal(true),
    );
    assert_eq!((gone.session, gone.terminal), (own_stat.session, 0));

    // The child's group is in the background when it takes the foreground: it would be stopped by SIGTTOU, and we with
    // it, if that were not blocked.
    let taken = stat(reactor, cat("stat").foreground(ours()));
    assert_eq!((taken.group, taken.foreground), (taken.pid, taken.pid));
    calls::take_foreground(&terminal);
    let blocked = bits(&own("SigBlk"));
    let facts = status(reactor, cat("status").foreground(ours()));
    assert_eq!(bits(&facts["SigBlk"]), blocked);
    assert_eq!(bits(&facts["SigIgn"]) & 1 << (libc::SIGTTOU - 1), 0);
    calls::take_foreground(&terminal);

    // Into another's group, with that group.
    let (leader, group) = leader(reactor);
    let joined = stat(reactor, cat("stat").process_group(group).foreground(ours()));
    assert_eq!((joined.group, joined.foreground), (group, group));
    assert_eq!(calls::foreground(&terminal), group);
    calls::take_foreground(&terminal);
    assert_eq!(calls::foreground(&terminal), own_stat.group);
    reactor.stdin(leader).expect("its pipe").close();
    assert!(
        reactor
            .wait(leader)
            .expect("waited")
            .expect("finished")
            .success()
    );
}
