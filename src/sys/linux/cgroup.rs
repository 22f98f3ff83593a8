//! A cgroup of one command's own: made for its start, killed as a whole, removed when no process is left in it.
//! Unaware of how a child gets in.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::CgroupPlan;
use crate::sys::fd::above_stdio;
use crate::sys::fork::Origin;
use crate::sys::{StartFailure, StartStep};

/// Tells a cgroup from those that other reactors of this process make.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The directory, which is removed with this.
#[derive(Debug)]
pub(super) struct OwnCgroup {
    path: PathBuf,
    /// A forked copy of this process removes nothing.
    origin: Origin,
}

impl OwnCgroup {
    /// Makes it, and opens its directory for the start.
    #[cold]
    pub(super) fn make(plan: &CgroupPlan) -> Result<(OwnCgroup, OwnedFd), StartFailure> {
        let failed = |what: &Path, error: io::Error| StartFailure {
            path: Some(what.into()),
            ..StartFailure::new(StartStep::Cgroup, error)
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("execloop-{}-{number}", std::process::id());
        let path = plan.under.join(name);
        fs::create_dir(&path).map_err(|error| failed(&path, error))?;
        let cgroup = OwnCgroup {
            path,
            origin: Origin::new(),
        };
        for (file, value) in &plan.settings {
            let file = cgroup.path.join(file);
            write(&file, value).map_err(|error| failed(&file, error))?;
        }
        // Before anybody is in it: whether it can be ended (Linux 5.14), and is a cgroup at all.
        let kill = cgroup.path.join(KILL);
        fs::metadata(&kill).map_err(|error| failed(&kill, error))?;
        let directory = File::open(&cgroup.path).and_then(|file| above_stdio(file.into()));
        let directory = directory.map_err(|error| failed(&cgroup.path, error))?;
        Ok((cgroup, directory))
    }

    /// SIGKILL to all that are in it and below it, also to those that are being forked.
    pub(super) fn kill(&self) -> io::Result<()> {
        write(&self.path.join(KILL), "1")
    }

    /// Somebody lives in it or below it. One that is not there any more is empty; one that cannot be asked now, as for want of
    /// a descriptor, is asked again.
    pub(super) fn is_populated(&self) -> bool {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(text) => text.lines().any(|line| line == "populated 1"),
            Err(error) => !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)),
        }
    }

    /// The most memory that it had at once, where the controller is there (Linux 5.19).
    pub(super) fn memory_peak(&self) -> Option<u64> {
        let text = fs::read_to_string(self.path.join("memory.peak")).ok()?;
        text.trim_end().parse().ok()
    }
}

const KILL: &str = "cgroup.kill";

/// Writes to a file that the kernel has made: none is created.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    File::options()
        .write(true)
        .open(path)?
        .write_all(text.as_bytes())
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        if self.origin.is_here() {
            remove(&self.path);
        }
    }
}

/// With those that the command has made in it. One where somebody lives stays.
fn remove(path: &Path) {
    if fs::remove_dir(path).is_ok() {
        return;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_files_of_a_cgroup_say() {
        let path = std::env::temp_dir().join(format!("execloop-cgroup-{}", std::process::id()));
        fs::create_dir_all(path.join("below")).expect("a directory");
        let cgroup = OwnCgroup {
            path: path.clone(),
            origin: Origin::new(),
        };
        assert!(!cgroup.is_populated() && cgroup.memory_peak().is_none() && cgroup.kill().is_err());
        let put = |name: &str, text: &str| fs::write(path.join(name), text).expect("a file");
        put("memory.peak", "20971520\n");
        assert_eq!(cgroup.memory_peak(), Some(20_971_520));
        for (text, expected) in [
            ("populated 1\nfrozen 0\n", true),
            ("populated 0\nfrozen 1\n", false),
        ] {
            put("cgroup.events", text);
            assert_eq!(cgroup.is_populated(), expected);
        }
        // A cgroup's files go with their directory; these do not.
        fs::remove_file(path.join("memory.peak")).expect("it is there");
        fs::remove_file(path.join("cgroup.events")).expect("it is there");
        // As one that cannot be read, for want of a descriptor say.
        fs::create_dir(path.join("cgroup.events")).expect("a directory");
        assert!(cgroup.is_populated(), "that is not known to be empty");
        fs::remove_dir(path.join("cgroup.events")).expect("it is empty");
        drop(cgroup);
        assert!(!path.exists());
    }
}
