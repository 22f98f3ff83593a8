//! All deadlines of a reactor in one ordered set: which is the earliest, which are due.
//! Unaware of clocks and of timers: `now` is an argument, and what a key stands for is the caller's.

use std::collections::BTreeSet;
use std::time::Instant;

/// At most one deadline for each key, the earliest first.
///
/// The caller remembers where each key is armed and says so when it moves it, so that no second map is needed.
/// The trap: a key whose old place is forgotten stays armed there, too. Each call is O(log n).
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    armed: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Has no deadline, and no memory.
    pub(crate) fn new() -> Self {
        Deadlines {
            armed: BTreeSet::new(),
        }
    }

    /// Moves the deadline of `key`; `None` is "not armed".
    ///
    /// After [`pop_due`](Self::pop_due) returned the key, `from` is `None` again.
    pub(crate) fn move_to(&mut self, key: K, from: Option<Instant>, to: Option<Instant>) {
        if from == to {
            debug_assert!(
                from.is_none_or(|at| self.armed.contains(&(at, key))),
                "the key is not armed at `from`"
            );
            return;
        }
        if let Some(at) = from {
            let was_armed = self.armed.remove(&(at, key));
            debug_assert!(was_armed, "the key is not armed at `from`");
        }
        if let Some(at) = to {
            let is_new = self.armed.insert((at, key));
            debug_assert!(
                is_new,
                "the key is armed at `to` already: its old place was forgotten"
            );
        }
    }

    /// Removes `key` from `at`, if it is still there.
    pub(crate) fn discard(&mut self, key: K, at: Instant) {
        self.armed.remove(&(at, key));
    }

    /// The time to wake up for.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.armed.first().map(|&(at, _)| at)
    }

    /// Takes out the earliest deadline that `now` has reached, and says when it was due.
    ///
    /// At one instant the smaller key goes first.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.earliest()? > now {
            return None;
        }
        self.armed.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can't be made from nothing; all others are counted from it"
    )]
    fn base() -> Instant {
        Instant::now()
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn new_set_has_nothing_due() {
        let base = base();
        let mut deadlines = Deadlines::<u32>::new();
        assert!(deadlines.armed.is_empty());
        assert_eq!(deadlines.armed.len(), 0);
        assert_eq!(deadlines.earliest(), None);
        assert_eq!(deadlines.pop_due(base), None);
    }

    #[test]
    fn due_keys_come_out_in_order_of_time() {
        let base = base();
        let mut deadlines = Deadlines::new();
        for (key, at) in [('c', 30), ('a', 10), ('d', 40), ('b', 20)] {
            deadlines.move_to(key, None, Some(base + ms(at)));
        }
        assert_eq!(deadlines.earliest(), Some(base + ms(10)));
        let now = base + ms(35);
        assert_eq!(deadlines.pop_due(now), Some((base + ms(10), 'a')));
        assert_eq!(deadlines.pop_due(now), Some((base + ms(20), 'b')));
        assert_eq!(deadlines.pop_due(now), Some((base + ms(30), 'c')));
        assert_eq!(deadlines.pop_due(now), None);
        assert_eq!(deadlines.armed.len(), 1);
        assert_eq!(deadlines.earliest(), Some(base + ms(40)));
    }

    #[test]
    fn deadline_is_due_at_its_instant_and_not_before() {
        let at = base() + ms(10);
        let mut deadlines = Deadlines::new();
        deadlines.move_to(1, None, Some(at));
        assert_eq!(deadlines.pop_due(at - Duration::from_nanos(1)), None);
        assert_eq!(deadlines.pop_due(at), Some((at, 1)));
        assert_eq!(deadlines.pop_due(at), None);
        assert!(deadlines.armed.is_empty());
    }

    #[test]
    fn keys_of_one_instant_come_out_one_by_one() {
        let at = base();
        let mut deadlines = Deadlines::new();
        for key in [3, 1, 2] {
            deadlines.move_to(key, None, Some(at));
        }
        let keys: Vec<_> = std::iter::from_fn(|| deadlines.pop_due(at)).collect();
        assert_eq!(keys, [(at, 1), (at, 2), (at, 3)]);
    }

    #[test]
    fn moved_deadline_leaves_its_old_place() {
        let (early, late) = (base(), base() + ms(60_000));
        let mut deadlines = Deadlines::new();
        deadlines.move_to(1, None, Some(early));
        deadlines.move_to(1, Some(early), Some(late));
        assert_eq!(
            (deadlines.armed.len(), deadlines.earliest()),
            (1, Some(late))
        );
        assert_eq!(deadlines.pop_due(early), None);

        deadlines.move_to(1, Some(late), Some(late));
        assert_eq!(
            (deadlines.armed.len(), deadlines.earliest()),
            (1, Some(late))
        );
        deadlines.move_to(1, Some(late), None);
        deadlines.move_to(1, None, None);
        assert!(deadlines.armed.is_empty());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "not armed at `from`")]
    fn wrong_old_place_is_a_bug() {
        let at = base();
        let mut deadlines = Deadlines::new();
        deadlines.move_to(1, None, Some(at));
        deadlines.move_to(1, Some(at + ms(1)), None);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "not armed at `from`")]
    fn move_to_the_same_wrong_place_is_a_bug() {
        let at = base();
        Deadlines::new().move_to(1, Some(at), Some(at));
    }

    #[test]
    fn random_moves_agree_with_a_plain_list() {
        const KEYS: usize = 12;
        const TURNS: u64 = if cfg!(miri) { 200 } else { 20_000 };
        let base = base();
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut deadlines = Deadlines::new();
        let mut list = [None; KEYS];
        for turn in 0..TURNS {
            let key = random(KEYS as u64) as usize;
            let to = (random(4) > 0).then(|| base + ms(turn / 4 + random(20)));
            deadlines.move_to(key, list[key], to);
            list[key] = to;

            let now = base + ms(turn / 4);
            if random(3) == 0 {
                let due = (0..KEYS)
                    .filter_map(|key| Some((list[key]?, key)))
                    .filter(|&(at, _)| at <= now)
                    .min();
                assert_eq!(deadlines.pop_due(now), due);
                if let Some((_, key)) = due {
                    list[key] = None;
                }
            }
            assert_eq!(deadlines.earliest(), list.iter().flatten().min().copied());
            assert_eq!(deadlines.armed.len(), list.iter().flatten().count());
            assert_eq!(deadlines.armed.is_empty(), list.iter().all(Option::is_none));
        }
    }
}
