//! The terminals of commands: another size, whether they run already or wait.
//! Unaware of how a terminal is made and read, which is as a pipe to the loop.

use std::io;

use super::Engine;
use crate::finished::CommandId;
use crate::stream::OurEnd;
use crate::sys::{Kernel, Launch, Stdio, Stream, TerminalSize};

impl<K: Kernel> Engine<K> {
    /// Gives all terminals of a command this size.
    ///
    /// # Errors
    /// `NotConnected` where it has none (any more).
    pub(crate) fn resize_terminal(&mut self, id: CommandId, size: TerminalSize) -> io::Result<()> {
        self.kernel.check_process()?;
        let none = || io::Error::new(io::ErrorKind::NotConnected, "the command has no terminal");
        let slot = self.table.slot_of_pipes(id).ok_or_else(none)?;
        if let Some((spec, _)) = self.table.unstarted(slot) {
            return resize_plan(&mut spec.launch, size)
                .then_some(())
                .ok_or_else(none);
        }
        if let Some(running) = self.table.running(slot)
            && let Some(start) = &mut running.start
        {
            // It may have to be started again.
            resize_plan(&mut start.launch, size);
        }
        let mut result = Err(none());
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(pipe) = self
                .table
                .stream(slot, stream)
                .and_then(|end| OurEnd::pipe(end))
            {
                match self.kernel.resize(pipe, size) {
                    Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => {}
                    Err(error) => return Err(error),
                    Ok(()) => result = Ok(()),
                }
            }
        }
        result
    }
}

/// `false`: there is no terminal to be made.
fn resize_plan(launch: &mut Launch, size: TerminalSize) -> bool {
    let mut is_any = false;
    for stdio in &mut launch.stdio {
        if let Stdio::Terminal(plan) = stdio {
            plan.size = size;
            is_any = true;
        }
    }
    is_any
}
