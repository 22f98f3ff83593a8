//! The table of commands: who waits, runs or lingers in which slot, and the way from an id to a slot.
//! Unaware of the kernel's calls, of the rules of a job and of why a command moves on.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use slab::Slab;

use crate::command::Spec;
use crate::finished::{CommandId, Finished};
use crate::job::Streams;
use crate::queue::Ticket;
use crate::running::Running;
use crate::stream::OurEnd;
use crate::sys::{Kernel, SLOTS_MAX, Stream, Tenant};
use crate::watches::Membership;

/// One slot.
#[derive(Debug)]
struct Entry<K: Kernel> {
    /// The command's number in the reactor's life.
    number: u64,
    /// The caller is to have these pipes.
    lends: Streams,
    phase: Phase<K>,
    /// Where its deadline stands in the list of deadlines.
    armed: Option<Instant>,
    /// Where it stands under its context.
    membership: Option<Membership>,
    /// When the deadline of its context comes for this command alone, which runs: it does not count the queue, or the
    /// deadline has come.
    deadline: Option<Instant>,
}

/// What occupies a slot. The table alone moves a command from one phase to the next.
///
/// ```text
/// wait ──▶ Waiting ──take_waiting──▶ Moving ──run──▶ Running ──take_running──▶ Moving ──linger──▶ Lingering
///             ▲                        │ ▲                                       │                    │
///             └──────wait_again────────┘ └─────────── vacate ──▶ Vacant ◀────────┴──take_lingering────┘
/// ```
#[derive(Debug)]
enum Phase<K: Kernel> {
    /// Not started yet, or to be started again.
    Waiting(Box<Spec>, Wait),
    /// Started, and not finished.
    Running(Box<Running<K>>),
    /// Finished, but the caller may still read and write its pipes until it takes the `Finished`.
    Lingering(Box<Running<K>>),
    /// On its way from one phase to the next, within one call.
    Moving,
    /// Nothing. The slot is freed, and may be used again, at the end of the turn: events of this batch still name it.
    Vacant,
}

impl<K: Kernel> Phase<K> {
    fn name(&self) -> &'static str {
        match self {
            Phase::Waiting(..) => "waiting",
            Phase::Running(_) => "running",
            Phase::Lingering(_) => "lingering",
            Phase::Moving => "moving",
            Phase::Vacant => "gone",
        }
    }
}

/// What a command that is not started waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Its turn in the queue.
    Queue,
    /// Its program's file, which was busy. It is tried again by timer.
    TextBusy,
}

/// Where a number leads.
#[derive(Debug)]
enum Place {
    Slot(u32),
    /// Finished and not handed out: what became of it, and what is left of its pipes until then.
    Finished(Box<Finished>, Left),
}

/// What a finished command has left for the caller's calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Left {
    /// The slot that lingers.
    Slot(u32),
    /// It was not started. He was to have these pipes, and is told so.
    Unopened(Streams),
}

impl Left {
    /// No pipe is the caller's.
    pub(crate) fn nothing() -> Left {
        Left::Unopened(Streams::default())
    }
}

/// All commands that the reactor knows.
#[derive(Debug)]
pub(crate) struct Table<K: Kernel> {
    /// Marks the ids of this table.
    reactor: u32,
    slots: Slab<Entry<K>>,
    places: HashMap<u64, Place, BuildHasherDefault<Spread>>,
    /// Slots to free at the end of the turn.
    vacant: Vec<u32>,
    /// Finished commands, oldest first; also some that were handed out since.
    order: VecDeque<u64>,
    waiting: usize,
    /// How many are finished and not taken.
    finished: usize,
}

impl<K: Kernel> Table<K> {
    /// `reactor` marks its ids.
    pub(crate) fn new(reactor: u32) -> Table<K> {
        Table {
            reactor,
            slots: Slab::new(),
            places: HashMap::default(),
            vacant: Vec::new(),
            order: VecDeque::new(),
            waiting: 0,
            finished: 0,
        }
    }

    /// What marks its ids.
    pub(crate) fn reactor(&self) -> u32 {
        self.reactor
    }

    /// The id of the command with this number.
    pub(crate) fn id(&self, number: u64) -> CommandId {
        CommandId {
            number,
            reactor: self.reactor,
        }
    }

    /// No event could name one more.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() >= SLOTS_MAX
    }

    /// No command is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.places.is_empty() && self.waiting == 0
    }

    /// How many wait for their start.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many are finished and not taken.
    pub(crate) fn finished(&self) -> usize {
        self.finished
    }

    // From an id or an event to a slot. Any of these may lead nowhere.

    fn place(&self, id: CommandId) -> Option<&Place> {
        self.places
            .get(&id.number)
            .filter(|_| id.reactor == self.reactor)
    }

    /// The command is in this table, and was not handed out.
    pub(crate) fn knows(&self, id: CommandId) -> bool {
        self.place(id).is_some()
    }

    /// The slot of a command that is not finished.
    pub(crate) fn slot_of(&self, id: CommandId) -> Option<u32> {
        match self.place(id)? {
            Place::Slot(slot) => Some(*slot),
            Place::Finished(..) => None,
        }
    }

    /// The slot of a command that is not finished, or lingers.
    pub(crate) fn slot_of_pipes(&self, id: CommandId) -> Option<u32> {
        match self.place(id)? {
            Place::Slot(slot) => Some(*slot),
            Place::Finished(_, Left::Slot(lingering)) => Some(*lingering),
            Place::Finished(_, Left::Unopened(_)) => None,
        }
    }

    /// The pipes that the caller was to have of a finished command that was not started.
    pub(crate) fn never_opened(&self, id: CommandId) -> Streams {
        match self.place(id) {
            Some(Place::Finished(_, Left::Unopened(streams))) => *streams,
            _ => Streams::default(),
        }
    }

    /// Whether these events are for whoever is in the slot now.
    pub(crate) fn is_tenant(&self, tenant: Tenant) -> bool {
        let entry = self.slots.get(tenant.slot as usize);
        entry.is_some_and(|entry| Tenant::new(tenant.slot, entry.number) == tenant)
    }

    // What is in a slot. Its phase may be another than the one asked for.

    fn phase(&mut self, slot: u32) -> Option<&mut Phase<K>> {
        self.slots
            .get_mut(slot as usize)
            .map(|entry| &mut entry.phase)
    }

    /// A command that is not started, and what it waits for.
    pub(crate) fn unstarted(&mut self, slot: u32) -> Option<(&mut Spec, Wait)> {
        match self.phase(slot)? {
            Phase::Waiting(spec, wait) => Some((spec, *wait)),
            _ => None,
        }
    }

    /// What is to be started.
    pub(crate) fn spec(&self, slot: u32) -> Option<&Spec> {
        match &self.slots.get(slot as usize)?.phase {
            Phase::Waiting(spec, _) => Some(spec),
            _ => None,
        }
    }

    /// A started command that is not finished.
    pub(crate) fn running(&mut self, slot: u32) -> Option<&mut Running<K>> {
        match self.phase(slot)? {
            Phase::Running(running) => Some(running),
            _ => None,
        }
    }

    /// The same, to look at.
    pub(crate) fn get_running(&self, slot: u32) -> Option<&Running<K>> {
        match &self.slots.get(slot as usize)?.phase {
            Phase::Running(running) => Some(running),
            _ => None,
        }
    }

    /// A started command: it runs, or it lingers.
    pub(crate) fn begun(&mut self, slot: u32) -> Option<&mut Running<K>> {
        match self.phase(slot)? {
            Phase::Running(running) | Phase::Lingering(running) => Some(running),
            _ => None,
        }
    }

    /// Our end of a stream of a started command.
    pub(crate) fn stream(&mut self, slot: u32, stream: Stream) -> Option<&mut OurEnd<K::Pipe>> {
        Some(self.begun(slot)?.stream(stream))
    }

    /// The process of a running command.
    pub(crate) fn child(&self, id: CommandId) -> Option<&K::Child> {
        let running = self.get_running(self.slot_of(id)?)?;
        running.child.as_ref()
    }

    /// The slots of all commands that wait, run or linger.
    pub(crate) fn slots(&self) -> Vec<u32> {
        self.slots.iter().map(|(slot, _)| slot as u32).collect()
    }

    // What is known of a slot's command, whatever its phase. There has to be one.

    fn entry(&mut self, slot: u32) -> &mut Entry<K> {
        &mut self.slots[slot as usize]
    }

    /// What names the present tenant to the kernel.
    pub(crate) fn tenant(&self, slot: u32) -> Tenant {
        Tenant::new(slot, self.slots[slot as usize].number)
    }

    pub(crate) fn id_of(&self, slot: u32) -> CommandId {
        self.id(self.slots[slot as usize].number)
    }

    /// Where its deadline stands in the list of deadlines.
    pub(crate) fn armed(&mut self, slot: u32) -> &mut Option<Instant> {
        &mut self.entry(slot).armed
    }

    /// The pipes that the caller is to have.
    pub(crate) fn lends(&self, slot: u32) -> Streams {
        self.slots[slot as usize].lends
    }

    /// Where it stands under its context.
    pub(crate) fn membership(&mut self, slot: u32) -> &mut Option<Membership> {
        &mut self.entry(slot).membership
    }

    /// Where a command that waits stands in the queue.
    pub(crate) fn set_ticket(&mut self, slot: u32, ticket: Ticket) {
        if let Some((spec, _)) = self.unstarted(slot) {
            spec.ticket = Some(ticket);
        }
    }

    pub(crate) fn take_ticket(&mut self, slot: u32) -> Option<Ticket> {
        self.unstarted(slot)?.0.ticket.take()
    }

    /// When the deadline of its context comes for this command alone.
    pub(crate) fn deadline(&mut self, slot: u32) -> &mut Option<Instant> {
        &mut self.entry(slot).deadline
    }

    /// The deadline of its context comes for this command alone.
    pub(crate) fn has_own_deadline(&self, slot: u32) -> bool {
        let Some(entry) = self.slots.get(slot as usize) else {
            return false;
        };
        match &entry.phase {
            Phase::Waiting(spec, _) => spec.left.is_some(),
            _ => entry.deadline.is_some(),
        }
    }

    // The ways from phase to phase.

    /// A new command waits for its turn.
    pub(crate) fn wait(&mut self, number: u64, spec: Box<Spec>) -> u32 {
        let mut lends = Streams::default();
        for stream in Stream::ALL {
            if spec.duties.asks_for_pipe(stream) {
                lends.insert(stream);
            }
        }
        let slot = self.slots.insert(Entry {
            number,
            lends,
            phase: Phase::Waiting(spec, Wait::Queue),
            armed: None,
            membership: None,
            deadline: None,
        }) as u32;
        self.waiting += 1;
        self.places.insert(number, Place::Slot(slot));
        slot
    }

    /// Takes a command that waits, to start it or to end it.
    pub(crate) fn take_waiting(&mut self, slot: u32) -> Box<Spec> {
        let phase = std::mem::replace(&mut self.entry(slot).phase, Phase::Moving);
        let Phase::Waiting(spec, _) = phase else {
            panic!("taken from the queue: one that is {}", phase.name());
        };
        self.waiting -= 1;
        spec
    }

    /// The command could not be started, and waits again.
    pub(crate) fn wait_again(&mut self, slot: u32, spec: Box<Spec>, wait: Wait) {
        self.move_on(slot, Phase::Waiting(spec, wait));
        self.waiting += 1;
    }

    /// The command is started.
    pub(crate) fn run(&mut self, slot: u32, running: Box<Running<K>>) {
        self.move_on(slot, Phase::Running(running));
    }

    /// Takes a command that runs, to finish it or to start it again.
    pub(crate) fn take_running(&mut self, slot: u32) -> Box<Running<K>> {
        let phase = std::mem::replace(&mut self.entry(slot).phase, Phase::Moving);
        let Phase::Running(running) = phase else {
            panic!("finished: one that is {}", phase.name());
        };
        running
    }

    /// The command is finished, but the caller has a pipe of it.
    pub(crate) fn linger(&mut self, slot: u32, running: Box<Running<K>>) {
        self.move_on(slot, Phase::Lingering(running));
    }

    fn move_on(&mut self, slot: u32, phase: Phase<K>) {
        let before = std::mem::replace(&mut self.entry(slot).phase, phase);
        let is_moving = matches!(before, Phase::Moving);
        debug_assert!(is_moving, "moved on: one that is {}", before.name());
    }

    /// Takes a command that lingers, to end that.
    pub(crate) fn take_lingering(&mut self, slot: u32) -> Box<Running<K>> {
        let phase = std::mem::replace(&mut self.entry(slot).phase, Phase::Moving);
        let Phase::Lingering(running) = phase else {
            panic!("handed out: one that is {}", phase.name());
        };
        running
    }

    /// No command is in the slot any more.
    pub(crate) fn vacate(&mut self, slot: u32) {
        self.move_on(slot, Phase::Vacant);
        self.vacant.push(slot);
    }

    /// Frees what was vacated: from here on its slots are given out again.
    pub(crate) fn free_vacant(&mut self) {
        for slot in self.vacant.drain(..) {
            self.slots.remove(slot as usize);
        }
    }

    /// Drops all commands, whatever the phase.
    pub(crate) fn drop_all(&mut self) {
        self.vacant.clear();
        for entry in self.slots.drain() {
            match entry.phase {
                Phase::Waiting(spec, _) => spec.drop_apart(),
                Phase::Running(running) | Phase::Lingering(running) => running.drop_apart(),
                Phase::Moving | Phase::Vacant => {}
            }
        }
    }

    // Finished commands.

    /// Keeps what became of a command until it is taken.
    pub(crate) fn keep_finished(&mut self, finished: Box<Finished>, left: Left) {
        let number = finished.id.number;
        self.order.push_back(number);
        self.finished += 1;
        self.places.insert(number, Place::Finished(finished, left));
    }

    /// What became of a command, if that is known and was not taken.
    pub(crate) fn unread(&self, id: CommandId) -> Option<&Finished> {
        match self.place(id)? {
            Place::Finished(finished, _) => Some(finished),
            Place::Slot(_) => None,
        }
    }

    /// The first of those that this is true of.
    pub(crate) fn first_finished_of(&self, is_meant: impl Fn(u64) -> bool) -> Option<CommandId> {
        let is_finished =
            |number: &&u64| matches!(self.places.get(number), Some(Place::Finished(..)));
        let mut finished = self.order.iter().filter(is_finished);
        finished
            .find(|number| is_meant(**number))
            .map(|number| self.id(*number))
    }

    /// Takes what became of the command that finished first, of those not taken, and what is left of its pipes. Its id leads
    /// nowhere from here on.
    pub(crate) fn pop_finished(&mut self) -> Option<(Box<Finished>, Left)> {
        while let Some(number) = self.order.pop_front() {
            if let Some(taken) = self.take_place(number) {
                return Some(taken);
            }
        }
        None
    }

    /// The same of a certain one.
    pub(crate) fn take_finished(&mut self, id: CommandId) -> Option<(Box<Finished>, Left)> {
        self.unread(id)?;
        if self.order.front() == Some(&id.number) {
            self.order.pop_front();
        }
        let taken = self.take_place(id.number);
        // Those taken out of turn leave their numbers behind: no more of them than of the others.
        if self.order.len() > ORDER_SLACK + 2 * self.finished {
            let places = &self.places;
            self.order.retain(|number| places.contains_key(number));
        }
        taken
    }

    /// Whoever has a number in the order is finished, or was handed out.
    fn take_place(&mut self, number: u64) -> Option<(Box<Finished>, Left)> {
        let Place::Finished(finished, left) = self.places.remove(&number)? else {
            debug_assert!(false, "handed out: one that is not finished");
            return None;
        };
        self.finished -= 1;
        Some((finished, left))
    }

    /// What becomes of the command is not reported: its id leads nowhere from here on.
    pub(crate) fn forget(&mut self, id: CommandId) {
        self.places.remove(&id.number);
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

impl fmt::Debug for Spec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Spec")
            .field("launch", &self.launch)
            .finish_non_exhaustive()
    }
}
