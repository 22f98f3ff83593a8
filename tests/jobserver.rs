//! One limit with make, ninja and cargo, as their parent and as their child; and no token is lost, whatever happens.
//! Unaware of the protocol's text, which `src/jobserver/` tests. A tool that is missing, or too old, is said to be.

#[path = "common"]
mod common {
    pub mod helper;
    pub mod helper_path;
    pub mod scratch;
    pub mod shell;
    pub mod stay;
    pub mod text;
    mod watchdog;
}

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::helper_path::helper_path;
use common::scratch::Scratch;
use common::shell::shell;
use common::stay::Stay;
use common::text::text;
use execloop::jobserver::Jobserver;
use execloop::{Command, CommandId, Finished, Input, Output, Reactor};

fn reactor(jobserver: &Jobserver) -> Reactor {
    let builder = Reactor::builder().jobserver(jobserver);
    builder.build().expect("a reactor")
}

#[track_caller]
fn start(reactor: &mut Reactor, command: &mut Command) -> CommandId {
    reactor.start(command).expect("start")
}

#[track_caller]
fn wait(reactor: &mut Reactor, id: CommandId) -> Finished {
    reactor.wait(id).expect("poll").expect("it is here")
}

/// Another process's jobserver: a fifo with these tokens.
struct Foreign {
    pipe: File,
    jobserver: Jobserver,
}

impl Foreign {
    fn new(scratch: &Scratch, tokens: &[u8]) -> Foreign {
        let path = scratch.join("tokens");
        let made = Command::new("mkfifo").arg(&path).run();
        made.expect("a fifo");
        let mut pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .expect("the fifo");
        pipe.write_all(tokens).expect("room");
        let flags = format!("k -j --jobserver-auth=fifo:{}", path.display());
        let jobserver = Jobserver::from_makeflags(flags).expect("it is there");
        Foreign {
            pipe,
            jobserver: jobserver.expect("it is named"),
        }
    }

    /// All tokens that are there, in order of their bytes.
    fn take_all(&mut self) -> Vec<u8> {
        let mut tokens = Vec::new();
        let error = self.pipe.read_to_end(&mut tokens).expect_err("no end");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        tokens.sort_unstable();
        tokens
    }

    fn give(&mut self, token: u8) {
        self.pipe.write_all(&[token]).expect("room");
    }
}

#[test]
fn each_command_but_one_has_a_token_and_one_that_comes_back_wakes_a_sleeping_reactor() {
    let scratch = Scratch::new();
    let mut foreign = Foreign::new(&scratch, b"a");
    let mut reactor = reactor(&foreign.jobserver);
    let mut stays: Vec<Stay> = (0..2).map(|_| Stay::new(&[])).collect();
    for stay in &mut stays {
        start(&mut reactor, &mut stay.command);
    }
    let third = start(&mut reactor, &mut shell("exit 7"));
    assert_eq!((reactor.running(), reactor.queued()), (2, 1));
    assert_eq!(foreign.take_all(), b"", "it has the token");
    let (_, mut pipe) = (stays[0].pid(), foreign.pipe.try_clone().expect("a copy"));
    let other = std::thread::spawn(move || pipe.write_all(b"b").expect("room"));
    // Nothing but the token can wake it: the two stay for ever.
    let done = wait(&mut reactor, third);
    other.join().expect("it wrote");
    assert_eq!(done.status.and_then(|status| status.code()), Some(7));
    assert_eq!(reactor.running(), 2);
    stays.iter_mut().for_each(Stay::release);
    while reactor.wait_any().expect("poll").is_some() {}
    assert_eq!(foreign.take_all(), b"ab");
}

#[test]
fn an_outer_loop_is_woken_by_a_token() {
    let scratch = Scratch::new();
    let mut foreign = Foreign::new(&scratch, b"");
    let mut reactor = reactor(&foreign.jobserver);
    let mut outer = mio::Poll::new().expect("a poll");
    let fd = reactor.as_fd().as_raw_fd();
    let source = &mut mio::unix::SourceFd(&fd);
    let readable = mio::Interest::READABLE;
    outer
        .registry()
        .register(source, mio::Token(0), readable)
        .expect("it can be polled");
    let mut stays: Vec<Stay> = (0..2).map(|_| Stay::new(&[])).collect();
    for stay in &mut stays {
        start(&mut reactor, &mut stay.command);
    }
    let mut events = mio::Events::with_capacity(8);
    let mut settle = |reactor: &mut Reactor, timeout| {
        outer.poll(&mut events, timeout).expect("poll");
        let is_woken = !events.is_empty();
        reactor.turn(Some(Duration::ZERO)).expect("poll");
        is_woken
    };
    stays[0].pid();
    while settle(&mut reactor, Some(Duration::from_millis(100))) {}
    assert_eq!(
        (reactor.running(), reactor.queued()),
        (1, 1),
        "and it sleeps"
    );
    foreign.give(b'x');
    while reactor.queued() > 0 {
        settle(&mut reactor, None);
    }
    stays.iter_mut().for_each(Stay::release);
    while reactor.wait_any().expect("poll").is_some() {}
    assert_eq!(foreign.take_all(), b"x");
}

#[test]
fn tokens_go_back_from_a_start_that_fails_a_command_let_go_and_a_reactor_that_is_dropped_or_unwinds()
 {
    let scratch = Scratch::new();
    let mut foreign = Foreign::new(&scratch, b"abc");
    let mut reactor = reactor(&foreign.jobserver);
    let mut stays: Vec<Stay> = (0..4).map(|_| Stay::new(&[])).collect();
    let ids: Vec<_> = stays
        .iter_mut()
        .map(|stay| start(&mut reactor, &mut stay.command))
        .collect();
    assert_eq!((reactor.running(), foreign.take_all()), (4, Vec::new()));
    reactor.detach(ids[0]).expect("it runs");
    assert_eq!(foreign.take_all().len(), 1, "no longer this reactor's");
    foreign.give(b'd');
    let failed = start(&mut reactor, &mut Command::new("/no/such/program"));
    assert!(wait(&mut reactor, failed).outcome.is_err());
    assert_eq!(foreign.take_all(), b"d");
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _owned = reactor;
        std::panic::resume_unwind(Box::new("at work"));
    }));
    assert!(unwound.is_err());
    assert_eq!(foreign.take_all().len(), 2, "of three that ran");
}

/// Numbers that look random, and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn no_token_is_lost_over_10_000_commands_with_random_kills_and_reactors_that_are_dropped() {
    const COMMANDS: usize = 10_000;
    let scratch = Scratch::new();
    let tokens = b"abcdefghijklmno";
    let mut foreign = Foreign::new(&scratch, tokens);
    let mut random = Random(7);
    let mut started = 0;
    while started < COMMANDS {
        let mut reactor = reactor(&foreign.jobserver);
        let mut live = Vec::new();
        let until = (started + 500 + random.below(1500) as usize).min(COMMANDS);
        while started < until {
            let mut command = match random.below(8) {
                0 => Command::new("/no/such/program"),
                1..=3 => shell("exec sleep 600"),
                _ => Command::new("true"),
            };
            live.push(start(&mut reactor, &mut command));
            started += 1;
            if random.below(3) == 0 {
                reactor.turn(Some(Duration::ZERO)).expect("poll");
            }
            while live.len() > 40 {
                let id = live.swap_remove(random.below(live.len() as u64) as usize);
                reactor.kill(id);
            }
            while reactor.try_wait_any().is_some() {}
            assert!(reactor.running() <= 1 + tokens.len());
        }
        if random.below(2) == 0 {
            drop(reactor);
        } else {
            reactor.shutdown().expect("poll");
        }
        assert_eq!(text(&foreign.take_all()), text(tokens));
        for token in tokens {
            foreign.give(*token);
        }
    }
}

/// So many stay at once, and no more.
fn most_at_once(reactor: &mut Reactor) -> usize {
    let mut stays: Vec<Stay> = (0..4).map(|_| Stay::new(&[])).collect();
    for stay in &mut stays {
        start(reactor, &mut stay.command);
    }
    let most = reactor.running();
    assert_eq!(most + reactor.queued(), 4);
    stays.iter_mut().for_each(Stay::release);
    while reactor.wait_any().expect("poll").is_some() {}
    most
}

#[test]
fn a_jobserver_of_our_own_makes_tokens_anew_that_killed_clients_had() {
    let jobserver = Jobserver::fifo(3).expect("a fifo");
    let mut reactor = reactor(&jobserver);
    let mut thief =
        shell("fifo=${MAKEFLAGS##*fifo:}; exec 3<>$fifo; head -c 1 <&3 >/dev/null; kill -9 $$");
    jobserver.pass_to(&mut thief).expect("a fifo is a name");
    for _ in 0..5 {
        // Without a new token, the third one would wait for ever. None is made while another test's child that is about to
        // execute has a copy of the fifo, which it has for an instant.
        while most_at_once(&mut reactor) < 3 {}
        let id = start(&mut reactor, &mut thief);
        assert!(!wait(&mut reactor, id).success(), "it is killed");
    }
    while most_at_once(&mut reactor) < 3 {}
}

#[test]
fn tokens_that_a_client_beside_our_commands_holds_are_not_made_anew_however_often_nobody_runs() {
    let jobserver = Jobserver::fifo(3).expect("a fifo");
    let mut reactor = reactor(&jobserver);
    // As a make that another reactor runs, or that was let go.
    let mut holder = shell(
        "fifo=${MAKEFLAGS##*fifo:}; exec 3<>$fifo; head -c 1 <&3 >/dev/null; echo; read x; printf + >&3",
    );
    let (stdin, leash) = std::io::pipe().expect("a pipe");
    let (mut says, stdout) = std::io::pipe().expect("a pipe");
    holder
        .stdin(Input::file(stdin))
        .stdout(Output::file(stdout));
    jobserver.pass_to(&mut holder).expect("a fifo is a name");
    let mut beside = Reactor::new().expect("a reactor");
    start(&mut beside, &mut holder);
    says.read_exact(&mut [0]).expect("it has a token");
    for _ in 0..5 {
        let id = start(&mut reactor, &mut Command::new("true"));
        assert!(wait(&mut reactor, id).success());
        assert_eq!(most_at_once(&mut reactor), 2);
    }
    drop(leash);
    while beside.wait_any().expect("poll").is_some() {}
    assert_eq!(most_at_once(&mut reactor), 3);
}

// The tools themselves.

/// The version of a tool; `None`, which is said, where it is missing or older than this.
fn tool(name: &str, least: (u32, u32)) -> Option<()> {
    let said = Command::new(name).arg("--version").output();
    let said = said
        .map(|bytes| text(&bytes).to_owned())
        .unwrap_or_default();
    let word = said
        .split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    let mut parts = word.unwrap_or("0.0").split('.').map(str::parse::<u32>);
    let version = match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    };
    if version >= least {
        return Some(());
    }
    let (major, minor) = least;
    eprintln!("skipped: {name} {major}.{minor} is needed, and there is {word:?}");
    None
}

fn in_directory(directory: impl AsRef<Path>, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env_remove("MAKEFLAGS")
        .env_remove("CARGO_MAKEFLAGS")
        .stdout(Output::capture())
        .stderr_to_stdout(true);
    command
}

/// Six jobs that say when they come and when they go. With a gate, the first two wait for one another there.
fn write_jobs(scratch: &Scratch, name: &str, gate: Option<&Path>) -> Vec<(String, String)> {
    let log = scratch.join("log");
    let job = |at: usize| {
        let act = match (at, gate) {
            (0, Some(gate)) => format!("cat {} > /dev/null", gate.display()),
            (1, Some(gate)) => format!("echo > {}", gate.display()),
            _ => "true".to_owned(),
        };
        let log = log.display();
        let line = format!("echo + >> {log}; {act}; echo - >> {log}");
        (format!("{name}{at}"), line)
    };
    (0..6).map(job).collect()
}

fn write_makefile(scratch: &Scratch, name: &str) -> PathBuf {
    let gate = scratch.join(format!("{name}-gate"));
    Command::new("mkfifo").arg(&gate).run().expect("a fifo");
    let jobs = write_jobs(scratch, name, Some(&gate));
    let names: Vec<_> = jobs.iter().map(|(name, _)| name.as_str()).collect();
    let mut lines = vec![format!("all: {}", names.join(" "))];
    for (name, line) in &jobs {
        lines.push(format!(".PHONY: {name}\n{name}:\n\t@{line}"));
    }
    let path = scratch.join(format!("{name}.mk"));
    fs::write(&path, lines.join("\n") + "\n").expect("a makefile");
    path
}

/// How many jobs were alive at once, by the log.
fn most_alive(scratch: &Scratch) -> i32 {
    let log = fs::read_to_string(scratch.join("log")).expect("the log");
    let (mut alive, mut most) = (0, 0);
    for line in log.lines() {
        alive += if line == "+" { 1 } else { -1 };
        most = most.max(alive);
    }
    assert_eq!((log.lines().count(), alive), (24, 0), "twelve jobs");
    most
}

/// Runs two builds under one limit, which has a place for just one job beside the first of each. What they say.
fn run_two(jobserver: &Jobserver, mut builds: [Command; 2]) -> Vec<String> {
    let mut reactor = reactor(jobserver);
    for build in &mut builds {
        jobserver.pass_to(build).expect("descriptors");
        start(&mut reactor, build);
    }
    let mut said = Vec::new();
    while let Some(done) = reactor.wait_any().expect("poll") {
        said.push(text(&done.stdout).to_owned());
        assert!(done.success(), "{:?}\n{said:?}", done.outcome);
    }
    said
}

fn check_make(jobserver: &Jobserver) {
    let scratch = Scratch::new();
    let builds = ["a", "b"].map(|name| {
        let makefile = write_makefile(&scratch, name);
        let makefile = makefile.to_str().expect("plain");
        in_directory(&*scratch, "make", &["-f", makefile])
    });
    // It says so when it does not like its jobserver.
    assert_eq!(run_two(jobserver, builds), ["", ""]);
    let most = most_alive(&scratch);
    assert!(
        (2..=3).contains(&most),
        "{most} at once, where two wait for one another"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn make_under_us_shares_our_pipe() {
    if tool("make", (4, 2)).is_some() {
        check_make(&Jobserver::pipe(3).expect("a pipe"));
    }
}

#[test]
fn make_under_us_shares_our_fifo() {
    if tool("make", (4, 4)).is_some() {
        check_make(&Jobserver::fifo(3).expect("a fifo"));
    }
}

#[test]
fn ninja_under_us_shares_our_fifo() {
    if tool("ninja", (1, 13)).is_none() {
        return;
    }
    let scratch = Scratch::new();
    let builds = ["a", "b"].map(|name| {
        let mut lines = vec!["rule run\n  command = $line".to_owned()];
        for (name, line) in write_jobs(&scratch, name, None) {
            lines.push(format!("build {name}: run\n  line = {line}"));
        }
        let path = scratch.join(format!("{name}.ninja"));
        fs::write(&path, lines.join("\n") + "\n").expect("a ninja file");
        let path = path.to_str().expect("plain");
        let directory = scratch.join(format!("{name}-builds"));
        fs::create_dir(&directory).expect("a directory");
        in_directory(&directory, "ninja", &["--verbose", "-f", path])
    });
    for said in run_two(&Jobserver::fifo(3).expect("a fifo"), builds) {
        assert!(said.contains("Jobserver mode detected"), "{said}");
    }
    // No gate: while ninja 1.13 has a job, it does not look for tokens (ninja-build/ninja#2683).
    assert!(most_alive(&scratch) <= 3);
}

fn check_under_make(style: &[&str]) {
    let scratch = Scratch::new();
    let recipe = format!("all:\n\t+@{} jobserver 3 7\n", helper_path());
    fs::write(scratch.join("Makefile"), recipe).expect("a makefile");
    let arguments = [&["-j3"], style].concat();
    let done = in_directory(&*scratch, "make", &arguments).finish();
    let done = done.expect("it starts");
    // make itself counts its tokens at the end.
    assert_eq!(text(&done.stdout), "7 commands, 3 at once\n");
    assert!(done.success(), "{:?}", done.outcome);
}

#[test]
#[cfg(target_os = "linux")]
fn under_make_we_share_its_pipe_and_make_has_all_its_tokens_again() {
    if tool("make", (4, 4)).is_some() {
        check_under_make(&["--jobserver-style=pipe"]);
    } else if tool("make", (4, 2)).is_some() {
        check_under_make(&[]);
    }
}

#[test]
fn under_make_we_share_its_fifo_and_make_has_all_its_tokens_again() {
    if tool("make", (4, 4)).is_some() {
        check_under_make(&["--jobserver-style=fifo"]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_recipe_that_make_gives_no_jobserver_to_is_told_so() {
    if tool("make", (4, 2)).is_none() || tool("make", (4, 4)).is_some() {
        // Since 4.4 it is a fifo, which any recipe can open.
        return;
    }
    let scratch = Scratch::new();
    let recipe = format!("all:\n\t-@{} jobserver 3 7\n", helper_path());
    fs::write(scratch.join("Makefile"), recipe).expect("a makefile");
    let said = in_directory(&*scratch, "make", &["-j3"]).finish();
    let said = said.expect("it starts").stdout;
    assert!(text(&said).contains("no jobserver"), "{}", text(&said));
}

/// A package whose build script runs our client, and fails if that does.
fn write_package(scratch: &Scratch, script: &str) {
    let manifest =
        "[package]\nname = \"none\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n";
    fs::write(scratch.join("Cargo.toml"), manifest).expect("a manifest");
    fs::create_dir(scratch.join("src")).expect("a directory");
    fs::write(scratch.join("src/lib.rs"), "").expect("a library");
    fs::write(scratch.join("build.rs"), script).expect("a script");
}

fn cargo(scratch: &Scratch) -> Command {
    let arguments = ["build", "--offline", "-j3", "--target-dir", "out"];
    in_directory(&**scratch, env!("CARGO"), &arguments)
}

#[test]
fn under_cargo_we_share_the_jobserver_that_it_makes() {
    let scratch = Scratch::new();
    let client = format!("std::process::Command::new({:?})", helper_path());
    let script = format!(
        "fn main() {{ let status = {client}.args([\"jobserver\", \"3\", \"7\"]).status(); assert!(status.unwrap().success()); }}"
    );
    write_package(&scratch, &script);
    let done = cargo(&scratch).finish().expect("it starts");
    assert!(done.success(), "{}", text(&done.stdout));
}

#[test]
fn cargo_under_us_takes_our_jobserver_for_its_own() {
    let scratch = Scratch::new();
    let jobserver = Jobserver::fifo(3).expect("a fifo");
    let script = "fn main() { panic!(\"flags: {:?}\", std::env::var(\"CARGO_MAKEFLAGS\")); }";
    write_package(&scratch, script);
    let mut command = cargo(&scratch);
    jobserver.pass_to(&mut command).expect("a fifo is a name");
    let mut reactor = reactor(&jobserver);
    let id = start(&mut reactor, &mut command);
    let done = wait(&mut reactor, id);
    let said = text(&done.stdout);
    let debug = format!("{jobserver:?}");
    let fifo = debug.split('"').nth(1).expect("its path");
    assert!(said.contains(&format!("fifo:{fifo}")), "{said}");
}
