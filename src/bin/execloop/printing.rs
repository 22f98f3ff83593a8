//! Where the output of commands and the messages about them go: one outbox or two, and the order of the list.
//! Unaware of commands.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::order::Order;
use crate::outbox::{Outbox, Printed};
use crate::tagged::Backlog;

/// When the output of a command is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Printing {
    /// When it ends.
    AtEnd,
    /// When it and all before it have ended.
    InOrder,
    /// Line by line as it comes.
    Streamed,
    /// By the command itself.
    Inherited,
}

impl Printing {
    /// Output is kept until its command has ended.
    pub(crate) fn collects(self) -> bool {
        matches!(self, Printing::AtEnd | Printing::InOrder)
    }
}

#[derive(Debug)]
pub(crate) struct Printer {
    pub(crate) printing: Printing,
    /// To stdout.
    pub(crate) outbox: Outbox,
    /// To stderr.
    notes: Outbox,
    /// Both are the same, so no message gets into an output.
    is_one: bool,
    order: Order,
    /// Streams that wait for others to be written.
    pub(crate) backlog: Backlog,
}

impl Printer {
    /// `waker` makes what is called when there is room, or when all is written. `is_one`: what goes to stderr goes the way
    /// of stdout, as both are one terminal, pipe or file.
    pub(crate) fn start<W: Fn() + Send + 'static>(
        printing: Printing,
        is_one: bool,
        waker: impl Fn() -> W,
    ) -> io::Result<Printer> {
        let outbox = Outbox::start("stdout", copy(io::stdout().as_fd())?, waker())?;
        let notes = if is_one {
            outbox.clone()
        } else {
            Outbox::start("stderr", copy(io::stderr().as_fd())?, waker())?
        };
        Ok(Printer {
            printing,
            outbox,
            notes,
            is_one,
            order: Order::default(),
            backlog: Backlog::default(),
        })
    }

    /// So much waits for the first of its order that nothing should start behind it.
    pub(crate) fn is_held_up(&self) -> bool {
        self.order.is_full()
    }

    /// So much of it is unwritten that nothing should be added, whatever it is.
    pub(crate) fn is_unread(&self) -> bool {
        self.outbox.is_full() || self.notes.is_full()
    }

    /// The next place in the order of the list.
    pub(crate) fn take_place(&mut self) -> u64 {
        self.order.take_place()
    }

    /// Prints what belongs to this place, or keeps it until its turn. What commands have printed meanwhile is before it.
    pub(crate) fn print(&mut self, place: u64, printed: Printed) {
        let due = match self.printing {
            Printing::InOrder => self.order.put(place, printed),
            Printing::AtEnd | Printing::Streamed | Printing::Inherited => vec![printed],
        };
        for printed in due {
            self.outbox.push_printed(printed);
        }
    }

    /// Where messages go.
    pub(crate) fn notes(&self) -> &Outbox {
        &self.notes
    }

    /// Tells something at once.
    pub(crate) fn tell(&self, note: Vec<u8>) {
        self.notes.push_message(note);
    }

    /// Tells something once what was printed before is written.
    pub(crate) fn tell_behind_output(&self, note: Vec<u8>) {
        // In order, the output may have to wait for others. In one outbox, the note is behind it already.
        if self.printing == Printing::InOrder || self.is_one {
            self.notes.push_message(note);
        } else {
            self.outbox.push_note(note, &self.notes);
        }
    }

    /// Lets all messages go, although the output before them may never be written.
    pub(crate) fn let_notes_go(&self) {
        self.outbox.let_notes_go();
    }

    /// All messages are written. If not, the waker is called when they are.
    pub(crate) fn is_told(&self) -> bool {
        self.notes.is_empty()
    }
}

/// A copy that a thread can own.
fn copy(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from(fd.try_clone_to_owned()?))
}
