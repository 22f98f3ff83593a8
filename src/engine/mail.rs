//! What other threads say by handles and contexts: taken in the next turn, in their order.
//! Unaware of how a thread says it, and of what comes of it.

use super::{Engine, SHARE_OF_TURN_MAX};
use crate::error::StartError;
use crate::guard::drop_callers;
use crate::inbox::Message;
use crate::sys::Kernel;

impl<K: Kernel> Engine<K> {
    /// Acts on what other threads have said so far, and as a turn has time for.
    pub(crate) fn take_messages(&mut self) {
        if self.inbox.has_messages() {
            self.mail.extend(self.inbox.take());
        }
        let mut begin = None;
        while let Some(message) = self.mail.pop_front() {
            self.clock.read(self.kernel.now());
            let now = self.clock.real();
            if now.saturating_duration_since(*begin.get_or_insert(now)) > SHARE_OF_TURN_MAX {
                return self.mail.push_front(message);
            }
            match message {
                Message::ContextDone(key) => self.context_done(key),
                Message::Start(number, command) => self.start_sent(number, command),
                Message::Run(number, command, reply) => {
                    self.asides.keep_reply(number, reply);
                    self.start_sent(number, command);
                }
                Message::Cancel(number) => {
                    self.cancel(self.table.id(number));
                }
                Message::Abandon(number) => {
                    self.abandon(self.table.id(number));
                }
                Message::Kill(number) => {
                    self.kill(self.table.id(number));
                }
                Message::Signal(number, target, signal) => {
                    // As with kill(2) from another process: a failure is not reported.
                    let _ = self.signal(self.table.id(number), target, signal);
                }
                Message::Resume(number) => self.resume(self.table.id(number)),
            }
        }
    }

    /// Something was said that was not acted on.
    pub(crate) fn has_messages(&self) -> bool {
        !self.mail.is_empty() || self.inbox.has_messages()
    }

    /// No further message is taken; commands that were sent and not started are reported as such.
    pub(super) fn close_inbox(&mut self) {
        let mail = std::mem::take(&mut self.mail);
        for message in mail.into_iter().chain(self.inbox.close()) {
            let (number, mut command) = match message {
                Message::Start(number, command) => (number, command),
                Message::Run(number, command, reply) => {
                    self.asides.keep_reply(number, reply);
                    (number, command)
                }
                _ => continue,
            };
            self.asides.keep_data(number, command.take_data());
            let lends = command.lends();
            drop_callers("command", command);
            self.keep_unstarted(self.table.id(number), lends, StartError::ShutDown);
        }
    }
}
