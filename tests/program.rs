//! The program `execloop run`: each flag, exit status, signal and odd input, from outside.
//! It is driven by the library itself, as any program would be.
#![cfg(feature = "cli")]

mod common;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use common::{Scratch, shell, text};
use execloop::{Command, Finished, Id, Input, Output, Reactor, Signal, Stream};

/// `execloop run` with these arguments.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_execloop"));
    command.arg("run").args(arguments);
    command
}

/// How a run ended, and what it printed.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    signal: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Done {
    fn of(finished: Finished) -> Done {
        let status = finished.status.expect("a status");
        Done {
            code: status.code(),
            signal: status.signal(),
            stdout: finished.stdout,
            stderr: text(&finished.stderr),
        }
    }

    fn output(&self) -> String {
        text(&self.stdout)
    }

    /// The last line of stderr.
    fn summary(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

/// Runs a list to its end.
#[track_caller]
fn run(arguments: &[&str], list: impl AsRef<[u8]>) -> Done {
    finish(program(arguments).stdin(Input::bytes(list.as_ref())))
}

#[track_caller]
fn finish(command: &mut Command) -> Done {
    command.stdout(Output::capture()).stderr(Output::capture());
    Done::of(command.finish().expect("the program starts"))
}

/// A run that is talked to while it goes on.
struct Live {
    reactor: Reactor,
    id: Id,
    /// What was read of stdout and stderr beyond the last line asked for.
    unread: [VecDeque<u8>; 2],
}

impl Live {
    fn start(arguments: &[&str]) -> Live {
        Live::of(&mut program(arguments))
    }

    #[track_caller]
    fn of(command: &mut Command) -> Live {
        let mut reactor = Reactor::new().expect("a reactor");
        command
            .stdin(Input::pipe())
            .stdout(Output::pipe())
            .stderr(Output::pipe());
        let id = reactor.start(command).expect("the program starts");
        Live {
            reactor,
            id,
            unread: Default::default(),
        }
    }

    /// Writes to the list.
    #[track_caller]
    fn list(&mut self, lines: &str) {
        let mut stdin = self.reactor.stdin(self.id).expect("stdin");
        stdin.write_all(lines.as_bytes()).expect("stdin");
    }

    /// The list is over.
    fn close_list(&mut self) {
        self.reactor.stdin(self.id).expect("stdin").close();
    }

    /// More of a stream; `false` at its end.
    fn read(&mut self, stream: Stream) -> bool {
        let pipe = match stream {
            Stream::Stderr => self.reactor.stderr(self.id),
            _ => self.reactor.stdout(self.id),
        };
        let mut chunk = [0; 4096];
        let read = pipe.expect("a pipe").read(&mut chunk).expect("the pipe");
        self.unread[stream as usize - 1].extend(&chunk[..read]);
        read > 0
    }

    /// The next line of a stream; what there is at its end.
    fn line(&mut self, stream: Stream) -> String {
        loop {
            let unread = &mut self.unread[stream as usize - 1];
            if let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                return text(&line[..end]);
            }
            if !self.read(stream) {
                let rest: Vec<u8> = self.unread[stream as usize - 1].drain(..).collect();
                return text(&rest);
            }
        }
    }

    fn output_line(&mut self) -> String {
        self.line(Stream::Stdout)
    }

    #[track_caller]
    fn signal(&mut self, signal: Signal) {
        self.reactor.signal(self.id, signal).expect("it runs");
    }

    fn close_stdout(&mut self) {
        self.reactor.stdout(self.id).expect("stdout").close();
    }

    /// Waits for its end, with the rest of what it prints.
    #[track_caller]
    fn finish(mut self) -> Done {
        while self.read(Stream::Stdout) {}
        self.finish_unread()
    }

    /// The same without a look at stdout.
    #[track_caller]
    fn finish_unread(mut self) -> Done {
        while self.read(Stream::Stderr) {}
        let finished = self.reactor.wait(self.id).expect("a reactor");
        let mut done = Done::of(finished.expect("it was started"));
        let [stdout, stderr] = self.unread;
        done.stdout = stdout.into();
        done.stderr = text(&Vec::from(stderr));
        done
    }
}

/// A named pipe.
fn fifo(scratch: &Scratch, name: &str) -> String {
    let path = scratch.join(name).display().to_string();
    shell(&format!("mkfifo '{path}'"))
        .run()
        .expect("a named pipe");
    path
}

/// Signals that this process ignores, as `nohup` or a shell's `&` has it, are ignored by the program, too.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("proc(5)");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("a number");
    let is_ignored = mask >> (signal.number() - 1) & 1 == 1;
    if is_ignored {
        eprintln!("skipped: the tests run with {signal} ignored");
    }
    is_ignored
}

/// The command is reaped, and the process that it left behind is dead, or comes to it.
#[track_caller]
fn assert_gone(command_and_descendant: &str) {
    let (command, descendant) = command_and_descendant.split_once(' ').expect("two pids");
    assert!(
        !Path::new("/proc").join(command).exists(),
        "{command} lives"
    );
    let dead = format!("! grep -q 'State:.[^ZX]' /proc/{descendant}/status 2>&-");
    shell(&format!("until {dead}; do sleep 0.01; done"))
        .run()
        .expect("it dies");
}

#[track_caller]
fn wait_until_stopped(pids: &str) {
    let wait = "until grep -q 'State:.T' /proc/$pid/status; do sleep 0.01; done";
    shell(&format!("for pid in {pids}; do {wait}; done"))
        .run()
        .expect("they are stopped");
}

#[test]
fn commands_of_stdin_and_of_a_file_run_and_all_succeed() {
    let scratch = Scratch::new();
    let file = scratch.join("list");
    fs::write(&file, "echo one\n").expect("a file");
    for done in [
        run(&[], "echo one\n"),
        run(&["-"], "echo one\n"),
        run(&[&file.display().to_string()], "echo two\n"),
    ] {
        assert_eq!((done.code, done.output().as_str()), (Some(0), "one\n"));
        assert_eq!(done.stderr, "1 command: 1 succeeded, 0 failed\n");
    }
    let done = run(&[], "");
    assert_eq!(done.code, Some(0));
    assert_eq!(done.stderr, "0 commands: 0 succeeded, 0 failed\n");
}

#[test]
fn blank_lines_and_comments_are_skipped_and_counted_as_lines() {
    let done = run(&[], "\n# echo no\n  \t\n   # no\necho yes; exit 4\n");
    assert_eq!((done.code, done.output().as_str()), (Some(1), "yes\n"));
    assert_eq!(
        done.stderr,
        "failed: line 5: echo yes; exit 4: exit status 4\n1 command: 0 succeeded, 1 failed\n"
    );
}

#[test]
fn failures_are_listed_by_line_with_their_reason() {
    let list = "exit 3\ntrue\nkill -KILL $$\nno-such-program\nexit 0\n";
    let done = run(&["-j", "3"], list);
    assert_eq!(done.code, Some(1));
    let expected = "failed: line 1: exit 3: exit status 3\n\
        failed: line 3: kill -KILL $$: signal: SIGKILL\n\
        failed: line 4: no-such-program: exit status 127\n\
        5 commands: 2 succeeded, 3 failed\n";
    assert_eq!(done.stderr, expected);
    assert!(done.output().contains("no-such-program"), "{done:?}");
}

#[test]
fn failures_beyond_a_thousand_are_counted() {
    let done = run(&["-j", "8"], "exit 1\n".repeat(1003));
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert_eq!(lines.len(), 1002);
    assert!(lines[0].starts_with("failed: line "));
    assert_eq!(lines[1000], "failed: and 3 more");
    assert_eq!(lines[1001], "1003 commands: 0 succeeded, 1003 failed");
}

#[test]
fn quiet_drops_the_summary_and_nothing_else() {
    assert_eq!(run(&["-q"], "true\n").stderr, "");
    let done = run(&["--quiet"], "echo out; false\n");
    assert_eq!((done.code, done.output().as_str()), (Some(1), "out\n"));
    assert_eq!(
        done.stderr,
        "failed: line 1: echo out; false: exit status 1\n"
    );
}

#[test]
fn wrong_usage_is_exit_status_2_and_says_what_is_wrong() {
    let cases: [(&[&str], &str); 13] = [
        (&["--no-such-flag"], "--no-such-flag"),
        (&["-j", "0"], "--jobs"),
        (&["-j", "many"], "--jobs"),
        (&["--timeout", "5x"], "500ms, 30s"),
        (&["--timeout", "-1s"], "-1"),
        (&["--timeout", ""], "--timeout"),
        (&["--wait-delay", "1e3"], "--wait-delay"),
        (&["--wait-delay", "99999999999999999999h"], "too long"),
        (&["--signal", "NOPE"], "unknown signal \"NOPE\""),
        (&["--stream", "--keep-order"], "--keep-order"),
        (&["one", "two"], "two"),
        (
            &["/no/such/list"],
            "execloop: /no/such/list: No such file or directory\n",
        ),
        (&["/"], "execloop: /: Is a directory\n"),
    ];
    for (arguments, expected) in cases {
        let done = run(arguments, "echo no\n");
        assert_eq!(done.code, Some(2), "{arguments:?}: {done:?}");
        assert_eq!(done.output(), "", "{arguments:?}");
        assert!(done.stderr.contains(expected), "{arguments:?}: {done:?}");
    }
    let done = finish(&mut Command::new(env!("CARGO_BIN_EXE_execloop")));
    assert_eq!(done.code, Some(2), "no subcommand");
}

#[test]
fn a_list_that_cannot_be_read_is_exit_status_2() {
    // Reading the memory of a process from address 0 is refused: EIO.
    let done = run(&["/proc/self/mem"], "");
    assert_eq!(done.code, Some(2));
    let expected =
        "execloop: /proc/self/mem: Input/output error\n0 commands: 0 succeeded, 0 failed\n";
    assert_eq!(done.stderr, expected);
}

#[test]
fn help_and_version_are_exit_status_0_and_help_names_the_statuses() {
    let done = run(&["--help"], "");
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    for word in [
        "--keep-order",
        "Exit status:",
        "130",
        "begin with #",
        "64 MiB",
    ] {
        assert!(done.output().contains(word), "{word}");
    }
    let longest = done.output().lines().map(str::len).max();
    assert!(
        longest <= Some(120),
        "no line is left to the terminal to break"
    );
    let done = finish(Command::new(env!("CARGO_BIN_EXE_execloop")).arg("--version"));
    let version = format!("execloop {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((done.code, done.output()), (Some(0), version));
}

#[test]
fn stdout_and_stderr_of_a_command_stay_together_and_in_order() {
    let mut list = String::new();
    for number in 0..40 {
        let _ = writeln!(
            list,
            "echo {number} a; echo {number} b >&2; /bin/echo {number} c; echo {number} d >&2"
        );
    }
    let done = run(&["-j", "8"], list);
    let output = done.output();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!((done.code, lines.len()), (Some(0), 160));
    for four in lines.chunks(4) {
        let number = four[0].split(' ').next().expect("a number");
        let expected = ["a", "b", "c", "d"].map(|letter| format!("{number} {letter}"));
        assert_eq!(four, expected);
    }
}

#[test]
fn output_is_passed_on_byte_by_byte() {
    let list = "printf 'no newline'\nprintf '\\0\\377'\nhead -c 3000000 /dev/zero\n";
    let done = run(&["-j", "1"], list);
    let expected = [&b"no newline\0\xff"[..], &vec![0; 3_000_000]].concat();
    assert_eq!(done.code, Some(0));
    assert!(done.stdout == expected, "{} bytes", done.stdout.len());
}

/// Line 1 ends after line 3 has started, which is after line 2 has ended, as two run at once.
fn out_of_order(scratch: &Scratch) -> String {
    let gate = fifo(scratch, "gate");
    format!("read x <{gate}; echo first\necho second\necho >{gate}\n")
}

#[test]
fn an_output_is_printed_when_its_command_ends() {
    let scratch = Scratch::new();
    let list = out_of_order(&scratch);
    let done = run(&["-j", "2"], list);
    assert_eq!(
        (done.code, done.output().as_str()),
        (Some(0), "second\nfirst\n")
    );
}

#[test]
fn keep_order_prints_in_the_order_of_the_list() {
    let scratch = Scratch::new();
    let list = out_of_order(&scratch) + "a\0b\nexit 1\necho last\n";
    for flag in ["-k", "--keep-order"] {
        let done = run(&["-j", "2", flag], &list);
        assert_eq!(done.output(), "first\nsecond\nlast\n");
        assert_eq!(done.summary(), "6 commands: 4 succeeded, 2 failed");
    }
}

#[test]
fn keep_order_holds_back_no_more_than_its_limit() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    let told = fifo(&scratch, "told");
    let mark = scratch.join("mark").display().to_string();
    // Behind line 1, 70 MiB are held back: line 9 cannot start before that ends, and finds what it leaves.
    let mut list = format!("read x <{gate}; echo >{mark}; echo first\n");
    list += &"head -c 10485760 /dev/zero\n".repeat(6);
    let _ = writeln!(list, "head -c 10485760 /dev/zero; echo >{told}");
    let _ = writeln!(list, "test -e {mark} && echo last");
    let mut live = Live::start(&["-k", "-j", "2"]);
    live.list(&list);
    live.close_list();
    // The program has the time to make the mistake.
    shell(&format!("read x <{told}; sleep 0.2"))
        .run()
        .expect("line 8 ends");
    fs::write(&gate, "\n").expect("the gate");
    assert_eq!(live.output_line(), "first");
    let done = live.finish();
    assert_eq!(done.summary(), "9 commands: 9 succeeded, 0 failed");
    assert_eq!(done.stdout.len(), 7 * 10_485_760 + "last\n".len());
}

#[test]
fn stream_prints_each_line_as_it_is_written_behind_its_number() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    let mut live = Live::start(&["--stream", "-j", "2"]);
    live.list(&format!(
        "# numbers count every line\necho one; echo two >&2; read x <{gate}; printf end\n"
    ));
    assert_eq!(live.output_line(), "2: one");
    assert_eq!(live.output_line(), "2: two");
    live.list("echo other\n");
    assert_eq!(live.output_line(), "3: other");
    live.close_list();
    fs::write(&gate, "\n").expect("the gate");
    let done = live.finish();
    assert_eq!((done.code, done.output().as_str()), (Some(0), "2: end\n"));
}

#[test]
fn a_line_typed_now_starts_now_and_the_list_need_not_end() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    let mut live = Live::start(&["-j", "2"]);
    live.list("echo one\n");
    assert_eq!(live.output_line(), "one");
    live.list(&format!("read x <{gate}; echo waited\n"));
    for word in ["two", "three"] {
        live.list(&format!("echo {word}\n"));
        assert_eq!(live.output_line(), word);
    }
    live.list("echo un");
    live.list("finished line");
    live.close_list();
    assert_eq!(live.output_line(), "unfinished line");
    fs::write(&gate, "\n").expect("the gate");
    assert_eq!(live.output_line(), "waited");
    let done = live.finish();
    assert_eq!(done.code, Some(0));
    assert_eq!(done.stderr, "5 commands: 5 succeeded, 0 failed\n");
}

#[test]
fn a_long_list_is_read_only_as_far_as_its_commands_start() {
    let scratch = Scratch::new();
    let path = scratch.join("list");
    let list = ":\n".repeat(300) + "exit 1\n" + &":\n".repeat(2_000_000);
    fs::write(&path, list).expect("a file");
    let mut file = File::open(&path).expect("the file");
    // Both have one position in the file.
    let shared = file.try_clone().expect("a descriptor");
    let done = finish(program(&["--fail-fast", "-j", "2"]).stdin(Input::file(shared)));
    assert_eq!(done.code, Some(1));
    let position = file.stream_position().expect("a position");
    assert!(position <= 128 * 1024, "{position} bytes were read");
}

#[test]
fn an_endless_list_ends_by_the_first_failure() {
    let list = "yes : | head -n 50; echo exit 5; exec yes :";
    let script = format!("({list}) | '{}' run -f", env!("CARGO_BIN_EXE_execloop"));
    let done = finish(&mut shell(&script));
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr
            .contains("failed: line 51: exit 5: exit status 5\n")
    );
}

#[test]
fn ten_thousand_commands_run_and_each_is_accounted_for() {
    let mut list = String::new();
    let mut expected = String::new();
    for number in 1..=10_000 {
        if number % 1000 == 0 {
            list += "exit 9\n";
        } else {
            let _ = writeln!(list, "echo {number}");
            let _ = writeln!(expected, "{number}");
        }
    }
    let done = run(&["-k", "-j", "16"], list);
    assert_eq!(done.code, Some(1));
    assert!(done.output() == expected);
    assert_eq!(done.summary(), "10000 commands: 9990 succeeded, 10 failed");
    assert!(
        done.stderr
            .starts_with("failed: line 1000: exit 9: exit status 9\n")
    );
}

#[test]
fn no_more_than_the_given_number_run_at_once() {
    let scratch = Scratch::new();
    let here = scratch.path().display();
    let list = format!("cd '{here}'; : >here.$$; ls | wc -l; /bin/true; rm here.$$\n").repeat(60);
    let done = run(&["--jobs", "3"], list);
    let output = done.output();
    let counts: Vec<u32> = output
        .lines()
        .map(|line| line.trim().parse().expect("a count"))
        .collect();
    assert_eq!((done.code, counts.len()), (Some(0), 60));
    assert!(
        counts.iter().all(|count| (1..=3).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn more_run_at_once_than_the_soft_limit_of_descriptors_allows_and_they_get_that_limit() {
    let scratch = Scratch::new();
    let gate = fifo(&scratch, "gate");
    // Both ends, so that nobody waits for the other end to be opened.
    let mut release = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&gate)
        .expect("the gate");
    let script = format!(
        "ulimit -S -n 64; exec '{}' run -s -j 100 --timeout 10m",
        env!("CARGO_BIN_EXE_execloop")
    );
    let mut live = Live::of(&mut shell(&script));
    live.list(&format!("read x <{gate}\n").repeat(99));
    live.list("ulimit -S -n\n");
    live.close_list();
    assert_eq!(live.output_line(), "100: 64");
    release.write_all(&[b'\n'; 99]).expect("the gate");
    let done = live.finish();
    assert_eq!(done.summary(), "100 commands: 100 succeeded, 0 failed");
}

#[test]
fn fail_fast_stops_what_runs_and_starts_nothing_more() {
    let scratch = Scratch::new();
    let mark = scratch.join("mark");
    let list = format!("sleep 1000\nexit 3\necho no >'{}'\n", mark.display());
    let done = run(&["--fail-fast", "-j", "2"], list);
    assert_eq!(done.code, Some(1));
    let expected = "failed: line 2: exit 3: exit status 3\n\
        2 commands: 0 succeeded, 1 failed, 1 cancelled\n";
    assert_eq!(done.stderr, expected);
    assert!(!mark.exists());
}

#[test]
fn a_command_that_runs_longer_than_the_timeout_has_failed() {
    let done = run(&["--timeout", "100ms"], "sleep 1000\n");
    assert_eq!(done.code, Some(1));
    let expected = "failed: line 1: sleep 1000: signal: SIGTERM (timed out)\n\
        1 command: 0 succeeded, 1 failed\n";
    assert_eq!(done.stderr, expected);
    let done = run(&["-t", "0"], "echo no limit\n");
    assert_eq!((done.code, done.output().as_str()), (Some(0), "no limit\n"));
}

#[test]
fn a_process_left_behind_with_the_output_open_is_a_failure_after_the_wait_delay() {
    let done = run(&["--wait-delay", "100ms"], "sleep 1000 & echo $!\n");
    let orphan = done.output();
    shell(&format!("kill {orphan}"))
        .run()
        .expect("the orphan was let live");
    assert_eq!(done.code, Some(1));
    let reason = "wait delay expired with stdout still open";
    assert!(done.stderr.contains(reason), "{done:?}");
}

/// A command that says `ready`, answers the given signal by `asked`, and then ends well.
fn polite(signal: &str) -> String {
    format!(
        "trap 'echo asked; kill -KILL $! 2>/dev/null; exit 0' {signal}; sleep 1000 & echo ready; wait\n"
    )
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
        2 commands: 0 succeeded, 0 failed, 2 cancelled\n";
    assert_eq!(
        (done.output().as_str(), done.stderr.as_str()),
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
        "1 command: 0 succeeded, 0 failed, 1 cancelled"
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
        "2 commands: 0 succeeded, 0 failed, 2 cancelled"
    );
    pids.iter().for_each(|pid| assert_gone(pid));
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
    let mut live = Live::start(&["--stream"]);
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
fn a_closed_stdout_ends_it_quietly_and_its_commands_are_killed() {
    for flags in [&["-j", "2"][..], &["-j", "2", "--stream"]] {
        let scratch = Scratch::new();
        let told = fifo(&scratch, "told");
        let mut live = Live::start(flags);
        live.list(&format!(
            "trap '' TERM; sleep 100000 & echo $$ $! >'{told}'; wait\n"
        ));
        let pids = fs::read_to_string(&told).expect("two pids");
        live.list("echo one\n");
        assert!(live.output_line().ends_with("one"));
        live.close_stdout();
        live.list("echo two\n");
        let done = live.finish_unread();
        assert_eq!(done.signal, Some(Signal::PIPE.number()), "{flags:?}");
        assert_eq!(done.stderr, "", "{flags:?}");
        assert_gone(pids.trim());
    }
}

#[test]
fn a_stdout_that_cannot_be_written_is_told_and_exit_status_1() {
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let mut command = program(&["-j", "1"]);
    command
        .stdin(Input::bytes(&b"echo one\nsleep 100000\n"[..]))
        .stdout(Output::file(full))
        .stderr(Output::capture());
    let done = Done::of(command.finish().expect("the program starts"));
    assert_eq!(done.code, Some(1));
    let told = "execloop: stdout: No space left on device\n";
    assert!(done.stderr.starts_with(told), "{done:?}");
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
fn a_non_blocking_stdin_and_stdout_are_waited_for() {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    theirs.set_nonblocking(true).expect("a socket");
    let stdout = theirs.try_clone().expect("a descriptor");
    let mut reactor = Reactor::new().expect("a reactor");
    let mut command = program(&["-j", "1"]);
    command
        .stdin(Input::file(theirs))
        .stdout(Output::file(stdout))
        .stderr(Output::capture());
    let id = reactor.start(&mut command).expect("the program starts");
    let mut answer = vec![0; 4_000_000];
    // The first read finds nothing, and neither does the one after the first line.
    for _ in 0..2 {
        ours.write_all(b"head -c 4000000 /dev/zero\n")
            .expect("the list");
        ours.read_exact(&mut answer).expect("the output");
    }
    ours.shutdown(Shutdown::Write).expect("the end of the list");
    let finished = reactor.wait(id).expect("a reactor");
    let done = Done::of(finished.expect("it was started"));
    assert_eq!(done.code, Some(0));
    assert_eq!(done.stderr, "2 commands: 2 succeeded, 0 failed\n");
}

#[test]
fn the_rest_of_the_output_is_written_before_the_end() {
    // The last write waits for a reader that comes late.
    let mut live = Live::start(&["-j", "1"]);
    live.list("head -c 5000000 /dev/zero\n");
    live.close_list();
    let done = live.finish();
    assert_eq!((done.code, done.stdout.len()), (Some(0), 5_000_000));
}

#[test]
fn a_line_is_run_byte_by_byte_whatever_its_encoding() {
    let done = run(
        &["-k"],
        b"printf '%s' '\xff\xc3\xa9\xe9'\r\nprintf '%s' \xf0\x9f\n echo  a  #b\n",
    );
    assert_eq!(done.code, Some(0));
    assert_eq!(done.stdout, b"\xff\xc3\xa9\xe9\xf0\x9fa\n");
}

#[test]
fn a_line_that_begins_with_a_dash_is_a_command_and_no_option() {
    let done = run(&["-k"], "-x; echo $?\n+x || echo $?\n");
    assert_eq!(done.code, Some(0));
    let output = done.output();
    let told: Vec<&str> = output
        .lines()
        .filter(|line| !line.contains("not found"))
        .collect();
    assert_eq!(told, ["127", "127"]);
}

#[test]
fn lines_that_cannot_run_have_failed_with_a_reason_and_the_others_run() {
    let long = "echo ".to_owned() + &"x".repeat(200_000);
    let longer = "echo ".to_owned() + &"y".repeat(2_000_000);
    let list = format!("echo one\necho a\0b\n{long}\n{longer}\necho two");
    let done = run(&["-k"], list);
    assert_eq!((done.code, done.output().as_str()), (Some(1), "one\ntwo\n"));
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(
        lines[0],
        "failed: line 2: echo a\\u{0}b: the line contains a NUL byte"
    );
    let shown = |letter: &str| format!("echo {}...", letter.repeat(195));
    let too_long = format!(
        "failed: line 3: {}: exec /bin/sh: Argument list too long",
        shown("x")
    );
    assert!(lines[1].starts_with(&too_long), "{}", lines[1]);
    let longer = format!(
        "failed: line 4: {}: the line is longer than 1 MiB",
        shown("y")
    );
    assert_eq!(lines[2], longer);
    assert_eq!(lines[3], "5 commands: 2 succeeded, 3 failed");
}

#[test]
fn commands_have_no_stdin_and_nothing_else_of_the_programs() {
    let done = run(&["-j", "1"], "cat; echo end\nls /proc/self/fd\n");
    // The last is that of the directory which ls reads.
    assert_eq!(done.output(), "end\n0\n1\n2\n3\n");
}
