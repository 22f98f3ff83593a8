//! A line of shell that is put together of its text and of arguments for its places, so that each argument is read as it is,
//! in whatever quotes its place stands.
//! Unaware of how places are written.

use crate::words::{is_plain, push_quoted};

/// Who reads the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Shell,
    /// Whoever cuts it at blanks, and knows quotes and backslashes alone.
    Cutter,
}

/// A line, as far as it is there.
#[derive(Debug)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    reader: Reader,
    context: Context,
    /// So many of `${` outside of quotes are open.
    braces: usize,
}

/// Where in a line its reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// Outside of quotes.
    Bare(Last),
    /// The same, behind a backslash, with what was before that.
    BareEscaped(Last),
    Single,
    Double(Last),
    DoubleEscaped(Last),
    Comment,
    /// A part that is read by other rules has begun. Where it ends is not known.
    Unknown,
}

/// The last byte, where the next one's meaning depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// A word begins next.
    Blank,
    Dollar,
    /// Of a variable's name behind a dollar.
    Name,
    Less,
    Other,
}

impl Line {
    pub(crate) fn new(reader: Reader) -> Line {
        Line {
            bytes: Vec::new(),
            reader,
            context: Context::Bare(Last::Blank),
            braces: 0,
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends text that its reader is to act upon.
    pub(crate) fn push_text(&mut self, text: &[u8]) {
        for byte in text {
            self.context = self.behind(*byte);
        }
        self.bytes.extend_from_slice(text);
    }

    /// Appends arguments for one place: words, or within quotes one text with blanks between them. In a comment, a newline of
    /// theirs is a blank. Where the line is not understood, they are quoted as outside of quotes.
    pub(crate) fn push_arguments<'a>(&mut self, arguments: impl IntoIterator<Item = &'a [u8]>) {
        for (at, argument) in arguments.into_iter().enumerate() {
            if at > 0 {
                self.bytes.push(b' ');
            }
            self.push_argument(argument);
        }
    }

    fn push_argument(&mut self, argument: &[u8]) {
        let line = &mut self.bytes;
        self.context = match self.context {
            Context::Bare(last) => {
                if matches!(last, Last::Dollar | Last::Name) {
                    // It is no part of the name; and to some shells, `$'` is a quote of its own.
                    line.extend_from_slice(b"''");
                }
                push_quoted(argument, line);
                Context::Bare(Last::Other)
            }
            Context::BareEscaped(_) => {
                // What it would protect is the argument's quote.
                line.push(b'\\');
                push_quoted(argument, line);
                Context::Bare(Last::Other)
            }
            Context::Single => {
                push_between(b'\'', argument, line);
                Context::Single
            }
            Context::Double(Last::Dollar | Last::Name) => {
                line.push(b'"');
                push_quoted(argument, line);
                line.push(b'"');
                Context::Double(Last::Other)
            }
            Context::Double(_) => {
                push_between(b'"', argument, line);
                Context::Double(Last::Other)
            }
            Context::DoubleEscaped(_) => {
                line.push(b'\\');
                push_between(b'"', argument, line);
                Context::Double(Last::Other)
            }
            Context::Comment => {
                let blank = |byte: &u8| if *byte == b'\n' { b' ' } else { *byte };
                let argument: Vec<u8> = argument.iter().map(blank).collect();
                push_quoted(&argument, line);
                Context::Comment
            }
            Context::Unknown => {
                push_quoted(argument, line);
                Context::Unknown
            }
        };
    }

    fn behind(&mut self, byte: u8) -> Context {
        match self.context {
            Context::Bare(last) => self.behind_bare(last, byte),
            // The two are nothing at all.
            Context::BareEscaped(last) if byte == b'\n' => Context::Bare(last),
            Context::BareEscaped(_) => Context::Bare(Last::Other),
            Context::Single if byte == b'\'' => Context::Bare(Last::Other),
            Context::Single => Context::Single,
            Context::Double(last) => self.behind_double(last, byte),
            Context::DoubleEscaped(last) if byte == b'\n' => Context::Double(last),
            Context::DoubleEscaped(_) => Context::Double(Last::Other),
            Context::Comment if byte == b'\n' => Context::Bare(Last::Blank),
            Context::Comment => Context::Comment,
            Context::Unknown => Context::Unknown,
        }
    }

    /// POSIX, Shell Command Language, 2.2 and 2.3, as far as bytes outside of quotes begin something.
    fn behind_bare(&mut self, last: Last, byte: u8) -> Context {
        let is_shell = self.reader == Reader::Shell;
        match (byte, last) {
            (b'\'', Last::Dollar) if is_shell => Context::Unknown,
            (b'\\', _) => Context::BareEscaped(last),
            (b'\'', _) => Context::Single,
            (b'"', _) => Context::Double(Last::Other),
            _ if !is_shell => Context::Bare(Last::Other),
            // Commands with rules of their own for backslashes, and a here-document.
            (b'`', _) | (b'<', Last::Less) => Context::Unknown,
            (b'#', Last::Blank | Last::Less) if self.braces == 0 => Context::Comment,
            (b'(', Last::Dollar) if self.braces > 0 => Context::Unknown,
            (b'{', Last::Dollar) => {
                self.braces += 1;
                Context::Bare(Last::Other)
            }
            (b'}', _) => {
                self.braces = self.braces.saturating_sub(1);
                Context::Bare(Last::Other)
            }
            (b'$', _) => Context::Bare(Last::Dollar),
            _ if is_in_name(byte, last) => Context::Bare(Last::Name),
            (b'<', _) => Context::Bare(Last::Less),
            (b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'>', _) => {
                Context::Bare(Last::Blank)
            }
            _ => Context::Bare(Last::Other),
        }
    }

    fn behind_double(&self, last: Last, byte: u8) -> Context {
        match (byte, last) {
            (b'\\', _) => Context::DoubleEscaped(last),
            (b'"', _) => Context::Bare(Last::Other),
            _ if self.reader == Reader::Cutter => Context::Double(Last::Other),
            (b'`', _) | (b'(' | b'{', Last::Dollar) => Context::Unknown,
            (b'$', _) => Context::Double(Last::Dollar),
            _ if is_in_name(byte, last) => Context::Double(Last::Name),
            _ => Context::Double(Last::Other),
        }
    }
}

/// A digit does not begin one.
fn is_in_name(byte: u8, last: Last) -> bool {
    match last {
        Last::Dollar => byte.is_ascii_alphabetic() || byte == b'_',
        Last::Name => byte.is_ascii_alphanumeric() || byte == b'_',
        Last::Blank | Last::Less | Last::Other => false,
    }
}

/// Appends an argument within quotes, which it ends and begins again where it must be quoted by others.
fn push_between(quote: u8, argument: &[u8], line: &mut Vec<u8>) {
    if argument.is_empty() || is_plain(argument) {
        return line.extend_from_slice(argument);
    }
    line.push(quote);
    push_quoted(argument, line);
    line.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::quoted_words;
    use execloop::{Command, Output};
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    /// A line whose places are `{}`.
    fn filled(reader: Reader, text: &str, arguments: &[&[u8]]) -> Vec<u8> {
        let mut line = Line::new(reader);
        for (at, part) in text.split("{}").enumerate() {
            if at > 0 {
                line.push_arguments(arguments.iter().copied());
            }
            line.push_text(part.as_bytes());
        }
        line.into_bytes()
    }

    /// Each would show in stderr that it was executed.
    const ARGUMENTS: &[&[u8]] = &[
        b"plain-1.x",
        b"",
        b" ",
        b"a b",
        b"$(echo executed >&2)",
        b"`echo executed >&2`",
        b"${x:-$(echo executed >&2)}",
        b"'$(echo executed >&2)'",
        b"\"$(echo executed >&2)\"",
        b"\n echo executed >&2\n",
        b"\necho executed >&2;#",
        b"; echo executed >&2;",
        b"'; echo executed >&2; '",
        b"\"; echo executed >&2; \"",
        b"\\'; echo executed >&2; '",
        b"\\\"; echo executed >&2; \"",
        b"}; echo executed >&2",
        b") ; echo executed >&2 #",
        b"\\",
        b"\\\\",
        b"'",
        b"''",
        b"\"",
        b"'\"'\"'",
        b"\n",
        b"\n\n",
        b"#",
        b"!",
        b"!!",
        b"*",
        b"~",
        b"$",
        b"$'a'",
        b"$HOME",
        b"HOME",
        b"-n",
        b"%s",
        b"a\\nb",
        b"&",
        b"<<x",
        b"\xff\xc3",
    ];

    /// What is printed by a line, and what is said on stderr.
    fn run(shell: &str, line: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut command = Command::new(shell);
        command.args(["-c", "--"]).arg(OsStr::from_bytes(line));
        command.stdout(Output::capture()).stderr(Output::capture());
        let done = command.finish().expect("it starts");
        (done.stdout, done.stderr)
    }

    fn shells() -> impl Iterator<Item = &'static str> {
        let is_here = |shell: &&str| execloop::look_path(shell).is_ok();
        ["/bin/sh", "bash"].into_iter().filter(is_here)
    }

    #[test]
    fn a_shell_reads_an_argument_as_it_is_in_whatever_quotes_its_place_stands() {
        for (text, expected) in [
            ("{}", "{}"),
            ("\"{}\"", "{}"),
            ("'{}'", "{}"),
            ("'x {} y'", "x {} y"),
            ("\"x {}$none y\"", "x {} y"),
            ("\"{}\"'{}'{}", "{}{}{}"),
            ("a{}b\"c{}d\"'e{}f'", "a{}bc{}de{}f"),
            ("\"it's {}\"", "it's {}"),
            ("'say \"{}\"'", "say \"{}\""),
            ("\"say \\\"{}\\\"\"", "say \"{}\""),
            ("it\\'s' {} 'it\\\"s\" {} \"", "it's {} it\"s {} "),
            ("\"\\\\{}\"", "\\{}"),
            ("\"\\{}\"", "\\{}"),
            ("\\{}", "\\{}"),
            ("\\\\{}", "\\{}"),
            (
                "; x=$(printf '%sx' \"{}\" # it's\n); printf %s \"$x\"",
                "{}x",
            ),
            ("; x=$(printf '%sx' '{}'); printf %s \"$x\"", "{}x"),
            ("${none:-\"{}\"}", "{}"),
            ("${none:-'#'\"{}\"}'{}'", "#{}{}"),
            // Two words, which are printed without what parts them.
            ("a${none:- # }\"{}\"", "a#{}"),
            ("x#'{}'", "x#{}"),
            ("\"$none{}\"", "{}"),
            ("x$none{}", "x{}"),
            ("x$no_1{}$none1\"$no\\\nne{}$1\"", "x{}{}"),
            ("'$('\"{}\"", "$({}"),
            ("\"\\$({}\\`{}\"", "$({}`{}"),
            ("a # it's {}\nprintf %s \"{}\"", "a{}"),
            ("a # {}", "a"),
            ("a;# \"{}\" '{}'", "a"),
            ("\\\n'{}'\\\n\"{}\"", "{}{}"),
        ] {
            for shell in shells() {
                for argument in ARGUMENTS {
                    let line = filled(Reader::Shell, &format!("printf %s {text}"), &[argument]);
                    let shown = String::from_utf8_lossy(&line).into_owned();
                    let (output, told) = run(shell, &line);
                    let parts: Vec<&[u8]> = expected.split("{}").map(str::as_bytes).collect();
                    let wanted = parts.join(*argument);
                    assert_eq!(
                        (text_of(&output), text_of(&told)),
                        (text_of(&wanted), String::new()),
                        "{shell}: {shown}"
                    );
                }
            }
        }
    }

    fn text_of(bytes: &[u8]) -> String {
        bytes.escape_ascii().to_string()
    }

    #[test]
    fn behind_a_dollar_no_argument_is_executed() {
        for text in ["${}", "\"${}\"", "$${}", "\"a$\\\n{}\""] {
            for (shell, argument) in
                shells().flat_map(|shell| ARGUMENTS.iter().map(move |it| (shell, it)))
            {
                let line = filled(Reader::Shell, &format!("printf %s {text}"), &[argument]);
                let (_, told) = run(shell, &line);
                assert_eq!(text_of(&told), "", "{shell}: {}", text_of(&line));
            }
        }
    }

    #[test]
    fn several_arguments_are_words_and_within_quotes_one_text() {
        let arguments = [&b"a"[..], b"b c", b"$d"];
        for (text, expected) in [
            ("printf '<%s>' {}", "<a><b c><$d>"),
            ("printf '<%s>' \"x {} y\"", "<x a b c $d y>"),
            ("printf '<%s>' 'x {} y'", "<x a b c $d y>"),
        ] {
            let line = filled(Reader::Shell, text, &arguments);
            let (output, told) = run("/bin/sh", &line);
            assert_eq!(
                (text_of(&output).as_str(), &told[..]),
                (expected, &b""[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn what_needs_no_quotes_is_put_in_as_it_is() {
        for text in ["cc -o \"{}.o\" {}", "a '{}' # {}", "\"$({} `{}"] {
            let line = filled(Reader::Shell, text, &[b"a/b-c.d"]);
            assert_eq!(
                text_of(&line),
                text_of(text.replace("{}", "a/b-c.d").as_bytes())
            );
        }
        let within = filled(Reader::Shell, "'{}' \"{}\"", &[b"a b"]);
        assert_eq!(text_of(&within), text_of(b"'''a b''' \"\"'a b'\"\""));
    }

    #[test]
    fn from_what_is_not_understood_on_places_are_quoted_as_outside_of_quotes() {
        for before in ["\"$(", "\"${", "\"`", "`", "$'", "<<", "<<<", "${x$("] {
            let line = filled(Reader::Shell, &format!("{before}\"{{}}\"'{{}}'"), &[b"a b"]);
            let expected = format!("{before}\"'a b'\"''a b''");
            assert_eq!(text_of(&line), text_of(expected.as_bytes()));
        }
    }

    #[test]
    fn where_no_shell_reads_it_quotes_and_backslashes_count_and_nothing_else() {
        for (text, expected) in [
            ("{}", "{}"),
            ("\"{}\"", "{}"),
            ("'{}'", "{}"),
            ("$'{}'", "${}"),
            ("\"$(`{}\"", "$(`{}"),
            ("`\"{}\"", "`{}"),
            ("<<\"{}\"", "<<{}"),
            ("#\"{}\"", "#{}"),
            ("\\{}", "\\{}"),
            ("\"\\{}\"", "\\{}"),
        ] {
            for argument in ARGUMENTS {
                let line = filled(Reader::Cutter, text, &[argument]);
                let parts: Vec<&[u8]> = expected.split("{}").map(str::as_bytes).collect();
                assert_eq!(
                    quoted_words(&line),
                    Ok(vec![parts.join(*argument)]),
                    "{text}"
                );
            }
        }
    }
}
