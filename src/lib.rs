//! Runs thousands of child processes from one thread, with the semantics of Go's `os/exec`.
//!
//! A [`Reactor`] sleeps on the pipes of its commands, a pidfd for each exit and one timer at once (epoll, poll), and drives
//! each command by a state machine. There is no thread per command, and none at all behind your back. A command can be
//! [asked](Command::interrupt) to stop before it is killed; with a [wait delay](Command::wait_delay) neither it nor a
//! pipe that an orphan holds can hang the caller; a start costs about the same beside one child or 1,000, and however many
//! descriptors were opened after the reactor.
//!
//! ```
//! use execloop::{Command, Context, Output, Reactor, Signal};
//! use std::time::Duration;
//!
//! let build = Context::new(); // cancel it from any thread
//! let mut reactor = Reactor::builder().max_running(64).build()?;
//! for unit in ["one", "two", "three"] {
//!     reactor.start(
//!         Command::new("echo")
//!             .args(["compiling", unit])
//!             .stdout(Output::capture())
//!             .stderr_to_stdout(true) // one pipe, order kept
//!             .context(&build)
//!             .interrupt(Signal::TERM) // first ask ..
//!             .wait_delay(Duration::from_secs(5)), // .. then kill, and never hang on a held pipe
//!     )?;
//! }
//! while let Some(done) = reactor.wait_any()? {
//!     match &done.outcome {
//!         Ok(()) => println!("{} ok in {:?}", done.id, done.elapsed()),
//!         Err(error) => eprintln!("{}: {error}\n{}", done.id, String::from_utf8_lossy(&done.stdout)),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where things are
//!
//! - [The guide](guide), from one command to ten thousand, and [the cookbook](cookbook), with a page of error messages.
//! - [`Command`], [`Input`], [`Output`]: what to run. [`Command::run`], [`Command::output`] and
//!   [`Command::combined_output`] are the forms for a single one.
//! - [`Reactor`], [`Handle`]: many at once. [`Finished`], [`Usage`]: what became of each.
//! - [`Context`], [`Cancel`], [`Signal`]: ending them.
//! - [`jobserver`]: one limit shared with make, cargo and ninja. [`linux`]: cgroups, namespaces, limits, orphans.
//! - [`Event`], [`Observer`], [`Stats`]: seeing what happens. [`Pending`]: a result as a future, or by a call that
//!   blocks.
//! - [`StartError`], [`Error`], [`LookPathError`]: what can go wrong, kind by kind. [`CommandError`]: the same of a
//!   single one, with the program's name and its output.
//!
//! # Errors
//!
//! Each error's text holds its reason (`exec /no/such: No such file or directory`), and what the text holds is no
//! source: who prints an error with all its [sources](std::error::Error::source) reads nothing twice. `io_error` gives
//! the [`io::Error`](std::io::Error) that it is about, `raw_os_error` the error number, `kind` the kind, and each
//! becomes an `io::Error` of that kind by `From`.
//!
//! # What it does not do
//!
//! No shell, no glob, no pipeline syntax; no Windows; no thread per command. Two reactors in one process do not know of
//! each other, and neither owns SIGCHLD; what they share is a counter for their ids, and what a process has only once:
//! its limit of descriptors ([`ReactorBuilder::raise_fd_limit`]) and its dumpable flag (a child with another
//! [user](Command::uid)).

mod admission;
mod brakes;
mod caller_pipe;
mod cancel;
mod command;
mod context;
mod data;
mod deadlines;
mod diagnose;
mod engine;
mod env;
mod error;
mod finished;
mod forms;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod handle;
mod head_tail;
mod holders;
mod inbox;
mod job;
pub mod jobserver;
mod lines;
pub mod linux;
mod lookpath;
mod loop_clock;
mod observer;
mod orphans;
mod permits;
mod pipe_limits;
mod pipes;
mod plain;
mod queue;
mod reactor;
mod reply;
mod running;
mod stdio;
mod stream;
#[allow(unsafe_code, reason = "the one fence: every unsafe block is below it")]
mod sys;
mod table;
#[cfg(test)]
#[path = "../tests/common/watchdog.rs"]
mod watchdog;
mod watches;

// The books, for docs.rs, and for the compiler, which runs their programs as tests. What a page calls `[cookbook]`
// leads to a file of the repository in its own last lines; here the first definition counts.

/// From one command to ten thousand: for who embeds the library.
///
/// [cookbook]: crate::cookbook
/// [colours]: crate::cookbook#colours
/// [ctrl-c]: crate::cookbook#ctrl-c
/// [dead]: crate::cookbook#what-a-dead-parent-leaves
/// [embedding]: https://github.com/execloop/execloop/blob/main/docs/embedding.md
/// [limits]: crate::cookbook#limits
/// [performance]: https://github.com/execloop/execloop/blob/main/docs/performance.md
/// [trees]: crate::cookbook#trees-that-must-die
#[cfg(doc)]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

/// Recipes, and a page of error messages.
///
/// [embedding]: https://github.com/execloop/execloop/blob/main/docs/embedding.md
/// [guide]: crate::guide
#[cfg(doc)]
#[doc = include_str!("../docs/cookbook.md")]
pub mod cookbook {}

pub use cancel::{Cancel, CancelTarget};
pub use command::Command;
pub use context::Context;
pub use error::{
    CallbackPanicked, Cause, CommandError, Error, ExitError, NotRunning, StartError, Stream,
};
pub use finished::{CommandId, Finished, Usage};
pub use handle::Handle;
pub use lines::Lines;
pub use lookpath::{LookPathError, look_path, look_path_in};
pub use observer::{Observer, Stats};
pub use pipes::{StdinPipe, StdoutPipe};
pub use reactor::{Event, Reactor, ReactorBuilder, Turn};
pub use reply::Pending;
pub use stdio::{Input, Output};
#[cfg(feature = "cli")]
#[doc(hidden)]
pub use sys::program;
pub use sys::{Signal, SignalParseError, StartStep, TerminalSize};
