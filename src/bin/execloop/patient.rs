//! A file that waits where the operating system says "try again": stdin and stdout may have been made non-blocking by
//! whoever else has them open.
//! Unaware of what is read and written.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

/// Reads and writes as if the file were blocking.
#[derive(Debug)]
pub(crate) struct Patient(pub(crate) File);

impl Patient {
    fn retry<T>(
        &mut self,
        interest: Interest,
        mut call: impl FnMut(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match call(&mut self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(interest)?,
                result => return result,
            }
        }
    }

    fn wait(&self, interest: Interest) -> io::Result<()> {
        let mut poll = Poll::new()?;
        let fd = self.0.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), Token(0), interest)?;
        match poll.poll(&mut Events::with_capacity(1), None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            polled => polled,
        }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retry(Interest::READABLE, |file| file.read(buffer))
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.retry(Interest::WRITABLE, |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::thread;

    #[test]
    fn a_non_blocking_file_is_waited_for() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("a socket");
        let mut patient = Patient(File::from(OwnedFd::from(ours)));
        let echo = thread::spawn(move || {
            let mut all = vec![0; 4_000_000];
            let mut theirs = theirs;
            theirs.read_exact(&mut all).expect("the socket");
            theirs.write_all(&all).expect("the socket");
        });
        patient
            .write_all(&vec![b'x'; 4_000_000])
            .expect("the socket");
        let mut all = Vec::new();
        patient.read_to_end(&mut all).expect("the socket");
        assert_eq!(all, vec![b'x'; 4_000_000]);
        echo.join().expect("the other end");
    }
}
