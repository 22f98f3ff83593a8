//! Who holds a pipe: looked up by the pipe's inode among the descriptors of all processes, under /proc.
//! Unaware of commands, and of why one asks.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use crate::plain::ShellWord;

/// A process that has an end of a pipe open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command line, quoted for a shell; what the kernel calls it, in brackets, where it has none.
    pub command_line: String,
}

/// The processes, other than this one, that have an end of this pipe open, by their pids; or the terminal behind this
/// master of a pseudo-terminal.
///
/// It reads the descriptors of every process that this one may look into, which takes milliseconds on a busy machine:
/// for reports, not for loops. The traps: a process of another user's is not seen, and one that ends or forks meanwhile
/// may be missed; a child that is being started at this instant, by whatever thread, has all that this process has open,
/// and is named. ([`Reactor::holders`](crate::Reactor::holders) leaves out those that its reactor starts.)
///
/// ```
/// use execloop::linux::pipe_holders;
/// let (reader, writer) = std::io::pipe()?;
/// let mut sleeper = std::process::Command::new("sleep").arg("60").stdout(writer).spawn()?;
/// let holders = pipe_holders(&reader)?;
/// assert_eq!(holders[0].pid, sleeper.id());
/// # sleeper.kill()?;
/// # sleeper.wait()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// `InvalidInput` where this is neither; what reading /proc fails with, where there is none.
pub fn pipe_holders(pipe: impl AsFd) -> io::Result<Vec<Holder>> {
    let number = pipe.as_fd().as_raw_fd();
    let name = fs::read_link(format!("/proc/self/fd/{number}"))?;
    let name = if name.as_os_str().as_encoded_bytes().starts_with(b"pipe:") {
        name
    } else {
        slave_of(number).ok_or(io::ErrorKind::InvalidInput)?
    };
    let this = std::process::id();
    let mut holders = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|text| text.parse().ok());
        if let Some(pid) = pid
            && pid != this
            && holds(&entry.path(), &name)
        {
            let command_line = command_line(&entry.path());
            holders.push(Holder { pid, command_line });
        }
    }
    holders.sort_by_key(|holder| holder.pid);
    Ok(holders)
}

/// The terminal behind the master of a pseudo-terminal (Linux 4.11).
fn slave_of(number: i32) -> Option<PathBuf> {
    let information = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    let mut lines = information.lines();
    let index = lines.find_map(|line| line.strip_prefix("tty-index:"))?;
    Some(Path::new("/dev/pts").join(index.trim()))
}

/// A process that has ended meanwhile, or is another user's, counts as one that holds nothing.
fn holds(process: &Path, name: &Path) -> bool {
    let Ok(fds) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    fds.flatten()
        .any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link == name))
}

fn command_line(process: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let words = fs::read(process.join("cmdline")).unwrap_or_default();
    let words = words.strip_suffix(b"\0").unwrap_or(&words);
    if words.is_empty() {
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        return format!("[{}]", name.trim_end());
    }
    let words = words.split(|byte| *byte == 0);
    let quoted =
        words.map(|word| ShellWord::Argument(std::ffi::OsStr::from_bytes(word)).to_string());
    quoted.collect::<Vec<_>>().join(" ")
}
