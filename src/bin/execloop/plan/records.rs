//! The files that a run writes beside its output: opened, kept from other runs, and begun.
//! Unaware of what is written to them.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Wrong, about};
use crate::arguments::RunArguments;
use crate::bar;
use crate::joblog;
use crate::printable::printable_message;
use crate::run::Origin;

/// A file that is written while it runs.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) form: Form,
    /// As the user wrote it.
    pub(crate) name: String,
    pub(crate) file: File,
    /// So much of what is in it stays.
    kept_bytes: u64,
}

impl Record {
    /// Drops what was in the file. Not before all else is known to be right: it may be the only copy.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        if metadata.is_file() && metadata.len() != self.kept_bytes {
            self.file.set_len(self.kept_bytes)?;
        }
        match self.form {
            Form::JobLog if self.kept_bytes == 0 => self.file.write_all(joblog::HEADER),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    JobLog,
    Timeline,
    Trace,
}

/// The job log's file, unless the run is dry, and the commands that it says need not run.
pub(super) fn job_log(arguments: &RunArguments) -> Result<(Option<Record>, HashSet<u64>), Wrong> {
    let records = &arguments.record;
    let Some(path) = &records.joblog else {
        return Ok(Default::default());
    };
    let about = |error| about(path, &error);
    let is_resumed = records.resume || records.resume_failed;
    let written = match is_resumed {
        true => written_log(path)?,
        false => None,
    };
    let mut log = None;
    if !arguments.output.dry_run {
        let mut options = OpenOptions::new();
        // Each line goes behind all others, whoever writes there.
        let file = options
            .append(true)
            .create(true)
            .open(path)
            .map_err(about)?;
        lock(path, &file)?;
        log = Some(record(Form::JobLog, path, file));
    }
    let mut done = HashSet::new();
    // Not before it is ours alone.
    if let Some(mut written) = written {
        let mut bytes = Vec::new();
        written.read_to_end(&mut bytes).map_err(about)?;
        if !joblog::is_log(&bytes) {
            return Err(nothing_to_resume(path, "no job log"));
        }
        let kept_bytes;
        (done, kept_bytes) = joblog::done_before(&bytes, records.resume_failed);
        if let Some(log) = &mut log {
            log.kept_bytes = kept_bytes as u64;
        }
    }
    Ok((log, done))
}

fn nothing_to_resume(path: &Path, why: &str) -> Wrong {
    let name = printable_message(&path.display().to_string());
    format!("{name}: {why}, so there is nothing to resume")
}

/// Keeps other runs away until the file is closed. Where a file system has no locks, nobody is kept away.
fn lock(path: &Path, file: &File) -> Result<(), Wrong> {
    let metadata = file.metadata().map_err(|error| about(path, &error))?;
    // A device may be everybody's.
    if !metadata.is_file() && !metadata.is_dir() {
        return Ok(());
    }
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            let name = printable_message(&path.display().to_string());
            Err(format!("{name}: in use by another execloop"))
        }
        _ => Ok(()),
    }
}

/// The directory for results, which is this run's alone while it is open. `None`: it may be written, and not be read.
pub(super) fn results(path: &Path) -> Result<Option<File>, Wrong> {
    fs::create_dir_all(path).map_err(|error| about(path, &error))?;
    let Ok(directory) = File::open(path) else {
        return Ok(None);
    };
    lock(path, &directory)?;
    Ok(Some(directory))
}

/// A log of an earlier run. A device may have no end, and a pipe is never at its end while it is open.
fn written_log(path: &Path) -> Result<Option<File>, Wrong> {
    let is_regular = match fs::metadata(path) {
        Ok(metadata) => metadata.is_file(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(about(path, &error)),
    };
    if !is_regular {
        return Err(nothing_to_resume(path, "no regular file"));
    }
    let log = File::open(path).map_err(|error| about(path, &error))?;
    Ok(Some(log))
}

fn record(form: Form, path: &Path, file: File) -> Record {
    Record {
        form,
        name: path.display().to_string(),
        file,
        kept_bytes: 0,
    }
}

/// A list that the run writes to would be run as it grows, and a record that is also where output goes would be damaged.
pub(super) fn refuse_same_files(
    origin: &Origin,
    list: &str,
    records: &[Record],
) -> Result<(), Wrong> {
    let list = match origin {
        Origin::List(file, _) => Some((list, file)),
        Origin::Fixed(_) => None,
    };
    let records = records
        .iter()
        .map(|record| (record.name.as_str(), &record.file));
    let mut known: HashMap<(u64, u64), &str> = HashMap::new();
    for (name, file) in list.into_iter().chain(records) {
        let Some(identity) = identity(file.as_fd()) else {
            continue;
        };
        if let Some(other) = known.insert(identity, name) {
            return Err(same_file(other, name));
        }
    }
    // These two may be one.
    let (stdout, stderr) = (io::stdout(), io::stderr());
    for (name, fd) in [("stdout", stdout.as_fd()), ("stderr", stderr.as_fd())] {
        if let Some(other) = identity(fd).and_then(|identity| known.get(&identity)) {
            return Err(same_file(other, name));
        }
    }
    Ok(())
}

fn same_file(one: &str, other: &str) -> Wrong {
    printable_message(&format!("{one} and {other} are the same file"))
}

/// Of a regular file. Any other may be shared.
fn identity(fd: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let metadata = bar::metadata(fd)?;
    metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
}

/// Files for what is drawn of the run.
pub(super) fn pictures(arguments: &RunArguments) -> Result<Vec<Record>, Wrong> {
    let paths = [
        (Form::Trace, &arguments.record.trace),
        (Form::Timeline, &arguments.record.timeline),
    ];
    let wanted = paths
        .into_iter()
        .filter_map(|(form, path)| Some((form, path.as_ref()?)));
    let open = |(form, path): (Form, &PathBuf)| {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(path).map_err(|error| about(path, &error))?;
        Ok(record(form, path, file))
    };
    wanted.map(open).collect()
}
