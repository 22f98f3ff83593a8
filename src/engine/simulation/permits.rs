//! Who else has a say in the starts of a simulation: tokens that are shared with other processes, and a brake that says no for
//! a time. Each counts what it has granted. Unaware of the loop.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::permits::{Permit, Permits};
use crate::sys::simulated::{Random, now};

/// What became of the permits of one source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger {
    pub(super) granted: usize,
    pub(super) withdrawn: usize,
    pub(super) given_back: usize,
    /// The last one was granted just now.
    is_fresh: bool,
}

impl Ledger {
    pub(super) fn held(&self) -> usize {
        self.granted - self.withdrawn - self.given_back
    }

    fn ask(&mut self, running: usize) {
        assert_eq!(self.held(), running, "permits of commands that do not run");
        self.is_fresh = false;
    }

    fn grant(&mut self) -> Permit {
        self.granted += 1;
        self.is_fresh = true;
        Permit::Granted
    }

    fn withdraw(&mut self) {
        assert!(self.is_fresh, "withdrawn, and not just granted");
        self.is_fresh = false;
        self.withdrawn += 1;
    }
}

/// Permits that the loop shares with others. One of each who takes them is free.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) free: usize,
    pub(super) ledger: Ledger,
}

impl Tokens {
    fn put_back(&mut self) {
        self.free += usize::from(self.ledger.held() > 0);
    }
}

/// Nothing starts beside others while it is on.
#[derive(Debug)]
pub(super) struct Brake {
    /// It is off for so long, and then on, in turns.
    off: Duration,
    on: Duration,
    began: Instant,
    /// It has no more to say than this about when it is off again.
    foresight: Duration,
    /// It has said that it wants to be asked again then.
    pub(super) until: Option<Instant>,
    /// How late that was done at worst, since somebody looked.
    pub(super) late: Duration,
    pub(super) ledger: Ledger,
}

impl Brake {
    pub(super) fn random(random: &mut Random, began: Instant) -> Brake {
        let mut time = |most| Duration::from_micros(1 + random.below(most) as u64);
        Brake {
            off: time(20_000),
            on: time(30_000),
            began,
            foresight: time(20_000),
            until: None,
            late: Duration::ZERO,
            ledger: Ledger::default(),
        }
    }

    /// It is on at this time, and when it is off again.
    fn on_until(&self, at: Instant) -> Option<Instant> {
        let period = (self.off + self.on).as_nanos();
        let into = (at - self.began).as_nanos() % period;
        let left = Duration::from_nanos((period - into) as u64);
        (into >= self.off.as_nanos()).then(|| at + left)
    }

    /// It was on all the time since then.
    pub(super) fn is_on(&self, at: Instant) -> bool {
        self.on_until(at).is_some()
    }
}

/// A source that the simulation looks at, too.
#[derive(Debug, Default)]
pub(super) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    pub(super) fn new(source: T) -> Shared<T> {
        Shared(Arc::new(Mutex::new(source)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("no panic while it is locked")
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(Arc::clone(&self.0))
    }
}

impl Permits for Shared<Tokens> {
    fn take(&mut self, running: usize, _: Instant) -> Permit {
        let tokens = &mut *self.lock();
        tokens.ledger.ask(running);
        if running > 0 && tokens.free == 0 {
            return Permit::Announced;
        }
        tokens.free -= usize::from(running > 0);
        tokens.ledger.grant()
    }

    fn give_back(&mut self) {
        let tokens = &mut *self.lock();
        tokens.ledger.given_back += 1;
        tokens.put_back();
    }

    fn withdraw(&mut self) {
        let tokens = &mut *self.lock();
        tokens.ledger.withdraw();
        tokens.put_back();
    }
}

impl Permits for Shared<Brake> {
    fn take(&mut self, running: usize, _: Instant) -> Permit {
        let brake = &mut *self.lock();
        brake.ledger.ask(running);
        let now = now();
        if let Some(until) = brake.until.take() {
            brake.late = brake.late.max(now.saturating_duration_since(until));
        }
        match brake.on_until(now).filter(|_| running > 0) {
            Some(off) => {
                let until = off.min(now + brake.foresight);
                brake.until = Some(until);
                Permit::Until(until)
            }
            None => brake.ledger.grant(),
        }
    }

    fn give_back(&mut self) {
        self.lock().ledger.given_back += 1;
    }

    fn withdraw(&mut self) {
        self.lock().ledger.withdraw();
    }
}
