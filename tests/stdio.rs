//! Where stdin comes from and stdout and stderr go: nothing, files, readers, writers, lines, and descriptors above 2.
//! Unaware of pipes that the caller works himself.

#[path = "common"]
mod common {
    pub mod finish;
    pub mod helper;
    pub mod helper_path;
    pub mod scratch;
    pub mod shell;
    pub mod text;
    mod watchdog;
}

use std::fs::{self, File};
use std::io::{self, Read, Write};
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::finish::finish;
use common::helper::helper;
use common::scratch::Scratch;
use common::shell::shell;
use common::text::text;
use execloop::{Command, Error, Input, Lines, Output, Reactor, Signal};

/// What the helper says of its descriptors, which it does by its descriptor 9; the number of a pipe or socket is cut off.
#[track_caller]
fn described(change: impl FnOnce(&mut Command)) -> Vec<String> {
    let (mut report, ours) = io::pipe().expect("a pipe");
    let mut command = helper("describe-fds");
    command.arg("9").extra_fd(9, ours);
    change(&mut command);
    let done = finish(&mut command);
    assert!(done.success(), "{:?}", done.outcome);
    let mut lines = String::new();
    report.read_to_string(&mut lines).expect("a report");
    lines.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_described(found: &[String], expected: &[&str]) {
    let is_so = |(found, expected): (&String, &&str)| found.starts_with(expected);
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(is_so),
        "{found:?} for {expected:?}"
    );
}

/// Keeps what is written to it where the test can see it.
#[derive(Clone, Default)]
struct Sheet(Arc<Mutex<Vec<u8>>>);

impl Sheet {
    fn text(&self) -> String {
        text(&self.0.lock().expect("no panic"))
    }
}

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// Statement 27.
#[test]
fn stdio_is_null_by_default() {
    let found = described(|_| ());
    assert_described(
        &found,
        &[
            "0 r /dev/null",
            "1 w /dev/null",
            "2 w /dev/null",
            "9 w pipe:",
        ],
    );
    let same = described(|command| {
        command
            .stdin(Input::null())
            .stdout(Output::null())
            .stderr(Output::null());
    });
    assert_eq!(found[..3], same[..3]);
}

// The child's ends block, as programs expect; ours are none of its business.
#[test]
fn childs_ends_of_pipes_block() {
    let found = described(|command| {
        command
            .stdin(Input::bytes(*b""))
            .stdout(Output::capture())
            .stderr(Output::capture());
    });
    assert_described(
        &found,
        &["0 r pipe:", "1 w pipe:", "2 w pipe:", "9 w pipe:"],
    );
    assert_ne!(found[1][4..], found[2][4..], "each its own");
}

// Statement 28: Go would switch it to blocking mode.
#[test]
fn file_is_passed_as_it_is_and_keeps_its_mode() {
    let (blocking, _other) = UnixStream::pair().expect("sockets");
    let (nonblocking, _another) = UnixStream::pair().expect("sockets");
    nonblocking.set_nonblocking(true).expect("its mode");
    let kept = nonblocking.try_clone().expect("a copy");
    let found = described(|command| {
        let null = File::open("/dev/null").expect("/dev/null");
        command
            .stdin(Input::file(blocking))
            .stdout(Output::file(nonblocking))
            .stderr(Output::file(null));
    });
    let expected = [
        "0 rw socket:",
        "1 rw,nonblock socket:",
        "2 r /dev/null",
        "9 w pipe:",
    ];
    assert_described(&found, &expected);
    let again = described(|command| {
        command.stdin(Input::file(kept));
    });
    assert!(again[0].starts_with("0 rw,nonblock socket:"), "{again:?}");
}

// Statement 28.
#[test]
fn file_is_not_waited_for() {
    let scratch = Scratch::new();
    let (held, ours) = io::pipe().expect("a pipe");
    let file = File::create(scratch.join("out")).expect("a file");
    // The descendant has the file open until the pipe is closed, after all is over.
    let mut command = shell("cat <&3 & echo done");
    command.stdout(Output::file(file)).extra_fd(3, held);
    let done = finish(&mut command);
    assert!(
        done.success() && done.leaked.is_empty(),
        "{:?}",
        done.outcome
    );
    assert_eq!(fs::read(scratch.join("out")).expect("the file"), b"done\n");
    drop(ours);
}

// Statement 28.
#[test]
fn files_carry_what_they_hold() {
    let scratch = Scratch::new();
    fs::write(scratch.join("in"), "one\ntwo\n").expect("a file");
    let out = File::create(scratch.join("out")).expect("a file");
    let mut command = Command::new("/bin/cat");
    command
        .stdin(Input::file(File::open(scratch.join("in")).expect("a file")))
        .stdout(Output::file(out));
    assert!(finish(&mut command).success());
    assert_eq!(
        fs::read(scratch.join("out")).expect("the file"),
        b"one\ntwo\n"
    );
}

// Statements 29 and 32.
#[test]
fn stdin_is_what_was_given_and_then_ends() {
    let long = "x".repeat(300_000);
    for input in [
        Input::bytes(long.as_bytes()),
        Input::reader(io::Cursor::new(long.clone())),
        Input::buffered(io::Cursor::new(long.clone())),
        Input::buffered(io::BufReader::with_capacity(
            1000,
            Trickle(long.clone().into_bytes()),
        )),
        Input::reader(Trickle(long.clone().into_bytes())),
    ] {
        let done = finish(
            Command::new("/bin/cat")
                .stdin(input)
                .stdout(Output::capture()),
        );
        assert!(
            done.success() && done.stdout == long.as_bytes(),
            "{:?}",
            done.outcome
        );
    }
    for input in [
        Input::bytes(*b"exactly"),
        Input::reader(Trickle(b"exactly".to_vec())),
    ] {
        let done = finish(helper("stdin-is").arg("exactly").stdin(input));
        assert!(done.success(), "{:?}", done.outcome);
    }
    for input in [
        Input::null(),
        Input::bytes(*b""),
        Input::reader(io::empty()),
        Input::buffered(io::empty()),
    ] {
        let done = finish(helper("stdin-is").arg("").stdin(input));
        assert!(done.success(), "{:?}", done.outcome);
    }
}

/// Gives a few bytes at a time, and is interrupted before each.
struct Trickle(Vec<u8>);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = buffer.len().min(self.0.len()).min(4099);
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0.drain(..count);
        Ok(count)
    }
}

/// Tells that it was called. A panic would not do: the reactor takes it for the stream's error.
struct Untouchable(Arc<AtomicBool>);

impl Read for Untouchable {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.store(true, Ordering::Relaxed);
        Ok(0)
    }
}

impl Write for Untouchable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.store(true, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }
}

// Statement 29.
#[test]
fn readers_and_writers_are_not_touched_by_a_start_that_fails() {
    let is_touched = Arc::new(AtomicBool::new(false));
    let untouchable = || Untouchable(Arc::clone(&is_touched));
    let mut command = Command::new("/no/such/program");
    let error = command
        .stdin(Input::reader(untouchable()))
        .stdout(Output::writer(untouchable()))
        .stderr(Output::writer(untouchable()))
        .run()
        .expect_err("no such program");
    assert!(matches!(error.reason(), Error::Start(_)), "{error:?}");
    assert!(!is_touched.load(Ordering::Relaxed), "one was called");
    // They would have told.
    let mut command = Command::new("/bin/true");
    let _ = finish(command.stdin(Input::reader(untouchable())));
    assert!(is_touched.load(Ordering::Relaxed));
}

/// Writes alternately to both, each line by a system call of its own.
const ALTERNATING: &str = "for n in 1 2 3 4 5 6 7 8; do echo o$n; echo e$n >&2; done";
const ALTERNATED: &str = "o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5\no6\ne6\no7\ne7\no8\ne8\n";

// Statement 30.
#[test]
fn stderr_to_stdout_is_one_pipe_and_keeps_the_order() {
    let found = described(|command| {
        command.stdout(Output::capture()).stderr_to_stdout(true);
    });
    assert_described(
        &found,
        &["0 r /dev/null", "1 w pipe:", "2 w pipe:", "9 w pipe:"],
    );
    assert_eq!(found[1][1..], found[2][1..], "the same pipe");

    let done = finish(
        shell(ALTERNATING)
            .stdout(Output::capture())
            .stderr_to_stdout(true),
    );
    assert_eq!(
        (text(&done.stdout).as_str(), done.stderr.as_slice()),
        (ALTERNATED, &b""[..])
    );

    let sheet = Sheet::default();
    let _ = finish(
        shell(ALTERNATING)
            .stdout(Output::writer(sheet.clone()))
            .stderr_to_stdout(true),
    );
    assert_eq!(sheet.text(), ALTERNATED);

    let scratch = Scratch::new();
    let file = File::create(scratch.join("out")).expect("a file");
    let _ = finish(
        shell(ALTERNATING)
            .stdout(Output::file(file))
            .stderr_to_stdout(true),
    );
    assert_eq!(
        fs::read_to_string(scratch.join("out")).expect("the file"),
        ALTERNATED
    );
}

#[test]
fn later_stderr_takes_stderr_to_stdout_back_and_the_other_way_round() {
    let mut command = shell("echo out; echo err >&2");
    command
        .stdout(Output::capture())
        .stderr_to_stdout(true)
        .stderr(Output::capture());
    let done = finish(&mut command);
    assert_eq!(
        (&done.stdout[..], &done.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..])
    );
    let done = finish(command.stderr_to_stdout(true));
    assert_eq!(
        (&done.stdout[..], &done.stderr[..]),
        (&b"out\nerr\n"[..], &b""[..])
    );
    let done = finish(command.stdout(Output::null()));
    assert!(
        done.stdout.is_empty() && done.stderr.is_empty(),
        "null for both"
    );
}

#[test]
fn stdout_and_stderr_are_told_apart() {
    let (out, err) = (Sheet::default(), Sheet::default());
    let mut command = shell(ALTERNATING);
    command
        .stdout(Output::writer(out.clone()))
        .stderr(Output::writer(err.clone()));
    assert!(finish(&mut command).success());
    assert_eq!(out.text(), "o1\no2\no3\no4\no5\no6\no7\no8\n");
    assert_eq!(err.text(), "e1\ne2\ne3\ne4\ne5\ne6\ne7\ne8\n");
}

// Statement 33: Go fails after a short write.
#[test]
fn short_and_interrupted_writes_are_continued() {
    struct Grudging(Sheet, usize);
    impl Write for Grudging {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            if self.1.is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.0.write(&bytes[..bytes.len().min(1000)])
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.write_all(b"flushed")
        }
    }
    let sheet = Sheet::default();
    let given = "x".repeat(200_000);
    let mut command = Command::new("/bin/cat");
    command
        .stdin(Input::bytes(given.as_bytes()))
        .stdout(Output::writer(Grudging(sheet.clone(), 0)));
    let done = finish(&mut command);
    assert!(done.success(), "{:?}", done.outcome);
    assert!(sheet.text() == given + "flushed");
}

/// Keeps the size of each write.
#[cfg(target_os = "linux")]
#[derive(Clone, Default)]
struct Sizes(Arc<Mutex<Vec<usize>>>);

#[cfg(target_os = "linux")]
impl Sizes {
    fn all(&self) -> Vec<usize> {
        self.0.lock().expect("no panic").clone()
    }
}

#[cfg(target_os = "linux")]
impl Write for Sizes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").push(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
/// Whether a pipe holds `bytes` here, or can be made to. Says so if not.
#[allow(unsafe_code, reason = "the size of a pipe has no safe wrapper")]
fn pipe_holds(bytes: usize) -> bool {
    let (_reader, writer) = io::pipe().expect("a pipe");
    let fd = writer.as_raw_fd();
    // SAFETY: fcntl(2) on a descriptor that is open; the commands take a number or nothing.
    let has = unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) };
    let wish = libc::c_int::try_from(bytes).expect("a small number");
    // SAFETY: as above.
    let holds = has >= wish || unsafe { libc::fcntl(fd, libc::F_SETPIPE_SZ, wish) } >= wish;
    if !holds {
        eprintln!("skipped: this system's pipes do not hold {bytes} bytes");
    }
    holds
}

// Statement 101.
#[cfg(target_os = "linux")]
#[test]
fn what_a_pipe_holds_is_one_write_of_64_kib() {
    const BYTES: usize = 64 * 1024;
    if !pipe_holds(BYTES) {
        return;
    }
    let sizes = Sizes::default();
    let (mut life, child_has) = io::pipe().expect("a pipe");
    let mut command = Command::new("/usr/bin/head");
    command
        .args(["-c", &BYTES.to_string(), "/dev/zero"])
        .stdout(Output::writer(sizes.clone()))
        .extra_fd(3, child_has);
    let mut reactor = Reactor::new().expect("a reactor");
    let id = reactor.start(&mut command).expect("it starts");
    // It has exited: all is in the pipe.
    life.read_to_end(&mut Vec::new()).expect("its end");
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(sizes.all(), [BYTES]);
}

// Statement 101.
#[test]
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn bulk_comes_in_writes_of_up_to_256_kib() {
    const BYTES: usize = 256 * 1024;
    if !pipe_holds(BYTES) {
        return;
    }
    let sizes = Sizes::default();
    let mut command = Command::new("/bin/cat");
    command
        .arg("/dev/zero")
        .stdout(Output::writer(sizes.clone()));
    let mut reactor = Reactor::new().expect("a reactor");
    reactor.start(&mut command).expect("it starts");
    let largest = || sizes.all().into_iter().max().unwrap_or(0);
    while largest() <= 64 * 1024 {
        reactor.turn(None).expect("turned");
    }
    assert!(largest() <= BYTES, "{}", largest());
}

// Statement 34.
#[test]
fn waiting_does_not_close_stdin() {
    let mut reactor = Reactor::new().expect("a reactor");
    let mut cat = Command::new("/bin/cat");
    let cat = reactor
        .start(cat.stdin(Input::pipe()).stdout(Output::capture()))
        .expect("it starts");
    let other = reactor
        .start(&mut Command::new("/bin/true"))
        .expect("it starts");
    let first = reactor
        .wait_any()
        .expect("waited")
        .expect("one is finished");
    assert_eq!((first.id, reactor.running()), (other, 1));
    let mut stdin = reactor.stdin(cat).expect("its pipe is open");
    stdin.write_all(b"still open").expect("it reads");
    stdin.close();
    let done = reactor.wait(cat).expect("waited").expect("finished");
    assert_eq!(done.stdout, b"still open");
}

// Statement 35.
#[test]
fn output_so_far_is_kept_whatever_the_outcome() {
    let sheet = Sheet::default();
    let mut command = shell("echo out; echo err >&2; exit 3");
    command
        .stdout(Output::capture())
        .stderr(Output::writer(sheet.clone()));
    let done = finish(&mut command);
    assert_eq!(
        done.outcome.expect_err("status 3").to_string(),
        "exit status 3"
    );
    assert_eq!(done.stdout, b"out\n");
    assert_eq!(sheet.text(), "err\n");
    let done = finish(shell("echo out; kill -KILL $$").stdout(Output::capture()));
    assert_eq!(
        done.outcome.expect_err("a signal").to_string(),
        "signal: SIGKILL"
    );
    assert_eq!(done.stdout, b"out\n");
}

/// Would block until it is opened, and tells that it was asked.
#[derive(Clone, Default)]
struct Gate {
    is_open: Arc<AtomicBool>,
    was_asked: Arc<AtomicBool>,
    sheet: Sheet,
}

impl Gate {
    fn pass(&self) -> io::Result<()> {
        self.was_asked.store(true, Ordering::Relaxed);
        if self.is_open.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn until_asked(&self, reactor: &mut Reactor) {
        while !self.was_asked.load(Ordering::Relaxed) {
            reactor.turn(None).expect("turned");
        }
    }

    /// Once it was asked, runs another command, and opens.
    fn open_when_asked(&self, reactor: &mut Reactor) {
        self.until_asked(reactor);
        let other = reactor
            .start(&mut Command::new("/bin/true"))
            .expect("it starts");
        let done = reactor.wait(other).expect("waited").expect("finished");
        assert!(done.success());
        self.is_open.store(true, Ordering::Relaxed);
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pass()?;
        self.sheet.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Gate {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pass()?;
        let mut rest = self.sheet.0.lock().expect("no panic");
        let count = buffer.len().min(rest.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        rest.drain(..count);
        Ok(count)
    }
}

// Statement 36: Go waits in the writer; here it must not wait, and says so.
#[test]
fn writer_that_would_block_pauses_its_stream_until_resume() {
    let mut reactor = Reactor::new().expect("a reactor");
    let gate = Gate::default();
    let given = "x".repeat(300_000);
    let mut command = Command::new("/bin/cat");
    command
        .stdin(Input::bytes(given.as_bytes()))
        .stdout(Output::writer(gate.clone()));
    let id = reactor.start(&mut command).expect("it starts");
    gate.open_when_asked(&mut reactor);
    assert_eq!(gate.sheet.text(), "");
    reactor.resume(id);
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(done.success(), "{:?}", done.outcome);
    assert!(gate.sheet.text() == given);
}

// The same of what is left when the child has exited.
#[test]
fn paused_writer_gets_the_rest_after_the_exit() {
    let mut reactor = Reactor::new().expect("a reactor");
    let gate = Gate::default();
    let mut command = shell("echo the rest");
    let id = reactor
        .start(command.stdout(Output::writer(gate.clone())))
        .expect("it starts");
    gate.until_asked(&mut reactor);
    while reactor.signal(id, Signal::CONT).is_ok() {
        reactor.turn(None).expect("turned");
    }
    assert_eq!(
        reactor.running(),
        1,
        "reaped, with its output not delivered"
    );
    gate.is_open.store(true, Ordering::Relaxed);
    reactor.resume(id);
    assert!(
        reactor
            .wait(id)
            .expect("waited")
            .expect("finished")
            .success()
    );
    assert_eq!(gate.sheet.text(), "the rest\n");
}

#[test]
fn a_writer_that_is_interrupted_all_the_time_has_failed_and_holds_up_nobody() {
    struct Interrupted {
        flushes: bool,
    }
    impl Write for Interrupted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.flushes {
                return Ok(bytes.len());
            }
            Err(io::ErrorKind::Interrupted.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::Interrupted.into())
        }
    }
    for flushes in [false, true] {
        let mut command = shell("echo something");
        let done = finish(command.stdout(Output::writer(Interrupted { flushes })));
        assert!(
            matches!(&done.outcome, Err(Error::Copy { source, .. }) if source.kind() == io::ErrorKind::Interrupted),
            "{:?}",
            done.outcome
        );
    }
}

// The same of what it keeps until it is flushed, which may be interrupted as well.
#[test]
fn paused_flush_is_tried_again_by_resume() {
    let mut reactor = Reactor::new().expect("a reactor");
    let gate = Gate::default();
    let mut interrupts = 3;
    let interrupted = BeforeFlush(gate.clone(), move || {
        if interrupts == 0 {
            return Ok(());
        }
        interrupts -= 1;
        Err(io::ErrorKind::Interrupted.into())
    });
    let mut command = shell("echo the tail");
    let id = reactor
        .start(command.stdout(Output::writer(io::BufWriter::new(interrupted))))
        .expect("it starts");
    gate.until_asked(&mut reactor);
    while reactor.signal(id, Signal::CONT).is_ok() {
        reactor.turn(None).expect("turned");
    }
    assert_eq!(reactor.running(), 1, "reaped, and not flushed");
    gate.is_open.store(true, Ordering::Relaxed);
    reactor.resume(id);
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(gate.sheet.text(), "the tail\n");
}

// A pipe that nobody reads is not known to be empty.
#[test]
fn paused_writer_is_no_leak() {
    let mut reactor = Reactor::new().expect("a reactor");
    let gate = Gate::default();
    let mut command = Command::new("head");
    command
        .args(["-c", "60000", "/dev/zero"])
        .stdout(Output::writer(gate.clone()))
        .leak_timeout(Duration::from_millis(1));
    let id = reactor.start(&mut command).expect("it starts");
    gate.until_asked(&mut reactor);
    while reactor.signal(id, Signal::CONT).is_ok() {
        reactor.turn(None).expect("turned");
    }
    // As long as this takes, the timeout would have been over many times.
    let other = reactor
        .start(Command::new("/bin/sleep").arg("0.05"))
        .expect("it starts");
    assert!(reactor.wait(other).expect("waited").is_some());
    gate.is_open.store(true, Ordering::Relaxed);
    reactor.resume(id);
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(gate.sheet.text().len(), 60_000);
}

// Nobody resumes it.
#[test]
fn paused_flush_is_cut_by_the_wait_delay() {
    let gate = Gate::default();
    let mut command = shell("echo the tail");
    command
        .stdout(Output::writer(io::BufWriter::new(gate.clone())))
        .wait_delay(Duration::from_millis(20));
    let done = finish(&mut command);
    assert!(
        matches!(&done.outcome, Err(Error::Copy { source, .. }) if source.kind() == io::ErrorKind::WouldBlock),
        "{:?}",
        done.outcome
    );
    assert_eq!(done.leaked, [], "nobody holds the pipe");
}

/// Does something before each flush.
struct BeforeFlush<F>(Gate, F);

impl<F: FnMut() -> io::Result<()>> Write for BeforeFlush<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (self.1)()?;
        self.0.flush()
    }
}

// Statement 36.
#[test]
fn reader_that_would_block_pauses_its_stream_until_resume() {
    let mut reactor = Reactor::new().expect("a reactor");
    let gate = Gate::default();
    gate.sheet
        .0
        .lock()
        .expect("no panic")
        .extend_from_slice(b"late input");
    let mut command = Command::new("/bin/cat");
    command
        .stdin(Input::reader(gate.clone()))
        .stdout(Output::capture());
    let id = reactor.start(&mut command).expect("it starts");
    gate.open_when_asked(&mut reactor);
    reactor.handle().resume(id);
    let done = reactor.wait(id).expect("waited").expect("finished");
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(done.stdout, b"late input");
}

/// The lines that a child's output comes in.
#[track_caller]
fn lines_of(output: &[u8]) -> Vec<Vec<u8>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let mut command = Command::new("/bin/cat");
    command
        .stdin(Input::bytes(output))
        .stdout(Output::lines(move |line| {
            sink.lock().expect("no panic").push(line.to_vec());
        }));
    assert!(finish(&mut command).success());
    std::mem::take(&mut *lines.lock().expect("no panic"))
}

#[test]
fn lines_come_whole_and_without_their_newline() {
    assert_eq!(lines_of(b"one\ntwo\n"), [&b"one"[..], b"two"]);
    assert_eq!(
        lines_of(b"\n\nlast without newline"),
        [&b""[..], b"", b"last without newline"]
    );
    assert_eq!(lines_of(b"cr\r\n\xff\xfe\n"), [&b"cr\r"[..], b"\xff\xfe"]);
    assert!(lines_of(b"").is_empty());
    let numbers: Vec<String> = (0..50_000).map(|number| number.to_string()).collect();
    let found = lines_of((numbers.join("\n") + "\n").as_bytes());
    assert!(found.iter().eq(numbers.iter().map(String::as_bytes)));
}

#[test]
fn long_lines_come_in_pieces() {
    const MIB: usize = 1024 * 1024;
    let line = |length: usize| [&vec![b'x'; length][..], b"\n"].concat();
    let lengths =
        |output: Vec<u8>| -> Vec<usize> { lines_of(&output).iter().map(Vec::len).collect() };
    assert_eq!(lengths([line(MIB - 1), line(3)].concat()), [MIB - 1, 3]);
    assert_eq!(lengths([line(MIB), line(3)].concat()), [MIB, 3]);
    assert_eq!(lengths([line(MIB + 1), line(3)].concat()), [MIB, 1, 3]);
    assert_eq!(lengths([line(2 * MIB), line(0)].concat()), [MIB, MIB, 0]);
}

// Statement 37.
// It would wait for itself for ever.
#[test]
fn lines_that_are_told_within_their_own_callback_end_that_stream() {
    let shared = Arc::new(Mutex::new(None::<Lines>));
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let (again, kept) = (Arc::clone(&shared), Arc::clone(&outcomes));
    let lines = Lines::new(move |_, _, line: &[u8]| {
        let again = again.lock().expect("no panic").clone().expect("set below");
        let inner = finish(shell("echo inner").lines(&again));
        let mut outcomes = kept.lock().expect("no panic");
        outcomes.push((text(line), inner.outcome));
    });
    *shared.lock().expect("no panic") = Some(lines.clone());
    // Which is over with the call, and so comes again.
    let outer = finish(shell("echo one; echo two").lines(&lines));
    assert!(outer.success(), "{:?}", outer.outcome);
    let outcomes = outcomes.lock().expect("no panic");
    let told: Vec<_> = outcomes.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(told, ["one", "two"]);
    for (_, outcome) in outcomes.iter() {
        assert!(
            matches!(outcome, Err(Error::Copy { source, .. }) if source.kind() == io::ErrorKind::Deadlock),
            "{outcome:?}"
        );
    }
    // They hold each other.
    *shared.lock().expect("no panic") = None;
}

#[test]
fn extra_file_is_open_in_the_child_and_no_other_command_sees_it() {
    let scratch = Scratch::new();
    fs::write(scratch.join("text"), "extra text").expect("a file");
    let file = || File::open(scratch.join("text")).expect("a file");
    let done = finish(
        shell("cat <&3 && cat <&7")
            .extra_fd(3, file())
            .extra_fd(7, file())
            .stdout(Output::capture()),
    );
    assert_eq!(text(&done.stdout), "extra textextra text");

    let mut reactor = Reactor::new().expect("a reactor");
    let ids = [3, 4, 5, 6].map(|number| {
        let mut command = helper("expect-fds");
        let extra = format!("{number} r {}", scratch.join("text").display());
        command
            .args(["0 r /dev/null", "1 w /dev/null", "2 w pipe:", &extra])
            .extra_fd(number, file())
            .stderr(Output::capture());
        reactor.start(&mut command).expect("it starts")
    });
    for id in ids {
        let done = reactor.wait(id).expect("waited").expect("finished");
        assert!(done.success(), "{}", text(&done.stderr));
    }
}

// Statement 37: an entry of nothing. See `describe-fds` for what a closed 0, 1 or 2 looks like.
#[test]
fn closed_descriptors_are_closed_in_the_child() {
    let found = described(|command| {
        command.stdin(Input::inherit()).stdout(Output::capture());
        command.close_fd(0).close_fd(1).close_fd(2).close_fd(5);
    });
    assert_described(
        &found,
        &[
            "0 rw /dev/null",
            "1 rw /dev/null",
            "2 rw /dev/null",
            "9 w pipe:",
        ],
    );
    let found = described(|command| {
        command.stderr_to_stdout(true).close_fd(1);
    });
    assert_described(
        &found,
        &[
            "0 r /dev/null",
            "1 rw /dev/null",
            "2 rw /dev/null",
            "9 w pipe:",
        ],
    );
}

/// A writer that tells of its drop, and panics in it.
struct Loud(Arc<AtomicBool>);

impl Write for Loud {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Loud {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if !std::thread::panicking() {
            // Without the hook, which would print it.
            std::panic::resume_unwind(Box::new("at its drop"));
        }
    }
}

#[test]
fn a_closed_descriptor_has_no_pipe_and_what_was_to_use_it_is_dropped_at_the_start() {
    let mut reactor = Reactor::builder().max_running(1).build();
    let reactor = reactor.as_mut().expect("a reactor");
    let (leash, ours) = io::pipe().expect("a pipe");
    let mut first = Command::new("cat");
    let first = reactor.start(first.stdin(Input::file(leash)));
    let dropped = Arc::new(AtomicBool::new(false));
    let mut closed = Command::new("true");
    closed
        .stdin(Input::pipe())
        .stdout(Output::writer(Loud(Arc::clone(&dropped))));
    let closed = reactor.start(closed.close_fd(0).close_fd(1));
    let closed = closed.expect("it waits");
    assert!(dropped.load(Ordering::Relaxed));
    assert!(reactor.stdin(closed).is_none(), "there will be no pipe");
    drop(ours);
    for id in [first.expect("it starts"), closed] {
        let done = reactor.wait(id).expect("waited").expect("finished");
        assert!(done.success(), "{:?}", done.outcome);
    }
}
