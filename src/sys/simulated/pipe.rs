//! A simulated pipe: how many bytes it took and gave. What they are follows from their places.
//! Unaware of who reads and writes.

use std::collections::VecDeque;
use std::time::Instant;

use crate::sys::{Ready, Source, Stream, Tenant};

/// Linux splits what is written in packets at this size (pipe(2)).
pub(super) const PACKET_BYTES_MAX: usize = 4096;
/// A pipe has so many places for packets.
const PACKETS_MAX: usize = 16;

/// How a pipe stood at some time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) at: Instant,
    pub(crate) holders: usize,
    /// Holders who had been killed, and were not dead yet.
    pub(crate) dying: usize,
}

/// One pipe between a child and us.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// The key of its bytes.
    pub(crate) key: usize,
    /// The process that it was made for.
    pub(super) child: Option<usize>,
    /// Who gets its events; `None`: it is not watched.
    pub(super) tenant: Option<Tenant>,
    /// Our descriptor's number.
    pub(super) number: usize,
    /// The child's descriptor: stdin is written by us, the others are read.
    pub(super) stream: Stream,
    pub(super) bytes_max: usize,
    /// Each write is read by itself; their sizes.
    pub(super) packets: Option<VecDeque<usize>>,
    pub(crate) written: usize,
    pub(crate) read: usize,
    /// Processes' descriptors that lead to it.
    pub(crate) holders: usize,
    /// Since then there are none.
    pub(crate) released: Option<Instant>,
    pub(crate) is_ours_open: bool,
    /// The loop has closed it, and its child is still on its way to its exec.
    pub(super) is_retired: bool,
    /// Processes that wait for a change.
    pub(super) waiting: Vec<usize>,
    /// How it stood when we closed it.
    pub(crate) at_close: Option<Standing>,
    /// How it stood when we last asked whether somebody has it.
    pub(crate) at_question: Option<Standing>,
    /// The last call was refused against the truth.
    pub(super) has_lied: bool,
    /// Our last read found nothing in it.
    pub(crate) was_found_empty: bool,
    /// Nor will there ever be.
    pub(crate) was_found_ended: bool,
    /// A read of it failed.
    pub(crate) has_failed: bool,
    /// It is a terminal: what is left without a holder fails with `EIO`.
    pub(crate) is_terminal: bool,
}

impl Pipe {
    pub(super) fn new(stream: Stream, key: usize, number: usize) -> Pipe {
        Pipe {
            key,
            child: None,
            number,
            tenant: None,
            stream,
            bytes_max: 0,
            packets: None,
            written: 0,
            read: 0,
            holders: 0,
            released: None,
            is_ours_open: true,
            is_retired: false,
            waiting: Vec::new(),
            at_close: None,
            at_question: None,
            has_lied: false,
            was_found_empty: false,
            was_found_ended: false,
            has_failed: false,
            is_terminal: false,
        }
    }

    /// How many bytes it holds.
    pub(crate) fn len(&self) -> usize {
        self.written - self.read
    }

    pub(super) fn room(&self) -> usize {
        if self
            .packets
            .as_ref()
            .is_some_and(|list| list.len() >= PACKETS_MAX)
        {
            return 0;
        }
        self.bytes_max.saturating_sub(self.len())
    }

    /// What a poll says of our end, if it says something.
    pub(super) fn event(&self) -> Option<Ready> {
        self.tenant.and_then(|tenant| self.event_for(tenant))
    }

    /// What a poll would tell this one.
    pub(super) fn event_for(&self, tenant: Tenant) -> Option<Ready> {
        self.is_ours_open.then_some(Ready {
            tenant,
            source: Source::Stream(self.stream),
            hung_up: self.holders == 0,
        })
    }

    /// A read would give bytes, or a write would take some.
    pub(super) fn is_ready(&self) -> bool {
        match self.stream {
            Stream::Stdin => self.room() > 0,
            Stream::Stdout | Stream::Stderr => self.len() > 0,
        }
    }

    /// Takes at most so many bytes out, as one read does. Returns where they begin and how many they are.
    pub(super) fn take(&mut self, bytes_max: usize) -> (usize, usize) {
        let from = self.read;
        let count = match self.packets.as_mut().and_then(VecDeque::pop_front) {
            Some(packet) => {
                assert!(
                    bytes_max >= packet,
                    "a read without room for a packet cuts it"
                );
                packet
            }
            None => bytes_max.min(self.len()),
        };
        self.read += count;
        (from, count)
    }

    /// Puts at most so many bytes in, as one write does. Returns how many.
    pub(super) fn put(&mut self, bytes: usize) -> usize {
        let mut count = bytes.min(self.room());
        if let Some(packets) = &mut self.packets {
            count = count.min(PACKET_BYTES_MAX);
            if count > 0 {
                packets.push_back(count);
            }
        }
        self.written += count;
        count
    }
}
