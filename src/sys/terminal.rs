//! Pseudo-terminals, as both real backends have them: made, put into raw mode, given a size, and read to their end.
//! Unaware of children, and of whose stream one is.
//!
//! The *master* is our end, the *slave* the terminal that the child has (pty(7)).
#![allow(unsafe_code, reason = "calls on raw descriptors")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::cvt;
use super::fd::above_stdio;

/// How large a terminal is, in characters.
///
/// ```
/// use execloop::TerminalSize;
/// assert_eq!(TerminalSize::default(), TerminalSize { rows: 24, columns: 80 });
/// ```
///
/// The default is that of the DEC VT100, which most programs assume where they find no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TerminalSize {
    /// Its lines.
    pub rows: u16,
    /// The characters of a line.
    pub columns: u16,
}

impl Default for TerminalSize {
    fn default() -> TerminalSize {
        TerminalSize {
            rows: 24,
            columns: 80,
        }
    }
}

impl TerminalSize {
    /// The size of this terminal (tcgetwinsize(3)). `None` where it is none, or has no size.
    pub fn of(terminal: impl AsFd) -> Option<TerminalSize> {
        let mut size = window(TerminalSize {
            rows: 0,
            columns: 0,
        });
        let fd = terminal.as_fd().as_raw_fd();
        // SAFETY: ioctl(2) with this command fills the structure.
        cvt(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) }).ok()?;
        (size.ws_row > 0 && size.ws_col > 0).then_some(TerminalSize {
            rows: size.ws_row,
            columns: size.ws_col,
        })
    }
}

fn window(size: TerminalSize) -> libc::winsize {
    libc::winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// A terminal to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TerminalPlan {
    pub(crate) size: TerminalSize,
    /// Bytes pass through it unchanged.
    pub(crate) is_raw: bool,
}

/// What ends the input of a terminal that is not raw (`VEOF`, termios(3)). Behind half a line it takes two: the first hands
/// that out. A reader that tries again finds the end again, as it would in a closed pipe.
pub(super) const END_OF_INPUT: &[u8] = b"\x04\x04";

/// A new terminal: the master, which never blocks, and the slave, which does. Neither becomes this process's own
/// controlling terminal.
pub(super) fn open(plan: TerminalPlan) -> io::Result<(OwnedFd, OwnedFd)> {
    let (master, slave) = open_pair()?;
    if plan.is_raw {
        make_raw(&slave)?;
    }
    resize(&master, plan.size)?;
    Ok((above_stdio(master)?, above_stdio(slave)?))
}

/// Gives it another size. Who is in its foreground gets SIGWINCH.
pub(super) fn resize(master: &OwnedFd, size: TerminalSize) -> io::Result<()> {
    let size = window(size);
    // SAFETY: ioctl(2) with this command reads one whole structure.
    cvt(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// What a read of a master says, in a pipe's words: once no process has the slave, Linux answers `EIO` and the BSDs give the
/// end of a file. A master has no other reason for `EIO`.
///
/// The first `EIO` may be too early: Linux waits for what is on its way through the terminal, then looks whether the slave
/// is closed, and does not see what was written and closed in between. The next read finds it.
pub(super) fn read_of_master(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    for _ in 0..2 {
        match read() {
            Err(error) if error.raw_os_error() == Some(libc::EIO) => (),
            read => return read,
        }
    }
    Ok(0)
}

/// The same of a write.
pub(super) fn write_to_master(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.raw_os_error() == Some(libc::EIO) => {
            Err(io::Error::from_raw_os_error(libc::EPIPE))
        }
        written => written,
    }
}

fn make_raw(slave: &OwnedFd) -> io::Result<()> {
    let mut modes = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: there is room for the answer.
    cvt(unsafe { libc::tcgetattr(slave.as_raw_fd(), modes.as_mut_ptr()) })?;
    // SAFETY: tcgetattr(3) has filled it.
    let mut modes = unsafe { modes.assume_init() };
    // SAFETY: a whole structure.
    unsafe { libc::cfmakeraw(&raw mut modes) };
    // SAFETY: a whole structure.
    cvt(unsafe { libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &raw const modes) }).map(drop)
}

/// By calls of Linux (4.13), which need no name: the child's root, or a mount namespace, may not have the right `/dev/pts`.
#[cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]
fn open_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the path is a C string.
    let master = cvt(unsafe { libc::open(c"/dev/ptmx".as_ptr(), flags | libc::O_NONBLOCK) })?;
    // SAFETY: open(2) returned a new descriptor, which has no other owner.
    let master = unsafe { OwnedFd::from_raw_fd(master) };
    let unlocked: libc::c_int = 0;
    // SAFETY: ioctl(2) with this command reads one number.
    cvt(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    // SAFETY: ioctl(2) with this command takes flags of open(2).
    let slave = cvt(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the call returned a new descriptor, which has no other owner.
    Ok((master, unsafe { OwnedFd::from_raw_fd(slave) }))
}

/// As POSIX has it. ptsname(3) answers in memory that all threads share: the lock keeps ours apart, not those of others.
#[cfg(any(not(target_os = "linux"), execloop_kqueue_shim))]
fn open_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    static NAME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _lock = super::backend::CreationLock::hold();
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    // SAFETY: posix_openpt(3) takes flags.
    let master = cvt(unsafe { libc::posix_openpt(flags) })?;
    // SAFETY: posix_openpt(3) returned a new descriptor, which has no other owner.
    let master = unsafe { OwnedFd::from_raw_fd(master) };
    let number = master.as_raw_fd();
    // SAFETY: fcntl(2) with this command takes one number.
    cvt(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: grantpt(3) takes a descriptor.
    cvt(unsafe { libc::grantpt(number) })?;
    // SAFETY: unlockpt(3) takes a descriptor.
    cvt(unsafe { libc::unlockpt(number) })?;
    let _name = NAME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // SAFETY: ptsname(3) takes a descriptor.
    let path = unsafe { libc::ptsname(number) };
    if path.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: ptsname(3) returned a C string, which is not changed while the lock is held.
    let slave = cvt(unsafe { libc::open(path, flags | libc::O_CLOEXEC) })?;
    // SAFETY: open(2) returned a new descriptor, which has no other owner.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    // After the slave was opened: until then macOS refuses this of a master, as nearly every ioctl.
    // SAFETY: fcntl(2) with this command takes one number.
    cvt(unsafe { libc::fcntl(number, libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((master, slave))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_master_never_blocks_and_its_slave_does() {
        let plan = TerminalPlan {
            size: TerminalSize::default(),
            is_raw: false,
        };
        let (master, slave) = open(plan).expect("a terminal");
        let never_blocks = |end: &OwnedFd| {
            // SAFETY: fcntl(2) with this command takes no more.
            let flags = unsafe { libc::fcntl(end.as_raw_fd(), libc::F_GETFL) };
            flags & libc::O_NONBLOCK != 0
        };
        assert!(never_blocks(&master) && !never_blocks(&slave));
    }
}
