//! The caller of a simulation at his pipes: reads, writes and closes, and whether the bytes are the right ones.
//! Unaware of how the loop serves them.

use std::io::ErrorKind;

use super::Driver;
use super::plan::{Feed, Take};
use crate::engine::Patience;
use crate::finished::CommandId;
use crate::sys::Stream;
use crate::sys::simulated::append;

impl Driver {
    /// The caller reads or writes a pipe of his, which turns the loop.
    pub(super) fn serve_caller(&mut self) {
        let found = self.live.iter().find_map(|number| {
            let job = &self.book.borrow()[*number];
            let id = job.id.filter(|_| job.has_callers_pipe())?;
            Some((*number, id, job.feed, job.takes))
        });
        let Some((number, id, feed, takes)) = found else {
            return;
        };
        self.check_lent(id, feed, takes);
        // He may wait.
        self.unsuspend();
        if feed == Feed::Caller && self.random.one_in(2) {
            return self.feed_from_caller(id);
        }
        for (stream, take) in [Stream::Stdout, Stream::Stderr].into_iter().zip(takes) {
            if take == Take::Caller {
                self.drain_to_caller(number, id, stream);
            }
        }
    }

    fn feed_from_caller(&mut self, id: CommandId) {
        if self.random.one_in(2) {
            return self.engine().close_callers_pipe(id, Stream::Stdin);
        }
        if self.engine().table.slot_of(id).is_none() {
            return;
        }
        let number = self.speaker.numbers.borrow()[&id.number];
        let (key, at) = {
            let book = self.book.borrow();
            (book[number].program, book[number].callers_written)
        };
        let mut bytes = Vec::new();
        let count = 1 + self.random.below(5000);
        append(key, at, count, &mut bytes);
        let tries = self.tries();
        let patience = patience(tries);
        let written = self.engine().write_callers_pipe(id, &bytes, patience);
        self.check_served(id, Stream::Stdin, tries);
        match written {
            Err(error) if tries && error.kind() == ErrorKind::WouldBlock => {
                self.wanted.push((id, Stream::Stdin));
            }
            Ok(written) => self.book.borrow_mut()[number].callers_written += written,
            Err(error) => {
                let kind = error.kind();
                let is_over = matches!(kind, ErrorKind::BrokenPipe | ErrorKind::NotConnected);
                assert!(is_over || self.may_fail, "{error}");
            }
        }
    }

    /// Each pipe that was asked for answers until the command is handed out, whatever became of it.
    fn check_lent(&mut self, id: CommandId, feed: Feed, takes: [Take; 2]) {
        if !self.engine().knows(id) {
            return;
        }
        let lent = [
            feed == Feed::Caller,
            takes[0] == Take::Caller,
            takes[1] == Take::Caller,
        ];
        for (stream, is_lent) in Stream::ALL.into_iter().zip(lent) {
            let has_pipe = self.engine().has_callers_pipe(id, stream);
            assert!(has_pipe || !is_lent, "{id}: its {stream} is gone");
        }
    }

    /// Who has just tried is told of nothing that was before.
    fn check_served(&mut self, id: CommandId, stream: Stream, has_tried: bool) {
        let is_noted = self.engine().readiness.is_noted(id.number, stream);
        assert!(!(has_tried && is_noted), "{id}: {stream} is noted");
    }

    /// Whether the caller only tries. One who waits may wait for the queue, which waits for him.
    fn tries(&mut self) -> bool {
        self.random.one_in(2) || self.takes_first
    }

    fn drain_to_caller(&mut self, number: usize, id: CommandId, stream: Stream) {
        if self.random.one_in(12) {
            return self.engine().close_callers_pipe(id, stream);
        }
        let mut buffer = vec![0; 4096 + self.random.below(5000)];
        let tries = self.tries();
        let (engine, patience) = (self.engine(), patience(tries));
        let read = engine.read_callers_pipe(id, stream, &mut buffer, patience);
        self.check_served(id, stream, tries);
        match read {
            Err(error) if tries && error.kind() == ErrorKind::WouldBlock => {
                self.wanted.push((id, stream));
            }
            Ok(0) => {
                // It may be opened anew later, and written to.
                let job = &self.book.borrow()[number];
                let world = self.world.borrow();
                let is_true = world.has_ended(job.program, stream, job.callers_read);
                assert!(is_true, "the end that the caller saw: {job:#?}");
            }
            Ok(count) => {
                let job = &mut self.book.borrow_mut()[number];
                let world = self.world.borrow();
                let is_right =
                    world.is_output(job.program, stream, job.callers_read, &buffer[..count]);
                assert!(is_right, "wrong bytes from a pipe of the caller's");
                job.callers_read += count;
            }
            Err(error) => {
                let is_closed = error.kind() == ErrorKind::NotConnected;
                let is_injected = error.raw_os_error().is_some();
                assert!(is_closed || is_injected, "{error}");
            }
        }
    }
}

fn patience(tries: bool) -> Patience {
    if tries {
        Patience::Tries
    } else {
        Patience::Waits
    }
}
