//! What simulated processes do, as data.
//! Unaware of when and how they do it.

use std::rc::Rc;
use std::time::Duration;

/// One act of a process.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Writes so many bytes to descriptor 1 or 2.
    Write(usize, usize),
    /// Reads so many bytes of stdin; `None`: to its end.
    Read(Option<usize>),
    Sleep(Duration),
    /// Closes descriptor 0, 1 or 2.
    Close(usize),
    /// Joins another group than the one that it was put into.
    LeaveGroup,
    /// Opens again what it has closed there.
    Reopen(usize),
    /// Is stopped by the terminal that it has, until somebody notices.
    Stop,
    /// Starts a process of its own that holds its descriptors.
    Fork(Rc<Script>),
    Exit(i32),
    /// A signal of its own making ends it.
    Die(i32),
}

/// What a process does with a signal that is not SIGKILL.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaction {
    Die,
    Ignore,
    /// It has a handler, which takes its time and exits.
    Exit(Duration, i32),
}

/// A program.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) acts: Vec<Act>,
    pub(crate) reaction: Reaction,
    /// It goes on when its output has no reader.
    pub(crate) survives_pipe: bool,
    /// Each write is a packet, and is read by itself.
    pub(crate) writes_packets: bool,
    /// It takes another identity: signals are refused.
    pub(crate) is_foreign: bool,
    /// Somebody else reaps it.
    pub(crate) loses_status: bool,
    /// How often its exit is announced and not yet to be had.
    pub(crate) early_exits: usize,
    /// How often its file is busy before it can be executed.
    pub(crate) busy_times: usize,
    /// How often a way of starting is refused to it that is not tried again.
    pub(crate) refusals: usize,
    /// How many bytes one of its pipes will see at most: none is so small that this takes for ever.
    pub(crate) traffic: usize,
    /// How long its exec takes, where that is not left to chance and where starts return before it.
    pub(crate) exec_takes: Option<Duration>,
    /// Somebody stops its process before the exec, for so long.
    pub(crate) stopped_for: Option<Duration>,
    /// Its exec fails with this error number.
    pub(crate) exec_error: Option<i32>,
    /// Its process is never made, for this reason.
    pub(crate) clone_error: Option<i32>,
}

impl Default for Script {
    /// Exits with 0 at once.
    fn default() -> Script {
        Script {
            acts: Vec::new(),
            reaction: Reaction::Die,
            survives_pipe: false,
            writes_packets: false,
            is_foreign: false,
            loses_status: false,
            early_exits: 0,
            busy_times: 0,
            refusals: 0,
            traffic: 0,
            exec_takes: None,
            stopped_for: None,
            exec_error: None,
            clone_error: None,
        }
    }
}

/// How hostile the kernel is. Each number is "one in so many"; 0 is never.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    /// Reads, writes and reaps are interrupted.
    pub(crate) interrupts: usize,
    /// Polls return without a reason.
    pub(crate) early_polls: usize,
    /// Polls fail.
    pub(crate) poll_errors: usize,
    /// The timer is refused.
    pub(crate) arm_errors: usize,
    /// Reaps fail for a while.
    pub(crate) reap_errors: usize,
    /// The first read of a terminal that is closed, with bytes left in it, says that it is over.
    pub(crate) hasty_ends: usize,
    /// Reads fail, for good.
    pub(crate) read_errors: usize,
    /// Events come that nothing has happened for.
    pub(crate) spurious: usize,
    /// Closed pipes and children leave an event behind.
    pub(crate) stale: usize,
    /// There is no room for a pipe or an exit in the set of what is watched.
    pub(crate) unwatched: usize,
    /// Starts find the kernel short of something.
    pub(crate) shortages: usize,
    /// Starts take their time, in the kernel.
    pub(crate) slow_starts: usize,
    /// Starts return before the program is executed.
    pub(crate) late_execs: usize,
    /// How many of those can be under way, at least 1.
    pub(crate) starts_max: usize,
    /// Reads find nothing and writes no room, against the truth.
    pub(crate) refusals: usize,
    /// Writes take less than there is room for.
    pub(crate) short_writes: usize,
    /// The batch is given in another order.
    pub(crate) shuffles: usize,
    /// Exits are announced as by a kqueue, and children have no pidfds.
    pub(crate) by_kqueue: bool,
    /// That nobody has a terminal any more is not announced, as by a kqueue.
    pub(crate) silent_ends: bool,
    /// A group can be signalled after its leader was reaped. Never without pidfds.
    pub(crate) finds_groups: bool,
    /// How many events one poll gives, at least 1.
    pub(crate) batch_max: usize,
    /// The sizes that pipes have.
    pub(crate) pipe_bytes: Vec<usize>,
    /// How many descriptors there are for us.
    pub(crate) fds_max: usize,
}
