//! What a command was told, for those who ask: the getters of std, and what was found or refused.
//! Unaware of how it is started.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::Command;
use crate::context::Context;
use crate::env::{Snapshot, resolve};
use crate::lookpath::LookPathError;

impl Command {
    /// The program as it was given to [`new`](Command::new).
    pub fn get_program(&self) -> &OsStr {
        &self.program
    }

    /// The path that will be executed: what was given, or what was found for it in `PATH` (Go: `Cmd.Path`).
    pub fn resolved_path(&self) -> &Path {
        self.found.as_deref().unwrap_or(Path::new(&self.program))
    }

    /// Why the program was not found, or is refused, which the start would tell (Go: `Cmd.Err`).
    pub fn lookup_error(&self) -> Option<&LookPathError> {
        let refused = |error: &&LookPathError| {
            !(self.allows_dot && matches!(error, LookPathError::Dot { .. }))
        };
        self.lookup_error.as_deref().filter(refused)
    }

    /// The arguments after argument 0, in their order.
    pub fn get_args(&self) -> impl ExactSizeIterator<Item = &OsStr> {
        self.args.iter().map(OsString::as_os_str)
    }

    /// The variables that the command sets (`Some`) and removes (`None`), by name, each once. What it inherits is not
    /// among them: [`environment`](Command::environment) is the whole.
    pub fn get_envs(&self) -> impl Iterator<Item = (&OsStr, Option<&OsStr>)> {
        self.environment.variables().into_iter()
    }

    /// The environment that the program would get now, as entries `KEY=value`, with errors ignored (Go: `Cmd.Environ`).
    /// A start inherits variables as they were when its reactor first needed them, or this command was first started
    /// ([`refresh_environment`](crate::Reactor::refresh_environment)).
    pub fn environment(&self) -> Vec<OsString> {
        let (ours, pwd) = (Snapshot::take(), self.pwd().ok().flatten());
        let pwd = pwd.as_deref().map(Path::as_os_str);
        let (entries, _) = resolve(&ours, &self.environment, pwd);
        entries.into_iter().map(Cow::into_owned).collect()
    }

    /// The working directory, if one was set.
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The context, if one was given.
    pub fn get_context(&self) -> Option<&Context> {
        self.context.as_ref()
    }
}
