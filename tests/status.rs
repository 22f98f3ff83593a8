//! What is told of an exit: the status, its words, its cost, and what is known when somebody else was faster.
//! Unaware of contexts and delays.

#[path = "common"]
mod common {
    #[cfg(target_os = "linux")]
    pub mod embed;
    pub mod failing;
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    mod kernel;
    pub mod pass;
    pub mod reaped;
    pub mod shell;
    pub mod stay;
    pub mod stolen_status;
    pub mod unseen;
    pub mod wait;
    mod watchdog;
    pub mod word;
}

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use execloop::{Cancel, Command, Error, Input, Output, Reactor, Signal};

#[cfg(target_os = "linux")]
use common::embed::embed;
use common::failing::Failing;
use common::finish::finish;
use common::helper_path::helper_path;
use common::pass::pass_ms;
use common::reaped::turn_until_reaped;
use common::shell::shell;
use common::stay::Stay;
use common::stolen_status::keeps_statuses;
use common::stolen_status::steal_status;
use common::unseen::exited;
use common::wait::wait;
use common::word::word;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn reactor() -> Reactor {
    Reactor::new().expect("a reactor")
}

#[test]
fn every_exit_status_is_told_as_it_is() {
    for code in [0, 1, 2, 126, 127, 253, 255] {
        let done = finish(&mut shell(&format!("exit {code}")));
        let status = done.status.expect("a status");
        assert_eq!((status.code(), status.signal()), (Some(code), None));
        if code == 0 {
            assert!(done.success());
        } else {
            assert_eq!(word(&done), format!("exit status {code}"));
        }
    }
}

#[test]
fn a_signal_that_ends_it_is_told_by_name() {
    for (signal, text) in [("TERM", "signal: SIGTERM"), ("KILL", "signal: SIGKILL")] {
        let done = finish(&mut shell(&format!("kill -{signal} $$")));
        assert_eq!(word(&done), text);
        let status = done.status.expect("a status");
        assert_eq!(status.code(), None);
        assert!(!status.core_dumped());
    }
}

#[test]
fn stopped_child_is_not_finished_until_it_ends() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let id = reactor.start(&mut stay.command).expect("start");
    let pid = stay.pid();
    reactor.signal(id, Signal::STOP).expect("it runs");
    wait_for_state(pid, 'T');
    // Its end of input cannot end it now.
    stay.release();
    pass_ms(10);
    reactor.turn(NOW).expect("turn");
    assert!(reactor.try_wait_any().is_none() && reactor.running() == 1);
    reactor.signal(id, Signal::CONT).expect("it is stopped");
    assert_eq!(word(&wait(&mut reactor, id)), "ok");
}

/// Waits until the child is in this state of ps(1).
fn wait_for_state(pid: u32, state: char) {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        let after_name = stat.rsplit(") ").next().expect("a state");
        if after_name.starts_with(state) {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn stopped_child_is_killed_at_once_and_takes_other_signals_when_it_goes_on() {
    for (cancel, delay, expected) in [
        (Cancel::kill(), None, "signal: SIGKILL (cancelled)"),
        // The request waits as long as the child is stopped; the end of the delay does not.
        (
            Cancel::signal(Signal::TERM),
            Some(Duration::from_millis(10)),
            "signal: SIGKILL (cancelled)",
        ),
        (
            Cancel::signal(Signal::TERM).then(Duration::from_millis(10), Signal::CONT),
            None,
            "exit status 3 (cancelled)",
        ),
    ] {
        let mut reactor = reactor();
        let mut stay = Stay::new(&["exit=TERM:3"]);
        stay.command.on_cancel(cancel);
        if let Some(delay) = delay {
            stay.command.wait_delay(delay);
        }
        let id = reactor.start(&mut stay.command).expect("start");
        let pid = stay.pid();
        reactor.signal(id, Signal::STOP).expect("it runs");
        wait_for_state(pid, 'T');
        assert!(reactor.cancel(id));
        assert_eq!(word(&wait(&mut reactor, id)), expected);
    }
}

#[test]
fn exit_outweighs_the_cancel_and_the_cancel_the_copy() {
    for (words, cancel, expected) in [
        (["end=3", "out=x"], "no way", "exit status 3 (cancelled)"),
        (["end=0", "out=x"], "no way", "cancel: no way"),
        (["end=0", "out=x"], "", "copy stdout: the disk is full"),
        (["end=3", "out=x"], "", "exit status 3"),
    ] {
        let mut reactor = reactor();
        let mut stay = Stay::new(&words);
        stay.command
            .stdout(Output::writer(Failing))
            .on_cancel(Cancel::with(move |_| Err(std::io::Error::other(cancel))));
        let id = reactor.start(&mut stay.command).expect("start");
        stay.pid();
        if !cancel.is_empty() {
            assert!(reactor.cancel(id));
        }
        stay.release();
        assert_eq!(word(&wait(&mut reactor, id)), expected);
    }
}

#[test]
fn exit_error_is_the_outcome_itself_and_the_others_name_what_was_tried() {
    let done = finish(&mut shell("exit 3"));
    match done.outcome {
        Err(Error::Exit(exit)) => assert_eq!(exit.status.code(), Some(3)),
        other => panic!("{other:?}"),
    }
    let error = Error::Cancel(std::io::Error::other("no way"));
    assert_eq!(error.to_string(), "cancelling the command: no way");
    let error = Error::Kill(std::io::Error::from_raw_os_error(libc::EPERM));
    assert_eq!(
        error.to_string(),
        "killing the command: Operation not permitted"
    );
}

#[test]
fn the_first_of_two_failed_copies_is_told() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&["err=x"]);
    stay.command
        .stdout(Output::writer(Failing))
        .stderr(Output::writer(Failing));
    let id = reactor.start(&mut stay.command).expect("start");
    stay.pid();
    stay.release();
    assert_eq!(
        word(&wait(&mut reactor, id)),
        "copy stderr: the disk is full"
    );
}

#[test]
fn usage_comes_with_the_status_and_counts_what_was_waited_for() {
    let done = finish(&mut shell("cat /dev/zero | head -c 20000000 >/dev/null"));
    let usage = done.usage.expect("from the same call as the status");
    assert!(usage.user + usage.system > Duration::ZERO);
    assert!(usage.rss_bytes_max > 4096);
    let times = (done.started, done.reaped, done.drained);
    assert!(times.0 <= times.1 && times.1 <= times.2 && times.0.is_some());
    assert_eq!(
        Some(done.elapsed()),
        times
            .1
            .zip(times.0)
            .map(|(reaped, started)| reaped - started)
    );
}

#[test]
fn status_that_was_taken_before_the_reactor_saw_the_exit_is_known_all_the_same() {
    for (code, expected) in [("end=0", "ok"), ("end=7", "exit status 7")] {
        let mut reactor = reactor();
        let mut stay = Stay::new(&[code, "out=x"]);
        stay.command.stdout(Output::capture());
        let id = reactor.start(&mut stay.command).expect("start");
        let pid = stay.pid();
        stay.exit_unseen();
        steal_status(pid);
        let done = wait(&mut reactor, id);
        assert_eq!(done.stdout, b"x");
        assert!(done.usage.is_none(), "that went to the other");
        assert!(done.reaped.is_some());
        let expected = if keeps_statuses() {
            expected
        } else {
            "StatusLost"
        };
        assert_eq!(word(&done), expected);
    }
}

#[test]
fn signal_that_ended_a_child_whose_status_was_taken_is_known() {
    let mut reactor = reactor();
    let mut stay = Stay::new(&[]);
    let id = reactor.start(&mut stay.command).expect("start");
    let pid = stay.pid();
    reactor.signal(id, Signal::TERM).expect("it runs");
    exited(pid);
    steal_status(pid);
    let gone = reactor
        .signal(id, Signal::KILL)
        .expect_err("reaped by somebody");
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(gone.to_string(), "the command is not running");
    let expected = if keeps_statuses() {
        "signal: SIGTERM"
    } else {
        "StatusLost"
    };
    assert_eq!(word(&wait(&mut reactor, id)), expected);
}

#[cfg(target_os = "linux")]
#[test]
fn statuses_taken_by_a_careless_part_of_the_program_never_hang_it() {
    let kept = if keeps_statuses() { "kept" } else { "lost" };
    embed(&["statuses_taken_by_others", kept]);
}

#[cfg(target_os = "linux")]
#[test]
fn statuses_that_the_kernel_does_not_keep_are_told_as_lost() {
    embed(&["statuses_taken_by_others", "lost"]);
}

#[cfg(target_os = "linux")]
#[test]
fn child_that_somebody_else_traces_is_reaped_when_the_tracer_is_done() {
    embed(&["traced_child_is_asked_again"]);
}

#[cfg(target_os = "linux")]
#[test]
fn child_that_asks_to_be_traced_has_not_ended() {
    embed(&["child_that_asks_to_be_traced_has_not_ended"]);
}

#[test]
fn pipes_of_the_caller_are_closed_when_the_command_is_handed_out() {
    use std::io::Write;
    let mut reactor = reactor();
    let mut command = Command::new("cat");
    command.stdin(Input::pipe()).stdout(Output::pipe());
    let id = reactor.start(&mut command).expect("start");
    reactor.signal(id, Signal::KILL).expect("it runs");
    turn_until_reaped(&mut reactor, id);
    // What another test starts by fork holds a copy of the child's end until its exec.
    let broken = loop {
        let mut stdin = reactor.stdin(id).expect("open until then");
        if let Err(error) = stdin.write(b"x") {
            break error;
        }
    };
    assert_eq!(broken.kind(), std::io::ErrorKind::BrokenPipe);
    let _ = wait(&mut reactor, id);
    assert!(reactor.stdin(id).is_none() && reactor.stdout(id).is_none());
}

#[test]
fn stdin_of_the_caller_is_not_closed_by_waiting() {
    let mut reactor = reactor();
    let mut command = Command::new("cat");
    command
        .stdin(Input::pipe())
        .timeout(Duration::from_millis(30));
    let id = reactor.start(&mut command).expect("start");
    // It would end by itself if waiting closed its stdin.
    let done = wait(&mut reactor, id);
    assert_eq!(word(&done), "signal: SIGKILL (timed out)");
}

#[test]
fn program_killed_from_outside_leaves_its_children_running() {
    use std::io::{BufRead, BufReader, Read, Write};
    let (stdin, mut leash) = std::io::pipe().expect("a pipe");
    let (mut answers, answer) = std::io::pipe().expect("a pipe");
    // The builder would keep the pipes' other ends.
    let mut program = {
        let mut program = std::process::Command::new(helper_path());
        program
            .args(["embed", "run_a_child_for_ever"])
            .stdin(stdin)
            .stderr(answer)
            .stdout(std::process::Stdio::piped());
        program.spawn().expect("spawn")
    };
    let mut line = String::new();
    let stdout = program.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("read");
    assert_eq!(line, "running\n");
    program.kill().expect("kill");
    program.wait().expect("wait");
    leash.write_all(b"?").expect("it lives");
    answers.read_exact(&mut [0]).expect("it lives");
    drop(leash);
    assert_eq!(answers.read(&mut [0]).expect("read"), 0);
}
