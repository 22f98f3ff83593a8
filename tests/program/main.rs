//! The program `execloop run`: each flag, exit status, signal and odd input, from outside.
//! It is driven by the library itself, as any program would be.
#![cfg(feature = "cli")]

mod arguments;
mod bench;
#[path = "../common"]
mod common {
    pub mod at_terminal;
    #[cfg(target_os = "linux")]
    pub mod fuse;
    pub mod helper_path;
    pub mod ignored;
    pub mod scratch;
    pub mod shell;
    pub mod text;
    mod watchdog;
}
mod console;
mod defect;
mod failures;
mod jobserver;
mod list;
mod manners;
mod output;
mod pictures;
mod progress;
mod records;
mod stopping;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use common::ignored::is_ignored;
use common::scratch::Scratch;
use common::shell::shell;
use common::text::text;
use execloop::{
    Command, CommandId, Finished, Input, Output, Reactor, Signal, Stream, TerminalSize,
};

/// A run that hangs is a failure; none takes longer than seconds.
const GUARD: Duration = Duration::from_secs(300);

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

    /// The last line of stderr, without the time.
    fn summary(&self) -> String {
        untimed(self.stderr.lines().last().unwrap_or_default())
    }

    /// What is on stderr, without the time in its summary.
    fn told(&self) -> String {
        untimed(&self.stderr)
    }
}

/// Takes ` in 1.25s, 2.4/s` out of a summary. It has to be there.
fn untimed(text: &str) -> String {
    let Some((before, after)) = text.rsplit_once(" in ") else {
        panic!("no time in {text:?}");
    };
    let end = after.find(['\n', ';']).unwrap_or(after.len());
    let is_time = |c: char| c.is_ascii_digit() || ".smh, /".contains(c);
    assert!(after[..end].chars().all(is_time), "{text:?}");
    format!("{before}{}", &after[end..])
}

/// Runs a list to its end.
#[track_caller]
fn run(arguments: &[&str], list: impl AsRef<[u8]>) -> Done {
    finish(program(arguments).stdin(Input::bytes(list.as_ref())))
}

#[track_caller]
fn finish(command: &mut Command) -> Done {
    command
        .stdout(Output::capture())
        .stderr(Output::capture())
        .timeout(GUARD);
    Done::of(command.finish().expect("the program starts"))
}

/// A run that is talked to while it goes on.
struct Live {
    reactor: Reactor,
    id: CommandId,
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
            .stderr(Output::pipe())
            .timeout(GUARD);
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

    /// What the program's status in proc(5) says of this.
    fn proc_status(&self, name: &str) -> String {
        let pid = self.reactor.pid(self.id).expect("it runs");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("proc(5)");
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value
            .expect("a value")
            .trim_matches([':', ' ', '\t'])
            .to_owned()
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

/// A named pipe that commands read from, and what lets them go on. Both ends are open, so that nobody waits for the other.
fn gate(scratch: &Scratch) -> (String, File) {
    let gate = fifo(scratch, "gate");
    let mut both = OpenOptions::new();
    let release = both.read(true).write(true).open(&gate);
    (gate, release.expect("the gate"))
}

/// The command is reaped, and the process that it left behind is dead, or comes to it.
#[track_caller]
fn assert_gone(command_and_descendant: &str) {
    let (command, descendant) = command_and_descendant.split_once(' ').expect("two pids");
    assert!(
        !Path::new("/proc").join(command).exists(),
        "{command} lives"
    );
    assert_dead(descendant);
}

/// The process is dead, or comes to it.
#[track_caller]
fn assert_dead(pid: &str) {
    let dead = format!("! grep -q 'State:.[^ZX]' /proc/{pid}/status 2>/dev/null");
    shell(&format!("until {dead}; do sleep 0.01; done"))
        .timeout(GUARD)
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
