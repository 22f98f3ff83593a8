//! What must hold in a simulation between two acts, and at its end: limits, order, and nothing left in the loop or the machine.
//! Unaware of what one command has told (`check.rs`).

use std::sync::Arc;
use std::time::Duration;

use super::Driver;
use super::plan::POOLS;
use crate::caller_pipe::CallerPipe;
use crate::engine::executed::UNSEEN_MAX;
use crate::engine::{Engine, Look};
use crate::queue::Pool;
use crate::stream::OurEnd;
use crate::sys::simulated::ChildFacts;

/// A child that the engine's end is to leave alone.
#[derive(Debug)]
pub(super) struct Survivor {
    pid: u32,
    pub(super) program: usize,
    /// Nobody had asked anything of it before.
    is_untouched: bool,
}

impl Driver {
    /// Never more at once than were asked for, unless it is one alone, or fewer than before.
    pub(super) fn check_limits(&mut self) {
        let detached = self.detached();
        let children = self.world.borrow().children_open();
        let running = self.engine().running();
        let known = running + detached;
        assert_eq!(children, known, "children that are not counted");
        let admission = &self.engine().admission;
        let mut loads = vec![admission.load()];
        loads.extend(POOLS.map(|name| {
            let pool = admission.queue().pool(name).unwrap_or(Pool::COMMON);
            admission.queue().load(pool)
        }));
        for ((load, limit), before) in loads.into_iter().zip(&mut self.loads) {
            let is_within = load <= limit as u64 || load <= *before;
            let is_alone = load <= 4 && limit < 4;
            assert!(is_within || is_alone, "{load} run at once, of {limit}");
            *before = load;
        }
        self.check_console();
        self.check_descriptors();
        self.check_awaited();
        if let Some(tokens) = &self.tokens {
            assert_eq!(tokens.lock().ledger.held(), running, "permits");
        }
        if let Some(brake) = &self.brake {
            assert_eq!(brake.lock().ledger.held(), running, "permits");
        }
    }

    /// A pipe that its caller waits for is there, or will be: else nothing would be said of it any more, and its command's end be
    /// withheld for ever.
    fn check_awaited(&mut self) {
        let Engine {
            table, readiness, ..
        } = self.engine();
        for (number, stream) in readiness.awaited() {
            let slot = table.slot_of_pipes(table.id(number));
            let slot = slot.unwrap_or_else(|| panic!("{number} is gone, and its {stream} awaited"));
            let is_open = |our_end: &mut OurEnd<_>| {
                matches!(our_end, OurEnd::Caller(CallerPipe::Open { .. }))
            };
            let is_there =
                table.unstarted(slot).is_some() || table.stream(slot, stream).is_some_and(is_open);
            assert!(is_there, "{number}: its {stream} is closed, and awaited");
        }
    }

    /// One command at a time has the console, but for those that were let go with it.
    fn check_console(&self) {
        let world = self.world.borrow();
        if world.consoles.len() < 2 {
            return;
        }
        let is_held = |(pid, child): &(u32, &ChildFacts)| {
            let is_let_go = world.let_go.contains(pid);
            world.consoles.contains(&(*pid as usize - 1)) && !is_let_go && child.reaped.is_none()
        };
        let held: Vec<_> = world.children().filter(is_held).collect();
        assert!(held.len() < 2, "two have the console: {held:?}");
    }

    /// In one pool and of one priority, nobody was started before who was queued later.
    pub(super) fn check_order(&mut self) {
        self.order
            .sort_by_key(|(pool, priority, number, _)| (*pool, *priority, *number));
        for pair in self.order.windows(2) {
            let [(pool, priority, _, first), (other, same, _, second)] = pair else {
                continue;
            };
            let is_in_order = (pool, priority) != (other, same) || first <= second;
            assert!(is_in_order, "overtaken: {pair:?}");
        }
    }

    /// Detached children that the engine still has a handle of.
    pub(super) fn detached(&self) -> usize {
        let world = self.world.borrow();
        let let_go = world.let_go.iter();
        let_go.filter(|pid| world.is_child_open(**pid)).count()
    }

    /// Children that the engine's end, which is to come now, is to leave alone.
    pub(super) fn survivors(&self) -> Vec<Survivor> {
        let (book, world) = (self.book.borrow(), self.world.borrow());
        let mut survivors = Vec::new();
        for (pid, child) in world.children() {
            let job = book.iter().find(|job| job.program == child.program);
            if let Some(job) = job.filter(|job| job.survives && child.reaped.is_none()) {
                survivors.push(Survivor {
                    pid,
                    program: job.program,
                    is_untouched: job.requests.is_empty() && child.signals.is_empty(),
                });
            }
        }
        survivors
    }

    /// Each start had one permit of each source, and gave that back; what was not used was withdrawn.
    pub(super) fn check_permits(&self) {
        let tokens = self.tokens.as_ref().map(|tokens| tokens.lock().ledger);
        let brake = self.brake.as_ref().map(|brake| brake.lock().ledger);
        let world = self.world.borrow();
        for ledger in tokens.into_iter().chain(brake) {
            let started = world.children().count();
            assert_eq!(ledger.given_back, started, "{ledger:?}");
        }
    }

    /// Nothing may be left in the engine.
    pub(super) fn check_leftovers(&mut self) {
        // A stream that was listed just before its command ended is dropped from the list by the next turn.
        self.turn_for(Some(Duration::ZERO));
        let engine = self.engine();
        engine.table.free_vacant();
        assert!(engine.table.is_empty(), "commands");
        assert!(engine.admission.is_idle(), "{:?}", engine.admission);
        assert!(engine.watches.is_empty(), "{:?}", engine.watches);
        assert_eq!(engine.backlog.len(), 0, "backlog");
        assert!(engine.starting.len() <= UNSEEN_MAX, "starting");
        assert!(engine.slow.is_empty(), "slow: {:?}", engine.slow);
        assert!(engine.asides.is_empty(), "{:?}", engine.asides);
        assert!(engine.readiness.is_empty(), "{:?}", engine.readiness);
        let left: Vec<_> = std::iter::from_fn(|| {
            let far = engine.clock.now() + Duration::from_secs(1 << 30);
            engine.deadlines.pop_due(far)
        })
        .collect();
        assert!(left.is_empty(), "{left:?}");
        let far = engine.clock.real() + Duration::from_secs(1 << 30);
        let looks: Vec<_> = std::iter::from_fn(|| engine.looks.pop_due(far)).collect();
        let is_caller = |(_, look): &(_, Look)| *look == Look::Wake;
        assert!(looks.iter().all(is_caller), "{looks:?}");
    }

    /// Nothing may be left in the machine: no descriptor, and no child but those that were let go or cannot be killed.
    pub(super) fn check_world(&mut self) {
        let world = self.world.borrow();
        assert!(world.open_fds().is_empty(), "{:#?}", world.open_fds());
        let book = self.book.borrow();
        for (pid, child) in world.children() {
            let job = book.iter().find(|job| job.program == child.program);
            let is_survivor = self.survivors.iter().any(|survivor| survivor.pid == pid);
            let is_excused = job.is_some_and(|job| {
                let is_out_of_reach = job.script.is_foreign || job.script.loses_status;
                job.is_detached || (self.is_shut_down && (is_out_of_reach || is_survivor))
            });
            let mut survivors = self.survivors.iter();
            let is_spared = survivors.any(|survivor| survivor.pid == pid && survivor.is_untouched);
            // A start that has failed by then is not tried again.
            let is_spared = is_spared && !child.has_failed();
            assert!(
                !is_spared || child.signals.is_empty(),
                "child {pid} was to survive: {child:#?}"
            );
            assert!(
                child.reaped.is_some() || is_excused,
                "child {pid} was not reaped: {child:#?}"
            );
        }
        assert_eq!(
            Arc::weak_count(&self.inbox),
            0,
            "a context knows the reactor"
        );
    }
}
