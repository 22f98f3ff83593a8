//! Finds the program that a bare name means, by the rules of Go's `LookPath` on Unix, or says that it is not found in `PATH`.
//! Unaware of commands, and of how a file is found executable (`sys` answers that).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::plain::Plain;

/// Finds `name` in the directories of this process's `PATH`, as Go's `exec.LookPath` does.
///
/// A name with a slash isn't searched for: it is checked, and returned as it is. Otherwise the first entry of
/// `PATH` that holds an executable file of that name decides; an entry that can't be read is passed over.
/// An empty entry means the current directory; an empty or unset `PATH` has no entries. Entries are taken as they are
/// spelt (Go cleans `link/../bin` to `bin`, which is another directory where `link` is a symbolic link).
///
/// The trap: an entry that isn't absolute ends the search with [`LookPathError::Dot`], even if a later one would do.
///
/// # Errors
///
/// [`LookPathError`] tells why there is no path that is safe to run.
///
/// # Examples
///
/// ```
/// let shell = execloop::look_path("sh")?;
/// assert!(shell.is_absolute());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn look_path(name: impl AsRef<OsStr>) -> Result<PathBuf, LookPathError> {
    let path = std::env::var_os("PATH");
    search(name.as_ref(), path.as_deref(), &mut crate::sys::executable)
}

/// [`look_path`] in another `PATH` than this process's: for a command whose environment has its own, and that runs in
/// `dir`.
///
/// The rules are the same, but that relative paths (a `name` with a slash, an entry of `path`) are looked for in `dir`.
/// They are returned as they are spelt, which is right for a command whose [`current_dir`](crate::Command::current_dir)
/// is `dir`. An empty `dir` is the current one.
///
/// # Errors
///
/// As of [`look_path`].
///
/// # Examples
///
/// ```
/// let (path, dir) = ("/opt/project/bin:/usr/bin:/bin", "/tmp");
/// let program = execloop::look_path_in("sh", path, dir)?;
/// let mut command = execloop::Command::new(program);
/// command.arg0("sh").env("PATH", path).current_dir(dir);
/// # Ok::<(), execloop::LookPathError>(())
/// ```
pub fn look_path_in(
    name: impl AsRef<OsStr>,
    path: impl AsRef<OsStr>,
    dir: impl AsRef<Path>,
) -> Result<PathBuf, LookPathError> {
    let dir = dir.as_ref();
    let mut usable = |candidate: &Path| crate::sys::executable(&dir.join(candidate));
    search(name.as_ref(), Some(path.as_ref()), &mut usable)
}

/// [`look_path`] in the entries of `path`; `usable` answers whether a path is an executable file.
pub(crate) fn search(
    name: &OsStr,
    path: Option<&OsStr>,
    usable: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> Result<PathBuf, LookPathError> {
    let not_found = || LookPathError::NotFound {
        name: name.to_os_string(),
    };
    // No file has such a name. Go, which cleans what it joins, once took the entry itself for it (CVE-2025-47906).
    if matches!(name.as_bytes(), b"" | b"." | b"..") {
        return Err(not_found());
    }
    if name.as_bytes().contains(&b'/') {
        return match usable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(source) => Err(LookPathError::Io {
                name: name.to_os_string(),
                source,
            }),
        };
    }
    let found = entries(path)
        .map(|entry| entry.join(name))
        .find(|candidate| usable(candidate).is_ok());
    match found {
        None => Err(not_found()),
        Some(path) if path.is_absolute() => Ok(path),
        Some(path) => Err(LookPathError::Dot {
            name: name.to_os_string(),
            path,
        }),
    }
}

/// The entries of a `PATH`; an empty one is `.`, an empty `PATH` has none.
fn entries(path: Option<&OsStr>) -> impl Iterator<Item = &Path> {
    let path = path.filter(|path| !path.is_empty());
    path.into_iter()
        .flat_map(|path| path.as_bytes().split(|byte| *byte == b':'))
        .map(|entry| {
            let entry = if entry.is_empty() { b"." } else { entry };
            Path::new(OsStr::from_bytes(entry))
        })
}

/// Why [`look_path`] has no path that is safe to run.
///
/// ```
/// let error = execloop::look_path("no-such-program").unwrap_err();
/// assert_eq!(error.to_string(), "\"no-such-program\": executable file not found in $PATH");
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LookPathError {
    /// No entry of `PATH` holds an executable file of this name (Go's `ErrNotFound`).
    ///
    /// Always so for an empty name, `.` and `..`. Why single entries failed, for lack of permission say, isn't
    /// reported.
    NotFound {
        /// The name that was looked for.
        name: OsString,
    },

    /// An entry of `PATH` that isn't absolute holds the program (Go's `ErrDot`).
    ///
    /// Running it is refused, because whoever can write to the current directory would choose what runs. To run it all
    /// the same, name `path` itself, or call `Command::allow_dot`.
    Dot {
        /// The name that was looked for.
        name: OsString,
        /// What was found. It holds a slash (`./name`, where Go has `name`), so it can't be taken for a name to look
        /// for.
        path: PathBuf,
    },

    /// A name with a slash isn't an executable file (Go's `Error` around the error of the failed check).
    ///
    /// `EISDIR` for a directory, `EACCES` for a file without the permission to execute it.
    Io {
        /// The name that was checked.
        name: OsString,
        /// Why it can't be executed.
        source: io::Error,
    },
}

impl LookPathError {
    /// The same error once more, for the next start of the same command.
    pub(crate) fn again(&self) -> LookPathError {
        match self {
            LookPathError::NotFound { name } => LookPathError::NotFound { name: name.clone() },
            LookPathError::Dot { name, path } => LookPathError::Dot {
                name: name.clone(),
                path: path.clone(),
            },
            LookPathError::Io { name, source } => {
                let again = source
                    .raw_os_error()
                    .map_or(source.kind().into(), io::Error::from_raw_os_error);
                LookPathError::Io {
                    name: name.clone(),
                    source: again,
                }
            }
        }
    }

    /// The error of the failed check: that of [`LookPathError::Io`], otherwise `None`.
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            LookPathError::Io { source, .. } => Some(source),
            LookPathError::NotFound { .. } | LookPathError::Dot { .. } => None,
        }
    }

    /// The error number of [`io_error`](LookPathError::io_error), if it has one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.io_error().and_then(io::Error::raw_os_error)
    }

    /// The kind that an [`io::Error`] made of this has: [`NotFound`](io::ErrorKind::NotFound),
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for [`LookPathError::Dot`], or that of the failed check.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            LookPathError::NotFound { .. } => io::ErrorKind::NotFound,
            LookPathError::Dot { .. } => io::ErrorKind::PermissionDenied,
            LookPathError::Io { source, .. } => source.kind(),
        }
    }

    /// The name as it was given.
    pub fn name(&self) -> &OsStr {
        match self {
            LookPathError::NotFound { name }
            | LookPathError::Dot { name, .. }
            | LookPathError::Io { name, .. } => name,
        }
    }

    /// The program that was found and refused: that of [`LookPathError::Dot`], otherwise `None`.
    pub fn path(&self) -> Option<&Path> {
        match self {
            LookPathError::Dot { path, .. } => Some(path),
            LookPathError::NotFound { .. } | LookPathError::Io { .. } => None,
        }
    }
}

impl fmt::Display for LookPathError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: ", self.name())?;
        match self {
            LookPathError::NotFound { .. } => {
                formatter.write_str("executable file not found in $PATH")
            }
            LookPathError::Dot { path, .. } => write!(
                formatter,
                "found relative to the current directory; write {path:?} to run it, or call Command::allow_dot"
            ),
            LookPathError::Io { source, .. } => write!(formatter, "{}", Plain(source)),
        }
    }
}

/// What its text holds is no source; see [`io_error`](LookPathError::io_error).
impl std::error::Error for LookPathError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io_error().and_then(std::error::Error::source)
    }
}

impl From<LookPathError> for io::Error {
    fn from(error: LookPathError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks up `name` where these files alone are executable; returns the paths that were asked about, too.
    fn look(
        name: &str,
        path: Option<&str>,
        files: &[&str],
    ) -> (Result<PathBuf, LookPathError>, Vec<PathBuf>) {
        let mut asked = Vec::new();
        let mut usable = |candidate: &Path| {
            asked.push(candidate.to_path_buf());
            // As text: `Path` takes "a/./b" and "a/b" for one.
            if files.iter().any(|file| *file == candidate.as_os_str()) {
                Ok(())
            } else if candidate.starts_with("/locked") {
                Err(io::ErrorKind::PermissionDenied.into())
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        };
        let found = search(OsStr::new(name), path.map(OsStr::new), &mut usable);
        (found, asked)
    }

    #[track_caller]
    fn assert_not_found(found: Result<PathBuf, LookPathError>, expected: &str) {
        let error = found.unwrap_err();
        assert!(
            matches!(&error, LookPathError::NotFound { name } if name == expected),
            "{error:?}"
        );
        assert_eq!(error.name(), expected);
        assert_eq!(error.path(), None);
    }

    #[track_caller]
    fn assert_dot(found: Result<PathBuf, LookPathError>, expected: &str) {
        let error = found.unwrap_err();
        assert!(matches!(error, LookPathError::Dot { .. }), "{error:?}");
        assert_eq!(error.name(), "cc");
        assert_eq!(
            error.path().map(Path::as_os_str),
            Some(OsStr::new(expected))
        );
    }

    #[test]
    fn first_usable_entry_wins() {
        let (found, asked) = look("cc", Some("/a:/b:/c"), &["/b/cc", "/c/cc"]);
        assert_eq!(found.unwrap(), Path::new("/b/cc"));
        assert_eq!(asked, [Path::new("/a/cc"), Path::new("/b/cc")]);
    }

    #[test]
    fn another_path_is_looked_through_from_the_directory_of_the_command() {
        let sh = Path::new("/bin/sh");
        assert_eq!(look_path_in("sh", "/no/such:/bin", "").unwrap(), sh);
        assert_eq!(look_path_in("sh", "/bin:bin", "/").unwrap(), sh);
        let error = look_path_in("sh", "bin:/bin", "/").unwrap_err();
        assert_eq!(error.path(), Some(Path::new("bin/sh")));
        assert_eq!(
            look_path_in("bin/sh", "", "/").unwrap(),
            Path::new("bin/sh")
        );
        for (name, path, dir) in [
            ("sh", "bin", "/bin"),
            ("sh", "", "/bin"),
            ("bin/sh", "/", "/bin"),
        ] {
            look_path_in(name, path, dir).unwrap_err();
        }
    }

    // Statement 11.
    #[test]
    fn empty_name_and_dots_are_not_found_and_not_tried() {
        for name in ["", ".", ".."] {
            let (found, asked) = look(
                name,
                Some("/a:."),
                &["/a/", "/a/.", "/a/..", "./", "./.", "./.."],
            );
            assert_not_found(found, name);
            assert!(asked.is_empty());
        }
    }

    // Statement 12.
    #[test]
    fn name_with_slash_is_checked_and_returned_unchanged() {
        for name in ["./cc", "dir//./cc", "/a/../cc", "../cc"] {
            let (found, asked) = look(name, Some("/a"), &[name]);
            assert_eq!(found.unwrap().as_os_str(), name);
            assert_eq!(asked.len(), 1);
        }
    }

    #[test]
    fn name_with_slash_that_fails_keeps_its_error() {
        let (found, asked) = look("dir/cc", Some("/a"), &["/a/dir/cc", "/a/cc"]);
        let error = found.unwrap_err();
        assert_eq!(asked, [Path::new("dir/cc")]);
        assert_eq!(error.name(), "dir/cc");
        assert_eq!(error.path(), None);
        assert_eq!(
            error.io_error().map(io::Error::kind),
            Some(io::ErrorKind::NotFound)
        );

        let (found, _) = look("/locked/cc", None, &[]);
        let LookPathError::Io { source, .. } = found.unwrap_err() else {
            panic!("not an Io error")
        };
        assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
    }

    // Statement 15.
    #[test]
    fn failures_of_entries_are_passed_over() {
        let (found, _) = look("cc", Some("/locked:/missing:/b"), &["/b/cc"]);
        assert_eq!(found.unwrap(), Path::new("/b/cc"));
        let (found, asked) = look("cc", Some("/locked:/missing"), &[]);
        assert_not_found(found, "cc");
        assert_eq!(asked.len(), 2);
    }

    // Statement 16.
    #[test]
    fn empty_or_unset_path_has_no_entries() {
        for path in [None, Some("")] {
            let (found, asked) = look("cc", path, &["cc", "./cc", "/cc"]);
            assert_not_found(found, "cc");
            assert!(asked.is_empty());
        }
    }

    #[test]
    fn empty_entry_means_the_current_directory() {
        for path in [":", ":/b", "/b:", "/b::/c"] {
            let (found, _) = look("cc", Some(path), &["./cc"]);
            assert_dot(found, "./cc");
        }
    }

    // Statement 17.
    #[test]
    fn relative_entry_is_refused_even_before_an_absolute_one() {
        let files = ["./cc", "../cc", "bin/cc", "./bin/cc", "/b/cc"];
        assert_dot(look("cc", Some(".:/b"), &files).0, "./cc");
        assert_dot(look("cc", Some("..:/b"), &files).0, "../cc");
        assert_dot(look("cc", Some("bin:/b"), &files).0, "bin/cc");
        assert_dot(look("cc", Some("./bin:/b"), &files).0, "./bin/cc");
    }

    #[test]
    fn relative_entry_counts_only_if_it_decides() {
        let (found, _) = look("cc", Some("/b:.:bin"), &["/b/cc", "./cc"]);
        assert_eq!(found.unwrap(), Path::new("/b/cc"));
        let (found, _) = look("cc", Some("bin::/b"), &["/b/cc"]);
        assert_eq!(found.unwrap(), Path::new("/b/cc"));
        assert_not_found(look("cc", Some("bin::"), &[]).0, "cc");
    }

    #[test]
    fn refused_path_is_accepted_when_it_is_named() {
        let files = ["./cc", "bin/cc"];
        for path in [".", "bin"] {
            let refused = look("cc", Some(path), &files).0.unwrap_err();
            let named = refused.path().and_then(Path::to_str).unwrap();
            assert_eq!(look(named, None, &files).0.unwrap(), Path::new(named));
        }
    }

    #[test]
    fn names_and_entries_that_are_not_text_are_found() {
        let mut usable = |candidate: &Path| match candidate.as_os_str().as_bytes() {
            b"/\xff/\xfe" => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let found = search(
            OsStr::from_bytes(b"\xfe"),
            Some(OsStr::from_bytes(b"/a:/\xff")),
            &mut usable,
        );
        assert_eq!(found.unwrap().as_os_str().as_bytes(), b"/\xff/\xfe");
    }

    #[test]
    fn messages_name_what_was_tried() {
        let message = |name, path, files| look(name, Some(path), files).0.unwrap_err().to_string();
        assert_eq!(
            message("cc", "/b", &[]),
            r#""cc": executable file not found in $PATH"#
        );
        let dot = message("cc", ".", &["./cc"]);
        assert!(
            dot.starts_with(r#""cc": "#)
                && dot.contains(r#""./cc""#)
                && dot.contains("Command::allow_dot"),
            "{dot}"
        );

        let failed_check = LookPathError::Io {
            name: "dir/cc".into(),
            source: io::Error::from_raw_os_error(2),
        };
        assert_eq!(
            failed_check.to_string(),
            r#""dir/cc": No such file or directory"#
        );
    }

    #[test]
    fn real_file_system_answers_by_slash() {
        assert_eq!(look_path("/bin/sh").unwrap(), Path::new("/bin/sh"));
        for name in ["/", "/bin/no-such-program", "/dev/null"] {
            assert!(
                matches!(look_path(name), Err(LookPathError::Io { .. })),
                "{name}"
            );
        }
    }
}
