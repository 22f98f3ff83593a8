//! Names and messages for people and terminals: what a terminal would act upon, what would not be seen or would let the
//! rest be read backwards, and what is no UTF-8, is escaped.
//! Unaware of where the text comes from.

use std::fmt::Write as _;

/// So much of a command is shown.
const COMMAND_CHARS_MAX: usize = 200;

/// The beginning of a command.
pub(crate) fn printable(command: &[u8]) -> String {
    escaped(command, COMMAND_CHARS_MAX)
}

/// A message, whole.
pub(crate) fn printable_message(message: &str) -> String {
    escaped(message.as_bytes(), usize::MAX)
}

fn escaped(bytes: &[u8], chars_max: usize) -> String {
    let mut text = String::new();
    let mut room = chars_max;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if room == 0 {
                return text + "...";
            }
            room -= 1;
            if character.is_control() || is_invisible(character) {
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

/// Characters that show nothing of themselves: those of Unicode's property `Default_Ignorable_Code_Point`, marks of
/// direction, other format characters, separators of lines and paragraphs, and fillers that look like a blank.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(printable_message(&longer), longer);
    }

    #[test]
    fn what_is_not_seen_or_turns_the_direction_is_escaped() {
        assert_eq!(
            printable("rm \u{202e}gpj.sh\u{202c} a\u{200b}b".as_bytes()),
            "rm \\u{202e}gpj.sh\\u{202c} a\\u{200b}b"
        );
        for character in [
            '\u{61c}',
            '\u{200e}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{ad}',
            '\u{3164}',
            '\u{2028}',
            '\u{e0041}',
            '\u{fe0f}',
            '\u{85}',
        ] {
            let shown = printable(character.to_string().as_bytes());
            assert!(shown.starts_with("\\u{"), "{shown}");
        }
        let visible = "עברית العربية 日本語 é e\u{301} 👍 —";
        assert_eq!(printable(visible.as_bytes()), visible);
    }
}
