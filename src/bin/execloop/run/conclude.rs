//! The end of a command: tried once more, or printed, counted, recorded and reported.
//! Unaware of how commands are started and of when the run is over.

use super::*;
use crate::capture::left_out_note;
use crate::outbox::Printed;

impl Run {
    /// One command is over, or one try.
    pub(super) fn end(&mut self, finished: Finished) {
        let Some(mut running) = self.running.remove(&finished.id) else {
            return;
        };
        if let Err(Error::Start(error)) = &finished.outcome
            && error.io_error().is_some_and(program::is_unknown_format)
            && let Some(work) = self.options.launch.by_shell(&running.task.work)
            && self.is_going_on()
        {
            running.task.work = work;
            return self.start(running);
        }
        self.heed_interrupt(&finished);
        self.heed_closed_stdout(&finished);
        let collected = running.collector.as_ref().map(Collector::take);
        let (output, lost) = collected.unwrap_or_default();
        let lost = lost.as_ref().map(not_kept_reason);
        let lost = lost.or_else(|| running.lost.take().as_ref().map(lost_reason));
        let reason = match (&finished.outcome, lost) {
            (Err(error), _) if error.cause() == Some(Cause::Cancelled) || self.is_stdout_closed => {
                self.slots.free(running.job.slot);
                return self.conclude(&running, Fate::Cancelled, Some(&finished), output);
            }
            (_, Some(reason)) => reason,
            (Err(error), None) => error.to_string(),
            (Ok(()), None) => {
                self.slots.free(running.job.slot);
                return self.conclude(&running, Fate::Succeeded, Some(&finished), output);
            }
        };
        if running.job.attempt <= self.options.retries && self.is_going_on() {
            self.tell_retry(&running.job, &reason);
            let ended = Ended {
                job: &running.job,
                fate: Fate::Failed(&reason),
                finished: Some(&finished),
                output: &output,
            };
            for sink in &mut self.sinks {
                sink.retried(&ended);
            }
            running.job.attempt += 1;
            self.retried.push_back(running);
            return self.try_again();
        }
        self.slots.free(running.job.slot);
        self.conclude(&running, Fate::Failed(&reason), Some(&finished), output);
    }

    /// Ctrl-C of a terminal that a command has is for that alone. Where it has ended it, all is meant, as a shell has it.
    fn heed_interrupt(&mut self, finished: &Finished) {
        if self.options.launch.console.is_some()
            && let Err(Error::Exit(exit)) = &finished.outcome
            && let Some(signal @ (Signal::INT | Signal::QUIT)) = exit.signal()
        {
            self.interrupted_by.get_or_insert(signal);
            self.stop();
        }
    }

    /// It was not started.
    pub(super) fn refuse(&mut self, running: &Running, reason: &str) {
        self.slots.free(running.job.slot);
        self.conclude(running, Fate::Failed(reason), None, Output::default());
    }

    /// It was to be tried once more, and the run has come to its end before.
    pub(super) fn give_up(&mut self, running: &Running) {
        self.slots.free(running.job.slot);
        self.conclude(running, Fate::Cancelled, None, Output::default());
    }

    /// Prints what would run.
    pub(super) fn show(&mut self, running: &Running) {
        self.slots.free(running.job.slot);
        let mut output = Output::new(&self.room);
        // In memory, as commands are short.
        let _ = output.push(&running.job.text);
        let _ = output.push(b"\n");
        self.printer.print(running.place, output.into());
        self.report.succeeded();
    }

    /// Prints, counts and records what became of a command. One whose results are not all there has not succeeded, which is
    /// known before anybody is told.
    fn conclude(
        &mut self,
        running: &Running,
        fate: Fate<'_>,
        finished: Option<&Finished>,
        mut output: Output,
    ) {
        let job = &running.job;
        let mut lost = self.write_status(job, fate).err();
        let reason = lost.as_ref().map(lost_reason);
        let ended = Ended {
            job,
            fate: fate.or_lost(reason.as_deref()),
            finished,
            output: &output,
        };
        let line = self.options.json.then(|| {
            let mut line = Output::new(&self.room);
            let written = json::push_line(&ended, self.epoch, &mut line);
            lost = written.err().or(lost.take());
            line
        });
        let reason = lost.as_ref().map(lost_reason);
        let fate = fate.or_lost(reason.as_deref());
        let ended = Ended { fate, ..ended };
        for sink in &mut self.sinks {
            sink.ended(&ended);
        }
        let entries = self.sinks.iter_mut().filter_map(|sink| sink.entry(&ended));
        let entries = entries.collect();
        if line.is_none() {
            // Where there is no room for that, it is not said.
            let _ = self.note_left_out(job, &mut output);
        }
        let output = line.unwrap_or(output);
        let printed = Printed { output, entries };
        self.printer.print(running.place, printed);
        match fate {
            Fate::Failed(reason) => self.fail(job, reason),
            Fate::Succeeded => self.report.succeeded(),
            Fate::Cancelled => self.report.cancelled(),
        }
    }

    /// Says at the end of an output how much of it is left out, if any is.
    fn note_left_out(&self, job: &Job, output: &mut Output) -> io::Result<()> {
        let bytes = output.left_out_bytes();
        if bytes == 0 {
            return Ok(());
        }
        if self.options.launch.tags {
            let note = left_out_note(bytes, b'\n');
            return output.push(&[job.tag.as_bytes(), b"\t", &note].concat());
        }
        output.push(&left_out_note(bytes, output.last()?))
    }

    fn write_status(&mut self, job: &Job, fate: Fate<'_>) -> io::Result<()> {
        let (Some(results), Some(reserve)) = (&self.options.launch.results, &mut self.reserve)
        else {
            return Ok(());
        };
        let status = match fate {
            Fate::Succeeded => "exit status 0",
            Fate::Failed(reason) => reason,
            Fate::Cancelled => "cancelled",
        };
        reserve.lend(|| launch::write_status(results, job, status))
    }

    fn tell_retry(&self, job: &Job, reason: &str) {
        let (unit, number, command) = (job.unit, job.number, &job.shown);
        let (next, all) = (
            u64::from(job.attempt) + 1,
            u64::from(self.options.retries) + 1,
        );
        let reason = printable_message(reason);
        let note = format!("retrying: {unit} {number}: {command}: {reason}; try {next} of {all}\n");
        self.printer.tell(note.into_bytes());
    }

    fn fail(&mut self, job: &Job, reason: &str) {
        self.report.failed();
        let (unit, number, command) = (job.unit, job.number, &job.shown);
        let reason = printable_message(reason);
        let failed = bar::red("failed:", self.options.has_colours);
        let note = format!("{failed} {unit} {number}: {command}: {reason}\n");
        self.printer.tell_behind_output(note.into_bytes());
        let is_due = |halt: Halt| halt.is_due(self.report.all_failed(), self.report.ended());
        if self.options.halt.is_some_and(is_due) {
            self.stop();
        }
    }
}

fn not_kept_reason(error: &io::Error) -> String {
    let directory = std::env::temp_dir();
    let (directory, error) = (directory.display(), crate::plain(error));
    format!("its output could not be kept in {directory} (TMPDIR): {error}")
}

fn lost_reason(error: &io::Error) -> String {
    format!("its results could not be kept: {}", crate::plain(error))
}
