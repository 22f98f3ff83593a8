//! The signals that stop or suspend the program, received by a thread of their own.
//! Unaware of what is stopped.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use execloop::{Command, Signal};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Ask what runs to stop; for the second time, kill it.
    Stop(Signal),
    /// Kill what runs.
    Kill(Signal),
    /// Stop with what runs, until somebody continues us.
    Suspend,
}

impl Request {
    fn of(signal: Signal) -> Request {
        match signal {
            Signal::TSTP => Request::Suspend,
            Signal::QUIT => Request::Kill(signal),
            _ => Request::Stop(signal),
        }
    }
}

const HANDLED: [Signal; 5] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::TSTP,
];

/// After so many requests to stop, somebody who waits for us in vain would have to use SIGKILL.
const STOPS_MAX: u32 = 3;

/// Receives signals from now on, but for those that are ignored: `nohup` and a shell's `&` mean it. Calls `wake` after
/// each. The third that asks to stop ends the program where it stands.
pub(crate) fn receive(wake: impl Fn() + Send + 'static) -> io::Result<Receiver<Request>> {
    let handled = HANDLED.into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = Signals::new(handled.map(Signal::number))?;
    let (sender, receiver) = channel();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut stops = 0;
            for signal in signals.forever().filter_map(Signal::new) {
                let request = Request::of(signal);
                stops += u32::from(request != Request::Suspend);
                if stops == STOPS_MAX {
                    end_by(signal);
                }
                if sender.send(request).is_err() {
                    return;
                }
                wake();
            }
        })?;
    Ok(receiver)
}

/// Ends the program by a signal, so that a shell knows: a script goes on after an exit status of 130, but not after
/// SIGINT. Process 1 of a container cannot be ended so, and exits as a shell would put it.
pub(crate) fn end_by(signal: Signal) -> ! {
    if std::process::id() != 1 {
        let _ = emulate_default_handler(signal.number());
    }
    std::process::exit(128 + signal.number())
}

/// Stops this process, until it is continued.
pub(crate) fn suspend() {
    let _ = emulate_default_handler(Signal::TSTP.number());
}

/// This process was started with the signal ignored.
fn is_ignored(signal: Signal) -> bool {
    match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => is_in_mask(&status, signal).unwrap_or(false),
        Err(_) => is_ignored_by_child(signal),
    }
}

/// From the line `SigIgn` of proc(5): bit 0 stands for signal 1.
fn is_in_mask(status: &str, signal: Signal) -> Option<bool> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask >> (signal.number() - 1) & 1 == 1)
}

/// Without proc(5): an ignored signal is ignored by children, too, so one that sends it to itself lives on.
fn is_ignored_by_child(signal: Signal) -> bool {
    if signal == Signal::TSTP {
        return false;
    }
    let script = format!("kill -{} $$", signal.number());
    Command::new("/bin/sh").args(["-c", &script]).run().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read_by_number() {
        let status = "Name:\ta\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert_eq!(is_in_mask(status, Signal::HUP), Some(true));
        assert_eq!(is_in_mask(status, Signal::INT), Some(false));
        assert_eq!(is_in_mask(status, Signal::PIPE), Some(true));
        assert_eq!(is_in_mask("SigIgn:\tnonsense\n", Signal::HUP), None);
        assert_eq!(is_in_mask("", Signal::HUP), None);
    }

    #[test]
    fn a_child_and_proc_agree_on_what_is_ignored() {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
            assert_eq!(is_ignored_by_child(signal), is_ignored(signal), "{signal}");
        }
        // Rust ignores SIGPIPE in this process, and the library gives children its default action.
        assert!(is_ignored(Signal::PIPE) && !is_ignored_by_child(Signal::PIPE));
    }
}
