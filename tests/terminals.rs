//! Terminals of commands: what a program finds there, which bytes arrive, where the end is, sizes, and what holds one.
//! Unaware of the terminal that this process may have.

#[path = "common"]
mod common {
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    mod orphan_pid;
    pub mod shell;
    pub mod stay;
    pub mod text;
    mod watchdog;
}

use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::finish::finish;
use common::helper::helper;
use common::shell::shell;
use common::stay::Stay;
use common::text::text;
use execloop::linux::CommandExt;
use execloop::{
    Command, CommandId, Error, Event, Input, Output, Reactor, StartError, Stream, TerminalSize,
};

const SIZE: TerminalSize = TerminalSize {
    rows: 50,
    columns: 132,
};

#[track_caller]
fn assert_success(reactor: &mut Reactor, id: CommandId) {
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(done.success(), "{:?}", done.outcome);
}

/// What a script prints on a terminal that changes nothing.
#[track_caller]
fn printed(script: &str) -> String {
    let done = finish(shell(script).stdout(Output::capture().raw_terminal(SIZE)));
    assert!(done.success(), "{:?}", done.outcome);
    text(&done.stdout)
}

#[test]
fn a_program_finds_a_terminal_of_the_size_that_was_asked_for() {
    assert_eq!(printed("test -t 1 && stty size <&1"), "50 132\n");
    // Nothing else is one.
    assert_eq!(printed("test -t 0 || test -t 2 || echo no"), "no\n");
    let usual = Output::capture().terminal(TerminalSize::default());
    let done = finish(shell("stty size <&1").stdout(usual));
    assert_eq!(text(&done.stdout), "24 80\r\n");
}

#[test]
fn a_line_arrives_as_a_terminal_would_be_sent_it_and_from_a_raw_one_as_it_was_written() {
    let done = finish(shell("printf 'a\\nb\\tc'").stdout(Output::capture().terminal(SIZE)));
    assert_eq!(text(&done.stdout), "a\r\nb\tc");
    assert_eq!(printed("printf 'a\\nb\\tc'"), "a\nb\tc");
}

#[test]
fn two_terminals_keep_both_outputs_apart_and_one_has_them_in_their_order() {
    let both = "test -t 1 && test -t 2 && echo out && echo err >&2 && echo again";
    let terminal = || Output::capture().raw_terminal(SIZE);
    let apart = finish(shell(both).stdout(terminal()).stderr(terminal()));
    assert_eq!(
        (text(&apart.stdout), text(&apart.stderr)),
        ("out\nagain\n".to_owned(), "err\n".to_owned())
    );
    let together = finish(shell(both).stdout(terminal()).stderr_to_stdout(true));
    assert_eq!(text(&together.stdout), "out\nerr\nagain\n");
    // Its own terminal does not make the other one of it.
    let alone = finish(
        shell("test -t 1 || echo pipe")
            .stdout(Output::capture())
            .stderr(terminal()),
    );
    assert_eq!(text(&alone.stdout), "pipe\n");
}

#[test]
fn the_end_of_a_terminal_is_the_end_of_the_output_and_no_byte_before_it_is_lost() {
    let digits = shell("seq 200000")
        .stdout(Output::capture())
        .finish()
        .expect("it starts");
    let done = finish(shell("seq 200000").stdout(Output::capture().raw_terminal(SIZE)));
    assert!(done.success(), "{:?}", done.outcome);
    assert!(done.stdout == digits.stdout, "{} bytes", done.stdout.len());
    // Its child ends later than it does, and is waited for as one that holds a pipe.
    assert_eq!(
        printed("(while read line; do echo $line; done; echo last) <<E &\none\nE"),
        "one\nlast\n"
    );
}

#[test]
fn an_output_that_is_closed_before_its_end_is_no_terminal_any_more() {
    let mut reactor = Reactor::new().expect("a reactor");
    let stubborn = "trap '' HUP; read line; echo a && exit 1; exit 0";
    let (stdin, mut leash) = io::pipe().expect("a pipe");
    let mut command = shell(stubborn);
    command
        .stdin(Input::file(stdin))
        .stdout(Output::pipe().terminal(SIZE));
    let id = reactor.start(&mut command).expect("it starts");
    reactor.stdout(id).expect("a pipe").close();
    leash.write_all(b"now\n").expect("it reads");
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(
        done.success(),
        "EIO is no success of echo: {:?}",
        done.outcome
    );
}

/// A full disk, say.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_typed_into_a_terminal_ends_with_its_output_and_does_not_hold_it() {
    let mut reactor = Reactor::new().expect("a reactor");
    let inputs: [fn() -> Input; 3] = [
        Input::pipe,
        || Input::reader(io::repeat(b'\n')),
        || Input::bytes(vec![b'\n'; 1 << 20]),
    ];
    for input in inputs {
        // It hangs up, which ends both.
        let mut endless = Command::new("yes");
        endless
            .stdin(input().terminal())
            .stdout(Output::writer(Full).terminal(SIZE));
        let id = reactor.start(&mut endless).expect("it starts");
        let done = reactor.wait(id).expect("waited").expect("finished");
        assert!(!done.success(), "{:?}", done.outcome);
        endless
            .stdin(input().terminal())
            .stdout(Output::pipe().terminal(SIZE));
        let id = reactor.start(&mut endless).expect("it starts");
        reactor.stdout(id).expect("a pipe").close();
        let done = reactor.wait(id).expect("waited").expect("finished");
        assert!(!done.success(), "{:?}", done.outcome);
        if let Some(mut stdin) = reactor.stdin(id) {
            let refused = stdin.write_all(b"x").expect_err("it is closed");
            assert_eq!(
                refused.to_string(),
                "stdin was cut: its terminal, stdout, is closed"
            );
        }
    }
}

#[test]
fn who_waits_to_type_is_told_when_the_terminal_is_closed() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut stays = shell("trap '' HUP; while echo; do sleep 0.01; done");
    stays
        .stdin(Input::pipe().terminal())
        .stdout(Output::pipe().terminal(SIZE));
    let id = reactor.start(&mut stays).expect("it starts");
    // It reads nothing of what is typed.
    while reactor.stdin(id).expect("a pipe").try_fd().is_err() {
        reactor.turn(None).expect("turned");
    }
    while let Ok(typed) = reactor.stdin(id).expect("a pipe").try_write(&[b'\n'; 4096]) {
        assert!(typed > 0);
    }
    reactor.stdout(id).expect("a pipe").close();
    let event = reactor.try_event();
    assert!(
        matches!(event, Some(Event::Ready(of, Stream::Stdin)) if of == id),
        "{event:?}"
    );
    let refused = reactor.stdin(id).expect("a pipe").try_write(b"x");
    assert_eq!(
        refused.expect_err("it is closed").kind(),
        ErrorKind::NotConnected
    );
    assert!(reactor.wait(id).expect("waited").is_some());
}

#[test]
fn what_is_typed_is_echoed_and_read_by_lines_until_ctrl_d() {
    let mut typed = Command::new("cat");
    typed
        .stdin(Input::bytes(*b"one\ntwo\nhalf").terminal())
        .stdout(Output::capture().terminal(SIZE));
    let done = finish(&mut typed);
    assert!(done.success(), "{:?}", done.outcome);
    let said = text(&done.stdout);
    // The echo comes when it is typed, and what is read comes back.
    let echo = "one\r\ntwo\r\nhalf";
    assert_eq!(said.matches("one\r\n").count(), 2, "{said:?}");
    assert_eq!(said.matches("half").count(), 2, "{said:?}");
    assert!(
        said.starts_with("one\r\n") && said.len() == 2 * echo.len(),
        "{said:?}"
    );
}

#[test]
fn nothing_typed_but_the_end_is_a_null_input() {
    let mut reads = shell("test -t 0 && ! read line && echo end");
    reads
        .stdin(Input::null().terminal())
        .stdout(Output::capture().terminal(SIZE));
    let done = finish(&mut reads);
    assert!(done.success(), "{:?}", done.outcome);
    assert!(text(&done.stdout).ends_with("end\r\n"));
}

#[test]
fn a_caller_talks_to_a_program_on_a_terminal() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut asks = shell("printf 'name? '; read name; echo \"hello $name\"; read more || echo bye");
    asks.stdin(Input::pipe().terminal())
        .stdout(Output::pipe().terminal(SIZE));
    let id = reactor.start(&mut asks).expect("it starts");
    let mut question = [0; 6];
    let mut stdout = reactor.stdout(id).expect("a pipe");
    stdout.read_exact(&mut question).expect("a question");
    assert_eq!(text(&question), "name? ");
    let mut stdin = reactor.stdin(id).expect("a pipe");
    stdin.write_all(b"Ada\n").expect("it reads");
    let mut answer = [0; 16];
    let mut stdout = reactor.stdout(id).expect("a pipe");
    stdout
        .read_exact(&mut answer)
        .expect("an echo and an answer");
    assert_eq!(text(&answer), "Ada\r\nhello Ada\r\n");
    // One open file is both ends: it can block for both or for none.
    let refused = reactor.stdin(id).expect("a pipe").into_fd();
    assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Unsupported);
    let refused = reactor.stdout(id).expect("a pipe").into_fd();
    assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Unsupported);
    reactor.stdin(id).expect("still there").close();
    let mut rest = String::new();
    let mut stdout = reactor.stdout(id).expect("still there");
    stdout.read_to_string(&mut rest).expect("the end");
    assert!(rest.ends_with("bye\r\n"), "{rest:?}");
    assert_success(&mut reactor, id);
}

#[test]
fn a_terminal_without_input_can_be_taken_out() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut command = shell("echo out");
    command.stdout(Output::pipe().terminal(SIZE));
    let id = reactor.start(&mut command).expect("it starts");
    let fd = reactor
        .stdout(id)
        .expect("a pipe")
        .into_fd()
        .expect("a descriptor");
    let mut line = [0; 5];
    std::fs::File::from(fd)
        .read_exact(&mut line)
        .expect("a line");
    assert_eq!(&line, b"out\r\n");
    assert_success(&mut reactor, id);
}

#[test]
fn lines_and_writers_get_what_a_terminal_brings() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let to_lines = Output::lines(move |line| kept.lock().expect("no panic").push(line.to_vec()));
    assert!(finish(shell("echo a; echo b").stdout(to_lines.raw_terminal(SIZE))).success());
    assert_eq!(*lines.lock().expect("no panic"), [b"a", b"b"]);
    let (mut read, write) = io::pipe().expect("a pipe");
    let mut command = shell("echo a");
    command.stdout(Output::writer(write).terminal(SIZE));
    assert!(finish(&mut command).success());
    let mut bytes = [0; 3];
    read.read_exact(&mut bytes).expect("the bytes");
    assert_eq!(&bytes, b"a\r\n");
}

#[test]
fn an_orphan_that_holds_a_terminal_is_bounded_by_the_wait_delay_and_named() {
    let mut stay = Stay::new(&["orphan"]);
    stay.command
        .stdout(Output::capture().terminal(SIZE))
        .wait_delay(Duration::from_millis(50))
        .name_holders(true);
    let mut reactor = Reactor::new().expect("a reactor");
    let id = reactor.start(&mut stay.command).expect("it starts");
    let orphan = stay.orphan();
    stay.release();
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert_eq!(done.leaked, [Stream::Stdout]);
    assert!(
        matches!(done.outcome, Err(Error::WaitDelay { .. })),
        "{:?}",
        done.outcome
    );
    if cfg!(target_os = "linux") {
        let pids: Vec<u32> = done.holders.iter().map(|holder| holder.pid).collect();
        assert_eq!(pids, [orphan]);
    }
}

#[test]
fn a_new_size_reaches_the_foreground_of_a_terminal_that_is_controlled() {
    let mut reactor = Reactor::new().expect("a reactor");
    let waits = "trap 'stty size </dev/tty; exit' WINCH; echo ready; while :; do sleep 0.01; done";
    let mut command = shell(waits);
    command
        .session(true)
        .controlling_terminal(1)
        .stdout(Output::pipe().raw_terminal(SIZE));
    let id = reactor.start(&mut command).expect("it starts");
    let mut ready = [0; 6];
    let mut stdout = reactor.stdout(id).expect("a pipe");
    stdout.read_exact(&mut ready).expect("a word");
    let (rows, columns) = (30, 100);
    reactor
        .resize_terminal(id, TerminalSize { rows, columns })
        .expect("a terminal");
    let mut size = String::new();
    let mut stdout = reactor.stdout(id).expect("a pipe");
    stdout.read_to_string(&mut size).expect("the end");
    assert_eq!(size, "30 100\n");
    let _ = reactor.wait(id).expect("waited").expect("finished");
}

#[test]
fn ctrl_c_that_is_typed_interrupts_who_controls_the_terminal() {
    // A shell's background job has SIGINT ignored, and so has all that it starts: a shell could not trap it then. What is
    // caught here is at its default in a child.
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::default()).expect("a handler");
    let mut command =
        shell("trap 'echo caught; exit 0' INT; echo ready; while :; do sleep 0.01; done");
    command
        .session(true)
        .controlling_terminal(0)
        .stdin(Input::pipe().terminal())
        .stdout(Output::pipe().terminal(SIZE));
    let mut reactor = Reactor::new().expect("a reactor");
    let id = reactor.start(&mut command).expect("it starts");
    let mut ready = [0; 7];
    let mut stdout = reactor.stdout(id).expect("a pipe");
    stdout.read_exact(&mut ready).expect("a word");
    let mut stdin = reactor.stdin(id).expect("a pipe");
    stdin.write_all(b"\x03").expect("it is there");
    let mut said = String::new();
    let mut stdout = reactor.stdout(id).expect("a pipe");
    stdout.read_to_string(&mut said).expect("the end");
    assert_eq!(said, "^Ccaught\r\n");
    assert_success(&mut reactor, id);
}

#[test]
fn one_that_waits_for_its_start_begins_with_the_new_size() {
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    let mut stay = Stay::new(&[]);
    let first = reactor.start(&mut stay.command).expect("it starts");
    let mut command = shell("stty size <&1; stty size <&2 >&1");
    let terminal = || Output::capture().raw_terminal(SIZE);
    command.stdout(terminal()).stderr(terminal());
    let id = reactor.start(&mut command).expect("it waits");
    let (rows, columns) = (7, 9);
    reactor
        .resize_terminal(id, TerminalSize { rows, columns })
        .expect("there will be one");
    stay.release();
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert_eq!(text(&done.stdout), "7 9\n7 9\n");
    reactor.wait(first).expect("waited");
}

#[test]
fn who_has_no_terminal_has_no_size() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut stay = Stay::new(&[]);
    stay.command.stdout(Output::capture());
    let id = reactor.start(&mut stay.command).expect("it starts");
    stay.pid();
    let refused = |result: io::Result<()>| result.expect_err("it has none").kind();
    assert_eq!(
        refused(reactor.resize_terminal(id, SIZE)),
        ErrorKind::NotConnected
    );
    stay.release();
    reactor.wait(id).expect("waited");
    assert_eq!(
        refused(reactor.resize_terminal(id, SIZE)),
        ErrorKind::NotConnected
    );
}

#[test]
fn a_terminal_that_this_process_does_not_read_or_type_into_is_refused() {
    let refused = |change: &dyn Fn(&mut Command)| {
        let mut command = Command::new("true");
        change(&mut command);
        let error = command.run().expect_err("refused");
        match error.reason() {
            Error::Start(StartError::Refused(why)) => (*why).to_owned(),
            other => panic!("{other:?}"),
        }
    };
    let outputs: [fn() -> Output; 3] = [Output::null, Output::inherit, || Output::file(null())];
    for output in outputs {
        let why = refused(&|command| {
            command.stdout(output().terminal(SIZE));
        });
        assert_eq!(why, "a terminal is for an output that this process reads");
    }
    let inputs: [fn() -> Input; 2] = [Input::inherit, || Input::file(null())];
    for input in inputs {
        let why = refused(&|command| {
            let output = Output::capture().terminal(SIZE);
            command.stdin(input().terminal()).stdout(output);
        });
        assert_eq!(why, "what is typed into a terminal comes from this process");
    }
    let why = refused(&|command| {
        command
            .stdin(Input::null().terminal())
            .stdout(Output::capture());
    });
    assert_eq!(
        why,
        "stdin can be on a terminal only where stdout is on one"
    );
    let why = refused(&|command| {
        let output = Output::capture().terminal(SIZE);
        command
            .stdin(Input::null().terminal())
            .stdout(output)
            .close_fd(1);
    });
    assert_eq!(
        why,
        "stdin can be on a terminal only where stdout is on one"
    );
}

fn null() -> std::fs::File {
    std::fs::File::open("/dev/null").expect("/dev/null")
}

#[test]
fn a_file_is_no_terminal_and_one_without_a_size_has_none() {
    assert_eq!(TerminalSize::of(null()), None);
}

#[test]
fn two_hundred_terminals_at_once_are_each_their_own_commands_alone_and_none_is_left() {
    let done = finish(helper("terminals").arg("200").stderr(Output::capture()));
    assert!(done.success(), "{:?}: {}", done.outcome, text(&done.stderr));
}
