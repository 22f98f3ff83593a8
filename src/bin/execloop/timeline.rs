//! `--timeline`: one page of HTML with a lane for each command that ran at once. It loads nothing.
//! Unaware of how the page draws.

use std::fmt::Write as _;

use crate::clock::Epoch;
use crate::json::push_string;
use crate::outbox::Outbox;
use crate::sink::{Ended, Fate, Sink};

const HEAD: &str = include_str!("timeline/head.html");
const SCRIPT: &str = include_str!("timeline/page.js");

/// Writes a row for each try as it ends.
#[derive(Debug)]
pub(crate) struct Timeline {
    outbox: Outbox,
    epoch: Epoch,
}

impl Timeline {
    pub(crate) fn new(outbox: Outbox, epoch: Epoch) -> Timeline {
        outbox.push(HEAD.as_bytes().to_vec());
        Timeline { outbox, epoch }
    }

    fn push(&self, ended: &Ended<'_>, outcome: u8) {
        let job = ended.job;
        let usage = ended.finished.and_then(|finished| finished.usage);
        let cpu = usage.map_or(0, |usage| (usage.user + usage.system).as_micros());
        let reason = match ended.fate {
            Fate::Failed(reason) => reason,
            Fate::Succeeded | Fate::Cancelled => "",
        };
        let mut row = String::new();
        // Into a string it does not fail.
        let _ = write!(
            row,
            "[{},{},{},{outcome},{},{},{cpu},{},{},",
            self.epoch.since(ended.started()).as_micros(),
            ended.elapsed().as_micros(),
            job.slot,
            job.sequence,
            job.attempt,
            usage.map_or(0, |usage| usage.rss_bytes_max / 1024),
            ended.output.written_bytes(),
        );
        push_string(job.shown.as_bytes(), &mut row);
        row.push(',');
        push_string(reason.as_bytes(), &mut row);
        row.push_str("],\n");
        self.outbox.push(row.into_bytes());
    }
}

impl Sink for Timeline {
    fn retried(&mut self, ended: &Ended<'_>) {
        self.push(ended, 3);
    }

    fn ended(&mut self, ended: &Ended<'_>) {
        let outcome = match ended.fate {
            Fate::Succeeded => 0,
            Fate::Failed(_) => 1,
            Fate::Cancelled => 2,
        };
        self.push(ended, outcome);
    }

    fn close(&mut self) {
        // Each row has a comma behind it.
        let end = format!("null];\n{SCRIPT}</script>\n</body>\n</html>\n");
        self.outbox.push(end.into_bytes());
    }
}
