//! The life of one command as a pure state machine: events in, effects out. The time limits are here, the wait before a
//! kill and before pipes are cut (`wait_delay`), and the outcome.
//! Unaware of system calls, of the clock, of mio and of what a stream carries.
//!
//! The rules are those of Go's `Cmd.Wait` with `Cancel` and `WaitDelay`; `docs/semantics.md` has the table.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Cause, Error, ExitError, is_panic};
use crate::guard::drop_callers;
use crate::sys;
use crate::sys::Stream;

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;

/// What a command wants done about its end. Shared by all starts of one `Command`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// The cancel action does nothing, so without a wait delay the context means nothing to a running command.
    pub(crate) ignores_context: bool,
    /// When each further rung of the cancel ladder is due, after the one before.
    pub(crate) rungs: Vec<Duration>,
    pub(crate) wait_delay: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    /// How much it may write to its outputs.
    pub(crate) output_limit: Option<u64>,
    /// How long its pipes may be held, once they were read after its exit. `None`: the wait delay is for both.
    pub(crate) leak_timeout: Option<Duration>,
    /// How often the command is reported as still running.
    pub(crate) slow_after: Option<Duration>,
    /// Who holds a pipe that is cut is looked up.
    pub(crate) names_holders: bool,
    /// Signals go to the process group that the child leads, and so does the kill.
    pub(crate) kills_group: bool,
    /// Who is left of that group is killed when the child is reaped, whatever ended it.
    pub(crate) sweeps_group: bool,
}

/// How long a killed process group has to let go of the command's pipes. Only its own parent learns of a descendant's
/// death; we see no more than that the pipe ends.
pub(crate) const GROUP_DEATH_MAX: Duration = Duration::from_millis(100);

/// Something happened to the command.
#[derive(Debug)]
pub(crate) enum Event {
    /// Reaped. `None`: the status went to somebody else.
    Exited(Option<ExitStatus>),
    /// A copied stream came to its end, or failed.
    StreamEnded(Stream, io::Result<()>),
    /// A copied stream was closed by force after `DrainOnceThenClose`.
    StreamCut(Stream),
    /// The command is to stop: its context ended, a limit is over, or a caller said so.
    Stop(Cause),
    /// The command is to be killed now, and its pipes are not to be waited for.
    Abort(Cause),
    /// What the cancel action, or a later rung of its ladder, came to.
    CancelResult(io::Result<()>),
    /// What `Kill` came to.
    KillResult(io::Result<()>),
    /// A chunk of output was read.
    Output,
    /// After its exit, what this output's pipe held was read.
    Emptied(Stream),
    /// Time has passed.
    Tick,
}

/// Something is to be done for the command, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Perform the cancel action; answer with `CancelResult`.
    PerformCancel,
    /// Send the signal of this rung of the ladder; answer with `CancelResult`.
    PerformRung(usize),
    /// SIGKILL; answer with `KillResult`.
    Kill,
    /// SIGKILL to those of the child's group who outlived it. It has no answer.
    KillRest,
    /// Read each open pipe once more, without waiting, then close it, the caller's too; answer for each copied stream,
    /// with `StreamEnded` if it had ended and with `StreamCut` if not.
    DrainOnceThenClose,
    /// Everything is known: take the outcome.
    Finish,
}

/// A set of streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Streams(u8);

impl Streams {
    pub(crate) fn insert(&mut self, stream: Stream) {
        self.0 |= 1 << stream as u8;
    }

    fn remove(&mut self, stream: Stream) {
        self.0 &= !(1 << stream as u8);
    }

    pub(crate) fn contains(self, stream: Stream) -> bool {
        self.0 & 1 << stream as u8 != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Stream> {
        // Most are empty.
        let all: &[Stream] = if self.is_empty() { &[] } else { &Stream::ALL };
        let all = all.iter().copied();
        all.filter(move |stream| self.contains(*stream))
    }
}

/// Where the command stands. Each variant owns what is known only there.
#[derive(Debug)]
enum State {
    /// The command was not asked to stop.
    Running,
    /// The cancel action was performed or is being performed. At `kill_at`: kill, then close the pipes.
    Stopping {
        kill_at: Option<Instant>,
        rung: usize,
        rung_at: Option<Instant>,
    },
    /// The delay ran out, and the kill is sent. The exit is awaited: before it, the dying child itself holds its pipes.
    Killed,
    /// Reaped; copied pipes are open, as a grandchild may hold them. At `close_at` they are closed.
    Draining { close_at: Option<Instant> },
    /// Finished; a pipe that the caller reads or writes may be open. At `close_at` it is closed.
    Lingering { close_at: Option<Instant> },
    /// Finished, and the outcome may be taken.
    Done,
}

/// What came of asking the command to stop.
#[derive(Debug)]
enum Answer {
    /// Not asked, or it was done already: nothing to tell.
    Nothing,
    /// Asked; the action has not answered yet.
    Asked,
    /// Asked, without an error.
    Stopped,
    /// The action failed.
    Failed(io::Error),
    /// The kill at the end of the delay failed, which outweighs the action's failure.
    KillFailed(io::Error),
}

/// One command's life.
#[derive(Debug)]
pub(crate) struct Job {
    state: State,
    policy: Arc<Policy>,
    answer: Answer,
    cause: Option<Cause>,
    status: Option<ExitStatus>,
    /// Copied streams that are open.
    open: Streams,
    cut: Streams,
    /// Outputs that were not read since the exit, where a leak timeout waits for that.
    unread: Streams,
    /// The leak timeout counts from then on, for once.
    awaits_leaks: bool,
    /// The caller reads or writes a pipe of the command himself. Its end is not waited for.
    lends: bool,
    /// The pipes were closed by force.
    is_closed: bool,
    /// The rest of the group was killed, or all of it.
    is_group_killed: bool,
    /// Those of the group who outlived the child were killed with its end, and are dead by then.
    group_dead_at: Option<Instant>,
    /// A kill succeeded before the exit: copy errors are its consequence and are not reported.
    killed: bool,
    copy_error: Option<(Stream, io::Error)>,
    timeout_at: Option<Instant>,
    idle_at: Option<Instant>,
}

impl Job {
    /// A command that was started at `now` with these copied streams. `lends`: the caller has a pipe of it.
    pub(crate) fn new(policy: Arc<Policy>, copied: Streams, lends: bool, now: Instant) -> Job {
        let after = |delay: Option<Duration>| delay.and_then(|delay| now.checked_add(delay));
        Job {
            state: State::Running,
            answer: Answer::Nothing,
            cause: None,
            status: None,
            open: copied,
            cut: Streams::default(),
            unread: Streams::default(),
            awaits_leaks: false,
            lends,
            is_closed: false,
            is_group_killed: false,
            group_dead_at: None,
            killed: false,
            copy_error: None,
            timeout_at: after(policy.timeout),
            idle_at: after(policy.idle_timeout),
            policy,
        }
    }

    /// When the next `Tick` is due at the latest.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        match self.state {
            State::Running => self.limit_at(),
            State::Stopping {
                kill_at, rung_at, ..
            } => [kill_at, rung_at].into_iter().flatten().min(),
            State::Draining { close_at } | State::Lingering { close_at } => {
                [close_at, self.limit_at()].into_iter().flatten().min()
            }
            State::Killed | State::Done => None,
        }
    }

    /// When its own time limits ask it to stop. `None` where something has asked it already, or its pipes were closed
    /// by force.
    fn limit_at(&self) -> Option<Instant> {
        let limits = [self.timeout_at, self.idle_at].into_iter().flatten();
        limits
            .min()
            .filter(|_| self.cause.is_none() && !self.is_closed)
    }

    /// The copied streams that are open.
    pub(crate) fn open(&self) -> Streams {
        self.open
    }

    /// The streams that were closed by force.
    pub(crate) fn cut(&self) -> Streams {
        self.cut
    }

    /// Drops the errors that nobody has taken, which are the caller's: each for itself.
    pub(crate) fn drop_errors(&mut self) {
        if let Some((_, error)) = self.copy_error.take() {
            drop_callers("error", error);
        }
        let answer = std::mem::replace(&mut self.answer, Answer::Nothing);
        if let Answer::Failed(error) | Answer::KillFailed(error) = answer {
            drop_callers("error", error);
        }
    }

    /// What it wants done about its end.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Why it was asked to stop, if it was.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// The child's status, once it was reaped and unless it was lost.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// The job needs every `Output`.
    pub(crate) fn minds_silence(&self) -> bool {
        self.policy.idle_timeout.is_some()
    }

    /// How much it may write, if there is a limit.
    pub(crate) fn output_limit(&self) -> Option<u64> {
        self.policy.output_limit
    }

    /// The first failure is told, or the first panic.
    fn copy_failed(&mut self, stream: Stream, error: io::Error) {
        let is_told = self.copy_error.is_none() || is_panic(&error);
        let untold = if is_told {
            self.copy_error.replace((stream, error))
        } else {
            Some((stream, error))
        };
        drop_callers("error", untold);
    }

    /// Tells the job of one event. The only place where its state changes.
    ///
    /// The effects are to be performed in order, each answered, before any other event.
    pub(crate) fn step(&mut self, event: Event, now: Instant, effects: &mut Vec<Effect>) {
        match event {
            Event::Exited(status) => self.exited(status, now, effects),
            Event::StreamEnded(stream, result) => {
                if let Err(error) = result {
                    self.copy_failed(stream, error);
                }
                self.stream_closed(stream, now, effects);
            }
            Event::StreamCut(stream) => {
                self.cut.insert(stream);
                self.stream_closed(stream, now, effects);
            }
            Event::Stop(cause) => self.stop(cause, now, effects),
            Event::Abort(cause) => self.abort(cause, now, effects),
            Event::CancelResult(result) => self.cancel_result(result, now),
            Event::KillResult(result) => self.kill_result(result, effects),
            Event::Output => {
                self.idle_at = self
                    .policy
                    .idle_timeout
                    .and_then(|idle| now.checked_add(idle))
            }
            Event::Emptied(stream) => {
                self.unread.remove(stream);
                self.start_leak_window(now);
            }
            Event::Tick => self.tick(now, effects),
        }
    }

    fn exited(&mut self, status: Option<ExitStatus>, now: Instant, effects: &mut Vec<Effect>) {
        let delay_from_now = || {
            self.policy
                .wait_delay
                .and_then(|delay| now.checked_add(delay))
        };
        let was_killed = matches!(self.state, State::Killed) && self.policy.kills_group;
        self.group_dead_at = now
            .checked_add(GROUP_DEATH_MAX)
            .filter(|_| was_killed || self.policy.sweeps_group);
        let times_leaks = self.policy.leak_timeout.is_some();
        let close_at = match self.state {
            State::Running | State::Stopping { .. } if times_leaks => {
                self.unread = self.open;
                self.unread.remove(Stream::Stdin);
                self.awaits_leaks = true;
                None
            }
            State::Running => self.once_group_is_dead(delay_from_now()),
            // One clock: what stopping has used of the delay is not given again to the pipes.
            State::Stopping { kill_at, .. } => {
                self.once_group_is_dead(kill_at.or_else(delay_from_now))
            }
            State::Killed if self.group_dead_at.is_some() => self.group_dead_at,
            State::Killed => {
                // The child has let go of its pipes: another process holds them.
                self.close_pipes(effects);
                None
            }
            State::Draining { .. } | State::Lingering { .. } | State::Done => {
                return self.unexpected("Exited");
            }
        };
        self.status = status;
        self.state = State::Draining {
            close_at: close_at.filter(|_| !self.is_closed),
        };
        self.start_leak_window(now);
        self.finish_if_drained(effects);
    }

    /// Not before the killed group is dead: a process that is dying is not to be taken for one that holds a pipe.
    fn once_group_is_dead(&self, at: Option<Instant>) -> Option<Instant> {
        at.map(|at| self.group_dead_at.map_or(at, |dead| at.max(dead)))
    }

    /// Once all outputs were read after the exit.
    fn start_leak_window(&mut self, now: Instant) {
        if !matches!(self.state, State::Draining { .. })
            || !self.awaits_leaks
            || !self.unread.is_empty()
        {
            return;
        }
        self.awaits_leaks = false;
        let leak_timeout = self.policy.leak_timeout.filter(|_| !self.is_closed);
        let close_at = leak_timeout.and_then(|timeout| now.checked_add(timeout));
        self.state = State::Draining {
            close_at: self.once_group_is_dead(close_at),
        };
    }

    /// It waits for its outputs to be read after its exit.
    pub(crate) fn minds_emptiness(&self) -> bool {
        self.awaits_leaks
    }

    fn stream_closed(&mut self, stream: Stream, now: Instant, effects: &mut Vec<Effect>) {
        if !self.open.contains(stream) {
            return self.unexpected("StreamEnded");
        }
        self.open.remove(stream);
        self.unread.remove(stream);
        self.start_leak_window(now);
        self.finish_if_drained(effects);
    }

    fn finish_if_drained(&mut self, effects: &mut Vec<Effect>) {
        if let State::Draining { close_at } = self.state
            && self.open.is_empty()
        {
            self.state = if self.lends {
                State::Lingering { close_at }
            } else {
                State::Done
            };
            effects.push(Effect::Finish);
        }
    }

    /// By force, and once.
    fn close_pipes(&mut self, effects: &mut Vec<Effect>) {
        if !self.is_closed && (self.lends || !self.open.is_empty()) {
            self.is_closed = true;
            effects.push(Effect::DrainOnceThenClose);
        }
    }

    fn stop(&mut self, cause: Cause, now: Instant, effects: &mut Vec<Effect>) {
        match self.state {
            State::Running if self.policy.ignores_context => {
                let Some(delay) = self.policy.wait_delay else {
                    return;
                };
                self.cause = Some(cause);
                self.state = State::Stopping {
                    kill_at: now.checked_add(delay),
                    rung: 0,
                    rung_at: None,
                };
            }
            State::Running => {
                self.cause = Some(cause);
                self.answer = Answer::Asked;
                self.state = State::Stopping {
                    kill_at: None,
                    rung: 0,
                    rung_at: None,
                };
                effects.push(Effect::PerformCancel);
            }
            // The end of the pipes is on its way already: no second request shortens or repeats the first.
            State::Draining { close_at: Some(_) } | State::Lingering { close_at: Some(_) }
                if self.cause.is_some() => {}
            State::Draining { .. } | State::Lingering { .. } => {
                self.stop_draining(cause, now, effects);
            }
            State::Stopping { .. } | State::Killed | State::Done => {}
        }
    }

    fn abort(&mut self, cause: Cause, now: Instant, effects: &mut Vec<Effect>) {
        match self.state {
            State::Running | State::Stopping { .. } => {
                self.count_as_stopped(cause);
                self.kill(effects);
            }
            State::Killed => effects.push(Effect::Kill),
            State::Draining { .. } | State::Lingering { .. } => {
                self.stop_draining(cause, now, effects);
            }
            State::Done => {}
        }
    }

    fn kill(&mut self, effects: &mut Vec<Effect>) {
        self.state = State::Killed;
        self.is_group_killed = self.policy.kills_group;
        effects.push(Effect::Kill);
    }

    /// Only its pipes are left to be stopped.
    fn stop_draining(&mut self, cause: Cause, now: Instant, effects: &mut Vec<Effect>) {
        self.count_as_stopped(cause);
        let is_timed = matches!(
            self.state,
            State::Draining { close_at: Some(_) } | State::Lingering { close_at: Some(_) }
        );
        // Nothing is faster than the death of a group that is dying.
        if !(self.is_group_killed && is_timed) {
            self.end_pipes(now, effects);
        }
    }

    /// The time of the pipes is over. Whoever of the group holds them is killed first, if signals go to the group; but
    /// of a finished command no process is killed any more.
    fn end_pipes(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let is_draining = matches!(self.state, State::Draining { .. });
        let is_for_group = self.policy.kills_group && self.cause.is_some();
        let kills = is_draining && is_for_group && !self.is_group_killed;
        let is_dying = |at: &Instant| *at > now;
        let next = if kills {
            now.checked_add(GROUP_DEATH_MAX)
        } else {
            self.group_dead_at.filter(is_dying)
        };
        let next = next.filter(|_| !self.is_closed);
        if let State::Draining { close_at } | State::Lingering { close_at } = &mut self.state {
            *close_at = next;
        }
        // Nothing that is read from here on gives them more time.
        self.awaits_leaks = false;
        match next {
            Some(_) if kills => {
                self.is_group_killed = true;
                effects.push(Effect::KillRest);
            }
            Some(_) => {}
            None => self.close_pipes(effects),
        }
    }

    fn count_as_stopped(&mut self, cause: Cause) {
        self.cause = self.cause.or(Some(cause));
        if matches!(self.answer, Answer::Nothing) {
            self.answer = Answer::Stopped;
        }
    }

    fn cancel_result(&mut self, result: io::Result<()>, now: Instant) {
        if !matches!(self.state, State::Stopping { .. }) {
            return self.unexpected("CancelResult");
        }
        let is_first = matches!(self.answer, Answer::Asked);
        match result {
            Ok(()) if is_first => self.answer = Answer::Stopped,
            Err(error) if sys::is_process_gone(&error) => {
                drop_callers("error", error);
                if is_first {
                    self.answer = Answer::Nothing;
                }
            }
            Err(error) if matches!(self.answer, Answer::Asked | Answer::Stopped) => {
                self.answer = Answer::Failed(error)
            }
            Ok(()) => {}
            Err(error) => drop_callers("error", error),
        }
        // The delay starts once the action has returned.
        if let State::Stopping {
            kill_at,
            rung: 0,
            rung_at: rung_at @ None,
        } = &mut self.state
            && is_first
        {
            *kill_at = self
                .policy
                .wait_delay
                .and_then(|delay| now.checked_add(delay));
            *rung_at = self
                .policy
                .rungs
                .first()
                .and_then(|after| now.checked_add(*after));
        }
    }

    fn kill_result(&mut self, result: io::Result<()>, effects: &mut Vec<Effect>) {
        if !matches!(self.state, State::Killed) {
            return self.unexpected("KillResult");
        }
        match result {
            Ok(()) => self.killed = true,
            Err(error) if sys::is_process_gone(&error) => {}
            Err(error) => {
                self.answer = Answer::KillFailed(error);
                // When the child will exit is unknown: that its pipes break is all that is left to make it.
                self.close_pipes(effects);
            }
        }
    }

    fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let limit_at = self.limit_at();
        match &mut self.state {
            State::Draining { close_at } | State::Lingering { close_at } if is_due(*close_at) => {
                self.end_pipes(now, effects);
            }
            // After the exit, a pipe that somebody holds is ended by them as by a context.
            State::Running | State::Draining { .. } | State::Lingering { .. }
                if is_due(limit_at) =>
            {
                let cause = if self.timeout_at.take_if(|at| *at <= now).is_some() {
                    Cause::Timeout
                } else {
                    self.idle_at = None;
                    Cause::IdleTimeout
                };
                self.stop(cause, now, effects);
            }
            State::Stopping { kill_at, .. } if is_due(*kill_at) => {
                self.kill(effects);
            }
            State::Stopping { rung, rung_at, .. } if is_due(*rung_at) => {
                effects.push(Effect::PerformRung(*rung));
                *rung += 1;
                *rung_at = self
                    .policy
                    .rungs
                    .get(*rung)
                    .and_then(|after| now.checked_add(*after));
            }
            // Not due after all: deadlines only ever move away.
            _ => {}
        }
    }

    /// The child cannot be killed.
    pub(crate) fn kill_failed(&self) -> bool {
        matches!(self.answer, Answer::KillFailed(_))
    }

    /// The outcome of a command that could not be killed and is given up.
    pub(crate) fn take_kill_failure(&mut self) -> Error {
        match std::mem::replace(&mut self.answer, Answer::Nothing) {
            Answer::KillFailed(error) => Error::Kill(error),
            _ => Error::StatusLost,
        }
    }

    /// The outcome, once `Finish` was asked for. Go's order: the exit, then what came of stopping it, then the pipes,
    /// then the copies.
    pub(crate) fn take_outcome(&mut self) -> Result<(), Error> {
        debug_assert!(
            matches!(self.state, State::Lingering { .. } | State::Done),
            "outcome of {:?}",
            self.state
        );
        // Before all that follows from it: a writer that has panicked closes its pipe, which ends the command by
        // SIGPIPE.
        if let Some((stream, source)) = self.copy_error.take_if(|(_, error)| is_panic(error)) {
            return Err(Error::Copy { stream, source });
        }
        if let Answer::Failed(error) = &mut self.answer
            && is_panic(error)
        {
            let error = std::mem::replace(error, io::ErrorKind::Other.into());
            return Err(Error::Cancel(error));
        }
        let Some(status) = self.status else {
            return Err(Error::StatusLost);
        };
        if !status.success() {
            return Err(Error::Exit(ExitError {
                status,
                cause: self.cause,
            }));
        }
        match std::mem::replace(&mut self.answer, Answer::Nothing) {
            Answer::KillFailed(error) => return Err(Error::Kill(error)),
            Answer::Failed(error) => return Err(Error::Cancel(error)),
            Answer::Stopped | Answer::Asked => {
                return Err(Error::Stopped(self.cause.unwrap_or(Cause::Cancelled)));
            }
            Answer::Nothing => {}
        }
        if !self.cut.is_empty() {
            let streams = self.cut.iter().collect();
            return Err(Error::WaitDelay { streams });
        }
        match self.copy_error.take() {
            Some((stream, source)) if !self.killed => Err(Error::Copy { stream, source }),
            _ => Ok(()),
        }
    }

    /// An event that this state cannot receive is the loop's mistake: it panics in debug builds and under fuzzing, and
    /// without consequence otherwise.
    fn unexpected(&self, event: &str) {
        debug_assert!(false, "{event} in {:?}", self.state);
    }
}
