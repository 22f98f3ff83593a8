//! Whether a `Finished` tells the truth: compared with what the simulated machine knows.
//! Unaware of the loop.

mod streams;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use super::pauses::Pauses;
use super::plan::{Feed, Job, Stop, Take};
use crate::error::{Cause, Error, StartError, is_panic};
use crate::finished::Finished;
use crate::job::GROUP_DEATH_MAX;
use crate::sys::simulated::{Act, ChildFacts, World};
use crate::sys::{Stream, Target};

/// A process is made within this, once it was asked for.
const START_SLACK: Duration = Duration::from_millis(60);
/// A timer is served within this: where it is refused, a poll counts in milliseconds; and a turn takes its time.
const TIMER_SLACK: Duration = Duration::from_micros(1100);
/// An event is served within this, however many there are before it.
const EVENT_SLACK: Duration = Duration::from_millis(50);
/// An exit that was not announced, or too early, is found within this.
const EXIT_SLACK: Duration = Duration::from_secs(20);

/// One read takes so much.
const SMALL_BYTES: usize = 4096;

/// What there is to compare.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub(super) job: &'a Job,
    pub(super) finished: &'a Finished,
    pub(super) world: &'a World,
    pub(super) pauses: &'a Pauses,
    /// When the caller has taken a command whose pipes were open.
    pub(super) takes: &'a [Instant],
    /// When and why the command's context ended.
    pub(super) context_end: Option<(Instant, Cause)>,
    pub(super) is_shut_down: bool,
    /// The caller stays away for a while now and then, and cannot expect that all is served in time.
    pub(super) is_dawdling: bool,
}

/// # Panics
/// When the `Finished` is not true.
pub(super) fn check(evidence: Evidence<'_>) {
    let finished = evidence.finished;
    let Some(pid) = finished.pid else {
        return evidence.check_unstarted();
    };
    let (child, _) = evidence.world.child(pid).expect("a child of ours");
    if finished.reaped.is_none() {
        return evidence.check_unkilled();
    }
    evidence.check_times(child);
    for (which, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
        evidence.check_output(which, stream, child);
    }
    evidence.check_leaks(child);
    evidence.check_input(child);
    evidence.check_outcome(child);
    evidence.check_signals(child);
}

impl Evidence<'_> {
    #[track_caller]
    fn confirm(&self, is_true: bool, what: &str) {
        if !is_true {
            panic!("{what}: {:#?}", self.story());
        }
    }

    /// What is known of the command, times since the beginning.
    fn story(&self) -> Vec<String> {
        let finished = self.finished;
        let since = |at: Option<Instant>| at.map(|at| at - self.world.start());
        let mut story = vec![
            format!("{:?}", self.job),
            format!(
                "outcome {:?}, leaked {:?}",
                finished.outcome, finished.leaked
            ),
            format!(
                "started {:?}, reaped {:?}, drained {:?}",
                since(finished.started),
                since(finished.reaped),
                since(finished.drained)
            ),
            format!(
                "{} bytes of stdout, {} of stderr",
                finished.stdout.len(),
                finished.stderr.len()
            ),
        ];
        for (at, cause, is_forced) in &self.job.requests {
            story.push(format!(
                "{:?}: {cause:?}, forced {is_forced}",
                since(Some(*at))
            ));
        }
        for attempt in &self.world.attempts {
            if attempt.program == self.job.program {
                let at = since(Some(attempt.at));
                story.push(format!("{at:?}: {attempt:?}"));
            }
        }
        if let Some((at, cause)) = self.context_end {
            story.push(format!("{:?}: context {cause:?}", since(Some(at))));
        }
        let child = finished.pid.and_then(|pid| self.world.child(pid));
        if let Some((child, _)) = child {
            let ended = child.ended.map(|(at, status)| (since(Some(at)), status));
            story.push(format!("the child ended {ended:?}"));
            for (at, signal, target, answer) in &child.signals {
                let at = since(Some(*at));
                story.push(format!("{at:?}: {signal} to {target:?}: {answer:?}"));
            }
            for pipe in child.pipes.into_iter().flatten() {
                story.push(format!("{:?}", self.world.pipes[pipe]));
            }
        }
        story
    }

    fn check_unstarted(&self) {
        let Err(Error::Start(error)) = &self.finished.outcome else {
            return self.confirm(false, "not started, and no reason");
        };
        let is_true = match error {
            // Its time limits count from its birth, also where its program was never executed.
            StartError::Stopped(Cause::Timeout) => self.job.timeout.is_some(),
            StartError::Stopped(Cause::IdleTimeout) => self.job.idle_timeout.is_some(),
            StartError::Stopped(cause) => self.causes().contains(cause),
            StartError::ShutDown => self.is_shut_down,
            StartError::Step { source, .. } => match source.raw_os_error() {
                Some(libc::EACCES) => self.job.script.exec_error.is_some(),
                // There was another way.
                Some(libc::EPERM) => false,
                Some(libc::ETXTBSY) => self.job.script.busy_times > 7,
                Some(libc::ENOSPC) => self.job.script.clone_error == Some(libc::ENOSPC),
                number => {
                    let weather = &self.world.weather;
                    let is_short = weather.shortages > 0 || weather.fds_max < usize::MAX;
                    let may_be_short = is_short || self.job.script.clone_error == number;
                    may_be_short && self.was_waited_for_room()
                }
            },
            _ => false,
        };
        self.confirm(is_true, "not started for a reason that is none");
    }

    /// Given up when the engine was shut down, as it cannot be killed.
    fn check_unkilled(&self) {
        let is_true = self.is_shut_down && self.job.script.is_foreign;
        let is_told = matches!(self.finished.outcome, Err(Error::Kill(_)));
        let is_unknown = self.finished.status.is_none();
        self.confirm(is_true && is_told && is_unknown, "not reaped");
    }

    /// Everything that may have asked it to stop before its end.
    fn causes(&self) -> Vec<Cause> {
        let until = self.finished.drained.unwrap_or(self.world.now());
        let child = self.finished.pid.and_then(|pid| self.world.child(pid));
        let counts = |(at, cause): &(Instant, Cause)| {
            let is_limit = !matches!(cause, Cause::Cancelled);
            let is_late = child.is_some_and(|(child, _)| self.was_over_before(child, *at));
            *at <= until && !(is_limit && is_late)
        };
        let requests = self.requests().into_iter().filter(counts);
        let mut causes: Vec<Cause> = requests.map(|(_, cause)| cause).collect();
        if self.is_output_too_much(true) {
            causes.push(Cause::OutputLimit);
        }
        causes
    }

    /// It was all over before that, as far as a loop that looks could have told: a limit that came later ended nothing.
    fn was_over_before(&self, child: &ChildFacts, limit: Instant) -> bool {
        let weather = &self.world.weather;
        let is_clear =
            weather.reap_errors + weather.interrupts == 0 && self.job.script.early_exits == 0;
        let reads_all = |take: &Take| matches!(take, Take::Null | Take::Capture | Take::Ends(_));
        let is_read = self.job.takes.iter().all(reads_all) && self.job.feed == Feed::Null;
        let pipes = child.pipes.iter().flatten();
        let mut pipes = pipes.map(|pipe| &self.world.pipes[*pipe]);
        let is_released = pipes.all(|pipe| {
            // Nobody has come back, by /proc/PID/fd.
            let is_free = pipe.at_close.is_none_or(|standing| standing.holders == 0);
            let is_over = is_free && pipe.released.is_some_and(|at| at < limit);
            is_over && pipe.written <= SMALL_BYTES && !pipe.has_failed
        });
        let has_ended = child.waitable.is_some_and(|at| at < limit);
        is_clear && is_read && is_released && has_ended && !self.pauses.is_any()
    }

    /// More was read of it than it may write, with what its caller has read or without.
    fn is_output_too_much(&self, with_callers: bool) -> bool {
        let child = self.finished.pid.and_then(|pid| self.world.child(pid));
        let Some((limit, (child, _))) = self.job.output_limit.zip(child) else {
            return false;
        };
        let mut read = 0;
        for (pipe, take) in child.pipes[1..].iter().zip(self.job.takes) {
            if let Some(pipe) = pipe.filter(|_| with_callers || take != Take::Caller) {
                read += self.world.pipes[pipe].read as u64;
            }
        }
        read > limit
    }

    /// When it was asked to stop, why, by whatever there is to ask it.
    fn requests(&self) -> Vec<(Instant, Cause)> {
        let mut requests: Vec<_> = self
            .job
            .requests
            .iter()
            .map(|(at, cause, _)| (*at, *cause))
            .collect();
        requests.extend(self.context_end);
        let limits = [
            (self.job.timeout, Cause::Timeout),
            (self.job.idle_timeout, Cause::IdleTimeout),
        ];
        for (limit, cause) in limits {
            if let (Some(started), Some(limit)) = (self.finished.started, limit) {
                requests.push((self.pauses.after(started, limit), cause));
            }
        }
        requests
    }

    fn check_times(&self, child: &ChildFacts) {
        let finished = self.finished;
        self.confirm(child.program == self.job.program, "another program");
        let is_start = |at: Instant| at <= child.started && child.started <= at + START_SLACK;
        self.confirm(finished.started.is_some_and(is_start), "its start");
        self.confirm(
            finished.reaped == child.reaped && child.reaped.is_some(),
            "its reap",
        );
        self.confirm(finished.drained >= finished.reaped, "its end");
        let (Some(reaped), Some(drained), Some((ended, status))) =
            (finished.reaped, finished.drained, child.ended)
        else {
            return self.confirm(false, "finished before its exit");
        };
        let is_told = !self.job.script.loses_status;
        self.confirm(
            finished.status.map(ExitStatusExt::into_raw) == is_told.then_some(status),
            "its status",
        );
        let weather = &self.world.weather;
        let is_clear = weather.reap_errors + weather.interrupts + weather.unwatched == 0;
        let slack = if is_clear && self.job.script.early_exits == 0 {
            EVENT_SLACK
        } else {
            EXIT_SLACK
        };
        if self.is_dawdling {
            return;
        }
        // Time that passes in a turn comes on top.
        let spent = |since| self.world.spent_since(since);
        self.confirm(reaped <= ended + slack + spent(ended), "reaped late");
        if let Some(timeout) = self.job.leak_timeout {
            let is_early = !finished.leaked.is_empty() && drained < reaped + timeout;
            let was_asked = !self.causes().is_empty() || self.job.signals > 0;
            self.confirm(!is_early || was_asked, "the leak timeout was cut short");
        } else if let Some(delay) = self.job.wait_delay {
            let stopped = child.signals.first().map(|(at, ..)| *at);
            let start = stopped.filter(|_| self.job.signals == 0);
            let clock = start.unwrap_or(reaped).min(reaped);
            let latest = reaped.max(clock + delay);
            // What is left of a group that was swept with the exit is killed once more, if it was asked to stop.
            let is_again = self.job.sweeps && !self.causes().is_empty();
            let kills = u32::from(self.job.is_group) * (1 + u32::from(is_again));
            let group_dies = GROUP_DEATH_MAX * kills;
            let paused = self.pauses.within(clock, drained);
            let latest = latest + paused + group_dies + TIMER_SLACK + spent(clock);
            self.confirm(drained <= latest, "the delay is over");
            let is_forced = self.job.requests.iter().any(|(.., is_forced)| *is_forced);
            let is_hurried = is_forced || self.is_shut_down || self.may_be_killed(child);
            if !finished.leaked.is_empty() && !is_hurried && self.causes().is_empty() {
                // What is left of it is kept through each pause.
                let earliest = self.pauses.after(reaped.max(clock), delay);
                self.confirm(drained >= earliest, "the delay is not over");
            }
        }
    }

    fn check_outcome(&self, child: &ChildFacts) {
        let (causes, failures) = (self.causes(), self.failures(child));
        let refused = |number: Option<i32>| {
            let mut answers = child.signals.iter().map(|(.., answer)| *answer);
            answers.any(|answer| answer.is_some() && answer == number)
        };
        let is_cut = !self.finished.leaked.is_empty();
        let status = self.finished.status;
        let is_zero = status.is_some_and(|status| status.success());
        let is_true = match &self.finished.outcome {
            Ok(()) => is_zero && !is_cut && (failures.is_empty() || self.may_be_killed(child)),
            Err(Error::StatusLost) => status.is_none(),
            Err(Error::Exit(exit)) => {
                let is_caused = exit.cause.is_none_or(|cause| causes.contains(&cause));
                !is_zero && Some(exit.status) == status && is_caused
            }
            Err(Error::Stopped(cause)) => is_zero && causes.contains(cause),
            Err(Error::Cancel(error)) => is_zero && self.is_cancel_error(error, refused),
            Err(Error::Kill(error)) => is_zero && refused(error.raw_os_error()),
            Err(Error::WaitDelay { streams }) => {
                let is_told = *streams == self.finished.leaked;
                let has_delay = self.job.wait_delay.is_some() || self.job.leak_timeout.is_some();
                is_zero && is_cut && is_told && has_delay
            }
            Err(Error::Copy { stream, source }) if is_panic(source) => {
                self.panicked().contains(stream) || self.job.is_rude
            }
            Err(Error::Copy { stream, source }) => {
                let is_blocked = source.kind() == io::ErrorKind::WouldBlock;
                is_zero && !is_cut && (failures.contains(stream) || is_blocked)
            }
            Err(_) => false,
        };
        self.confirm(is_true, "its outcome");
        self.confirm(
            self.panicked().is_empty() || self.tells_panic(),
            "a panic is not told",
        );
        // What a delay has read at last is not counted, nor what the caller reads afterwards.
        let has_delay = self.job.wait_delay.is_some() || self.job.leak_timeout.is_some();
        if self.is_output_too_much(false) && !has_delay && self.job.stop == Stop::Kill {
            self.confirm(
                self.finished.outcome.is_err(),
                "its output limit is passed over",
            );
        }
        if causes.is_empty() && is_zero && !self.tells_panic() {
            let is_plain = match &self.finished.outcome {
                Ok(()) => failures.is_empty() && !is_cut,
                Err(Error::Copy { .. }) => !is_cut,
                Err(Error::WaitDelay { .. }) => is_cut,
                _ => false,
            };
            self.confirm(is_plain, "it was not asked to stop");
        }
    }

    /// The outcome is that a callback panicked, which outweighs what follows from that.
    fn tells_panic(&self) -> bool {
        matches!(&self.finished.outcome, Err(Error::Copy { source, .. }) if is_panic(source))
    }

    /// A kill at the end of the delay got through: the copies' errors no longer count.
    fn may_be_killed(&self, child: &ChildFacts) -> bool {
        let is_kill = |signal: i32| signal == libc::SIGKILL;
        child.signals.iter().any(|(_, signal, ..)| is_kill(*signal))
    }

    fn is_cancel_error(&self, error: &io::Error, refused: impl Fn(Option<i32>) -> bool) -> bool {
        let number = error.raw_os_error();
        let is_own = matches!(self.job.stop, Stop::Callback { error, .. } if Some(error) == number);
        is_own || refused(number)
    }

    /// What the loop sent to it, and when.
    fn check_signals(&self, child: &ChildFacts) {
        let calls = *self
            .job
            .callbacks
            .lock()
            .expect("no panic while it is locked");
        self.confirm(calls <= 1, "the cancel action was performed again");
        let Some(reaped) = child.reaped else { return };
        if self.job.signals > 0 {
            return;
        }
        let is_lost = self.job.script.loses_status;
        let mut acts = self.job.script.acts.iter();
        let may_leave = acts.any(|act| matches!(act, Act::LeaveGroup));
        for (at, _, target, answer) in &child.signals {
            // What is left of a group is killed after its leader's end, and of some there is nothing left before.
            if *target == Target::Group && (*at >= reaped || may_leave) {
                continue;
            }
            let is_in_time = *at <= reaped && (*answer != Some(libc::ESRCH) || is_lost);
            self.confirm(is_in_time, "a signal after the reap");
        }
        let was_asked = calls > 0 || !child.signals.is_empty();
        // A limit counts from the end of a start, which may have taken its time.
        let is_overdue = self.requests().iter().any(|(at, _)| {
            let since = self
                .finished
                .started
                .map_or(*at, |started| started.min(*at));
            let late = self.world.spent_since(since) + self.pauses.within(*at, reaped);
            *at + EVENT_SLACK + late <= reaped
        });
        // Silence cannot be seen from here.
        let may_be_silence = self.job.idle_timeout.is_some();
        // Contexts' deadlines are put off from where their first command was queued.
        let may_be_put_off =
            self.pauses.is_any() && matches!(self.context_end, Some((_, Cause::DeadlineExceeded)));
        let is_expected = !may_be_silence && !self.is_dawdling && !may_be_put_off;
        let must_be_asked = is_overdue && self.job.stop != Stop::Nothing && is_expected;
        self.confirm(was_asked || !must_be_asked, "it was not asked to stop");
        let is_zero = self.finished.status.is_some_and(|status| status.success());
        let was_stopped = child
            .signals
            .first()
            .is_some_and(|(.., answer)| answer.is_none());
        if is_zero && was_stopped && self.job.stop != Stop::Nothing {
            let is_told = matches!(
                self.finished.outcome,
                Err(Error::Stopped(_) | Error::Cancel(_) | Error::Kill(_))
            );
            let has_own_answer = matches!(self.job.stop, Stop::Callback { .. });
            self.confirm(
                is_told || has_own_answer || self.tells_panic(),
                "it is not reported that it was stopped",
            );
        }
    }
}
