//! Signals: what they stop, suspend and kill.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use super::*;
use crate::common::at_terminal::at_terminal;
#[cfg(target_os = "linux")]
use crate::common::fuse::{Stall, deaf};

/// A command that says `ready`, answers the given signal by `asked`, and then ends well.
fn polite(signal: &str) -> String {
    format!(
        "trap 'echo asked; kill -KILL $! 2>/dev/null; exit 0' {signal}; sleep 1000 & echo ready; wait\n"
    )
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_that_was_blocked_at_the_start_stops_the_run_all_the_same() {
    let blocked = |program: &str| {
        let mut command = Command::new("env");
        command.args(["--block-signal=TERM", program]);
        command
    };
    if !blocked("true").finish().is_ok_and(|done| done.success()) {
        eprintln!("skipped: env(1) blocks no signals here");
        return;
    }
    let mut command = blocked(env!("CARGO_BIN_EXE_execloop"));
    // It has that mask, too, so that it has to be killed.
    let mut live = Live::of(command.args(["run", "--stream", "--wait-delay", "1ms"]));
    live.list("echo ready; exec sleep 1000\n");
    assert_eq!(live.output_line(), "1: ready");
    live.signal(Signal::TERM);
    let done = live.finish();
    assert_eq!(done.signal, Some(Signal::TERM.number()), "{done:?}");

    // A command gets the mask that the program was given.
    let mut command = blocked(env!("CARGO_BIN_EXE_execloop"));
    let done = finish(command.args(["run", "grep", "-h", "SigBlk", ":::", "/proc/self/status"]));
    let printed = done.output();
    let mask = printed.trim_end().rsplit('\t').next().expect("a mask");
    let mask = u64::from_str_radix(mask, 16).expect("a number");
    assert_eq!(mask >> (Signal::TERM.number() - 1) & 1, 1, "{done:?}");
}

#[test]
fn the_first_interrupt_asks_all_commands_and_waits_for_them() {
    if is_ignored(Signal::INT) {
        return;
    }
    let mut live = Live::start(&["--stream", "-j", "2", "--wait-delay", "10m"]);
    live.list(&polite("TERM").repeat(3));
    let mut ready = [live.output_line(), live.output_line()];
    ready.sort();
    assert_eq!(ready, ["1: ready", "2: ready"]);
    live.signal(Signal::INT);
    let mut asked = [live.output_line(), live.output_line()];
    asked.sort();
    assert_eq!(asked, ["1: asked", "2: asked"]);
    let done = live.finish();
    assert_eq!(done.signal, Some(Signal::INT.number()), "{done:?}");
    let expected = "execloop: SIGINT: asking 2 commands to stop; once more to kill\n\
        2 commands: 0 succeeded, 0 failed, 2 cancelled; at least 1 never started\n";
    assert_eq!(
        (done.output().as_str(), done.told().as_str()),
        ("", expected)
    );
}

#[test]
fn commands_are_asked_by_the_signal_given_and_the_program_ends_by_its_own() {
    for (signal, name) in [(Signal::TERM, "USR1"), (Signal::HUP, "15")] {
        if is_ignored(signal) {
            continue;
        }
        let mut live = Live::start(&["-s", "--signal", name, "--wait-delay", "10m", "-q"]);
        live.list(&polite(name));
        assert_eq!(live.output_line(), "1: ready");
        live.signal(signal);
        assert_eq!(live.output_line(), "1: asked");
        let done = live.finish();
        assert_eq!(done.signal, Some(signal.number()), "{done:?}");
        assert_eq!(done.stderr, "");
    }
}

/// A command that ignores what it is asked, as its descendant does, and says both pids.
const STUBBORN: &str = "trap '' TERM; sleep 100000 & echo $$ $!; wait\n";

#[test]
fn after_an_interrupt_the_wait_delay_kills() {
    let mut live = Live::start(&["--stream", "--wait-delay", "100ms"]);
    live.list(STUBBORN);
    let pids = live.output_line().split_off("1: ".len());
    live.signal(Signal::TERM);
    let done = live.finish();
    assert_eq!(done.signal, Some(Signal::TERM.number()));
    assert_eq!(
        done.summary(),
        "1 command: 0 succeeded, 0 failed, 1 cancelled; the list was not read to its end"
    );
    assert_gone(&pids);
}

#[test]
fn the_second_interrupt_kills_at_once() {
    if is_ignored(Signal::INT) {
        return;
    }
    let mut live = Live::start(&["--stream", "-j", "2", "--wait-delay", "0"]);
    live.list(&STUBBORN.repeat(2));
    let pids = [(); 2].map(|()| live.output_line().split_off("1: ".len()));
    live.signal(Signal::INT);
    // The first was obeyed once this is there.
    assert!(live.line(Stream::Stderr).contains("asking 2 commands"));
    live.signal(Signal::INT);
    let done = live.finish();
    assert_eq!(done.signal, Some(Signal::INT.number()));
    assert_eq!(
        done.summary(),
        "2 commands: 0 succeeded, 0 failed, 2 cancelled; the list was not read to its end"
    );
    pids.iter().for_each(|pid| assert_gone(pid));
}

/// Its command cannot be killed: it is in an exec on a file system whose server does not answer.
#[cfg(target_os = "linux")]
#[test]
#[cfg(target_os = "linux")]
fn the_third_interrupt_ends_the_program_though_its_command_cannot_be_killed() {
    if [Signal::INT, Signal::HUP].into_iter().any(is_ignored) {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.join("stall");
    fs::create_dir(&directory).expect("a directory");
    let stall = match Stall::mount(&directory, deaf) {
        Ok(stall) => stall,
        Err(error) => return eprintln!("skipped: no FUSE here: {error}"),
    };
    let mut live = Live::start(&["--stream", "--wait-delay", "0"]);
    live.list(&format!("echo $$; exec {}\n", stall.program().display()));
    let pid = live.output_line().split_off("1: ".len());
    stall.await_exec();
    live.signal(Signal::TERM);
    assert!(live.line(Stream::Stderr).contains("SIGTERM: asking 1"));
    // Two of a kind could be one.
    live.signal(Signal::INT);
    live.signal(Signal::HUP);
    let done = live.finish();
    let third = [Signal::INT, Signal::HUP].map(|signal| Some(signal.number()));
    assert!(third.contains(&done.signal), "{done:?}");
    assert!(fs::exists(format!("/proc/{pid}")).expect("proc"));
    stall.let_pass();
    assert_dead(&pid);
}

#[test]
fn a_command_that_is_stopped_is_continued_to_see_its_signal() {
    let mut live = Live::start(&["--stream", "--wait-delay", "10m"]);
    live.list("echo $$; kill -STOP $$; echo no\n");
    let pid = live.output_line().split_off("1: ".len());
    wait_until_stopped(&pid);
    live.signal(Signal::TERM);
    let done = live.finish();
    assert_eq!(done.signal, Some(Signal::TERM.number()));
    assert_eq!(done.output(), "");
}

#[test]
fn sigquit_kills_at_once() {
    if is_ignored(Signal::QUIT) {
        return;
    }
    // No core file is to be left.
    let program = env!("CARGO_BIN_EXE_execloop");
    let script = format!("ulimit -c 0; exec '{program}' run --stream --wait-delay 0");
    let mut live = Live::of(&mut shell(&script));
    live.list(STUBBORN);
    let pids = live.output_line().split_off("1: ".len());
    live.signal(Signal::QUIT);
    let done = live.finish();
    assert_eq!(done.signal, Some(Signal::QUIT.number()));
    assert_gone(&pids);
}

#[test]
fn an_ignored_hangup_stays_ignored() {
    let program = env!("CARGO_BIN_EXE_execloop");
    let script = format!("trap '' HUP; exec '{program}' run --stream");
    let mut live = Live::of(&mut shell(&script));
    live.list("echo ready\n");
    assert_eq!(live.output_line(), "1: ready");
    live.signal(Signal::HUP);
    live.list("kill -HUP $$; echo I ignore it, too\n");
    assert_eq!(live.output_line(), "2: I ignore it, too");
    live.close_list();
    assert_eq!(live.finish().code, Some(0));
}

#[test]
fn ctrl_z_suspends_the_commands_with_the_program_and_they_go_on_with_it() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    // A group of its own with a parent in another: one without is not suspended, and this test may run in one.
    let mut live = Live::of(program(&["--stream"]).process_group(0));
    live.list(&format!("echo $$ $PPID; read x <{gate}; echo on\n"));
    let pids = live.output_line().split_off("1: ".len());
    live.signal(Signal::TSTP);
    wait_until_stopped(&pids);
    live.signal(Signal::CONT);
    fs::write(&gate, "\n").expect("the gate");
    assert_eq!(live.output_line(), "1: on");
    live.close_list();
    assert_eq!(live.finish().code, Some(0));
}

#[test]
fn interrupts_are_served_while_nobody_reads_stdout() {
    for flags in [&["-j", "2"][..], &["-j", "2", "--stream"]] {
        let scratch = Scratch::new();
        let told = fifo(&scratch, "told");
        let mut live = Live::start(flags);
        // More than any pipe takes, and, streamed, without an end.
        let flood = if flags.len() > 2 {
            "yes"
        } else {
            "head -c 9000000 /dev/zero"
        };
        live.list(&format!(
            "{flood}\ntrap '' TERM; sleep 100000 & echo $$ $! >'{told}'; wait\n"
        ));
        let pids = fs::read_to_string(&told).expect("two pids");
        live.signal(Signal::TERM);
        assert!(live.line(Stream::Stderr).contains("SIGTERM: asking"));
        live.signal(Signal::TERM);
        let done = live.finish_unread();
        assert_eq!(done.signal, Some(Signal::TERM.number()), "{flags:?}");
        assert_gone(pids.trim());
    }
}

#[test]
fn after_a_signal_output_that_nobody_reads_is_waited_for_as_long_as_a_command() {
    for flags in [&["-q"][..], &["-q", "-k"]] {
        let scratch = Scratch::new();
        let ended = fifo(&scratch, "ended");
        let mut live = Live::start(&[&["--wait-delay", "100ms"], flags].concat());
        live.list(&format!("yes | head -c 300000; echo >'{ended}'\n"));
        live.close_list();
        fs::read_to_string(&ended).expect("it has written all");
        live.signal(Signal::TERM);
        let done = live.finish_unread();
        assert_eq!(done.signal, Some(Signal::TERM.number()), "{done:?}");
        let told = done.stderr.lines().last().expect("a line");
        let told = told.strip_prefix("execloop: stdout: up to ");
        let bytes = told.and_then(|told| told.strip_suffix(" bytes were not read"));
        let bytes = bytes.expect("a message").parse::<u32>();
        let is_some = bytes.is_ok_and(|bytes| (1..=300_000).contains(&bytes));
        assert!(is_some, "{}", done.stderr);
    }
}

#[test]
fn output_that_is_read_after_a_signal_is_all_there() {
    let scratch = Scratch::new();
    let ended = fifo(&scratch, "ended");
    let mut live = Live::start(&["-j", "2", "--wait-delay", "10m"]);
    live.list(&format!(
        "exec sleep 100000\nyes | head -c 300000; echo >'{ended}'\n"
    ));
    live.close_list();
    fs::read_to_string(&ended).expect("it has written all");
    live.signal(Signal::TERM);
    // It is obeyed once this is there.
    assert!(live.line(Stream::Stderr).contains("SIGTERM: asking"));
    let done = live.finish();
    assert_eq!(done.signal, Some(Signal::TERM.number()), "{}", done.stderr);
    assert_eq!(done.stdout.len(), 300_000);
    assert!(!done.stderr.contains("not read"), "{}", done.stderr);
}

/// A socket that takes no byte more.
fn full_socket() -> (UnixStream, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    theirs.set_nonblocking(true).expect("a socket");
    while theirs.write(&[b'x'; 4096]).is_ok() {}
    while theirs.write(b"x").is_ok() {}
    theirs.set_nonblocking(false).expect("a socket");
    (ours, theirs)
}

#[test]
fn interrupts_stop_commands_while_nobody_reads_stderr() {
    for progress in ["never", "always"] {
        interrupt_with_full_stderr(progress);
    }
}

/// A run whose stderr nobody reads, until what is returned with it is dropped.
fn live_with_full_stderr(arguments: &[&str]) -> (Live, UnixStream) {
    let (unread, stderr) = full_socket();
    let mut reactor = Reactor::new().expect("a reactor");
    let mut command = program(arguments);
    command
        .stdin(Input::pipe())
        .stdout(Output::pipe())
        .stderr(Output::file(stderr))
        .timeout(GUARD);
    let id = reactor.start(&mut command).expect("the program starts");
    let live = Live {
        reactor,
        id,
        unread: Default::default(),
    };
    (live, unread)
}

/// Waits for the program's end by SIGTERM.
#[track_caller]
fn assert_terminated(mut live: Live) {
    while live.read(Stream::Stdout) {}
    let finished = live.reactor.wait(live.id);
    let finished = finished.expect("a reactor").expect("it ran");
    let status = finished.status.expect("a status");
    assert_eq!(status.signal(), Some(Signal::TERM.number()), "{status}");
}

#[test]
fn after_a_signal_messages_that_nobody_reads_are_waited_for_as_long_as_a_command() {
    for rest in ["exit 3", "exec sleep 100000"] {
        let (mut live, _unread) = live_with_full_stderr(&["--stream", "--wait-delay", "100ms"]);
        live.list(&format!("echo up; {rest}\n"));
        live.close_list();
        assert_eq!(live.output_line(), "1: up");
        live.signal(Signal::TERM);
        assert_terminated(live);
    }
}

fn interrupt_with_full_stderr(progress: &str) {
    let arguments = ["--stream", "--wait-delay", "10m", "--progress", progress];
    let (mut live, _unread) = live_with_full_stderr(&arguments);
    let asked = "trap 'echo asked' TERM; sleep 100000 & echo $$ $!; while :; do wait; done\n";
    live.list(asked);
    let pids = live.output_line().split_off("1: ".len());
    live.signal(Signal::TERM);
    assert_eq!(live.output_line(), "1: asked");
    live.signal(Signal::TERM);
    assert_terminated(live);
    assert_gone(&pids);
}

#[test]
fn three_interrupts_in_a_row_leave_no_command_behind() {
    if [Signal::INT, Signal::TERM, Signal::HUP]
        .into_iter()
        .any(is_ignored)
    {
        return;
    }
    let mut live = Live::start(&["--stream", "-j", "50", "--wait-delay", "0"]);
    live.list(&STUBBORN.repeat(50));
    let pids: Vec<String> = (0..50)
        .map(|_| {
            let line = live.output_line();
            line.split_once(": ").expect("a tag").1.to_owned()
        })
        .collect();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        live.signal(signal);
    }
    let done = live.finish();
    assert!(done.signal.is_some(), "{done:?}");
    pids.iter().for_each(|pids| {
        let (command, descendant) = pids.split_once(' ').expect("two pids");
        assert_dead(command);
        assert_dead(descendant);
    });
}

// A signal at the parent's death is not to be had everywhere.
#[test]
#[cfg(any(
    target_os = "freebsd",
    target_os = "dragonfly",
    all(target_os = "linux", not(execloop_kqueue_shim))
))]
fn commands_die_with_a_program_that_is_killed() {
    let mut live = Live::start(&["--stream"]);
    live.list("trap '' TERM; echo $$; exec sleep 100000\n");
    let pid = live.output_line().split_off("1: ".len());
    live.signal(Signal::KILL);
    assert_eq!(live.finish().signal, Some(Signal::KILL.number()));
    assert_dead(&pid);
}

#[test]
#[allow(unsafe_code, reason = "a signal is ignored between fork and exec")]
fn a_program_that_is_started_with_sigchld_ignored_does_not_ignore_it() {
    // A shell may refuse to ignore it, and the library's own children never do.
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_execloop"));
    program.arg("run");
    program.stdin(Stdio::piped()).stdout(Stdio::piped());
    let ignore = || {
        // SAFETY: signal(2) takes numbers here.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        Ok(())
    };
    // SAFETY: signal(2) may be called between fork and exec.
    unsafe { program.pre_exec(ignore) };
    let mut child = program.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut list = child.stdin.take().expect("a pipe");
    list.write_all(b"grep SigIgn /proc/$PPID/status; exit 3\n")
        .expect("it reads");
    drop(list);
    let done = child.wait_with_output().expect("it ends");
    let (output, told) = (text(&done.stdout), text(&done.stderr));
    let mask = output.trim_start_matches("SigIgn:").trim();
    let mask = u64::from_str_radix(mask, 16).expect("a mask");
    assert_eq!(mask >> (Signal::CHLD.number() - 1) & 1, 0);
    assert!(told.contains(": exit status 3\n"), "{told}");
}

#[test]
fn nobody_would_continue_an_orphaned_process_group_so_it_is_not_suspended() {
    let mut command = program(&["--stream"]);
    let mut live = Live::of(command.session(true));
    live.list("trap 'echo continued; kill $!' CONT; sleep 100000 & echo ready; wait; echo on\n");
    assert_eq!(live.output_line(), "1: ready");
    live.signal(Signal::TSTP);
    assert_eq!(live.output_line(), "1: continued");
    assert_eq!(live.output_line(), "1: on");
    live.close_list();
    assert_eq!(live.finish().code, Some(0));
}

#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
#[test]
fn orphans_of_commands_are_taken_over_and_told() {
    let scratch = Scratch::new();
    let pid = scratch.join("pid");
    let pid = pid.display();
    // The second ends once the orphan of the first is reaped, which nobody else would do here.
    let list = format!(
        "(sleep 0.01; exit 7) >/dev/null 2>&1 & echo $! > '{pid}'\n\
         while kill -0 $(cat '{pid}') 2>/dev/null; do sleep 0.01; done; cat '{pid}'\n"
    );
    let done = run(&["-j", "1", "--subreaper"], list);
    assert_eq!(done.code, Some(0), "{done:?}");
    let expected = format!("execloop: orphan {}: exit status 7\n", done.output().trim());
    assert!(done.told().starts_with(&expected), "{done:?}");
}

#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
#[test]
fn quiet_tells_of_orphans_that_have_failed_alone() {
    // Until its parent is reaped it is no orphan, and until then it holds the output.
    let until_orphan = "while kill -0 $$ 2>/dev/null; do sleep 0.01; done";
    let list = format!("({until_orphan}) & :\n({until_orphan}; exit 7) & echo $!\n");
    let arguments = ["-q", "-j", "1", "--subreaper", "--wait-delay", "10m"];
    let done = run(&arguments, list);
    let expected = format!("execloop: orphan {}: exit status 7\n", done.output().trim());
    assert_eq!((done.code, done.stderr), (Some(0), expected));
}

#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
#[test]
fn an_orphan_that_ends_last_as_it_held_the_output_is_told() {
    let scratch = Scratch::new();
    for _ in 0..20 {
        let (gate, mut release) = gate(&scratch);
        let mut live = Live::start(&["--stream", "--subreaper", "--wait-delay", "10m"]);
        live.list(&format!("(read x <{gate}; exit 7) & echo $$ $!\n"));
        live.close_list();
        let pids = live.output_line().split_off("1: ".len());
        let (shell, pid) = pids.split_once(' ').expect("two pids");
        // Until then it is no orphan.
        assert_dead(shell);
        release.write_all(b"\n").expect("the gate");
        let done = live.finish();
        let expected =
            format!("execloop: orphan {pid}: exit status 7\n1 command: 1 succeeded, 0 failed\n");
        assert_eq!(done.told(), expected);
        fs::remove_file(&gate).expect("the gate");
    }
}

#[test]
fn process_one_of_a_container_reaps_orphans_and_no_command() {
    if cfg!(execloop_kqueue_shim) {
        return eprintln!("skipped: without pidfds no orphan is told from a command");
    }
    let container = "unshare --pid --fork --mount-proc --kill-child";
    if shell(&format!("{container} true 2>&-")).run().is_err() {
        return eprintln!("skipped: no new pid namespace is to be had");
    }
    let program = env!("CARGO_BIN_EXE_execloop");
    let script = format!("exec {container} '{program}' run -j 8 --timeout 100s");
    let mut list = String::new();
    for _ in 0..100 {
        list += "(sleep 0.01 &); exit 3\n";
    }
    // Ends when process 1 has no zombie but commands that are about to be reaped, which are not there for long.
    list += "until ! grep -qs 'State:.Z' /proc/[0-9]*/status; do sleep 0.01; done; echo clean\n";
    let done = finish(shell(&script).stdin(Input::bytes(list.as_bytes())));
    assert_eq!((done.code, done.output().as_str()), (Some(1), "clean\n"));
    let failures = done
        .stderr
        .lines()
        .filter(|line| line.ends_with(": exit status 3"));
    assert_eq!(failures.count(), 100, "{done:?}");
    assert_eq!(done.summary(), "101 commands: 1 succeeded, 100 failed");
}

/// Longer than the time limit of the command that it suspends.
const SUSPENDED: &str = "5.5";

#[test]
fn ctrl_z_stops_the_commands_with_their_time_limits_and_fg_lets_both_go_on() {
    // A shell with job control, as the leader of a session on a terminal: what is typed there is for its foreground job.
    let list = "echo ready $$; read -r word < \"$GO\"; echo done";
    let script = "set -m; \"$EXECLOOP\" run --stream --quiet --timeout 5s ::: \"$LIST\"; echo stopped; \
        read line; fg >/dev/null; echo \"status $?\"";
    let scratch = Scratch::new();
    // Nothing is forked: who is stopped between a vfork(2) and an exec of his own is not seen as stopped.
    let go = fifo(&scratch, "go");
    let mut command = shell(script);
    command.env("LIST", list).env("GO", &go);
    let mut live = sit_before(&mut command);
    let ready = line_with(&mut live, "ready");
    let pid = ready.rsplit(' ').next().expect("a pid").to_owned();
    live.list("\x1a");
    line_with(&mut live, "stopped");
    wait_until_stopped(&pid);
    shell(&format!("sleep {SUSPENDED}"))
        .run()
        .expect("it passes");
    live.list("\n");
    fs::write(&go, "go\n").expect("a fifo");
    line_with(&mut live, "done");
    line_with(&mut live, "status 0");
    assert_ends_well(live);
}

/// Somebody sits at a terminal, and this is the leader of the session there. `$EXECLOOP` is the program.
pub(super) fn sit_before(command: &mut Command) -> Live {
    command
        .env("EXECLOOP", env!("CARGO_BIN_EXE_execloop"))
        .env("NO_COLOR", "1")
        .timeout(GUARD)
        .wait_delay(GUARD);
    let mut reactor = Reactor::new().expect("a reactor");
    let id = reactor.start(at_terminal(command)).expect("it starts");
    Live {
        reactor,
        id,
        unread: Default::default(),
    }
}

#[track_caller]
pub(super) fn assert_ends_well(mut live: Live) {
    while live.read(Stream::Stdout) {}
    let done = live.reactor.wait(live.id).expect("a reactor");
    let done = done.expect("it ran");
    assert!(done.success(), "{:?}", done.outcome);
}

/// The first line from here on that has this word.
pub(super) fn line_with(live: &mut Live, word: &str) -> String {
    loop {
        let line = live.output_line();
        if line.contains(word) {
            return line.trim_end().to_owned();
        }
        assert!(!line.is_empty() || live.read(Stream::Stdout), "no {word:?}");
    }
}
