//! `--trace`: events in the format of Chrome's trace viewer, which Perfetto opens: a lane for each command that ran at once.
//! Unaware of who reads it.

use std::fmt::Write as _;

use crate::clock::Epoch;
use crate::json::push_string;
use crate::outbox::Outbox;
use crate::sink::{Ended, Fate, Job, Sink};

/// Writes an event for each try as it ends.
#[derive(Debug)]
pub(crate) struct Trace {
    outbox: Outbox,
    epoch: Epoch,
    /// So many lanes have a name.
    lanes: usize,
}

impl Trace {
    pub(crate) fn new(outbox: Outbox, epoch: Epoch) -> Trace {
        let begin = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n\
            {\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"tid\":0,\"args\":{\"name\":\"execloop\"}}";
        outbox.push(begin.as_bytes().to_vec());
        Trace {
            outbox,
            epoch,
            lanes: 0,
        }
    }

    /// Lanes are taken from the first on.
    fn name_lanes(&mut self, job: &Job) {
        while self.lanes <= job.slot {
            self.lanes += 1;
            let lane = self.lanes;
            let event = format!(
                ",\n{{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":{lane},\
                \"args\":{{\"name\":\"slot {lane}\"}}}}"
            );
            self.outbox.push(event.into_bytes());
        }
    }

    fn push(&mut self, ended: &Ended<'_>, outcome: &str, colour: Option<&str>) {
        let job = ended.job;
        self.name_lanes(job);
        let mut event = ",\n{\"name\":".to_owned();
        push_string(job.shown.as_bytes(), &mut event);
        // Into a string it does not fail.
        let _ = write!(
            event,
            ",\"cat\":\"{outcome}\",\"ph\":\"X\",\"ts\":{},\"dur\":{},\"pid\":1,\"tid\":{}",
            self.epoch.since(ended.started()).as_micros(),
            ended.elapsed().as_micros(),
            job.slot + 1,
        );
        if let Some(colour) = colour {
            let _ = write!(event, ",\"cname\":\"{colour}\"");
        }
        let _ = write!(
            event,
            ",\"args\":{{\"outcome\":\"{outcome}\",\"number\":{},\"try\":{}",
            job.sequence, job.attempt
        );
        if let Fate::Failed(reason) = ended.fate {
            event.push_str(",\"reason\":");
            push_string(reason.as_bytes(), &mut event);
        }
        if let Some(usage) = ended.finished.and_then(|finished| finished.usage) {
            let _ = write!(
                event,
                ",\"user_us\":{},\"system_us\":{},\"rss_bytes\":{}",
                usage.user.as_micros(),
                usage.system.as_micros(),
                usage.rss_bytes_max
            );
        }
        let _ = write!(
            event,
            ",\"output_bytes\":{}}}}}",
            ended.output.written_bytes()
        );
        self.outbox.push(event.into_bytes());
    }
}

impl Sink for Trace {
    fn retried(&mut self, ended: &Ended<'_>) {
        self.push(ended, "tried again", Some("bad"));
    }

    fn ended(&mut self, ended: &Ended<'_>) {
        match ended.fate {
            Fate::Succeeded => self.push(ended, "succeeded", None),
            Fate::Failed(_) => self.push(ended, "failed", Some("terrible")),
            Fate::Cancelled => self.push(ended, "cancelled", Some("grey")),
        }
    }

    fn close(&mut self) {
        self.outbox.push(b"\n]}\n".to_vec());
    }
}
