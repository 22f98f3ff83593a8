//! Finds the program of a command in the `PATH` that the command gets, as a shell does for it.
//! Unaware of commands' arguments and of how they are run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use execloop::{Command, LookPathError, look_path, look_path_in};

/// Where execvp(3) looks in an environment without `PATH`: what confstr(3) has for it.
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// Where programs are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// `None`: in our own `PATH`.
    path: Option<OsString>,
    /// Where commands run: there are entries that are not absolute.
    dir: PathBuf,
}

impl Search {
    /// `env` is what commands have besides our own environment.
    pub(crate) fn new(env: &[(OsString, OsString)], dir: Option<&Path>) -> Search {
        let given = env.iter().rev().find(|(name, _)| name == "PATH");
        let given = given.map(|(_, path)| path.clone());
        let is_unset = std::env::var_os("PATH").is_none();
        Search {
            path: given.or_else(|| is_unset.then(|| PATH_DEFAULT.into())),
            dir: dir.map_or_else(PathBuf::new, Path::to_owned),
        }
    }

    /// A command that executes the program of this name.
    ///
    /// # Errors
    /// As [`find`](Search::find), but where the library finds out at the start.
    pub(crate) fn command(&self, name: &OsStr) -> Result<Command, LookPathError> {
        if self.path.is_none() {
            let mut command = Command::new(name);
            // As a shell has it, and execvp(3).
            command.allow_dot(true);
            return Ok(command);
        }
        let mut command = Command::new(self.find(name)?);
        command.arg0(name);
        Ok(command)
    }

    /// The path of a program to execute, also where an entry of that `PATH` is not absolute. A name with a slash is one, and
    /// is not looked at.
    ///
    /// # Errors
    /// When it is in no directory of that `PATH`.
    pub(crate) fn find(&self, name: &OsStr) -> Result<PathBuf, LookPathError> {
        if name.as_bytes().contains(&b'/') {
            return Ok(PathBuf::from(name));
        }
        let found = match &self.path {
            None => look_path(name),
            Some(path) => look_path_in(name, path, &self.dir),
        };
        match found {
            Err(LookPathError::Dot { path, .. }) => Ok(path),
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str, dir: Option<&str>, name: &str) -> Option<PathBuf> {
        let env = [("PATH", "/no/such"), ("PATH", path), ("HOME", "/bin")];
        let env = env.map(|(name, value)| (name.into(), value.into()));
        let search = Search::new(&env, dir.map(Path::new));
        search.find(OsStr::new(name)).ok()
    }

    #[test]
    fn the_last_path_given_is_where_a_program_is_looked_for() {
        let found = |path: &str| Some(PathBuf::from(path));
        assert_eq!(find("/no/such:/bin", None, "sh"), found("/bin/sh"));
        assert_eq!(find("/no/such", None, "sh"), None);
        assert_eq!(find("/no/such", None, "/any/sh"), found("/any/sh"));
        for name in ["", ".", ".."] {
            assert_eq!(find("/bin", None, name), None, "{name:?}");
        }
        // Where the command will run.
        assert_eq!(find("bin", Some("/"), "sh"), found("bin/sh"));
        assert_eq!(find(":", Some("/bin"), "sh"), found("./sh"));
        // As everywhere in the library, one that is empty has no entries.
        assert_eq!(find("", Some("/bin"), "sh"), None);
        assert_eq!(find("/no/such:", Some("/bin"), "sh"), found("./sh"));
        assert_eq!(find("bin", Some("/bin"), "sh"), None);
    }
}
