//! A program under make or cargo: a client of their jobserver.
//! Unaware of how that was told to it.

use std::ffi::OsString;
use std::process::ExitCode;

use execloop::jobserver::Jobserver;
use execloop::{Command, Input, Reactor};

/// Starts so many commands, and ends them once so many run at once as there are to be.
pub(crate) fn client(arguments: &[OsString]) -> ExitCode {
    let number = |at: usize| arguments[at].to_str().and_then(|text| text.parse().ok());
    let (jobs, commands): (usize, usize) = number(0).zip(number(1)).expect("two numbers");
    let jobserver = match Jobserver::from_env() {
        Ok(Some(jobserver)) => jobserver,
        other => {
            println!("no jobserver: {other:?}");
            return ExitCode::FAILURE;
        }
    };
    let mut reactor = Reactor::builder()
        .jobserver(&jobserver)
        .build()
        .expect("a reactor");
    let ids: Vec<_> = (0..commands)
        .map(|_| reactor.start(Command::new("cat").stdin(Input::pipe())))
        .map(|started| started.expect("start"))
        .collect();
    while reactor.running() < jobs {
        reactor.turn(None).expect("poll");
    }
    for id in ids {
        reactor.stdin(id).expect("a pipe").close();
    }
    while let Some(done) = reactor.wait_any().expect("poll") {
        assert!(done.success(), "{:?}", done.outcome);
        assert!(reactor.running() <= jobs, "{} at once", reactor.running());
    }
    println!("{commands} commands, {jobs} at once");
    ExitCode::SUCCESS
}
