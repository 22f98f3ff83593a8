//! One line of JSON for each command that ended.
//! Unaware of who reads it.

use std::fmt::Write as _;
use std::io;

use crate::clock::Epoch;
use crate::output::Output;
use crate::sink::{Ended, Fate};

/// The line, with the newline. `into` has the room for it.
///
/// # Errors
/// When an output that is too large for memory cannot be read, or its line not be written.
pub(crate) fn push_line(ended: &Ended<'_>, epoch: Epoch, into: &mut Output) -> io::Result<()> {
    let job = ended.job;
    let mut text = String::new();
    let _ = write!(
        text,
        "{{\"seq\":{},\"{}\":{},\"command\":",
        job.sequence, job.unit, job.number
    );
    push_string(&job.text, &mut text);
    let (outcome, reason) = match ended.fate {
        Fate::Succeeded => ("succeeded", None),
        Fate::Failed(reason) => ("failed", Some(reason)),
        Fate::Cancelled => ("cancelled", None),
    };
    let _ = write!(text, ",\"outcome\":\"{outcome}\"");
    if let Some(reason) = reason {
        text.push_str(",\"reason\":");
        push_string(reason.as_bytes(), &mut text);
    }
    match ended.finished.and_then(|finished| finished.status) {
        Some(_) if ended.signal() != 0 => {
            let _ = write!(text, ",\"status\":null,\"signal\":{}", ended.signal());
        }
        Some(_) => {
            let _ = write!(text, ",\"status\":{},\"signal\":null", ended.code());
        }
        None => text.push_str(",\"status\":null,\"signal\":null"),
    }
    let _ = write!(text, ",\"slot\":{},\"try\":{}", job.slot + 1, job.attempt);
    if ended.started().is_some() {
        let started = epoch.seconds(ended.started());
        let _ = write!(
            text,
            ",\"started\":{started:.3},\"seconds\":{:.6}",
            ended.elapsed().as_secs_f64()
        );
    }
    if let Some(usage) = ended.finished.and_then(|finished| finished.usage) {
        let (user, system) = (usage.user.as_secs_f64(), usage.system.as_secs_f64());
        let _ = write!(
            text,
            ",\"user\":{user:.6},\"system\":{system:.6},\"rss_bytes\":{}",
            usage.rss_bytes_max
        );
    }
    if ended.output.left_out_bytes() > 0 {
        let _ = write!(text, ",\"output_cut\":{}", ended.output.left_out_bytes());
    }
    text.push_str(",\"output\":\"");
    into.push(text.as_bytes())?;
    push_output(ended.output, into)?;
    into.push(b"\"}\n")
}

/// Pieces end anywhere, also inside of a character.
fn push_output(output: &Output, into: &mut Output) -> io::Result<()> {
    let mut rest: Vec<u8> = Vec::new();
    let mut text = String::new();
    output.for_each_piece(|piece| {
        rest.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&rest) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            // An error further in may hide one at the end: three bytes are what may be missing.
            Err(_) => rest.len() - incomplete(&rest),
            Ok(_) => rest.len(),
        };
        text.clear();
        push_escaped(&rest[..whole], &mut text);
        rest.drain(..whole);
        into.push(text.as_bytes())
    })?;
    text.clear();
    push_escaped(&rest, &mut text);
    into.push(text.as_bytes())
}

/// How many bytes at the end are the beginning of a character.
fn incomplete(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|count| {
            let end = &bytes[bytes.len() - count..];
            let is_begun = std::str::from_utf8(end)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none());
            end[0] >= 0xc0 && is_begun
        })
        .unwrap_or(0)
}

/// A string of JSON. What is no UTF-8 is replaced by U+FFFD.
pub(crate) fn push_string(bytes: &[u8], text: &mut String) {
    text.push('"');
    push_escaped(bytes, text);
    text.push('"');
}

fn push_escaped(bytes: &[u8], text: &mut String) {
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            // The last three are for a script in a page of HTML.
            '\0'..='\u{1f}' | '\u{7f}' | '<' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_have_nothing_that_json_or_a_page_would_act_upon() {
        let mut text = String::new();
        push_string("a\"\\\n\t\0\u{7f}</é\u{2028}".as_bytes(), &mut text);
        let expected = "\"a\\\"\\\\\\n\\t\\u0000\\u007f\\u003c/é\\u2028\"";
        assert_eq!(text, expected);
        text.clear();
        push_string(b"a\xffb", &mut text);
        assert_eq!(text, "\"a\u{fffd}b\"");
    }

    #[test]
    fn a_character_that_is_cut_in_two_is_still_one() {
        for end in [&b""[..], b"\xff"] {
            for (bytes, count) in [
                (&b"a\xe2\x82"[..], 2),
                (b"a\xe2", 1),
                (b"a\xf0\x9f\x98", 3),
                (b"a", 0),
            ] {
                assert_eq!(incomplete(&[end, bytes].concat()), count, "{bytes:?}");
            }
        }
        assert_eq!(incomplete("é".as_bytes()), 0);
    }
}
