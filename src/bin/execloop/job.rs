//! What one item is run as: a program with arguments, or a line of shell.
//! Unaware of processes.

use crate::filling::Reader;
use crate::template::{Position, Template};
use crate::words;

/// How commands are made of items.
#[derive(Clone, Debug)]
pub(crate) enum Recipe {
    /// Each item is a command.
    Lines(Manner),
    /// Each item's values are put into words.
    Words(Template),
    /// Each item's values are put into a line of shell.
    Line(Template, Manner),
}

/// Whether a line goes to a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Where one is needed.
    Either,
    Shell,
    /// Never: a line is cut at blanks, with quotes and backslashes.
    Argv,
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// By `/bin/sh -c`.
    Shell(Vec<u8>),
    Program(Vec<Vec<u8>>),
}

/// What is executed, and its text for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) text: Vec<u8>,
}

impl Task {
    /// The task of an item that cannot be run, for messages alone.
    pub(crate) fn faulty(values: &[Vec<u8>]) -> Task {
        Task {
            work: Work::Program(Vec::new()),
            text: values.join(&b' '),
        }
    }
}

impl Recipe {
    /// Messages call items lines of a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self, Recipe::Lines(_))
    }

    /// # Errors
    /// In words, if the line cannot be cut, or an argument cannot be put into it.
    pub(crate) fn task(
        &self,
        values: &[Vec<u8>],
        position: Position,
    ) -> Result<Task, &'static str> {
        let (line, manner) = match self {
            Recipe::Lines(manner) => (values.concat(), *manner),
            Recipe::Line(template, manner) => {
                let reader = match manner {
                    Manner::Either | Manner::Shell => Reader::Shell,
                    Manner::Argv => Reader::Cutter,
                };
                (template.line(values, position, reader)?, *manner)
            }
            Recipe::Words(template) => {
                let words = template.words(values, position);
                let text = words::joined(&words);
                return Ok(Task {
                    work: Work::Program(words),
                    text,
                });
            }
        };
        let words = match manner {
            Manner::Shell => None,
            Manner::Either => words::plain_words(&line),
            Manner::Argv => Some(words::quoted_words(&line)?),
        };
        Ok(Task {
            work: words.map_or_else(|| Work::Shell(line.clone()), Work::Program),
            text: line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Position = Position {
        sequence: 1,
        slot: 1,
    };

    fn work(recipe: &Recipe, value: &str) -> Work {
        let task = recipe.task(&[value.as_bytes().to_vec()], HERE);
        task.expect("a task").work
    }

    fn program(words: &[&str]) -> Work {
        Work::Program(words.iter().map(|word| word.as_bytes().to_vec()).collect())
    }

    #[test]
    fn a_line_goes_to_a_shell_where_it_needs_one_or_by_hand() {
        let shell = |line: &str| Work::Shell(line.as_bytes().to_vec());
        let either = Recipe::Lines(Manner::Either);
        assert_eq!(work(&either, "ls 'a b'"), program(&["ls", "a b"]));
        assert_eq!(work(&either, "ls *"), shell("ls *"));
        assert_eq!(work(&Recipe::Lines(Manner::Shell), "ls a"), shell("ls a"));
        assert_eq!(
            work(&Recipe::Lines(Manner::Argv), "ls *"),
            program(&["ls", "*"])
        );
        let refused = Recipe::Lines(Manner::Argv).task(&[b"ls '".to_vec()], HERE);
        assert_eq!(refused, Err("a quote is not closed"));
    }

    #[test]
    fn words_are_executed_as_they_are_and_a_line_is_looked_at() {
        let words: Vec<Vec<u8>> = ["echo", "{};"].map(|word| word.as_bytes().to_vec()).into();
        let recipe = Recipe::Words(Template::new(&words, true));
        assert_eq!(work(&recipe, "$x"), program(&["echo", "$x;"]));
        let line = Template::new(&[b"ls {} > {}.o".to_vec()], true);
        let work_of_line = work(&Recipe::Line(line, Manner::Either), "a b");
        assert_eq!(work_of_line, Work::Shell(b"ls 'a b' > 'a b'.o".to_vec()));
        let line = Template::new(&[b"ls -l {}".to_vec()], true);
        assert_eq!(
            work(&Recipe::Line(line, Manner::Either), "$x y"),
            program(&["ls", "-l", "$x y"])
        );
    }
}
