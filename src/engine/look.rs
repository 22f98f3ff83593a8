//! What can be seen of a command without a change to it: the output that was captured so far.
//! Unaware of how it was read.

use std::borrow::Cow;

use super::Engine;
use crate::finished::CommandId;
use crate::sys::{Kernel, Stream};

impl<K: Kernel> Engine<K> {
    /// What was captured of an output until now. `None`: the command is not here any more.
    pub(crate) fn output_so_far(&self, id: CommandId, stream: Stream) -> Option<Cow<'_, [u8]>> {
        if let Some(finished) = self.table.unread(id) {
            return Some(Cow::Borrowed(match stream {
                Stream::Stdin => &[],
                Stream::Stdout => &finished.stdout,
                Stream::Stderr => &finished.stderr,
            }));
        }
        let slot = self.table.slot_of(id)?;
        let running = self.table.get_running(slot);
        let our_end = running.map(|running| &running.streams[stream as usize]);
        Some(our_end.map_or(Cow::Borrowed(&[]), |our_end| our_end.captured()))
    }
}
