//! Ends of commands: by signals, by their parent's death; and the pidfd that a caller may have.
//! Unaware of which system calls are refused.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use execloop::linux::CommandExt;
use execloop::{
    Cancel, Command, CommandId, Error, Finished, Input, Output, Reactor, Signal, StartError,
};

#[cfg(not(execloop_kqueue_shim))]
use super::plain::pid_of;
use super::{calls, finish, helper, is_root, print, shell, skip};
use crate::start_error::start_error;

fn ended_by(done: &Finished, signal: Signal) -> bool {
    matches!(&done.outcome, Err(Error::Exit(exit)) if exit.status.signal() == Some(signal.number()))
}

/// A command that says that it is there, and then waits for its stdin's end.
fn waiting(script: &str) -> Command {
    let mut command = shell(script);
    command.stdin(Input::pipe()).stdout(Output::pipe());
    command
}

/// Waits for the line that says that it is there.
fn ready(reactor: &mut Reactor, id: CommandId) -> String {
    let mut line = String::new();
    BufReader::new(reactor.stdout(id).expect("its pipe"))
        .read_line(&mut line)
        .expect("a line");
    line
}

pub(super) fn cancels(reactor: &mut Reactor) {
    // Not SIGINT, which is ignored in a shell's background, and then in all that the tests start there.
    for signal in [Signal::KILL, Signal::TERM, Signal::USR1] {
        let mut command = waiting("echo ready; exec cat");
        let id = reactor.start(command.interrupt(signal)).expect("it starts");
        ready(reactor, id);
        assert!(reactor.cancel(id));
        let done = reactor.wait(id).expect("waited").expect("finished");
        assert!(ended_by(&done, signal), "{:?}", done.outcome);
    }
    // The whole group: the grandchild holds the captured pipe, which would not end otherwise.
    let mut family = shell("sleep 1000 & exec sleep 1000");
    family
        .process_group(0)
        .stdout(Output::capture())
        .timeout(Duration::from_millis(1));
    let done = finish(
        reactor,
        family.on_cancel(Cancel::signal(Signal::TERM).to_group()),
    );
    assert!(ended_by(&done, Signal::TERM), "{:?}", done.outcome);
    assert!(done.leaked.is_empty(), "{:?}", done.leaked);
}

pub(super) fn signals_sent(reactor: &mut Reactor) {
    let mut command =
        waiting("trap 'echo usr1; exit 3' USR1; echo ready; while :; do read line; done");
    let id = reactor.start(&mut command).expect("it starts");
    ready(reactor, id);
    let probe = Signal::new(0).expect("a probe");
    reactor.signal(id, probe).expect("it is alive");
    reactor.signal(id, Signal::USR1).expect("signalled");
    // A shell that had the signal just before its read runs the trap after it; one that is gone needs no line.
    let _ = reactor.stdin(id).expect("its pipe").write_all(b"\n");
    assert_eq!(ready(reactor, id), "usr1\n");
    let done = reactor.wait(id).expect("waited").expect("finished");
    let status = done.status.and_then(|status| status.code());
    assert_eq!(status, Some(3), "{:?}", done.outcome);
    let gone = reactor
        .signal(id, Signal::KILL)
        .expect_err("it is finished");
    assert_eq!(gone.to_string(), "the command is not running");
}

#[cfg(not(execloop_kqueue_shim))]
pub(super) fn pidfd(reactor: &mut Reactor) {
    let mut command = waiting("echo ready; exec cat");
    let id = reactor.start(&mut command).expect("it starts");
    ready(reactor, id);
    let pidfd = reactor
        .pidfd(id)
        .expect("it runs")
        .try_clone_to_owned()
        .expect("a copy");
    let pid = pid_of(&pidfd);
    reactor.stdin(id).expect("its pipe").close();
    calls::wait_readable(&pidfd);
    assert!(
        reactor.pidfd(id).is_some(),
        "not reaped before the next turn"
    );
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(done.pid, u32::try_from(pid).ok());
    assert!(reactor.pidfd(id).is_none(), "it is finished");
    // The copy outlives the command, and leads to nobody else.
    calls::wait_readable(&pidfd);
    assert_eq!(pid_of(&pidfd), -1);
    let refused = calls::signal_pidfd(&pidfd, 0)
        .expect_err("it is gone")
        .raw_os_error();
    assert!(
        matches!(refused, Some(libc::ESRCH | libc::ENOSYS | libc::EPERM)),
        "{refused:?}"
    );
}

pub(super) fn parent_death(reactor: &mut Reactor) {
    // While the parent lives nothing happens, and the setting survives the exec.
    let mut child = helper("death-signal");
    assert_eq!(
        print(reactor, child.parent_death_signal(Signal::USR2)),
        format!("{}\n", Signal::USR2.number())
    );
    assert_eq!(print(reactor, &mut helper("death-signal")), "0\n");
    // The grandchild holds our pipe, and lives on unless the signal comes, also as another user.
    let mut parent = helper("dying-parent");
    parent
        .stdout(Output::capture())
        .wait_delay(Duration::from_secs(600));
    let done = finish(reactor, &mut parent);
    assert!(
        done.success() && done.leaked.is_empty(),
        "{:?}",
        done.outcome
    );
    assert_eq!(done.stdout, b"started\n");
}

/// Starts a child that outlives its parent unless it is told otherwise, and dies.
pub(super) fn dying_parent() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut sleep = shell("exec sleep 1000");
    sleep
        .stdout(Output::inherit())
        .parent_death_signal(Signal::KILL);
    if is_root() {
        sleep.uid(65534).gid(65534);
    } else {
        skip("another user needs root");
    }
    reactor.start(&mut sleep).expect("it starts");
    println!("started");
    // Without the reactor's drop, which would kill the child.
    std::process::exit(0);
}

pub(super) fn print_death_signal() {
    println!("{}", calls::death_signal());
}

/// A filter that refuses waitid(2) is no old kernel: children are waited for by their pid.
pub(super) fn waitid_filtered() {
    let mut reactor = Reactor::new().expect("a reactor");
    let done = finish(&mut reactor, &mut shell("exit 7"));
    assert_eq!(done.status.and_then(|status| status.code()), Some(7));
    let failed = start_error(&mut reactor, &mut Command::new("/nonexistent"));
    assert!(matches!(failed, StartError::Step { .. }), "{failed:?}");
    let id = reactor.start(Command::new("/bin/sleep").arg("3600"));
    assert!(reactor.kill(id.expect("it starts")));
    let done = reactor.wait_any().expect("waited").expect("finished");
    assert_eq!(
        done.outcome.expect_err("killed").to_string(),
        "signal: SIGKILL (cancelled)"
    );
    // What cannot be asked for is no end: a living command is not swept, however often it is looked at.
    let mut relay = Command::new("/bin/cat");
    relay.process_group(0).sweep_group(true);
    let id = reactor.start(relay.stdin(Input::pipe()).stdout(Output::pipe()));
    let id = id.expect("it starts");
    let exe = format!("/proc/{}/exe", reactor.pid(id).expect("it runs"));
    let cat = std::fs::canonicalize("/bin/cat").expect("cat");
    while std::fs::read_link(&exe).expect("it lives") != cat {
        std::thread::yield_now();
    }
    // The youngest is not looked at, but for its elder, which is executed.
    let _ = finish(&mut reactor, &mut shell("exit 0"));
    let mut stdin = reactor.stdin(id).expect("its stdin");
    stdin.write_all(b"word").expect("it reads");
    stdin.close();
    let mut word = String::new();
    let mut stdout = reactor.stdout(id).expect("its stdout");
    stdout.read_to_string(&mut word).expect("it writes");
    assert_eq!(word, "word");
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(done.success(), "{done:?}");
}

/// The kernel takes children itself where SIGCHLD is ignored: the number of one may be another's, and its group's, too.
pub(super) fn taken_leader() {
    calls::ignore(libc::SIGCHLD);
    let mut reactor = Reactor::new().expect("a reactor");
    let mut leaves = shell("sleep 1000 </dev/null >/dev/null 2>&1 & echo $!");
    leaves.process_group(0).sweep_group(true);
    let done = finish(&mut reactor, leaves.stdout(Output::capture()));
    let text = String::from_utf8(done.stdout).expect("text");
    let left: i32 = text.trim().parse().expect("a pid");
    let stat = std::fs::read_to_string(format!("/proc/{left}/stat"));
    // Not one that has ended and is not taken yet.
    let stat = stat.expect("it was not signalled");
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    assert!(
        state.is_some_and(|state| !state.starts_with(['Z', 'X'])),
        "{stat}"
    );
    calls::end(left);
}

pub(super) fn waitid_missing() {
    let error = Reactor::new().expect_err("an old kernel");
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("5.4"), "{error}");
}
