//! The contexts of a simulation: each ends by its deadline, or is cancelled by another thread.
//! Unaware of the commands that they end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::Cause;
use crate::sys::simulated::{Random, Shared};

/// One of the contexts of a run, and when and why it has ended.
pub(super) struct Ending {
    pub(super) context: Context,
    pub(super) ended: Rc<RefCell<Option<(Instant, Cause)>>>,
}

impl Ending {
    pub(super) fn end(&self, now: Instant) -> Option<(Instant, Cause)> {
        let deadline = self.context.deadline().filter(|at| *at <= now);
        let told = *self.ended.borrow();
        told.or(deadline.map(|at| (at, Cause::DeadlineExceeded)))
    }
}

pub(super) fn make(random: &mut Random, world: &Shared) -> Vec<Ending> {
    let root = Context::new();
    let mut contexts = Vec::new();
    for _ in 0..random.below(4) {
        let after = Duration::from_micros(random.below(100_000) as u64);
        let ended = Rc::new(RefCell::new(None));
        let at = world.borrow().now() + after;
        let is_deadline = random.one_in(2);
        let context = if is_deadline {
            root.with_deadline(at)
        } else {
            root.child()
        };
        let (cancelled, told) = (context.clone(), Rc::clone(&ended));
        world.borrow_mut().outside(after, move || {
            let cause = if is_deadline {
                Cause::DeadlineExceeded
            } else {
                cancelled.cancel();
                Cause::Cancelled
            };
            told.borrow_mut().get_or_insert((at, cause));
        });
        contexts.push(Ending { context, ended });
    }
    contexts
}
