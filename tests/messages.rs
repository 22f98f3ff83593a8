//! The cookbook's page of error messages: each text there is one that was provoked, and each that is provoked here is there.
//! Unaware of what the cookbook says to do about them.
#![cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]

#[path = "common"]
mod common {
    pub mod helper_path;
    pub mod scratch;
    pub mod shell;
    mod watchdog;
}

use std::fmt::Display;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use common::helper_path::helper_path;
use common::scratch::Scratch;
use common::shell::shell;
use execloop::jobserver::Jobserver;
use execloop::linux::{CommandExt, Resource};
use execloop::{
    Cancel, Command, CommandId, Context, Finished, Input, Output, Reactor, Signal, TerminalSize,
    look_path,
};

/// Messages that need a process of their own, with the test that provokes each and looks at its text.
const ELSEWHERE: [(&str, &str); 3] = [
    (
        "not started: the reactor belongs to the process that this one was forked from",
        "tests/helper/life/embed/forks.rs",
    ),
    (
        "exit status lost: another part of the process reaped the child, or SIGCHLD is ignored",
        "tests/helper/life/embed/statuses.rs",
    ),
    (
        "killing the command: Operation not permitted",
        "tests/helper/life/embed/ends.rs",
    ),
];

/// What was told, with the directory of the test called `/project`.
struct Told {
    texts: Vec<String>,
    directory: String,
}

impl Told {
    fn add(&mut self, error: impl Display) {
        let text = error.to_string().replace(&self.directory, "/project");
        if !self.texts.contains(&text) {
            self.texts.push(text);
        }
    }

    #[track_caller]
    fn add_error<T>(&mut self, result: Result<T, impl Display>) {
        match result {
            Ok(_) => panic!("no error"),
            Err(error) => self.add(error),
        }
    }

    /// The outcome of a command, whatever tells it.
    #[track_caller]
    fn add_outcome(&mut self, command: &mut Command) {
        let mut reactor = Reactor::new().expect("a reactor");
        let id = reactor.submit(command);
        self.add_error(wait(&mut reactor, id).outcome);
    }
}

#[track_caller]
fn wait(reactor: &mut Reactor, id: CommandId) -> Finished {
    reactor.wait(id).expect("waited").expect("finished")
}

/// `/bin/true`, changed.
fn truth(change: impl for<'a> FnOnce(&'a mut Command) -> &'a mut Command) -> Command {
    let mut command = Command::new("/bin/true");
    change(&mut command);
    command
}

fn file(directory: &Path, name: &str, text: impl AsRef<[u8]>, mode: u32) {
    let path = directory.join(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
}

fn wrong_commands(told: &mut Told) {
    let file = || fs::File::open("/dev/null").expect("/dev/null");
    told.add_outcome(&mut Command::new(""));
    told.add_outcome(&mut Command::new("no-such-program"));
    told.add_error(look_path("/no/such/program"));
    told.add_outcome(&mut truth(|command| command.arg("a\0b")));
    told.add_outcome(&mut truth(|command| command.pool("link")));
    told.add_outcome(&mut truth(|command| command.console(true).pool("link")));
    told.add_outcome(&mut truth(|command| command.console(true).session(true)));
    told.add_outcome(&mut truth(|command| command.env("A=B", "c")));
    told.add_outcome(&mut truth(|command| command.extra_fd(1, file())));
    told.add_outcome(&mut truth(|command| command.sweep_group(true)));
    told.add_outcome(&mut truth(|command| {
        command.on_cancel(Cancel::kill().to_group())
    }));
    told.add_outcome(&mut truth(|command| {
        command.idle_timeout(Duration::from_secs(1))
    }));
    let size = TerminalSize::default();
    told.add_outcome(&mut truth(|command| {
        command.stdout(Output::null().terminal(size))
    }));
    told.add_outcome(&mut truth(|command| {
        command.stdin(Input::null().terminal())
    }));
    told.add_outcome(&mut truth(|command| command.controlling_terminal(1)));
    told.add_error(Command::new("true").stdout(Output::null()).output());
    told.add_error(Command::new("true").stdout(Output::pipe()).run());
    told.add_error(
        Command::new("true")
            .stderr(Output::null())
            .combined_output(),
    );

    let mut again = truth(|command| command.stdin(Input::reader(io::empty())));
    again.run().expect("the first start");
    told.add_outcome(&mut again);

    let ended = Context::new();
    ended.cancel();
    told.add_outcome(truth(|command| command.context(&ended)).arg("x"));

    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    for _ in 0..2 {
        reactor
            .start(Command::new("sleep").arg("60"))
            .expect("accepted");
    }
    let ends = reactor.shutdown().expect("ended");
    let queued = ends.into_iter().find(|done| done.pid.is_none());
    told.add_error(queued.expect("the one that waited").outcome);
}

fn wrong_files(told: &mut Told, directory: &Path) {
    told.add_outcome(&mut Command::new("/no/such/program"));
    told.add_outcome(Command::new("./tool").current_dir(directory));
    told.add_outcome(truth(|command| command.current_dir("/no/such")).arg("x"));
    told.add_error(Command::new("true").current_dir("/no/such").run());
    file(directory, "script", "#!/bin/sh\r\necho hello\r\n", 0o755);
    told.add_outcome(&mut Command::new(directory.join("script")));
    file(directory, "data", "echo hello\n", 0o644);
    told.add_outcome(&mut Command::new(directory.join("data")));
    told.add_outcome(&mut Command::new(directory));
    // What is in the current directory is found by a `PATH` of its own.
    file(directory, "cc", "", 0o755);
    let mut helper = Command::new(helper_path());
    helper
        .args(["start", "cc"])
        .env("PATH", ".")
        .current_dir(directory);
    let said = helper.output().expect("the helper");
    told.add(String::from_utf8_lossy(&said).trim_end());
    file(directory, "text", "echo hello\n", 0o755);
    told.add_outcome(&mut Command::new(directory.join("text")));
    file(directory, "foreign", "\x7fELF, of another machine", 0o755);
    told.add_outcome(&mut Command::new(directory.join("foreign")));
    let program = fs::read(std::env::current_exe().expect("a path")).expect("a file");
    let alien = "exec /project/alien: No such file or directory (the file is there: what it needs to be loaded is not)";
    if let Some(place) = program.windows(8).position(|bytes| bytes == b"/ld-linu") {
        let mut program = program;
        program[place + 1] = b'X';
        file(directory, "alien", program, 0o755);
        told.add_outcome(&mut Command::new(directory.join("alien")));
        assert_eq!(told.texts.last().map(String::as_str), Some(alien));
    } else {
        eprintln!("skipped: this program names no dynamic loader");
        told.add(alien);
    }
    let long = "x".repeat(1024 * 1024);
    told.add_outcome(&mut truth(|command| command.arg(long)));
    let null = || fs::File::open("/dev/null").expect("/dev/null");
    told.add_outcome(&mut truth(|command| command.extra_fd(i32::MAX, null())));

    file(directory, "busy", "#!/bin/sh\n", 0o755);
    let mut writer = fs::OpenOptions::new();
    let writer = writer.append(true).open(directory.join("busy"));
    let mut busy = Command::new(directory.join("busy"));
    match busy.run() {
        Err(error) => told.add(error),
        // Linux 6.11 has no such error.
        Ok(()) => {
            eprintln!("skipped: a file that is written can be executed here");
            told.add("exec /project/busy: Text file busy");
        }
    }
    drop(writer);
}

fn bad_ends(told: &mut Told) {
    told.add_error(shell("exit 2").run());
    told.add_outcome(&mut shell("exit 2"));
    told.add_outcome(&mut shell("kill -KILL $$"));
    told.add_outcome(shell("kill -SEGV $$").rlimit(Resource::CORE, 0, 0));
    let instant = Duration::from_millis(50);
    let mut sleeper = Command::new("sleep");
    sleeper.arg("60");
    told.add_outcome(sleeper.clone().timeout(instant));
    let soon = Context::new().with_timeout(instant);
    told.add_outcome(sleeper.clone().context(&soon));
    let silent = sleeper
        .clone()
        .stdout(Output::capture())
        .idle_timeout(instant)
        .into();
    told.add_outcome(&mut { silent });
    told.add_outcome(
        Command::new("yes")
            .stdout(Output::capture_ends(1))
            .output_limit(10),
    );

    // Asked to stop, which it does, with a status of its own choice.
    for status in [0, 7] {
        let script = format!("trap 'exit {status}' TERM; echo ready; while :; do sleep 0.01; done");
        let context = Context::new();
        let cancel = context.clone();
        told.add_outcome(
            shell(&script)
                .stdout(Output::lines(move |_| cancel.cancel()))
                .context(&context)
                .interrupt(Signal::TERM),
        );
    }
    // Asked in a way that fails, and over after that.
    let context = Context::new();
    let cancel = context.clone();
    let (childs, ours) = UnixStream::pair().expect("a pair");
    told.add_outcome(
        shell("echo ready; read -r line; exit 0")
            .stdin(Input::file(childs))
            .stdout(Output::lines(move |_| cancel.cancel()))
            .context(&context)
            .on_cancel(Cancel::with(move |_| {
                ours.shutdown(Shutdown::Both)?;
                Err(io::Error::other("no answer"))
            })),
    );

    told.add_outcome(
        shell("sleep 5 &")
            .stdout(Output::capture())
            .wait_delay(Duration::from_millis(10)),
    );
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    told.add_outcome(shell("echo hello").stdout(Output::writer(Full)));
    told.add_outcome(shell("echo hello").stdout(Output::lines(|_| panic!("no such key"))));
}

fn reactors_and_pipes(told: &mut Told) {
    let mut reactor = Reactor::new().expect("a reactor");
    let handle = reactor.handle();
    let id = reactor.start(&mut Command::new("true")).expect("accepted");
    let _ = wait(&mut reactor, id);
    told.add_error(reactor.signal(id, Signal::TERM));
    let id = reactor
        .start(Command::new("sleep").arg("60"))
        .expect("accepted");
    told.add_error(reactor.signal_group(id, Signal::TERM));

    let mut cat = Command::new("cat");
    let id = reactor.start(cat.stdin(Input::pipe())).expect("accepted");
    reactor.stdin(id).expect("a pipe").close();
    told.add_error(reactor.stdin(id).expect("a pipe").write(b"more"));
    let mut typed = Command::new("cat");
    typed
        .stdin(Input::pipe().terminal())
        .stdout(Output::pipe().terminal(TerminalSize::default()));
    let id = reactor.start(&mut typed).expect("accepted");
    reactor.stdout(id).expect("a pipe").close();
    told.add_error(reactor.stdin(id).expect("a pipe").write(b"more"));
    let mut leaky = shell("sleep 5 &");
    leaky
        .stdout(Output::pipe())
        .wait_delay(Duration::from_millis(10));
    let id = reactor.start(&mut leaky).expect("accepted");
    told.add_error(
        reactor
            .stdout(id)
            .expect("a pipe")
            .read_to_end(&mut Vec::new()),
    );
    drop(reactor);
    told.add_error(handle.run(Command::new("true")).wait().outcome);
    told.add_error(Jobserver::from_makeflags(
        "-j --jobserver-auth=fifo:/no/such/fifo",
    ));
    told.add_error("STOPP".parse::<Signal>());
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The texts of the cookbook's tables of messages, which begin each row.
fn listed() -> Vec<String> {
    let cookbook = read("docs/cookbook.md");
    let page = cookbook
        .split("\n## Error messages")
        .nth(1)
        .expect("the page");
    let page = page.split("\n## ").next().unwrap_or_default();
    let texts = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let texts = texts.filter_map(|rest| rest.split("` |").next());
    texts.map(str::to_owned).collect()
}

#[test]
fn the_cookbook_lists_the_messages_that_are_told() {
    let scratch = Scratch::new();
    let mut told = Told {
        texts: Vec::new(),
        directory: scratch.display().to_string(),
    };
    wrong_commands(&mut told);
    wrong_files(&mut told, &scratch);
    bad_ends(&mut told);
    reactors_and_pipes(&mut told);
    for (text, test) in ELSEWHERE {
        assert!(
            read(test).contains(text),
            "{test} does not look at {text:?}"
        );
        told.add(text);
    }
    let listed = listed();
    let missing: Vec<_> = told
        .texts
        .iter()
        .filter(|text| !listed.contains(text))
        .collect();
    let invented: Vec<_> = listed
        .iter()
        .filter(|text| !told.texts.contains(text))
        .collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "told and not listed: {missing:#?}\nlisted and never told: {invented:#?}"
    );
}
