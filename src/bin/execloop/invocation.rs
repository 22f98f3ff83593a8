//! What the words behind `execloop run` mean: a list's file, or a command and where its arguments come from.
//! Unaware of files' contents and of other flags.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::template;

/// Where items come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// `:::`
    Values(Vec<Vec<u8>>),
    /// `::::` and `-a`; `-` is stdin.
    File(PathBuf),
}

impl Input {
    pub(crate) fn stdin() -> Input {
        Input::File(PathBuf::from("-"))
    }
}

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// The command with its places; empty where the items are commands themselves.
    pub(crate) command: Vec<Vec<u8>>,
    /// At least one.
    pub(crate) inputs: Vec<Input>,
}

impl Invocation {
    /// `files` are those of `-a`. `wants_command`: other flags say that the words are a command.
    pub(crate) fn new(
        words: Vec<OsString>,
        files: Vec<PathBuf>,
        wants_command: bool,
    ) -> Invocation {
        let mut command = Vec::new();
        let mut inputs: Vec<Input> = files.into_iter().map(Input::File).collect();
        let mut words = words.into_iter().map(OsString::into_vec).peekable();
        while let Some(word) = words.next_if(|word| !is_mark(word)) {
            command.push(word);
        }
        while let Some(mark) = words.next() {
            let mut values = Vec::new();
            while let Some(word) = words.next_if(|word| !is_mark(word)) {
                values.push(word);
            }
            if mark == b":::" {
                inputs.push(Input::Values(values));
            } else {
                let file = |value| Input::File(PathBuf::from(OsString::from_vec(value)));
                inputs.extend(values.into_iter().map(file));
            }
        }
        if !inputs.is_empty() {
            return Invocation { command, inputs };
        }
        let is_file = match &command[..] {
            [] => {
                return Invocation {
                    command,
                    inputs: vec![Input::stdin()],
                };
            }
            [word] => !wants_command && !template::has_place(word),
            _ => false,
        };
        if is_file {
            let file = PathBuf::from(OsString::from_vec(command.remove(0)));
            return Invocation {
                command,
                inputs: vec![Input::File(file)],
            };
        }
        Invocation {
            command,
            inputs: vec![Input::stdin()],
        }
    }
}

fn is_mark(word: &[u8]) -> bool {
    word == b":::" || word == b"::::"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str, files: &[&str], wants_command: bool) -> (String, Vec<Input>) {
        let words = line.split_whitespace().map(OsString::from).collect();
        let files = files.iter().map(PathBuf::from).collect();
        let invocation = Invocation::new(words, files, wants_command);
        let command = String::from_utf8(invocation.command.join(&b' ')).expect("text");
        (command, invocation.inputs)
    }

    fn file(name: &str) -> Input {
        Input::File(PathBuf::from(name))
    }

    fn values(values: &[&str]) -> Input {
        Input::Values(
            values
                .iter()
                .map(|value| value.as_bytes().to_vec())
                .collect(),
        )
    }

    #[test]
    fn one_word_alone_is_the_list_and_more_are_a_command() {
        let cases = [
            ("", "", file("-")),
            ("-", "", file("-")),
            ("list", "", file("list")),
            ("gzip -t", "gzip -t", file("-")),
            ("gzip{}", "gzip{}", file("-")),
            ("gzip -t {}", "gzip -t {}", file("-")),
        ];
        for (line, command, input) in cases {
            assert_eq!(
                of(line, &[], false),
                (command.to_owned(), vec![input]),
                "{line}"
            );
        }
        assert_eq!(of("gzip", &[], true), ("gzip".to_owned(), vec![file("-")]));
        assert_eq!(
            of("gzip", &["a"], false),
            ("gzip".to_owned(), vec![file("a")])
        );
    }

    #[test]
    fn marks_begin_arguments_and_files_of_them() {
        let (command, inputs) = of("ls ::: a b :::: f g ::: c", &[], false);
        assert_eq!(command, "ls");
        assert_eq!(
            inputs,
            [values(&["a", "b"]), file("f"), file("g"), values(&["c"])]
        );
        assert_eq!(
            of("::: a", &[], false),
            (String::new(), vec![values(&["a"])])
        );
        assert_eq!(
            of("ls :::", &[], false),
            ("ls".to_owned(), vec![values(&[])])
        );
    }
}
