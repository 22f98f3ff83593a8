//! The start of a command: its turn, what it is made of, and what it waits for.
//! Unaware of how commands end and of when the run is over.

use super::*;

impl Run {
    /// Starts commands, as far as there are any and may be.
    pub(super) fn feed(&mut self) {
        self.try_again();
        for _ in 0..STARTS_PER_PASS_MAX {
            if !self.may_start() {
                return;
            }
            match self.source.next() {
                Next::Item(item) => self.take(item),
                Next::Later => return,
                Next::End(result) => {
                    self.state = State::Fed;
                    if let Some(bar) = &self.bar {
                        bar.set_total(self.sequence);
                    }
                    self.input_error = result.err();
                }
            }
        }
        self.reactor.handle().wake();
    }

    fn may_start(&mut self) -> bool {
        let may_start = self.state == State::Feeding
            && self.running.len() + self.retried.len() < self.options.jobs
            // The kernel may be short of something before that.
            && self.reactor.queued() == 0
            && self.waiting.is_empty()
            && !self.printer.is_held_up()
            && self.is_read();
        self.is_throttled =
            may_start && !self.running.is_empty() && self.options.throttle.is_closed();
        may_start && !self.is_throttled
    }

    /// What there is to say goes out. The order of outputs does not matter here: who holds the others back may be one to try again.
    fn is_read(&self) -> bool {
        !self.printer.is_unread() && !self.files.iter().any(|(_, file)| file.is_full())
    }

    /// Starts those that have failed, once what was said of that is read. At the end of the run, those that are to start are
    /// cancelled.
    pub(super) fn try_again(&mut self) {
        while self.is_read()
            && self.is_going_on()
            && self.waiting.is_empty()
            && let Some(running) = self.retried.pop_front()
        {
            self.start(running);
        }
        if !self.is_going_on() {
            let retried = std::mem::take(&mut self.retried);
            for running in retried.into_iter().chain(std::mem::take(&mut self.waiting)) {
                self.give_up(&running);
            }
        }
    }

    /// Starts those for whose files no descriptor was left.
    pub(super) fn start_waiting(&mut self) {
        if self.is_going_on() {
            for running in std::mem::take(&mut self.waiting) {
                self.start(running);
            }
        }
    }

    /// Makes a command of an item, and starts it.
    fn take(&mut self, item: Item) {
        self.sequence += 1;
        let sequence = self.sequence;
        if self.options.done_before.contains(&sequence) {
            for sink in &mut self.sinks {
                sink.skipped();
            }
            return self.report.skipped();
        }
        let slot = self.slots.take();
        let position = Position {
            sequence,
            slot: slot + 1,
        };
        let (values, input) = if self.options.pipes {
            (&[][..], Some(Arc::<[u8]>::from(item.values.concat())))
        } else {
            (&item.values[..], None)
        };
        let task = match item.fault {
            None => self.options.recipe.task(values, position),
            Some(_) => Err(""),
        };
        let fault = match (&task, item.fault) {
            (_, Some(fault)) => Some(fault.to_string()),
            (Err(fault), _) => Some((*fault).to_owned()),
            (Ok(_), None) => None,
        };
        let task = task.unwrap_or_else(|_| Task::faulty(&item.values));
        let tag = match self.options.launch.tags {
            true if values.is_empty() => printable(&task.text),
            true => printable(&values.join(&b' ')),
            false => String::new(),
        };
        let running = Running {
            job: Job {
                sequence,
                tag,
                number: item.number,
                unit: if self.options.recipe.is_list() {
                    "line"
                } else {
                    "job"
                },
                shown: printable(&task.text),
                text: task.text.clone(),
                slot,
                attempt: 1,
                sent: input.as_ref().map_or(0, |input| input.len() as u64),
            },
            task,
            input,
            place: self.printer.take_place(),
            collector: None,
            lost: Lost::default(),
        };
        match fault {
            Some(reason) => self.refuse(&running, &reason),
            None if self.options.dry_run => self.show(&running),
            None => self.start(running),
        }
    }

    pub(super) fn start(&mut self, mut running: Running) {
        let printer = &self.printer;
        let is_collected = printer.printing.collects();
        running.collector = is_collected.then(|| Collector::new(&self.room));
        let target = match (&running.collector, printer.printing) {
            (Some(collector), _) => Target::Collected(collector),
            (None, Printing::Inherited) => Target::Inherited,
            (None, _) => Target::Streamed(&printer.outbox, &printer.backlog),
        };
        let (work, input, job) = (&running.task.work, running.input.as_ref(), &running.job);
        let restored = self.reserve.as_mut().map_or(Ok(()), Reserve::restore);
        let launch = &self.options.launch;
        let command = restored.map_err(LaunchError::Results);
        let command =
            command.and_then(|()| launch.command(work, input, job, &target, &running.lost));
        let started = match command {
            Ok(mut command) => {
                let started = self.reactor.start(&mut command);
                started.map_err(|error| error.to_string())
            }
            Err(LaunchError::Results(error))
                if program::is_out_of_descriptors(&error) && !self.running.is_empty() =>
            {
                return self.waiting.push_back(running);
            }
            Err(LaunchError::Program(error)) => Err(error.to_string()),
            Err(LaunchError::Results(error)) => Err(format!(
                "its results cannot be kept: {}",
                crate::plain(&error)
            )),
        };
        match started {
            Ok(id) => {
                for sink in &mut self.sinks {
                    sink.started(&running.job);
                }
                self.slots.set(running.job.slot, id);
                self.running.insert(id, running);
            }
            Err(reason) => self.refuse(&running, &reason),
        }
    }
}
