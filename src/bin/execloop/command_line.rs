//! What a user writes: one line of a list of commands, and a duration. Pure functions.
//! Unaware of files, of processes and of time.

use std::time::Duration;

// The path, because a fuzz target takes in this file from elsewhere.
#[cfg(any(test, fuzzing))]
#[path = "command_line/fuzzing.rs"]
pub(crate) mod fuzzing;

/// A longer line is no command. The kernel's own limit for one argument is lower on Linux (128 KiB), and is reported by exec.
pub(crate) const LINE_BYTES_MAX: usize = 1024 * 1024;

/// A line that cannot be a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    /// No program can be given such a string.
    #[error("the line contains a NUL byte")]
    Nul,
    /// Longer than [`LINE_BYTES_MAX`].
    #[error("the line is longer than 1 MiB")]
    TooLong,
}

/// The command on one line of a list, which may end in a newline or in CRLF. `None` for a blank line and for a comment.
/// The command's bytes are the line's, blanks included.
pub(crate) fn parse_line(line: &[u8]) -> Option<Result<&[u8], LineError>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.trim_ascii_start().first() {
        Some(b'#') => None,
        _ if line.len() > LINE_BYTES_MAX => Some(Err(LineError::TooLong)),
        None => None,
        Some(_) if line.contains(&0) => Some(Err(LineError::Nul)),
        Some(_) => Some(Ok(line)),
    }
}

/// The text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    /// It is written in another way.
    #[error(
        "expected a number of seconds, or one with a unit, such as 500ms, 30s, 1.5m, 1h30m or 1d"
    )]
    Form,
    /// It is longer than can be represented.
    #[error("the duration is too long")]
    TooLong,
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// Digits behind the point that are read. All those after them are worth less than a nanosecond, whatever the unit.
const FRACTION_DIGITS_MAX: usize = 15;

/// What a number may be followed by, the longest first, and what it is worth.
const UNITS: [(&str, u128); 5] = [
    ("d", NANOS_PER_SECOND * 24 * 3600),
    ("h", NANOS_PER_SECOND * 3600),
    ("m", NANOS_PER_SECOND * 60),
    ("s", NANOS_PER_SECOND),
    ("ms", NANOS_PER_SECOND / 1000),
];

/// Reads `500ms`, `30s`, `1.5m`, `.5h`, `1d`, and several of them from the longest unit to the shortest: `1h30m`. One
/// number without a unit means seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let is_of_number = |character: char| character.is_ascii_digit() || character == '.';
    if !text.is_empty() && text.chars().all(is_of_number) {
        return whole_duration(parse_part(text, NANOS_PER_SECOND)?);
    }
    let (mut nanos, mut rest, mut units) = (0_u128, text, &UNITS[..]);
    loop {
        let unit_at = rest.find(|character| !is_of_number(character));
        let (number, tail) = rest.split_at(unit_at.ok_or(DurationError::Form)?);
        let (unit, tail) = tail.split_at(tail.find(is_of_number).unwrap_or(tail.len()));
        let at = units.iter().position(|(name, _)| *name == unit);
        let at = at.ok_or(DurationError::Form)?;
        nanos = nanos.saturating_add(parse_part(number, units[at].1)?);
        if tail.is_empty() {
            return whole_duration(nanos);
        }
        (rest, units) = (tail, &units[at + 1..]);
    }
}

/// One number of such units, in nanoseconds, or as many as can be counted: the form of all is looked at first.
fn parse_part(number: &str, nanos_per_unit: u128) -> Result<u128, DurationError> {
    let (whole, fraction) = match number.split_once('.') {
        Some(("", fraction)) => ("0", fraction),
        Some(parts) => parts,
        None => (number, "0"),
    };
    let is_number = |digits: &str| !digits.is_empty() && !digits.contains('.');
    if !is_number(whole) || !is_number(fraction) {
        return Err(DurationError::Form);
    }
    // These are digits, so all that can be wrong with them is their number.
    let whole: u128 = whole.parse().unwrap_or(u128::MAX);
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let parts: u64 = fraction.parse().map_err(|_| DurationError::Form)?;
    let parts_per_unit = 10_u128.pow(fraction.len() as u32);
    let nanos = u128::from(parts) * nanos_per_unit / parts_per_unit;
    Ok(whole.saturating_mul(nanos_per_unit).saturating_add(nanos))
}

fn whole_duration(nanos: u128) -> Result<Duration, DurationError> {
    let seconds = u64::try_from(nanos / NANOS_PER_SECOND).map_err(|_| DurationError::TooLong)?;
    Ok(Duration::new(seconds, (nanos % NANOS_PER_SECOND) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_its_line_without_the_line_end() {
        for line in ["echo a", "echo a\n", "echo a\r\n", "echo a\r"] {
            assert_eq!(parse_line(line.as_bytes()), Some(Ok(&b"echo a"[..])));
        }
        assert_eq!(parse_line(b" a # b \n"), Some(Ok(&b" a # b "[..])));
        assert_eq!(parse_line(b"\xff\xfe\n"), Some(Ok(&b"\xff\xfe"[..])));
        assert_eq!(parse_line(b"a\n\n"), Some(Ok(&b"a\n"[..])), "one end");
    }

    #[test]
    fn blank_lines_and_comments_are_no_commands() {
        for line in [
            "",
            "\n",
            "\r\n",
            " \t \n",
            "#",
            "# echo",
            " \t#echo\r\n",
            "#\0",
        ] {
            assert_eq!(parse_line(line.as_bytes()), None, "{line:?}");
        }
        let long_comment = [b"#", &[b' '; LINE_BYTES_MAX + 1][..]].concat();
        assert_eq!(parse_line(&long_comment), None);
    }

    #[test]
    fn a_line_that_no_program_can_be_given_is_an_error() {
        assert_eq!(parse_line(b"echo \0"), Some(Err(LineError::Nul)));
        let mut line = vec![b'a'; LINE_BYTES_MAX];
        line.extend_from_slice(b"\r\n");
        assert_eq!(parse_line(&line), Some(Ok(&line[..LINE_BYTES_MAX])));
        line.insert(0, b'a');
        assert_eq!(parse_line(&line), Some(Err(LineError::TooLong)));
        let blank = vec![b' '; LINE_BYTES_MAX + 1];
        assert_eq!(
            parse_line(&blank),
            Some(Err(LineError::TooLong)),
            "what is behind it is not known"
        );
    }

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        let cases = [
            ("500ms", Duration::from_millis(500)),
            ("30s", Duration::from_secs(30)),
            ("30", Duration::from_secs(30)),
            ("2m", Duration::from_secs(120)),
            ("1h", Duration::from_secs(3600)),
            ("1.5s", Duration::from_millis(1500)),
            ("0.5", Duration::from_millis(500)),
            ("0.25h", Duration::from_secs(900)),
            (".5", Duration::from_millis(500)),
            (".25h", Duration::from_secs(900)),
            ("1d", Duration::from_secs(86_400)),
            ("1.000000001s", Duration::new(1, 1)),
            ("0.0000000001s", Duration::ZERO),
            (
                "0.12345678901234567890m",
                Duration::from_nanos(7_407_407_340),
            ),
            ("007s", Duration::from_secs(7)),
            ("0", Duration::ZERO),
            ("1h30m", Duration::from_secs(5400)),
            ("1d2h3m4s5ms", Duration::from_millis(93_784_005)),
            ("1d.5h16.6m4s", Duration::from_secs(89_200)),
            ("18446744073709551615s", Duration::from_secs(u64::MAX)),
            (
                "18446744073709551616ms",
                Duration::new(18_446_744_073_709_551, 616_000_000),
            ),
        ];
        for (text, duration) in cases {
            assert_eq!(parse_duration(text), Ok(duration), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "", "s", "ms", ".", ".s", "..5", "5.", "5.s", "1.2.3s", "-1s", "+1s", "1 s", " 1s",
            "1s ", "1S", "1w", "1sec", "30m1h", "1m1m", "1h30", "1h 30m", "1hm", "h30m", "1h.m",
            "1e3", "inf", "nan", "0x10", "\u{663}s",
        ] {
            assert_eq!(parse_duration(text), Err(DurationError::Form), "{text:?}");
        }
        for text in [
            "18446744073709551616s",
            "18446744073709551615m",
            "99999999999999999999",
            "18446744073709551616000ms",
            "999999999999999999999999999999h",
            "9999999999999999999999999999999999999999",
            "18446744073709551615s1000ms",
            "3900000000000000000000000d3900000000000000000000000h",
        ] {
            assert_eq!(
                parse_duration(text),
                Err(DurationError::TooLong),
                "{text:?}"
            );
        }
    }
}
