//! The timing matrix of context, cancel action and wait delay, row by row, with real processes.
//! Unaware of the job machine, whose own tests drive the same rows without a process.
//!
//! Z: exit status 0. N: another. S: by a signal. g: the first failed copy, or none.

#[path = "common"]
mod common {
    mod alive;
    pub mod embed;
    pub mod failing;
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    mod kernel;
    mod leash;
    mod orphan;
    pub mod pass;
    pub mod reaped;
    pub mod shared;
    pub mod shell;
    pub mod stay;
    pub mod stolen_status;
    pub mod unseen;
    pub mod wait;
    mod watchdog;
    pub mod word;
}

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use execloop::{
    Cancel, Cause, Command, CommandId, Context, Error, Finished, Output, Reactor, Signal, Stream,
};

use common::embed::embed;
use common::failing::Failing;
use common::pass::pass_ms;
use common::reaped::turn_until_reaped;
use common::shared::Shared;
use common::stay::Stay;
use common::stolen_status::keeps_statuses;
use common::stolen_status::steal_status;
use common::unseen::exited;
use common::wait::wait;
use common::word::word;

/// A delay that no test waits for.
const LONG: Duration = Duration::from_secs(600);
/// A delay that is over soon, and may be over at once.
const SHORT: Duration = Duration::from_millis(10);

/// What the cancel action answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The context never ends.
    Never,
    /// The action is `Cancel::nothing` (Go: the field is nil).
    Nothing,
    /// It did what it could.
    Yes,
    /// The process was done already (Go: `os.ErrProcessDone`).
    Gone,
    /// It failed.
    Failed,
}

impl Asked {
    const ENDING: [Asked; 4] = [Asked::Nothing, Asked::Yes, Asked::Gone, Asked::Failed];

    fn cancel(self) -> Cancel {
        match self {
            Asked::Never | Asked::Yes => Cancel::with(|_| Ok(())),
            Asked::Nothing => Cancel::nothing(),
            Asked::Gone => Cancel::with(|_| Err(io::Error::from_raw_os_error(libc::ESRCH))),
            Asked::Failed => Cancel::with(|_| Err(io::Error::other("no way"))),
        }
    }
}

/// One command under a context, and all that is needed to end it.
struct Run {
    reactor: Reactor,
    stay: Stay,
    id: CommandId,
    context: Context,
    out: Shared,
}

/// Starts a child with a copied stdout and stderr, and waits until it is ready. With `fails`, the copy of its stdout
/// fails at the first byte.
fn start(words: &[&str], cancel: Cancel, delay: Option<Duration>, fails: bool) -> Run {
    let mut reactor = Reactor::new().expect("a reactor");
    let (context, out) = (Context::new(), Shared::default());
    let mut words = words.to_vec();
    if fails {
        words.push("out=x");
    }
    let mut stay = Stay::new(&words);
    stay.command
        .stdout(if fails {
            Output::writer(Failing)
        } else {
            Output::writer(out.clone())
        })
        .stderr(Output::capture())
        .context(&context)
        .on_cancel(cancel);
    if let Some(delay) = delay {
        stay.command.wait_delay(delay);
    }
    let id = reactor.start(&mut stay.command).expect("start");
    stay.pid();
    Run {
        reactor,
        stay,
        id,
        context,
        out,
    }
}

impl Run {
    fn wait(&mut self) -> Finished {
        wait(&mut self.reactor, self.id)
    }

    /// The context ends, and the reactor acts on it, while the child lives.
    fn end_context_while_running(&mut self, asked: Asked) {
        if asked != Asked::Never {
            self.context.cancel();
            self.reactor.turn(Some(Duration::ZERO)).expect("turn");
        }
    }

    /// The child exits, then the context ends, then the reactor sees both in one turn: the context first.
    fn exit_then_end_context(&mut self, asked: Asked) {
        self.stay.exit_unseen();
        if asked != Asked::Never {
            self.context.cancel();
        }
    }
}

/// One cell of the table. What it does not name is as it should be.
#[derive(Clone, Copy, Debug)]
struct Case {
    asked: Asked,
    exit: u8,
    /// The writer of its stdout fails at the first byte.
    copy_fails: bool,
    /// A descendant holds its pipes.
    orphan: bool,
    /// Another part of the program takes its status.
    status_stolen: bool,
}

fn case(asked: Asked) -> Case {
    Case {
        asked,
        exit: 0,
        copy_fails: false,
        orphan: false,
        status_stolen: false,
    }
}

impl Case {
    fn exits(self, exit: u8) -> Case {
        Case { exit, ..self }
    }

    fn copy_fails(self) -> Case {
        Case {
            copy_fails: true,
            ..self
        }
    }

    fn orphan(self) -> Case {
        Case {
            orphan: true,
            ..self
        }
    }

    fn status_stolen(self) -> Case {
        Case {
            status_stolen: true,
            ..self
        }
    }

    fn start(self, delay: Option<Duration>) -> Run {
        let end = format!("end={}", self.exit);
        let mut words = vec![end.as_str()];
        if self.orphan {
            words.push("orphan");
        }
        start(&words, self.asked.cancel(), delay, self.copy_fails)
    }
}

/// Rows A: no wait delay; the context ends while the child lives, which then exits by itself.
fn row_a(case: Case) -> String {
    let mut run = case.start(None);
    run.end_context_while_running(case.asked);
    run.stay.release();
    word(&run.wait())
}

#[test]
fn a1_without_an_ending_context_the_outcome_is_the_exit_then_the_copy() {
    assert_eq!(row_a(case(Asked::Never)), "ok");
    assert_eq!(
        row_a(case(Asked::Never).copy_fails()),
        "copy stdout: the disk is full"
    );
    assert_eq!(
        row_a(case(Asked::Never).exits(3).copy_fails()),
        "exit status 3"
    );
}

#[test]
fn a2_cancel_nothing_without_a_delay_ignores_the_context() {
    assert_eq!(row_a(case(Asked::Nothing)), "ok");
    assert_eq!(
        row_a(case(Asked::Nothing).copy_fails()),
        "copy stdout: the disk is full"
    );
    assert_eq!(row_a(case(Asked::Nothing).exits(3)), "exit status 3");
}

#[test]
fn a3_exit_0_after_a_cancel_that_worked_is_the_contexts_cause_and_drops_the_copy_error() {
    assert_eq!(row_a(case(Asked::Yes)), "stopped: cancelled");
    assert_eq!(row_a(case(Asked::Yes).copy_fails()), "stopped: cancelled");
    assert_eq!(
        row_a(case(Asked::Yes).exits(3).copy_fails()),
        "exit status 3 (cancelled)"
    );
}

#[test]
fn a4_exit_0_after_a_cancel_that_came_too_late_is_as_if_nothing_was_asked() {
    assert_eq!(row_a(case(Asked::Gone)), "ok");
    assert_eq!(
        row_a(case(Asked::Gone).copy_fails()),
        "copy stdout: the disk is full"
    );
    assert_eq!(
        row_a(case(Asked::Gone).exits(3)),
        "exit status 3 (cancelled)"
    );
}

#[test]
fn a5_exit_0_after_a_cancel_that_failed_is_its_error() {
    assert_eq!(row_a(case(Asked::Failed)), "cancel: no way");
    assert_eq!(row_a(case(Asked::Failed).copy_fails()), "cancel: no way");
    assert_eq!(
        row_a(case(Asked::Failed).exits(3)),
        "exit status 3 (cancelled)"
    );
}

#[test]
fn a_a_pipe_that_an_orphan_holds_is_waited_for_in_every_row() {
    let rows = [
        (Asked::Never, "ok"),
        (Asked::Nothing, "ok"),
        (Asked::Yes, "stopped: cancelled"),
        (Asked::Gone, "ok"),
        (Asked::Failed, "cancel: no way"),
    ];
    for (asked, expected) in rows {
        let mut run = start(&["orphan"], asked.cancel(), None, false);
        run.end_context_while_running(asked);
        run.stay.release();
        turn_until_reaped(&mut run.reactor, run.id);
        run.reactor.turn(Some(Duration::ZERO)).expect("turn");
        assert_eq!(
            run.reactor.running(),
            1,
            "{asked:?}: finished although the pipe is open"
        );
        assert!(run.stay.is_alive(), "{asked:?}: the orphan was harmed");
        run.stay.release_orphan();
        let done = run.wait();
        assert_eq!(word(&done), expected, "{asked:?}");
        assert!(done.leaked.is_empty(), "{asked:?}");
    }
}

#[test]
fn a_child_that_handles_the_interrupt_and_exits_0_is_stopped() {
    let mut run = start(&["exit=INT:0"], Cancel::signal(Signal::INT), None, false);
    run.context.cancel();
    assert_eq!(word(&run.wait()), "stopped: cancelled");
}

#[test]
fn a_child_that_the_interrupt_ends_or_that_exits_otherwise_tells_its_status() {
    for (words, cancel, expected) in [
        (
            ["exit=INT:7"],
            Cancel::signal(Signal::INT),
            "exit status 7 (cancelled)",
        ),
        (
            ["end=0"],
            Cancel::signal(Signal::INT),
            "signal: SIGINT (cancelled)",
        ),
        (
            ["ignore=INT"],
            Cancel::kill(),
            "signal: SIGKILL (cancelled)",
        ),
    ] {
        let mut run = start(&words, cancel, None, false);
        run.context.cancel();
        assert_eq!(word(&run.wait()), expected);
    }
}

/// Rows B: a wait delay; the child is reaped before the clock ends. An orphan holds its pipes until then.
fn row_b(case: Case) -> (String, Vec<Stream>) {
    let mut run = case.start(Some(if case.orphan { SHORT } else { LONG }));
    run.exit_then_end_context(case.asked);
    let done = run.wait();
    if case.orphan {
        assert!(run.stay.is_alive(), "{case:?}: the orphan was harmed");
    }
    (word(&done), done.leaked)
}

const BOTH: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

#[test]
fn b1_exit_with_open_pipe_reports_wait_delay() {
    assert_eq!(row_b(case(Asked::Never)).0, "ok");
    assert_eq!(
        row_b(case(Asked::Never).copy_fails()).0,
        "copy stdout: the disk is full"
    );
    assert_eq!(
        row_b(case(Asked::Never).orphan()),
        ("wait delay".to_owned(), BOTH.to_vec())
    );
    // The failed copy had closed its own pipe before.
    assert_eq!(
        row_b(case(Asked::Never).copy_fails().orphan()),
        ("wait delay".to_owned(), vec![Stream::Stderr])
    );
    assert_eq!(
        row_b(case(Asked::Never).exits(3).orphan()).0,
        "exit status 3"
    );
}

#[test]
fn b2_cancel_nothing_with_a_delay_bounds_the_pipes_and_tells_no_cause() {
    assert_eq!(row_b(case(Asked::Nothing)).0, "ok");
    assert_eq!(
        row_b(case(Asked::Nothing).copy_fails()).0,
        "copy stdout: the disk is full"
    );
    assert_eq!(row_b(case(Asked::Nothing).orphan()).0, "wait delay");
}

#[test]
fn b3_a_cancel_that_worked_outweighs_the_wait_delay() {
    assert_eq!(row_b(case(Asked::Yes).copy_fails()).0, "stopped: cancelled");
    assert_eq!(
        row_b(case(Asked::Yes).orphan()),
        ("stopped: cancelled".to_owned(), BOTH.to_vec())
    );
    assert_eq!(
        row_b(case(Asked::Yes).exits(3).orphan()).0,
        "exit status 3 (cancelled)"
    );
}

#[test]
fn b4_a_cancel_that_came_too_late_leaves_the_wait_delay() {
    assert_eq!(row_b(case(Asked::Gone)).0, "ok");
    assert_eq!(
        row_b(case(Asked::Gone).copy_fails()).0,
        "copy stdout: the disk is full"
    );
    assert_eq!(row_b(case(Asked::Gone).orphan()).0, "wait delay");
}

#[test]
fn b5_a_cancel_that_failed_outweighs_the_wait_delay() {
    assert_eq!(row_b(case(Asked::Failed).copy_fails()).0, "cancel: no way");
    assert_eq!(row_b(case(Asked::Failed).orphan()).0, "cancel: no way");
}

#[test]
fn b_child_killed_by_its_cancel_with_an_orphan_on_its_pipe_is_not_waited_for_longer_than_the_delay()
{
    let mut run = start(&["orphan"], Cancel::kill(), Some(SHORT), false);
    run.context.cancel();
    let done = run.wait();
    assert_eq!(word(&done), "signal: SIGKILL (cancelled)");
    assert_eq!(done.leaked, BOTH);
    let drained = done.drained.zip(done.started);
    assert!(drained.is_some_and(|(drained, started)| drained - started >= SHORT));
    assert!(run.stay.is_alive(), "only the child itself is killed");
}

#[test]
fn c1_child_that_does_not_end_is_killed_when_the_delay_is_over() {
    for asked in Asked::ENDING {
        for words in [&["ignore=INT"][..], &["ignore=INT", "orphan"]] {
            let mut run = start(words, asked.cancel(), Some(SHORT), false);
            run.context.cancel();
            let done = run.wait();
            assert_eq!(
                word(&done),
                "signal: SIGKILL (cancelled)",
                "{asked:?} {words:?}"
            );
        }
    }
}

#[test]
fn c1_child_that_ignores_the_interrupt_is_killed_when_the_delay_is_over() {
    let mut run = start(
        &["ignore=INT"],
        Cancel::signal(Signal::INT),
        Some(SHORT),
        false,
    );
    run.context.cancel();
    let done = run.wait();
    assert_eq!(word(&done), "signal: SIGKILL (cancelled)");
    assert!(done.elapsed() >= SHORT);
}

/// What the other command's callback does in rows C2 to C6.
type Act = Box<dyn FnOnce() + Send>;

/// Rows C2 to C6: the child exits after the reactor has polled and before it kills, in the same turn. An exit that
/// the reactor sees is reaped at once, so a late `wait` cannot bring these rows about, as it does in Go; the cancel
/// callback of another command can.
fn row_c(case: Case) -> String {
    let mut other = Stay::new(&[]);
    let act: Arc<Mutex<Option<Act>>> = Arc::default();
    let acts = Arc::clone(&act);
    other
        .command
        .timeout(Duration::from_millis(1))
        .on_cancel(Cancel::with(move |_| {
            if let Some(act) = acts.lock().expect("no panic").take() {
                act();
            }
            Ok(())
        }));
    let mut run = case.start(Some(Duration::from_millis(20)));
    run.reactor.start(&mut other.command).expect("start");
    let (pid, leash) = (run.stay.pid(), run.stay.take_leash());
    *act.lock().expect("no panic") = Some(Box::new(move || {
        drop(leash);
        exited(pid);
        if case.status_stolen {
            steal_status(pid);
        }
    }));
    pass_ms(5);
    // Its kill is due after the other's timeout.
    assert!(run.reactor.cancel(run.id));
    pass_ms(50);
    // Both are due in this turn, and nothing has exited yet.
    run.reactor.turn(Some(Duration::ZERO)).expect("turn");
    assert!(
        act.lock().expect("no panic").is_none(),
        "the callback was called"
    );
    word(&run.wait())
}

#[test]
fn c2_exit_0_that_races_the_kill_is_the_cause_after_a_cancel_that_worked() {
    assert_eq!(row_c(case(Asked::Yes)), "stopped: cancelled");
    assert_eq!(
        row_c(case(Asked::Yes).copy_fails().orphan()),
        "stopped: cancelled"
    );
    assert_eq!(
        row_c(case(Asked::Yes).exits(3)),
        "exit status 3 (cancelled)"
    );
}

// Before it kills, the loop looks whether the child is over: an exit that it was not told of yet counts, and so does what
// came of the copies. That an exit between this look and the kill suppresses a copy error is shown by the job's own table.
#[test]
fn c3_exit_0_before_the_kill_counts_although_nobody_was_told_of_it() {
    for asked in [Asked::Nothing, Asked::Gone] {
        assert_eq!(row_c(case(asked)), "ok", "{asked:?}");
        assert_eq!(
            row_c(case(asked).copy_fails()),
            "copy stdout: the disk is full",
            "{asked:?}"
        );
    }
}

#[test]
fn c4_exit_0_that_races_the_kill_with_an_open_pipe_is_the_wait_delay() {
    for asked in [Asked::Nothing, Asked::Gone] {
        assert_eq!(row_c(case(asked).orphan()), "wait delay", "{asked:?}");
    }
}

#[test]
fn c5_exit_0_that_races_the_kill_keeps_the_error_of_the_cancel() {
    assert_eq!(row_c(case(Asked::Failed)), "cancel: no way");
    assert_eq!(
        row_c(case(Asked::Failed).copy_fails().orphan()),
        "cancel: no way"
    );
}

#[test]
fn c6_kill_of_a_child_that_somebody_has_reaped_changes_nothing() {
    if !keeps_statuses() {
        return;
    }
    assert_eq!(row_c(case(Asked::Gone).status_stolen()), "ok");
    assert_eq!(
        row_c(case(Asked::Gone).copy_fails().status_stolen()),
        "copy stdout: the disk is full"
    );
    assert_eq!(
        row_c(case(Asked::Gone).orphan().status_stolen()),
        "wait delay"
    );
    assert_eq!(
        row_c(case(Asked::Yes).orphan().status_stolen()),
        "stopped: cancelled"
    );
    assert_eq!(
        row_c(case(Asked::Failed).copy_fails().status_stolen()),
        "cancel: no way"
    );
}

#[test]
fn c7_kill_that_fails_outweighs_the_error_of_the_cancel_and_waits_for_the_exit() {
    embed(&["kill_that_fails_is_told_and_the_exit_awaited"]);
}

#[test]
fn context_that_ends_before_the_start_spawns_nothing() {
    let context = Context::new();
    context.cancel();
    let mut reactor = Reactor::new().expect("a reactor");
    let error = reactor.start(common::shell::shell("exit 0").context(&context));
    let error = Error::from(error.expect_err("an ended context"));
    assert_eq!(error.cause(), Some(Cause::Cancelled));
    assert_eq!(error.to_string(), "not started: cancelled");
    assert!(reactor.is_empty());
}

/// What the cancel action answers, and how often it was called.
fn counted(answer: fn() -> io::Result<()>) -> (Cancel, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    let cancel = Cancel::with(move |_| {
        called.fetch_add(1, Ordering::Relaxed);
        answer()
    });
    (cancel, calls)
}

/// The context ends after the exit was seen, while an orphan holds the pipes.
fn context_after_exit(words: &[&str], delay: Option<Duration>) -> (Run, Finished) {
    let mut words = words.to_vec();
    words.push("orphan");
    let (cancel, calls) = counted(|| Ok(()));
    let mut run = start(&words, cancel, delay, false);
    run.stay.exit_unseen();
    turn_until_reaped(&mut run.reactor, run.id);
    run.context.cancel();
    let done = run.wait();
    assert_eq!(
        calls.load(Ordering::Relaxed),
        0,
        "there is nobody left to ask"
    );
    assert!(run.stay.is_alive(), "the orphan was harmed");
    (run, done)
}

#[test]
fn context_that_ends_after_the_exit_closes_the_pipes_with_its_cause() {
    for delay in [None, Some(LONG)] {
        let (_, done) = context_after_exit(&[], delay);
        assert_eq!(word(&done), "stopped: cancelled", "{delay:?}");
        assert_eq!(done.leaked, BOTH, "{delay:?}");
        let (_, done) = context_after_exit(&["end=3"], delay);
        assert_eq!(word(&done), "exit status 3 (cancelled)", "{delay:?}");
    }
}

#[test]
fn reactor_cancel_after_the_exit_closes_the_pipes_with_its_cause() {
    let mut run = start(&["orphan"], Cancel::kill(), None, false);
    run.stay.exit_unseen();
    turn_until_reaped(&mut run.reactor, run.id);
    assert!(run.reactor.cancel(run.id));
    assert_eq!(word(&run.wait()), "stopped: cancelled");
}

#[test]
fn timeout_after_the_exit_closes_the_pipes_with_its_cause() {
    for (sets, expected) in [
        (true, "stopped: timed out"),
        (false, "stopped: timed out without output"),
    ] {
        let mut stay = Stay::new(&["orphan"]);
        stay.command.stdout(Output::capture());
        if sets {
            stay.command.timeout(SHORT);
        } else {
            stay.command.idle_timeout(SHORT);
        }
        let mut reactor = Reactor::new().expect("a reactor");
        let id = reactor.start(&mut stay.command).expect("start");
        stay.exit_unseen();
        let done = wait(&mut reactor, id);
        assert_eq!(word(&done), expected);
        assert_eq!(done.leaked, [Stream::Stdout]);
    }
}

#[test]
fn timeout_after_a_cancel_does_not_cut_the_delay_short() {
    let mut run = start(&["orphan"], Asked::Yes.cancel(), Some(LONG), false);
    let mut stay = Stay::new(&["orphan"]);
    stay.command
        .stdout(Output::capture())
        .timeout(SHORT)
        .idle_timeout(SHORT)
        .on_cancel(Asked::Yes.cancel())
        .wait_delay(LONG);
    let id = run.reactor.start(&mut stay.command).expect("start");
    // Asked before its timeouts, and exited after they would have come.
    run.reactor.cancel(id);
    pass_ms(20);
    run.reactor.turn(Some(Duration::ZERO)).expect("turn");
    stay.exit_unseen();
    turn_until_reaped(&mut run.reactor, id);
    run.reactor.turn(Some(Duration::ZERO)).expect("turn");
    assert_eq!(run.reactor.running(), 2, "the delay was cut short");
    stay.release_orphan();
    assert_eq!(word(&wait(&mut run.reactor, id)), "stopped: cancelled");
}

#[test]
fn output_written_before_the_pipes_are_cut_is_kept() {
    let mut run = start(&["out=last words", "orphan"], Cancel::kill(), None, false);
    assert_eq!(
        run.out.text(),
        "",
        "no turn was made, so nothing is read yet"
    );
    assert!(run.reactor.kill(run.id));
    let done = run.wait();
    assert_eq!(run.out.text(), "last words");
    assert_eq!(word(&done), "signal: SIGKILL (cancelled)");
    assert_eq!(done.leaked, BOTH);
}

#[test]
fn cancel_is_performed_once_however_often_it_is_asked_for() {
    let (cancel, calls) = counted(|| Ok(()));
    let mut run = start(&[], cancel, Some(LONG), false);
    // A second call would be a kill.
    assert!(run.reactor.cancel(run.id));
    run.context.cancel();
    run.reactor.turn(Some(Duration::ZERO)).expect("turn");
    run.stay.release();
    assert_eq!(word(&run.wait()), "stopped: cancelled");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn cancel_is_performed_without_anybody_waiting_for_the_command() {
    let (cancel, calls) = counted(|| Ok(()));
    let mut run = start(&[], cancel, None, false);
    let other = run
        .reactor
        .start(&mut common::shell::shell("exit 0"))
        .expect("start");
    run.context.cancel();
    let _ = wait(&mut run.reactor, other);
    assert_eq!(calls.load(Ordering::Relaxed), 1, "any turn will do");
    run.stay.release();
    let _ = run.wait();
}

#[test]
fn cancel_of_a_child_that_has_exited_unseen_may_signal_it_without_an_error() {
    for signal in [Signal::INT, Signal::KILL] {
        let mut run = start(&[], Cancel::signal(signal), None, false);
        run.exit_then_end_context(Asked::Yes);
        // A zombie takes any signal; its status stays.
        assert_eq!(word(&run.wait()), "stopped: cancelled");
    }
}

#[test]
fn cancel_error_that_wraps_a_gone_process_counts_as_gone() {
    fn wrapped() -> io::Result<()> {
        let gone = io::Error::from_raw_os_error(libc::ESRCH);
        Err(io::Error::other(io::Error::new(
            io::ErrorKind::NotFound,
            gone,
        )))
    }
    let (cancel, _) = counted(wrapped);
    let mut run = start(&[], cancel, None, false);
    run.end_context_while_running(Asked::Gone);
    run.stay.release();
    assert_eq!(word(&run.wait()), "ok");
}

#[test]
fn wait_delay_is_one_clock_for_the_stop_and_the_pipes() {
    const DELAY: Duration = Duration::from_millis(200);
    let mut fresh = start(&["orphan"], Asked::Yes.cancel(), Some(DELAY), false);
    let mut asked = Stay::new(&["orphan"]);
    asked
        .command
        .stdout(Output::capture())
        .on_cancel(Asked::Yes.cancel())
        .wait_delay(DELAY);
    let reactor = &mut fresh.reactor;
    let asked_id = reactor.start(&mut asked.command).expect("start");
    asked.pid();
    assert!(reactor.cancel(asked_id));
    // Both exit; the reactor sees it in one turn, some time after the one was asked to stop.
    asked.exit_unseen();
    fresh.stay.exit_unseen();
    pass_ms(50);
    turn_until_reaped(reactor, asked_id);
    turn_until_reaped(reactor, fresh.id);
    // A clock that started again at the exit would be over at the same time as the other's, which has the lower slot
    // and so the precedence.
    let first = reactor.wait_any().expect("poll").expect("two are left");
    assert_eq!(first.id, asked_id);
    assert_eq!(word(&first), "stopped: cancelled");
    let second = fresh.wait();
    assert_eq!(word(&second), "wait delay");
    let after = second.drained.zip(second.reaped);
    assert!(after.is_some_and(|(drained, reaped)| drained - reaped >= DELAY));
}

#[test]
fn wait_delay_starts_when_the_cancel_action_has_returned() {
    const DELAY: Duration = Duration::from_millis(10);
    let returned = Arc::new(Mutex::new(None));
    let returns = Arc::clone(&returned);
    let cancel = Cancel::with(move |_| {
        pass_ms(30);
        // The crate's own clock.
        *returns.lock().expect("no panic") = Context::new().with_timeout(Duration::ZERO).deadline();
        Ok(())
    });
    let mut run = start(&[], cancel, Some(DELAY), false);
    run.context.cancel();
    let done = run.wait();
    assert_eq!(word(&done), "signal: SIGKILL (cancelled)");
    let returned = returned.lock().expect("no panic").expect("it was called");
    assert!(done.reaped.is_some_and(|reaped| reaped >= returned + DELAY));
}

#[test]
fn second_request_does_not_cut_the_delay_of_the_first_short() {
    let mut run = start(&["orphan"], Asked::Yes.cancel(), Some(LONG), false);
    run.context.cancel();
    run.reactor.turn(Some(Duration::ZERO)).expect("turn");
    run.stay.exit_unseen();
    turn_until_reaped(&mut run.reactor, run.id);
    assert!(run.reactor.cancel(run.id));
    run.reactor.turn(Some(Duration::ZERO)).expect("turn");
    assert_eq!(run.reactor.running(), 1);
    // The stronger word does, which a second call is.
    assert!(run.reactor.cancel(run.id));
    let done = run.wait();
    assert_eq!(word(&done), "stopped: cancelled");
    assert_eq!(done.leaked, BOTH);
}

#[test]
fn second_request_cuts_what_no_delay_bounds() {
    let mut run = start(&["orphan"], Asked::Yes.cancel(), None, false);
    assert!(run.reactor.cancel(run.id));
    run.stay.exit_unseen();
    turn_until_reaped(&mut run.reactor, run.id);
    run.context.cancel();
    let done = run.wait();
    assert_eq!(word(&done), "stopped: cancelled");
    assert_eq!(done.leaked, BOTH);
}

#[test]
fn wait_delay_does_not_start_again_on_output() {
    // An orphan that writes for ever: a clock that output restarts would never be over.
    let mut command = common::shell::shell("cat /dev/zero & exit 0");
    let done = common::finish::finish(
        command
            .stdout(Output::capture_ends(1))
            .wait_delay(Duration::from_millis(50)),
    );
    assert_eq!(word(&done), "wait delay");
    assert_eq!(done.leaked, [Stream::Stdout]);
}

#[test]
fn wait_delay_alone_never_kills_a_running_child() {
    let mut run = start(
        &[],
        Asked::Never.cancel(),
        Some(Duration::from_millis(1)),
        false,
    );
    pass_ms(20);
    run.reactor.turn(Some(Duration::ZERO)).expect("turn");
    assert!(run.stay.is_alive());
    run.stay.release();
    assert_eq!(word(&run.wait()), "ok");
}

#[test]
fn child_that_writes_for_ever_dies_of_the_kill_and_not_of_the_closed_pipe() {
    /// Is dropped when its stream is cut, after stdout was: by then the child is dead, of whatever was first.
    struct WaitsForDeath(Arc<AtomicU32>);
    impl io::Write for WaitsForDeath {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Drop for WaitsForDeath {
        fn drop(&mut self) {
            exited(self.0.load(Ordering::Relaxed));
        }
    }
    let pid = Arc::new(AtomicU32::new(0));
    let told = Arc::clone(&pid);
    let mut command = Command::new("cat");
    command
        .arg("/dev/zero")
        .stdout(Output::capture_ends(1))
        .stderr(Output::writer(WaitsForDeath(pid)))
        .timeout(SHORT)
        .on_cancel(Cancel::with(move |child| {
            told.store(child.pid(), Ordering::Relaxed);
            Ok(())
        }))
        .wait_delay(SHORT);
    let done = common::finish::finish(&mut command);
    assert_eq!(word(&done), "signal: SIGKILL (timed out)");
}

#[test]
fn pipes_of_the_caller_are_cut_with_copied_ones() {
    use std::io::Read;
    let mut stay = Stay::new(&["orphan"]);
    stay.command
        .stdout(Output::pipe())
        .stderr(Output::capture())
        .wait_delay(SHORT);
    let mut reactor = Reactor::new().expect("a reactor");
    let id = reactor.start(&mut stay.command).expect("start");
    stay.exit_unseen();
    // The read waits; the cut ends it.
    let mut stdout = reactor.stdout(id).expect("a pipe");
    let error = stdout.read(&mut [0]).expect_err("cut");
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    assert_eq!(word(&wait(&mut reactor, id)), "wait delay");
    assert!(stay.is_alive());
}

#[test]
fn pipes_of_the_caller_alone_are_not_waited_for_and_what_they_held_is_kept() {
    use std::io::Read;
    let mut stay = Stay::new(&["orphan", "out=unread"]);
    stay.command
        .stdout(Output::pipe())
        .wait_delay(Duration::from_millis(1));
    let mut reactor = Reactor::new().expect("a reactor");
    let id = reactor.start(&mut stay.command).expect("start");
    stay.exit_unseen();
    turn_until_reaped(&mut reactor, id);
    pass_ms(5);
    reactor.turn(Some(Duration::ZERO)).expect("turn");
    let mut read = [0; 6];
    let mut stdout = reactor.stdout(id).expect("open until it is handed out");
    stdout.read_exact(&mut read).expect("what was written");
    assert_eq!(&read, b"unread");
    let done = wait(&mut reactor, id);
    assert_eq!(word(&done), "ok");
    assert!(reactor.stdout(id).is_none(), "handed out, so closed");
}

#[test]
fn a_panic_in_what_is_left_of_a_held_pipe_is_told_in_place_of_the_hold() {
    let mut stay = Stay::new(&["orphan", "out=no newline"]);
    stay.command
        .stdout(Output::lines(|line| panic!("{line:?}")))
        .wait_delay(Duration::from_millis(10));
    let mut reactor = Reactor::new().expect("a reactor");
    let id = reactor.start(&mut stay.command).expect("start");
    stay.release();
    let done = reactor.wait(id).expect("poll").expect("finished");
    assert!(
        matches!(&done.outcome, Err(Error::Copy { stream: Stream::Stdout, source }) if source.to_string().contains("panicked")),
        "{:?}",
        done.outcome
    );
}
