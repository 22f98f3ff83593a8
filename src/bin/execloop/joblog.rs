//! The job log in the columns of GNU parallel, and what one says that was written before.
//! Unaware of who writes it.

use std::collections::HashSet;
use std::io::Write as _;

use crate::clock::Epoch;
use crate::outbox::{Entry, Outbox};
use crate::sink::{Ended, Fate, Sink};

pub(crate) const HEADER: &[u8] =
    b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// Has a line for each command that ended by itself: what is to be resumed must not lose an output.
#[derive(Debug)]
pub(crate) struct JobLog {
    outbox: Outbox,
    epoch: Epoch,
}

impl JobLog {
    pub(crate) fn new(outbox: Outbox, epoch: Epoch) -> JobLog {
        JobLog { outbox, epoch }
    }
}

impl Sink for JobLog {
    fn entry(&mut self, ended: &Ended<'_>) -> Option<Entry> {
        if ended.fate == Fate::Cancelled {
            return None;
        }
        let job = ended.job;
        let code = match ended.fate {
            // It failed for another reason than its status.
            Fate::Failed(_) if ended.code() == 0 && ended.signal() == 0 => -1,
            _ => ended.code(),
        };
        let mut line = Vec::new();
        let _ = write!(
            line,
            "{}\t:\t{:.3}\t{:10.3}\t{}\t{}\t{code}\t{}\t",
            job.sequence,
            self.epoch.seconds(ended.started()),
            ended.elapsed().as_secs_f64(),
            job.sent,
            ended.output.written_bytes(),
            ended.signal(),
        );
        push_command(&job.text, &mut line);
        line.push(b'\n');
        Some(Entry {
            bytes: line,
            to: self.outbox.clone(),
        })
    }
}

/// A command may have newlines in it, and a line of the log may not.
fn push_command(command: &[u8], line: &mut Vec<u8>) {
    for byte in command {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            byte => line.push(*byte),
        }
    }
}

/// It has the header of a job log, of which the end may be cut off.
pub(crate) fn is_log(text: &[u8]) -> bool {
    text.starts_with(HEADER) || HEADER.starts_with(text)
}

/// The numbers of commands that need not run again, and of whole lines the bytes. What follows the last newline was
/// cut off, and does not count.
pub(crate) fn done_before(log: &[u8], runs_failed_again: bool) -> (HashSet<u64>, usize) {
    let whole = log
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let mut done = HashSet::new();
    for line in log[..whole].split(|byte| *byte == b'\n') {
        let mut columns = line.split(|byte| *byte == b'\t');
        let mut number = |column| -> Option<i64> {
            std::str::from_utf8(columns.nth(column)?)
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let (Some(sequence), Some(code), Some(signal)) = (number(0), number(5), number(0)) else {
            continue;
        };
        let Ok(sequence) = u64::try_from(sequence) else {
            continue;
        };
        if code == 0 && signal == 0 || !runs_failed_again {
            done.insert(sequence);
        } else {
            // It may have succeeded before and failed in a later run.
            done.remove(&sequence);
        }
    }
    (done, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_says_what_was_done_and_a_line_that_is_cut_off_does_not_count() {
        let log = [
            HEADER,
            b"1\t:\t1.0\t     0.1\t0\t0\t0\t0\ttrue\n2\t:\t1.0\t0.1\t0\t0\t3\t0\tfalse\n\
            nonsense\n\n3\t:\t1.0\t0.1\t0\t0\t0\t9\tkill\n4\t:\t1.0\t0.1\t0\t0\t-1\t0\tx\n5\t:\t1.0\t0.1\t0\t0\t0\t0\ttr",
        ]
        .concat();
        let (done, whole) = done_before(&log, false);
        assert_eq!(done, HashSet::from([1, 2, 3, 4]));
        assert!(log[..whole].ends_with(b"\tx\n"));
        assert_eq!(done_before(&log, true).0, HashSet::from([1]));
        assert_eq!(done_before(b"", false), (HashSet::new(), 0));
        assert!(is_log(&log) && is_log(b"") && is_log(b"Seq"));
        assert!(!is_log(b"echo 1\n") && !is_log(b"Seq\n"));
        assert_eq!(done_before(b"Seq", false), (HashSet::new(), 0));
    }
}
