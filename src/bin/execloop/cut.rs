//! Cuts a list into what one command is made of: a line, some arguments, or a block for its stdin.
//! Unaware of threads and of what becomes of it.

use std::io::{self, BufRead, Read};

use crate::command_line::{LINE_BYTES_MAX, LineError, parse_line};

/// So much is kept of a line that cannot be a command, to show it.
const FAULTY_BYTES_KEPT: usize = 1024;
/// A longer record ends the reading: it would have to be in memory.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How a list is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Commands, each with the separator behind it. Of lines, blank ones and comments are skipped, and a backslash at
    /// the end takes in the next.
    Commands { separator: u8 },
    /// Arguments, so many for a command.
    Arguments { separator: u8, max: usize },
    /// Bytes for stdin: at least so many, up to the end of a record.
    Block { separator: u8, bytes: usize },
    /// Bytes for stdin: so many records.
    Records { separator: u8, max: usize },
}

/// What one command is made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Of the line where it begins, from 1, with blank lines and comments counted.
    pub(crate) number: u64,
    /// The command, the arguments, or the bytes.
    pub(crate) values: Vec<Vec<u8>>,
    /// It cannot be run, and the last of `values` is no more than its beginning.
    pub(crate) fault: Option<LineError>,
}

/// Cuts one list.
#[derive(Debug)]
pub(crate) struct Cutter {
    cut: Cut,
    number: u64,
    /// The present line.
    bytes: Vec<u8>,
    /// The input has ended. It is not read again: a terminal would want its end once more.
    is_over: bool,
}

impl Cutter {
    pub(crate) fn new(cut: Cut) -> Cutter {
        Cutter {
            cut,
            number: 0,
            bytes: Vec::new(),
            is_over: false,
        }
    }

    /// The next item; `None` at the end of the list.
    pub(crate) fn next(&mut self, input: &mut impl BufRead) -> io::Result<Option<Item>> {
        if self.is_over {
            return Ok(None);
        }
        match self.cut {
            Cut::Commands { separator } => self.command(input, separator),
            Cut::Arguments { separator, max } => self.arguments(input, separator, max),
            Cut::Block { separator, bytes } => self.block(|read| {
                input.by_ref().take(bytes as u64).read_to_end(read)?;
                if read.len() < bytes {
                    return Ok(false);
                }
                Ok(read.ends_with(&[separator]) || read_record(input, separator, read)?)
            }),
            Cut::Records { separator, max } => self.block(|read| {
                for _ in 0..max {
                    if !read_record(input, separator, read)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }),
        }
    }

    fn command(&mut self, input: &mut impl BufRead, separator: u8) -> io::Result<Option<Item>> {
        loop {
            self.number += 1;
            let number = self.number;
            if !read_line(input, separator, &mut self.bytes)? {
                return Ok(None);
            }
            if separator != b'\n' {
                match argument(&self.bytes, separator) {
                    Ok([]) => continue,
                    Ok(text) => return Ok(Some(item(number, text, None))),
                    Err(fault) => return Ok(Some(item(number, &self.bytes, Some(fault)))),
                }
            }
            self.take_in_next(input)?;
            match parse_line(&self.bytes) {
                None => {}
                Some(Ok(text)) => return Ok(Some(item(number, text, None))),
                Some(Err(fault)) => {
                    let text = self.bytes.trim_ascii_end();
                    return Ok(Some(item(number, text, Some(fault))));
                }
            }
        }
    }

    /// A line that a backslash ends goes on with the next one.
    fn take_in_next(&mut self, input: &mut impl BufRead) -> io::Result<()> {
        let mut next = Vec::new();
        while goes_on(&self.bytes) {
            if !read_line(input, b'\n', &mut next)? {
                break;
            }
            self.number += 1;
            if self.bytes.ends_with(b"\r\n") {
                // Before a carriage return the backslash would mean that.
                self.bytes.truncate(self.bytes.len() - 2);
                self.bytes.push(b'\n');
            }
            if self.bytes.len() <= LINE_BYTES_MAX {
                self.bytes.append(&mut next);
            } else if !goes_on(&next) {
                break;
            }
        }
        Ok(())
    }

    fn arguments(
        &mut self,
        input: &mut impl BufRead,
        separator: u8,
        max: usize,
    ) -> io::Result<Option<Item>> {
        let mut values = Vec::new();
        let number = self.number + 1;
        while values.len() < max && !self.is_over {
            if !read_line(input, separator, &mut self.bytes)? {
                self.is_over = true;
                break;
            }
            let is_all = self.bytes.len() <= LINE_BYTES_MAX;
            self.is_over = is_all && !self.bytes.ends_with(&[separator]);
            self.number += 1;
            match argument(&self.bytes, separator) {
                Ok(text) => values.push(text.to_vec()),
                Err(fault) => {
                    let text = without_end(&self.bytes, separator);
                    let mut faulty = item(number, text, Some(fault));
                    values.append(&mut faulty.values);
                    return Ok(Some(Item { values, ..faulty }));
                }
            }
        }
        Ok((!values.is_empty()).then_some(Item {
            number,
            values,
            fault: None,
        }))
    }

    /// `read` appends to the block, and says whether the input may go on.
    fn block(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>) -> io::Result<bool>,
    ) -> io::Result<Option<Item>> {
        self.number += 1;
        let mut bytes = Vec::new();
        self.is_over = !read(&mut bytes)?;
        Ok((!bytes.is_empty()).then(|| Item {
            number: self.number,
            values: vec![bytes],
            fault: None,
        }))
    }
}

fn item(number: u64, text: &[u8], fault: Option<LineError>) -> Item {
    let kept = match fault {
        Some(_) => &text[..text.len().min(FAULTY_BYTES_KEPT)],
        None => text,
    };
    Item {
        number,
        values: vec![kept.to_vec()],
        fault,
    }
}

fn argument(bytes: &[u8], separator: u8) -> Result<&[u8], LineError> {
    let text = without_end(bytes, separator);
    if text.len() > LINE_BYTES_MAX {
        return Err(LineError::TooLong);
    }
    if text.contains(&0) {
        return Err(LineError::Nul);
    }
    Ok(text)
}

fn without_end(bytes: &[u8], separator: u8) -> &[u8] {
    bytes.strip_suffix(&[separator]).unwrap_or(bytes)
}

/// An odd number of backslashes ends the line, and it is no comment.
fn goes_on(line: &[u8]) -> bool {
    let Some(line) = line.strip_suffix(b"\n") else {
        return false;
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let backslashes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
    backslashes % 2 == 1 && line.trim_ascii_start().first() != Some(&b'#')
}

/// Reads one line in place of the last, but no more of it than shows that it is too long. `false`: the list is over.
pub(crate) fn read_line(
    input: &mut impl BufRead,
    separator: u8,
    line: &mut Vec<u8>,
) -> io::Result<bool> {
    // Room for CRLF.
    let bytes_max = LINE_BYTES_MAX + 2;
    line.clear();
    let read = input
        .by_ref()
        .take(bytes_max as u64)
        .read_until(separator, line)?;
    if read == bytes_max && !line.ends_with(&[separator]) {
        input.skip_until(separator)?;
    }
    Ok(read > 0)
}

/// Appends the rest of one record. `false`: the input has ended, perhaps within it.
fn read_record(input: &mut impl BufRead, separator: u8, to: &mut Vec<u8>) -> io::Result<bool> {
    let before = to.len();
    let mut input = input.by_ref().take(RECORD_BYTES_MAX as u64);
    let read = input.read_until(separator, to)?;
    let is_whole = read > 0 && to.ends_with(&[separator]);
    if to.len() - before == RECORD_BYTES_MAX && !is_whole {
        return Err(io::Error::other("a record is longer than 64 MiB"));
    }
    Ok(is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(cut: Cut, list: &[u8]) -> Vec<(u64, Vec<String>, Option<LineError>)> {
        let mut cutter = Cutter::new(cut);
        let mut input = io::BufReader::with_capacity(7, list);
        let mut items = Vec::new();
        while let Some(item) = cutter.next(&mut input).expect("a list") {
            let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
            items.push((
                item.number,
                item.values.iter().map(text).collect(),
                item.fault,
            ));
        }
        items
    }

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn a_backslash_takes_in_the_next_line_and_numbers_go_on_counting() {
        let list = b"a \\\n b\nc \\\\\nd \\\r\ne\r\n# f \\\ng\\";
        let expected = [(1, "a \\\n b"), (3, "c \\\\"), (4, "d \\\ne"), (7, "g\\")];
        let expected = expected.map(|(number, text)| (number, strings(&[text]), None));
        assert_eq!(items(Cut::Commands { separator: b'\n' }, list), expected);
    }

    #[test]
    fn a_line_of_many_lines_has_the_same_limit() {
        let mut list = b"a\\\n".repeat(LINE_BYTES_MAX / 2);
        list.extend_from_slice(b"b\nnext\n");
        let all = items(Cut::Commands { separator: b'\n' }, &list);
        let faults: Vec<_> = all.iter().map(|(_, _, fault)| *fault).collect();
        assert_eq!(faults, [Some(LineError::TooLong), None]);
        assert_eq!(all[1].0, LINE_BYTES_MAX as u64 / 2 + 2);
    }

    #[test]
    fn commands_and_arguments_may_end_in_nul() {
        let list = b"a\nb\0\0# c\0d";
        let commands = items(Cut::Commands { separator: 0 }, list);
        let expected = [(1, "a\nb"), (3, "# c"), (4, "d")];
        assert_eq!(
            commands,
            expected.map(|(number, text)| (number, strings(&[text]), None))
        );
        let cut = Cut::Arguments {
            separator: 0,
            max: 3,
        };
        let expected = [
            (1, strings(&["a\nb", "", "# c"]), None),
            (4, strings(&["d"]), None),
        ];
        assert_eq!(items(cut, list), expected);
    }

    #[test]
    fn an_argument_that_cannot_be_one_is_the_last_of_its_command() {
        let cut = Cut::Arguments {
            separator: b'\n',
            max: 2,
        };
        let expected = [
            (1, strings(&["a", "b\0"]), Some(LineError::Nul)),
            (3, strings(&["c"]), None),
        ];
        assert_eq!(items(cut, b"a\nb\0\nc"), expected);
    }

    #[test]
    fn blocks_end_where_a_record_ends_and_lose_no_byte() {
        let list: Vec<u8> = (0..1000_u32)
            .flat_map(|n| format!("{n}\n").into_bytes())
            .collect();
        for bytes in [1, 2, 3, 100, 4096] {
            let all = items(
                Cut::Block {
                    separator: b'\n',
                    bytes,
                },
                &list,
            );
            let texts: String = all
                .iter()
                .map(|(_, values, _)| values[0].as_str())
                .collect();
            assert_eq!(texts.as_bytes(), list);
            assert!(
                all.iter().all(|(_, values, _)| values[0].ends_with('\n')),
                "{bytes}"
            );
        }
        let all = items(
            Cut::Records {
                separator: b'\n',
                max: 2,
            },
            b"a\nb\nc",
        );
        assert_eq!(
            all,
            [(1, strings(&["a\nb\n"]), None), (2, strings(&["c"]), None)]
        );
    }

    /// A terminal: its end is read once, and to read on is a defect.
    struct Typed(&'static [u8], bool);

    impl Read for Typed {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer)?;
            assert!(read > 0 || !self.1, "read behind its end");
            self.1 |= read == 0;
            Ok(read)
        }
    }

    #[test]
    fn the_end_of_the_input_is_read_once() {
        let separator = b'\n';
        for max in [1, 2, 3, usize::MAX] {
            for cut in [
                Cut::Records { separator, max },
                Cut::Arguments { separator, max },
                Cut::Block {
                    separator,
                    bytes: max,
                },
            ] {
                for list in [&b"a\nb\nc\n"[..], b"a\nb\nc", b""] {
                    let mut cutter = Cutter::new(cut);
                    let mut input = io::BufReader::new(Typed(list, false));
                    let mut read = Vec::new();
                    while let Some(item) = cutter.next(&mut input).expect("a list") {
                        read.extend(item.values.concat());
                    }
                    read.retain(|byte| *byte != separator);
                    let expected = if list.is_empty() { "" } else { "abc" };
                    assert_eq!(String::from_utf8_lossy(&read), expected, "{cut:?}");
                }
            }
        }
    }

    #[test]
    fn a_record_without_end_is_an_error() {
        let endless = io::repeat(b'a').take(2 * RECORD_BYTES_MAX as u64);
        let cut = Cut::Records {
            separator: b'\n',
            max: 1,
        };
        let error = Cutter::new(cut).next(&mut io::BufReader::new(endless));
        assert_eq!(
            error.expect_err("too long").to_string(),
            "a record is longer than 64 MiB"
        );
    }
}
