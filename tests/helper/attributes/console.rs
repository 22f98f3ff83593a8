//! The console: who is in the terminal's foreground, while its command runs and after each way out.
//! Unaware of shells.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use execloop::{Command, CommandId, Error, Input, Output, Reactor};

use super::{Stat, calls, cat, finish, leader_of, shell, stat};

/// The leader of a session whose terminal is stdin, in its foreground.
pub(super) fn ways_out() {
    let own = Stat::parse(&fs::read_to_string("/proc/self/stat").expect("own stat"));
    assert_eq!((own.group, own.foreground), (own.pid, own.pid));
    let terminal = File::open("/dev/tty").expect("a terminal");
    let holder = || calls::foreground(&terminal);
    let mut reactor = Reactor::new().expect("a reactor");

    let found = stat(&mut reactor, cat("stat").console(true));
    assert_eq!((found.group, found.foreground), (found.pid, found.pid));
    assert_eq!(holder(), own.group, "after its end");

    // Not one that has a group of its own.
    let other = stat(&mut reactor, cat("stat").process_group(0));
    assert_eq!((other.group, other.foreground), (other.pid, own.group));

    let (id, pid) = leader_of(&mut reactor, stays().console(true));
    assert_eq!(holder(), pid);
    assert!(reactor.kill(id));
    finish_of(&mut reactor, id);
    assert_eq!(holder(), own.group, "after a kill");

    // Its start fails when it has the terminal already.
    let text = std::env::temp_dir().join(format!("execloop-no-program-{}", own.pid));
    fs::write(&text, "no program").expect("a file");
    fs::set_permissions(&text, PermissionsExt::from_mode(0o755)).expect("a mode");
    let done = finish(&mut reactor, Command::new(&text).console(true));
    fs::remove_file(&text).expect("the file");
    assert!(matches!(done.outcome, Err(Error::Start(_))), "{done:?}");
    assert_eq!(holder(), own.group, "after a start that failed");

    one_at_a_time(&mut reactor, own.group, &holder);

    // A descendant that is left in its group has it no more.
    let left = "sleep 1000 >/dev/null 2>&1 & exit 3";
    let done = finish(&mut reactor, shell(left).console(true).sweep_group(true));
    assert!(done.outcome.is_err(), "{done:?}");
    assert_eq!(holder(), own.group, "with a descendant left");

    // One that is let go has it until the next comes.
    let mut sleeps = shell("echo $$; exec sleep 1000");
    let (id, pid) = leader_of(&mut reactor, sleeps.stdout(Output::pipe()).console(true));
    reactor.detach(id).expect("it runs");
    assert_eq!(holder(), pid, "of one that is let go");
    let found = stat(&mut reactor, cat("stat").console(true));
    assert_eq!((found.foreground, holder()), (found.pid, own.group));
    calls::end_group(pid);

    // While everything is suspended, the terminal is this process's.
    let (id, pid) = leader_of(&mut reactor, stays().console(true));
    reactor.suspend().expect("it stops");
    assert_eq!(holder(), own.group, "while it is suspended");
    reactor.unsuspend();
    assert_eq!(holder(), pid, "when it goes on");
    // It has stopped by then: one that has yet to heed the signal could read what is typed for the next.
    for round in 0..100 {
        reactor.suspend().expect("it stops");
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its stat");
        assert!(state.contains(") T "), "round {round}: {state}");
        reactor.unsuspend();
    }
    drop(reactor);
    assert_eq!(holder(), own.group, "after the reactor's end");
    let _ = id;

    let held = Cell::new(0);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut reactor = Reactor::new().expect("a reactor");
        leader_of(&mut reactor, stays().console(true));
        held.set(holder());
        std::panic::resume_unwind(Box::new("on the way"));
    }));
    assert!(panicked.is_err() && held.get() != own.group);
    assert_eq!(holder(), own.group, "after a panic");

    // Somebody else has it by then, as a shell that has put this process into the background.
    let mut reactor = Reactor::new().expect("a reactor");
    let (other, group) = leader_of(&mut reactor, stays().process_group(0));
    let (id, _) = leader_of(&mut reactor, stays().console(true));
    calls::put_in_foreground(&terminal, group);
    reactor.stdin(id).expect("its pipe").close();
    finish_of(&mut reactor, id);
    assert_eq!(holder(), group, "what is another's is not taken");
    reactor.stdin(other).expect("its pipe").close();
    finish_of(&mut reactor, other);
    // From the background nothing is given away.
    let found = stat(&mut reactor, cat("stat").console(true));
    assert_eq!((found.group, found.foreground), (found.pid, group));
    calls::take_foreground(&terminal);

    // A forked copy of this process that drops its reactor.
    let (id, pid) = leader_of(&mut reactor, stays().console(true));
    let reactor = Cell::new(Some(reactor));
    calls::in_a_copy(|| drop(reactor.take()));
    assert_eq!(holder(), pid, "a copy takes nothing back");
    let mut reactor = reactor.take().expect("the original's");
    reactor.stdin(id).expect("its pipe").close();
    finish_of(&mut reactor, id);
    assert_eq!(holder(), own.group);
}

fn one_at_a_time(reactor: &mut Reactor, own: i32, holder: &dyn Fn() -> i32) {
    let (first, pid) = leader_of(reactor, stays().console(true));
    let second = reactor
        .start(shell("exit 0").console(true))
        .expect("queued");
    // Others do not wait.
    assert!(finish(reactor, &mut shell("exit 0")).success());
    assert_eq!((reactor.pid(second), holder()), (None, pid));
    reactor.stdin(first).expect("its pipe").close();
    finish_of(reactor, first);
    finish_of(reactor, second);
    assert_eq!(holder(), own, "after two");
}

/// Lives until its stdin ends.
fn stays() -> Command {
    let mut command = shell("echo $$; exec cat");
    command.stdin(Input::pipe()).stdout(Output::pipe());
    command
}

#[track_caller]
fn finish_of(reactor: &mut Reactor, id: CommandId) {
    let _ = reactor.wait(id).expect("waited").expect("finished");
}

/// Runs one line of shell on the console, as a program with a terminal does, and exits as that.
pub(super) fn line(line: &str) -> ExitCode {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut command = shell(line);
    command
        .console(true)
        .stdin(Input::inherit())
        .stdout(Output::inherit())
        .stderr(Output::inherit());
    let done = finish(&mut reactor, &mut command);
    match &done.outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
