//! What the fuzz target `command_line` does with the bytes it gets: both functions against naive readers.
//! Unaware of who chose the bytes: `fuzz/` hands in new ones, and `cargo test` those that are kept in `fuzz/corpus/`.

use std::time::Duration;

use super::{DurationError, LINE_BYTES_MAX, LineError, parse_duration, parse_line};

/// Reads the bytes as a line and, if they are text, as a duration.
///
/// The first byte says whether the line is lengthened, as no fuzzer tries a line of a megabyte.
pub(crate) fn command_line(data: &[u8]) {
    let Some((shape, data)) = data.split_first() else {
        return;
    };
    match shape {
        // Short ones alone: a megabyte takes milliseconds.
        251.. if data.len() <= 4 => {
            // Around the limit: up to two bytes below it or above, with the line's end or without.
            let padding = LINE_BYTES_MAX + usize::from(*shape) - 253 - data.len();
            check_line(&[data, &vec![b' '; padding]].concat());
            check_line(&[&vec![b'x'; padding], data].concat());
        }
        _ => check_line(data),
    }
    if let Ok(text) = std::str::from_utf8(data) {
        check_duration(text);
    }
}

fn check_line(line: &[u8]) {
    let mut command = line.to_vec();
    if command.ends_with(b"\r\n") {
        command.truncate(command.len() - 2);
    } else if command.ends_with(b"\n") || command.ends_with(b"\r") {
        command.pop();
    }
    let mut visible = command.clone();
    visible.retain(|byte| !b" \t\n\r\x0c".contains(byte));
    let expected = if visible.first() == Some(&b'#') {
        None
    } else if command.len() > LINE_BYTES_MAX {
        Some(Err(LineError::TooLong))
    } else if visible.is_empty() {
        None
    } else if visible.contains(&0) {
        Some(Err(LineError::Nul))
    } else {
        Some(Ok(command.as_slice()))
    };
    // Not `assert_eq`: a megabyte is no message.
    assert!(parse_line(line) == expected, "line of {} bytes", line.len());
}

/// Fraction digits that the naive reader can follow in 128 bits: 10^24 days in nanoseconds.
const DIGITS_MAX: usize = 24;

fn check_duration(text: &str) {
    let found = parse_duration(text);
    let Some(parts) = split_duration(text) else {
        assert_eq!(found, Err(DurationError::Form), "{text:?}");
        return;
    };
    let nanos: u128 = parts.iter().map(nanos).sum();
    let seconds = nanos / 1_000_000_000;
    let Ok(seconds) = u64::try_from(seconds) else {
        assert_eq!(found, Err(DurationError::TooLong), "{text:?}");
        return;
    };
    let expected = Duration::new(seconds, (nanos % 1_000_000_000) as u32);
    let found = found.unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert!(found <= expected, "{text:?}: {found:?}, {expected:?}");
    // Digits that are ignored may be worth a nanosecond, when they are what makes it whole.
    let longer = parts.iter().filter(|part| part.fraction.len() > 15);
    assert!(
        expected - found <= Duration::from_nanos(longer.count() as u64),
        "{text:?}: {found:?}, {expected:?}"
    );
}

/// One number of a duration, by its digits.
#[derive(Default)]
struct Part {
    whole: String,
    has_point: bool,
    fraction: String,
    unit: String,
}

fn nanos(part: &Part) -> u128 {
    let nanos_per_unit = match part.unit.as_str() {
        "ms" => 1_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => 1_000_000_000,
    };
    let mut nanos: u128 = 0;
    for digit in part.whole.chars() {
        // Beyond this, every further digit is beyond it, too.
        nanos = (nanos * 10 + value(digit)).min(1 << 80);
    }
    let mut parts = 0;
    let mut parts_per_unit = 1;
    for digit in part.fraction.chars().take(DIGITS_MAX) {
        parts = parts * 10 + value(digit);
        parts_per_unit *= 10;
    }
    nanos * nanos_per_unit + parts * nanos_per_unit / parts_per_unit
}

/// The numbers in their order. `None` if it isn't written like that.
fn split_duration(text: &str) -> Option<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    for character in text.chars() {
        let is_new = parts.last().is_none_or(|part| !part.unit.is_empty());
        if is_new && (character.is_ascii_digit() || character == '.') {
            parts.push(Part::default());
        }
        let part = parts.last_mut()?;
        match character {
            '0'..='9' if part.has_point => part.fraction.push(character),
            '0'..='9' => part.whole.push(character),
            '.' if part.has_point => return None,
            '.' => part.has_point = true,
            _ => part.unit.push(character),
        }
    }
    let is_number = |part: &Part| {
        let last = if part.has_point {
            &part.fraction
        } else {
            &part.whole
        };
        !last.is_empty()
    };
    let units: Vec<_> = parts.iter().map(|part| part.unit.as_str()).collect();
    let mut falling = ["d", "h", "m", "s", "ms"].into_iter();
    let are_units = units == [""] || units.iter().all(|unit| falling.any(|next| next == *unit));
    (!parts.is_empty() && are_units && parts.iter().all(is_number)).then_some(parts)
}

fn value(digit: char) -> u128 {
    u128::from(digit as u8 - b'0')
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::catch_unwind;
    use std::path::Path;

    #[test]
    fn every_kept_input_is_replayed() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        if !fuzz.join("Cargo.toml").exists() {
            eprintln!("skipped: a published package leaves fuzz/ out");
            return;
        }
        let inputs: Vec<_> = fs::read_dir(fuzz.join("corpus/command_line"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(!inputs.is_empty(), "the corpus of command_line is empty");
        for input in inputs {
            let data = fs::read(&input).unwrap();
            assert!(
                catch_unwind(|| super::command_line(&data)).is_ok(),
                "command_line fails with {input:?}: see above"
            );
        }
    }
}
