//! Suspends all commands and every limit of theirs, and lets both go on.
//! Unaware of who asks for it, and of the limits: the loop's clock stands meanwhile.

use std::io;

use super::Engine;
use crate::sys::{Kernel, Signal};

impl<K: Kernel> Engine<K> {
    /// Stops what runs. Nothing is started, and no limit comes, before `unsuspend`.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        self.kernel.check_process()?;
        self.clock.read(self.kernel.now());
        self.clock.stop();
        self.signal_all(Signal::STOP);
        Ok(())
    }

    /// Lets go on what was suspended.
    pub(crate) fn unsuspend(&mut self) {
        if self.clock.is_stopped() && self.kernel.check_process().is_ok() {
            self.signal_all(Signal::CONT);
            self.go_on();
            self.admit();
        }
    }

    pub(super) fn go_on(&mut self) {
        self.clock.read(self.kernel.now());
        self.clock.go_on();
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.clock.is_stopped()
    }

    fn signal_all(&mut self, signal: Signal) {
        for slot in self.table.slots() {
            if let Some(running) = self.table.running(slot)
                && !running.is_detached
            {
                running.steer(signal, &mut self.kernel);
            }
        }
    }
}
