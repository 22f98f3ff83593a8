//! A line of shell as words, where no shell is needed to know them, and words as a line of shell.
//! Unaware of programs and of files.

/// What a shell does itself, or would do in another way than a program of that name: builtins and reserved words of
/// dash and of other shells that may be `/bin/sh`.
const BUILTINS: &[&str] = &[
    "!", ".", ":", "[", "[[", "alias", "bg", "bind", "break", "builtin", "caller", "case", "cd",
    "chdir", "command", "compgen", "complete", "continue", "coproc", "declare", "dirs", "disown",
    "do", "done", "echo", "elif", "else", "enable", "esac", "eval", "exec", "exit", "export",
    "false", "fc", "fg", "fi", "for", "function", "getopts", "hash", "help", "history", "if", "in",
    "jobs", "kill", "let", "local", "logout", "popd", "print", "printf", "pushd", "pwd", "read",
    "readonly", "return", "select", "set", "shift", "shopt", "source", "suspend", "test", "then",
    "time", "times", "trap", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset",
    "until", "wait", "while",
];

/// The words of a line that a shell would only cut into words: without expansions, redirections and the like, and
/// not for a builtin. `None` where it takes a shell to know.
pub(crate) fn plain_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let words = cut(line, true)?;
    let program = words.first()?;
    let is_builtin = BUILTINS.iter().any(|builtin| builtin.as_bytes() == program);
    (!is_builtin && !program.is_empty() && !program.contains(&b'=')).then_some(words)
}

/// The words of a line by its blanks, quotes and backslashes alone; nothing else means anything.
///
/// # Errors
/// In words, what is not complete.
pub(crate) fn quoted_words(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    cut(line, false).ok_or_else(|| {
        // With one more byte behind the line, a backslash has what it wants, and a quote has not.
        match cut(&[line, b"x"].concat(), false) {
            Some(_) => "a backslash at the end has nothing behind it",
            None => "a quote is not closed",
        }
    })
}

fn cut(line: &[u8], refuses_shell: bool) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => words.extend(word.take()),
            b'\n' if !refuses_shell => words.extend(word.take()),
            b'\'' => loop {
                let word = word.get_or_insert_default();
                match bytes.next()? {
                    b'\'' => break,
                    byte => word.push(byte),
                }
            },
            b'"' => double_quoted(&mut bytes, word.get_or_insert_default(), refuses_shell)?,
            b'\\' => match bytes.next()? {
                b'\n' => {}
                byte => word.get_or_insert_default().push(byte),
            },
            _ if refuses_shell && is_special(byte) => return None,
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    Some(words)
}

fn double_quoted(
    bytes: &mut impl Iterator<Item = u8>,
    word: &mut Vec<u8>,
    refuses_shell: bool,
) -> Option<()> {
    loop {
        match bytes.next()? {
            b'"' => return Some(()),
            b'$' | b'`' if refuses_shell => return None,
            b'\\' => match bytes.next()? {
                byte @ (b'"' | b'\\' | b'$' | b'`') => word.push(byte),
                b'\n' => {}
                byte => word.extend([b'\\', byte]),
            },
            // History, in a shell that has one.
            b'!' if refuses_shell => return None,
            byte => word.push(byte),
        }
    }
}

/// Outside of quotes it means something to some shell.
fn is_special(byte: u8) -> bool {
    b"\n#;*?[]&|<>(){}$`^~!".contains(&byte)
}

/// Means to every shell what it is.
pub(crate) fn is_plain(word: &[u8]) -> bool {
    let is_plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./,:@%+=".contains(byte) || *byte >= 0x80;
    !word.is_empty() && word.iter().all(is_plain)
}

/// Appends a word to a line of shell, quoted where that is needed.
pub(crate) fn push_quoted(word: &[u8], line: &mut Vec<u8>) {
    if is_plain(word) {
        return line.extend_from_slice(word);
    }
    line.push(b'\'');
    for byte in word {
        match byte {
            b'\'' => line.extend_from_slice(b"'\\''"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\'');
}

/// Words as one line of shell.
pub(crate) fn joined(words: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        push_quoted(word, &mut line);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: Option<Vec<Vec<u8>>>) -> Option<Vec<String>> {
        let show = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
        words.map(|words| words.iter().map(show).collect())
    }

    #[test]
    fn a_line_without_anything_of_a_shell_is_its_words() {
        let cases: [(&str, &[&str]); 7] = [
            ("cksum a", &["cksum", "a"]),
            (" gzip \t-t  x ", &["gzip", "-t", "x"]),
            ("ls 'a b' \"c d\"", &["ls", "a b", "c d"]),
            ("ls 'it'\\''s' \"\" ''", &["ls", "it's", "", ""]),
            ("ls a\\ b \"a\\\"b\\c\"", &["ls", "a b", "a\"b\\c"]),
            ("ls '$x;*#' \"a;b\"", &["ls", "$x;*#", "a;b"]),
            ("env A=1 b=2", &["env", "A=1", "b=2"]),
        ];
        for (line, words) in cases {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(shown(plain_words(line.as_bytes())), Some(words), "{line}");
        }
    }

    #[test]
    fn whatever_a_shell_would_act_upon_is_left_to_it() {
        for line in [
            "a;b",
            "a | b",
            "a>b",
            "a &",
            "a $x",
            "a `b`",
            "a *",
            "a ?",
            "a [b]",
            "(a)",
            "{ a; }",
            "~/a",
            "a # b",
            "! a",
            "A=1 b",
            "cd /",
            "echo a",
            "test -e a",
            "if a",
            "while a",
            ". a",
            "a \"$b\"",
            "a \"`b`\"",
            "a\nb",
            "a 'b",
            "a \"b",
            "a \\",
            "",
            " ",
            "''",
            "exit 3",
            "'cd' /",
            "true",
            "a \"!b\"",
        ] {
            assert_eq!(plain_words(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn by_hand_only_blanks_and_quotes_count() {
        let words = quoted_words(b"echo $x; > '*' \"$y\"\nz").ok();
        let expected = ["echo", "$x;", ">", "*", "$y", "z"].map(str::to_owned);
        assert_eq!(shown(words), Some(expected.to_vec()));
        for line in ["echo 'x", "echo \"x", "echo \"x\\", "echo 'x\\"] {
            let refused = quoted_words(line.as_bytes());
            assert_eq!(refused, Err("a quote is not closed"), "{line}");
        }
        let refused = quoted_words(b"echo 'a' b\\");
        assert_eq!(refused, Err("a backslash at the end has nothing behind it"));
    }

    #[test]
    fn what_was_quoted_is_cut_into_the_same_words() {
        let words: Vec<Vec<u8>> = [
            "a", "", "it's", "a b", "$x", "\\", "\n", "-n", "*", "é", "\"",
        ]
        .map(|word| word.as_bytes().to_vec())
        .into();
        let line = joined(&words);
        assert_eq!(quoted_words(&line), Ok(words.clone()));
        assert_eq!(joined(&words[..3]), b"a '' 'it'\\''s'");
        let bytes = vec![b"\xff\xfe".to_vec()];
        assert_eq!(quoted_words(&joined(&bytes)), Ok(bytes));
    }
}
