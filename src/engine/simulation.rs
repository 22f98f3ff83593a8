//! Runs the loop over a simulated machine, through a schedule that a seed decides, and checks everything it promises:
//! each command finishes exactly once, with a true outcome; no byte is lost; nothing is left.
//! Unaware of processes and of real time; for tests and fuzzing only.

mod callers;
mod check;
mod contexts;
mod descriptors;
mod invariants;
mod pauses;
mod permits;
mod plan;
mod requests;
mod speaker;
mod starts;
mod streams;
#[cfg(test)]
mod tests;
mod turns;
mod waiting;
mod weather;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Engine;
use crate::admission::Admission;
use crate::error::Cause;
use crate::finished::CommandId;
use crate::inbox::{Inbox, Message};
use crate::sys::Stream;
use crate::sys::simulated::{Random, Shared, Simulated, SimulatedWaker, World};
use contexts::Ending;
use invariants::Survivor;
use pauses::Pauses;
use permits::{Brake, Tokens};
use plan::{Job, POOLS};
use speaker::Speaker;
use weather::random_weather;

/// Marks the ids of these engines.
const REACTOR: u32 = 7;

/// What the driver knows, shared with those who act from outside.
type Book = Rc<RefCell<Vec<Job>>>;

struct Driver {
    random: Random,
    world: Shared,
    engine: Option<Engine<Simulated>>,
    book: Book,
    contexts: Rc<Vec<Ending>>,
    /// By whom others speak to the loop.
    speaker: Rc<Speaker>,
    jobs_left: usize,
    /// Commands that were made and not handed out.
    live: Vec<usize>,
    running_max: usize,
    fd_limit: u64,
    /// Its caller has many pipes, leaves those of finished commands open, and there are few descriptors.
    hoards: bool,
    /// So many starts that were asked for were looked at.
    attempts_seen: usize,
    /// Programs that could not be started, and that no one could make room for.
    hopeless: Vec<usize>,
    /// When the caller has taken a command whose pipes were open.
    takes: Vec<Instant>,
    tokens: Option<permits::Shared<Tokens>>,
    brake: Option<permits::Shared<Brake>>,
    /// Nothing starts while a finished command was not taken.
    takes_first: bool,
    /// Those that the driver has queued and that have not started, and up to which start that is known.
    waiting: Vec<usize>,
    waiting_seen: usize,
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
    /// Its caller is told of his pipes and of ends in one order, as `Reactor::wait_event` has it.
    takes_events: bool,
    may_fail: bool,
    is_shut_down: bool,
    /// Children that its end is to leave alone.
    survivors: Vec<Survivor>,
    last_drained: Option<Instant>,
    /// The loop is broken on purpose: it forgets that streams have used up their share.
    is_broken: bool,
    /// When all was suspended, and when it went on.
    pauses: Pauses,
    /// To find out whether a context still knows it.
    inbox: Arc<Inbox<SimulatedWaker>>,
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

impl Driver {
    fn new(mut random: Random) -> Driver {
        let mut weather = random_weather(&mut random);
        let hoards = random.one_in(10);
        if hoards {
            weather.fds_max = 7 + random.below(12);
        }
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
        let fd_limit = if random.one_in(if hoards { 2 } else { 4 }) {
            32 + random.below(60) as u64
        } else {
            u64::MAX
        };
        let world = Rc::new(RefCell::new(World::new(random.halve(), weather)));
        let kernel = Simulated::new(&world);
        let mut admission = Admission::new(running_max, fd_limit);
        for pool in POOLS {
            admission.set_pool(pool, 1 + random.below(5));
        }
        let mut engine = Engine::new(kernel, admission, REACTOR);
        let tokens = random.one_in(3).then(permits::Shared::<Tokens>::default);
        let began = world.borrow().now();
        let brake = random.one_in(8);
        let brake = brake.then(|| permits::Shared::new(Brake::random(&mut random, began)));
        let is_brake_first = random.one_in(2);
        for is_brakes_turn in [is_brake_first, !is_brake_first] {
            if let Some(brake) = brake.as_ref().filter(|_| is_brakes_turn) {
                engine
                    .add_permits(Box::new(brake.clone()))
                    .expect("nothing to watch");
            } else if let Some(tokens) = tokens.as_ref().filter(|_| !is_brakes_turn) {
                tokens.lock().free = random.below(6);
                engine
                    .add_permits(Box::new(tokens.clone()))
                    .expect("nothing to watch");
            }
        }
        let takes_events = random.one_in(3);
        // Who takes events alone leaves what is finished until its pipes are read.
        let takes_first = !takes_events && random.one_in(6);
        if takes_first {
            engine.take_before_start();
        }
        let book = Book::default();
        let contexts = Rc::new(contexts::make(&mut random, &world));
        let speaker = Rc::new(Speaker {
            inbox: engine.share_inbox(),
            book: Rc::clone(&book),
            numbers: RefCell::default(),
            contexts: Rc::clone(&contexts),
            stock: RefCell::default(),
            told: RefCell::default(),
            random: RefCell::new(random.split()),
        });
        speaker.listen();
        let mut driver = Driver {
            is_embedded: random.one_in(4),
            minds_edges: random.one_in(2),
            is_dawdling: random.one_in(4),
            takes_events,
            takes_first,
            brake,
            waiting: Vec::new(),
            waiting_seen: 0,
            random,
            world,
            inbox: Arc::clone(engine.inbox()),
            engine: Some(engine),
            book,
            contexts,
            speaker,
            jobs_left,
            live: Vec::new(),
            running_max,
            fd_limit,
            hoards,
            attempts_seen: 0,
            hopeless: Vec::new(),
            takes: Vec::new(),
            tokens,
            loads: Default::default(),
            order: Vec::new(),
            may_fail,
            is_shut_down: false,
            survivors: Vec::new(),
            last_drained: None,
            is_broken: false,
            pauses: Pauses::default(),
            wanted: Vec::new(),
        };
        driver.let_others_resume();
        driver
    }

    fn engine(&mut self) -> &mut Engine<Simulated> {
        self.engine.as_mut().expect("an engine")
    }

    fn inbox(&mut self) -> Arc<Inbox<SimulatedWaker>> {
        self.engine().share_inbox()
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
        self.unsuspend();
        self.outlive_detached();
        self.check_order();
        self.check_permits();
        self.check_leftovers();
        self.engine = None;
        self.check_world();
    }

    /// Something that another thread is to start is still on its way.
    fn is_awaited(&self) -> bool {
        !self.live.is_empty()
    }

    fn act(&mut self) {
        if self.is_suspended() && self.random.one_in(6) {
            self.unsuspend();
        }
        match self.random.below(40) {
            0..=9 => self.start_one(),
            10..=27 => self.turn(),
            28..=31 if self.hoards && !self.random.one_in(4) => self.turn(),
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
            _ if self.random.one_in(3) => self.suspend_or_not(),
            _ => self.let_another_thread_speak(),
        }
        self.note_told();
        if self.random.one_in(3) {
            self.take_ready();
            self.take_slow();
        }
    }

    /// The engine is dropped or shut down while commands are under way.
    fn end_early(mut self) {
        self.is_shut_down = true;
        self.survivors = self.survivors();
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
                self.note_taken(finished);
            }
            self.note_told();
            let book = self.book.borrow();
            let lost = book.iter().find(|job| {
                let is_told = job.is_over || job.is_detached || job.id.is_none();
                let mut survivors = self.survivors.iter();
                !is_told && !survivors.any(|survivor| survivor.program == job.program)
            });
            assert!(lost.is_none(), "never finished: {lost:#?}");
        }
        self.end_now();
    }

    fn end_now(mut self) {
        self.engine = None;
        self.check_world();
    }
}
