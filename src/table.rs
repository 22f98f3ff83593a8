//! The table of commands: slots for those that wait, run or linger, and the way from a number to a slot.
//! Unaware of the kernel's calls and of the rules of a job.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use crate::admission::Cost;
use crate::cancel::Cancel;
use crate::command::Spec;
use crate::error::Stream;
use crate::finished::Finished;
use crate::job::Job;
use crate::stream::OurEnd;
use crate::sys::{GENERATION_MASK, Kernel, RawUsage, Whose};

/// One slot.
#[derive(Debug)]
pub(crate) struct Entry<K: Kernel> {
    /// The command's number in the reactor's life.
    pub(crate) number: u64,
    pub(crate) phase: Phase<K>,
    /// Where its deadline stands in the list of deadlines.
    pub(crate) armed: Option<Instant>,
    /// The context that it is watched under, and its place in that list.
    pub(crate) watch: Option<(usize, usize)>,
}

/// What occupies a slot. Dropped and reused only at the end of a turn.
#[derive(Debug)]
pub(crate) enum Phase<K: Kernel> {
    /// In the admission queue.
    Queued(Box<Spec>),
    /// Its program's file was busy; it is tried again by timer.
    TextBusy(Box<Spec>),
    /// Started. Ours until it is finished.
    Running(Running<K>),
    /// Finished, but the caller may still read and write its pipes until it takes the `Finished`.
    Lingering(Running<K>),
    /// Nothing; the slot is freed at the end of the turn.
    Vacant,
}

/// A started command.
#[derive(Debug)]
pub(crate) struct Running<K: Kernel> {
    pub(crate) job: Job,
    pub(crate) child: K::Child,
    pub(crate) ends: [OurEnd<K::Pipe>; 3],
    pub(crate) cancel: Arc<Cancel>,
    pub(crate) leads_group: bool,
    /// Nobody wants its outcome, and it survives the reactor.
    pub(crate) is_detached: bool,
    /// Its exit and its pipes are announced by the kernel.
    pub(crate) is_watched: bool,
    /// Its exit was announced, which happens once.
    pub(crate) is_announced: bool,
    /// How often it had to be asked by timer.
    pub(crate) asked: u32,
    /// When to ask again.
    pub(crate) ask_at: Option<Instant>,
    pub(crate) cost: Cost,
    pub(crate) usage: Option<RawUsage>,
    pub(crate) started: Instant,
    pub(crate) reaped: Option<Instant>,
}

/// Where a number leads.
#[derive(Debug)]
pub(crate) enum Place {
    Slot(u32),
    /// Finished and not handed out; with the slot that lingers until then, if one does.
    Finished(Box<Finished>, Option<u32>),
}

/// All commands that the reactor knows.
#[derive(Debug)]
pub(crate) struct Table<K: Kernel> {
    slots: Slab<Entry<K>>,
    places: HashMap<u64, Place, BuildHasherDefault<Spread>>,
    /// Finished commands, oldest first; also some that were handed out since.
    order: VecDeque<u64>,
    finished: usize,
}

impl<K: Kernel> Table<K> {
    pub(crate) fn new() -> Table<K> {
        Table {
            slots: Slab::new(),
            places: HashMap::default(),
            order: VecDeque::new(),
            finished: 0,
        }
    }

    /// The slot that the next `insert` will fill.
    pub(crate) fn next_slot(&self) -> u32 {
        self.slots.vacant_key() as u32
    }

    /// How many slots are taken.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn insert(&mut self, number: u64, phase: Phase<K>) -> u32 {
        let slot = self.slots.insert(Entry {
            number,
            phase,
            armed: None,
            watch: None,
        }) as u32;
        self.places.insert(number, Place::Slot(slot));
        slot
    }

    pub(crate) fn entry(&mut self, slot: u32) -> Option<&mut Entry<K>> {
        self.slots.get_mut(slot as usize)
    }

    pub(crate) fn phase(&self, slot: u32) -> Option<&Phase<K>> {
        self.slots.get(slot as usize).map(|entry| &entry.phase)
    }

    pub(crate) fn running(&mut self, slot: u32) -> Option<&mut Running<K>> {
        match self
            .slots
            .get_mut(slot as usize)
            .map(|entry| &mut entry.phase)
        {
            Some(Phase::Running(running)) => Some(running),
            _ => None,
        }
    }

    /// A command that was started: it runs, or it lingers.
    pub(crate) fn begun(&mut self, slot: u32) -> Option<&mut Running<K>> {
        match self
            .slots
            .get_mut(slot as usize)
            .map(|entry| &mut entry.phase)
        {
            Some(Phase::Running(running) | Phase::Lingering(running)) => Some(running),
            _ => None,
        }
    }

    #[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
    /// The process of a running command.
    pub(crate) fn child(&self, slot: u32) -> Option<&K::Child> {
        match self.phase(slot) {
            Some(Phase::Running(running)) => Some(&running.child),
            _ => None,
        }
    }

    /// Whether these events are for whoever is in the slot now.
    pub(crate) fn is_tenant(&self, whose: Whose) -> bool {
        let entry = self.slots.get(whose.slot as usize);
        entry.is_some_and(|entry| generation(entry.number) == whose.generation)
    }

    /// What names the present tenant to the kernel.
    pub(crate) fn whose(&self, slot: u32) -> Whose {
        let entry = self.slots.get(slot as usize);
        Whose {
            slot,
            generation: entry.map_or(0, |entry| generation(entry.number)),
        }
    }

    /// Our end that an event is for, where the caller has the pipe: of a running command or a lingering one.
    pub(crate) fn end(&mut self, slot: u32, stream: Stream) -> Option<&mut OurEnd<K::Pipe>> {
        match self
            .slots
            .get_mut(slot as usize)
            .map(|entry| &mut entry.phase)
        {
            Some(Phase::Running(running)) => Some(&mut running.ends[stream as usize]),
            Some(Phase::Lingering(running)) => Some(&mut running.ends[stream as usize]),
            _ => None,
        }
    }

    pub(crate) fn place(&self, number: u64) -> Option<&Place> {
        self.places.get(&number)
    }

    /// The slot of a command that is not finished.
    pub(crate) fn slot_of(&self, number: u64) -> Option<u32> {
        match self.place(number) {
            Some(Place::Slot(slot)) => Some(*slot),
            _ => None,
        }
    }

    /// Keeps what became of a command until it is taken.
    pub(crate) fn hand_in(&mut self, finished: Finished, lingering: Option<u32>) {
        let number = finished.id.number;
        self.order.push_back(number);
        self.finished += 1;
        let place = Place::Finished(Box::new(finished), lingering);
        self.places.insert(number, place);
    }

    /// How many are finished and not taken.
    pub(crate) fn finished(&self) -> usize {
        self.finished
    }

    /// The command that finished first, of those not taken.
    pub(crate) fn first_finished(&mut self) -> Option<u64> {
        while let Some(number) = self.order.front() {
            if matches!(self.place(*number), Some(Place::Finished(..))) {
                return Some(*number);
            }
            self.order.pop_front();
        }
        None
    }

    /// Takes what became of a command, and the slot that lingers.
    pub(crate) fn take_finished(&mut self, number: u64) -> Option<(Box<Finished>, Option<u32>)> {
        if !matches!(self.place(number), Some(Place::Finished(..))) {
            return None;
        }
        let Some(Place::Finished(finished, lingering)) = self.places.remove(&number) else {
            return None;
        };
        self.finished -= 1;
        if self.order.front() == Some(&number) {
            self.order.pop_front();
        }
        // Those taken out of turn leave their numbers behind: no more of them than of the others.
        if self.order.len() > ORDER_SLACK + 2 * self.finished {
            let places = &self.places;
            self.order.retain(|number| places.contains_key(number));
        }
        Some((finished, lingering))
    }

    pub(crate) fn forget_place(&mut self, number: u64) {
        self.places.remove(&number);
    }

    /// How many linger.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn lingering(&self) -> usize {
        let is_lingering = |entry: &Entry<K>| matches!(entry.phase, Phase::Lingering(_));
        self.slots()
            .filter(|(_, entry)| is_lingering(entry))
            .count()
    }

    /// How many numbers lead somewhere.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn known(&self) -> usize {
        self.places.len()
    }

    /// Frees a slot: its number may be given out again from here on.
    pub(crate) fn free(&mut self, slot: u32) {
        self.slots.try_remove(slot as usize);
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Entry<K>> {
        self.slots.drain()
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (u32, &Entry<K>)> {
        self.slots.iter().map(|(slot, entry)| (slot as u32, entry))
    }
}

/// So many numbers may stand in the order for nothing.
const ORDER_SLACK: usize = 64;

/// A hash for numbers that count up: no caller chooses them, so nothing has to be kept secret.
#[derive(Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    /// Multiplies by 2^64 over the golden ratio, and brings the well mixed high half down.
    fn write_u64(&mut self, number: u64) {
        let product = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

/// What tells the tenants of a slot apart.
fn generation(number: u64) -> u32 {
    number as u32 & GENERATION_MASK
}

impl fmt::Debug for Spec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Spec")
            .field("launch", &self.launch)
            .finish_non_exhaustive()
    }
}
