//! What became of the commands: counts, the failures' reasons, and how they are printed.
//! Unaware of how commands are run.

use std::fmt::Write as _;
use std::io::{self, Write};

/// So many failures are told; further ones are counted.
const FAILURES_TOLD_MAX: usize = 1000;
/// So much of a command is shown.
const COMMAND_CHARS_MAX: usize = 200;

#[derive(Debug, Default)]
pub(crate) struct Report {
    succeeded: u64,
    failed: u64,
    cancelled: u64,
    told: Vec<Failure>,
}

#[derive(Debug)]
struct Failure {
    line: u64,
    command: String,
    reason: String,
}

impl Report {
    pub(crate) fn succeeded(&mut self) {
        self.succeeded += 1;
    }

    /// One that was stopped because all were.
    pub(crate) fn cancelled(&mut self) {
        self.cancelled += 1;
    }

    /// `command` as [`printable`] gives it.
    pub(crate) fn failed(&mut self, line: u64, command: String, reason: String) {
        self.failed += 1;
        if self.told.len() < FAILURES_TOLD_MAX {
            self.told.push(Failure {
                line,
                command,
                reason,
            });
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.failed + self.cancelled == 0
    }

    /// A line for each failure, in the order of their lines, and one for those that are only counted.
    pub(crate) fn write_failures(&mut self, to: &mut impl Write) -> io::Result<()> {
        self.told.sort_by_key(|failure| failure.line);
        for Failure {
            line,
            command,
            reason,
        } in &self.told
        {
            writeln!(to, "failed: line {line}: {command}: {reason}")?;
        }
        match self.failed - self.told.len() as u64 {
            0 => Ok(()),
            more => writeln!(to, "failed: and {more} more"),
        }
    }

    /// `3 commands: 2 succeeded, 1 failed`, and `, 4 cancelled` behind it if there were any. Programs read this: keep it.
    pub(crate) fn summary(&self) -> String {
        let all = self.succeeded + self.failed + self.cancelled;
        let plural = if all == 1 { "" } else { "s" };
        let (succeeded, failed) = (self.succeeded, self.failed);
        let mut line = format!("{all} command{plural}: {succeeded} succeeded, {failed} failed");
        if self.cancelled > 0 {
            let _ = write!(line, ", {} cancelled", self.cancelled);
        }
        line
    }
}

/// A command for people and terminals: its beginning, with what a terminal would act upon, and what is no UTF-8, escaped.
pub(crate) fn printable(command: &[u8]) -> String {
    let mut text = String::new();
    let mut room = COMMAND_CHARS_MAX;
    for chunk in command.utf8_chunks() {
        for character in chunk.valid().chars() {
            if room == 0 {
                return text + "...";
            }
            room -= 1;
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            if room == 0 {
                return text + "...";
            }
            room -= 1;
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures_of(report: &mut Report) -> String {
        let mut text = Vec::new();
        report.write_failures(&mut text).expect("a vector");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn the_summary_has_one_form_and_names_the_cancelled_only_if_there_are_any() {
        let mut report = Report::default();
        assert_eq!(report.summary(), "0 commands: 0 succeeded, 0 failed");
        assert!(report.is_success());
        report.succeeded();
        assert_eq!(report.summary(), "1 command: 1 succeeded, 0 failed");
        report.failed(1, "false".to_owned(), "exit status 1".to_owned());
        assert_eq!(report.summary(), "2 commands: 1 succeeded, 1 failed");
        assert!(!report.is_success());
        report.cancelled();
        assert_eq!(
            report.summary(),
            "3 commands: 1 succeeded, 1 failed, 1 cancelled"
        );
    }

    #[test]
    fn one_that_was_only_cancelled_is_no_success() {
        let mut report = Report::default();
        report.cancelled();
        assert!(!report.is_success());
        assert_eq!(failures_of(&mut report), "");
    }

    #[test]
    fn failures_are_told_in_the_order_of_lines_and_beyond_the_limit_counted() {
        let mut report = Report::default();
        for line in (1..=FAILURES_TOLD_MAX as u64).rev() {
            report.failed(line, "c".to_owned(), "r".to_owned());
        }
        let text = failures_of(&mut report);
        assert!(text.starts_with("failed: line 1: c: r\nfailed: line 2: c: r\n"));
        assert!(text.ends_with("failed: line 1000: c: r\n"));
        for line in 0..7 {
            report.failed(2000 + line, "c".to_owned(), "r".to_owned());
        }
        let text = failures_of(&mut report);
        assert!(text.ends_with("failed: line 1000: c: r\nfailed: and 7 more\n"));
        assert_eq!(report.summary(), "1007 commands: 0 succeeded, 1007 failed");
    }

    #[test]
    fn a_command_is_shown_without_what_a_terminal_would_act_upon() {
        assert_eq!(printable("echo 'Grüße'".as_bytes()), "echo 'Grüße'");
        assert_eq!(
            printable(b"a\x1b[31m\tb\xff\xc3"),
            "a\\u{1b}[31m\\tb\\xff\\xc3"
        );
        let longest = "ä".repeat(COMMAND_CHARS_MAX);
        assert_eq!(printable(longest.as_bytes()), longest);
        let longer = longest.clone() + "b";
        assert_eq!(printable(longer.as_bytes()), longest + "...");
        assert_eq!(printable(&[0xff; 300]), "\\xff".repeat(200) + "...");
    }
}
