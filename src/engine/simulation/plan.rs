//! What a simulated command does, and how it is started: chosen at random, and kept to be checked against.
//! Unaware of the loop.

mod choices;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::streams::{Shelf, Sink, Source, Stalled};
use crate::cancel::Cancel;
use crate::command::Command;
use crate::error::Cause;
use crate::finished::CommandId;
use crate::stdio::{Input, Output};
use crate::sys::simulated::{Act, Random, Script, prefix};
use crate::sys::{Signal, TerminalSize};
use choices::{
    forget_input, random_acts, random_feed, random_reaction, random_stop, random_takes, traffic,
};

/// The pools of a simulation.
pub(super) const POOLS: [&str; 2] = ["narrow", "wide"];

/// Where a stdin comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    Null,
    Bytes(usize),
    Reader {
        bytes: usize,
        fails_at: usize,
    },
    /// A reader that gives so many bytes, and then never says anything again.
    Stalled(usize),
    Caller,
}

/// Where an output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    Null,
    Capture,
    Ends(usize),
    /// It fails once it has taken so many bytes.
    Writer(usize),
    /// It panics at the line of this number.
    Lines(usize),
    Caller,
}

/// What happens to a command that is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Kill,
    Nothing,
    Signal(Signal),
    /// A callback that sends SIGTERM, or not, and returns this error number, if not 0.
    Callback {
        sends: bool,
        error: i32,
    },
}

/// One command of a simulation: what it is, and what the driver did to it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) program: usize,
    pub(super) script: Script,
    pub(super) feed: Feed,
    pub(super) takes: [Take; 2],
    pub(super) is_merged: bool,
    pub(super) stop: Stop,
    pub(super) rungs: usize,
    /// It leads a group, and signals go to that.
    pub(super) is_group: bool,
    /// Who is left of its group goes with it.
    pub(super) sweeps: bool,
    /// Its writer takes its time, and panics when it is dropped.
    pub(super) is_rude: bool,
    pub(super) wait_delay: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) leak_timeout: Option<Duration>,
    pub(super) output_limit: Option<u64>,
    pub(super) slow_after: Option<Duration>,
    /// How often it was said to be slow since this start, as it may be started again.
    pub(super) slow_notices: (Option<Instant>, u32),
    pub(super) context: Option<usize>,
    /// Its pool by name, its priority and its weight.
    pub(super) pool: Option<&'static str>,
    pub(super) priority: i32,
    pub(super) weight: u32,
    /// The queue counts for the deadline of its context.
    pub(super) counts_queue: bool,
    /// The reactor's end lets it go.
    pub(super) survives: bool,
    /// When it was queued by the driver itself.
    pub(super) queued: Option<Instant>,
    pub(super) got: [Shelf; 2],
    pub(super) fed: Shelf,
    /// How often the cancel callback was called.
    pub(super) callbacks: Arc<Mutex<usize>>,
    pub(super) id: Option<CommandId>,
    /// Sent by a handle.
    pub(super) is_sent: bool,
    /// Its `Finished` goes to a reply.
    pub(super) has_reply: bool,
    pub(super) is_detached: bool,
    pub(super) is_over: bool,
    /// Requests to end it: when, why, and whether by force.
    pub(super) requests: Vec<(Instant, Cause, bool)>,
    /// Signals that the driver has sent to it.
    pub(super) signals: usize,
    /// How much the driver has read of its pipe.
    pub(super) callers_read: usize,
    /// How much the driver has written to its pipe.
    pub(super) callers_written: usize,
}

impl Job {
    /// Chooses one. `program` is the number that its script will have; one in `callers_one_in` may have a pipe of its caller's.
    pub(super) fn random(
        random: &mut Random,
        program: usize,
        contexts: usize,
        callers_one_in: usize,
    ) -> Job {
        let is_callers = random.one_in(callers_one_in);
        let feed = random_feed(random, is_callers);
        let takes = random_takes(random, is_callers);
        let is_large = random.one_in(20);
        let mut script = Script {
            acts: random_acts(random, feed, is_large, 2),
            reaction: random_reaction(random),
            survives_pipe: random.one_in(4),
            writes_packets: random.one_in(8),
            is_foreign: !is_callers && random.one_in(25),
            loses_status: random.one_in(25),
            early_exits: if random.one_in(10) {
                random.below(6)
            } else {
                0
            },
            busy_times: if random.one_in(15) {
                random.below(10)
            } else {
                0
            },
            // Of a few commands, so that no seed's choices change by it.
            refusals: usize::from(program % 11 == 5),
            traffic: 0,
            exec_takes: None,
            stopped_for: None,
            exec_error: random.one_in(30).then_some(libc::EACCES),
            clone_error: random
                .one_in(60)
                .then(|| *random.pick(&[libc::EAGAIN, libc::ENOSPC])),
        };
        script.traffic = traffic(&script.acts).max(match feed {
            Feed::Bytes(bytes) | Feed::Reader { bytes, .. } | Feed::Stalled(bytes) => bytes,
            Feed::Null | Feed::Caller => 0,
        });
        if let Feed::Stalled(_) = feed {
            forget_input(&mut script.acts);
        }
        if is_callers {
            // An end that the caller has seen is the end.
            script.acts.retain(|act| !matches!(act, Act::Reopen(_)));
        }
        if feed == Feed::Caller {
            script.acts.insert(0, Act::Read(None));
        }
        // Why one that is tried again was never started, cannot be told from outside then.
        let counts_queue = script.busy_times > 0 || random.one_in(2) || script.refusals > 0;
        let delay = |random: &mut Random| Duration::from_micros(1 + random.below(40_000) as u64);
        let after = |random: &mut Random, one_in| random.one_in(one_in).then(|| delay(random));
        let stop = if is_callers {
            Stop::Kill
        } else {
            random_stop(random)
        };
        // What outlives a command may wait for its caller to read, who waits for the command.
        let wait_delay =
            after(random, if is_callers { 1 } else { 2 }).filter(|delay| !delay.is_zero());
        // A caller may stop to serve his pipe; the command must not wait for ever then.
        let timeout = if is_callers {
            Some(Duration::from_millis(50 + random.below(200) as u64))
        } else {
            after(random, 5)
        };
        if random.one_in(25) {
            // Where nothing would kill it, somebody lets it go on.
            let is_ended = wait_delay.is_some() && timeout.is_some() && !script.is_foreign;
            script.stopped_for = Some(if is_ended && random.one_in(2) {
                Duration::MAX
            } else {
                Duration::from_micros(random.below(2_000_000) as u64)
            });
        }
        let mut job = Job {
            program,
            script,
            feed,
            takes,
            is_merged: takes[1] == Take::Null && random.one_in(4),
            stop,
            rungs: if random.one_in(6) {
                1 + random.below(3)
            } else {
                0
            },
            is_group: random.one_in(6),
            sweeps: random.one_in(3),
            is_rude: random.one_in(8),
            wait_delay,
            timeout,
            idle_timeout: after(random, 8),
            leak_timeout: after(random, 8),
            output_limit: random.one_in(8).then(|| random.below(6_000) as u64),
            slow_after: after(random, 8),
            slow_notices: (None, 0),
            context: (contexts > 0 && random.one_in(3)).then(|| random.below(contexts)),
            pool: random.one_in(3).then(|| *random.pick(&POOLS)),
            priority: if random.one_in(4) {
                random.below(3) as i32 - 1
            } else {
                0
            },
            weight: if random.one_in(5) {
                1 + random.below(4) as u32
            } else {
                1
            },
            counts_queue,
            survives: random.one_in(4),
            queued: None,
            got: Default::default(),
            fed: Shelf::default(),
            callbacks: Arc::default(),
            id: None,
            is_sent: false,
            has_reply: false,
            is_detached: false,
            is_over: false,
            requests: Vec::new(),
            signals: 0,
            callers_read: 0,
            callers_written: 0,
        };
        if job.has_console() {
            let acts = &mut job.script.acts;
            acts.insert(acts.len() / 2, Act::Stop);
        }
        job
    }

    /// Of some that lead a group, so that no seed's choices change by it.
    pub(super) fn has_console(&self) -> bool {
        self.is_group && self.pool.is_none() && self.program.is_multiple_of(2)
    }

    pub(super) fn has_callers_pipe(&self) -> bool {
        self.feed == Feed::Caller || self.takes.contains(&Take::Caller)
    }

    /// The pool in which it waits.
    pub(super) fn pool_name(&self) -> Option<&'static str> {
        if self.has_console() {
            Some("console")
        } else {
            self.pool
        }
    }

    /// The command that it is started by. `number` names it to whoever resumes it.
    pub(super) fn command(&self, path: &str, number: usize, random: &mut Random) -> Command {
        let mut command = Command::new(path);
        command.data(number);
        let stdin = match self.feed {
            Feed::Null => Input::null(),
            Feed::Bytes(bytes) => Input::bytes(prefix(self.program, bytes)),
            Feed::Reader { bytes, fails_at } => Input::reader(Source {
                key: self.program,
                at: 0,
                bytes,
                fails_at,
                number,
                random: random.split(),
                shelf: Arc::clone(&self.fed),
            }),
            Feed::Stalled(bytes) => Input::reader(Stalled(prefix(self.program, bytes))),
            Feed::Caller => Input::pipe(),
        };
        let is_typed = self.is_on_terminal(0) && self.program.is_multiple_of(2);
        command.stdin(if is_typed { stdin.terminal() } else { stdin });
        command.stdout(self.output(0, number, random));
        if self.is_merged {
            command.stderr_to_stdout(true);
        } else {
            command.stderr(self.output(1, number, random));
        }
        let cancel = self.cancel(random);
        if self.is_group {
            command
                .process_group(0)
                .sweep_group(self.sweeps)
                .on_cancel(cancel.to_group());
        } else {
            command.on_cancel(cancel);
        }
        command
            .console(self.has_console())
            .priority(self.priority)
            .weight(self.weight)
            .deadline_counts_queue(self.counts_queue)
            .kill_on_drop(!self.survives);
        if let Some(pool) = self.pool {
            command.pool(pool);
        }
        if let Some(delay) = self.wait_delay {
            command.wait_delay(delay);
        }
        if let Some(timeout) = self.timeout {
            command.timeout(timeout);
        }
        if let Some(timeout) = self.leak_timeout {
            command.leak_timeout(timeout);
        }
        if let Some(bytes) = self.output_limit {
            command.output_limit(bytes);
        }
        if let Some(period) = self.slow_after {
            command.slow_after(period);
        }
        if let Some(timeout) = self.idle_timeout
            && self.takes != [Take::Null; 2]
        {
            command.idle_timeout(timeout);
        }
        command
    }

    /// One of its outputs is a terminal: of every seventh command, so that no seed's choices change by it.
    pub(super) fn is_on_terminal(&self, which: usize) -> bool {
        self.program % 7 == 3 && self.takes[which] != Take::Null
    }

    fn output(&self, which: usize, number: usize, random: &mut Random) -> Output {
        let output = self.piped_output(which, number, random);
        if self.is_on_terminal(which) {
            output.terminal(TerminalSize::default())
        } else {
            output
        }
    }

    fn piped_output(&self, which: usize, number: usize, random: &mut Random) -> Output {
        let shelf = Arc::clone(&self.got[which]);
        match self.takes[which] {
            Take::Null => Output::null(),
            Take::Capture => Output::capture(),
            Take::Ends(bytes) => Output::capture_ends(bytes),
            Take::Caller => Output::pipe(),
            Take::Writer(fails_at) => Output::writer(Sink {
                fails_at,
                number,
                is_rude: self.is_rude,
                random: random.split(),
                shelf,
            }),
            Take::Lines(panics_at) => Output::lines(move |line| {
                let mut got = shelf.lock().expect("no panic while it is locked");
                if got.lines.len() == panics_at {
                    got.has_failed = true;
                    drop(got);
                    // Without the hook, which would print it.
                    std::panic::resume_unwind(Box::new("at a line"));
                }
                got.lines.push(line.to_vec());
            }),
        }
    }

    fn cancel(&self, random: &mut Random) -> Cancel {
        let mut cancel = match self.stop {
            Stop::Kill => Cancel::kill(),
            Stop::Nothing => return Cancel::nothing(),
            Stop::Signal(signal) => Cancel::signal(signal),
            Stop::Callback { sends, error } => {
                let calls = Arc::clone(&self.callbacks);
                Cancel::with(move |child| {
                    *calls.lock().expect("no panic while it is locked") += 1;
                    if sends {
                        // What it answers is not this callback's to tell.
                        let _ = child.signal(Signal::TERM);
                    }
                    if error == 0 {
                        Ok(())
                    } else {
                        Err(io::Error::from_raw_os_error(error))
                    }
                })
            }
        };
        for _ in 0..self.rungs {
            let after = Duration::from_micros(random.below(10_000) as u64);
            cancel = cancel.then(
                after,
                *random.pick(&[Signal::TERM, Signal::INT, Signal::HUP]),
            );
        }
        cancel
    }
}
