//! Which of the caller's pipes he waits for, and which of those have something for him.
//! Unaware of pipes, and of how he waits.

use std::collections::{HashMap, VecDeque};

use crate::sys::Stream;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The caller was told that it would block.
    Awaited,
    /// It may not block any more, and the caller has not been told.
    Noted,
}

/// By the commands' numbers. Empty, and free, where nobody tries without waiting.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    stages: HashMap<(u64, Stream), Stage>,
    noted: VecDeque<(u64, Stream)>,
    /// The kernel could not be asked to announce these.
    unwatched: Vec<(u64, Stream)>,
}

impl Readiness {
    /// The caller was told that it would block.
    pub(super) fn wait_for(&mut self, number: u64, stream: Stream) {
        self.stages
            .entry((number, stream))
            .or_insert(Stage::Awaited);
    }

    /// The same, and nobody will announce it.
    pub(super) fn wait_unwatched(&mut self, number: u64, stream: Stream) {
        self.wait_for(number, stream);
        self.unwatched.push((number, stream));
    }

    /// It may not block any more, whoever waits for it.
    pub(super) fn note(&mut self, number: u64, stream: Stream) {
        if self.stages.is_empty() {
            return;
        }
        if let Some(stage @ Stage::Awaited) = self.stages.get_mut(&(number, stream)) {
            *stage = Stage::Noted;
            self.noted.push_back((number, stream));
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
        if self.stages.is_empty() {
            return;
        }
        for stream in Stream::ALL {
            self.forget_one(number, stream);
        }
    }

    /// The caller has no such pipe any more.
    pub(super) fn forget_one(&mut self, number: u64, stream: Stream) {
        if self.stages.remove(&(number, stream)) == Some(Stage::Noted) {
            self.noted.retain(|noted| *noted != (number, stream));
        }
    }

    /// The caller waits for an output of this command, or is still to be told that one is worth another try.
    pub(super) fn is_output_awaited(&self, number: u64) -> bool {
        let outputs = [Stream::Stdout, Stream::Stderr];
        !self.stages.is_empty()
            && outputs
                .iter()
                .any(|stream| self.stages.contains_key(&(number, *stream)))
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
        let next = self.noted.pop_front()?;
        self.stages.remove(&next);
        Some(next)
    }

    /// Pipes of which the caller was told that they would block, and nothing since.
    #[cfg(any(test, fuzzing))]
    pub(super) fn awaited(&self) -> impl Iterator<Item = (u64, Stream)> {
        let is_awaited = |(_, stage): &(_, &Stage)| **stage == Stage::Awaited;
        let awaited = self.stages.iter().filter(is_awaited);
        awaited.map(|(pipe, _)| *pipe)
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.stages.is_empty() && self.noted.is_empty()
    }
}
