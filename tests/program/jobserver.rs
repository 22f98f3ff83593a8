//! `--jobserver` and `--jobserver-serve`: one limit for the commands and for who has started the program.
//! Unaware of make's and cargo's ways, which the library's own test has.

use super::*;

/// A jobserver with these tokens, and what `MAKEFLAGS` says of it.
fn foreign(scratch: &Scratch, tokens: &[u8]) -> (File, String) {
    let path = scratch.join("tokens");
    Command::new("mkfifo").arg(&path).run().expect("a fifo");
    let fifo = OpenOptions::new().read(true).write(true).open(&path);
    let mut fifo = fifo.expect("the fifo");
    fifo.write_all(tokens).expect("room");
    (
        fifo,
        format!(" -j --jobserver-auth=fifo:{}", path.display()),
    )
}

/// Twelve commands that say when they come and when they go, of which the first waits for the second.
fn most_at_once(scratch: &Scratch, arguments: &[&str], makeflags: &str) -> (Done, i32) {
    let (log, gate) = (scratch.join("log"), scratch.join("gate"));
    Command::new("mkfifo").arg(&gate).run().expect("a fifo");
    let mut list = String::new();
    for at in 0..12 {
        let act = match at {
            0 => format!("cat {} > /dev/null", gate.display()),
            1 => format!("echo > {}", gate.display()),
            _ => "true".to_owned(),
        };
        let log = log.display();
        writeln!(list, "echo + >> {log}; {act}; echo - >> {log}").expect("memory");
    }
    let file = scratch.join("list");
    fs::write(&file, list).expect("a list");
    let arguments = [arguments, &[file.to_str().expect("plain")]].concat();
    let mut command = program(&arguments);
    let done = Done::of(finish(command.env("MAKEFLAGS", makeflags)));
    let (mut alive, mut most) = (0, 0);
    for line in fs::read_to_string(&log).unwrap_or_default().lines() {
        alive += if line == "+" { 1 } else { -1 };
        most = most.max(alive);
    }
    (done, most)
}

fn finish(command: &mut Command) -> Finished {
    command.stdout(Output::capture()).stderr(Output::capture());
    command.env_remove("CARGO_MAKEFLAGS");
    command.finish().expect("it starts")
}

#[test]
fn under_a_jobserver_each_command_but_one_has_a_token_and_all_come_back() {
    let scratch = Scratch::new();
    let (mut fifo, makeflags) = foreign(&scratch, b"x");
    let (done, most) = most_at_once(&scratch, &["-j8", "--jobserver"], &makeflags);
    assert_eq!((done.code, most), (Some(0), 2), "{}", done.stderr);
    let mut token = [0];
    fifo.read_exact(&mut token).expect("it is there");
    assert_eq!(token, *b"x");
}

#[test]
fn a_jobserver_that_is_not_there_is_noted_and_fails_a_run_that_needs_it() {
    let makeflags = " -j2 --jobserver-auth=fifo:/no/such";
    let mut command = program(&[":::", "true"]);
    let done = Done::of(finish(command.env("MAKEFLAGS", makeflags)));
    assert_eq!(done.code, Some(0));
    assert!(
        done.stderr.contains("going on without it"),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("os error"), "{}", done.stderr);
    // What a recipe gets that make does not take for a make.
    let within = "in a makefile, begin the recipe's line with +); going on without it\n";
    for (makeflags, is_hinted) in [(" -j2 --jobserver-auth=97,98", true), (makeflags, false)] {
        let mut command = program(&[":::", "true"]);
        command.env("MAKELEVEL", "1");
        let done = Done::of(finish(command.env("MAKEFLAGS", makeflags)));
        assert_eq!(done.stderr.contains(within), is_hinted, "{}", done.stderr);
    }
    for (makeflags, why) in [(makeflags, "/no/such"), ("", "names none")] {
        let mut command = program(&["--jobserver", ":::", "true"]);
        let done = Done::of(finish(command.env("MAKEFLAGS", makeflags)));
        assert_eq!(done.code, Some(2));
        assert!(done.stderr.contains(why), "{}", done.stderr);
    }
}

#[test]
fn commands_know_of_a_jobserver_of_the_programs_own() {
    let say = "echo \"$MAKEFLAGS\"; test ! -e /dev/fd/8 || echo has 8";
    for (flag, named, has_8) in [
        ("--jobserver-serve", "-j3 --jobserver-auth=fifo:", false),
        ("--jobserver-serve=pipe", "-j3 --jobserver-auth=8,9", true),
    ] {
        if has_8 && !Path::new("/proc/self/fd").is_dir() {
            eprintln!("skipped: a pipe needs /proc/self/fd");
            continue;
        }
        let mut command = program(&["-j3", flag, ":::", say]);
        let done = Done::of(finish(command.env("MAKEFLAGS", "")));
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let output = done.output();
        assert!(output.contains(named), "{output}");
        assert_eq!(output.contains("has 8"), has_8, "{output}");
    }
}

/// What is in the directory for temporary files, given by `TMPDIR`.
fn left_in(directory: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(directory).expect("a directory");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries.map(name).collect()
}

#[test]
fn a_fifo_of_the_programs_own_is_gone_after_every_end_by_a_signal() {
    let kills: [&[Signal]; 5] = [
        &[Signal::INT],
        &[Signal::TERM],
        &[Signal::HUP],
        &[Signal::QUIT],
        // The third ends it where it stands.
        &[Signal::TERM, Signal::HUP, Signal::INT],
    ];
    for signals in kills {
        if signals.iter().any(|signal| is_ignored(*signal)) {
            continue;
        }
        let scratch = Scratch::new();
        let mut command = program(&["-q", "-s", "--jobserver-serve", "--wait-delay", "0"]);
        let mut live = Live::of(command.env("TMPDIR", &*scratch).env("MAKEFLAGS", ""));
        live.list(match signals {
            [_] => "echo up; exec sleep 100000\n",
            _ => "trap '' TERM; echo up; sleep 100000 & wait; wait; wait\n",
        });
        assert_eq!(live.output_line(), "1: up");
        assert_eq!(left_in(&scratch).len(), 1, "{signals:?}");
        for signal in signals {
            live.signal(*signal);
        }
        let done = live.finish();
        let last = signals.iter().map(|signal| Some(signal.number()));
        assert!(last.clone().any(|signal| signal == done.signal), "{done:?}");
        assert_eq!(left_in(&scratch).len(), 0, "{signals:?}");
    }
}

#[test]
fn a_fifo_of_the_programs_own_is_gone_when_its_stdout_is_closed() {
    let scratch = Scratch::new();
    let mut command = program(&["-q", "--jobserver-serve"]);
    let mut live = Live::of(command.env("TMPDIR", &*scratch).env("MAKEFLAGS", ""));
    live.list("echo one\n");
    assert_eq!(live.output_line(), "one");
    assert_eq!(left_in(&scratch).len(), 1);
    live.close_stdout();
    live.list("echo two\n");
    let done = live.finish_unread();
    assert_eq!(done.signal, Some(Signal::PIPE.number()), "{done:?}");
    assert_eq!(left_in(&scratch).len(), 0);
}
