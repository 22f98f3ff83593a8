//! Children on a leash: they live until the test lets go, and tell when they are ready, alive, and gone.
//! Unaware of what the tests do to them.
#![allow(
    dead_code,
    reason = "each test file uses the part that it needs; tests/watchdog.rs finds what none does"
)]
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]
#![allow(unsafe_code, reason = "waitid without reaping has no safe wrapper")]

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::sync::{Arc, Mutex};

use execloop::{Command, CommandId, Error, Finished, Output, Reactor, Signal};

use super::common::helper::helper;

/// One run of the helper's mode `stay`, and its orphan, if `orphan` is among the words.
#[derive(Debug)]
pub struct Stay {
    pub command: Command,
    leash: Option<PipeWriter>,
    orphan_leash: Option<PipeWriter>,
    ready: BufReader<PipeReader>,
    answers: PipeReader,
    has_orphan: bool,
    pids: Option<(u32, u32)>,
}

impl Stay {
    pub fn new(words: &[&str]) -> Stay {
        let has_orphan = words.contains(&"orphan") || words.contains(&"group");
        let (stdin, leash) = io::pipe().expect("a pipe");
        let (orphan_stdin, orphan_leash) = io::pipe().expect("a pipe");
        let (ready, says_ready) = io::pipe().expect("a pipe");
        let (answers, answer) = io::pipe().expect("a pipe");
        let mut command = helper("stay");
        command
            .args(words)
            .stdin(execloop::Input::file(stdin))
            .extra_fd(3, says_ready)
            .extra_fd(4, orphan_stdin)
            .extra_fd(5, answer);
        Stay {
            command,
            leash: Some(leash),
            orphan_leash: Some(orphan_leash),
            ready: BufReader::new(ready),
            answers,
            has_orphan,
            pids: None,
        }
    }

    /// Waits until everything that was asked for is in place, without a turn of any reactor.
    #[track_caller]
    fn pids(&mut self) -> (u32, u32) {
        if self.pids.is_none() {
            let mut line = String::new();
            self.ready.read_line(&mut line).expect("the pipe");
            let mut numbers = line
                .split_whitespace()
                .map(|number| number.parse().expect("a pid"));
            let pids = numbers.next().zip(numbers.next());
            self.pids = Some(pids.expect("the child ended before it was ready"));
        }
        self.pids.expect("set above")
    }

    /// The child's pid, once it is ready.
    #[track_caller]
    pub fn pid(&mut self) -> u32 {
        self.pids().0
    }

    /// The orphan's pid, once it is there.
    #[track_caller]
    pub fn orphan(&mut self) -> u32 {
        self.pids().1
    }

    /// Lets the child come to its end.
    pub fn release(&mut self) {
        self.leash = None;
    }

    /// What lets the child come to its end, when it is dropped.
    pub fn take_leash(&mut self) -> PipeWriter {
        self.leash.take().expect("not released yet")
    }

    /// Lets the orphan come to its end.
    pub fn release_orphan(&mut self) {
        self.orphan_leash = None;
    }

    /// Lets the child come to its end, and returns once it has exited and nobody has reaped it.
    #[track_caller]
    pub fn exit_unseen(&mut self) {
        let pid = self.pid();
        self.release();
        exited(pid);
    }

    /// Asks the orphan, if there is one, else the child, whether it lives. For a child that is not stopped.
    pub fn is_alive(&mut self) -> bool {
        let leash = if self.has_orphan {
            &mut self.orphan_leash
        } else {
            &mut self.leash
        };
        let leash = leash.as_mut().expect("not released yet");
        leash.write_all(b"?").is_ok() && self.answers.read_exact(&mut [0]).is_ok()
    }

    /// Waits until everybody who could answer is gone.
    #[track_caller]
    pub fn wait_until_gone(&mut self) {
        io::copy(&mut self.answers, &mut io::sink()).expect("the pipe");
    }
}

/// Waits until a child of this process has exited, and leaves it to be reaped.
#[track_caller]
pub fn exited(pid: u32) {
    // SAFETY: siginfo_t is plain data for which zero is valid.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: the structure has room for the answer.
    let result = unsafe { libc::waitid(libc::P_PID, pid as _, &raw mut information, options) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Takes a child's status away, as a careless part of the program would.
#[track_caller]
pub fn steal_status(pid: u32) {
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    // SAFETY: a null pointer means that the status is not asked for.
    let stolen = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    assert_eq!(stolen, pid, "{}", io::Error::last_os_error());
}

/// Runs a scenario of the helper's mode `embed`, which checks itself, and passes on why it was skipped.
#[track_caller]
pub fn embed(words: &[&str]) {
    let mut command = helper("embed");
    let done = command
        .args(words)
        .stdout(Output::capture())
        .stderr_to_stdout(true)
        .finish()
        .expect("the helper starts");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.success(), "{words:?}: {:?}\n{said}", done.outcome);
    for line in said.lines().filter(|line| line.starts_with("skipped")) {
        eprintln!("{line}");
    }
}

fn kernel_is_at_least(version: (u32, u32)) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(version.0), Some(version.1))
}

/// Whether the kernel keeps the status of a child that was reaped elsewhere. Says so if not.
pub fn keeps_statuses() -> bool {
    let keeps = !cfg!(execloop_kqueue_shim) && kernel_is_at_least((6, 15));
    if !keeps {
        eprintln!("skipped: before Linux 6.15 the status of a reaped child is lost");
    }
    keeps
}

/// Whether the kernel can signal what is left of a group whose leader was reaped. Says so if not.
pub fn signals_orphaned_groups() -> bool {
    let signals = !cfg!(execloop_kqueue_shim) && kernel_is_at_least((6, 9));
    if !signals {
        eprintln!("skipped: before Linux 6.9 nothing names a group whose leader was reaped");
    }
    signals
}

/// Turns until the command was reaped; its pipes may be open.
#[track_caller]
pub fn turn_until_reaped(reactor: &mut Reactor, id: CommandId) {
    let probe = Signal::new(0).expect("a signal");
    while reactor.signal(id, probe).is_ok() {
        reactor.turn(None).expect("turn");
    }
}

/// The command's outcome, which must come.
#[track_caller]
pub fn wait(reactor: &mut Reactor, id: CommandId) -> Finished {
    reactor
        .wait(id)
        .expect("poll")
        .expect("this reactor's command")
}

/// A writer whose bytes the test can see.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }

    /// Turns until this much has come.
    #[track_caller]
    pub fn turn_until(&self, reactor: &mut Reactor, text: &str) {
        while !self.text().contains(text) {
            reactor.turn(None).expect("turn");
        }
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that fails at once.
#[derive(Debug)]
pub struct Failing;

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is full"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The outcome in a word, for tables.
pub fn word(done: &Finished) -> String {
    match &done.outcome {
        Ok(()) => "ok".to_owned(),
        Err(Error::Exit(exit)) => exit.to_string(),
        Err(Error::Stopped(cause)) => format!("stopped: {cause}"),
        Err(Error::Cancel(error)) => format!("cancel: {error}"),
        Err(Error::Kill(error)) => format!("kill: {:?}", error.kind()),
        Err(Error::WaitDelay { .. }) => "wait delay".to_owned(),
        Err(Error::Copy { stream, source }) => format!("copy {stream}: {source}"),
        Err(other) => format!("{other:?}"),
    }
}

/// Lets time pass, for lower bounds alone: a child of the system does the sleeping.
#[track_caller]
pub fn pass_ms(milliseconds: u32) {
    let slept = std::process::Command::new("/bin/sleep")
        .arg(format!("0.{milliseconds:03}"))
        .status();
    assert!(slept.expect("sleep").success());
}

/// For deadlines of the caller's, which are counted from now, and for lower bounds.
#[expect(clippy::disallowed_methods, reason = "a deadline is an instant")]
pub fn now() -> std::time::Instant {
    std::time::Instant::now()
}
