//! Simulated processes: they follow their scripts, block on pipes, take signals, and end.
//! Unaware of the loop.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::birth::Exec;
use super::pipe::Standing;
use super::script::{Act, Reaction, Script};
use super::world::{Watched, World};
use crate::sys::{Signal, Target, Tenant};

/// A wait status, as wait(2) encodes it.
fn exited(code: i32) -> i32 {
    (code & 0xff) << 8
}

/// A process: one of our children, or one of theirs.
#[derive(Debug)]
pub(crate) struct Process {
    script: Rc<Script>,
    /// The act that it is at.
    at: usize,
    /// What is left to do of a write or a read; `None` before it begins.
    left: Option<usize>,
    /// The pipes that its descriptors 0, 1, 2 lead to.
    ends: [Option<usize>; 3],
    /// Those that it has closed.
    closed: [Option<usize>; 3],
    /// It was killed by this signal, and dies in a moment.
    dying: Option<i32>,
    /// Stopped by SIGSTOP; `owes`: something was to happen meanwhile. What it is signalled waits.
    is_suspended: bool,
    owes: bool,
    held: Vec<Signal>,
    /// Stopped by the terminal, which nobody announces. The same holds for it.
    is_stopped_there: bool,
    /// It was stopped before its exec: what comes of signals, but for SIGKILL, comes when it goes on.
    is_stopped: bool,
    pending: Option<i32>,
    /// The process that leads its group; `None`: ours.
    pub(super) group: Option<usize>,
    pub(crate) is_alive: bool,
    epoch: u64,
    /// What we know of it, where it is a child of ours.
    pub(crate) child: Option<ChildFacts>,
}

/// The truth about one of our children.
#[derive(Debug)]
pub(crate) struct ChildFacts {
    pub(crate) exec: Exec,
    /// Who gets the event of its exit; `None`: it is not watched.
    pub(super) tenant: Option<Tenant>,
    pub(crate) program: usize,
    pub(crate) pipes: [Option<usize>; 3],
    pub(crate) started: Instant,
    /// When it ended, and with which wait status.
    pub(crate) ended: Option<(Instant, i32)>,
    /// When it can be waited for: a kqueue announces its exit before that.
    pub(crate) waitable: Option<Instant>,
    pub(crate) reaped: Option<Instant>,
    /// Its pid. It shares its numbers with descriptors, and is another's once the child is reaped.
    pub(super) number: usize,
    /// Its handle is there.
    pub(crate) is_open: bool,
    pub(super) early_exits: usize,
    /// Every signal that was sent to it: when, which, to whom, and the answer's error number.
    pub(crate) signals: Vec<(Instant, i32, Target, Option<i32>)>,
}

impl ChildFacts {
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.exec, Exec::Failed(_))
    }
}

impl Process {
    /// What was planned for it before is void.
    pub(super) fn next_epoch(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    /// It is stopped, and goes on by SIGCONT.
    fn stands(&self) -> bool {
        self.is_suspended || self.is_stopped_there
    }

    pub(crate) fn script(&self) -> &Script {
        &self.script
    }
}

impl World {
    /// Makes a process that holds these pipes, and lets it begin.
    pub(super) fn spawn(
        &mut self,
        script: Rc<Script>,
        ends: [Option<usize>; 3],
        group: Option<usize>,
        child: Option<ChildFacts>,
    ) -> usize {
        for pipe in ends.into_iter().flatten() {
            self.pipes[pipe].holders += 1;
        }
        self.processes.push(Process {
            script,
            at: 0,
            left: None,
            ends,
            closed: [None; 3],
            dying: None,
            is_stopped: false,
            is_suspended: false,
            is_stopped_there: false,
            owes: false,
            held: Vec::new(),
            pending: None,
            group,
            is_alive: true,
            epoch: 0,
            child,
        });
        let process = self.processes.len() - 1;
        let after = self.moment();
        self.resume(process, after);
        process
    }

    /// A start takes its time, sometimes much, and now and then as long as on a file system that has gone to sleep.
    pub(super) fn was_started(&mut self, process: usize) {
        let child = self.processes[process].child.as_ref();
        if child.is_some_and(|child| matches!(child.exec, Exec::UnderWay(_))) {
            let mut listed = std::mem::take(&mut self.under_way);
            listed.retain(|process| self.is_under_way(*process));
            listed.push(process);
            self.under_way = listed;
            let longest = match self.random.below(64) {
                0 => 20_000_000,
                1..16 => 30_000,
                _ => 300,
            };
            let by_chance = Duration::from_micros(self.random.below(longest) as u64);
            let this = &mut self.processes[process];
            let (known, stopped) = (this.script.exec_takes, this.script.stopped_for);
            this.is_stopped = stopped.is_some();
            match stopped {
                // Nobody lets it go on.
                Some(Duration::MAX) => {
                    this.next_epoch();
                }
                Some(time) => self.resume(process, time),
                None => self.resume(process, known.unwrap_or(by_chance)),
            }
        }
    }

    /// Whoever was stopped before its exec goes on.
    pub(crate) fn let_stopped_go_on(&mut self) {
        for process in 0..self.processes.len() {
            if self.processes[process].is_stopped {
                self.next_moment(process);
            }
        }
    }

    /// How many children are on their way to their exec.
    pub(crate) fn starts_under_way(&self) -> usize {
        let listed = self.under_way.iter();
        listed
            .filter(|process| self.is_under_way(**process))
            .count()
    }

    /// This one is.
    pub(super) fn is_under_way(&self, process: usize) -> bool {
        let process = &self.processes[process];
        let child = process.child.as_ref();
        process.is_alive && child.is_some_and(|child| matches!(child.exec, Exec::UnderWay(_)))
    }

    /// Puts a child at the head of a group of its own.
    pub(super) fn lead_group(&mut self, process: usize) {
        self.processes[process].group = Some(process);
    }

    /// A process does the next piece of what it is at.
    pub(super) fn step(&mut self, process: usize, epoch: u64) {
        let this = &mut self.processes[process];
        if !this.is_alive || this.epoch != epoch {
            return;
        }
        if let Some(signal) = this.dying {
            return self.end(process, signal);
        }
        if this.stands() {
            this.owes = true;
            return;
        }
        this.is_stopped = false;
        if let Some(signal) = this.pending.take() {
            return self.kill(process, signal);
        }
        if let Some(child) = &mut this.child
            && let Exec::UnderWay(obstacle) = child.exec
        {
            return match obstacle {
                Some(obstacle) => {
                    child.exec = Exec::Failed(obstacle);
                    self.end(process, exited(253));
                }
                None => {
                    child.exec = Exec::Done;
                    self.next_moment(process);
                }
            };
        }
        let Some(act) = this.script.acts.get(this.at).cloned() else {
            return self.end(process, exited(0));
        };
        match act {
            Act::Write(fd, bytes) => self.write_step(process, fd, bytes),
            Act::Read(bytes) => self.read_step(process, bytes),
            Act::Sleep(time) => {
                self.processes[process].at += 1;
                self.resume(process, time);
            }
            Act::Close(fd) => {
                if let Some(pipe) = self.processes[process].ends[fd].take() {
                    self.processes[process].closed[fd] = Some(pipe);
                    self.let_go(pipe);
                }
                self.next_act(process);
            }
            Act::Reopen(fd) => {
                // By /proc/PID/fd of ours, which has to be there.
                let closed = self.processes[process].closed[fd];
                if let Some(pipe) = closed.filter(|pipe| self.pipes[*pipe].is_ours_open)
                    && self.processes[process].ends[fd].is_none()
                {
                    self.processes[process].ends[fd] = Some(pipe);
                    self.pipes[pipe].holders += 1;
                }
                self.next_act(process);
            }
            Act::Fork(script) => {
                let (ends, group) = (self.processes[process].ends, self.processes[process].group);
                self.spawn(script, ends, group, None);
                self.next_act(process);
            }
            Act::LeaveGroup => {
                self.processes[process].group = None;
                self.next_act(process);
            }
            Act::Stop => {
                self.processes[process].is_stopped_there = true;
                self.next_act(process);
            }
            Act::Exit(code) => self.end(process, exited(code)),
            Act::Die(signal) => self.end(process, signal),
        }
    }

    fn next_moment(&mut self, process: usize) {
        let after = self.moment();
        self.resume(process, after);
    }

    fn next_act(&mut self, process: usize) {
        let this = &mut self.processes[process];
        this.at += 1;
        this.left = None;
        let after = self.moment();
        self.resume(process, after);
    }

    fn write_step(&mut self, process: usize, fd: usize, bytes: usize) {
        let this = &mut self.processes[process];
        let left = *this.left.get_or_insert(bytes);
        let Some(pipe) = this.ends[fd].filter(|_| left > 0) else {
            // It goes to /dev/null.
            return self.next_act(process);
        };
        if !self.pipes[pipe].is_ours_open {
            if self.processes[process].script.survives_pipe {
                return self.next_act(process);
            }
            return self.end(process, libc::SIGPIPE);
        }
        // Programs write in pieces of their own.
        let piece = if self.random.one_in(3) {
            1 + self.random.below(left.min(5000))
        } else {
            left
        };
        let was_empty = self.pipes[pipe].len() == 0;
        let count = self.pipes[pipe].put(piece);
        if count == 0 {
            return self.pipes[pipe].waiting.push(process);
        }
        self.processes[process].left = Some(left - count);
        // Newer kernels wake a poller for each write, older ones only for the first into an empty pipe.
        if was_empty || self.random.one_in(4) {
            self.announce(Watched::Pipe(pipe));
        }
        let after = self.moment();
        self.resume(process, after);
    }

    fn read_step(&mut self, process: usize, bytes: Option<usize>) {
        let this = &mut self.processes[process];
        let left = *this.left.get_or_insert(bytes.unwrap_or(usize::MAX));
        let Some(pipe) = this.ends[0].filter(|_| left > 0) else {
            return self.next_act(process);
        };
        let end = &mut self.pipes[pipe];
        if end.len() == 0 {
            if end.is_ours_open {
                return end.waiting.push(process);
            }
            return self.next_act(process);
        }
        let was_full = end.room() == 0;
        let piece = if self.random.one_in(3) {
            1 + self.random.below(left.min(5000))
        } else {
            left
        };
        let (_, count) = self.pipes[pipe].take(piece);
        self.processes[process].left = Some(left - count);
        if was_full {
            self.announce(Watched::Pipe(pipe));
        }
        let after = self.moment();
        self.resume(process, after);
    }

    /// One descriptor less leads to this pipe.
    fn let_go(&mut self, pipe: usize) {
        let now = self.now();
        let end = &mut self.pipes[pipe];
        end.holders -= 1;
        if end.holders == 0 {
            end.released = Some(now);
            if end.is_ours_open {
                self.announce(Watched::Pipe(pipe));
            }
        }
    }

    /// A process is over: its descriptors first, then its exit.
    pub(super) fn end(&mut self, process: usize, status: i32) {
        let this = &mut self.processes[process];
        if !this.is_alive {
            return;
        }
        this.is_alive = false;
        let ends = std::mem::take(&mut this.ends);
        for pipe in ends.into_iter().flatten() {
            self.let_go(pipe);
        }
        let now = self.now();
        let after = self.time_to_waitable();
        if let Some(child) = &mut self.processes[process].child {
            child.ended = Some((now, status));
            child.waitable = Some(now + after);
            if child.tenant.is_some() {
                self.announce(Watched::Exit(process));
            }
        }
    }

    /// A kqueue tells that a process exits while it does; a pidfd, when it has.
    fn time_to_waitable(&mut self) -> Duration {
        if !self.weather.by_kqueue || self.random.one_in(2) {
            return Duration::ZERO;
        }
        Duration::from_micros(1 + self.random.below(200) as u64)
    }

    /// Lets processes go on that waited for this pipe.
    pub(super) fn stir(&mut self, pipe: usize) {
        for process in std::mem::take(&mut self.pipes[pipe].waiting) {
            let after = self.moment();
            self.resume(process, after);
        }
    }

    /// Sends a signal to a child of ours or its group. The error is a number.
    pub(super) fn send(
        &mut self,
        process: usize,
        target: Target,
        signal: Signal,
    ) -> Result<(), i32> {
        let script = Rc::clone(&self.processes[process].script);
        let answer = self.may_send(process, target, &script);
        let now = self.now();
        let steers = signal == Signal::STOP || signal == Signal::CONT;
        if let Some(child) = &mut self.processes[process].child
            && !steers
        {
            child
                .signals
                .push((now, signal.number(), target, answer.err()));
        }
        answer?;
        let hit: Vec<usize> = match target {
            Target::Process => vec![process],
            Target::Group => (0..self.processes.len())
                .filter(|other| self.processes[*other].group == Some(process))
                .collect(),
        };
        for other in hit {
            self.hit(other, signal);
        }
        Ok(())
    }

    fn may_send(&self, process: usize, target: Target, script: &Script) -> Result<(), i32> {
        let this = &self.processes[process];
        let child = this.child.as_ref().ok_or(libc::ESRCH)?;
        let mut is_gone = child.reaped.is_some() || (script.loses_status && child.ended.is_some());
        if target == Target::Group {
            let mut members = self.processes.iter();
            let is_empty = !members.any(|one| one.is_alive && one.group == Some(process));
            let finds = if self.weather.by_kqueue {
                // By the number of a leader that somebody else has reaped, and we not: the members hold the number.
                child.reaped.is_none()
            } else {
                // Newer kernels still find the group of a leader that was reaped.
                self.weather.finds_groups
            };
            is_gone &= !finds || is_empty;
            is_gone |= this.group != Some(process) && is_empty;
        }
        if is_gone {
            return Err(libc::ESRCH);
        }
        if script.is_foreign {
            return Err(libc::EPERM);
        }
        Ok(())
    }

    fn hit(&mut self, process: usize, signal: Signal) {
        let this = &mut self.processes[process];
        if !this.is_alive {
            return;
        }
        if signal == Signal::STOP {
            this.is_suspended = true;
            return;
        }
        if signal == Signal::CONT {
            return self.let_go_on(process);
        }
        if this.stands() && signal != Signal::KILL {
            return this.held.push(signal);
        }
        let number = signal.number();
        if this.is_stopped && number != libc::SIGKILL {
            this.pending.get_or_insert(number);
            return;
        }
        let is_born = |child: &ChildFacts| matches!(child.exec, Exec::UnderWay(_));
        match this.script.reaction {
            _ if this.dying.is_some() => {}
            // Before its exec, a child neither catches nor ignores.
            _ if this.child.as_ref().is_some_and(is_born) => self.kill(process, number),
            _ if number == libc::SIGKILL => self.kill(process, number),
            Reaction::Die => self.kill(process, number),
            Reaction::Ignore => {}
            Reaction::Exit(after, code) => {
                // The handler takes the place of what it was at.
                let goodbye = Script {
                    acts: vec![Act::Sleep(after), Act::Exit(code)],
                    reaction: Reaction::Ignore,
                    ..Script::clone(&this.script)
                };
                let this = &mut self.processes[process];
                this.script = Rc::new(goodbye);
                this.at = 0;
                this.left = None;
                self.resume(process, Duration::ZERO);
            }
        }
    }

    /// Somebody asks whether a child is over. Where the terminal has stopped it, it goes on, unless we have stopped it, too.
    pub(super) fn follow_stop(&mut self, process: usize) {
        let this = &self.processes[process];
        if this.is_stopped_there && !this.is_suspended {
            self.was_used = true;
            self.let_go_on(process);
        }
    }

    /// What it was to do, and what it was signalled, happens now.
    fn let_go_on(&mut self, process: usize) {
        let this = &mut self.processes[process];
        this.is_suspended = false;
        this.is_stopped_there = false;
        let held = std::mem::take(&mut this.held);
        if std::mem::take(&mut this.owes) {
            self.next_moment(process);
        }
        for signal in held {
            self.hit(process, signal);
        }
    }

    /// A signal ends it, at once or in a moment: until then it holds what it has.
    fn kill(&mut self, process: usize, signal: i32) {
        if self.random.one_in(2) {
            return self.end(process, signal);
        }
        self.processes[process].dying = Some(signal);
        let after = Duration::from_micros(1 + self.random.below(200) as u64);
        self.resume(process, after);
    }

    /// Kills who is left of the group that a child leads.
    pub(super) fn sweep(&mut self, leader: usize) {
        for process in 0..self.processes.len() {
            if self.processes[process].group == Some(leader) {
                self.hit(process, Signal::KILL);
            }
        }
    }

    /// Whether somebody of its group goes on.
    pub(crate) fn has_group(&self, leader: u32) -> bool {
        let goes_on = |process: &Process| process.is_alive && process.dying.is_none();
        let group = Some(leader as usize - 1);
        self.processes
            .iter()
            .any(|process| process.group == group && goes_on(process))
    }

    /// The facts about one of our children.
    pub(crate) fn child(&self, pid: u32) -> Option<(&ChildFacts, &Process)> {
        let process = self.processes.get(pid as usize - 1)?;
        Some((process.child.as_ref()?, process))
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = (u32, &ChildFacts)> {
        let processes = self.processes.iter().enumerate();
        processes.filter_map(|(at, process)| Some((at as u32 + 1, process.child.as_ref()?)))
    }

    /// Our end of a pipe is closed.
    pub(super) fn close_ours(&mut self, pipe: usize) {
        self.forget(Watched::Pipe(pipe));
        self.fds -= 1;
        if !self.pipes[pipe].is_retired {
            self.was_closed(pipe);
        }
        let standing = self.standing(pipe);
        let end = &mut self.pipes[pipe];
        end.is_ours_open = false;
        end.at_close = Some(standing);
        self.stir(pipe);
    }

    /// By whom a pipe is held now.
    pub(super) fn standing(&self, pipe: usize) -> Standing {
        let holds = |process: &&Process| process.ends.contains(&Some(pipe));
        let dying = self
            .processes
            .iter()
            .filter(|process| process.dying.is_some())
            .filter(holds);
        Standing {
            at: self.now(),
            holders: self.pipes[pipe].holders,
            dying: dying.count(),
        }
    }
}
