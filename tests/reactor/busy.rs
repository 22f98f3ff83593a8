//! Programs whose file is being written, and starts by several threads at once.
//! Unaware of other failures of a start.

use super::*;

/// A program whose file is being written.
fn busy(scratch: &Scratch) -> (std::path::PathBuf, std::fs::File) {
    let path = scratch.join("program");
    std::fs::copy("/bin/sh", &path).expect("copy");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open");
    (path, file)
}

/// Turns until the first start has found the file busy, and waits to be tried again.
fn until_found_busy(reactor: &mut Reactor) {
    while reactor.queued() == 0 {
        reactor.turn(None).expect("turn");
    }
    assert_eq!(reactor.running(), 0);
}

#[test]
fn busy_program_is_started_once_its_file_is_closed() {
    let scratch = Scratch::new();
    let (path, file) = busy(&scratch);
    let mut reactor = reactor();
    let mut command = Command::new(&path);
    let id = start(&mut reactor, command.args(["-c", "exit 9"]));
    until_found_busy(&mut reactor);
    drop(file);
    assert_eq!(word(&wait(&mut reactor, id)), "exit status 9");
}

#[test]
fn busy_program_cannot_be_let_go_and_is_started_all_the_same() {
    let scratch = Scratch::new();
    let (path, file) = busy(&scratch);
    let mut reactor = reactor();
    let mut command = Command::new(&path);
    let id = start(&mut reactor, command.args(["-c", "exit 9"]));
    assert_eq!(reactor.detach(id), None);
    drop(file);
    assert_eq!(word(&wait(&mut reactor, id)), "exit status 9");
}

#[test]
fn busy_program_that_is_to_survive_is_not_waited_for_by_the_end() {
    let scratch = Scratch::new();
    let (path, _file) = busy(&scratch);
    let mut reactor = reactor();
    let mut command = Command::new(&path);
    let id = start(&mut reactor, command.kill_on_drop(false));
    let finished = reactor.shutdown().expect("poll");
    let [done] = &finished[..] else {
        panic!("{finished:?}");
    };
    assert_eq!(done.id, id);
    let Err(Error::Start(StartError::ShutDown | StartError::Stopped(_))) = &done.outcome else {
        panic!("{done:?}");
    };
}

#[test]
fn busy_program_fails_in_the_end_or_at_once_if_so_wished() {
    let scratch = Scratch::new();
    let (path, _file) = busy(&scratch);
    let mut reactor = reactor();
    let is_busy = |error: &StartError| matches!(error, StartError::Step { source, .. } if source.raw_os_error() == Some(libc::ETXTBSY));
    let mut command = Command::new(&path);
    let error = start_error(&mut reactor, command.retry_text_busy(false));
    assert!(is_busy(&error), "{error:?}");
    assert!(reactor.is_empty());

    let id = start(&mut reactor, command.retry_text_busy(true));
    let done = wait(&mut reactor, id);
    assert!(
        matches!(&done.outcome, Err(Error::Start(error)) if is_busy(error)),
        "{:?}",
        done.outcome
    );
}

#[test]
fn busy_program_can_be_cancelled() {
    let scratch = Scratch::new();
    let (path, _file) = busy(&scratch);
    let context = Context::new();
    let mut reactor = reactor();
    let mut command = Command::new(&path);
    let id = start(&mut reactor, command.context(&context));
    until_found_busy(&mut reactor);
    context.cancel();
    assert_unstarted(&wait(&mut reactor, id), Cause::Cancelled);
    assert!(reactor.is_empty());
}

#[test]
fn busy_program_does_not_exceed_the_limit_when_its_file_is_closed() {
    let scratch = Scratch::new();
    let (path, file) = busy(&scratch);
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    let mut command = Command::new(&path);
    let busy = start(&mut reactor, command.args(["-c", "exit 9"]));
    until_found_busy(&mut reactor);
    // The place is free until the busy one can be started.
    let mut stay = Stay::new(&[]);
    let other = start(&mut reactor, &mut stay.command);
    stay.pid();
    drop(file);
    // All its retries come in this time.
    pass_ms(200);
    for _ in 0..10 {
        reactor.turn(NOW).expect("turn");
        assert_eq!((reactor.running(), reactor.queued()), (1, 1));
    }
    stay.release();
    assert!(wait(&mut reactor, other).success());
    assert_eq!(word(&wait(&mut reactor, busy)), "exit status 9");
}

#[test]
fn commands_started_by_several_threads_at_once_get_the_end_of_their_input() {
    // If a child of one thread kept another's pipe open, a `cat` would wait for it.
    fn relay(mut writer: PipeWriter, mut reader: PipeReader) {
        writer.write_all(b"ping").expect("write");
        drop(writer);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("read");
        assert_eq!(all, b"ping");
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..25 {
                    let mut reactor = reactor();
                    let (stdin, writer) = io::pipe().expect("a pipe");
                    let (reader, stdout) = io::pipe().expect("a pipe");
                    let mut command = Command::new("cat");
                    command
                        .stdin(Input::file(stdin))
                        .stdout(Output::file(stdout));
                    let id = start(&mut reactor, &mut command);
                    relay(writer, reader);
                    assert!(wait(&mut reactor, id).success());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
}
