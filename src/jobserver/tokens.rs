//! The tokens: who holds which is in the pipe alone, so this reads and writes them, and makes anew what was lost.
//! Unaware of reactors and of what has a token.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::no_jobserver;
use super::way::{Way, identity, no_stdio, of_proc, path_of};
use crate::sys::{above_stdio, bytes_in_pipe};

/// What make writes for each token.
pub(super) const TOKEN: u8 = b'+';

pub(super) struct Shared {
    /// An open file of our own, which never blocks: that flag belongs to the open file, which others share.
    pub(super) reader: File,
    pub(super) way: Way,
    /// `-j8`, or `-j` where the number is not known.
    pub(super) jobs: String,
    /// How many there are in all, where it is ours.
    pub(super) slots: Option<usize>,
    pub(super) state: Mutex<State>,
    /// A forked copy owns neither tokens nor the file.
    pub(super) pid: u32,
}

pub(super) struct State {
    /// How many commands have a permit, in all reactors.
    pub(super) running: usize,
    /// `None`: they were closed for a moment (`make_lost_tokens`), and could not be opened again yet.
    pub(super) writers: Option<Writers>,
}

/// All that this process has open for writing.
pub(super) struct Writers {
    /// An open file of our own, which never blocks.
    pub(super) own: File,
    /// What commands get of a pipe, which blocks.
    pub(super) childs: Option<OwnedFd>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            self.way.remove();
        }
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open_writers(&self) -> io::Result<Writers> {
        let (path, is_pipe) = match &self.way {
            Way::Fifo { path, .. } => (path.clone(), false),
            Way::Pipe(_) => (path_of(self.reader.as_raw_fd()), true),
        };
        // None of them waits, as there is a reader.
        let mut options = OpenOptions::new();
        options.write(true);
        let childs = match is_pipe {
            true => Some(above_stdio(options.open(&path).map_err(of_proc)?.into())?),
            false => None,
        };
        let own = options.custom_flags(libc::O_NONBLOCK).open(&path);
        let own = no_stdio(own.map_err(of_proc)?)?;
        if identity(&own.metadata()?) == identity(&self.reader.metadata()?) {
            Ok(Writers { own, childs })
        } else {
            Err(no_jobserver("another file has its name now"))
        }
    }

    pub(super) fn writers<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Writers> {
        match &mut state.writers {
            Some(writers) => Ok(writers),
            writers => Ok(writers.insert(self.open_writers()?)),
        }
    }

    /// What a command gets of a pipe to write.
    pub(super) fn childs_writer(&self) -> io::Result<OwnedFd> {
        let mut state = self.state();
        match &self.writers(&mut state)?.childs {
            Some(writer) => writer.try_clone(),
            None => Err(no_jobserver("that is no pipe")),
        }
    }

    /// One token, if there is one.
    pub(super) fn read_token(&self) -> Option<u8> {
        let mut token = [0];
        match self.read_once(&mut token) {
            Ok(1) => Some(token[0]),
            _ => None,
        }
    }

    /// `Ok(0)`: it is empty, and nobody has it open for writing.
    fn read_once(&self, token: &mut [u8; 1]) -> io::Result<usize> {
        loop {
            match (&self.reader).read(token) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// # Errors
    /// The pipe is full, which it can't be with what was read of it; or it could not be opened again.
    pub(super) fn write(&self, state: &mut State, tokens: &[u8]) -> io::Result<()> {
        self.writers(state)?.own.write_all(tokens)
    }

    /// None of our commands runs. So what is there beyond all tokens was given back twice, and is taken out. And where
    /// nobody else has the pipe open, those that are not there were taken by clients that were killed: they are made
    /// anew.
    pub(super) fn settle(&self, state: &mut State) {
        let Some(slots) = self.slots else {
            return;
        };
        let all = slots - 1;
        let Ok(there) = bytes_in_pipe(self.reader.as_fd()) else {
            return;
        };
        for _ in all..there {
            self.read_token();
        }
        if there < all {
            self.make_lost_tokens(all, state);
        }
    }

    /// A client that has a token has the pipe open for writing, to give it back. The kernel tells who reads an empty
    /// pipe whether anybody has. So ours are closed for that one read, and all tokens are in our hands.
    fn make_lost_tokens(&self, all: usize, state: &mut State) {
        // They can be opened again, by the same way.
        let Ok(proof) = self.open_writers() else {
            return;
        };
        drop(proof);
        let mut tokens: Vec<u8> = std::iter::from_fn(|| self.read_token()).collect();
        state.writers = None;
        let mut token = [0];
        match self.read_once(&mut token) {
            Ok(0) => tokens.resize(all, TOKEN),
            // Somebody has just given it back.
            Ok(_) => tokens.push(token[0]),
            Err(_) => {}
        }
        // Also with nothing to write: who opens it to read may wait for a writer.
        let _ = self.write(state, &tokens);
    }
}
