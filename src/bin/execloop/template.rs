//! A command with places for arguments, as GNU parallel writes them: `gzip -t {}`.
//! Unaware of where the arguments come from and of how the command is run.

use crate::filling::{Line, Reader};

/// What is put in place of one `{..}`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    /// `{}`, `{.}`, `{2/}` ..: an argument, or a part of it. Without a number, every one of them.
    Argument(Option<usize>, Part),
    /// `{#}`
    Sequence,
    /// `{%}`
    Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// `{}`
    Whole,
    /// `{.}`: without the extension.
    Stem,
    /// `{/}`: without the directory.
    Base,
    /// `{//}`: the directory.
    Directory,
    /// `{/.}`: without directory and extension.
    BaseStem,
}

/// Where a command runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    /// `{#}`, from 1.
    pub(crate) sequence: u64,
    /// `{%}`, from 1.
    pub(crate) slot: usize,
}

/// Words with places in them.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    words: Vec<Vec<Piece>>,
}

impl Template {
    /// Without a place for arguments among the words, there is one behind them. Where there are no arguments at all, their places
    /// are text: programs of perl and awk have braces.
    pub(crate) fn new(words: &[Vec<u8>], takes_arguments: bool) -> Template {
        let pieces = |word: &Vec<u8>| pieces(word, takes_arguments);
        let mut words: Vec<Vec<Piece>> = words.iter().map(pieces).collect();
        let is_argument = |piece: &Piece| matches!(piece, Piece::Argument(..));
        if takes_arguments && !words.iter().flatten().any(is_argument) {
            words.push(vec![Piece::Argument(None, Part::Whole)]);
        }
        Template { words }
    }

    /// The largest number of a place, as in `{2}`.
    pub(crate) fn number_max(&self) -> usize {
        let number = |piece: &Piece| match piece {
            Piece::Argument(number, _) => *number,
            _ => None,
        };
        self.words
            .iter()
            .flatten()
            .filter_map(number)
            .max()
            .unwrap_or(0)
    }

    /// The words with everything in its place. One that has a place without a number is there once for each argument.
    pub(crate) fn words(&self, arguments: &[Vec<u8>], position: Position) -> Vec<Vec<u8>> {
        let mut words = Vec::with_capacity(self.words.len() + arguments.len());
        for word in &self.words {
            let is_for_each = |piece: &Piece| matches!(piece, Piece::Argument(None, _));
            let times = if word.iter().any(is_for_each) {
                arguments.len()
            } else {
                1
            };
            for at in 0..times {
                let mut text = Vec::new();
                for piece in word {
                    text.extend_from_slice(&filled(piece, arguments, at, position));
                }
                words.push(text);
            }
        }
        words
    }

    /// A line for this reader, the words joined by blanks, in which each argument is what it is, also within quotes.
    ///
    /// # Errors
    /// In words, where one would not be.
    pub(crate) fn line(
        &self,
        arguments: &[Vec<u8>],
        position: Position,
        reader: Reader,
    ) -> Result<Vec<u8>, &'static str> {
        let mut line = Line::new(reader);
        for (at, word) in self.words.iter().enumerate() {
            if at > 0 {
                line.push_text(b" ");
            }
            for piece in word {
                match piece {
                    Piece::Text(text) => line.push_text(text),
                    Piece::Argument(None, part) => {
                        line.push_arguments(arguments.iter().map(|argument| part.of(argument)))?;
                    }
                    Piece::Argument(..) => {
                        line.push_arguments([&filled(piece, arguments, 0, position)[..]])?;
                    }
                    Piece::Sequence | Piece::Slot => {
                        line.push_number(&filled(piece, arguments, 0, position));
                    }
                }
            }
        }
        Ok(line.into_bytes())
    }
}

fn filled(piece: &Piece, arguments: &[Vec<u8>], at: usize, position: Position) -> Vec<u8> {
    match piece {
        Piece::Text(text) => text.clone(),
        Piece::Argument(number, part) => {
            let at = number.map_or(at, |number| number - 1);
            let argument = arguments.get(at).map_or(&b""[..], Vec::as_slice);
            part.of(argument).to_vec()
        }
        Piece::Sequence => position.sequence.to_string().into_bytes(),
        Piece::Slot => position.slot.to_string().into_bytes(),
    }
}

/// There is a place for an argument in it.
pub(crate) fn has_place(word: &[u8]) -> bool {
    pieces(word, true)
        .iter()
        .any(|piece| !matches!(piece, Piece::Text(_)))
}

fn pieces(word: &[u8], takes_arguments: bool) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = word;
    while let Some(byte) = rest.first() {
        let is_wanted =
            |(piece, _): &(Piece, usize)| takes_arguments || !matches!(piece, Piece::Argument(..));
        match first_place(rest).filter(is_wanted) {
            Some((piece, end)) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
                rest = &rest[end + 1..];
            }
            None => {
                text.push(*byte);
                rest = &rest[1..];
            }
        }
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// The place that the text begins with, and where its brace is closed.
fn first_place(text: &[u8]) -> Option<(Piece, usize)> {
    let inside = text.strip_prefix(b"{")?;
    // No place has a brace in it, so that nothing is looked at two times.
    let end = inside.iter().position(|byte| b"{}".contains(byte))?;
    let inside = inside[..end + 1].strip_suffix(b"}")?;
    Some((place(inside)?, end + 1))
}

/// What stands between the braces, if it is a place.
fn place(inside: &[u8]) -> Option<Piece> {
    match inside {
        b"#" => return Some(Piece::Sequence),
        b"%" => return Some(Piece::Slot),
        _ => {}
    }
    let digits = inside
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, part) = inside.split_at(digits);
    let number = match std::str::from_utf8(number).ok()? {
        "" => None,
        number => Some(number.parse().ok().filter(|number| *number > 0)?),
    };
    let part = match part {
        b"" => Part::Whole,
        b"." => Part::Stem,
        b"/" => Part::Base,
        b"//" => Part::Directory,
        b"/." => Part::BaseStem,
        _ => return None,
    };
    Some(Piece::Argument(number, part))
}

impl Part {
    fn of(self, argument: &[u8]) -> &[u8] {
        match self {
            Part::Whole => argument,
            Part::Stem => stem(argument),
            Part::Base => base(argument),
            Part::Directory => directory(argument),
            Part::BaseStem => stem(base(argument)),
        }
    }
}

fn base(argument: &[u8]) -> &[u8] {
    argument
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or(argument)
}

/// Without what follows the last dot of the last component, unless that is a directory's `.` or `..`.
fn stem(argument: &[u8]) -> &[u8] {
    let name = base(argument);
    if matches!(name, b"." | b"..") {
        return argument;
    }
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) => &argument[..argument.len() - name.len() + dot],
        None => argument,
    }
}

/// As dirname(1) has it.
fn directory(argument: &[u8]) -> &[u8] {
    let end = |bytes: &[u8]| {
        bytes
            .iter()
            .rposition(|byte| *byte != b'/')
            .map_or(0, |at| at + 1)
    };
    let trimmed = &argument[..end(argument)];
    match trimmed.iter().rposition(|byte| *byte == b'/') {
        None if trimmed.is_empty() && !argument.is_empty() => b"/",
        None => b".",
        Some(slash) => match &trimmed[..end(&trimmed[..slash])] {
            b"" => b"/",
            directory => directory,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Position = Position {
        sequence: 7,
        slot: 3,
    };

    fn bytes(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    fn filled(words: &[&str], arguments: &[&str]) -> Vec<String> {
        let template = Template::new(&bytes(words), true);
        let words = template.words(&bytes(arguments), HERE);
        words
            .into_iter()
            .map(|word| String::from_utf8(word).expect("text"))
            .collect()
    }

    #[test]
    fn each_place_has_its_part_of_the_argument() {
        let words = ["{}", "{.}", "{/}", "{//}", "{/.}", "{#}", "{%}", "a{}b{.}"];
        assert_eq!(
            filled(&words, &["/d.e/f.tar.gz"]),
            [
                "/d.e/f.tar.gz",
                "/d.e/f.tar",
                "f.tar.gz",
                "/d.e",
                "f.tar",
                "7",
                "3",
                "a/d.e/f.tar.gzb/d.e/f.tar"
            ]
        );
        assert_eq!(
            filled(&words[..5], &["/d.e/f"]),
            ["/d.e/f", "/d.e/f", "f", "/d.e", "f"]
        );
        assert_eq!(filled(&words[..5], &["f.c"]), ["f.c", "f", "f.c", ".", "f"]);
        for argument in [".", "..", "a/..", "/d.e/."] {
            assert_eq!(filled(&["{.}"], &[argument]), [argument]);
        }
        assert_eq!(filled(&["{.}", "{/.}"], &["a/..."]), ["a/..", ".."]);
        assert_eq!(filled(&["{/.}"], &["a/.."]), [".."]);
        assert_eq!(filled(&["{//}"], &["/f"]), ["/"]);
        assert_eq!(filled(&["{//}"], &["a//b/"]), ["a"]);
    }

    #[test]
    fn without_a_place_arguments_come_last_and_other_braces_are_text() {
        assert_eq!(filled(&["cksum"], &["a"]), ["cksum", "a"]);
        assert_eq!(filled(&["cksum", "{#}"], &["a"]), ["cksum", "7", "a"]);
        assert_eq!(
            filled(&["{a}", "{", "}", "{{}}", "{0}", "{ }", ""], &["x"]),
            ["{a}", "{", "}", "{x}", "{0}", "{ }", ""]
        );
    }

    #[test]
    fn where_there_are_no_arguments_their_places_are_text() {
        let words = ["{}", "{.}{/}", "{2}", "a{{}}", "{#}{%}{}"];
        let template = Template::new(&bytes(&words), false);
        assert_eq!(
            template.words(&[], HERE),
            bytes(&["{}", "{.}{/}", "{2}", "a{{}}", "73{}"])
        );
        assert_eq!(template.number_max(), 0);
        let line = Template::new(&bytes(&["awk '{}END{print NR}'"]), false);
        assert_eq!(
            line.line(&[], HERE, Reader::Shell),
            Ok(b"awk '{}END{print NR}'".to_vec())
        );
    }

    #[test]
    fn of_several_arguments_each_has_its_word_and_numbers_choose() {
        assert_eq!(filled(&["ls", "{}"], &["a", "b c"]), ["ls", "a", "b c"]);
        assert_eq!(
            filled(&["ls", "-I{.}"], &["a.x", "b"]),
            ["ls", "-Ia", "-Ib"]
        );
        assert_eq!(
            filled(&["mv", "{2}", "{1.}"], &["a.x", "b"]),
            ["mv", "b", "a"]
        );
        assert_eq!(filled(&["ls", "{3}"], &["a", "b"]), ["ls", ""]);
        assert_eq!(
            Template::new(&bytes(&["{}", "{2}{12.}"]), true).number_max(),
            12
        );
    }

    #[test]
    fn in_a_line_of_shell_arguments_are_quoted_and_the_rest_is_not() {
        let template = Template::new(&bytes(&["gzip -t {} && echo {#}"]), true);
        let line = template.line(&bytes(&["it's", "b"]), HERE, Reader::Shell);
        assert_eq!(
            String::from_utf8(line.expect("a line")).expect("text"),
            "gzip -t 'it'\\''s' b && echo 7"
        );
    }

    #[test]
    fn a_long_text_takes_no_more_than_its_length() {
        // Its square would take hours.
        const LENGTH: usize = 1_000_000;
        for text in ["x", "{", "{0", "{1{"] {
            let word = text.repeat(LENGTH) + "{}";
            assert_eq!(filled(&[&word], &["a"]), [text.repeat(LENGTH) + "a"]);
        }
    }
}
