//! Whether a `Finished` tells the truth of its streams: bytes, ends, leaks, and copies that failed.
//! Unaware of the loop.

use super::super::plan::{Feed, Take};
use super::super::streams::Got;
use super::{EVENT_SLACK, Evidence};
use crate::sys::Stream;
use crate::sys::simulated::{ChildFacts, Pipe, prefix};

impl Evidence<'_> {
    /// What the stream must have brought, so much of it as was read.
    pub(super) fn check_output(&self, which: usize, stream: Stream, child: &ChildFacts) {
        let finished = self.finished;
        let collected = if which == 0 {
            &finished.stdout
        } else {
            &finished.stderr
        };
        let Some(pipe) = child.pipes[which + 1] else {
            return self.confirm(collected.is_empty(), "bytes from nowhere");
        };
        let pipe = &self.world.pipes[pipe];
        let is_leaked = finished.leaked.contains(&stream);
        self.confirm(!pipe.is_ours_open, "a pipe is left open");
        let got = self.job.got[which]
            .lock()
            .expect("no panic while it is locked");
        let take = self.job.takes[which];
        // One that would block to the end is reported, unless the kill at the end of the delay outweighs it.
        let is_told = is_leaked || !finished.success() || self.may_be_killed(child);
        self.check_bytes(take, pipe, collected, &got, is_told);
        if take == Take::Caller {
            return;
        }
        let may_be_paused = matches!(take, Take::Writer(_));
        let has_failed = got.has_failed || pipe.has_failed;
        let is_whole = if is_leaked {
            (pipe.was_found_empty && !pipe.was_found_ended) || may_be_paused
        } else {
            pipe.was_found_ended || (may_be_paused && is_told)
        };
        self.confirm(is_whole || has_failed, "output was lost");
    }

    /// Who holds a leaked pipe is neither the child nor one who was killed with it.
    pub(super) fn check_leaks(&self, child: &ChildFacts) {
        let may_be_itself = child
            .signals
            .iter()
            .any(|(.., answer)| *answer == Some(libc::EPERM));
        for stream in &self.finished.leaked {
            let pipe = child.pipes[*stream as usize].map(|pipe| &self.world.pipes[pipe]);
            let standing = pipe.and_then(|pipe| pipe.at_question);
            let is_fact = standing.is_some_and(|standing| {
                standing.holders > standing.dying && Some(standing.at) >= child.reaped
            });
            self.confirm(is_fact || may_be_itself, "a leak without a holder");
        }
        if self.job.is_group && self.job.sweeps && !self.job.script.is_foreign {
            let pid = self.finished.pid.expect("it was started");
            self.confirm(!self.world.has_group(pid), "its group goes on");
        }
    }

    pub(super) fn check_bytes(
        &self,
        take: Take,
        pipe: &Pipe,
        collected: &[u8],
        got: &Got,
        is_told: bool,
    ) {
        let read = prefix(pipe.key, pipe.read);
        match take {
            Take::Capture => self.confirm(collected == read, "captured bytes"),
            Take::Ends(bytes) => self.confirm(collected == ends(&read, bytes), "both ends"),
            Take::Writer(fails_at) => {
                let is_prefix = read.starts_with(&got.bytes);
                let is_whole = (got.bytes.len() == read.len() && got.is_flushed) || is_told;
                let has_failed = got.has_failed && got.bytes.len() == fails_at;
                self.confirm(is_prefix && (is_whole || has_failed), "written bytes");
            }
            Take::Lines(panics_at) => {
                let mut lines: Vec<_> = read.split(|byte| *byte == b'\n').collect();
                let rest = lines.pop().unwrap_or_default();
                // Unless a read failed. A last one, where an output limit cut the pipe at that instant, may have gone well.
                let may_lack_rest = pipe.has_failed && got.lines == lines;
                if !rest.is_empty() && !may_lack_rest {
                    lines.push(rest);
                }
                lines.truncate(panics_at);
                self.confirm(got.lines == lines, "lines");
            }
            Take::Caller => {
                // What was in it when it was cut may wait for him for ever.
                let is_whole = self.job.callers_read <= pipe.read;
                self.confirm(is_whole, "bytes that the caller read");
            }
            Take::Null => self.confirm(false, "a pipe that was not asked for"),
        }
    }

    pub(super) fn check_input(&self, child: &ChildFacts) {
        let Some(pipe) = child.pipes[0] else { return };
        let pipe = &self.world.pipes[pipe];
        self.confirm(!pipe.is_ours_open, "stdin is left open");
        let is_leaked = self.finished.leaked.contains(&Stream::Stdin);
        // What is typed ends with its terminal's output, or would hold that.
        let closed = |number: usize| {
            let end = child.pipes[number].map(|pipe| &self.world.pipes[pipe])?;
            end.at_close.map(|close| close.at)
        };
        let has_hung_up = pipe.is_terminal && closed(1).is_some_and(|at| Some(at) <= closed(0));
        if let (true, Some(output), Some(input)) = (pipe.is_terminal, closed(1), closed(0)) {
            self.confirm(input <= output + EVENT_SLACK, "a closed terminal is held");
        }
        let is_unheard = has_hung_up || pipe.at_close.is_some_and(|close| close.holders == 0);
        let bytes = match self.job.feed {
            Feed::Bytes(bytes) | Feed::Reader { bytes, .. } => bytes,
            Feed::Stalled(_) => {
                return self.confirm(is_leaked || is_unheard, "stdin ended by itself");
            }
            Feed::Null | Feed::Caller => {
                return self.confirm(!is_leaked, "leaked what is not copied");
            }
        };
        if is_leaked {
            let may_be_paused = matches!(self.job.feed, Feed::Reader { .. });
            let was_held = !pipe.was_found_ended || may_be_paused;
            return self.confirm(was_held, "no process has stdin");
        }
        let has_failed = self
            .job
            .fed
            .lock()
            .expect("no panic while it is locked")
            .has_failed;
        let is_whole = pipe.written == bytes || is_unheard || has_failed;
        self.confirm(is_whole, "input was lost");
    }

    /// The streams whose callback has panicked.
    pub(super) fn panicked(&self) -> Vec<Stream> {
        let outputs = [Stream::Stdout, Stream::Stderr].into_iter();
        let panicked = outputs.zip(&self.job.takes).zip(&self.job.got);
        panicked
            .filter(|((_, take), got)| {
                let got = got.lock().expect("no panic while it is locked");
                matches!(take, Take::Lines(_)) && got.has_failed
            })
            .map(|((stream, _), _)| stream)
            .collect()
    }

    /// The streams whose copy has failed.
    pub(super) fn failures(&self, child: &ChildFacts) -> Vec<Stream> {
        let streams = [Stream::Stdin, Stream::Stdout, Stream::Stderr];
        let shelves = [&self.job.fed, &self.job.got[0], &self.job.got[1]];
        let mut failed = Vec::new();
        for ((stream, shelf), pipe) in streams.into_iter().zip(shelves).zip(child.pipes) {
            let is_held =
                stream != Stream::Stdin && self.job.takes[stream as usize - 1] == Take::Caller;
            let has_failed = pipe.is_some_and(|pipe| self.world.pipes[pipe].has_failed) && !is_held;
            if has_failed
                || shelf
                    .lock()
                    .expect("no panic while it is locked")
                    .has_failed
            {
                failed.push(stream);
            }
        }
        failed
    }
}

/// What `Output::capture_ends` keeps of a stream.
fn ends(stream: &[u8], bytes: usize) -> Vec<u8> {
    if stream.len() <= 2 * bytes {
        return stream.to_vec();
    }
    let omitted = stream.len() - 2 * bytes;
    let marker = format!("\n... omitting {omitted} bytes ...\n");
    let (head, tail) = (&stream[..bytes], &stream[stream.len() - bytes..]);
    [head, marker.as_bytes(), tail].concat()
}
