//! What the program `execloop` asks of the system and no safe interface has: the state at its start, signals at their
//! default, and its own CPU time.
//! Unaware of commands; nothing in the library calls it.
#![allow(unsafe_code, reason = "signal dispositions and getrusage")]

use std::io;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::Signal;
use super::usage::raw_usage;

/// Descriptors that were closed when the process began: bit 0 stands for stdin.
static CLOSED: AtomicU32 = AtomicU32::new(0);

/// Called by the loader. std opens `/dev/null` in place of what is closed, before `main`: then it is too late to ask.
#[used]
#[cfg_attr(
    target_vendor = "apple",
    unsafe(link_section = "__DATA,__mod_init_func")
)]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    for number in 0..3 {
        // SAFETY: fcntl(2) with this command takes no more.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
            CLOSED.fetch_or(1 << number, Ordering::Relaxed);
        }
    }
}

/// The CPU time of this process so far, without its children's.
pub fn own_cpu_time() -> Duration {
    // SAFETY: rusage is plain numbers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: there is room for the answer. It fails for an unknown first argument alone.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let usage = raw_usage(&usage);
    usage.user + usage.system
}

/// Descriptor 0, 1 or 2 was closed when the process began.
pub fn was_closed_at_start(number: u32) -> bool {
    CLOSED.load(Ordering::Relaxed) >> number & 1 == 1
}

/// The flag of open(2) for a file without a name.
#[cfg(target_os = "linux")]
pub const NAMELESS: i32 = libc::O_TMPFILE;

/// What is said of a descriptor that is closed.
pub fn closed_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

/// What is said of a directory where a file is needed.
pub fn directory_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EISDIR)
}

/// The kernel does not know what to make of a file that may be executed: a script without its first line.
pub fn is_unknown_format(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOEXEC)
}

/// No descriptor is left, to this process or to the system.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The largest number of a signal that this system has, where it tells that.
#[cfg(target_os = "linux")]
pub fn signal_number_max() -> i32 {
    libc::SIGRTMAX()
}

#[cfg(not(target_os = "linux"))]
pub fn signal_number_max() -> i32 {
    i32::MAX
}

/// Gives a signal its default action, whatever the process was started with.
pub fn set_default_action(signal: Signal) {
    // SAFETY: no handler is installed, only taken away.
    unsafe { libc::signal(signal.number(), libc::SIG_DFL) };
}

/// From here on this thread takes these signals. The masks of other threads stay as they are.
pub fn unblock_here(signals: &[Signal]) {
    // SAFETY: sigset_t is plain bits, for which zero is valid.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the set is whole.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: the set is whole; a number that is no signal is refused.
        unsafe { libc::sigaddset(&raw mut set, signal.number()) };
    }
    // SAFETY: the set is whole, and nobody asks for the mask before.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Stops this process as a signal's default action does, until it is continued: the kernel does not stop one whose
/// process group is orphaned, as no shell would continue it. The present action is back in place afterwards.
pub fn stop_by_default_action(signal: Signal) {
    let mut before = mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action asks for the present one, and `before` has room for it.
    let asked = unsafe { libc::sigaction(signal.number(), std::ptr::null(), before.as_mut_ptr()) };
    if asked == -1 {
        return;
    }
    set_default_action(signal);
    // SAFETY: raise(3) takes a number. It returns once the process was continued.
    unsafe { libc::raise(signal.number()) };
    // SAFETY: `before` was filled by the call above, and is the action that was in place.
    unsafe { libc::sigaction(signal.number(), before.as_ptr(), std::ptr::null_mut()) };
}
