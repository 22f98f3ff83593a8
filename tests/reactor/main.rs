//! The reactor's calls, subject by subject: who is started, told, asked, killed, let go, and handed out.
//! Unaware of outcomes' fine print, which `matrix.rs` holds. Here is what the subjects share.

#[path = "../common"]
mod common {
    pub mod helper;
    pub mod helper_path;
    pub mod scratch;
    pub mod shell;
    pub mod start_error;
    mod watchdog;
}
#[path = "../common/life.rs"]
mod life;

mod busy;
mod caller_pipes;
mod cancel;
mod data;
mod end;
mod groups;
mod hand_out;
mod handle;
mod notices;
mod observe;
mod pools;
mod queue;
mod run;
mod signals;
mod time_limits;

use std::collections::BTreeSet;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use execloop::{
    Cancel, Cause, Command, CommandId, Context, Error, Finished, Input, NotRunning, Output,
    Reactor, Signal, StartError, StartStep,
};

use common::scratch::Scratch;
use common::shell::shell;
use common::start_error::start_error;
use life::{Shared, Stay, embed, pass_ms, signals_orphaned_groups, turn_until_reaped, wait, word};

fn reactor() -> Reactor {
    Reactor::new().expect("a reactor")
}

#[track_caller]
fn start(reactor: &mut Reactor, command: &mut Command) -> CommandId {
    reactor.start(command).expect("start")
}

#[track_caller]
fn wait_any(reactor: &mut Reactor) -> Finished {
    reactor.wait_any().expect("poll").expect("one is left")
}

fn is_gone(result: io::Result<()>) -> bool {
    result.is_err_and(|error| {
        error
            .get_ref()
            .is_some_and(|inner| inner.is::<NotRunning>())
    })
}

const NOW: Option<Duration> = Some(Duration::ZERO);

/// A reactor whose only place is taken.
fn full() -> (Reactor, Stay, CommandId) {
    let mut reactor = Reactor::builder()
        .max_running(1)
        .build()
        .expect("a reactor");
    let mut stay = Stay::new(&[]);
    let id = start(&mut reactor, &mut stay.command);
    stay.pid();
    (reactor, stay, id)
}

#[track_caller]
fn assert_unstarted(done: &Finished, cause: Cause) {
    assert!(
        matches!(done.outcome, Err(Error::Start(StartError::Stopped(told))) if told == cause),
        "{:?}",
        done.outcome
    );
    assert_eq!(
        done.outcome.as_ref().err().and_then(Error::cause),
        Some(cause)
    );
    assert_eq!((done.pid, done.status, done.started), (None, None, None));
}
