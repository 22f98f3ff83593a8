//! The reactor's calls, subject by subject: who is started, told, asked, killed, let go, and handed out.
//! Unaware of outcomes' fine print, which `matrix.rs` holds. Here is what the subjects share.

#[path = "../common"]
mod common {
    mod alive;
    pub mod embed;
    mod gone;
    pub mod helper;
    pub mod helper_path;
    pub mod kernel;
    mod leash;
    pub mod now;
    mod orphan;
    mod orphan_pid;
    pub mod pass;
    pub mod reaped;
    pub mod scratch;
    pub mod shared;
    pub mod shell;
    pub mod start_error;
    pub mod stay;
    pub mod unseen;
    pub mod wait;
    mod watchdog;
    pub mod word;
}

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
mod orphans;
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

use common::embed::embed;
use common::pass::pass_ms;
use common::reaped::turn_until_reaped;
use common::scratch::Scratch;
use common::shared::Shared;
use common::shell::shell;
use common::start_error::start_error;
use common::stay::Stay;
use common::wait::wait;
use common::word::word;

impl Shared {
    /// Turns until this much has come.
    #[track_caller]
    fn turn_until(&self, reactor: &mut Reactor, text: &str) {
        while !self.text().contains(text) {
            reactor.turn(None).expect("turn");
        }
    }
}

/// Whether the kernel can signal what is left of a group whose leader was reaped. Says so if not.
fn signals_orphaned_groups() -> bool {
    let signals = !cfg!(execloop_kqueue_shim) && common::kernel::kernel_is_at_least((6, 9));
    if !signals {
        eprintln!("skipped: before Linux 6.9 nothing names a group whose leader was reaped");
    }
    signals
}

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
