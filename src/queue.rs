//! Who is next: one queue with priorities, and pools with a depth of their own.
//! Unaware of what a command is, of the limits of the whole, and of processes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A pool, of those that one queue has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pool(u32);

impl Pool {
    /// The pool of all commands that name none. It is as deep as can be.
    pub(crate) const COMMON: Pool = Pool(0);
    /// The pool of commands that have the console: one at a time.
    pub(crate) const CONSOLE: Pool = Pool(1);
}

/// The higher priority first, then who came first.
type Key = (Reverse<i32>, i64);

/// Where a command stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pool: Pool,
    key: Key,
}

/// One pool: who runs of it, and who waits for it.
#[derive(Debug)]
struct Lane {
    depth: usize,
    running: usize,
    /// What those that run weigh.
    weight: u64,
    waiting: BTreeMap<Key, Waiting>,
    /// The key under which its head is listed.
    listed: Option<Key>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    slot: u32,
    weight: u32,
}

/// All that wait. In a pool, no command overtakes one of the same priority or a higher one; a pool that is full holds
/// up no other pool. Each call is O(log n).
#[derive(Debug)]
pub(crate) struct Queue {
    lanes: Vec<Lane>,
    names: HashMap<Arc<str>, Pool>,
    /// The head of each pool that has room for it.
    heads: BTreeMap<Key, Pool>,
    /// The places behind all, and before all, that were ever given away.
    last: i64,
    first: i64,
}

impl Queue {
    pub(crate) fn new() -> Queue {
        Queue {
            lanes: vec![Lane::new(usize::MAX), Lane::new(1)],
            names: HashMap::new(),
            heads: BTreeMap::new(),
            last: 0,
            first: 0,
        }
    }

    /// Makes a pool, or gives one another depth, which is at least 1.
    pub(crate) fn set_pool(&mut self, name: &str, depth: usize) {
        let depth = depth.max(1);
        match self.pool(name) {
            Some(pool) => {
                self.lane(pool).depth = depth;
                self.relist(pool);
            }
            None => {
                let pool = Pool(self.lanes.len() as u32);
                self.lanes.push(Lane::new(depth));
                self.names.insert(name.into(), pool);
            }
        }
    }

    /// The pool of this name.
    pub(crate) fn pool(&self, name: &str) -> Option<Pool> {
        self.names.get(name).copied()
    }

    /// No command waits that could be next.
    pub(crate) fn is_blocked(&self) -> bool {
        self.heads.is_empty()
    }

    /// No command waits, and none runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.lanes
            .iter()
            .all(|lane| lane.running == 0 && lane.weight == 0 && lane.waiting.is_empty())
    }

    /// What runs of a pool, as weights, and how deep it is.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn load(&self, pool: Pool) -> (u64, usize) {
        let lane = &self.lanes[pool.0 as usize];
        (lane.weight, lane.depth)
    }

    /// The next.
    pub(crate) fn front(&self) -> Option<u32> {
        let (key, pool) = self.heads.first_key_value()?;
        let lane = self.lanes.get(pool.0 as usize)?;
        lane.waiting.get(key).map(|waiting| waiting.slot)
    }

    /// A command that came now would be the next, whatever its priority: no other may start, and none of its pool
    /// waits.
    pub(crate) fn is_next(&self, pool: Pool, weight: u32) -> bool {
        let lane = &self.lanes[pool.0 as usize];
        self.is_blocked() && lane.waiting.is_empty() && lane.has_room(weight)
    }

    /// Puts a command behind all of its priority.
    pub(crate) fn push(&mut self, slot: u32, priority: i32, weight: u32, pool: Pool) -> Ticket {
        self.last += 1;
        let key = (Reverse(priority), self.last);
        self.insert(Ticket { pool, key }, Waiting { slot, weight })
    }

    /// Puts a command before all of its priority: it has waited longer.
    pub(crate) fn push_first(
        &mut self,
        slot: u32,
        priority: i32,
        weight: u32,
        pool: Pool,
    ) -> Ticket {
        self.first -= 1;
        let key = (Reverse(priority), self.first);
        self.insert(Ticket { pool, key }, Waiting { slot, weight })
    }

    fn insert(&mut self, ticket: Ticket, waiting: Waiting) -> Ticket {
        self.lane(ticket.pool).waiting.insert(ticket.key, waiting);
        self.relist(ticket.pool);
        ticket
    }

    /// Takes a command out, wherever it stands.
    pub(crate) fn remove(&mut self, ticket: Ticket) {
        let was_there = self.lane(ticket.pool).waiting.remove(&ticket.key);
        debug_assert!(was_there.is_some(), "{ticket:?} is nobody's");
        self.relist(ticket.pool);
    }

    /// One of this pool was started.
    pub(crate) fn started(&mut self, pool: Pool, weight: u32) {
        let lane = self.lane(pool);
        lane.running += 1;
        lane.weight += u64::from(weight);
        self.relist(pool);
    }

    /// One of this pool has ended.
    pub(crate) fn ended(&mut self, pool: Pool, weight: u32) {
        let lane = self.lane(pool);
        lane.running -= 1;
        lane.weight -= u64::from(weight);
        self.relist(pool);
    }

    fn lane(&mut self, Pool(number): Pool) -> &mut Lane {
        &mut self.lanes[number as usize]
    }

    /// Lists a pool's head, if there is room for it in the pool.
    fn relist(&mut self, pool: Pool) {
        let lane = &mut self.lanes[pool.0 as usize];
        let head = lane.head();
        if lane.listed == head {
            return;
        }
        if let Some(key) = std::mem::replace(&mut lane.listed, head) {
            self.heads.remove(&key);
        }
        if let Some(key) = head {
            self.heads.insert(key, pool);
        }
    }
}

impl Lane {
    fn new(depth: usize) -> Lane {
        Lane {
            depth,
            running: 0,
            weight: 0,
            waiting: BTreeMap::new(),
            listed: None,
        }
    }

    /// Its first, if that fits.
    fn head(&self) -> Option<Key> {
        let (key, waiting) = self.waiting.first_key_value()?;
        self.has_room(waiting.weight).then_some(*key)
    }

    /// One that weighs more than the pool is deep has it alone.
    fn has_room(&self, weight: u32) -> bool {
        self.running == 0 || self.weight + u64::from(weight) <= self.depth as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts all that can be, and says who.
    fn drain(queue: &mut Queue, tickets: &mut HashMap<u32, (Ticket, u32)>) -> Vec<u32> {
        let mut started = Vec::new();
        while let Some(slot) = queue.front() {
            let (ticket, weight) = tickets.remove(&slot).expect("it waits");
            queue.started(ticket.pool, weight);
            queue.remove(ticket);
            started.push(slot);
        }
        started
    }

    #[test]
    fn higher_priorities_come_first_and_equal_ones_in_their_order() {
        let mut queue = Queue::new();
        let mut tickets = HashMap::new();
        for (slot, priority) in [(0, 0), (1, 5), (2, -1), (3, 5), (4, 0)] {
            let ticket = queue.push(slot, priority, 1, Pool::COMMON);
            tickets.insert(slot, (ticket, 1));
        }
        let again = queue.push_first(9, 0, 1, Pool::COMMON);
        tickets.insert(9, (again, 1));
        assert_eq!(drain(&mut queue, &mut tickets), [1, 3, 9, 0, 4, 2]);
    }

    #[test]
    fn a_full_pool_holds_up_its_own_and_nobody_else() {
        let mut queue = Queue::new();
        queue.set_pool("link", 1);
        let link = queue.pool("link").expect("it was made");
        let mut tickets = HashMap::new();
        for (slot, pool) in [(0, link), (1, link), (2, Pool::COMMON), (3, link)] {
            tickets.insert(slot, (queue.push(slot, 0, 1, pool), 1));
        }
        assert_eq!(drain(&mut queue, &mut tickets), [0, 2]);
        assert!(queue.is_blocked());
        queue.ended(link, 1);
        assert_eq!(drain(&mut queue, &mut tickets), [1]);
        queue.set_pool("link", 2);
        assert_eq!(
            drain(&mut queue, &mut tickets),
            [3],
            "the pool became deeper"
        );
    }

    #[test]
    fn one_that_is_heavier_than_its_pool_has_it_alone_and_is_not_overtaken_in_it() {
        let mut queue = Queue::new();
        queue.set_pool("link", 3);
        let link = queue.pool("link").expect("it was made");
        let mut tickets = HashMap::new();
        for (slot, weight) in [(0, 2), (1, 9), (2, 1)] {
            tickets.insert(slot, (queue.push(slot, 0, weight, link), weight));
        }
        assert_eq!(drain(&mut queue, &mut tickets), [0], "not the light one");
        queue.ended(link, 2);
        assert_eq!(drain(&mut queue, &mut tickets), [1]);
        queue.ended(link, 9);
        assert_eq!(drain(&mut queue, &mut tickets), [2]);
    }

    #[test]
    fn one_that_leaves_holds_up_nobody() {
        let mut queue = Queue::new();
        queue.set_pool("link", 2);
        let link = queue.pool("link").expect("it was made");
        queue.started(link, 1);
        let heavy = queue.push(0, 0, 2, link);
        queue.push(1, 0, 1, link);
        assert_eq!(queue.front(), None);
        queue.remove(heavy);
        assert_eq!(queue.front(), Some(1));
    }

    /// What a plain list says: by priority, then by place; the first whose pool has room and that is its pool's first.
    fn next_of(list: &[(u32, Ticket, u32)], queue: &Queue) -> Option<u32> {
        let mut sorted = list.to_vec();
        sorted.sort_by_key(|(_, ticket, _)| ticket.key);
        let mut seen = Vec::new();
        for (slot, ticket, weight) in sorted {
            if seen.contains(&ticket.pool.0) {
                continue;
            }
            seen.push(ticket.pool.0);
            let (used, depth) = queue.load(ticket.pool);
            if used == 0 || used + u64::from(weight) <= depth as u64 {
                return Some(slot);
            }
        }
        None
    }

    #[test]
    fn random_moves_agree_with_a_plain_list() {
        const MOVES: usize = if cfg!(miri) { 200 } else { 20_000 };
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 33) % below as u64) as usize
        };
        let mut queue = Queue::new();
        for name in ["a", "b", "c"] {
            queue.set_pool(name, 1 + random(4));
        }
        let mut list: Vec<(u32, Ticket, u32)> = Vec::new();
        let mut running: Vec<(Pool, u32)> = Vec::new();
        for slot in 0..MOVES {
            let (pool, weight) = (Pool(random(4) as u32), 1 + random(3) as u32);
            let priority = random(3) as i32 - 1;
            let is_next = queue.is_next(pool, weight);
            match random(8) {
                0..=3 if list.len() < 40 => {
                    let ticket = if random(5) == 0 {
                        queue.push_first(slot as u32, priority, weight, pool)
                    } else {
                        queue.push(slot as u32, priority, weight, pool)
                    };
                    list.push((slot as u32, ticket, weight));
                    let before = &list[..list.len() - 1];
                    let is_alone = before.iter().all(|(_, other, _)| other.pool != pool);
                    let came_next = next_of(&list, &queue) == Some(slot as u32);
                    let had_next = next_of(before, &queue).is_some();
                    assert_eq!(is_next, is_alone && came_next && !had_next);
                }
                4 if !list.is_empty() => {
                    let (_, ticket, _) = list.swap_remove(random(list.len()));
                    queue.remove(ticket);
                }
                5 if !running.is_empty() => {
                    let (pool, weight) = running.swap_remove(random(running.len()));
                    queue.ended(pool, weight);
                }
                6 => queue.set_pool(["a", "b", "c"][random(3)], random(5)),
                _ => {
                    if let Some(next) = queue.front() {
                        let place = list.iter().position(|(slot, ..)| *slot == next);
                        let (_, ticket, weight) = list.swap_remove(place.expect("it waits"));
                        queue.started(ticket.pool, weight);
                        queue.remove(ticket);
                        running.push((ticket.pool, weight));
                    }
                }
            }
            assert_eq!(queue.front(), next_of(&list, &queue));
        }
    }
}
