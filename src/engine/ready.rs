//! Which of the caller's pipes he waits for, and which of those have something for him.
//! Unaware of pipes, and of how he waits.

use std::collections::{BTreeMap, HashMap};

use crate::sys::Stream;

/// What the caller was told would block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To have the descriptor, for another poller.
    Descriptor,
    /// To read or to write.
    Bytes,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The caller was told that it would block.
    Awaited,
    /// It may not block any more, and the caller has not been told: its place among those.
    Noted(u64),
}

/// One pipe that the caller waits for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    wish: Wish,
    stage: Stage,
}

/// By the commands' numbers. Empty, and free, where nobody tries without waiting.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    wanted: HashMap<(u64, Stream), Wanted>,
    /// What he has not heard of, in its order.
    noted: BTreeMap<u64, (u64, Stream)>,
    /// The place of the next of them.
    next: u64,
    /// The kernel could not be asked to announce these.
    unwatched: Vec<(u64, Stream)>,
}

impl Readiness {
    /// The caller was told that it would block, which outdates what was noted before.
    pub(super) fn wait_for(&mut self, number: u64, stream: Stream, wish: Wish) {
        let stage = Stage::Awaited;
        let wanted = self.wanted.entry((number, stream));
        let wanted = wanted.or_insert(Wanted { wish, stage });
        if wish == Wish::Bytes {
            wanted.wish = wish;
        }
        if let Stage::Noted(place) = std::mem::replace(&mut wanted.stage, stage) {
            self.noted.remove(&place);
        }
    }

    /// The same, and nobody will announce it.
    pub(super) fn wait_unwatched(&mut self, number: u64, stream: Stream) {
        self.wait_for(number, stream, Wish::Bytes);
        self.unwatched.push((number, stream));
    }

    /// It may not block any more, whoever waits for it.
    pub(super) fn note(&mut self, number: u64, stream: Stream) {
        if self.wanted.is_empty() {
            return;
        }
        if let Some(wanted) = self.wanted.get_mut(&(number, stream))
            && let Stage::Awaited = wanted.stage
        {
            wanted.stage = Stage::Noted(self.next);
            self.noted.insert(self.next, (number, stream));
            self.next += 1;
        }
    }

    /// He has tried again by himself, and it did not block: what was noted is served. What will be announced after a
    /// refusal that was not noted stays awaited.
    pub(super) fn serve(&mut self, number: u64, stream: Stream, granted: Wish) {
        if self.noted.is_empty() {
            return;
        }
        if let Some(wanted) = self.wanted.get(&(number, stream))
            && let Stage::Noted(place) = wanted.stage
            && (granted == Wish::Bytes || wanted.wish == granted)
        {
            self.noted.remove(&place);
            self.wanted.remove(&(number, stream));
        }
    }

    /// The same of all its pipes.
    pub(super) fn note_all(&mut self, number: u64) {
        for stream in Stream::ALL {
            self.note(number, stream);
        }
    }

    /// The time has come to try those again that nobody announces.
    pub(super) fn note_unwatched(&mut self) {
        for (number, stream) in std::mem::take(&mut self.unwatched) {
            self.note(number, stream);
        }
    }

    /// Its pipes are closed.
    pub(super) fn forget(&mut self, number: u64) {
        if self.wanted.is_empty() {
            return;
        }
        for stream in Stream::ALL {
            self.forget_one(number, stream);
        }
    }

    /// The caller has no such pipe any more.
    pub(super) fn forget_one(&mut self, number: u64, stream: Stream) {
        let wanted = self.wanted.remove(&(number, stream));
        if let Some(Stage::Noted(place)) = wanted.map(|wanted| wanted.stage) {
            self.noted.remove(&place);
        }
    }

    /// The caller waits for an output of this command, or is still to be told that one is worth another try.
    pub(super) fn is_output_awaited(&self, number: u64) -> bool {
        let outputs = [Stream::Stdout, Stream::Stderr];
        !self.wanted.is_empty()
            && outputs
                .iter()
                .any(|stream| self.wanted.contains_key(&(number, *stream)))
    }

    /// Of how many pipes the caller is still to be told.
    pub(super) fn noted(&self) -> usize {
        self.noted.len()
    }

    /// There is a pipe of which the caller is still to be told.
    pub(super) fn is_any_noted(&self) -> bool {
        !self.noted.is_empty()
    }

    /// The next of which the caller is to be told, first in, first out.
    pub(super) fn pop(&mut self) -> Option<(u64, Stream)> {
        let (_, next) = self.noted.pop_first()?;
        self.wanted.remove(&next);
        Some(next)
    }

    /// Pipes of which the caller was told that they would block, and nothing since.
    #[cfg(any(test, fuzzing))]
    pub(super) fn awaited(&self) -> impl Iterator<Item = (u64, Stream)> {
        let is_awaited = |wanted: &Wanted| matches!(wanted.stage, Stage::Awaited);
        let all = self.wanted.iter();
        let awaited = all.filter(move |(_, wanted)| is_awaited(wanted));
        awaited.map(|(pipe, _)| *pipe)
    }

    /// He has not heard of this one.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_noted(&self, number: u64, stream: Stream) -> bool {
        let wanted = self.wanted.get(&(number, stream));
        wanted.is_some_and(|wanted| matches!(wanted.stage, Stage::Noted(_)))
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.noted.is_empty()
    }
}
