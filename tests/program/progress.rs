//! Progress: on a terminal, in a log, and where nobody wants it.

use super::stopping::{assert_ends_well, line_with, sit_before};
use super::*;

/// `execloop run` on a terminal of 60 columns. `None`, which is said, where there is none.
fn live_at_terminal(arguments: &str, environment: &str) -> Option<Live> {
    live_at_terminal_of("cols 60", arguments, environment)
}

/// The same on one of another size, as stty(1) has it. It is made by script(1).
fn live_at_terminal_of(size: &str, arguments: &str, environment: &str) -> Option<Live> {
    if !execloop::look_path("script").is_ok_and(|_| cfg!(target_os = "linux")) {
        eprintln!("skipped: no script(1) of util-linux here");
        return None;
    }
    let program = env!("CARGO_BIN_EXE_execloop");
    let line = format!("stty {size}; env TERM=xterm {environment} '{program}' run {arguments}");
    let mut command = Command::new("script");
    command.args(["-qefc", &line, "/dev/null"]);
    Some(Live::of(command.env("SHELL", "/bin/sh")))
}

/// The same to its end.
fn at_terminal(arguments: &str, environment: &str) -> Option<Done> {
    live_at_terminal(arguments, environment).map(Live::finish)
}

/// Waits until the terminal has got this text.
fn await_shown(live: &mut Live, expected: &str) {
    loop {
        let unread: Vec<u8> = live.unread[0].iter().copied().collect();
        if text(&unread).contains(expected) {
            return;
        }
        assert!(
            live.read(Stream::Stdout),
            "no {expected:?} in {:?}",
            text(&unread)
        );
    }
}

/// What a terminal shows in the end, and each line that it has shown.
fn shown(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let text = text(bytes);
    let (mut screen, mut row, mut all) = (vec![String::new()], 0, Vec::new());
    let mut characters = text.chars();
    // Only lines are overwritten from their beginning, and only once they are erased.
    while let Some(character) = characters.next() {
        match character {
            '\r' => {}
            '\n' => {
                row += 1;
                screen.resize(screen.len().max(row + 1), String::new());
            }
            '\x1b' => {
                let mut sequence = String::new();
                while !sequence.ends_with(|c: char| c.is_ascii_alphabetic()) {
                    sequence.push(characters.next().expect("a whole sequence"));
                }
                if sequence == "[K" {
                    all.push(std::mem::take(&mut screen[row]));
                } else if let Some(lines) = sequence.strip_suffix('A') {
                    row -= lines[1..].parse::<usize>().expect("a number");
                } else {
                    assert!(sequence.ends_with('m'), "{sequence:?}");
                }
            }
            character => screen[row].push(character),
        }
    }
    // What is below was erased.
    let below = screen.split_off(row + 1);
    assert!(below.iter().all(String::is_empty), "{below:?}");
    all.extend_from_slice(&screen);
    (screen, all)
}

#[test]
fn on_a_terminal_lines_at_the_bottom_say_how_it_stands_and_are_gone_at_the_end() {
    let scratch = Scratch::new();
    let (first, second) = (fifo(&scratch, "first"), fifo(&scratch, "second"));
    let list = scratch.join("list").display().to_string();
    // Text comes in the middle of it, without an end of its line, and names are longer than the terminal is wide.
    let long = "x".repeat(200);
    let lines = format!("printf early; exit 3\n: the second; read x <{second} # {long}\n");
    let lines = lines + &format!(": the first; read x <{first}; printf late\necho last\n");
    fs::write(&list, lines).expect("a file");
    let Some(mut live) = live_at_terminal(&format!("-j 3 {list}"), "NO_COLOR=1") else {
        return;
    };
    await_shown(&mut live, "2/4 done, 2 running, 1 failed, ");
    await_shown(&mut live, "s left");
    fs::write(&first, "\n").expect("the gate");
    await_shown(&mut live, "3/4 done, 1 running, 1 failed, ");
    fs::write(&second, "\n").expect("the gate");
    let done = live.finish();
    let (screen, all) = shown(&done.stdout);
    let told = "failed: line 1: printf early; exit 3: exit status 3";
    let expected = [
        "early",
        told,
        "last",
        "late",
        "4 commands: 3 succeeded, 1 failed",
        "",
    ];
    let mut screen = screen;
    screen[4] = untimed(&screen[4]);
    assert_eq!(screen, expected);
    let had = |text: &str| all.iter().any(|line| line.contains(text));
    assert!(
        had("s  : the second; read x <") && had("s  : the first; "),
        "{all:?}"
    );
    // A line as wide as the terminal would make a second one.
    let is_short = |line: &String| line == told || line.chars().count() < 60;
    assert!(all.iter().all(is_short), "{all:?}");
}

#[test]
fn a_failure_stands_behind_its_own_output_also_where_nobody_has_read_the_terminal_yet() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    let list = scratch.join("list").display().to_string();
    // More than all pipes on the way to us hold: what comes behind it is written once we read.
    let much = "head -c 300000 /dev/zero | tr '\\0' x; echo";
    let lines = format!("{much}\nprintf early; exit 3\necho last\n:\n:\necho > {gate}\n");
    fs::write(&list, lines).expect("a file");
    let Some(live) = live_at_terminal(&format!("-j 1 {list}"), "NO_COLOR=1") else {
        return;
    };
    assert_eq!(fs::read_to_string(&gate).expect("the gate"), "\n");
    let done = live.finish();
    let (screen, _) = shown(&done.stdout);
    let begin = screen.iter().position(|line| line.starts_with("early"));
    assert_eq!(
        screen[begin.expect("it is shown")..][..3],
        [
            "early",
            "failed: line 2: printf early; exit 3: exit status 3",
            "last"
        ]
    );
}

#[test]
fn on_one_terminal_a_message_has_a_line_of_its_own_also_without_a_bar() {
    let scratch = Scratch::new();
    let list = scratch.join("list").display().to_string();
    fs::write(&list, "printf early; exit 3\nprintf late\n").expect("a file");
    let told = "failed: line 1: printf early; exit 3: exit status 3";
    let Some(done) = at_terminal(&format!("-j 1 --progress never {list}"), "NO_COLOR=1") else {
        return;
    };
    let (mut screen, _) = shown(&done.stdout);
    screen[3] = untimed(&screen[3]);
    let summary = "2 commands: 1 succeeded, 1 failed";
    assert_eq!(screen, ["early", told, "late", summary, ""]);
    // What goes elsewhere is as it was written.
    let done = run(&["-j", "1", &list], "");
    assert_eq!(done.output(), "earlylate");
}

#[test]
fn colours_are_for_terminals_and_not_where_nobody_wants_them() {
    let scratch = Scratch::new();
    let list = scratch.join("list").display().to_string();
    fs::write(&list, "exit 3\nsleep 0.6\n").expect("a file");
    let red = "\x1b[31mfailed:\x1b[0m line 1: exit 3";
    for (environment, is_red) in [
        ("", true),
        ("NO_COLOR=", true),
        ("NO_COLOR=1", false),
        ("TERM=dumb", false),
    ] {
        let Some(done) = at_terminal(&format!("-j 2 {list}"), environment) else {
            return;
        };
        assert_eq!(
            done.output().contains(red),
            is_red,
            "{environment}: {done:?}"
        );
        assert_eq!(
            done.output().contains("\x1b[31m"),
            is_red,
            "{environment}: {done:?}"
        );
    }
    assert!(run(&[], "exit 3\n").stderr.starts_with("failed: "));
}

#[test]
fn nothing_moves_where_that_is_not_wanted() {
    let scratch = Scratch::new();
    let list = scratch.join("list").display().to_string();
    fs::write(&list, "sleep 0.6\n").expect("a file");
    for (arguments, environment) in [
        ("--progress never", ""),
        ("--quiet", ""),
        ("--ungroup", ""),
        ("", "TERM=dumb"),
    ] {
        let Some(done) = at_terminal(&format!("{arguments} {list}"), environment) else {
            return;
        };
        assert!(!done.output().contains('\x1b'), "{arguments}: {done:?}");
    }
    // Who reads the output may write on the same terminal.
    for (progress, is_drawn) in [("auto", false), ("always", true)] {
        let arguments = format!("--progress {progress} {list} | cat");
        let done = at_terminal(&arguments, "").expect("a terminal");
        let has_drawn = done.output().contains('\x1b');
        assert_eq!(has_drawn, is_drawn, "{progress}: {done:?}");
    }
    let gate = fifo(&scratch, "gate");
    // The second line is counted before it is read to be run.
    fs::write(&list, format!("read x <{gate}\ntrue\n")).expect("a file");
    let live = live_at_terminal(&format!("-j 1 --quiet --progress always {list}"), "");
    let mut live = live.expect("a terminal");
    await_shown(&mut live, "0/2 done, 1 running");
    fs::write(&gate, "\n").expect("the gate");
    assert_eq!(live.finish().code, Some(0));
}

#[test]
fn in_a_log_a_line_now_and_then_says_how_it_stands() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    let mut live = Live::start(&["-j", "2", "--progress", "always"]);
    live.list(&format!("exit 1\nread x <{gate}\n"));
    assert!(live.line(Stream::Stderr).starts_with("failed: line 1: "));
    let line = live.line(Stream::Stderr);
    assert!(
        line.starts_with("progress: 1 done, 1 running, 1 failed, "),
        "{line}"
    );
    live.close_list();
    fs::write(&gate, "\n").expect("the gate");
    let done = live.finish();
    assert!(!done.stderr.contains('\x1b'), "{done:?}");
    let summary = done.summary();
    assert_eq!(summary, "2 commands: 1 succeeded, 1 failed");
}

#[test]
fn what_it_is_told_of_progress_must_be_one_of_three() {
    let done = run(&["--progress", "sometimes"], "");
    assert_eq!(done.code, Some(2));
    assert!(
        done.stderr
            .contains("[possible values: auto, always, never]"),
        "{done:?}"
    );
}

#[test]
fn nothing_is_drawn_over_a_list_that_is_typed() {
    let Some(mut live) = live_at_terminal("-j 1", "") else {
        return;
    };
    await_shown(&mut live, "Ctrl-D ends the list");
    // The second line comes when a bar would have been drawn long since.
    live.list("sleep 0.6; echo o''ne\n");
    await_shown(&mut live, "one");
    live.list("echo t''wo\n");
    await_shown(&mut live, "two");
    live.list("\x04");
    let done = live.finish();
    assert!(!done.output().contains('\x1b'), "{done:?}");
    assert!(
        done.output().contains("2 commands: 2 succeeded, 0 failed"),
        "{done:?}"
    );
}

#[test]
fn the_lines_are_no_more_than_fit_the_terminal() {
    let scratch = Scratch::new();
    let gates = ["a", "b", "c"].map(|name| fifo(&scratch, name));
    let arguments = format!("-j 3 'read x <{{}}; :' ::: {}", gates.join(" "));
    let Some(mut live) = live_at_terminal_of("cols 60 rows 2", &arguments, "NO_COLOR=1") else {
        return;
    };
    // A second frame, behind the erasure of the first.
    await_shown(&mut live, "A\x1b[K");
    for gate in gates {
        fs::write(gate, "\n").expect("the gate");
    }
    let text = text(&live.finish().stdout);
    assert!(!text.contains("\x1b[K\x1b[1A\x1b[K\x1b[1A"), "{text:?}");
}

/// What the terminal gets up to this text, and with it.
fn shown_until(live: &mut Live, expected: &str) -> String {
    await_shown(live, expected);
    let unread = &mut live.unread[0];
    let shown = text(unread.make_contiguous());
    let end = shown.find(expected).expect("it is shown") + expected.len();
    unread.drain(..end);
    shown[..end].to_owned()
}

#[test]
fn in_the_background_nothing_is_drawn_and_nothing_erased_and_fg_brings_the_lines_back() {
    let scratch = Scratch::new();
    let (told, gate) = (fifo(&scratch, "told"), fifo(&scratch, "gate"));
    // Each time, lines would have been drawn long since.
    let list = "sleep 0.6; echo >$TOLD; read x <$GATE; sleep 0.6; echo >$TOLD; read x <$GATE";
    let script = "set -m; \"$EXECLOOP\" run ::: \"$LIST\" & \
        read -r x <\"$TOLD\"; echo started behind; fg >/dev/null; echo stopped; \
        bg >/dev/null; echo >\"$GATE\"; read -r x <\"$TOLD\"; echo gone on behind; \
        fg >/dev/null; echo \"status $?\"";
    let mut command = shell(script);
    command.env("LIST", list).env("TOLD", told);
    let mut live = sit_before(command.env("GATE", &gate).env("TERM", "xterm"));
    let is_drawn = |text: &str| text.contains("running") || text.contains('\x1b');
    let behind = shown_until(&mut live, "started behind");
    assert!(!is_drawn(&behind), "{behind:?}");
    shown_until(&mut live, "0/1 done, 1 running");
    live.list("\x1a");
    shown_until(&mut live, "stopped");
    let behind = shown_until(&mut live, "gone on behind");
    assert!(!is_drawn(&behind), "{behind:?}");
    shown_until(&mut live, "0/1 done, 1 running");
    fs::write(&gate, "\n").expect("the gate");
    shown_until(&mut live, "1 command: 1 succeeded, 0 failed");
    line_with(&mut live, "status 0");
    assert_ends_well(live);
}
