//! What a command carries for its caller, and what a command is once more: a second start, a clone, one start of it.
//! Unaware of how commands end.

use super::*;

use execloop::Handle;

#[track_caller]
fn assert_consumed(started: Result<CommandId, StartError>, what: &str) {
    match started {
        Err(StartError::Consumed { stream }) => assert_eq!(stream, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn data_travels_with_its_command_and_comes_back_whatever_happens() {
    let (mut reactor, stay, first) = full();
    let mut carry = |mut command: Command, data: &str| {
        start(&mut reactor, command.data(data.to_owned()));
    };
    carry(shell("exit 0"), "succeeds");
    carry(shell("exit 7"), "fails");
    carry(Command::new("/nonexistent/program"), "cannot start");
    let mut queued = shell("exit 0");
    let cancelled = start(&mut reactor, queued.data("cancelled".to_owned()));
    assert!(reactor.cancel(cancelled));
    reactor.submit(Command::new("").data("refused".to_owned()));
    let handle = reactor.handle();
    let _ = handle.start(shell("exit 0").data("sent".to_owned()));
    let _ = handle.start(Command::new("").data("sent and refused".to_owned()));
    drop(stay);
    let mut told = BTreeSet::new();
    while let Some(mut done) = reactor.wait_any().expect("poll") {
        if done.id == first {
            assert_eq!(done.take_data::<String>(), None, "it was given nothing");
            continue;
        }
        assert_eq!(done.take_data::<u32>(), None, "it is no number");
        told.insert(done.take_data::<String>().expect("its own"));
        assert_eq!(done.take_data::<String>(), None, "it was taken");
    }
    let expected = [
        "cancelled",
        "cannot start",
        "fails",
        "refused",
        "sent",
        "sent and refused",
        "succeeds",
    ];
    assert!(told.iter().eq(expected), "{told:?}");
}

#[test]
fn data_goes_to_who_waits_for_the_command_and_to_a_shut_down() {
    let mut reactor = reactor();
    let handle = reactor.handle();
    let (sender, receiver) = std::sync::mpsc::channel();
    for data in [7_u8, 8] {
        let sender = sender.clone();
        handle.run_then(shell("exit 0").data(data), move |mut done| {
            sender.send(done.take_data::<u8>()).expect("heard");
        });
    }
    let sleeper = start(&mut reactor, Command::new("sleep").arg("1000").data(9_u8));
    let mut heard = BTreeSet::new();
    while heard.len() < 2 {
        reactor.turn(None).expect("turn");
        heard.extend(receiver.try_iter());
    }
    assert!(heard.iter().eq(&[Some(7), Some(8)]), "{heard:?}");
    let unheard = handle.start(shell("exit 0").data(10_u8));
    let mut told = reactor.shutdown().expect("poll");
    let mut told: Vec<_> = told
        .iter_mut()
        .map(|done| (Some(done.id), done.take_data::<u8>()))
        .collect();
    told.sort();
    assert_eq!(told, [(Some(sleeper), Some(9)), (unheard, Some(10))]);
}

#[test]
fn data_of_a_command_that_nobody_hears_of_is_dropped() {
    let mut reactor = reactor();
    let (detached, left) = (std::sync::Arc::new(()), std::sync::Arc::new(()));
    let mut stays = [Stay::new(&[]), Stay::new(&[])];
    let [first, second] = &mut stays;
    first.command.data(std::sync::Arc::clone(&detached));
    second.command.data(std::sync::Arc::clone(&left));
    let id = start(&mut reactor, &mut first.command);
    start(&mut reactor, &mut second.command);
    first.pid();
    reactor.detach(id).expect("it runs");
    assert_eq!(std::sync::Arc::strong_count(&detached), 1);
    assert_eq!(std::sync::Arc::strong_count(&left), 2);
    drop(reactor);
    assert_eq!(std::sync::Arc::strong_count(&left), 1);
    first.release();
}

#[test]
fn a_refused_start_leaves_the_data_and_a_second_start_has_none() {
    let mut reactor = reactor();
    let context = Context::new();
    context.cancel();
    let mut command = shell("exit 0");
    command.data("mine").context(&context);
    assert!(reactor.start(&mut command).is_err());
    command.context(&Context::new());
    let id = start(&mut reactor, &mut command);
    assert_eq!(wait(&mut reactor, id).take_data(), Some("mine"));
    assert_consumed(reactor.start(&mut command), "data");
    let id = start(&mut reactor, command.data("anew"));
    assert_eq!(wait(&mut reactor, id).take_data(), Some("anew"));
}

/// A command with one thing of each kind that is for one start, and the streams' other ends.
fn one_shots() -> (Command, PipeReader) {
    let (out, writer) = io::pipe().expect("a pipe");
    let mut command = shell("read line; echo $0 $line $NAME $PWD; echo x >&3");
    command
        .arg("shell")
        .env("NAME", "value")
        .current_dir("/")
        .stdin(Input::reader(&b"line\n"[..]))
        .stdout(Output::capture())
        .extra_fd(3, writer)
        .data(1_u8);
    (command, out)
}

const SAID: &[u8] = b"shell line value /\n";

#[test]
fn a_clone_starts_as_the_original_would_the_second_time() {
    let mut reactor = reactor();
    let (mut command, mut out) = one_shots();
    let mut clone = command.clone();
    assert_eq!(format!("{clone}"), format!("{command}"));
    assert_consumed(reactor.start(&mut clone), "stdin");
    clone.stdin(Input::bytes(*b"line\n"));
    assert_consumed(reactor.start(&mut clone), "data");
    clone.data(2_u8);
    assert_consumed(reactor.start(&mut clone), "extra descriptor 3");
    clone.close_fd(3);
    let id = start(&mut reactor, &mut clone);
    let mut done = wait(&mut reactor, id);
    assert_eq!(
        (done.stdout.clone(), done.take_data()),
        (SAID.to_vec(), Some(2_u8))
    );
    // The original has lost nothing.
    let id = start(&mut reactor, &mut command);
    let mut done = wait(&mut reactor, id);
    assert_eq!(
        (done.stdout.clone(), done.take_data()),
        (SAID.to_vec(), Some(1_u8))
    );
    let mut said = String::new();
    out.read_to_string(&mut said).expect("to its end");
    assert_eq!(said, "x\n");
}

#[test]
fn a_clone_has_limits_attributes_and_context_of_the_original() {
    let mut reactor = reactor();
    let context = Context::new();
    let mut command = shell("kill -INT $$; sleep 1000");
    command
        .process_group(0)
        .on_cancel(Cancel::signal(Signal::TERM).to_group())
        .timeout(Duration::from_millis(10))
        .context(&context);
    let mut clone = command.clone();
    assert!(clone.get_context().is_some());
    clone.context(&Context::new());
    let mut sleeper = Command::new("sleep");
    sleeper.arg("1000").timeout(Duration::from_millis(10));
    let id = start(&mut reactor, &mut sleeper.clone());
    let error = wait(&mut reactor, id).outcome.expect_err("timed out");
    assert_eq!(error.cause(), Some(Cause::Timeout));
    context.cancel();
    assert!(reactor.start(&mut command).is_err(), "its context");
    start(&mut reactor, &mut clone);
}

#[test]
fn a_handle_takes_one_start_of_a_command_by_reference() {
    let mut reactor = reactor();
    let (mut command, _out) = one_shots();
    let sends: [fn(&Handle, &mut Command) -> Option<CommandId>; 2] = [
        |handle, command| handle.start(command),
        |handle, command| handle.start(command.clone()),
    ];
    let handle = reactor.handle();
    let first = sends[0](&handle, &mut command).expect("sent");
    assert_eq!(wait(&mut reactor, first).stdout, SAID);
    for send in sends {
        let second = send(&handle, &mut command).expect("sent");
        let done = wait(&mut reactor, second);
        let is_consumed = matches!(done.outcome, Err(Error::Start(StartError::Consumed { .. })));
        assert!(is_consumed, "{done:?}");
    }
}
