//! What a poll of the simulated machine reports, and what an outer loop is woken for: edges once each, in bad weather late,
//! shuffled, for nothing, or for another of the same number. Unaware of what processes do.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;

use super::{Pipe, Process, Watched, World};
use crate::sys::{Ready, Source, Tenant};

impl World {
    /// From now on, this is reported: what there is to say of it now, too.
    pub(in super::super) fn watch(&mut self, watched: Watched, tenant: Tenant) -> io::Result<()> {
        self.jostle();
        self.watched += 1;
        let unwatched = self.weather.unwatched;
        if self.strikes(unwatched) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let is_taken = |other: Option<Tenant>| {
            other.is_some_and(|other| other.slot == tenant.slot && other != tenant)
        };
        let mut pipes = self.pipes.iter().filter(|pipe| pipe.is_ours_open);
        assert!(
            !pipes.any(|pipe| is_taken(pipe.tenant)),
            "{tenant:?} has the slot of another command"
        );
        let known = match watched {
            Watched::Pipe(pipe) => &mut self.pipes[pipe].tenant,
            Watched::Exit(process) => {
                let child = self.processes[process].child.as_mut();
                &mut child.expect("a child of ours").tenant
            }
        };
        if known.is_none() {
            *known = Some(tenant);
            self.announce(watched);
        }
        Ok(())
    }

    /// The next poll reports this, too.
    pub(in super::super) fn await_once(&mut self, watched: Watched, tenant: Tenant) {
        self.jostle();
        self.awaited.push((watched, tenant));
    }

    /// The poll is over.
    pub(in super::super) fn await_nothing(&mut self) {
        self.awaited.clear();
    }

    fn awaited_events(&self) -> impl Iterator<Item = Ready> {
        let ready = self.awaited.iter();
        let ready = ready.filter(|(watched, _)| self.is_ready(*watched));
        ready.filter_map(|&(watched, tenant)| match watched {
            Watched::Pipe(pipe) => self.pipes[pipe].event_for(tenant),
            Watched::Exit(_) => Some(exit_of(tenant)),
        })
    }

    pub(in super::super) fn announce(&mut self, watched: Watched) {
        self.woken.is_edge.store(true, Ordering::Release);
        if !self.ready.contains(&watched) {
            self.ready.push_back(watched);
        }
    }

    /// Nothing will be reported of this any more, or, in some weather, once, at some time.
    pub(in super::super) fn forget(&mut self, watched: Watched) {
        let late = self.event_of(watched).map(|event| Ready {
            hung_up: self.random.one_in(2),
            ..event
        });
        self.ready.retain(|other| *other != watched);
        let stale = self.weather.stale;
        if self.strikes(stale) {
            self.stale.extend(late);
        }
    }

    /// What a poll would say of this now, with who it is for.
    fn event_of(&self, watched: Watched) -> Option<Ready> {
        match watched {
            Watched::Pipe(pipe) => self.pipes[pipe].event(),
            Watched::Exit(process) => {
                let child = self.processes[process].child.as_ref()?;
                child.tenant.map(exit_of)
            }
        }
    }

    /// A poll has a reason to say something of it.
    fn is_ready(&self, watched: Watched) -> bool {
        match watched {
            Watched::Pipe(pipe) => {
                let pipe = &self.pipes[pipe];
                let is_silent = self.weather.silent_ends && pipe.is_terminal;
                pipe.is_ready() || (pipe.holders == 0 && !is_silent)
            }
            Watched::Exit(process) => {
                let child = self.processes[process].child.as_ref();
                child.is_some_and(|child| child.ended.is_some())
            }
        }
    }

    /// Whether a poll has something to report; an expired timer and a wake-up are used up by the answer.
    pub(super) fn has_news(&mut self) -> bool {
        let expired = self.timer.take_if(|at| *at <= self.now).is_some();
        let woken = self.woken.is_due.swap(false, Ordering::AcqRel);
        expired || woken || self.has_events()
    }

    fn has_events(&self) -> bool {
        self.ready
            .iter()
            .any(|watched| self.is_ready(*watched) && self.event_of(*watched).is_some())
    }

    /// Whether something new has come since this was last asked.
    pub(in super::super) fn take_edge(&mut self) -> bool {
        self.woken.is_edge.swap(false, Ordering::AcqRel)
    }

    /// Whether somebody who polls the loop's descriptor would find it readable.
    pub(crate) fn is_readable_outside(&self) -> bool {
        let expired = self.timer.is_some_and(|at| at <= self.now);
        expired || self.woken.is_due.load(Ordering::Acquire) || self.has_events()
    }

    /// What a poll reports, if it has a reason to return.
    pub(in super::super) fn report(&mut self, into: &mut VecDeque<Ready>) -> bool {
        let awaited: Vec<Ready> = self.awaited_events().collect();
        if !self.has_news() {
            self.was_awaited = !awaited.is_empty();
            into.extend(awaited);
            self.is_batch_full = false;
            return self.was_awaited;
        }
        self.was_used = true;
        let shuffles = self.weather.shuffles;
        if self.strikes(shuffles) {
            let count = self.ready.len();
            for at in 1..count {
                let other = self.random.below(at + 1);
                self.ready.swap(at, other);
            }
        }
        let count = 1 + self.random.below(self.weather.batch_max);
        while into.len() < count
            && let Some(watched) = self.ready.pop_front()
        {
            let event = self.event_of(watched);
            let event = event.filter(|_| self.is_ready(watched));
            if event.is_some() && self.weather.by_kqueue && self.random.one_in(3) {
                into.extend(self.namesakes_event(watched));
            }
            into.extend(event);
        }
        // Also by an event of a namesake.
        self.is_batch_full = into.len() >= count;
        into.extend(awaited);
        if !self.stale.is_empty() && self.random.one_in(3) {
            into.extend(self.stale.drain(..));
        }
        let spurious = self.weather.spurious;
        if self.strikes(spurious) {
            into.extend(self.event_without_reason());
        }
        true
    }

    fn event_without_reason(&mut self) -> Option<Ready> {
        let watched = if self.random.one_in(3) {
            Watched::Exit(self.random.below(self.processes.len()))
        } else {
            Watched::Pipe(self.random.below(self.pipes.len()))
        };
        let exists = match watched {
            Watched::Exit(process) => process < self.processes.len(),
            Watched::Pipe(pipe) => pipe < self.pipes.len(),
        };
        exists.then(|| self.event_of(watched)).flatten()
    }

    /// What a kqueue's user makes of an event who looks at its number alone: pids and descriptors share theirs, and the one
    /// of the other filter gets the event.
    fn namesakes_event(&self, watched: Watched) -> Option<Ready> {
        let namesake = match watched {
            Watched::Pipe(pipe) => self.child_of_number(self.pipes[pipe].number),
            Watched::Exit(process) => {
                let number = self.processes[process].child.as_ref()?.number;
                self.pipe_of_number(number)
            }
        };
        self.event_of(namesake?)
    }

    fn pipe_of_number(&self, number: usize) -> Option<Watched> {
        let is_it = |pipe: &Pipe| pipe.is_ours_open && pipe.number == number;
        self.pipes.iter().position(is_it).map(Watched::Pipe)
    }

    /// The child, not reaped yet, that has this pid.
    fn child_of_number(&self, number: usize) -> Option<Watched> {
        let is_it = |process: &Process| {
            let child = process.child.as_ref();
            child.is_some_and(|child| child.reaped.is_none() && child.number == number)
        };
        self.processes.iter().position(is_it).map(Watched::Exit)
    }
}

fn exit_of(tenant: Tenant) -> Ready {
    Ready {
        tenant,
        source: Source::Exit,
        hung_up: false,
    }
}
