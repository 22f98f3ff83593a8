//! A command as a whole line for a shell, with its directory and what it changes of the environment.
//! Unaware of quoting (`plain`), and of who reads the line.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use super::Command;
use crate::plain::ShellWord;

/// Variables that some shell does not let one set for a command, or gives a value of its own.
const SHELLS_OWN: [&str; 16] = [
    "_",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "LINENO",
    "OPTIND",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SRANDOM",
    "UID",
];

impl Command {
    /// The command as a line that a POSIX shell takes, with its directory and what it changes of the environment: `cd
    /// DIR && NAME=value program argument`, by env(1) where variables are removed or the environment is replaced. What
    /// `Display` shows is its end.
    ///
    /// The program gets the same directory, arguments and variables, beside those that a shell exports by itself
    /// (`OLDPWD`, `SHLVL`, `_`), and but for inherited ones whose names it does not know, which some shells drop. The
    /// traps: it sees its path as its own name; streams, identity and limits are not part of the line, nor are entries
    /// of an environment without a `=`.
    ///
    /// ```
    /// use execloop::Command;
    /// let mut make = Command::new("/usr/bin/make");
    /// make.arg("all").current_dir("/tmp/it's").env("CFLAGS", "-O2 -g");
    /// assert_eq!(
    ///     make.shell_line().to_string(),
    ///     r"cd '/tmp/it'\''s' && CFLAGS='-O2 -g' /usr/bin/make all",
    /// );
    /// assert_eq!(make.to_string(), "/usr/bin/make all");
    /// make.env_remove("DISPLAY");
    /// assert_eq!(
    ///     make.current_dir("out").shell_line().to_string(),
    ///     "cd ./out && env -u DISPLAY 'CFLAGS=-O2 -g' /usr/bin/make all",
    /// );
    /// ```
    pub fn shell_line(&self) -> impl fmt::Display + '_ {
        ShellLine(self)
    }
}

struct ShellLine<'a>(&'a Command);

impl fmt::Display for ShellLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self.0;
        if let Some(directory) = command.get_current_dir() {
            write_cd(formatter, directory)?;
        }
        let is_inherited = command.environment.is_inherited();
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => set.push((name, value)),
                // In an environment of its own it is not there, and what is no name is nowhere.
                None if is_inherited && !name.is_empty() && !has_equals(name) => removed.push(name),
                None => {}
            }
        }
        if is_inherited && removed.is_empty() && set.iter().all(|(name, _)| is_settable(name)) {
            for (name, value) in set {
                let value = ShellWord::Argument(value);
                write!(formatter, "{}={value} ", name.to_string_lossy())?;
            }
        } else {
            formatter.write_str(if is_inherited { "env " } else { "env -i " })?;
            for name in removed {
                write!(formatter, "-u {} ", ShellWord::Argument(name))?;
            }
            if set
                .iter()
                .any(|(name, _)| name.as_bytes().starts_with(b"-"))
            {
                formatter.write_str("-- ")?;
            }
            for (name, value) in set {
                let entry = [name.as_bytes(), b"=", value.as_bytes()].concat();
                write!(
                    formatter,
                    "{} ",
                    ShellWord::Argument(OsStr::from_bytes(&entry))
                )?;
            }
            if has_equals(command.resolved_path().as_os_str()) {
                // It would be one more variable: behind a command that changes nothing it is none.
                formatter.write_str("nice -n 0 ")?;
            }
        }
        write!(formatter, "{command}")
    }
}

/// `cd` takes `-` for the last directory, and looks a relative one up in `CDPATH`; and unless it is told otherwise, it
/// takes `..` off the name, where the kernel follows a link first.
fn write_cd(formatter: &mut fmt::Formatter<'_>, directory: &Path) -> fmt::Result {
    let goes_up = directory
        .components()
        .any(|part| part == Component::ParentDir);
    let option = if goes_up { "-P " } else { "" };
    let is_plain = directory.is_absolute() || directory.as_os_str().is_empty();
    let prefix = if is_plain { "" } else { "./" };
    let directory = ShellWord::Argument(directory.as_os_str());
    write!(formatter, "cd {option}{prefix}{directory} && ")
}

fn has_equals(name: &OsStr) -> bool {
    name.as_bytes().contains(&b'=')
}

/// Every shell sets it for one command by `NAME=value`.
fn is_settable(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_shells = SHELLS_OWN.iter().any(|own| name == *own) || bytes.starts_with(b"BASH");
    !is_shells && bytes.iter().all(is_name) && !bytes.first().is_none_or(u8::is_ascii_digit)
}
