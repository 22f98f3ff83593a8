//! `Context`: one word, from any thread, that ends many commands.
//! Unaware of reactors but as somebody to wake.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::error::Cause;
use crate::sys;

/// Ends the commands that carry it: when it is cancelled, when its deadline passes, or when its parent ends.
///
/// ```
/// use execloop::{Cause, Command, Context, Reactor};
/// use std::time::Duration;
/// let build = Context::new();
/// let step = build.with_timeout(Duration::from_secs(60)); // ends with the build, too
/// let mut reactor = Reactor::new()?;
/// reactor.start(Command::new("sleep").arg("600").context(&step))?;
/// build.cancel(); // from any thread
/// let done = reactor.wait_any()?.expect("it was started");
/// assert_eq!(done.outcome.unwrap_err().cause(), Some(Cause::Cancelled));
/// assert_eq!(step.cause(), Some(Cause::Cancelled));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A clone is the same context. It can be cancelled from any thread, also while the reactor's thread sleeps. Go's
/// `context.Context`, without values. A deadline acts on a reactor's commands by the reactor's timer, not by a thread.
#[derive(Clone)]
pub struct Context {
    node: Arc<Node>,
}

struct Node {
    /// Kept alive by its children: an end has to travel through it.
    parent: Option<Arc<Node>>,
    deadline: Option<Instant>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cause: Option<Cause>,
    children: Vec<Weak<Node>>,
    /// How many children to have before the dead ones among them are looked for again.
    prune_at: usize,
    watchers: Vec<(Weak<dyn Watch>, usize)>,
}

/// Who learns of a context's end: once, from any thread.
pub(crate) trait Watch: Send + Sync {
    /// The context watched under `key` has ended.
    fn context_done(&self, key: usize);
}

impl Default for Context {
    fn default() -> Context {
        Context::new()
    }
}

impl Context {
    /// A context that ends when it is cancelled.
    pub fn new() -> Context {
        Context::with(None, None)
    }

    fn with(parent: Option<Arc<Node>>, deadline: Option<Instant>) -> Context {
        Context {
            node: Arc::new(Node {
                parent,
                deadline,
                state: Mutex::default(),
            }),
        }
    }

    /// A context that ends with this one, and can be cancelled by itself.
    #[must_use = "it ends nothing but what is given it"]
    pub fn child(&self) -> Context {
        self.child_until(None)
    }

    /// A child that also ends `timeout` from now.
    #[must_use = "this context goes on as before"]
    pub fn with_timeout(&self, timeout: Duration) -> Context {
        self.child_until(sys::now().checked_add(timeout))
    }

    /// A child that also ends at `deadline`. The earlier of its own deadline and the parent's counts.
    #[must_use = "this context goes on as before"]
    pub fn with_deadline(&self, deadline: Instant) -> Context {
        self.child_until(Some(deadline))
    }

    fn child_until(&self, deadline: Option<Instant>) -> Context {
        let deadline = [deadline, self.node.deadline].into_iter().flatten().min();
        let child = Context::with(Some(Arc::clone(&self.node)), deadline);
        let mut state = self.node.lock();
        match state.cause {
            Some(cause) => child.node.lock().cause = Some(cause),
            None => state.adopt(Arc::downgrade(&child.node)),
        }
        drop(state);
        child
    }

    /// Ends it and its children, with [`Cause::Cancelled`]. The first end counts; later calls do nothing.
    pub fn cancel(&self) {
        self.node.end(Cause::Cancelled);
    }

    /// Why it has ended; `None` while it has not.
    pub fn cause(&self) -> Option<Cause> {
        let cause = self.node.lock().cause;
        let passed = || {
            self.node
                .deadline
                .is_some_and(|deadline| deadline <= sys::now())
        };
        cause.or_else(|| passed().then_some(Cause::DeadlineExceeded))
    }

    /// When it ends at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline
    }

    /// The same as `cause`, at a time that the caller has read.
    pub(crate) fn cause_at(&self, now: Instant) -> Option<Cause> {
        let passed = self.node.deadline.is_some_and(|deadline| deadline <= now);
        self.node
            .lock()
            .cause
            .or(passed.then_some(Cause::DeadlineExceeded))
    }

    /// Somebody has ended it, or one above it: not only its deadline has passed.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.node.lock().cause.is_some()
    }

    /// Registers a watcher. It learns at once, by this call, if the context has ended.
    pub(crate) fn watch(&self, watcher: &Arc<impl Watch + 'static>, key: usize) {
        let mut state = self.node.lock();
        if state.cause.is_none() {
            let watcher: Weak<dyn Watch> = Arc::downgrade(watcher) as Weak<dyn Watch>;
            state.watchers.push((watcher, key));
        } else {
            drop(state);
            watcher.context_done(key);
        }
    }

    /// Takes the watcher back. Another thread that is at it may call it once more.
    pub(crate) fn unwatch(&self, watcher: &Arc<impl Watch + 'static>, key: usize) {
        let address = Arc::as_ptr(watcher).cast::<()>();
        let mut state = self.node.lock();
        let found = state
            .watchers
            .iter()
            .position(|(one, its)| *its == key && one.as_ptr().cast::<()>() == address);
        if let Some(position) = found {
            state.watchers.swap_remove(position);
        }
    }

    /// What tells two contexts apart, while both live.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.node).addr()
    }
}

impl Node {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the tree below this node, without recursion: a chain of children can be as long as memory allows.
    /// One whose deadline has passed keeps that as its cause.
    fn end(self: &Arc<Node>, cause: Cause) {
        let now = sys::now();
        let mut nodes = vec![Arc::clone(self)];
        while let Some(node) = nodes.pop() {
            let mut state = node.lock();
            if state.cause.is_some() {
                continue;
            }
            let passed = node.deadline.is_some_and(|deadline| deadline <= now);
            state.cause = Some(if passed {
                Cause::DeadlineExceeded
            } else {
                cause
            });
            let watchers = std::mem::take(&mut state.watchers);
            let children = std::mem::take(&mut state.children);
            drop(state);
            nodes.extend(children.iter().filter_map(Weak::upgrade));
            for (watcher, key) in watchers {
                if let Some(watcher) = watcher.upgrade() {
                    watcher.context_done(key);
                }
            }
        }
    }
}

impl Drop for Node {
    /// A loop, as a chain of parents can be as long as memory allows.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut node) = parent.and_then(Arc::into_inner) {
            parent = node.parent.take();
        }
    }
}

/// Below this many children dead ones are not looked for.
const PRUNE_MIN: usize = 32;

impl State {
    /// Dead children are dropped whenever their list has doubled, so that a long-lived parent stays small.
    fn adopt(&mut self, child: Weak<Node>) {
        if self.children.len() >= self.prune_at.max(PRUNE_MIN) {
            self.children.retain(|child| child.strong_count() > 0);
            self.prune_at = self.children.len() * 2;
        }
        self.children.push(child);
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.node.lock().cause;
        formatter
            .debug_struct("Context")
            .field("cause", &cause)
            .field("deadline", &self.node.deadline)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Told(AtomicUsize);

    impl Watch for Told {
        fn context_done(&self, key: usize) {
            self.0.fetch_add(key, Ordering::Relaxed);
        }
    }

    #[test]
    fn cancelling_a_parent_ends_its_descendants_and_not_its_own_parent() {
        let (root, told) = (Context::new(), Arc::new(Told::default()));
        let parent = root.child();
        // The one between was dropped by its owner, and passes the end on all the same.
        let grandchild = parent.child().child();
        grandchild.watch(&told, 5);
        parent.cancel();
        parent.cancel();
        assert_eq!(
            (root.cause(), grandchild.cause()),
            (None, Some(Cause::Cancelled))
        );
        assert_eq!(told.0.load(Ordering::Relaxed), 5, "told once");
    }

    #[test]
    fn a_watcher_of_an_ended_context_is_told_at_once_and_one_taken_back_is_not() {
        let (context, told) = (Context::new(), Arc::new(Told::default()));
        context.watch(&told, 1);
        context.unwatch(&told, 1);
        context.cancel();
        assert_eq!(told.0.load(Ordering::Relaxed), 0);
        context.watch(&told, 7);
        assert_eq!(told.0.load(Ordering::Relaxed), 7);
        assert_eq!(
            context.child().cause(),
            Some(Cause::Cancelled),
            "born ended"
        );
    }

    #[test]
    fn the_earlier_deadline_of_parent_and_child_counts() {
        let now = sys::now();
        let early = Context::new().with_deadline(now + Duration::from_secs(10));
        let late = early.with_deadline(now + Duration::from_secs(20));
        assert_eq!(late.deadline(), early.deadline());
        assert_eq!(late.cause_at(now), None);
        assert_eq!(
            late.cause_at(now + Duration::from_secs(10)),
            Some(Cause::DeadlineExceeded)
        );
        assert_eq!(
            Context::new().with_timeout(Duration::MAX).deadline(),
            None,
            "beyond the clock's end"
        );
    }

    #[test]
    fn dropped_children_do_not_pile_up_in_a_long_lived_parent() {
        let parent = Context::new();
        let kept = parent.child();
        for _ in 0..10_000 {
            drop(parent.child());
        }
        assert!(parent.node.lock().children.len() <= 2 * PRUNE_MIN);
        parent.cancel();
        assert_eq!(kept.cause(), Some(Cause::Cancelled));
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_children_ends_without_recursion() {
        let root = Context::new();
        let mut chain = vec![root.clone()];
        for _ in 0..100_000 {
            chain.push(chain[chain.len() - 1].child());
        }
        root.cancel();
        assert_eq!(chain[100_000].cause(), Some(Cause::Cancelled));
    }
}
