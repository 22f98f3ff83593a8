//! A line of shell that is put together of its text and of arguments for its places, so that each argument is read as it is,
//! in whatever quotes its place stands. Where that cannot be, the line is refused.
//! Unaware of how places are written.

use crate::words::{is_plain, push_quoted};

mod quoting;

use quoting::{
    Context, IN_ARITHMETIC, IN_BACKQUOTES, IN_BRACES, IN_DOLLAR_SINGLE, IN_HERE_DOCUMENT, Last,
    Quoting,
};

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
    quoting: Quoting,
}

/// In words, why an argument is not filled in.
type Fault = &'static str;

impl Line {
    pub(crate) fn new(reader: Reader) -> Line {
        Line {
            bytes: Vec::new(),
            quoting: Quoting::new(reader),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends text that its reader is to act upon.
    pub(crate) fn push_text(&mut self, text: &[u8]) {
        for byte in text {
            self.quoting.pass(*byte);
        }
        self.bytes.extend_from_slice(text);
    }

    /// Appends a number, which is no code wherever it stands.
    pub(crate) fn push_number(&mut self, number: &[u8]) {
        if self.push_argument(number).is_err() {
            self.push_text(number);
        }
    }

    /// Appends arguments for one place: words, or within quotes one text with blanks between them. In a comment, a newline of
    /// theirs is a blank.
    ///
    /// # Errors
    /// In words, where a shell would not read an argument as it is, and might run it.
    pub(crate) fn push_arguments<'a>(
        &mut self,
        arguments: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Fault> {
        for (at, argument) in arguments.into_iter().enumerate() {
            if at > 0 {
                self.bytes.push(b' ');
            }
            self.push_argument(argument)?;
        }
        Ok(())
    }

    fn push_argument(&mut self, argument: &[u8]) -> Result<(), Fault> {
        let line = &mut self.bytes;
        self.quoting.context = match self.quoting.context {
            Context::Bare(Last::TwoLess) => return Err(IN_HERE_DOCUMENT),
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
            // It is evaluated as a text is: an element of an array has an index, which may have a command in it.
            Context::Arithmetic(_) if !is_number(argument) => {
                return Err("an argument for a $((..)) is no number");
            }
            Context::Arithmetic(_) => {
                line.extend_from_slice(argument);
                Context::Arithmetic(Last::Other)
            }
            Context::ArithmeticEnd => return Err(IN_ARITHMETIC),
            Context::Braced(_) | Context::BracedEscaped | Context::BracedQuoted(_) => {
                return Err(IN_BRACES);
            }
            Context::Backquoted | Context::BackquotedEscaped => return Err(IN_BACKQUOTES),
            Context::DollarSingle | Context::DollarSingleEscaped => return Err(IN_DOLLAR_SINGLE),
            Context::Unknown(why) => return Err(why),
        };
        Ok(())
    }
}

/// To a shell's arithmetic: `-1`, `010`, `0x1F`.
fn is_number(argument: &[u8]) -> bool {
    let digits = argument.strip_prefix(b"-").unwrap_or(argument);
    digits.first().is_some_and(u8::is_ascii_digit) && digits.iter().all(u8::is_ascii_alphanumeric)
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
    fn try_filled(reader: Reader, text: &str, arguments: &[&[u8]]) -> Result<Vec<u8>, Fault> {
        let mut line = Line::new(reader);
        for (at, part) in text.split("{}").enumerate() {
            if at > 0 {
                line.push_arguments(arguments.iter().copied())?;
            }
            line.push_text(part.as_bytes());
        }
        Ok(line.into_bytes())
    }

    fn filled(reader: Reader, text: &str, arguments: &[&[u8]]) -> Vec<u8> {
        try_filled(reader, text, arguments).expect("a line that is understood")
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
            ("\"${none}/{}\"", "/{}"),
            ("\"${none:-a'b'c}\"'{}'\"{}\"", "a'b'c{}{}"),
            ("\"${none:-a${none:-$(printf %s 'b)')}\\}}{}\"", "ab)}{}"),
            ("\"${none%%'.c'}\"\"{}\"", "{}"),
            ("\"$(printf %sx \"{}\")\"\"{}\"", "{}x{}"),
            (
                "\"$(printf %sx {} # )\"\n)$(printf %sx '{}')\"\"{}\"",
                "{}x{}x{}",
            ),
            ("\"$( (printf %s '<<)'))\"\"{}\"", "<<){}"),
            ("$((1<<2))\"{}\"", "4{}"),
            ("\"$(((1<<2)+$((1<<1))))\"\"{}\"", "6{}"),
            ("$(printf %s $((1<<2)) )\"{}\"", "4{}"),
            ("`printf %s \\`printf a\\``\"`printf \"b\"`{}\"", "ab{}"),
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
        for text in [
            "${}",
            "\"${}\"",
            "$${}",
            "\"$${}\"",
            "$$\"{}\"",
            "\"a$\\\n{}\"",
        ] {
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
        for text in ["cc -o \"{}.o\" {}", "a '{}' # {}", "\"$({} {}"] {
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
    fn a_place_where_no_argument_can_be_quoted_is_refused() {
        for text in [
            "`{}`",
            "\"`{}`\"",
            "\"${x:-{}}\"",
            "\"${x:-'{}'}\"",
            "\"${x\\{}}\"",
            "\"${x:-it's}\"{}",
            "\"${x:-'\"'}\"{}",
            "\"${x:-\"$y\"}\"{}",
            "<<{}",
            "<<x\n{}",
            "\"$(<<x)\"{}",
            "\"$(case x in x) {};; esac)\"",
            "\"$(ca\\\nse x in x) {};; esac)\"",
            "\"$(a ${x:-)} {})\"",
            "$((\"{}\"))",
            "$((1){}",
            "$((1) ; (2)) {}",
            "$'{}'",
            "$'\\'{}",
            "\"$$({})\"",
            "\"$${x}{}\"",
        ] {
            // A plain one, too: whether a line is refused is no matter of its arguments.
            for argument in [&b"1"[..], b"a b"] {
                assert!(
                    try_filled(Reader::Shell, text, &[argument]).is_err(),
                    "{text}"
                );
            }
            assert!(
                try_filled(Reader::Cutter, text, &[b"a b"]).is_ok(),
                "{text}"
            );
        }
    }

    #[test]
    fn in_arithmetic_an_argument_is_a_number() {
        for (text, argument, expected) in [
            ("$(({}+1))", "2", "$((2+1))"),
            ("\"$((({})<<1))\"", "-0x1F", "\"$(((-0x1F)<<1))\""),
        ] {
            let line = filled(Reader::Shell, text, &[argument.as_bytes()]);
            assert_eq!(text_of(&line), text_of(expected.as_bytes()));
        }
        for argument in ["x", "a[$(b)]", "1 2", "1,x", "-", ""] {
            let refused = try_filled(Reader::Shell, "$(({}))", &[argument.as_bytes()]);
            assert_eq!(refused, Err("an argument for a $((..)) is no number"));
        }
    }

    #[test]
    fn a_number_of_our_own_is_filled_in_wherever_it_stands() {
        for (text, expected) in [
            ("`a {}`", "`a 7`"),
            ("\"${x:-{}}\"{}", "\"${x:-7}\"7"),
            ("<<x\n{}", "<<x\n7"),
            ("$x{}", "$x''7"),
        ] {
            let mut line = Line::new(Reader::Shell);
            for (at, part) in text.split("{}").enumerate() {
                if at > 0 {
                    line.push_number(b"7");
                }
                line.push_text(part.as_bytes());
            }
            assert_eq!(text_of(&line.into_bytes()), text_of(expected.as_bytes()));
        }
    }

    const WRAPS: &[(&str, &str)] = &[
        ("\"", "\""),
        ("\"", "\""),
        ("'", "'"),
        ("$(printf %s ", ")"),
        ("${x:-", "}"),
        ("${HOME%%", "}"),
        ("$((", "))"),
        ("`", "`"),
        ("", ""),
        ("\"", "{}\""),
        ("{}", "{}"),
    ];

    /// Of what lines are put together in any order, and many of them are no shell.
    const SCRAPS: &[&str] = &[
        "{}",
        "{}",
        "\"",
        "\"",
        "'",
        "\\",
        "$",
        "(",
        ")",
        "$(",
        "$((",
        "))",
        "((",
        "${",
        "{",
        "}",
        "${x:-",
        "${HOME}",
        "${HOME%%/*}",
        "${#x}",
        "`",
        "<",
        "<<",
        "#",
        " ",
        "\n",
        ";",
        "x",
        "1",
        "=",
        "case x in ",
        "esac",
        "printf %s ",
        "\"${x:+",
        "$((1<<2))",
        "\"$(printf %s ",
        "$'",
        "!",
        "[",
        "]",
    ];

    /// xorshift64, so that the same lines are made each time.
    fn next(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state as usize
    }

    /// Scraps, some within what begins and ends.
    fn scraps(state: &mut u64, depth: usize) -> String {
        let mut text = String::new();
        for _ in 0..=next(state) % 3 {
            if depth == 0 {
                text += SCRAPS[next(state) % SCRAPS.len()];
                continue;
            }
            let (before, behind) = WRAPS[next(state) % WRAPS.len()];
            text += &format!("{before}{}{behind}", scraps(state, depth - 1));
        }
        text
    }

    /// Each line is filled two times: what is printed with a plain argument is printed with any other in its place.
    #[test]
    fn in_whatever_line_no_argument_is_executed_and_each_is_printed_as_it_is() {
        const PLAIN: &[u8] = b"plain";
        const HOSTILE: &[u8] =
            b"a  b'$(echo executed >&2)\"$(echo executed >&2)'`echo executed >&2`\n\
            echo executed >&2;#)}\\";
        let lines = std::env::var("EXECLOOP_FILLING_LINES").ok();
        let lines: usize = lines.map_or(500, |lines| lines.parse().expect("a number"));
        let (mut state, mut printed) = (0x9e37_79b9_7f4a_7c15, 0);
        for _ in 0..lines {
            // What is expanded outside of quotes is not cut into words.
            let text = format!("IFS=; set -f; printf %s {}\"{{}}\"", scraps(&mut state, 2));
            let Ok(plain) = try_filled(Reader::Shell, &text, &[PLAIN]) else {
                continue;
            };
            let Ok(hostile) = try_filled(Reader::Shell, &text, &[HOSTILE]) else {
                assert!(text.contains("(("), "{text}");
                continue;
            };
            for shell in shells() {
                let (output, told) = run(shell, &hostile);
                let mut said = told.split(|byte| *byte == b'\n');
                let is_executed = said.any(|line| line.starts_with(b"executed"));
                assert!(!is_executed, "{shell}: {text:?}: {}", text_of(&hostile));
                let (expected, complaint) = run(shell, &plain);
                if complaint.is_empty() && told.is_empty() {
                    let expected = text_of(&expected).replace("plain", &text_of(HOSTILE));
                    let output = text_of(&output);
                    // `$$` is another one each time.
                    let [output, expected] = [output, expected]
                        .map(|text| text.replace(|it: char| it.is_ascii_digit(), ""));
                    assert_eq!(output, expected, "{shell}: {text:?}");
                    printed += 1;
                }
            }
        }
        assert!(printed > 0);
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
