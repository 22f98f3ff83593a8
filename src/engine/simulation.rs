//! Runs the loop over a simulated machine, through a schedule that a seed decides, and checks everything it promises:
//! each command finishes exactly once, with a true outcome; no byte is lost; nothing is left.
//! Unaware of processes and of real time; for tests and fuzzing only.

mod callers;
mod check;
mod plan;
mod streams;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Engine;
use crate::admission::Admission;
use crate::context::Context;
use crate::error::{Cause, StartError};
use crate::finished::{CommandId, Finished};
use crate::inbox::{Inbox, Message};
use crate::permits::{Permit, Permits};
use crate::queue::Pool;
use crate::sys::simulated::{Random, Shared, Simulated, SimulatedWaker, Weather, World};
use crate::sys::{Kernel, Signal, Stream, Target};
use check::{Evidence, check};
use plan::{Job, POOLS};

/// Marks the ids of these engines.
const REACTOR: u32 = 7;

/// One of the contexts of a run, and when and why it has ended.
struct Ending {
    context: Context,
    ended: Rc<RefCell<Option<(Instant, Cause)>>>,
}

impl Ending {
    fn end(&self, now: Instant) -> Option<(Instant, Cause)> {
        let deadline = self.context.deadline().filter(|at| *at <= now);
        let told = *self.ended.borrow();
        told.or(deadline.map(|at| (at, Cause::DeadlineExceeded)))
    }
}

/// Permits that the loop shares with others. One of each who takes them is free.
#[derive(Clone, Debug, Default)]
struct Tokens {
    free: Arc<AtomicUsize>,
    /// What the loop has, with the free one.
    held: Arc<AtomicUsize>,
}

impl Permits for Tokens {
    fn take(&mut self, running: usize, _: Instant) -> Permit {
        let held = self.held.load(Ordering::Relaxed);
        assert_eq!(held, running, "permits of commands that do not run");
        let less = |free: usize| free.checked_sub(1);
        let order = Ordering::Relaxed;
        if held > 0 && self.free.fetch_update(order, order, less).is_err() {
            return Permit::Announced;
        }
        self.held.store(held + 1, Ordering::Relaxed);
        Permit::Granted
    }

    fn give_back(&mut self) {
        let held = self.held.load(Ordering::Relaxed) - 1;
        self.held.store(held, Ordering::Relaxed);
        if held > 0 {
            self.free.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the driver knows, shared with those who act from outside.
type Book = Rc<RefCell<Vec<Job>>>;

struct Driver {
    random: Random,
    world: Shared,
    engine: Option<Engine<Simulated>>,
    book: Book,
    /// The commands by their numbers.
    numbers: Rc<RefCell<HashMap<u64, usize>>>,
    contexts: Vec<Ending>,
    jobs_left: usize,
    /// Commands that were made and not handed out.
    live: Vec<usize>,
    /// Children that were let go.
    let_go: Vec<u32>,
    running_max: usize,
    tokens: Option<Tokens>,
    /// What ran when the driver last looked, as weights: of all, and of each pool.
    loads: [u64; 1 + POOLS.len()],
    /// Pool, priority, number and start of those that were queued here and finished.
    order: Vec<(Option<&'static str>, i32, u64, Instant)>,
    /// An outer loop polls the descriptor, and never lets the engine sleep.
    is_embedded: bool,
    /// That one learns of edges alone.
    minds_edges: bool,
    /// Its caller does something else now and then.
    is_dawdling: bool,
    may_fail: bool,
    is_shut_down: bool,
    last_drained: Option<Instant>,
    /// The loop is broken on purpose: it forgets that streams have used up their share.
    is_broken: bool,
    /// To find out whether a context still knows it.
    inbox: Arc<Inbox<SimulatedWaker>>,
    /// What was handed to those who had sent it.
    told: Arc<Mutex<Vec<Finished>>>,
    /// Pipes that would have blocked.
    wanted: Vec<(CommandId, Stream)>,
}

/// Runs the whole of one simulation.
///
/// # Panics
/// When a promise is broken.
pub(crate) fn run(random: Random) {
    Driver::new(random).run();
}

/// The same over a loop that is broken on purpose.
#[cfg(test)]
fn run_broken(random: Random) {
    let mut driver = Driver::new(random);
    driver.is_broken = true;
    driver.run();
}

fn random_weather(random: &mut Random) -> Weather {
    let is_calm = random.one_in(4);
    let mut one_in = |most: usize| {
        if is_calm || random.one_in(2) {
            0
        } else {
            2 + random.below(most)
        }
    };
    let weather = Weather {
        interrupts: one_in(10),
        early_polls: one_in(20),
        poll_errors: one_in(60),
        arm_errors: one_in(10),
        reap_errors: one_in(6),
        read_errors: one_in(200),
        spurious: one_in(6),
        stale: one_in(4),
        unwatched: one_in(10),
        shortages: one_in(10),
        shuffles: one_in(3),
        slow_starts: one_in(10),
        refusals: one_in(6),
        ..Weather::default()
    };
    Weather {
        late_execs: if random.one_in(3) {
            0
        } else {
            1 + random.below(3)
        },
        starts_max: if random.one_in(2) {
            1 + random.below(4)
        } else {
            16
        },
        finds_groups: random.one_in(2),
        by_kqueue: random.one_in(3),
        batch_max: if random.one_in(3) { 2 } else { 256 },
        pipe_bytes: match random.below(4) {
            0 => vec![1, 7, 100],
            1 => vec![4096, 65_536],
            _ => vec![16, 4096, 65_536, 65_536, 262_144],
        },
        fds_max: if random.one_in(6) {
            12 + random.below(40)
        } else {
            usize::MAX
        },
        ..weather
    }
}

impl Driver {
    fn new(mut random: Random) -> Driver {
        let weather = random_weather(&mut random);
        let may_fail = weather.poll_errors > 0;
        let jobs_left = match random.below(60) {
            0 => 400,
            1..=10 => 100,
            _ => 5 + random.below(30),
        };
        let running_max = match random.below(3) {
            0 => 1 + random.below(5),
            1 => 5 + random.below(40),
            _ => usize::MAX,
        };
        let fd_limit = if random.one_in(4) {
            32 + random.below(60) as u64
        } else {
            u64::MAX
        };
        let world = Rc::new(RefCell::new(World::new(random.halve(), weather)));
        let kernel = Simulated {
            world: Rc::clone(&world),
        };
        let mut admission = Admission::new(running_max, fd_limit);
        for pool in POOLS {
            admission.set_pool(pool, 1 + random.below(5));
        }
        let mut engine = Engine::new(kernel, admission, REACTOR);
        let tokens = random.one_in(3).then(Tokens::default);
        if let Some(tokens) = &tokens {
            let source = Box::new(tokens.clone());
            engine.add_permits(source).expect("nothing to watch");
            tokens.free.store(random.below(6), Ordering::Relaxed);
        }
        let mut driver = Driver {
            is_embedded: random.one_in(4),
            minds_edges: random.one_in(2),
            is_dawdling: random.one_in(4),
            random,
            world,
            inbox: Arc::clone(engine.inbox()),
            engine: Some(engine),
            book: Book::default(),
            numbers: Rc::default(),
            contexts: Vec::new(),
            jobs_left,
            live: Vec::new(),
            let_go: Vec::new(),
            running_max,
            tokens,
            loads: Default::default(),
            order: Vec::new(),
            may_fail,
            is_shut_down: false,
            last_drained: None,
            is_broken: false,
            told: Arc::default(),
            wanted: Vec::new(),
        };
        driver.make_contexts();
        driver.let_others_resume();
        driver
    }

    fn engine(&mut self) -> &mut Engine<Simulated> {
        self.engine.as_mut().expect("an engine")
    }

    fn inbox(&mut self) -> Arc<Inbox<SimulatedWaker>> {
        self.engine().share_inbox()
    }

    fn make_contexts(&mut self) {
        let root = Context::new();
        for _ in 0..self.random.below(4) {
            let after = Duration::from_micros(self.random.below(100_000) as u64);
            let ended = Rc::new(RefCell::new(None));
            let at = self.world.borrow().now() + after;
            let is_deadline = self.random.one_in(2);
            let context = if is_deadline {
                root.with_deadline(at)
            } else {
                root.child()
            };
            let (cancelled, told) = (context.clone(), Rc::clone(&ended));
            self.world.borrow_mut().outside(after, move || {
                let cause = if is_deadline {
                    Cause::DeadlineExceeded
                } else {
                    cancelled.cancel();
                    Cause::Cancelled
                };
                told.borrow_mut().get_or_insert((at, cause));
            });
            self.contexts.push(Ending { context, ended });
        }
    }

    /// Readers and writers that would block are resumed by another thread.
    fn let_others_resume(&mut self) {
        let (inbox, book) = (self.inbox(), Rc::clone(&self.book));
        let resume = move |command: usize| {
            if let Some(id) = book.borrow().get(command).and_then(|job| job.id) {
                inbox.send(Message::Resume(id.number));
            }
        };
        self.world.borrow_mut().on_resume = Some(Rc::new(resume));
    }

    fn run(mut self) {
        let ends_early = self.random.one_in(8);
        while self.jobs_left > 0 || self.engine().len() > 0 || self.is_awaited() {
            self.act();
            self.check_limits();
            if ends_early && self.random.one_in(60) {
                return self.end_early();
            }
        }
        self.outlive_detached();
        self.check_order();
        self.check_leftovers();
        self.engine = None;
        self.check_world();
    }

    /// Something that another thread is to start is still on its way.
    fn is_awaited(&self) -> bool {
        !self.live.is_empty()
    }

    fn act(&mut self) {
        match self.random.below(40) {
            0..=9 => self.start_one(),
            10..=27 => self.turn(),
            28..=31 => self.take_one(),
            32 => self.cancel_one(),
            33 => self.kill_one(),
            34 => self.signal_one(),
            35 | 36 => self.serve_caller(),
            37 => self.wait_for_one(),
            38 if self.is_dawdling && self.random.one_in(2) => {
                let time = Duration::from_micros(self.random.below(60_000) as u64);
                Simulated::dawdle(&self.world, time);
            }
            38 if self.random.one_in(2) => self.change_limits(),
            38 => self.resume_one(),
            _ if self.random.one_in(4) => self.detach_one(),
            _ => self.let_another_thread_speak(),
        }
        self.note_told();
        if self.random.one_in(3) {
            self.take_ready();
        }
    }

    /// Makes a command, and the place for it in the book.
    fn make(&mut self) -> (usize, crate::Command) {
        let number = self.book.borrow().len();
        let program = self.world.borrow().program_count();
        let mut job = Job::random(&mut self.random, program, self.contexts.len());
        let is_sent = self.random.one_in(8);
        // When that one is queued, the driver does not see.
        job.counts_queue |= is_sent;
        job.is_sent = is_sent;
        let path = self.world.borrow_mut().install(job.script.clone());
        let mut command = job.command(&path, number, &mut self.random);
        if let Some(context) = job.context {
            command.context(&self.contexts[context].context);
        }
        self.book.borrow_mut().push(job);
        self.live.push(number);
        (number, command)
    }

    fn start_one(&mut self) {
        if self.jobs_left == 0 {
            return self.turn();
        }
        self.jobs_left -= 1;
        let (number, mut command) = self.make();
        let is_sent = self.book.borrow()[number].is_sent;
        if is_sent {
            return self.start_from_outside(number, command);
        }
        let now = self.engine().kernel.now();
        match self.engine().start(&mut command) {
            Ok(id) => {
                self.numbers.borrow_mut().insert(id.number, number);
                let job = &mut self.book.borrow_mut()[number];
                job.id = Some(id);
                job.queued = Some(now);
            }
            Err(error) => self.check_refused(number, &error),
        }
    }

    /// Only what had said that it would block is told, and each time once.
    fn take_ready(&mut self) {
        while let Some(ready) = self.engine().pop_ready() {
            assert!(self.wanted.contains(&ready), "{ready:?} was not asked for");
            self.wanted.retain(|wanted| *wanted != ready);
            assert!(self.engine().knows(ready.0), "{ready:?} is over");
        }
    }

    /// What came back to those who had sent it.
    fn note_told(&mut self) {
        let told = std::mem::take(&mut *self.told.lock().expect("no panic while it is locked"));
        for finished in told {
            self.note(finished);
        }
    }

    /// Another thread starts it by a handle, a little later.
    fn start_from_outside(&mut self, number: usize, command: crate::Command) {
        let inbox = self.inbox();
        let (book, numbers) = (Rc::clone(&self.book), Rc::clone(&self.numbers));
        let after = Duration::from_micros(self.random.below(3000) as u64);
        let told = self.random.one_in(2).then(|| Arc::clone(&self.told));
        self.world.borrow_mut().outside(after, move || {
            let id = CommandId {
                number: inbox.take_number(),
                reactor: REACTOR,
            };
            let is_taken = inbox.send(match told {
                Some(told) => {
                    let tell = move |finished| told.lock().expect("no panic").push(finished);
                    Message::Run(id.number, Box::new(command), Box::new(tell))
                }
                None => Message::Start(id.number, Box::new(command)),
            });
            let job = &mut book.borrow_mut()[number];
            job.is_over = !is_taken;
            job.id = is_taken.then_some(id);
            numbers.borrow_mut().insert(id.number, number);
        });
    }

    /// A start that fails at once: nothing is left of it, and the reason is true.
    fn check_refused(&mut self, number: usize, error: &StartError) {
        self.live.retain(|live| *live != number);
        let job = &mut self.book.borrow_mut()[number];
        job.is_over = true;
        let context = job.context.map(|at| self.contexts[at].context.cause());
        let is_true = match error {
            StartError::Stopped(cause) => context == Some(Some(*cause)),
            StartError::Step { source, .. } => match source.raw_os_error() {
                Some(libc::EACCES) => job.script.exec_error.is_some(),
                number if number == job.script.clone_error && number.is_some() => true,
                // Only a start that no other command's end could make room for fails for want of something.
                _ => self
                    .engine
                    .as_ref()
                    .is_some_and(|engine| engine.running() == 0),
            },
            _ => false,
        };
        assert!(is_true, "refused: {error:?} {job:#?}");
    }

    /// One turn, as `Reactor::wait_any` and an outer loop make it.
    fn turn(&mut self) {
        if self.engine().unfinished() == 0 {
            self.engine().take_messages();
        }
        let is_pending = self.engine().is_pending();
        if self.engine().unfinished() == 0 && !is_pending {
            // Only others can bring something now.
            return self.turn_for(Some(Duration::from_millis(1)));
        }
        if self.is_embedded && self.random.one_in(2) {
            return self.turn_from_outside();
        }
        let timeout = match self.random.below(6) {
            0 => Some(Duration::ZERO),
            1 => Some(Duration::from_micros(self.random.below(3000) as u64)),
            _ if is_pending => Some(Duration::ZERO),
            _ => None,
        };
        self.turn_for(timeout);
    }

    fn turn_for(&mut self, timeout: Option<Duration>) {
        self.world.borrow_mut().is_hurried = timeout == Some(Duration::ZERO);
        let turned = self.engine().turn(timeout);
        self.world.borrow_mut().is_hurried = false;
        assert!(turned.is_ok() || self.may_fail, "{turned:?}");
        if self.is_broken {
            self.engine().backlog.clear();
        }
    }

    /// An outer loop polls the descriptor, and calls when that is readable.
    fn turn_from_outside(&mut self) {
        self.engine().prepare_sleep();
        if self.engine().is_unannounced() {
            self.engine().inbox().wake();
        }
        Simulated::sleep_outside(&self.world, self.minds_edges);
        self.turn_for(Some(Duration::ZERO));
    }

    fn take_one(&mut self) {
        if let Some(finished) = self.engine().pop_finished() {
            assert!(
                finished.drained.is_none() || finished.drained >= self.last_drained,
                "out of order"
            );
            self.last_drained = finished.drained.or(self.last_drained);
            self.note(finished);
        }
    }

    /// A command is handed out: for the first time, and truly.
    fn note(&mut self, mut finished: Finished) {
        let number = self.numbers.borrow().get(&finished.id.number).copied();
        let number = number.expect("a command of ours");
        assert_eq!(finished.take_data(), Some(number), "what it carried");
        self.live.retain(|live| *live != number);
        let is_slow = self.is_slow();
        let job = &mut self.book.borrow_mut()[number];
        assert!(!job.is_over && !job.is_detached, "finished again: {job:#?}");
        job.is_over = true;
        let now = self.world.borrow().now();
        let mut context_end = job.context.and_then(|at| self.contexts[at].end(now));
        if let (false, Some((deadline, Cause::DeadlineExceeded))) = (job.counts_queue, context_end)
        {
            let left = job.queued.map(|queued| deadline - queued);
            let started = finished.started.zip(left);
            context_end = started.map(|(started, left)| (started + left, Cause::DeadlineExceeded));
        }
        if let (Some(started), false, 0) = (finished.started, job.is_sent, job.script.busy_times) {
            let id = finished.id.number;
            self.order.push((job.pool, job.priority, id, started));
        }
        check(Evidence {
            job,
            finished: &finished,
            world: &self.world.borrow(),
            context_end,
            is_shut_down: self.is_shut_down,
            is_dawdling: self.is_dawdling || is_slow,
        });
    }

    /// Time may pass in a turn, so not all can be served in time.
    fn is_slow(&self) -> bool {
        let is_rude = self.book.borrow().iter().any(|job| job.is_rude);
        is_rude || self.world.borrow().weather.slow_starts > 0
    }

    /// Some command that was started or queued and not handed out.
    fn pick(&mut self) -> Option<(usize, CommandId)> {
        if self.live.is_empty() {
            return None;
        }
        let number = *self.random.pick(&self.live);
        let id = self.book.borrow()[number].id?;
        Some((number, id))
    }

    fn request(&mut self, number: usize, cause: Cause, is_forced: bool) {
        let now = self.world.borrow().now();
        let job = &mut self.book.borrow_mut()[number];
        job.requests.push((now, cause, is_forced));
    }

    fn cancel_one(&mut self) {
        if let Some((number, id)) = self.pick() {
            self.request(number, Cause::Cancelled, false);
            self.engine().cancel(id);
        }
    }

    fn kill_one(&mut self) {
        if let Some((number, id)) = self.pick() {
            self.request(number, Cause::Cancelled, true);
            self.engine().kill(id);
        }
    }

    fn signal_one(&mut self) {
        let signals = [Signal::TERM, Signal::KILL, Signal::INT];
        let signal = *self.random.pick(&signals);
        if let Some((number, id)) = self.pick() {
            self.book.borrow_mut()[number].signals += 1;
            // What it answers is the machine's to decide.
            let _ = self.engine().signal(id, Target::Process, signal);
        }
    }

    fn resume_one(&mut self) {
        if let Some((_, id)) = self.pick() {
            self.engine().resume(id);
        }
    }

    fn detach_one(&mut self) {
        if let Some((number, id)) = self.pick()
            && let Some(pid) = self.engine().detach(id)
        {
            self.live.retain(|live| *live != number);
            self.let_go.push(pid);
            self.book.borrow_mut()[number].is_detached = true;
            assert!(!self.engine().knows(id));
        }
    }

    /// Another thread says something by a handle, a little later.
    fn let_another_thread_speak(&mut self) {
        let after = Duration::from_micros(self.random.below(3000) as u64);
        let what = self.random.below(4);
        let picked = self.pick();
        let (inbox, book) = (self.inbox(), Rc::clone(&self.book));
        let clock = Rc::downgrade(&self.world);
        self.world.borrow_mut().outside(after, move || {
            let Some(((number, id), world)) = picked.zip(clock.upgrade()) else {
                return inbox.wake();
            };
            let job = &mut book.borrow_mut()[number];
            let now = world.borrow().now();
            let message = match what {
                0 => Message::Cancel(id.number),
                1 => Message::Kill(id.number),
                2 => Message::Signal(id.number, Signal::TERM),
                _ => Message::Resume(id.number),
            };
            match what {
                0 => job.requests.push((now, Cause::Cancelled, false)),
                1 => job.requests.push((now, Cause::Cancelled, true)),
                2 => job.signals += 1,
                _ => {}
            }
            inbox.send(message);
        });
    }

    /// Waits for one command, as `Reactor::wait` does.
    fn wait_for_one(&mut self) {
        let Some((number, id)) = self.pick() else {
            return;
        };
        loop {
            self.note_told();
            if self.book.borrow()[number].is_over {
                return;
            }
            if let Some(finished) = self.engine().take_finished(id) {
                return self.note(finished);
            }
            if !self.engine().knows(id) {
                self.engine().take_messages();
                self.note_told();
                let is_over = self.book.borrow()[number].is_over;
                assert!(is_over || self.engine().knows(id), "{id} is lost");
                continue;
            }
            self.turn_for(None);
        }
    }

    /// Other limits, for who is not running yet.
    fn change_limits(&mut self) {
        let depth = self.random.below(6);
        if self.random.one_in(2) {
            let pool = *self.random.pick(&POOLS);
            self.engine().set_pool(pool, depth);
        } else if self.running_max < usize::MAX {
            self.running_max = 1 + depth * depth;
            let running_max = self.running_max;
            self.engine().set_running_max(running_max);
        }
        let Some(tokens) = self.tokens.clone() else {
            return;
        };
        // Another process gives tokens back, or takes what there are.
        let (inbox, more) = (self.inbox(), self.random.below(4));
        let after = Duration::from_micros(self.random.below(3000) as u64);
        self.world.borrow_mut().outside(after, move || {
            if more == 0 {
                tokens.free.store(0, Ordering::Relaxed);
            } else {
                tokens.free.fetch_add(more, Ordering::Relaxed);
                inbox.wake();
            }
        });
    }

    /// Never more at once than were asked for, unless it is one alone, or fewer than before.
    fn check_limits(&mut self) {
        let detached = self.detached();
        let children = self.world.borrow().children_open();
        let running = self.engine().running();
        let known = running + detached + self.lingering();
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
        if let Some(tokens) = &self.tokens {
            let held = tokens.held.load(Ordering::Relaxed);
            assert_eq!(held, running, "permits");
        }
    }

    /// In one pool and of one priority, nobody was started before who was queued later.
    fn check_order(&mut self) {
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

    /// Finished commands whose caller may have a pipe.
    fn lingering(&mut self) -> usize {
        let table = &mut self.engine().table;
        let slots = table.slots();
        let lingers =
            |slot: &&u32| table.begun(**slot).is_some() && table.running(**slot).is_none();
        slots.iter().filter(lingers).count()
    }

    /// Detached children that the engine still has a handle of.
    fn detached(&self) -> usize {
        let (let_go, world) = (self.let_go.iter(), self.world.borrow());
        let_go.filter(|pid| world.is_child_open(**pid)).count()
    }

    /// Turns until those exit that were let go.
    fn outlive_detached(&mut self) {
        while self.detached() > 0 {
            self.turn_for(Some(Duration::from_secs(1)));
        }
    }

    /// The engine is dropped or shut down while commands are under way.
    fn end_early(mut self) {
        self.is_shut_down = true;
        if self.random.one_in(2) {
            let now = self.world.borrow().now();
            for job in self.book.borrow_mut().iter_mut().filter(|job| !job.is_over) {
                job.requests.push((now, Cause::Cancelled, true));
            }
            let finished = match self.engine().shut_down() {
                Ok(finished) => finished,
                // It is to be dropped, which ends the rest.
                Err(error) => {
                    assert!(self.may_fail, "{error}");
                    return self.end_now();
                }
            };
            for finished in finished {
                self.note(finished);
            }
            self.note_told();
            let book = self.book.borrow();
            let lost = book.iter().find(|job| {
                let is_told = job.is_over || job.is_detached || job.id.is_none();
                !is_told
            });
            assert!(lost.is_none(), "never finished: {lost:#?}");
        }
        self.end_now();
    }

    fn end_now(mut self) {
        self.engine = None;
        self.check_world();
    }

    /// Nothing may be left in the engine.
    fn check_leftovers(&mut self) {
        // A stream that was listed just before its command ended is dropped from the list by the next turn.
        self.turn_for(Some(Duration::ZERO));
        let engine = self.engine();
        engine.table.free_vacant();
        assert!(engine.table.is_empty(), "commands");
        assert!(engine.admission.is_idle(), "{:?}", engine.admission);
        assert!(engine.watches.is_empty(), "{:?}", engine.watches);
        assert_eq!(engine.backlog.len(), 0, "backlog");
        assert_eq!(engine.starting.len(), 0, "starting");
        assert!(engine.asides.is_empty(), "{:?}", engine.asides);
        assert!(engine.readiness.is_empty(), "{:?}", engine.readiness);
        let left: Vec<_> = std::iter::from_fn(|| {
            let far = engine.now + Duration::from_secs(1 << 30);
            engine.deadlines.pop_due(far)
        })
        .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Nothing may be left in the machine: no descriptor, and no child but those that were let go or cannot be killed.
    fn check_world(&mut self) {
        let world = self.world.borrow();
        assert!(world.open_fds().is_empty(), "{:#?}", world.open_fds());
        let book = self.book.borrow();
        for (pid, child) in world.children() {
            let job = book.iter().find(|job| job.program == child.program);
            let is_excused = job.is_some_and(|job| {
                let is_out_of_reach = job.script.is_foreign || job.script.loses_status;
                job.is_detached || (self.is_shut_down && is_out_of_reach)
            });
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
