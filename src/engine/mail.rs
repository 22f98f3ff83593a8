//! What other threads say by handles and contexts: taken in the next turn, in their order.
//! Unaware of how a thread says it, and of what comes of it.

use std::collections::HashMap;
use std::fmt;

use super::Engine;
use crate::error::StartError;
use crate::guard::drop_callers;
use crate::inbox::{Message, Reply};
use crate::sys::{Kernel, Target};

/// Who is to be handed a command's `Finished`, by its number. Empty, and free, where handles run nothing.
#[derive(Default)]
pub(super) struct Replies(HashMap<u64, Reply>);

impl Replies {
    fn insert(&mut self, number: u64, reply: Reply) {
        self.0.insert(number, reply);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Reply> {
        if self.0.is_empty() {
            return None;
        }
        self.0.remove(&number)
    }

    /// All of them. They are not called.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Reply> {
        self.0.drain().map(|(_, reply)| reply)
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Replies")
            .field(&self.0.len())
            .finish()
    }
}

impl<K: Kernel> Engine<K> {
    /// Acts on what other threads have said so far.
    pub(crate) fn take_messages(&mut self) {
        for message in self.inbox.take() {
            self.now = self.kernel.now();
            match message {
                Message::ContextDone(key) => self.context_done(key),
                Message::Start(number, command) => self.start_sent(number, command),
                Message::Run(number, command, reply) => {
                    self.replies.insert(number, reply);
                    self.start_sent(number, command);
                }
                Message::Cancel(number) => {
                    self.cancel(self.table.id(number));
                }
                Message::Kill(number) => {
                    self.kill(self.table.id(number));
                }
                Message::Signal(number, signal) => {
                    // As with kill(2) from another process: a failure is not reported.
                    let _ = self.signal(self.table.id(number), Target::Process, signal);
                }
                Message::Resume(number) => self.resume(self.table.id(number)),
            }
        }
    }

    /// No further message is taken; commands that were sent and not started are reported as such.
    pub(super) fn close_inbox(&mut self) {
        for message in self.inbox.close() {
            let (number, command) = match message {
                Message::Start(number, command) => (number, command),
                Message::Run(number, command, reply) => {
                    self.replies.insert(number, reply);
                    (number, command)
                }
                _ => continue,
            };
            drop_callers("command", command);
            self.keep_unstarted(self.table.id(number), StartError::ShutDown);
        }
    }
}
