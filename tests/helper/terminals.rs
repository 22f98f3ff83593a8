//! Many commands at once, each on a terminal of its own: what else they hold, and what they leave open here.
//! Unaware of the tests' harness.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use execloop::{Command, Input, Output, Reactor, TerminalSize};

use crate::counts::{assert_fds, assert_no_children, open_fds};

/// `terminals N`: N of them wait for a line, and then say what their descriptors are.
pub(crate) fn many(arguments: &[OsString]) -> ExitCode {
    let count = arguments.first().and_then(|text| text.to_str());
    let count: usize = count.expect("N").parse().expect("a number");
    let before = open_fds();
    let mut reactor = Reactor::builder()
        .raise_fd_limit(true)
        .build()
        .expect("a reactor");
    let own = std::env::current_exe().expect("our own path");
    let mut ids = Vec::new();
    for _ in 0..count {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "read line; exec \"$0\" describe-fds 1"])
            .arg(&own)
            .stdin(Input::pipe().terminal())
            .stdout(Output::capture().terminal(TerminalSize::default()));
        ids.push(reactor.start(&mut command).expect("it starts"));
    }
    while reactor.queued() > 0 {
        reactor.turn(None).expect("a turn");
    }
    assert_eq!(reactor.running(), count, "all at once");
    for id in &ids {
        let mut stdin = reactor.stdin(*id).expect("a pipe");
        stdin.write_all(b"go\n").expect("it reads");
    }
    let mut terminals = BTreeSet::new();
    for id in ids {
        let done = reactor.wait(id).expect("waited").expect("finished");
        assert!(done.success(), "{:?}", done.outcome);
        let said = String::from_utf8(done.stdout).expect("UTF-8");
        let lines: Vec<&str> = said.lines().collect();
        let [echo, stdin, stdout, stderr] = lines[..] else {
            panic!("more than its own: {said}");
        };
        assert_eq!((echo, stderr), ("go", "2 w /dev/null"));
        assert!(stdin.starts_with("0 rw /dev/pts/"), "{stdin}");
        assert_eq!(stdin[1..], stdout[1..], "one terminal");
        assert!(terminals.insert(stdin.to_owned()), "another's: {stdin}");
    }
    drop(reactor);
    assert_no_children();
    assert_fds(&before);
    ExitCode::SUCCESS
}
