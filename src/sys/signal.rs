//! `Signal`: a signal's number under its usual name.
//! Unaware of processes.

use std::fmt;
use std::str::FromStr;

/// A signal number. The constants carry the usual names without `SIG`.
///
/// ```
/// use execloop::Signal;
/// assert_eq!("int".parse(), Ok(Signal::INT));
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM");
/// ```
///
/// Printed as `SIGTERM`, or `signal 34` where a number has no name. Parsed from `TERM`, `SIGTERM`, `term` or `15`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

macro_rules! signals {
    ($($name:ident = $number:ident,)*) => {
        impl Signal {
            $(
                #[doc = concat!("`", stringify!($number), "`, see signal(7).")]
                pub const $name: Signal = Signal(libc::$number);
            )*
            const NAMES: &[(&str, Signal)] = &[$((concat!("SIG", stringify!($name)), Signal::$name),)*];
        }
    };
}

signals! {
    HUP = SIGHUP, INT = SIGINT, QUIT = SIGQUIT, ILL = SIGILL, TRAP = SIGTRAP, ABRT = SIGABRT, BUS = SIGBUS,
    FPE = SIGFPE, KILL = SIGKILL, USR1 = SIGUSR1, SEGV = SIGSEGV, USR2 = SIGUSR2, PIPE = SIGPIPE, ALRM = SIGALRM,
    TERM = SIGTERM, CHLD = SIGCHLD, CONT = SIGCONT, STOP = SIGSTOP, TSTP = SIGTSTP, TTIN = SIGTTIN,
    TTOU = SIGTTOU, URG = SIGURG, XCPU = SIGXCPU, XFSZ = SIGXFSZ, VTALRM = SIGVTALRM, PROF = SIGPROF,
    WINCH = SIGWINCH, IO = SIGIO, SYS = SIGSYS,
}

/// The largest signal number of any Unix that this crate runs on.
const SIGNAL_MAX: i32 = 127;

impl Signal {
    /// The signal with this number, or `None` outside `0..=127`. Number 0 signals nothing and only probes whether the
    /// child can be signalled (kill(2)).
    pub const fn new(number: i32) -> Option<Signal> {
        if number >= 0 && number <= SIGNAL_MAX {
            Some(Signal(number))
        } else {
            None
        }
    }

    /// The number.
    pub const fn number(self) -> i32 {
        self.0
    }

    fn name(self) -> Option<&'static str> {
        Signal::NAMES
            .iter()
            .find(|(_, signal)| *signal == self)
            .map(|(name, _)| *name)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => formatter.pad(name),
            None => write!(formatter, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The text names no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal {text:?}")]
pub struct SignalParseError {
    text: String,
}

/// Reads a name, with `SIG` or without and in any case (`TERM`, `sigterm`), or a number from 1 to 127. Number 0, which
/// signals nothing, is refused: [`new`](Signal::new) makes it for who means to probe.
impl FromStr for Signal {
    type Err = SignalParseError;

    fn from_str(text: &str) -> Result<Signal, SignalParseError> {
        let unknown = || SignalParseError {
            text: text.to_owned(),
        };
        if let Ok(number) = text.parse::<i32>() {
            return Signal::new(number)
                .filter(|signal| signal.0 != 0)
                .ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = Signal::NAMES
            .iter()
            .find(|(name, _)| name.strip_prefix("SIG") == Some(bare));
        found.map(|(_, signal)| *signal).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_signal_with_and_without_prefix() {
        for (name, signal) in Signal::NAMES {
            assert_eq!(name.parse(), Ok(*signal));
            assert_eq!(name[3..].to_lowercase().parse(), Ok(*signal));
            assert_eq!(signal.number().to_string().parse(), Ok(*signal));
            assert_eq!(signal.to_string(), *name);
        }
    }

    #[test]
    fn nonsense_zero_and_negative_numbers_are_refused() {
        for text in ["", "SIG", "NOPE", "0", "-9", "128", "SIGSIGTERM"] {
            assert!(text.parse::<Signal>().is_err(), "{text:?}");
        }
        assert_eq!(
            Signal::new(34).map(|signal| signal.to_string()),
            Some("signal 34".to_owned())
        );
    }
}
