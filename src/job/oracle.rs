//! The rules of a job said a second time, from its history alone: what it must ask for, when it must be woken, and
//! what must come of it. For tests and fuzzing.
//! Unaware of `Job`: written from the table in `docs/semantics.md`, so that the two can be compared.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Effect, Event, GROUP_DEATH_MAX, Job, Policy, Streams};
use crate::error::{Cause, Error};
use crate::sys;
use crate::sys::Stream;

/// How a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Zero,
    Status(i32),
    Signal(i32),
    /// Somebody else took the status.
    Lost,
}

/// How the world answers to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Fine,
    /// `ESRCH`: the process is gone.
    Gone,
    /// `EPERM`.
    Refused,
}

/// What the last read of a stream finds before it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastRead {
    /// Somebody still holds it.
    Held,
    Ended,
    Failed,
}

/// What the world answers to the effects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replies {
    pub(crate) cancel: Reply,
    pub(crate) rung: Reply,
    pub(crate) kill: Reply,
    pub(crate) last_read: LastRead,
}

/// One thing that happens to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    Exits(Ending),
    Ends(Stream),
    Fails(Stream),
    Stop(Cause),
    Abort(Cause),
    Output,
    /// After the exit, this output was read until its pipe was empty.
    Empties(Stream),
    /// So much time passes.
    Pass(Duration),
}

/// What must come of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    Lost,
    Exit(Ending, Option<Cause>),
    KillFailed,
    CancelFailed,
    Stopped(Cause),
    WaitDelay,
    Copy(Stream),
}

/// What a request to stop came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The command was not asked, or nothing was to be done, or the process was done already.
    None,
    Stopped,
    Failed,
}

/// What is known of a command's history, each fact for itself.
#[derive(Clone, Debug)]
struct Facts {
    started: Instant,
    exit: Option<(Instant, Ending)>,
    /// When the first request to stop it that a rule cares for had been acted on, and why it came.
    asked: Option<(Instant, Cause)>,
    answer: Answer,
    rungs_done: usize,
    /// When the last rung was performed.
    last_rung: Option<Instant>,
    /// It was to be killed by force: the delay ran out, or somebody said so.
    is_killed: bool,
    killed: Vec<Reply>,
    /// Since when its process group is dying.
    group_dies: Option<Instant>,
    lends: bool,
    is_closed_by_force: bool,
    open: Streams,
    cut: Streams,
    /// Outputs that were not read to their end since the exit.
    unread: Streams,
    /// Since when a leak timeout counts: all that was in the pipes at the exit is read.
    leaks_since: Option<Instant>,
    copy_error: Option<Stream>,
    last_output: Instant,
    timeout_is_over: bool,
    idle_is_over: bool,
}

/// Plays a history to a `Job` and to the rules, and compares them after each event.
#[derive(Debug)]
pub(crate) struct Play {
    job: Job,
    policy: Arc<Policy>,
    facts: Facts,
    now: Instant,
    finishes: usize,
    /// How long the cancel action takes to return.
    pub(crate) action_takes: Duration,
    /// Everything that the job asked for.
    pub(crate) asked_for: Vec<Effect>,
}

impl Play {
    pub(crate) fn new(policy: Policy, copied: Streams, lends: bool, now: Instant) -> Play {
        let policy = Arc::new(policy);
        let facts = Facts {
            started: now,
            exit: None,
            asked: None,
            answer: Answer::None,
            rungs_done: 0,
            last_rung: None,
            is_killed: false,
            killed: Vec::new(),
            group_dies: None,
            lends,
            is_closed_by_force: false,
            open: copied,
            cut: Streams::default(),
            unread: Streams::default(),
            leaks_since: None,
            copy_error: None,
            last_output: now,
            timeout_is_over: false,
            idle_is_over: false,
        };
        let play = Play {
            job: Job::new(Arc::clone(&policy), copied, lends, now),
            policy,
            facts,
            now,
            finishes: 0,
            action_takes: Duration::ZERO,
            asked_for: Vec::new(),
        };
        play.compare();
        play
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finishes > 0
    }

    /// Whether the world can do this to the command now.
    pub(crate) fn is_possible(&self, happening: Happening) -> bool {
        match happening {
            Happening::Exits(_) => self.facts.exit.is_none(),
            Happening::Ends(stream) | Happening::Fails(stream) => self.facts.open.contains(stream),
            Happening::Empties(stream) => {
                self.facts.exit.is_some()
                    && stream != Stream::Stdin
                    && self.facts.open.contains(stream)
            }
            _ => true,
        }
    }

    /// Lets one thing happen, answers what the job asks for, and compares.
    pub(crate) fn happen(&mut self, happening: Happening, replies: Replies) {
        let event = match happening {
            Happening::Exits(ending) => Event::Exited(ending.status()),
            Happening::Ends(stream) => Event::StreamEnded(stream, Ok(())),
            Happening::Fails(stream) => Event::StreamEnded(stream, Err(failure())),
            Happening::Stop(cause) => Event::Stop(cause),
            Happening::Abort(cause) => Event::Abort(cause),
            Happening::Output => Event::Output,
            Happening::Empties(stream) => Event::Emptied(stream),
            Happening::Pass(duration) => {
                self.now += duration;
                Event::Tick
            }
        };
        let must_ask = self.facts.note(happening, &self.policy, self.now);
        let mut effects = Vec::new();
        self.job.step(event, self.now, &mut effects);
        assert_eq!(effects, must_ask, "{happening:?} after {self:?}");
        let mut next = 0;
        while let Some(effect) = effects.get(next).copied() {
            next += 1;
            self.answer(effect, replies, &mut effects);
        }
        self.asked_for.extend(effects);
        self.compare();
    }

    fn answer(&mut self, effect: Effect, replies: Replies, effects: &mut Vec<Effect>) {
        let reaped = self.facts.exit.is_some();
        match effect {
            Effect::PerformCancel | Effect::PerformRung(_) | Effect::Kill => {
                assert!(!reaped, "{effect:?} after the reap in {self:?}");
            }
            Effect::KillRest => assert!(reaped, "the leader is not reaped in {self:?}"),
            Effect::DrainOnceThenClose => {}
            Effect::Finish => {
                self.finishes += 1;
                assert_eq!(self.finishes, 1, "finished again in {self:?}");
            }
        }
        match effect {
            Effect::PerformCancel => {
                self.now += self.action_takes;
                self.facts.note_cancel(replies.cancel, self.now);
                let answer = Event::CancelResult(replies.cancel.result());
                self.job.step(answer, self.now, effects);
            }
            Effect::PerformRung(_) => {
                self.facts.note_rung(replies.rung);
                let answer = Event::CancelResult(replies.rung.result());
                self.job.step(answer, self.now, effects);
            }
            Effect::Kill => {
                let must_ask = self.facts.note_kill(replies.kill);
                let answered = effects.len();
                let answer = Event::KillResult(replies.kill.result());
                self.job.step(answer, self.now, effects);
                assert_eq!(effects[answered..], must_ask, "killed: {self:?}");
            }
            Effect::DrainOnceThenClose => {
                for stream in self.job.open().iter() {
                    self.facts.note_last_read(stream, replies.last_read);
                    let answer = match replies.last_read {
                        LastRead::Held => Event::StreamCut(stream),
                        LastRead::Ended => Event::StreamEnded(stream, Ok(())),
                        LastRead::Failed => Event::StreamEnded(stream, Err(failure())),
                    };
                    self.job.step(answer, self.now, effects);
                }
                assert!(self.job.open().is_empty());
            }
            Effect::KillRest | Effect::Finish => {}
        }
    }

    fn compare(&self) {
        assert_eq!(self.facts.is_over(), self.finishes == 1, "{self:?}");
        assert_eq!(self.job.open(), self.facts.open, "{self:?}");
        assert_eq!(self.job.cut(), self.facts.cut, "{self:?}");
        let wake_at = self.facts.deadlines(&self.policy).into_iter().min();
        assert_eq!(self.job.wake_at(), wake_at, "{self:?}");
    }

    /// What came of it, which must be what the table says. Once it is finished.
    pub(crate) fn end(mut self) -> Verdict {
        let verdict = self.facts.verdict();
        let outcome = self.job.take_outcome();
        assert!(
            verdict.is(&outcome),
            "{outcome:?} in place of {verdict:?}: {self:?}"
        );
        verdict
    }
}

impl Facts {
    /// Adds one happening. Returns what must be asked for because of it, before anything is answered.
    fn note(&mut self, happening: Happening, policy: &Policy, now: Instant) -> Vec<Effect> {
        match happening {
            Happening::Exits(ending) => {
                self.exit = Some((now, ending));
                self.unread = self.open;
                self.note_read(Stream::Stdin, now);
                let mut effects = Vec::new();
                if self.is_killed && (policy.kills_group || policy.sweeps_group) {
                    self.group_dies = Some(now);
                } else if self.is_killed {
                    effects = self.close_by_force();
                }
                effects.extend(self.finish_if_over());
                effects
            }
            Happening::Ends(stream) => {
                self.open.remove(stream);
                self.note_read(stream, now);
                self.finish_if_over()
            }
            Happening::Empties(stream) => {
                self.note_read(stream, now);
                Vec::new()
            }
            Happening::Fails(stream) => {
                self.open.remove(stream);
                self.note_read(stream, now);
                self.copy_error.get_or_insert(stream);
                self.finish_if_over()
            }
            Happening::Output => {
                self.last_output = now;
                self.idle_is_over = false;
                Vec::new()
            }
            Happening::Stop(cause) => self.note_stop(cause, policy, now),
            Happening::Abort(cause) => self.note_abort(cause, policy, now),
            Happening::Pass(_) => self.note_time(policy, now),
        }
    }

    /// There is nothing more in this stream's pipe that was there at the exit.
    fn note_read(&mut self, stream: Stream, now: Instant) {
        self.unread.remove(stream);
        if self.exit.is_some() && self.unread.is_empty() {
            self.leaks_since.get_or_insert(now);
        }
    }

    fn is_over(&self) -> bool {
        self.exit.is_some() && self.open.is_empty()
    }

    fn finish_if_over(&self) -> Vec<Effect> {
        if self.is_over() {
            vec![Effect::Finish]
        } else {
            Vec::new()
        }
    }

    /// Nothing of it is left that could be stopped.
    fn is_done(&self) -> bool {
        self.is_over() && !self.lends
    }

    /// Once, if there is a pipe that could be open.
    fn close_by_force(&mut self) -> Vec<Effect> {
        if self.is_closed_by_force || (self.open.is_empty() && !self.lends) {
            return Vec::new();
        }
        self.is_closed_by_force = true;
        vec![Effect::DrainOnceThenClose]
    }

    /// The pipes' time is over: those of the group who hold them die first, and have a while for it.
    fn end_pipes(&mut self, policy: &Policy, now: Instant) -> Vec<Effect> {
        let spares_group = !policy.kills_group || self.asked.is_none() || self.is_over();
        let swept = self.group_is_swept(policy).filter(|at| *at > now);
        if spares_group && swept.is_some() {
            self.group_dies = self.exit.map(|(at, _)| at);
            return Vec::new();
        }
        if spares_group || self.group_dies.is_some() || self.is_closed_by_force {
            return self.close_by_force();
        }
        self.group_dies = Some(now);
        vec![Effect::KillRest]
    }

    fn note_stop(&mut self, cause: Cause, policy: &Policy, now: Instant) -> Vec<Effect> {
        if self.is_done() {
            return Vec::new();
        }
        if self.exit.is_some() {
            // What was asked before the exit is at work until its delay is over, if that ever comes.
            let is_at_work = self.asked.is_some() && self.pipes_end(policy).is_some();
            return if is_at_work {
                Vec::new()
            } else {
                self.stop_pipes(cause, policy, now)
            };
        }
        // A second request does nothing; a context that nothing acts on is as if it were not there.
        let is_unwatched = policy.ignores_context && policy.wait_delay.is_none();
        if self.asked.is_some() || is_unwatched {
            return Vec::new();
        }
        self.asked = Some((now, cause));
        if policy.ignores_context {
            Vec::new()
        } else {
            vec![Effect::PerformCancel]
        }
    }

    fn note_abort(&mut self, cause: Cause, policy: &Policy, now: Instant) -> Vec<Effect> {
        if self.is_done() {
            return Vec::new();
        }
        if self.exit.is_some() {
            return self.stop_pipes(cause, policy, now);
        }
        if self.is_killed {
            return vec![Effect::Kill];
        }
        self.asked.get_or_insert((now, cause));
        if self.answer == Answer::None {
            self.answer = Answer::Stopped;
        }
        self.is_killed = true;
        vec![Effect::Kill]
    }

    /// A child that cannot be killed may not exit for long: its pipes are closed at once.
    fn note_kill(&mut self, reply: Reply) -> Vec<Effect> {
        self.killed.push(reply);
        if reply == Reply::Refused {
            self.close_by_force()
        } else {
            Vec::new()
        }
    }

    /// After the reap, only the pipes are left to be stopped; the request is reported if nothing else is.
    fn stop_pipes(&mut self, cause: Cause, policy: &Policy, now: Instant) -> Vec<Effect> {
        self.asked.get_or_insert((now, cause));
        if self.answer == Answer::None {
            self.answer = Answer::Stopped;
        }
        if self.group_dies.is_some() && self.pipes_end(policy).is_some() {
            return Vec::new();
        }
        self.end_pipes(policy, now)
    }

    fn note_time(&mut self, policy: &Policy, now: Instant) -> Vec<Effect> {
        let has_come = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.is_done() || self.is_closed_by_force {
            return Vec::new();
        }
        if self.exit.is_some() && has_come(self.pipes_end(policy)) {
            return self.end_pipes(policy, now);
        }
        if self.exit.is_none() && self.is_killed {
            return Vec::new();
        }
        if self.exit.is_none() && has_come(self.delay_ends(policy)) {
            self.is_killed = true;
            return vec![Effect::Kill];
        }
        if self.asked.is_none() {
            if has_come(self.timeout_ends(policy)) {
                self.timeout_is_over = true;
                return self.note_stop(Cause::Timeout, policy, now);
            }
            if has_come(self.idle_ends(policy)) {
                self.idle_is_over = true;
                return self.note_stop(Cause::IdleTimeout, policy, now);
            }
        } else if self.exit.is_none() && has_come(self.next_rung(policy)) {
            self.rungs_done += 1;
            self.last_rung = Some(now);
            return vec![Effect::PerformRung(self.rungs_done - 1)];
        }
        Vec::new()
    }

    fn note_cancel(&mut self, reply: Reply, now: Instant) {
        if let Some((at, _)) = &mut self.asked {
            *at = now;
        }
        self.answer = match reply {
            Reply::Fine => Answer::Stopped,
            Reply::Gone => Answer::None,
            Reply::Refused => Answer::Failed,
        };
    }

    fn note_rung(&mut self, reply: Reply) {
        if reply == Reply::Refused && self.answer == Answer::Stopped {
            self.answer = Answer::Failed;
        }
    }

    fn note_last_read(&mut self, stream: Stream, read: LastRead) {
        self.open.remove(stream);
        match read {
            LastRead::Held => self.cut.insert(stream),
            LastRead::Ended => {}
            LastRead::Failed => {
                self.copy_error.get_or_insert(stream);
            }
        }
    }

    /// When the wait delay's one clock is over. It started when the cancel action had returned, or with the exit.
    fn delay_ends(&self, policy: &Policy) -> Option<Instant> {
        let asked = self.asked.map(|(at, _)| at);
        let exit = self.exit.map(|(at, _)| at);
        let start = [asked, exit].into_iter().flatten().min()?;
        start.checked_add(policy.wait_delay?)
    }

    /// When the pipes of a child that was reaped are closed.
    fn pipes_end(&self, policy: &Policy) -> Option<Instant> {
        if self.is_closed_by_force {
            return None;
        }
        match self.group_dies {
            Some(since) => since.checked_add(GROUP_DEATH_MAX),
            None => {
                let end = if policy.leak_timeout.is_some() && !self.is_killed {
                    // The child is not who holds them: what it has used of the delay does not count.
                    self.leaks_since?.checked_add(policy.leak_timeout?)?
                } else {
                    self.delay_ends(policy)?
                };
                Some(
                    self.group_is_swept(policy)
                        .map_or(end, |swept| end.max(swept)),
                )
            }
        }
    }

    /// When those are dead who were killed with the child's end.
    fn group_is_swept(&self, policy: &Policy) -> Option<Instant> {
        let (exit, _) = self.exit.filter(|_| policy.sweeps_group)?;
        exit.checked_add(GROUP_DEATH_MAX)
    }

    fn timeout_ends(&self, policy: &Policy) -> Option<Instant> {
        let timeout = policy.timeout.filter(|_| !self.timeout_is_over)?;
        self.started.checked_add(timeout)
    }

    fn idle_ends(&self, policy: &Policy) -> Option<Instant> {
        let idle = policy.idle_timeout.filter(|_| !self.idle_is_over)?;
        self.last_output.checked_add(idle)
    }

    /// Each rung is timed from the one before, the first from the cancel action.
    fn next_rung(&self, policy: &Policy) -> Option<Instant> {
        let (asked, _) = self.asked.filter(|_| !policy.ignores_context)?;
        let after = policy.rungs.get(self.rungs_done)?;
        self.last_rung.unwrap_or(asked).checked_add(*after)
    }

    /// Everything that time alone will do.
    fn deadlines(&self, policy: &Policy) -> Vec<Instant> {
        let mut deadlines = Vec::new();
        let only_dies = self.exit.is_none() && self.is_killed;
        if self.is_done() || self.is_closed_by_force || only_dies {
            return deadlines;
        }
        deadlines.extend(if self.exit.is_some() {
            self.pipes_end(policy)
        } else {
            self.delay_ends(policy)
        });
        if self.asked.is_none() {
            deadlines.extend(self.timeout_ends(policy));
            deadlines.extend(self.idle_ends(policy));
        } else if self.exit.is_none() {
            deadlines.extend(self.next_rung(policy));
        }
        deadlines
    }

    /// The table: the exit outweighs what came of stopping it, and that the cut pipes, and those the copies.
    fn verdict(&self) -> Verdict {
        let cause = self.asked.map(|(_, cause)| cause);
        match self.exit {
            None | Some((_, Ending::Lost)) => return Verdict::Lost,
            Some((_, Ending::Zero)) => {}
            Some((_, ending)) => return Verdict::Exit(ending, cause),
        }
        if self.killed.contains(&Reply::Refused) {
            return Verdict::KillFailed;
        }
        let was_killed = self.killed.contains(&Reply::Fine);
        match (self.answer, cause, self.copy_error) {
            (Answer::Failed, ..) => Verdict::CancelFailed,
            (Answer::Stopped, Some(cause), _) => Verdict::Stopped(cause),
            _ if !self.cut.is_empty() => Verdict::WaitDelay,
            (_, _, Some(stream)) if !was_killed => Verdict::Copy(stream),
            _ => Verdict::Fine,
        }
    }
}

impl Ending {
    pub(crate) fn status(self) -> Option<ExitStatus> {
        match self {
            Ending::Zero => Some(ExitStatus::from_raw(0)),
            Ending::Status(number) => Some(ExitStatus::from_raw(number << 8)),
            Ending::Signal(number) => Some(ExitStatus::from_raw(number)),
            Ending::Lost => None,
        }
    }
}

impl Reply {
    fn result(self) -> io::Result<()> {
        match self {
            Reply::Fine => Ok(()),
            Reply::Gone => Err(sys::process_gone()),
            Reply::Refused => Err(failure()),
        }
    }
}

/// An error that stands for any.
fn failure() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

impl Verdict {
    /// Whether the job came to the same.
    fn is(self, outcome: &Result<(), Error>) -> bool {
        match (self, outcome) {
            (Verdict::Fine, Ok(()))
            | (Verdict::Lost, Err(Error::StatusLost))
            | (Verdict::KillFailed, Err(Error::Kill(_)))
            | (Verdict::CancelFailed, Err(Error::Cancel(_)))
            | (Verdict::WaitDelay, Err(Error::WaitDelay { .. })) => true,
            (Verdict::Exit(ending, cause), Err(Error::Exit(exit))) => {
                ending.status() == Some(exit.status) && cause == exit.cause
            }
            (Verdict::Stopped(cause), Err(Error::Stopped(told))) => cause == *told,
            (Verdict::Copy(stream), Err(Error::Copy { stream: told, .. })) => stream == *told,
            _ => false,
        }
    }
}
