//! What `MAKEFLAGS` says of a jobserver, read and written.
//! Unaware of pipes and of files.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Where a jobserver is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    Fifo(PathBuf),
    /// The numbers of the reading and of the writing end.
    Pipe(i32, i32),
    /// Something else, for another system perhaps.
    Other(String),
}

impl fmt::Display for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auth::Fifo(path) => write!(formatter, "fifo:{}", path.display()),
            Auth::Pipe(read, write) => write!(formatter, "{read},{write}"),
            Auth::Other(text) => write!(formatter, "{text:?}"),
        }
    }
}

/// Options, and what stands behind ` -- `: variables, as they are.
fn split(flags: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut words = Vec::new();
    let mut rest = flags;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b' ');
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        if word == b"--" {
            return (words, rest);
        }
        if !word.is_empty() {
            words.push(word);
        }
        rest = after.get(1..).unwrap_or(&[]);
    }
    (words, rest)
}

/// make says `--jobserver-auth` since 4.2, and said `--jobserver-fds` before.
fn auth_value(word: &[u8]) -> Option<&[u8]> {
    word.strip_prefix(b"--jobserver-auth=")
        .or_else(|| word.strip_prefix(b"--jobserver-fds="))
}

/// The jobserver that is named, the last if there are several, as make itself has it.
pub(super) fn auth(flags: &[u8]) -> Option<Auth> {
    let value = split(flags).0.into_iter().rev().find_map(auth_value)?;
    if let Some(path) = value.strip_prefix(b"fifo:") {
        return Some(Auth::Fifo(OsString::from_vec(path.to_vec()).into()));
    }
    let text = String::from_utf8_lossy(value);
    let number = |text: &str| text.parse().ok();
    let pipe = text
        .split_once(',')
        .and_then(|(read, write)| Some((number(read)?, number(write)?)));
    Some(match pipe {
        Some((read, write)) => Auth::Pipe(read, write),
        None => Auth::Other(text.into_owned()),
    })
}

fn is_jobs(word: &[u8]) -> bool {
    let number = word
        .strip_prefix(b"-j")
        .or_else(|| word.strip_prefix(b"--jobs="));
    word == b"--jobs" || number.is_some_and(|number| number.iter().all(u8::is_ascii_digit))
}

/// The word that says how many jobs there may be.
pub(super) fn jobs(flags: &[u8]) -> Option<String> {
    let (words, _) = split(flags);
    let word = words.into_iter().rev().find(|word| is_jobs(word))?;
    Some(String::from_utf8_lossy(word).into_owned())
}

/// The same flags, with this jobserver and no other.
pub(super) fn with(flags: &[u8], jobs: &str, auth: &[u8]) -> Vec<u8> {
    let (words, variables) = split(flags);
    let mut new = Vec::new();
    for word in words {
        if !is_jobs(word) && auth_value(word).is_none() {
            // Letters without a dash stand first, and a blank in front means that there are none.
            new.extend_from_slice(word);
            new.push(b' ');
        }
    }
    if new.is_empty() {
        new.push(b' ');
    }
    new.extend_from_slice(jobs.as_bytes());
    new.extend_from_slice(b" --jobserver-auth=");
    new.extend_from_slice(auth);
    if !variables.is_empty() {
        new.push(b' ');
        new.extend_from_slice(variables);
    }
    new
}

/// It stands for itself in `MAKEFLAGS`, which is cut at blanks and has quotes, variables and a rest behind `--`.
pub(super) fn is_plain(name: &OsStr) -> bool {
    let is_plain =
        |byte: &u8| byte.is_ascii_graphic() && !b"\\$'\"#".contains(byte) || *byte >= 0x80;
    name.as_bytes().iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_jobserver_of_the_options_counts() {
        let fifo = |path: &str| Some(Auth::Fifo(path.into()));
        for (flags, expected) in [
            ("", None),
            ("k -j4", None),
            (" -j4 --jobserver-auth=3,4", Some(Auth::Pipe(3, 4))),
            ("w --jobserver-fds=5,6 -j", Some(Auth::Pipe(5, 6))),
            ("--jobserver-auth=fifo:/tmp/f -j2", fifo("/tmp/f")),
            ("--jobserver-auth=3,4 --jobserver-auth=fifo:/f", fifo("/f")),
            (" -j1 -- X=--jobserver-auth=3,4", None),
            (" -j1 -- --jobserver-auth=3,4", None),
            ("--jobserver-auth=-2,-2", Some(Auth::Pipe(-2, -2))),
            ("--jobserver-auth=3,", Some(Auth::Other("3,".to_owned()))),
            ("--jobserver-auth=sem", Some(Auth::Other("sem".to_owned()))),
            ("--jobserver-auth=", Some(Auth::Other(String::new()))),
        ] {
            assert_eq!(auth(flags.as_bytes()), expected, "{flags:?}");
        }
    }

    #[test]
    fn other_flags_and_variables_stay_and_the_jobserver_is_named_once() {
        for (flags, expected) in [
            ("", " -j8 --jobserver-auth=8,9"),
            ("k", "k -j8 --jobserver-auth=8,9"),
            (
                "ks -j4 --jobserver-auth=3,4 --jobserver-fds=3,4 -l2",
                "ks -l2 -j8 --jobserver-auth=8,9",
            ),
            (
                " --jobs=3 -j --no-print-directory -- A=b\\  C=-j4",
                "--no-print-directory -j8 --jobserver-auth=8,9 -- A=b\\  C=-j4",
            ),
            ("-jump --jobs", "-jump -j8 --jobserver-auth=8,9"),
        ] {
            let flags = with(flags.as_bytes(), "-j8", b"8,9");
            assert_eq!(String::from_utf8_lossy(&flags), expected);
            assert_eq!(auth(&flags), Some(Auth::Pipe(8, 9)));
        }
        assert_eq!(jobs(b"k -j4 -j7 -- -j9").as_deref(), Some("-j7"));
        assert_eq!(jobs(b"k"), None);
    }

    #[test]
    fn a_name_that_make_would_cut_or_change_is_not_plain() {
        for name in ["/tmp", "/tmp/x=1", "/t\u{e4}"] {
            assert!(is_plain(OsStr::new(name)), "{name}");
        }
        for name in ["/a b", "/$HOME", "/a\\b", "/a\tb", "/'a'"] {
            assert!(!is_plain(OsStr::new(name)), "{name}");
        }
    }
}
