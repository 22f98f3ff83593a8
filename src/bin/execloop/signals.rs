//! The signals that stop or suspend the program, received by a thread of their own.
//! Unaware of what is stopped, but for the last resort.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use execloop::{Command, Signal, program};
use rustix::process::{Pid, getpgid, kill_process_group};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::jobserver;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Ask what runs to stop; for the second time, kill it.
    Stop(Signal),
    /// Kill what runs.
    Kill(Signal),
    /// Stop with what runs, until somebody continues us.
    Suspend,
    /// Run one more at once.
    More,
    /// Run one less at once.
    Fewer,
    /// Some child has ended, perhaps an orphan.
    Reap,
}

impl Request {
    fn of(signal: Signal) -> Request {
        match signal {
            Signal::TSTP => Request::Suspend,
            Signal::QUIT => Request::Kill(signal),
            Signal::CHLD => Request::Reap,
            Signal::USR1 => Request::More,
            Signal::USR2 => Request::Fewer,
            _ => Request::Stop(signal),
        }
    }

    fn stops(self) -> bool {
        matches!(self, Request::Stop(_) | Request::Kill(_))
    }
}

const HANDLED: [Signal; 7] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::TSTP,
    Signal::USR1,
    Signal::USR2,
];

/// After so many requests to stop, somebody who waits for us in vain would have to use SIGKILL.
const STOPS_MAX: u32 = 3;

/// It cannot be ended by its own signal.
pub(crate) fn is_process_one() -> bool {
    std::process::id() == 1
}

/// Receives signals from now on, but for those that are ignored: `nohup` and a shell's `&` mean it. One that is blocked
/// is received all the same, as who starts a program with its own mask seldom means that, and commands still get that mask.
/// Calls `wake` after each. `wants_ends`: an end of a child is one, too. The third that asks to stop kills what runs and
/// ends the program where it stands.
pub(crate) fn receive(
    wants_ends: bool,
    wake: impl Fn() + Send + 'static,
) -> io::Result<Receiver<Request>> {
    let_large_writes_fail();
    let handled = HANDLED.into_iter().filter(|signal| !is_ignored(*signal));
    let child = wants_ends.then_some(Signal::CHLD);
    let handled: Vec<Signal> = handled.chain(child).collect();
    let mut signals = Signals::new(handled.iter().copied().map(Signal::number))?;
    let (sender, receiver) = channel();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            program::unblock_here(&handled);
            let mut stops = 0;
            for signal in signals.forever().filter_map(Signal::new) {
                let request = Request::of(signal);
                stops += u32::from(request.stops());
                if stops == STOPS_MAX {
                    kill_children();
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

/// A write beyond the limit of a file's size (`ulimit -f`) fails with `EFBIG`, and does not end the program. The signal is
/// caught and not ignored, so that commands get its default action.
fn let_large_writes_fail() {
    if !is_ignored(Signal::XFSZ) {
        // Where it fails, the signal ends the program as it would any other.
        let _ = signal_hook::flag::register(Signal::XFSZ.number(), Arc::default());
    }
}

/// Ends the program by a signal, so that a shell knows: a script goes on after an exit status of 130, but not after
/// SIGINT. Nothing is dropped. Process 1 of a container cannot be ended so, and exits as a shell would put it.
pub(crate) fn end_by(signal: Signal) -> ! {
    jobserver::clean_up();
    if !is_process_one() {
        let _ = emulate_default_handler(signal.number());
    }
    std::process::exit(128 + signal.number())
}

/// Stops this process as SIGTSTP does, until it is continued.
pub(crate) fn suspend() {
    program::stop_by_default_action(Signal::TSTP);
}

/// Kills the children of this process with the groups that they lead, although the loop may not have got to it. A number
/// that was read is a child's until the loop reaps it, and no other process is given it in the instant after that.
fn kill_children() {
    for pid in children() {
        if getpgid(Some(pid)) == Ok(pid) {
            let _ = kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// From the parent that each process names: the list of children that proc(5) has leaves some out while others exit.
fn children() -> Vec<Pid> {
    let us = std::process::id();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_child = |pid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))
            .unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        parent.and_then(|parent| parent.trim().parse().ok()) == Some(us)
    };
    processes
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(is_child)
        .collect()
}

/// This process was started with the signal ignored.
fn is_ignored(signal: Signal) -> bool {
    match fs::read_to_string("/proc/self/status") {
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
