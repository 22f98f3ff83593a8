//! Serves what a poll brought and what was left over: an exit is reaped, a stream moves its share of the turn.
//! Unaware of how bytes are moved (`stream`) and of what their end means to a job.

use std::io;

use super::{Engine, Leftover};
use crate::caller_pipe::CallerPipe;
use crate::error::{Closed, is_panic};
use crate::job::Event;
use crate::stream::{OurEnd, Progress};
use crate::sys::{Kernel, Ready, Source, Stream};

impl<K: Kernel> Engine<K> {
    /// Serves one event, if it is still for who is in the slot.
    pub(super) fn serve(&mut self, event: Ready) {
        if !self.table.is_tenant(event.tenant) {
            return;
        }
        let slot = event.tenant.slot;
        let stream = match event.source {
            Source::Exit => return self.reap(slot),
            Source::Stream(stream) => stream,
        };
        let Some(our_end) = self.table.stream(slot, stream) else {
            return;
        };
        if event.hung_up {
            our_end.note_hang_up();
        }
        match our_end {
            OurEnd::Caller(CallerPipe::Open { ready, .. }) => {
                *ready = true;
                self.readiness.note(self.table.id_of(slot).number, stream);
            }
            // The stream is in the backlog, and has its turn when that is gone through.
            our_end if our_end.is_backlogged() => {}
            _ => self.visit(slot, stream),
        }
    }

    /// Visits a stream that had used up its share.
    pub(super) fn revisit(&mut self, leftover: Leftover) {
        if self.table.is_tenant(leftover.tenant) {
            self.visit(leftover.tenant.slot, leftover.stream);
        }
    }

    /// Visits every copied stream that does not have its turn anyway.
    pub(super) fn visit_all(&mut self, slot: u32) {
        for stream in Stream::ALL {
            let our_end = self.table.stream(slot, stream);
            if our_end.is_some_and(|our_end| !our_end.is_backlogged()) {
                self.visit(slot, stream);
            }
        }
    }

    /// Moves what the budget allows, and tells the job what came of it.
    pub(super) fn visit(&mut self, slot: u32, stream: Stream) {
        let Some(running) = self.table.running(slot) else {
            return;
        };
        if running.is_starting() {
            return running.missed.insert(stream);
        }
        let runs_callbacks = running.stream(stream).runs_callbacks();
        let called = runs_callbacks.then(|| self.kernel.now());
        let served = running.serve(stream, &mut self.kernel, &mut self.scratch);
        let Some((progress, read)) = served else {
            return;
        };
        if let Some(called) = called {
            self.clock.read(self.kernel.now());
            let took = self.clock.real().saturating_duration_since(called);
            self.stats.callback_max = self.stats.callback_max.max(took);
        }
        let progress = match progress {
            // Nothing that the rest brings about is told in its place.
            Progress::Ended(Err(panic)) if is_panic(&panic) => {
                self.end_stream(slot, stream, Err(panic));
                return self.note_output(slot, stream, read);
            }
            progress => progress,
        };
        self.note_output(slot, stream, read);
        self.note_emptiness(slot, stream, read, matches!(progress, Progress::Idle));
        match progress {
            Progress::Idle => {}
            Progress::Paused => {
                if let Some(running) = self.table.running(slot) {
                    running.has_paused = true;
                }
            }
            Progress::More => {
                let tenant = self.table.tenant(slot);
                self.backlog.push_back(Leftover { tenant, stream });
            }
            Progress::Ended(result) => self.end_stream(slot, stream, result),
        }
    }

    /// A stream is over. What was noted of it just before may have closed it by force.
    fn end_stream(&mut self, slot: u32, stream: Stream, result: io::Result<()>) {
        let running = self.table.running(slot);
        let open = running.filter(|running| running.job.open().contains(stream));
        if let Some(running) = open {
            let result = result.and(running.close_stream(stream, &mut self.kernel));
            self.step(slot, Event::StreamEnded(stream, result));
        }
        if stream == Stream::Stdout {
            self.end_keyboard(slot);
        }
    }

    /// The command's stdout is closed. What is typed into its terminal ends with that, or the terminal would not hang up.
    pub(super) fn end_keyboard(&mut self, slot: u32) {
        let Some(running) = self.table.begun(slot).filter(|running| running.is_typed) else {
            return;
        };
        match running.stream(Stream::Stdin) {
            OurEnd::Caller(pipe) => {
                pipe.cut_input(&mut self.kernel, Closed::WithTerminal);
                self.count_kept(slot);
                let number = self.table.id_of(slot).number;
                self.readiness.note(number, Stream::Stdin);
            }
            _ => self.visit(slot, Stream::Stdin),
        }
    }
}
