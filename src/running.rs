//! A started command: its job, its child, our ends of its pipes, and the acts that its job asks for: the cancel action,
//! the signals after it, the kill, the last read of its pipes. Each act has the kernel as an argument.
//! Unaware of slots, of other commands, and of when an act is due.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::admission::Cost;
use crate::cancel::{Action, Cancel, CancelTarget};
use crate::command::Spec;
use crate::error::Closed;
use crate::guard::{drop_callers, guarded};
use crate::holders::{Holder, pipe_holders};
use crate::job::{Event, Job, Streams};
use crate::stream::{OurEnd, Progress};
use crate::sys::{Exit, Kernel, RawUsage, Signal, Stream, Target, process_gone};

/// A started command.
#[derive(Debug)]
pub(crate) struct Running<K: Kernel> {
    pub(crate) job: Job,
    /// `None` once it is finished: its pipes may still be the caller's, but nothing is asked of the child any more.
    pub(crate) child: Option<K::Child>,
    /// Our ends of its pipes, by the child's descriptor number.
    pub(crate) streams: [OurEnd<K::Pipe>; 3],
    pub(crate) cancel: Arc<Cancel>,
    pub(crate) leads_group: bool,
    /// What it takes to start the command again, until its program is known to be executed; but for its duties, which
    /// are with `streams`.
    pub(crate) start: Option<Box<Spec>>,
    /// Streams that were announced before that. Nothing of them is touched until then: a start that fails is to leave
    /// its reader and its writers as they were.
    pub(crate) missed: Streams,
    /// Its stdin is typed into the terminal of its stdout.
    pub(crate) is_typed: bool,
    /// The terminal may stop it, which nobody announces.
    pub(crate) has_console: bool,
    /// The caller has let the command go: it survives the reactor, and its outcome is not reported.
    pub(crate) is_detached: bool,
    /// The reactor's end lets the command go, in place of killing it.
    pub(crate) survives: bool,
    /// The caller has cancelled the command: once more, and it is killed.
    pub(crate) is_cancelled: bool,
    /// Outputs of which something was read, and how much of both.
    pub(crate) heard: Streams,
    pub(crate) output_bytes: u64,
    /// When it is noticed again that the command still runs.
    pub(crate) slow_at: Option<Instant>,
    /// That it is slow was due then, and its caller has not heard of it.
    pub(crate) noted_slow: Option<Instant>,
    /// Who held the pipes when they were cut, if that was asked for.
    pub(crate) holders: Vec<Holder>,
    /// The child's exit and the pipes are announced by the kernel.
    pub(crate) is_watched: bool,
    /// A stream has waited for the caller: its pipe may be ready without a use.
    pub(crate) has_paused: bool,
    /// The child's exit was announced, which happens once.
    pub(crate) is_announced: bool,
    /// How often the child had to be asked by timer whether it is over.
    pub(crate) asked: u32,
    /// When to ask the child again.
    pub(crate) ask_at: Option<Instant>,
    pub(crate) cost: Cost,
    /// How many pipes of it are open and the caller's, since it was finished: they count until they are closed, or it is
    /// taken.
    pub(crate) kept: u32,
    pub(crate) started: Instant,
    pub(crate) reaped: Option<Reaped>,
}

/// Of a child that is reaped: what it took, and when that was.
#[derive(Debug)]
pub(crate) struct Reaped {
    pub(crate) usage: Option<RawUsage>,
    pub(crate) at: Instant,
    /// The same in the loop's time.
    pub(crate) in_loop: Instant,
    /// The turn in which that was.
    pub(crate) turn: u64,
    /// How much output was read since.
    pub(crate) read_since: usize,
}

/// How urgent it is to know that a program is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AwaitsExec {
    /// A copy of the child's ends is kept until then, without which its outputs do not end. What is written to them,
    /// and its own end, are announced.
    ToEnd,
    /// Its input begins, or the caller's use of its pipes; or a descriptor of the caller's has to be closed here, as he
    /// may be waiting for its other end.
    ToBegin,
}

impl<K: Kernel> Running<K> {
    /// The program is not known to be executed.
    pub(crate) fn is_starting(&self) -> bool {
        self.start.is_some()
    }

    /// Why it has to be learned that its program is executed, which nobody announces; also where our ends are closed
    /// already.
    pub(crate) fn awaits_exec(&self) -> Option<AwaitsExec> {
        let launch = &self.start.as_ref()?.launch;
        let begins = launch.stdio[Stream::Stdin as usize].has_our_end()
            || launch.has_files()
            || self.streams.iter().any(OurEnd::is_callers);
        if begins {
            Some(AwaitsExec::ToBegin)
        } else {
            launch.has_ends().then_some(AwaitsExec::ToEnd)
        }
    }

    /// It has to be asked by timer, although its exit is announced.
    pub(crate) fn may_be_stopped(&self) -> bool {
        self.has_console && self.reaped.is_none()
    }

    /// It is detached, or survives the reactor and has not exited yet: the reactor's end does not touch it.
    pub(crate) fn is_left_alone(&self) -> bool {
        self.is_detached || (self.survives && self.reaped.is_none())
    }

    pub(crate) fn stream(&mut self, stream: Stream) -> &mut OurEnd<K::Pipe> {
        &mut self.streams[stream as usize]
    }

    /// Performs the cancel action.
    pub(crate) fn perform_cancel(&self, kernel: &mut K) -> io::Result<()> {
        let target = self.cancel.target;
        let callback = match &self.cancel.action {
            Action::Nothing => return Ok(()),
            Action::Signal(signal) => return self.send(target, *signal, kernel),
            Action::Callback(callback) => callback,
        };
        let Some(child) = &self.child else {
            return Err(process_gone());
        };
        let kernel = RefCell::new(kernel);
        let signal = |target, signal| kernel.borrow_mut().signal(child, target, signal);
        let lent = CancelTarget {
            pid: K::pid(child),
            signal: &signal,
        };
        let mut has_panicked = true;
        let result = guarded("cancel callback", || {
            let result = callback(&lent);
            has_panicked = false;
            result
        });
        if has_panicked {
            // What it did is unknown: make sure that the child ends.
            let _ = self.kill(*kernel.borrow_mut());
        }
        result
    }

    /// Drops what is left of it and of the caller's: each for itself, as each may panic, if there is any.
    #[expect(
        clippy::boxed_local,
        reason = "taken out of its box, all of it would be copied first"
    )]
    pub(crate) fn drop_apart(mut self: Box<Running<K>>) {
        for our_end in &mut self.streams {
            if !matches!(our_end, OurEnd::Absent) {
                drop_callers("stream", std::mem::replace(our_end, OurEnd::Absent));
            }
        }
        self.job.drop_errors();
        let Running { cancel, start, .. } = *self;
        cancel.let_go();
        if let Some(spec) = start {
            spec.drop_apart();
        }
    }

    /// Sends a later signal of the cancel action's ladder.
    pub(crate) fn perform_rung(&self, rung: usize, kernel: &mut K) -> io::Result<()> {
        match self.cancel.rungs.get(rung) {
            Some((_, signal)) => self.send(self.cancel.target, *signal, kernel),
            None => Ok(()),
        }
    }

    /// Kills what the cancel action would signal: the child, or its group.
    pub(crate) fn kill(&self, kernel: &mut K) -> io::Result<()> {
        self.send(self.cancel.target, Signal::KILL, kernel)
    }

    /// Signals the child, or the group that it leads, and the child as well where it has left that.
    fn send(&self, target: Target, signal: Signal, kernel: &mut K) -> io::Result<()> {
        let Some(child) = &self.child else {
            return Err(process_gone());
        };
        let sent = kernel.signal(child, target, signal);
        if target == Target::Group && kernel.has_left_group(child) {
            return kernel.signal(child, Target::Process, signal);
        }
        sent
    }

    /// Our ends that are open.
    pub(crate) fn open_pipes(&self) -> u32 {
        self.streams.iter().filter_map(OurEnd::pipe).count() as u32
    }

    /// Takes its status, once it has exited.
    pub(crate) fn reap(&mut self, kernel: &mut K) -> io::Result<Option<Exit>> {
        let child = self.child.as_mut();
        child.map_or(Ok(None), |child| kernel.reap(child))
    }

    /// Kills the group that it leads, or what is left of it after the leader's exit. Where the kernel cannot signal a
    /// group by pidfd, only before the leader is reaped.
    pub(crate) fn kill_group(&self, kernel: &mut K) {
        if let Some(child) = self.child.as_ref().filter(|_| self.leads_group) {
            let _ = kernel.signal(child, Target::Group, Signal::KILL);
        }
    }

    /// Has it, and the group that it leads, stop or go on. One that has ended meanwhile, or is another user's now, is
    /// let be.
    pub(crate) fn steer(&self, signal: Signal, kernel: &mut K) {
        let target = if self.leads_group {
            Target::Group
        } else {
            Target::Process
        };
        let _ = self.send(target, signal, kernel);
    }

    /// It was suspended, and nobody else would let it go on.
    pub(crate) fn let_go_on(&self, kernel: &mut K) {
        self.steer(Signal::CONT, kernel);
    }

    /// Moves what a copied stream's budget allows. Returns how many bytes were read, too. `None`: it is not copied.
    pub(crate) fn serve(
        &mut self,
        stream: Stream,
        kernel: &mut K,
        scratch: &mut Vec<u8>,
    ) -> Option<(Progress, usize)> {
        let has_hung_up = self.is_typed && self.streams[Stream::Stdout as usize].pipe().is_none();
        match self.stream(stream) {
            OurEnd::Fill(_) if has_hung_up => Some((Progress::Ended(Ok(())), 0)),
            OurEnd::Fill(fill) => Some((fill.fill(kernel), 0)),
            OurEnd::Drain(drain) => Some(drain.drain(kernel, scratch)),
            OurEnd::Absent | OurEnd::Caller(_) | OurEnd::Collected(_) => None,
        }
    }

    /// Before its pipe is cut: moves what a copied stream still holds, and closes it.
    pub(crate) fn serve_last(
        &mut self,
        stream: Stream,
        kernel: &mut K,
        scratch: &mut Vec<u8>,
    ) -> Event {
        let ended = match self.stream(stream) {
            OurEnd::Fill(fill) => fill.fill_last(kernel),
            OurEnd::Drain(drain) => drain.drain_last(kernel, scratch),
            OurEnd::Absent | OurEnd::Caller(_) | OurEnd::Collected(_) => None,
        };
        if ended.is_none() {
            self.name_holders(stream, kernel);
        }
        let dropped = self.close_stream(stream, kernel);
        match ended {
            Some(result) => Event::StreamEnded(stream, result.and(dropped)),
            None => Event::StreamCut(stream),
        }
    }

    /// Who holds this copied stream's pipe, beside us. Other children at their birth are not meant: for that moment, they
    /// have all that we have.
    pub(crate) fn holders_of(&mut self, stream: Stream, kernel: &K) -> io::Result<Vec<Holder>> {
        let own = self.child.as_ref().map(K::pid);
        let Some(fd) = self.stream(stream).copied_pipe().and_then(K::fd) else {
            return Ok(Vec::new());
        };
        let newborn = kernel.newborn();
        let mut holders = pipe_holders(fd)?;
        holders.retain(|holder| Some(holder.pid) == own || !newborn.contains(&holder.pid));
        Ok(holders)
    }

    /// Before its pipe is cut, as no one can be found by it afterwards.
    fn name_holders(&mut self, stream: Stream, kernel: &K) {
        if !self.job.policy().names_holders {
            return;
        }
        for holder in self.holders_of(stream, kernel).unwrap_or_default() {
            if !self.holders.contains(&holder) {
                self.holders.push(holder);
            }
        }
    }

    /// Closes the pipe of a copied stream, and keeps what was collected. The error is that of a caller's own drop.
    pub(crate) fn close_stream(&mut self, stream: Stream, kernel: &mut K) -> io::Result<()> {
        self.stream(stream).close(kernel)
    }

    /// Closes all that is open: how that went is of no interest any more.
    pub(crate) fn close_pipes(&mut self, kernel: &mut K) {
        for stream in Stream::ALL {
            let _ = self.close_stream(stream, kernel);
        }
        self.close_callers_pipes(kernel);
    }

    /// Cuts the caller's own pipes, as the copied ones are (Go closes them together).
    pub(crate) fn cut_callers_pipes(&mut self, kernel: &mut K) {
        let cause = self.job.cause();
        let why = cause.map_or(Closed::ByWaitDelay, Closed::ByStop);
        for (our_end, stream) in self.streams.iter_mut().zip(Stream::ALL) {
            match our_end {
                OurEnd::Caller(pipe) if stream == Stream::Stdin => pipe.cut_input(kernel, why),
                OurEnd::Caller(pipe) => pipe.cut_output(kernel, why),
                OurEnd::Absent | OurEnd::Fill(_) | OurEnd::Drain(_) | OurEnd::Collected(_) => {}
            }
        }
    }

    /// Closes the caller's own pipes, which he cannot reach any more.
    pub(crate) fn close_callers_pipes(&mut self, kernel: &mut K) {
        for stream in Stream::ALL {
            self.close_callers_pipe(stream, kernel);
        }
    }

    /// The same for one.
    pub(crate) fn close_callers_pipe(&mut self, stream: Stream, kernel: &mut K) {
        if let OurEnd::Caller(pipe) = self.stream(stream) {
            pipe.close(kernel);
        }
    }
}
