//! What other threads say by handles and contexts: taken in the next turn, in their order.
//! Unaware of how a thread says it, and of what comes of it.

use super::{Engine, SHARE_OF_TURN_MAX};
use crate::error::{Cause, StartError};
use crate::finished::CommandId;
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
                    self.cancel_known(self.table.id(number));
                }
                Message::Abandon(number) => {
                    self.abandon(self.table.id(number));
                }
                Message::Kill(number) => {
                    self.kill_known(self.table.id(number));
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

    /// Ends a command that a handle has sent and no turn has taken: it is not started. `false`: there is none.
    pub(super) fn stop_sent(&mut self, id: CommandId) -> bool {
        let sent = self.sent(id).and_then(|at| self.mail.remove(at));
        let cause = StartError::Stopped(Cause::Cancelled);
        sent.is_some_and(|sent| self.return_sent(sent, cause))
    }

    /// Changes whether such a command is killed with the engine. `false`: there is none.
    pub(super) fn keep_sent(&mut self, id: CommandId, survives: bool) -> bool {
        let sent = self.sent(id).and_then(|at| self.mail.get_mut(at));
        let Some(Message::Start(_, command) | Message::Run(_, command, _)) = sent else {
            return false;
        };
        command.kill_on_drop(!survives);
        true
    }

    /// Where in the mail such a command is.
    fn sent(&mut self, id: CommandId) -> Option<usize> {
        let is_ours = id.reactor == self.table.reactor() && self.kernel.check_process().is_ok();
        if !is_ours || !self.has_messages() {
            return None;
        }
        self.mail.extend(self.inbox.take());
        self.mail.iter().position(|message| match message {
            Message::Start(number, _) | Message::Run(number, ..) => *number == id.number,
            _ => false,
        })
    }

    /// A command that was sent is reported as not started. `false`: this message is none.
    fn return_sent(&mut self, message: Message, why: StartError) -> bool {
        let (number, mut command) = match message {
            Message::Start(number, command) => (number, command),
            Message::Run(number, command, reply) => {
                self.asides.keep_reply(number, reply);
                (number, command)
            }
            _ => return false,
        };
        self.asides.keep_data(number, command.take_data());
        let lends = command.lends();
        drop_callers("command", command);
        self.keep_unstarted(self.table.id(number), lends, why);
        true
    }

    /// No further message is taken; commands that were sent and not started are reported as such.
    pub(super) fn close_inbox(&mut self) {
        let mail = std::mem::take(&mut self.mail);
        for message in mail.into_iter().chain(self.inbox.close()) {
            self.return_sent(message, StartError::ShutDown);
        }
    }
}
