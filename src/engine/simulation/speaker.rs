//! Who speaks to the loop of a simulation through a handle: other threads, and replies while the loop calls them.
//! Unaware of when that is, and of what the loop makes of it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::contexts::Ending;
use super::{Book, REACTOR};
use crate::Command;
use crate::error::Cause;
use crate::finished::{CommandId, Finished};
use crate::inbox::{Inbox, Message, Reply};
use crate::sys::simulated::{Random, SimulatedWaker, now};
use crate::sys::{Signal, Target};

thread_local! {
    /// Whom the replies of the loop that runs on this thread speak by. They may be sent to other threads, and it may not.
    static SPEAKER: RefCell<Option<Rc<Speaker>>> = const { RefCell::new(None) };
}

/// What is said of a command.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Cancel,
    Kill,
    /// Its reply was dropped.
    Abandon,
    Signal,
    Resume,
}

impl Word {
    pub(super) fn random(random: &mut Random) -> Word {
        *random.pick(&[
            Word::Cancel,
            Word::Kill,
            Word::Abandon,
            Word::Signal,
            Word::Resume,
        ])
    }
}

/// What a reply was called with, and when.
pub(super) struct Told {
    pub(super) finished: Finished,
    pub(super) at: Instant,
}

pub(super) struct Speaker {
    pub(super) inbox: Arc<Inbox<SimulatedWaker>>,
    pub(super) book: Book,
    /// The commands by their numbers.
    pub(super) numbers: RefCell<HashMap<u64, usize>>,
    pub(super) contexts: Rc<Vec<Ending>>,
    /// Commands that are made, for whoever speaks next to start.
    pub(super) stock: RefCell<Vec<(usize, Command)>>,
    /// What was handed to replies.
    pub(super) told: RefCell<Vec<Told>>,
    pub(super) random: RefCell<Random>,
}

impl Speaker {
    /// From here on, replies on this thread speak by this one.
    pub(super) fn listen(self: &Rc<Speaker>) {
        SPEAKER.set(Some(Rc::clone(self)));
    }

    /// Starts a command, for a reply to hear of its end or for the loop's caller.
    pub(super) fn start(&self, number: usize, command: Command, has_reply: bool) {
        let id = CommandId {
            number: self.inbox.take_number(),
            reactor: REACTOR,
        };
        let job = &mut self.book.borrow_mut()[number];
        job.has_reply = has_reply;
        self.numbers.borrow_mut().insert(id.number, number);
        let command = Box::new(command);
        let is_taken = self.inbox.send(if has_reply {
            let reply: Reply = Box::new(hear);
            Message::Run(id.number, command, reply)
        } else {
            Message::Start(id.number, command)
        });
        job.is_over = !is_taken;
        job.id = is_taken.then_some(id);
    }

    pub(super) fn say(&self, word: Word, number: usize) {
        let job = &mut self.book.borrow_mut()[number];
        let Some(id) = job.id else { return };
        match word {
            Word::Cancel | Word::Abandon => job.requests.push((now(), Cause::Cancelled, false)),
            Word::Kill => job.requests.push((now(), Cause::Cancelled, true)),
            Word::Signal => job.signals += 1,
            Word::Resume => {}
        }
        self.inbox.send(match word {
            Word::Cancel => Message::Cancel(id.number),
            Word::Abandon => Message::Abandon(id.number),
            Word::Kill => Message::Kill(id.number),
            Word::Signal => Message::Signal(id.number, Target::Process, Signal::TERM),
            Word::Resume => Message::Resume(id.number),
        });
    }

    /// Somebody waits for the end of a command that is under way.
    fn pick(&self, random: &mut Random) -> Option<usize> {
        let book = self.book.borrow();
        let is_live = |number: &usize| {
            let job = &book[*number];
            job.id.is_some() && !job.is_over && !job.is_detached
        };
        let live: Vec<usize> = (0..book.len()).filter(is_live).collect();
        (!live.is_empty()).then(|| *random.pick(&live))
    }

    fn cancel_context(&self, random: &mut Random) {
        if self.contexts.is_empty() {
            return;
        }
        let ending = &self.contexts[random.below(self.contexts.len())];
        if ending.end(now()).is_none() {
            *ending.ended.borrow_mut() = Some((now(), Cause::Cancelled));
            ending.context.cancel();
        }
    }

    /// What a reply does with a loop that it can reach by its handle alone.
    fn reply(&self) {
        let random = &mut *self.random.borrow_mut();
        if !random.one_in(3) {
            return;
        }
        for _ in 0..1 + random.below(3) {
            match random.below(6) {
                0 | 1 => {
                    let next = self.stock.borrow_mut().pop();
                    if let Some((number, command)) = next {
                        self.start(number, command, random.one_in(2));
                    }
                }
                2 if random.one_in(3) => self.cancel_context(random),
                2 => self.inbox.wake(),
                _ => {
                    if let Some(number) = self.pick(random) {
                        self.say(Word::random(random), number);
                    }
                }
            }
        }
        if random.one_in(4) {
            // Without the hook, which would print it.
            std::panic::resume_unwind(Box::new("in a reply"));
        }
    }
}

fn hear(finished: Finished) {
    let speaker = SPEAKER.with_borrow(Clone::clone).expect("one that listens");
    speaker.told.borrow_mut().push(Told {
        finished,
        at: now(),
    });
    speaker.reply();
}
