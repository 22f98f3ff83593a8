//! The descriptors of children, seen from a parent whose own were arranged, closed or leaked on purpose.
//! Unaware of the tests' harness: it rearranges its own 0 to 5, so it speaks through a copy of stderr.
#![allow(unsafe_code, reason = "calls on raw descriptors")]

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use execloop::jobserver::Jobserver;
use execloop::{Command, Input, Output, Reactor};

use crate::counts::{assert_fds, assert_no_children, open_fds, set_soft_fd_limit, wait_for_exit};
use crate::until::Until;

/// Above all numbers that a child is given.
const ASIDE: i32 = 100;
/// Children at once.
const RUNNING_MAX: usize = 8;

/// All orders of the numbers 0 to `count` - 1.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(count - 1) {
        for place in 0..count {
            let mut order = shorter.clone();
            order.insert(place, count - 1);
            all.push(order);
        }
    }
    all
}

fn own(result: libc::c_int) -> OwnedFd {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    // SAFETY: each caller passes what a system call has just returned as a new descriptor.
    unsafe { OwnedFd::from_raw_fd(result) }
}

/// A file in memory that a child can tell from others by its name. Out of the way, and closed by exec.
fn memfd(name: &str) -> OwnedFd {
    let name = CString::new(name).expect("no NUL");
    // SAFETY: the name is a C string.
    let file = own(unsafe { libc::memfd_create(name.as_ptr(), 0) });
    // SAFETY: fcntl(2) with this command takes one number.
    own(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, ASIDE) })
}

/// A copy of `file` with this number, whatever was there.
fn at(file: &OwnedFd, number: i32) -> OwnedFd {
    // SAFETY: dup3(2) takes numbers; nobody here relies on what `number` led to.
    own(unsafe { libc::dup3(file.as_raw_fd(), number, libc::O_CLOEXEC) })
}

/// A copy of `file` out of the way.
fn aside(file: &OwnedFd) -> OwnedFd {
    // SAFETY: fcntl(2) with this command takes one number.
    own(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, ASIDE) })
}

/// Panics are told by a copy of stderr, as the number 2 is needed otherwise.
fn speak_aside() {
    // SAFETY: fcntl(2) with this command takes one number.
    let stderr = File::from(own(unsafe { libc::fcntl(2, libc::F_DUPFD_CLOEXEC, ASIDE) }));
    std::panic::set_hook(Box::new(move |panic| {
        let _ = writeln!(&stderr, "{panic}");
    }));
}

/// A child that exits with 0 if its descriptors are these.
fn expecting(expected: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.arg("expect-fds").args(expected);
    command
}

fn start(reactor: &mut Reactor, command: &mut Command) {
    reactor
        .start(command)
        .unwrap_or_else(|error| panic!("{command}: {error}"));
    if reactor.running() >= RUNNING_MAX {
        finish_one(reactor);
    }
}

/// `false` when there is none left.
fn finish_one(reactor: &mut Reactor) -> bool {
    let finished = reactor.wait_any().expect("waited");
    if let Some(done) = &finished {
        assert!(
            done.success(),
            "{}: {:?}\n{}",
            done.id,
            done.outcome,
            String::from_utf8_lossy(&done.stderr)
        );
    }
    finished.is_some()
}

fn finish_all(reactor: &mut Reactor) {
    while finish_one(reactor) {}
    assert_no_children();
}

/// `permutations [inherit]`: six files at our 0 to 5 become the child's 0 to 5, in every order.
pub(crate) fn permutations(arguments: &[OsString]) -> ExitCode {
    let inherits = arguments.first().is_some_and(|word| word == "inherit");
    speak_aside();
    let files: Vec<OwnedFd> = (0..6).map(|number| memfd(&format!("s{number}"))).collect();
    // Before the reactor, so that these numbers are taken when it opens its own.
    let mut sources: Vec<OwnedFd> = (0..)
        .zip(&files)
        .map(|(number, file)| at(file, number))
        .collect();
    let mut reactor = Reactor::new().expect("a reactor");
    let orders = orders(6);
    assert_eq!(orders.len(), 720);
    for order in orders {
        // Nothing but these may be at 0 to 5, where the last start has closed what it was given.
        let expected: Vec<String> = (0..6)
            .map(|target| format!("{target} rw /memfd:s{}", order[target]))
            .collect();
        let mut command = expecting(&expected);
        let mut source = sources.into_iter().map(Some).collect::<Vec<_>>();
        let mut take = |target: usize| source[order[target]].take().expect("each once");
        command
            .inherit_fds(inherits)
            .stdin(Input::file(take(0)))
            .stdout(Output::file(take(1)))
            .stderr(Output::file(take(2)))
            .extra_fd(5, take(5))
            .extra_fd(3, take(3))
            .extra_fd(4, take(4));
        start(&mut reactor, &mut command);
        sources = (0..)
            .zip(&files)
            .map(|(number, file)| at(file, number))
            .collect();
    }
    finish_all(&mut reactor);
    ExitCode::SUCCESS
}

/// `closed-stdio`: our own 0, 1 and 2 are closed in every combination, the reactor has the numbers from 3, and three files
/// become the child's 3, 4 and 5 in every order, whatever its stdin, stdout and stderr are.
pub(crate) fn closed_stdio() -> ExitCode {
    speak_aside();
    let parents: Vec<OwnedFd> = (0..3).map(|number| memfd(&format!("p{number}"))).collect();
    let extras: Vec<OwnedFd> = (0..3).map(|number| memfd(&format!("e{number}"))).collect();
    let stdio: Vec<OwnedFd> = (0..3).map(|number| memfd(&format!("f{number}"))).collect();
    for closed in 0_u8..8 {
        let is_closed = |number: i32| closed & 1 << number != 0;
        let ours: Vec<OwnedFd> = (0..)
            .zip(&parents)
            .map(|(number, file)| at(file, number))
            .collect();
        let ours: Vec<OwnedFd> = ours
            .into_iter()
            .filter(|fd| !is_closed(fd.as_raw_fd()))
            .collect();
        // Nor may its descriptors be taken for these numbers.
        let jobserver = Jobserver::pipe(2).expect("a jobserver");
        let mut reactor = Reactor::new().expect("a reactor");
        for order in orders(3) {
            // The copying path, too, though not in every combination.
            let copies = closed == 0 || closed == 7;
            let variants = (0..5).flat_map(|variant| [(variant, false), (variant, true)]);
            for (variant, inherits) in variants.filter(|(_, inherits)| copies || !inherits) {
                let expected = |number: usize| match variant {
                    0 if number == 0 => "r /dev/null".to_owned(),
                    0 => "w /dev/null".to_owned(),
                    // See `describe-fds`: nothing was there.
                    1 if is_closed(number as i32) => "rw /dev/null".to_owned(),
                    1 => format!("rw /memfd:p{number}"),
                    // Stderr goes wherever stdout goes, to nowhere, too.
                    4 if is_closed(number.min(1) as i32) => "rw /dev/null".to_owned(),
                    4 => format!("rw /memfd:p{}", number.min(1)),
                    2 if number == 0 => "r pipe:".to_owned(),
                    2 => "w pipe:".to_owned(),
                    _ => format!("rw /memfd:f{number}"),
                };
                let mut lines: Vec<String> = (0..3)
                    .map(|number| format!("{number} {}", expected(number)))
                    .collect();
                lines.extend(
                    (0..3).map(|target| format!("{} rw /memfd:e{}", target + 3, order[target])),
                );
                let mut command = expecting(&lines);
                command.inherit_fds(inherits);
                match variant {
                    0 => command.stdin(Input::null()),
                    1 => command
                        .stdin(Input::inherit())
                        .stdout(Output::inherit())
                        .stderr(Output::inherit()),
                    4 => command
                        .stdin(Input::inherit())
                        .stdout(Output::inherit())
                        .stderr_to_stdout(true),
                    2 => command
                        .stdin(Input::bytes(*b"x"))
                        .stdout(Output::capture())
                        .stderr(Output::capture()),
                    _ => command
                        .stdin(Input::file(aside(&stdio[0])))
                        .stdout(Output::file(aside(&stdio[1])))
                        .stderr(Output::file(aside(&stdio[2]))),
                };
                for (target, source) in order.iter().enumerate() {
                    command.extra_fd(target as i32 + 3, aside(&extras[*source]));
                }
                start(&mut reactor, &mut command);
                let open = open_fds();
                for number in (0..3).filter(|number| is_closed(*number)) {
                    assert!(
                        !open.contains_key(&number),
                        "{number} is not ours to use: {open:?}"
                    );
                }
            }
        }
        finish_all(&mut reactor);
        drop((reactor, ours, jobserver));
    }
    ExitCode::SUCCESS
}

/// `block`: the reactor has the numbers from 3, and three extra files are wanted at all triples of just these.
pub(crate) fn block() -> ExitCode {
    speak_aside();
    let files: Vec<OwnedFd> = (0..6).map(|number| memfd(&format!("s{number}"))).collect();
    let mut reactor = Reactor::new().expect("a reactor");
    let open = open_fds();
    assert!(
        (3..9).all(|number| open.contains_key(&number)),
        "the reactor's own: {open:?}"
    );
    for code in 0..6 * 6 * 6 {
        let targets = [3 + code % 6, 3 + code / 6 % 6, 3 + code / 36];
        if targets[0] == targets[1] || targets[0] == targets[2] || targets[1] == targets[2] {
            continue;
        }
        let mut lines: Vec<String> = (0..3)
            .map(|number| format!("{number} rw /memfd:s{number}"))
            .collect();
        let mut extras: Vec<(i32, usize)> = targets.into_iter().zip(3..).collect();
        extras.sort_unstable();
        lines.extend(
            extras
                .iter()
                .map(|(target, source)| format!("{target} rw /memfd:s{source}")),
        );
        let mut command = expecting(&lines);
        command
            .stdin(Input::file(aside(&files[0])))
            .stdout(Output::file(aside(&files[1])))
            .stderr(Output::file(aside(&files[2])));
        for (target, source) in targets.into_iter().zip(3..) {
            command.extra_fd(target, aside(&files[source]));
        }
        start(&mut reactor, &mut command);
    }
    finish_all(&mut reactor);
    ExitCode::SUCCESS
}

/// `many-extras`: a command with very many extra files leaves the reactor about as small as it was.
pub(crate) fn many_extras() -> ExitCode {
    let file = memfd("extra");
    let mut reactor = Reactor::new().expect("a reactor");
    let before = open_fds().len();
    for _ in 0..2 {
        let mut command = Command::new("/bin/true");
        for number in 3..3 + EXTRAS {
            command.extra_fd(number, aside(&file));
        }
        start(&mut reactor, &mut command);
        drop(command);
        finish_all(&mut reactor);
        let more = open_fds().len() - before;
        assert!(more <= 5, "{more} more descriptors are open than before");
    }
    ExitCode::SUCCESS
}

const EXTRAS: i32 = 200;

/// `hermetic N`: a parent with many descriptors that lack close-on-exec, N of them from before its reactor.
pub(crate) fn hermetic(arguments: &[OsString]) -> ExitCode {
    let before = arguments.first().and_then(|text| text.to_str());
    let before: usize = before.expect("N").parse().expect("a number");
    // SAFETY: the name is a C string.
    let leak = || own(unsafe { libc::memfd_create(c"leak".as_ptr(), 0) });
    // Below the reactor's own descriptors and above them.
    let mut leaks: Vec<OwnedFd> = (0..before).map(|_| leak()).collect();
    let mut reactor = Reactor::new().expect("a reactor");
    leaks.extend((0..30).map(|_| leak()));
    let extra = memfd("extra");
    let run = |reactor: &mut Reactor, expected: &[String], change: &dyn Fn(&mut Command)| {
        let mut command = expecting(expected);
        command.stderr(Output::capture());
        change(&mut command);
        start(reactor, &mut command);
        finish_all(reactor);
    };
    let stdio = ["0 r /dev/null", "1 w /dev/null", "2 w pipe:"].map(str::to_owned);
    let with = |numbers: &[(i32, &str)]| {
        let mut lines = stdio.to_vec();
        lines.extend(
            numbers
                .iter()
                .map(|(number, name)| format!("{number} rw /memfd:{name}")),
        );
        lines
    };

    run(&mut reactor, &with(&[]), &|_| ());
    run(
        &mut reactor,
        &with(&[(7, "extra"), (200, "extra")]),
        &|command| {
            command
                .extra_fd(200, aside(&extra))
                .extra_fd(7, aside(&extra));
        },
    );
    // Of equal numbers the last counts, and nothing can be asked for, too.
    run(&mut reactor, &with(&[(3, "leak")]), &|command| {
        command
            .extra_fd(3, aside(&extra))
            .extra_fd(3, aside(&leaks[0]));
        command.extra_fd(4, aside(&extra)).close_fd(4);
    });

    let mut inherited: Vec<(i32, &str)> = leaks
        .iter()
        .map(|leak| (leak.as_raw_fd(), "leak"))
        .collect();
    run(&mut reactor, &with(&inherited), &|command| {
        command.inherit_fds(true);
    });
    let (lost, (replaced, name)) = (inherited.remove(5).0, &mut inherited[9]);
    *name = "extra";
    let replaced = *replaced;
    run(&mut reactor, &with(&inherited), &|command| {
        command
            .inherit_fds(true)
            .close_fd(lost)
            .extra_fd(replaced, aside(&extra));
    });
    ExitCode::SUCCESS
}

/// `closed-early`: pipes are closed before their children have run, by their caller and by `detach`, while a thread opens files
/// at the lowest free numbers, without close-on-exec.
pub(crate) fn closed_early() -> ExitCode {
    let mut reactor = Reactor::new().expect("a reactor");
    let opens = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            while opens.load(Ordering::Relaxed) {
                // SAFETY: the name is a C string.
                let leak = |_| own(unsafe { libc::memfd_create(c"leak".as_ptr(), 0) });
                drop([0; 4].map(leak));
            }
        });
        let _until = Until(&opens);
        for number in 0..1000 {
            let mut command =
                expecting(&["0 r pipe:", "1 w pipe:", "2 w pipe:"].map(str::to_owned));
            command
                .stdin(Input::pipe())
                .stdout(Output::pipe())
                .stderr(Output::capture());
            let id = reactor.start(&mut command).expect("it starts");
            if number % 2 == 0 {
                reactor.stdin(id).expect("its pipe").close();
                reactor.stdout(id).expect("its pipe").close();
            } else {
                // That closes them all.
                let pid = reactor.detach(id).expect("it runs");
                assert_eq!(
                    wait_for_exit(Some(pid)),
                    0,
                    "that of the one that was let go"
                );
            }
            if reactor.running() >= RUNNING_MAX {
                finish_one(&mut reactor);
            }
        }
    });
    while finish_one(&mut reactor) {}
    ExitCode::SUCCESS
}

/// `parent-ends`: what a start leaves open in the parent is a handle and its own ends, and a file given away is gone.
pub(crate) fn parent_ends() -> ExitCode {
    let mut reactor = Reactor::new().expect("a reactor");
    let cat = || Command::new("/bin/cat");
    // The first start makes room for the extra descriptors of later ones.
    let mut first = cat();
    reactor
        .start(first.extra_fd(3, memfd("a")).extra_fd(4, memfd("b")))
        .expect("it starts");
    finish_all(&mut reactor);
    let before = open_fds();
    let added = || {
        let mut added: Vec<String> = open_fds()
            .into_iter()
            .filter(|entry| before.get(&entry.0) != Some(&entry.1))
            .map(|entry| entry.1)
            .collect();
        added.sort_unstable();
        added
    };

    let mut piped = cat();
    piped
        .stdin(Input::pipe())
        .stdout(Output::pipe())
        .stderr(Output::capture());
    let id = reactor.start(&mut piped).expect("it starts");
    // What is written is written to a program: its start is over.
    let mut stdin = reactor.stdin(id).expect("its pipe");
    stdin.write_all(b"x").expect("it reads");
    let mut pipes = added();
    assert!(pipes.remove(0).contains("pidfd"), "{pipes:?}");
    assert!(
        pipes.len() == 3 && pipes.iter().all(|link| link.starts_with("pipe:")),
        "{pipes:?}"
    );
    pipes.dedup();
    assert_eq!(pipes.len(), 3, "one end of each");
    reactor.stdin(id).expect("its pipe").close();
    assert_eq!(added().len(), 3);
    finish_all(&mut reactor);
    assert_fds(&before);

    let mut given = cat();
    given
        .stdin(Input::file(memfd("in")))
        .stdout(Output::file(memfd("out")))
        .stderr(Output::file(memfd("err")))
        .extra_fd(3, memfd("three"))
        .extra_fd(4, memfd("four"));
    reactor.start(&mut given).expect("it starts");
    let handle = added();
    assert!(
        handle.len() == 1 && handle[0].contains("pidfd"),
        "{handle:?}"
    );
    finish_all(&mut reactor);
    assert_fds(&before);
    ExitCode::SUCCESS
}

/// `dropped`: a reactor that is dropped with commands in every state gives everything back.
pub(crate) fn dropped() -> ExitCode {
    let before = open_fds();
    let mut reactor = Reactor::builder()
        .max_running(4)
        .build()
        .expect("a reactor");
    let mut sleeper = Command::new("/bin/sleep");
    sleeper
        .arg("1000")
        .stdout(Output::capture())
        .stderr(Output::pipe());
    let mut reader = Command::new("/bin/cat");
    reader
        .stdin(Input::pipe())
        .stdout(Output::pipe())
        .extra_fd(9, memfd("nine"));
    for command in [&mut sleeper, &mut reader] {
        reactor.start(command).expect("it starts");
    }
    let id = reactor
        .start(&mut Command::new("/bin/true"))
        .expect("it starts");
    let _ = reactor.wait(id).expect("waited").expect("finished");
    let mut short = Command::new("/bin/sh");
    let id = reactor.start(short.args(["-c", "echo unread"]).stdout(Output::pipe()));
    let id = id.expect("it starts");
    while reactor.running() > 2 {
        reactor.turn(None).expect("turned");
    }
    assert!(reactor.stdout(id).is_some(), "finished, and not handed out");
    for _ in 0..3 {
        reactor.start(&mut sleeper).expect("it starts or is queued");
    }
    assert_eq!((reactor.running(), reactor.queued()), (4, 1));
    drop(reactor);
    assert_no_children();
    assert_fds(&before);
    ExitCode::SUCCESS
}

/// `above-the-limit`: the limit that children get back does not stand in the way of their descriptors.
pub(crate) fn above_the_limit() -> ExitCode {
    set_soft_fd_limit(64);
    let mut reactor = Reactor::builder()
        .raise_fd_limit(true)
        .build()
        .expect("a reactor");
    let file = File::from(memfd("far"));
    (&file).write_all(b"far out").expect("written");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "ulimit -S -n; cat /proc/$$/fd/500"])
        .stdout(Output::capture())
        .extra_fd(500, file);
    let id = reactor.start(&mut command).expect("it starts");
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "64\nfar out");
    ExitCode::SUCCESS
}

/// How often something is done that depends on who is faster.
const ROUNDS: usize = 100;

/// `inherited`: what is put at 0, 1 and 2 once a start has returned is not the child's, nor is it missed there.
pub(crate) fn inherited() -> ExitCode {
    speak_aside();
    let mut reactor = Reactor::new().expect("a reactor");
    let others: Vec<OwnedFd> = (0..3)
        .map(|number| memfd(&format!("other{number}")))
        .collect();
    for round in 0..ROUNDS {
        let given: Vec<OwnedFd> = (0..3)
            .map(|number| memfd(&format!("given{number}")))
            .collect();
        for (number, file) in (0..).zip(&given) {
            std::mem::forget(at(file, number));
        }
        let expected: Vec<String> = (0..3)
            .map(|number| format!("{number} rw /memfd:given{number}"))
            .collect();
        let mut command = expecting(&expected);
        command
            .stdin(Input::inherit())
            .stdout(Output::inherit())
            .stderr(Output::inherit());
        let id = reactor.start(&mut command).expect("it starts");
        for (number, file) in (0..).zip(&others) {
            if round % 2 == 0 {
                std::mem::forget(at(file, number));
            } else {
                // SAFETY: nothing here uses it, and it is made anew in the next round.
                unsafe { libc::close(number) };
            }
        }
        let done = reactor.wait(id).expect("waited").expect("finished");
        assert!(done.success(), "round {round}: {:?}", done.outcome);
    }
    finish_all(&mut reactor);
    ExitCode::SUCCESS
}

/// `below-the-block`: the limit on descriptors is lowered under the reactor's own, and there is room below it.
pub(crate) fn below_the_block() -> ExitCode {
    let many: Vec<OwnedFd> = (0..ROUNDS).map(|_| memfd_at_once("many")).collect();
    let mut reactor = Reactor::new().expect("a reactor");
    drop(many);
    set_soft_fd_limit(64);
    for _ in 0..3 {
        let mut command = Command::new("/bin/sh");
        let file = File::from(memfd_at_once("in"));
        (&file).write_all(b"word").expect("written");
        (&file).rewind().expect("rewound");
        command
            .args(["-c", "cat; cat <&5"])
            .stdin(Input::file(file.try_clone().expect("a copy")))
            .stdout(Output::capture())
            .extra_fd(5, file);
        let id = reactor.start(&mut command).expect("it starts");
        let done = reactor.wait(id).expect("waited").expect("finished");
        assert!(done.success(), "{:?}", done.outcome);
        assert_eq!(String::from_utf8_lossy(&done.stdout), "word");
    }
    ExitCode::SUCCESS
}

/// A file in memory at the lowest number that is free.
fn memfd_at_once(name: &str) -> OwnedFd {
    let name = CString::new(name).expect("no NUL");
    // SAFETY: the name is a C string.
    own(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })
}
