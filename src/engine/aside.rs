//! What is kept aside for a command until it is finished: who is to be handed it, and what the caller gave it to carry.
//! Unaware of how it goes on meanwhile.

use std::collections::HashMap;
use std::fmt;

use crate::data::Data;
use crate::guard::drop_callers;
use crate::inbox::Reply;

/// By the commands' numbers. Empty, and free, where no command has any.
#[derive(Default)]
pub(super) struct Asides(HashMap<u64, Aside>);

/// One command's.
#[derive(Default)]
pub(super) struct Aside {
    pub(super) reply: Option<Reply>,
    pub(super) data: Option<Data>,
}

impl Aside {
    /// Drops the caller's things, where no one will hear of the command: each for itself, as each may panic.
    pub(super) fn drop_apart(self) {
        drop_callers("callback", self.reply);
        drop_callers("data", self.data);
    }
}

impl Asides {
    pub(super) fn keep_reply(&mut self, number: u64, reply: Reply) {
        self.0.entry(number).or_default().reply = Some(reply);
    }

    pub(super) fn keep_data(&mut self, number: u64, data: Option<Data>) {
        if data.is_some() {
            self.0.entry(number).or_default().data = data;
        }
    }

    /// The command is finished, or no one will hear of it.
    pub(super) fn take(&mut self, number: u64) -> Aside {
        if self.0.is_empty() {
            return Aside::default();
        }
        self.0.remove(&number).unwrap_or_default()
    }

    /// Those of all commands, of which no one will hear.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Aside> {
        self.0.drain().map(|(_, aside)| aside)
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Asides {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Asides")
            .field(&self.0.len())
            .finish()
    }
}
