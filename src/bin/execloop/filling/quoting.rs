//! Where in a line its reader is: in which quotes, expansions and commands. What shells do not read alike is not understood.
//! Unaware of places and of what they are filled with.

use super::Reader;

/// What has been read so far comes to this.
#[derive(Debug)]
pub(super) struct Quoting {
    reader: Reader,
    pub(super) context: Context,
    /// So many of `${` outside of quotes are open.
    braces: usize,
    /// So many parentheses are open, besides the one that began this part.
    parens: usize,
    /// What parts that are open stand in, the innermost last.
    outer: Vec<Outer>,
}

/// Where it goes on behind a part that ends.
#[derive(Debug)]
struct Outer {
    context: Context,
    braces: usize,
    parens: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// Outside of quotes.
    Bare(Last),
    /// The same, behind a backslash, with what was before that.
    BareEscaped(Last),
    Single,
    Double(Last),
    DoubleEscaped(Last),
    Comment,
    /// In `$((..))`, which is read as in quotes.
    Arithmetic(Last),
    /// Behind its first parenthesis at the end.
    ArithmeticEnd,
    /// In a `${..}` within quotes.
    Braced(Last),
    BracedEscaped,
    /// In quotes within that. To some shells they are no quotes.
    BracedQuoted(u8),
    Backquoted,
    BackquotedEscaped,
    /// In `$'..'`, which is a quote of its own to some shells.
    DollarSingle,
    DollarSingleEscaped,
    /// A part that is read by other rules has begun, and where it ends is not known. In words, why nothing is filled in there.
    Unknown(&'static str),
}

/// The last byte, where the next one's meaning depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// A word begins next.
    Blank,
    Dollar,
    /// Which are a variable.
    TwoDollars,
    /// Of a variable's name behind a dollar.
    Name,
    Less,
    TwoLess,
    /// The parenthesis of `$(`, and whether it is known where that ends.
    Opened {
        is_followed: bool,
    },
    /// So many letters of a word that may be `case`.
    Case(usize),
    Other,
}

pub(super) const IN_BACKQUOTES: &str =
    "an argument cannot be quoted within backquotes: write $(..) for them";
pub(super) const IN_BRACES: &str = "an argument cannot be quoted within \"${..}\", or behind one \
    that shells do not read alike: begin the line with x={}; and write \"$x\"";
pub(super) const IN_HERE_DOCUMENT: &str = "an argument cannot be quoted in or behind a here-document: begin \
    the line with x={}; and write \"$x\"";
const IN_CASE: &str = "an argument cannot be quoted in or behind a case within \"$(..)\": begin the \
    line with x={}; and write \"$x\"";
pub(super) const IN_ARITHMETIC: &str = "an argument cannot be quoted behind a $(( that is not closed \
    by )), or has quotes in it: begin the line with x={}; and write \"$x\"";
pub(super) const IN_DOLLAR_SINGLE: &str = "an argument cannot be quoted within $'..', or behind one \
    that has \\' in it: begin the line with x={}; and write \"$x\"";

const IN_TWO_DOLLARS: &str = "an argument cannot be quoted behind a $$( or $${ within quotes, which \
    shells do not read alike: write \"$$\" alone";

const CASE: &[u8] = b"case";

impl Quoting {
    pub(super) fn new(reader: Reader) -> Quoting {
        Quoting {
            reader,
            context: Context::Bare(Last::Blank),
            braces: 0,
            parens: 0,
            outer: Vec::new(),
        }
    }

    pub(super) fn pass(&mut self, byte: u8) {
        self.context = self.behind(byte);
    }

    /// A part begins, and behind it is this context.
    fn enter(&mut self, after: Context) {
        self.outer.push(Outer {
            context: after,
            braces: std::mem::take(&mut self.braces),
            parens: std::mem::take(&mut self.parens),
        });
    }

    fn leave(&mut self) -> Context {
        let outer = self.outer.pop().expect("a part was entered");
        (self.braces, self.parens) = (outer.braces, outer.parens);
        outer.context
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
            Context::Arithmetic(last) => self.behind_arithmetic(last, byte),
            Context::ArithmeticEnd if byte == b')' => self.leave(),
            Context::ArithmeticEnd => Context::Unknown(IN_ARITHMETIC),
            Context::Braced(last) => self.behind_braced(last, byte),
            Context::BracedEscaped => Context::Braced(Last::Other),
            Context::BracedQuoted(quote) => behind_braced_quoted(quote, byte),
            Context::Backquoted if byte == b'`' => self.leave(),
            Context::Backquoted if byte == b'\\' => Context::BackquotedEscaped,
            Context::Backquoted | Context::BackquotedEscaped => Context::Backquoted,
            Context::DollarSingle if byte == b'\'' => self.leave(),
            Context::DollarSingle if byte == b'\\' => Context::DollarSingleEscaped,
            Context::DollarSingle => Context::DollarSingle,
            // To some it is the end.
            Context::DollarSingleEscaped if byte == b'\'' => Context::Unknown(IN_DOLLAR_SINGLE),
            Context::DollarSingleEscaped => Context::DollarSingle,
            Context::Unknown(why) => Context::Unknown(why),
        }
    }

    /// POSIX, Shell Command Language, 2.2 and 2.3, as far as bytes outside of quotes begin something.
    fn behind_bare(&mut self, last: Last, byte: u8) -> Context {
        let is_shell = self.reader == Reader::Shell;
        match (byte, last) {
            (b'<', Last::TwoLess) => Context::Bare(Last::Blank),
            (_, Last::TwoLess) => Context::Unknown(IN_HERE_DOCUMENT),
            (b'\'', Last::Dollar) if is_shell => {
                self.enter(Context::Bare(Last::Other));
                Context::DollarSingle
            }
            (b'\\', _) => Context::BareEscaped(last),
            (b'\'', _) => Context::Single,
            (b'"', _) => Context::Double(Last::Other),
            _ if !is_shell => Context::Bare(Last::Other),
            (b'`', _) => {
                self.enter(Context::Bare(Last::Other));
                Context::Backquoted
            }
            (b'<', Last::Less) => Context::Bare(Last::TwoLess),
            (b'#', last) if self.braces == 0 && begins_word(last) => Context::Comment,
            (b'(' | b')', _) => self.behind_paren(last, byte),
            (b'{', Last::Dollar) => {
                self.braces += 1;
                Context::Bare(Last::Other)
            }
            (b'}', _) => {
                self.braces = self.braces.saturating_sub(1);
                Context::Bare(Last::Other)
            }
            (b'$', _) => Context::Bare(behind_dollar(last, byte)),
            _ if is_in_name(byte, last) => Context::Bare(Last::Name),
            // Its patterns have a parenthesis that nothing opens.
            (b' ' | b'\t' | b'\n', Last::Case(letters))
                if letters == CASE.len() && !self.outer.is_empty() =>
            {
                Context::Unknown(IN_CASE)
            }
            (b'<', _) => Context::Bare(Last::Less),
            (b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'>', _) => Context::Bare(Last::Blank),
            _ => Context::Bare(behind_letter(last, byte)),
        }
    }

    fn behind_paren(&mut self, last: Last, byte: u8) -> Context {
        match (byte, last) {
            (b'(', Last::Opened { is_followed }) => {
                if !is_followed {
                    self.parens -= 1;
                    self.enter(Context::Bare(Last::Other));
                }
                Context::Arithmetic(Last::Other)
            }
            (b'(', Last::Dollar) if self.braces > 0 => {
                self.substitution(Context::Bare(Last::Other))
            }
            (b'(', Last::Dollar) => {
                self.parens += 1;
                Context::Bare(Last::Opened { is_followed: false })
            }
            _ if self.braces > 0 && !self.outer.is_empty() => Context::Unknown(IN_BRACES),
            (b'(', _) => {
                self.parens += 1;
                Context::Bare(Last::Blank)
            }
            _ if self.parens == 0 && !self.outer.is_empty() => self.leave(),
            _ => {
                self.parens = self.parens.saturating_sub(1);
                Context::Bare(Last::Blank)
            }
        }
    }

    /// A command that is followed to its end, behind which is this context.
    fn substitution(&mut self, after: Context) -> Context {
        self.enter(after);
        Context::Bare(Last::Opened { is_followed: true })
    }

    fn behind_double(&mut self, last: Last, byte: u8) -> Context {
        match (byte, last) {
            (b'\\', _) => Context::DoubleEscaped(last),
            (b'"', _) => Context::Bare(Last::Other),
            _ if self.reader == Reader::Cutter => Context::Double(Last::Other),
            _ => {
                let begun = self.begun(Context::Double(Last::Other), last, byte);
                begun.unwrap_or_else(|| Context::Double(behind_dollar(last, byte)))
            }
        }
    }

    /// The part that begins within quotes, if one does.
    fn begun(&mut self, after: Context, last: Last, byte: u8) -> Option<Context> {
        match (byte, last) {
            (b'`', _) => {
                self.enter(after);
                Some(Context::Backquoted)
            }
            // To bash, one begins all the same.
            (b'(' | b'{', Last::TwoDollars) => Some(Context::Unknown(IN_TWO_DOLLARS)),
            (b'(', Last::Dollar) => Some(self.substitution(after)),
            (b'{', Last::Dollar) => {
                self.enter(after);
                Some(Context::Braced(Last::Other))
            }
            _ => None,
        }
    }

    fn behind_arithmetic(&mut self, last: Last, byte: u8) -> Context {
        if let Some(begun) = self.begun(Context::Arithmetic(Last::Other), last, byte) {
            return begun;
        }
        match byte {
            b'\'' | b'"' | b'\\' => return Context::Unknown(IN_ARITHMETIC),
            b')' if self.parens == 0 => return Context::ArithmeticEnd,
            b')' => self.parens -= 1,
            b'(' => self.parens += 1,
            _ => {}
        }
        Context::Arithmetic(behind_dollar(last, byte))
    }

    fn behind_braced(&mut self, last: Last, byte: u8) -> Context {
        if let Some(begun) = self.begun(Context::Braced(Last::Other), last, byte) {
            return begun;
        }
        match (byte, last) {
            (b'}', _) => self.leave(),
            (b'\\', _) => Context::BracedEscaped,
            (b'{', _) | (b'\'' | b'"', Last::Dollar) => Context::Unknown(IN_BRACES),
            (b'\'' | b'"', _) => Context::BracedQuoted(byte),
            _ => Context::Braced(behind_dollar(last, byte)),
        }
    }
}

/// As long as nothing in there has a meaning, it is the same whether these are quotes.
fn behind_braced_quoted(quote: u8, byte: u8) -> Context {
    match byte {
        _ if byte == quote => Context::Braced(Last::Other),
        b'\'' | b'"' | b'\\' | b'$' | b'`' | b'{' | b'}' => Context::Unknown(IN_BRACES),
        _ => Context::BracedQuoted(quote),
    }
}

fn begins_word(last: Last) -> bool {
    matches!(last, Last::Blank | Last::Less | Last::Opened { .. })
}

fn behind_letter(last: Last, byte: u8) -> Last {
    let letters = match last {
        Last::Case(letters) => letters,
        last if begins_word(last) => 0,
        _ => return Last::Other,
    };
    match CASE.get(letters) {
        Some(letter) if *letter == byte => Last::Case(letters + 1),
        _ => Last::Other,
    }
}

/// Within quotes.
fn behind_dollar(last: Last, byte: u8) -> Last {
    match byte {
        b'$' if last == Last::Dollar => Last::TwoDollars,
        b'$' => Last::Dollar,
        _ if is_in_name(byte, last) => Last::Name,
        _ => Last::Other,
    }
}

/// A digit does not begin one.
fn is_in_name(byte: u8, last: Last) -> bool {
    match last {
        Last::Dollar => byte.is_ascii_alphabetic() || byte == b'_',
        Last::Name => byte.is_ascii_alphanumeric() || byte == b'_',
        _ => false,
    }
}
