//! What stops, suspends and ends a run: signals, failures, a closed stdout.
//! Unaware of how commands are started and of what becomes of each.

use std::os::fd::AsFd;

use execloop::ExitError;
use execloop::linux::Orphan;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

/// A terminal that has stopped is not waited for.
const HIDDEN_AFTER_MAX: Duration = Duration::from_millis(100);
/// A process that exits may have to wait for a file system.
const LAST_ORPHANS_MAX: Duration = Duration::from_secs(1);

impl Run {
    /// Does what signals ask for.
    pub(super) fn obey(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Stop(signal) if self.interrupted_by.is_none() => {
                    self.interrupted_by = Some(signal);
                    self.stop();
                    self.tell_stop(signal);
                }
                Request::Stop(signal) | Request::Kill(signal) => {
                    self.interrupted_by.get_or_insert(signal);
                    self.kill();
                }
                Request::Suspend => self.suspend(),
                Request::More => self.options.jobs = self.options.jobs.saturating_add(1),
                Request::Fewer => self.options.jobs = (self.options.jobs - 1).max(1),
                Request::Reap => {
                    if let Some(reaper) = &mut self.reaper {
                        reaper.ask();
                    }
                }
            }
        }
    }

    /// Asks everything to stop. The wait delay says how long that may take.
    pub(super) fn stop(&mut self) {
        if matches!(self.state, State::Feeding | State::Fed) {
            self.state = State::Stopping;
            self.options.launch.context.cancel();
            self.source.stop();
        }
    }

    /// Who writes to stdout himself hears by SIGPIPE that nobody reads it, but may have written to another pipe.
    pub(super) fn heed_closed_stdout(&mut self, finished: &Finished) {
        if self.printer.printing == Printing::Inherited
            && let Err(Error::Exit(exit)) = &finished.outcome
            && is_by_sigpipe(exit)
            && has_no_reader(io::stdout())
        {
            self.is_stdout_closed = true;
        }
    }

    fn tell_stop(&self, signal: Signal) {
        let running = self.running.len();
        if running > 0 && !self.options.quiet {
            let plural = if running == 1 { "" } else { "s" };
            let text =
                format!("{signal}: asking {running} command{plural} to stop; once more to kill");
            self.printer.tell(crate::message(&text));
        }
    }

    /// A signal asks for an end: once all commands are over, a reader of output or messages has as long as a command has to
    /// stop. `None`: he has all the time.
    fn unread_until(&mut self, now: Instant) -> Option<Instant> {
        let wait_delay = self.options.launch.wait_delay;
        let is_over = self.state == State::Stopping && self.running.is_empty();
        let is_bounded = is_over && self.interrupted_by.is_some() && !wait_delay.is_zero();
        is_bounded.then(|| *self.unread_until.get_or_insert(now + wait_delay))
    }

    pub(super) fn give_up_unread_output(&mut self) {
        let now = clock::now();
        let Some(ends_at) = self.unread_until(now) else {
            return;
        };
        if self.printer.outbox.is_empty() {
            return;
        }
        if now < ends_at {
            self.reactor.wake_at(ends_at);
        } else {
            self.is_output_given_up = true;
        }
    }

    /// Kills everything, at once.
    pub(super) fn kill(&mut self) {
        if self.state != State::Killed {
            self.state = State::Killed;
            for id in self.running.keys() {
                self.reactor.kill(*id);
            }
            self.source.stop();
        }
    }

    /// Ctrl-Z: the commands are in groups of their own, so they stop and go on with us by this alone, and so do their limits.
    fn suspend(&mut self) {
        if self.reactor.suspend().is_err() {
            return;
        }
        self.hide_bar();
        signals::suspend();
        self.reactor.unsuspend();
    }

    /// Takes the bar away, and waits a little until it is gone: the shell writes next.
    fn hide_bar(&mut self) {
        let Some(bar) = &self.bar else {
            return;
        };
        bar.hide();
        let ends_at = clock::now() + HIDDEN_AFTER_MAX;
        while !self.printer.is_told() {
            let timeout = ends_at.saturating_duration_since(clock::now());
            if timeout.is_zero() || self.reactor.turn(Some(timeout)).is_err() {
                return;
            }
        }
    }

    /// Takes the statuses of orphans, and tells of them if they were asked for.
    pub(super) fn reap_orphans(&mut self) {
        let Some(reaper) = &mut self.reaper else {
            return;
        };
        let orphans = reaper.look(&mut self.reactor);
        self.tell_orphans(&orphans);
    }

    fn tell_orphans(&self, orphans: &[Orphan]) {
        for orphan in orphans {
            // A failure is told in any case, as that of a command is.
            let is_news = !self.options.quiet || !orphan.status.success();
            if self.options.subreaper && is_news {
                self.printer.tell(crate::message(&orphan.to_string()));
            }
        }
    }

    /// Takes the statuses of those that have ended since, also of one that has let go of its output this instant and is about
    /// to end.
    pub(super) fn reap_last_orphans(&mut self) -> io::Result<()> {
        let ends_at = clock::now() + LAST_ORPHANS_MAX;
        while let Some(reaper) = self.reaper.as_mut().filter(|_| self.options.subreaper) {
            // Asked first: who is about to end is reaped the next time.
            let is_any_left = self.state != State::Killed && reaper::is_any_exiting();
            let orphans = reaper.look_for_the_last_time();
            self.tell_orphans(&orphans);
            let timeout = ends_at.saturating_duration_since(clock::now());
            if !is_any_left || timeout.is_zero() {
                break;
            }
            // SIGCHLD wakes.
            self.reactor.turn(Some(timeout))?;
            self.obey();
        }
        Ok(())
    }

    /// Sinks have their last words, which are waited for; not after a kill.
    pub(super) fn close_sinks(&mut self) -> io::Result<()> {
        for sink in &mut self.sinks {
            sink.close();
        }
        while self.state != State::Killed && !self.files.iter().all(|(_, file)| file.is_empty()) {
            self.reactor.turn(None)?;
            self.obey();
        }
        Ok(())
    }

    /// Says something on stderr, and waits until that and all before it is said. After a signal, no longer than for output;
    /// after a kill, and where nobody reads stdout any more, not for long.
    pub(crate) fn say_last(&mut self, text: Vec<u8>) -> io::Result<()> {
        self.printer.let_notes_go();
        self.printer.tell(text);
        let begun = clock::now();
        let mut short_ends_at = None;
        while !self.printer.is_told() {
            let now = clock::now();
            let is_short = self.state == State::Killed || self.is_output_given_up;
            let ends_at = if is_short {
                Some(*short_ends_at.get_or_insert(now + LAST_WORDS_MAX))
            } else {
                // All of the time may have gone to stdout.
                let unread_until = self.unread_until(now);
                unread_until.map(|ends_at| ends_at.max(begun + LAST_WORDS_MAX))
            };
            let timeout = ends_at.map(|ends_at| ends_at.saturating_duration_since(now));
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                break;
            }
            self.reactor.turn(timeout)?;
            self.obey();
        }
        Ok(())
    }
}

/// The command was ended by SIGPIPE, or says as a shell does that one of its own was.
fn is_by_sigpipe(exit: &ExitError) -> bool {
    let by_shell = 128 + Signal::PIPE.number();
    exit.signal() == Some(Signal::PIPE) || exit.status.code() == Some(by_shell)
}

/// It is a pipe, and nobody reads it: poll(2).
fn has_no_reader(pipe: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&pipe, PollFlags::empty())];
    let at_once = Timespec::default();
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_has_no_reader_once_its_other_end_is_closed() {
        let (reader, writer) = io::pipe().expect("a pipe");
        assert!(!has_no_reader(&writer));
        drop(reader);
        assert!(has_no_reader(&writer));
        assert!(!has_no_reader(File::open("/dev/null").expect("a file")));
    }
}
