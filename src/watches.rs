//! Which commands each context ends: one registration for a context, however many commands carry it.
//! Unaware of how contexts and commands end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use crate::context::{Context, Watch};
use crate::error::Cause;

/// A context, and the slots of the commands that carry it.
#[derive(Debug)]
struct Watched {
    context: Context,
    /// Its deadline in the loop's time.
    deadline: Option<Instant>,
    slots: Vec<u32>,
}

/// All contexts with a command here.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    watched: Slab<Watched>,
    by_address: HashMap<usize, usize>,
}

/// Where a command stands under its context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    /// The context's key.
    pub(crate) key: usize,
    /// The command's place in that context's list.
    place: usize,
}

impl Watches {
    /// Adds a command. The second value is the deadline of a context that was not watched before, in the loop's time, which
    /// `in_loop` knows.
    pub(crate) fn add(
        &mut self,
        context: &Context,
        slot: u32,
        inbox: &Arc<impl Watch + 'static>,
        in_loop: impl Fn(Instant) -> Instant,
    ) -> (Membership, Option<Instant>) {
        let address = context.address();
        if let Some(key) = self.by_address.get(&address) {
            let slots = &mut self.watched[*key].slots;
            slots.push(slot);
            let (key, place) = (*key, slots.len() - 1);
            return (Membership { key, place }, None);
        }
        let deadline = context.deadline().map(in_loop);
        let key = self.watched.insert(Watched {
            context: context.clone(),
            deadline,
            slots: vec![slot],
        });
        self.by_address.insert(address, key);
        context.watch(inbox, key);
        (Membership { key, place: 0 }, deadline)
    }

    /// Takes a command out. The first value is the slot that took its place in the list, if one did; the second the
    /// deadline of a context that no command carries any more.
    pub(crate) fn remove(
        &mut self,
        Membership { key, place }: Membership,
        inbox: &Arc<impl Watch + 'static>,
    ) -> (Option<u32>, Option<Instant>) {
        let Some(watched) = self.watched.get_mut(key) else {
            return (None, None);
        };
        watched.slots.swap_remove(place);
        if let Some(moved) = watched.slots.get(place) {
            return (Some(*moved), None);
        }
        if !watched.slots.is_empty() {
            return (None, None);
        }
        let watched = self.watched.remove(key);
        self.by_address.remove(&watched.context.address());
        watched.context.unwatch(inbox, key);
        (None, watched.deadline)
    }

    /// Takes all commands out: no context is to remember a reactor that is gone.
    pub(crate) fn clear(&mut self, inbox: &Arc<impl Watch + 'static>) {
        for (key, watched) in &self.watched {
            watched.context.unwatch(inbox, key);
        }
        self.watched.clear();
        self.by_address.clear();
    }

    /// No command here carries a context.
    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_empty() && self.by_address.is_empty()
    }

    /// The context under this key; `None` once no command carries it.
    pub(crate) fn context(&self, key: usize) -> Option<&Context> {
        self.watched.get(key).map(|watched| &watched.context)
    }

    /// The deadline of the context under this key, in the loop's time.
    pub(crate) fn deadline(&self, key: usize) -> Option<Instant> {
        self.watched.get(key)?.deadline
    }

    /// Why the context under this key has ended, at this time of the loop's.
    pub(crate) fn cause(&self, key: usize, now: Instant) -> Option<Cause> {
        let Watched {
            context, deadline, ..
        } = self.watched.get(key)?;
        let both = context.deadline().zip(*deadline);
        let behind = both.map(|(real, in_loop)| real.saturating_duration_since(in_loop));
        context.cause_at(now.checked_add(behind.unwrap_or_default()).unwrap_or(now))
    }

    /// The commands that carry it.
    pub(crate) fn slots(&self, key: usize) -> Vec<u32> {
        self.watched
            .get(key)
            .map_or_else(Vec::new, |watched| watched.slots.clone())
    }
}
