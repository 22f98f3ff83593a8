//! The job machine against the table of outcomes, event by event, and against the rules said a second time.
//! Unaware of processes; no test sleeps.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::oracle::{Ending, Happening, LastRead, Play, Replies, Reply, Verdict};
use super::*;

const DELAY: Duration = Duration::from_millis(1000);
const HALF: Duration = Duration::from_millis(500);

const ENDINGS: [Ending; 4] = [
    Ending::Zero,
    Ending::Status(3),
    Ending::Signal(9),
    Ending::Lost,
];

fn streams(list: &[Stream]) -> Streams {
    let mut streams = Streams::default();
    list.iter().for_each(|stream| streams.insert(*stream));
    streams
}

/// A row of the table: the settings, the story of a command that copies its stdout, what is asked for because of it,
/// and the outcome for exit status 0. `g` is the copy's own error, or none.
///
/// Settings: `delay` sets a wait delay, `nil` makes the cancel action nothing, `cancel=` and `kill=` say how they fail,
/// `last=ended` lets the last read find the end. Story: `ctx` ends the context, `later` lets the delay pass.
struct Row(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row("A1", "",                             "out exit",       "finish",                   "g"),
    Row("A1", "",                             "exit out",       "finish",                   "g"),
    Row("A1, difference: ends while it drains", "",             "exit ctx", "drain finish", "cancelled"),
    Row("A2", "nil",                          "ctx exit out",   "finish",                   "g"),
    Row("A3", "",                             "ctx exit out",   "cancel finish",            "cancelled"),
    Row("A3", "",                             "ctx out exit",   "cancel finish",            "cancelled"),
    Row("A4", "cancel=gone",                  "ctx exit out",   "cancel finish",            "g"),
    Row("A5", "cancel=refused",               "ctx exit out",   "cancel finish",            "cancel failed"),
    Row("B1", "delay",                        "exit out",       "finish",                   "g"),
    Row("B1", "delay",                        "exit later",     "drain finish",             "wait delay"),
    Row("B1, all there at the last read", "delay last=ended",   "exit later", "drain finish", "ok"),
    Row("B2", "delay nil",                    "ctx exit out",   "finish",                   "g"),
    Row("B2", "delay nil",                    "ctx exit later", "drain finish",             "wait delay"),
    Row("B3", "delay",                        "ctx exit out",   "cancel finish",            "cancelled"),
    Row("B3", "delay",                        "ctx exit later", "cancel drain finish",      "cancelled"),
    Row("B4", "delay cancel=gone",            "ctx exit out",   "cancel finish",            "g"),
    Row("B4", "delay cancel=gone",            "ctx exit later", "cancel drain finish",      "wait delay"),
    Row("B5", "delay cancel=refused",         "ctx exit out",   "cancel finish",            "cancel failed"),
    Row("B5", "delay cancel=refused",         "ctx exit later", "cancel drain finish",      "cancel failed"),
    Row("C2", "delay",                        "ctx out later exit", "cancel kill finish", "cancelled"),
    Row("C2", "delay",                        "ctx later exit", "cancel kill drain finish", "cancelled"),
    Row("C2", "delay last=ended",             "ctx later exit", "cancel kill drain finish", "cancelled"),
    Row("C3", "delay nil",                    "ctx out later exit", "kill finish",    "ok"),
    Row("C3", "delay nil last=ended",         "ctx later exit", "kill drain finish",        "ok"),
    Row("C3", "delay cancel=gone",            "ctx out later exit", "cancel kill finish", "ok"),
    Row("C4", "delay nil",                    "ctx later exit", "kill drain finish",        "wait delay"),
    Row("C4", "delay cancel=gone",            "ctx later exit", "cancel kill drain finish", "wait delay"),
    Row("C5", "delay cancel=refused",         "ctx later exit", "cancel kill drain finish", "cancel failed"),
    Row("C6", "delay kill=gone",              "ctx later exit", "cancel kill drain finish", "cancelled"),
    Row("C6", "delay kill=gone nil",          "ctx out later exit", "kill finish",    "g"),
    Row("C6", "delay kill=gone nil",          "ctx later exit", "kill drain finish",        "wait delay"),
    Row("C6", "delay kill=gone cancel=refused", "ctx later exit", "cancel kill drain finish", "cancel failed"),
    Row("C7", "delay kill=refused",           "ctx later exit", "cancel kill drain finish", "kill failed"),
    Row("C7", "delay kill=refused nil",       "ctx later exit", "kill drain finish",        "kill failed"),
    Row("C7", "delay kill=refused cancel=gone", "ctx later exit", "cancel kill drain finish", "kill failed"),
    Row("C7", "delay kill=refused cancel=refused", "ctx out later exit", "cancel kill finish", "kill failed"),
];

/// Plays a row with this ending of the process and of the copy. Returns what was asked for, and the outcome.
fn play(row: &Row, ending: Ending, copy_fails: bool) -> (String, Verdict) {
    let Row(_, settings, story, ..) = row;
    let has = |word: &str| settings.split(' ').any(|setting| setting == word);
    let reply = |of: &str| match () {
        () if has(&format!("{of}=gone")) => Reply::Gone,
        () if has(&format!("{of}=refused")) => Reply::Refused,
        () => Reply::Fine,
    };
    let replies = Replies {
        cancel: reply("cancel"),
        rung: Reply::Fine,
        kill: reply("kill"),
        last_read: if has("last=ended") {
            LastRead::Ended
        } else {
            LastRead::Held
        },
    };
    let policy = Policy {
        wait_delay: has("delay").then_some(DELAY),
        ignores_context: has("nil"),
        ..Policy::default()
    };
    let mut play = Play::new(policy, streams(&[Stream::Stdout]), false, sys::now());
    for word in story.split(' ') {
        let happening = match word {
            "ctx" => Happening::Stop(Cause::Cancelled),
            "exit" => Happening::Exits(ending),
            "out" if copy_fails => Happening::Fails(Stream::Stdout),
            "out" => Happening::Ends(Stream::Stdout),
            "later" => Happening::Pass(DELAY),
            _ => panic!("{word}?"),
        };
        play.happen(happening, replies);
    }
    let asked: Vec<_> = play.asked_for.iter().map(|effect| name(*effect)).collect();
    (asked.join(" "), play.end())
}

fn name(effect: Effect) -> &'static str {
    match effect {
        Effect::PerformCancel => "cancel",
        Effect::PerformRung(_) => "rung",
        Effect::Kill => "kill",
        Effect::KillRest => "rest",
        Effect::DrainOnceThenClose => "drain",
        Effect::Finish => "finish",
    }
}

#[test]
fn every_row_of_the_table_comes_out_for_exit_status_0() {
    for row in ROWS {
        let Row(name, settings, story, asked, outcome) = row;
        for copy_fails in [false, true] {
            let expected = match *outcome {
                "g" if copy_fails => Verdict::Copy(Stream::Stdout),
                "g" | "ok" => Verdict::Fine,
                "cancelled" => Verdict::Stopped(Cause::Cancelled),
                "cancel failed" => Verdict::CancelFailed,
                "kill failed" => Verdict::KillFailed,
                "wait delay" => Verdict::WaitDelay,
                _ => panic!("{outcome}?"),
            };
            assert_eq!(
                play(row, Ending::Zero, copy_fails),
                ((*asked).to_owned(), expected),
                "{name}: {settings}: {story}, copy fails: {copy_fails}"
            );
        }
    }
}

#[test]
fn every_other_ending_is_told_whatever_else_happened() {
    for row in ROWS {
        for ending in [Ending::Status(3), Ending::Signal(9), Ending::Lost] {
            for copy_fails in [false, true] {
                let (asked, verdict) = play(row, ending, copy_fails);
                assert_eq!(asked, row.3, "{}", row.0);
                match verdict {
                    Verdict::Exit(told, _) => assert_eq!(told, ending, "{}", row.0),
                    other => assert_eq!((other, ending), (Verdict::Lost, Ending::Lost)),
                }
            }
        }
    }
}

/// For each event, what is asked for in each state. `-`: nothing; `!`: the pair is impossible and asserted.
///
/// The command copies stdout and stderr; while it drains, stdout alone is open; while it lingers, the caller has a
/// pipe.
const STATES: &str = "
event          running  stopping  killed  draining  lingering  done
exit           -        -         drain   !         !          !
stdin-ends     !        !         !       !         !          !
stdout-ends    -        -         -       finish    !          !
stdout-fails   -        -         -       finish    !          !
stdout-cut     -        -         -       finish    !          !
stop           cancel   -         -       drain     drain      -
abort          kill     kill      kill    drain     drain      -
cancel-answer  !        -         !       !         !          !
kill-answer    !        !         -       !         !          !
kill-refused   !        !         drain   !         !          !
output         -        -         -       -         -          -
time           -        -         -       -         -          -
time-is-up     cancel   kill      -       drain     drain      -
";

fn in_state(state: &str, now: Instant) -> Job {
    let policy = Policy {
        wait_delay: Some(DELAY),
        timeout: Some(DELAY),
        ..Policy::default()
    };
    let copied = streams(&[Stream::Stdout, Stream::Stderr]);
    let mut job = Job::new(Arc::new(policy), copied, state == "lingering", now);
    let exit = || Event::Exited(Ending::Zero.status());
    let cut = Event::StreamCut;
    let stop = [Event::Stop(Cause::Cancelled), Event::CancelResult(Ok(()))];
    let kill = [Event::Abort(Cause::Cancelled), Event::KillResult(Ok(()))];
    let events = match state {
        "running" => vec![],
        "stopping" => Vec::from(stop),
        "killed" => Vec::from(kill),
        "draining" => vec![exit(), cut(Stream::Stderr)],
        "lingering" | "done" => vec![exit(), cut(Stream::Stderr), cut(Stream::Stdout)],
        _ => panic!("{state}?"),
    };
    for event in events {
        job.step(event, now, &mut Vec::new());
    }
    job
}

#[test]
fn every_event_in_every_state_does_what_the_table_says() {
    let now = sys::now();
    let mut lines = STATES.trim().lines().map(str::split_whitespace);
    let states: Vec<_> = lines.next().expect("the states").skip(1).collect();
    let mut pairs = 0;
    for mut cells in lines {
        let event_name = cells.next().expect("an event");
        let ends = Event::StreamEnded;
        for (state, expected) in states.iter().zip(cells) {
            pairs += 1;
            let (event, at) = match event_name {
                "exit" => (Event::Exited(Ending::Zero.status()), now),
                "stdin-ends" => (ends(Stream::Stdin, Ok(())), now),
                "stdout-ends" => (ends(Stream::Stdout, Ok(())), now),
                "stdout-fails" => {
                    let error = io::ErrorKind::Other.into();
                    (ends(Stream::Stdout, Err(error)), now)
                }
                "stdout-cut" => (Event::StreamCut(Stream::Stdout), now),
                "stop" => (Event::Stop(Cause::Cancelled), now),
                "abort" => (Event::Abort(Cause::Cancelled), now),
                "cancel-answer" => (Event::CancelResult(Ok(())), now),
                "kill-answer" => (Event::KillResult(Ok(())), now),
                "kill-refused" => {
                    let error = io::ErrorKind::PermissionDenied.into();
                    (Event::KillResult(Err(error)), now)
                }
                "output" => (Event::Output, now),
                "time" => (Event::Tick, now + HALF),
                "time-is-up" => (Event::Tick, now + DELAY),
                _ => panic!("{event_name}?"),
            };
            let mut job = in_state(state, now);
            let mut effects = Vec::new();
            let stepped = catch_unwind(AssertUnwindSafe(|| job.step(event, at, &mut effects)));
            let names: Vec<_> = effects.iter().map(|effect| name(*effect)).collect();
            let found = match (&stepped, names.is_empty()) {
                (Err(_), _) => "!".to_owned(),
                // Without the assertion the event has no consequence.
                (Ok(()), true) if expected == "!" && !cfg!(debug_assertions) => "!".to_owned(),
                (Ok(()), true) => "-".to_owned(),
                (Ok(()), false) => names.join(","),
            };
            assert_eq!(found, expected, "{event_name} in {state}");
        }
    }
    assert_eq!(pairs, 13 * 6);
}

#[test]
fn an_impossible_event_is_named_with_its_state() {
    if cfg!(debug_assertions) {
        let mut job = in_state("done", sys::now());
        let again = Event::Exited(None);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            job.step(again, sys::now(), &mut Vec::new());
        }));
        let payload = panic.expect_err("an assertion");
        let text = payload.downcast_ref::<String>().expect("a text");
        assert_eq!(text, "Exited in Done");
    }
}

#[test]
fn time_used_before_the_exit_is_not_given_again_to_the_pipes() {
    let now = sys::now();
    let policy = Policy {
        wait_delay: Some(DELAY),
        ..Policy::default()
    };
    let mut job = Job::new(Arc::new(policy), streams(&[Stream::Stdout]), false, now);
    let mut effects = Vec::new();
    job.step(Event::Stop(Cause::Cancelled), now, &mut effects);
    job.step(Event::CancelResult(Ok(())), now, &mut effects);
    job.step(
        Event::Exited(Ending::Zero.status()),
        now + HALF,
        &mut effects,
    );
    assert_eq!(job.wake_at(), Some(now + DELAY));
}

#[test]
fn time_limits_end_pipes_that_are_held_after_the_exit_and_are_off_once_it_was_asked_to_stop() {
    let now = sys::now();
    let policy = Policy {
        timeout: Some(DELAY),
        ..Policy::default()
    };
    let replies = Replies {
        cancel: Reply::Fine,
        rung: Reply::Fine,
        kill: Reply::Fine,
        last_read: LastRead::Held,
    };
    let mut held = Play::new(policy.clone(), streams(&[Stream::Stdout]), false, now);
    held.happen(Happening::Exits(Ending::Zero), replies);
    held.happen(Happening::Pass(DELAY), replies);
    assert_eq!(held.end(), Verdict::Stopped(Cause::Timeout));

    let mut asked = Play::new(policy, streams(&[Stream::Stdout]), false, now);
    asked.happen(Happening::Stop(Cause::Cancelled), replies);
    asked.happen(Happening::Exits(Ending::Zero), replies);
    asked.happen(Happening::Pass(DELAY), replies);
    assert!(
        !asked.is_finished(),
        "Go: without a delay the pipes are waited for"
    );
}

/// Everything is answered without an error, and the last read finds a pipe held.
const PLAIN: Replies = Replies {
    cancel: Reply::Fine,
    rung: Reply::Fine,
    kill: Reply::Fine,
    last_read: LastRead::Held,
};

#[test]
fn pipes_are_closed_once_the_killed_child_is_reaped_and_not_while_it_still_holds_them_itself() {
    let policy = Policy {
        wait_delay: Some(DELAY),
        ..Policy::default()
    };
    let mut play = Play::new(policy, streams(&[Stream::Stdout]), false, sys::now());
    play.happen(Happening::Stop(Cause::Cancelled), PLAIN);
    play.happen(Happening::Pass(DELAY), PLAIN);
    assert_eq!(play.asked_for, [Effect::PerformCancel, Effect::Kill]);
    // Its death closes them: no other process has a copy.
    play.happen(Happening::Ends(Stream::Stdout), PLAIN);
    play.happen(Happening::Exits(Ending::Signal(9)), PLAIN);
    assert_eq!(play.asked_for[2..], [Effect::Finish]);
}

#[test]
fn a_killed_group_has_a_while_to_let_go_of_the_pipes() {
    let policy = Policy {
        kills_group: true,
        ..Policy::default()
    };
    let start = || {
        Play::new(
            policy.clone(),
            streams(&[Stream::Stdout]),
            false,
            sys::now(),
        )
    };
    let mut killed = start();
    killed.happen(Happening::Abort(Cause::Cancelled), PLAIN);
    killed.happen(Happening::Exits(Ending::Signal(9)), PLAIN);
    assert_eq!(killed.asked_for, [Effect::Kill]);
    killed.happen(Happening::Pass(GROUP_DEATH_MAX), PLAIN);
    let closed = [Effect::DrainOnceThenClose, Effect::Finish];
    assert_eq!(killed.asked_for[1..], closed);

    let mut outlived = start();
    outlived.happen(Happening::Exits(Ending::Zero), PLAIN);
    outlived.happen(Happening::Stop(Cause::Cancelled), PLAIN);
    assert_eq!(outlived.asked_for, [Effect::KillRest]);
    outlived.happen(Happening::Pass(GROUP_DEATH_MAX), PLAIN);
    assert_eq!(outlived.asked_for[1..], closed);
}

#[test]
fn what_a_killed_group_has_left_in_a_pipe_gives_it_no_second_leak_timeout() {
    let policy = Policy {
        kills_group: true,
        leak_timeout: Some(10 * GROUP_DEATH_MAX),
        ..Policy::default()
    };
    let now = sys::now();
    let mut play = Play::new(policy, streams(&[Stream::Stdout]), false, now);
    play.happen(Happening::Exits(Ending::Zero), PLAIN);
    play.happen(Happening::Stop(Cause::Cancelled), PLAIN);
    assert_eq!(play.asked_for, [Effect::KillRest]);
    play.happen(Happening::Empties(Stream::Stdout), PLAIN);
    play.happen(Happening::Pass(GROUP_DEATH_MAX), PLAIN);
    let closed = [Effect::DrainOnceThenClose, Effect::Finish];
    assert_eq!(play.asked_for[1..], closed);
}

#[test]
fn a_swept_group_has_a_while_to_let_go_of_the_pipes_however_short_the_delay() {
    let policy = Policy {
        sweeps_group: true,
        wait_delay: Some(GROUP_DEATH_MAX / 10),
        ..Policy::default()
    };
    let start = || {
        let copied = streams(&[Stream::Stdout]);
        Play::new(policy.clone(), copied, false, sys::now())
    };
    let mut exits = start();
    exits.happen(Happening::Exits(Ending::Zero), PLAIN);
    exits.happen(Happening::Pass(GROUP_DEATH_MAX / 2), PLAIN);
    exits.happen(Happening::Stop(Cause::Cancelled), PLAIN);
    assert_eq!(exits.asked_for, []);
    exits.happen(Happening::Pass(GROUP_DEATH_MAX / 2), PLAIN);
    let closed = [Effect::DrainOnceThenClose, Effect::Finish];
    assert_eq!(exits.asked_for, closed);

    let mut killed = start();
    killed.happen(Happening::Abort(Cause::Cancelled), PLAIN);
    killed.happen(Happening::Exits(Ending::Signal(9)), PLAIN);
    assert_eq!(killed.asked_for, [Effect::Kill]);
    killed.happen(Happening::Pass(GROUP_DEATH_MAX), PLAIN);
    assert_eq!(killed.asked_for[1..], closed);
}

#[test]
fn a_pipe_of_the_callers_is_not_waited_for_and_is_closed_by_the_delay_and_by_the_limits() {
    for (wait_delay, timeout) in [(Some(DELAY), None), (None, Some(DELAY))] {
        let policy = Policy {
            wait_delay,
            timeout,
            ..Policy::default()
        };
        let mut play = Play::new(policy, Streams::default(), true, sys::now());
        play.happen(Happening::Exits(Ending::Zero), PLAIN);
        assert_eq!(play.asked_for, [Effect::Finish]);
        play.happen(Happening::Pass(DELAY), PLAIN);
        assert_eq!(play.asked_for[1..], [Effect::DrainOnceThenClose]);
    }
}

#[test]
fn a_ladder_climbs_from_rung_to_rung_until_the_delay_cuts_it_short() {
    let now = sys::now();
    let policy = Policy {
        wait_delay: Some(DELAY),
        rungs: vec![HALF / 2, HALF / 2, HALF],
        ..Policy::default()
    };
    let replies = Replies {
        cancel: Reply::Fine,
        rung: Reply::Refused,
        kill: Reply::Fine,
        last_read: LastRead::Held,
    };
    let mut play = Play::new(policy, streams(&[Stream::Stdout]), false, now);
    play.happen(Happening::Stop(Cause::Cancelled), replies);
    for _ in 0..4 {
        play.happen(Happening::Pass(HALF / 2), replies);
    }
    play.happen(Happening::Exits(Ending::Zero), replies);
    let asked: Vec<_> = play.asked_for.iter().map(|effect| name(*effect)).collect();
    assert_eq!(asked.join(" "), "cancel rung rung kill drain finish");
    assert_eq!(
        play.end(),
        Verdict::CancelFailed,
        "the first rung that failed is reported"
    );
}

/// Every answer that the world can give to the effects.
fn all_replies() -> Vec<Replies> {
    let replies = [Reply::Fine, Reply::Gone, Reply::Refused];
    let mut all = Vec::new();
    for cancel in replies {
        for kill in replies {
            for last_read in [LastRead::Held, LastRead::Ended, LastRead::Failed] {
                all.push(Replies {
                    cancel,
                    rung: kill,
                    kill,
                    last_read,
                });
            }
        }
    }
    all
}

fn all_policies() -> Vec<Policy> {
    let mut all = Vec::new();
    for (wait_delay, ignores_context) in [
        (None, false),
        (None, true),
        (Some(DELAY), false),
        (Some(DELAY), true),
    ] {
        all.push(Policy {
            wait_delay,
            ignores_context,
            rungs: vec![HALF],
            timeout: Some(DELAY),
            output_limit: None,
            leak_timeout: None,
            slow_after: None,
            names_holders: false,
            idle_timeout: Some(HALF),
            kills_group: false,
            sweeps_group: false,
        });
        all.push(Policy {
            wait_delay,
            ignores_context,
            kills_group: wait_delay.is_some(),
            ..Policy::default()
        });
        all.push(Policy {
            wait_delay,
            leak_timeout: Some(HALF),
            kills_group: ignores_context,
            ..Policy::default()
        });
        all.push(Policy {
            wait_delay,
            kills_group: ignores_context,
            sweeps_group: true,
            ..Policy::default()
        });
    }
    all
}

#[test]
fn all_short_histories_agree_with_the_rules() {
    let alphabet = [
        Happening::Exits(Ending::Zero),
        Happening::Exits(Ending::Status(3)),
        Happening::Ends(Stream::Stdout),
        Happening::Fails(Stream::Stdout),
        Happening::Stop(Cause::DeadlineExceeded),
        Happening::Abort(Cause::Cancelled),
        Happening::Output,
        Happening::Empties(Stream::Stdout),
        Happening::Pass(HALF),
    ];
    const LENGTH: u32 = 4;
    let now = sys::now();
    let mut finished = 0;
    for policy in all_policies() {
        for replies in all_replies() {
            for history in 0..alphabet.len().pow(LENGTH) {
                let mut play = Play::new(policy.clone(), streams(&[Stream::Stdout]), false, now);
                let mut rest = history;
                for _ in 0..LENGTH {
                    let happening = alphabet[rest % alphabet.len()];
                    rest /= alphabet.len();
                    if !play.is_possible(happening) {
                        break;
                    }
                    play.happen(happening, replies);
                }
                if play.is_finished() {
                    play.end();
                    finished += 1;
                }
            }
        }
    }
    assert!(finished > 100_000, "{finished}");
}

#[test]
fn random_histories_agree_with_the_rules() {
    let mut random = sys::simulated::Random::of_seed(0x5eed);
    let (policies, replies) = (all_policies(), all_replies());
    let causes = [Cause::Cancelled, Cause::DeadlineExceeded];
    for _ in 0..20_000 {
        let mut policy = random.pick(&policies).clone();
        policy.rungs = (0..random.below(3)).map(|_| HALF).collect();
        let copied = Stream::ALL
            .into_iter()
            .filter(|_| random.one_in(2))
            .collect::<Vec<_>>();
        let mut play = Play::new(policy, streams(&copied), random.one_in(3), sys::now());
        for _ in 0..30 {
            let stream = *random.pick(&Stream::ALL);
            let happening = match random.below(12) {
                0 => Happening::Exits(*random.pick(&ENDINGS)),
                1 => Happening::Ends(stream),
                2 => Happening::Fails(stream),
                3 => Happening::Stop(*random.pick(&causes)),
                4 => Happening::Abort(Cause::Cancelled),
                5 => Happening::Output,
                6 => Happening::Empties(stream),
                _ => Happening::Pass(HALF / 5 * random.below(6) as u32),
            };
            if play.is_possible(happening) {
                play.happen(happening, *random.pick(&replies));
            }
        }
        if play.is_finished() {
            play.end();
        }
    }
}
