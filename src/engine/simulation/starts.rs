//! Starts the commands of a simulation, by the driver itself or by another thread, and judges a start that is refused.
//! Unaware of what becomes of them.

use std::rc::Rc;
use std::time::Duration;

use super::Driver;
use super::plan::Job;
use crate::error::StartError;
use crate::sys::Kernel;

impl Driver {
    /// Makes a command, and the place for it in the book.
    pub(super) fn make(&mut self, is_sent: bool) -> (usize, crate::Command) {
        let number = self.book.borrow().len();
        let program = self.world.borrow().program_count();
        let contexts = self.contexts.len();
        let callers_one_in = if self.hoards { 2 } else { 12 };
        let mut job = Job::random(&mut self.random, program, contexts, callers_one_in);
        // When that one is queued, the driver does not see.
        job.counts_queue |= is_sent;
        job.is_sent = is_sent;
        let path = self.world.borrow_mut().install(job.script.clone());
        let mut command = job.command(&path, number, &mut self.random);
        if let Some(context) = job.context {
            command.context(&self.contexts[context].context);
        }
        self.book.borrow_mut().push(job);
        self.live.push(number);
        (number, command)
    }

    pub(super) fn start_one(&mut self) {
        if self.jobs_left == 0 {
            // What no reply has started.
            let left = self.speaker.stock.borrow_mut().pop();
            return match left {
                Some((number, command)) => self.start_from_outside(number, command),
                None => self.turn(),
            };
        }
        self.jobs_left -= 1;
        let is_sent = self.random.one_in(6);
        let (number, mut command) = self.make(is_sent);
        if is_sent && self.random.one_in(2) {
            return self.speaker.stock.borrow_mut().push((number, command));
        }
        if is_sent {
            return self.start_from_outside(number, command);
        }
        let now = self.engine().kernel.now();
        match self.engine().start(&mut command) {
            Ok(id) => {
                self.speaker.numbers.borrow_mut().insert(id.number, number);
                let job = &mut self.book.borrow_mut()[number];
                // One that is tried again leaves the queue and comes back.
                if job.script.busy_times + job.script.refusals == 0 {
                    self.waiting.push(number);
                }
                job.id = Some(id);
                job.queued = Some(now);
            }
            Err(error) => self.check_refused(number, &error),
        }
    }

    /// Another thread starts it by a handle, a little later.
    pub(super) fn start_from_outside(&mut self, number: usize, command: crate::Command) {
        let speaker = Rc::clone(&self.speaker);
        let after = Duration::from_micros(self.random.below(3000) as u64);
        let has_reply = self.random.one_in(2);
        self.world
            .borrow_mut()
            .outside(after, move || speaker.start(number, command, has_reply));
    }

    /// A start that fails at once: nothing is left of it, and the reason is true.
    pub(super) fn check_refused(&mut self, number: usize, error: &StartError) {
        self.live.retain(|live| *live != number);
        let job = &mut self.book.borrow_mut()[number];
        job.is_over = true;
        let context = job.context.map(|at| self.contexts[at].context.cause());
        let is_true = match error {
            StartError::Stopped(cause) => context == Some(Some(*cause)),
            StartError::Step { source, .. } => match source.raw_os_error() {
                Some(libc::EACCES) => job.script.exec_error.is_some(),
                number if number == job.script.clone_error && number.is_some() => true,
                // Only a start that no other command's end could make room for fails for want of something.
                _ => self
                    .engine
                    .as_ref()
                    .is_some_and(|engine| engine.running() == 0),
            },
            _ => false,
        };
        assert!(is_true, "refused: {error:?} {job:#?}");
    }
}
