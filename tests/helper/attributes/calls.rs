//! Raw calls of the scenarios: a filter that refuses system calls, terminals, signals, credentials.
//! Unaware of the library.
#![allow(unsafe_code, reason = "calls that std does not have")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// The filter's instructions, see linux/filter.h.
const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_IF_SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// Where `struct seccomp_data` has the call's number, and the low halves of its second and third argument.
const OF_NUMBER: u32 = 0;
#[cfg(target_arch = "x86_64")]
const OF_SECOND_ARGUMENT: u32 = 24;
const OF_THIRD_ARGUMENT: u32 = if cfg!(target_endian = "little") {
    32
} else {
    36
};

fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// From here on, this process and its children get these error numbers from these calls: `clone3=ENOSYS` ..
pub(crate) fn refuse(refused: &[&str]) {
    let mut program = vec![instruction(LOAD_WORD, OF_NUMBER, 0, 0)];
    let mut told = Vec::new();
    for text in refused {
        let (call, errno) = text.split_once('=').expect("CALL=ERRNO");
        let (number, errno) = (number_of(call), errno_of(errno));
        program.push(instruction(JUMP_IF_EQUAL, number as u32, 0, 1));
        program.push(instruction(
            RETURN,
            libc::SECCOMP_RET_ERRNO | errno as u32,
            0,
            0,
        ));
        told.push((number, errno));
    }
    program.push(instruction(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    if !told.is_empty() {
        install(&mut program);
    }
    for (number, errno) in told {
        // SAFETY: the filter answers, whatever the arguments; without it, no null pointer and no flag of 0 is acted on.
        let result = unsafe { libc::syscall(number, -1_i64, 0_i64, 0_i64, 0_i64, 0_i64) };
        assert_eq!(
            (result, io::Error::last_os_error().raw_os_error()),
            (-1, Some(errno))
        );
    }
}

/// From here on, whoever creates or truncates a file here is killed.
pub(super) fn die_at_create() {
    die_at(libc::SYS_openat, OF_THIRD_ARGUMENT, libc::O_CREAT);
    // musl's open(3) is this one, where there is one.
    #[cfg(target_arch = "x86_64")]
    die_at(libc::SYS_open, OF_SECOND_ARGUMENT, libc::O_CREAT);
}

/// The same for whoever makes this call with this flag in that argument.
fn die_at(number: libc::c_long, of_argument: u32, flag: libc::c_int) {
    install(&mut [
        instruction(LOAD_WORD, OF_NUMBER, 0, 0),
        instruction(JUMP_IF_EQUAL, number as u32, 0, 3),
        instruction(LOAD_WORD, of_argument, 0, 0),
        instruction(JUMP_IF_SET, flag as u32, 0, 1),
        instruction(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        instruction(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ]);
}

fn install(program: &mut [libc::sock_filter]) {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: prctl(2) with this option takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) });
    // SAFETY: the filter's program lives across the call.
    check(unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    });
}

fn number_of(call: &str) -> libc::c_long {
    match call {
        "clone3" => libc::SYS_clone3,
        "clone" => libc::SYS_clone,
        "close_range" => libc::SYS_close_range,
        "pidfd_send_signal" => libc::SYS_pidfd_send_signal,
        "unshare" => libc::SYS_unshare,
        "mount" => libc::SYS_mount,
        "waitid" => libc::SYS_waitid,
        "pwritev2" => libc::SYS_pwritev2,
        _ => panic!("no call {call:?}"),
    }
}

fn errno_of(name: &str) -> i32 {
    match name {
        "ENOSYS" => libc::ENOSYS,
        "EPERM" => libc::EPERM,
        "EINVAL" => libc::EINVAL,
        "EACCES" => libc::EACCES,
        "EOPNOTSUPP" => libc::EOPNOTSUPP,
        _ => panic!("no error number {name:?}"),
    }
}

#[track_caller]
fn check(result: libc::c_int) -> libc::c_int {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

/// Opens `/dev/null` as descriptor `number`, without close-on-exec.
pub(super) fn leak_at(number: i32) -> OwnedFd {
    let null = super::open("/dev/null");
    // SAFETY: dup2(2) takes numbers; nothing here has opened this one.
    let leak = check(unsafe { libc::dup2(null.as_raw_fd(), number) });
    // SAFETY: dup2(2) made it, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(leak) }
}

/// Makes reads of this end return at once.
pub(super) fn set_nonblocking(end: &impl AsRawFd) {
    // SAFETY: fcntl(2) with this command takes one number.
    check(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) });
}

/// Has this process's stdin closed meanwhile.
pub(super) fn without_stdin<T>(act: impl FnOnce() -> T) -> T {
    // SAFETY: fcntl(2) with this command takes one number.
    let aside = check(unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 100) });
    // SAFETY: nothing here reads it meanwhile.
    check(unsafe { libc::close(0) });
    let result = act();
    // SAFETY: dup2(2) takes numbers, and this one was free.
    check(unsafe { libc::dup2(aside, 0) });
    // SAFETY: it was made above, and is not used any more.
    check(unsafe { libc::close(aside) });
    result
}

/// A new pseudo-terminal: its master's end and its own, which is nobody's controlling terminal yet.
pub(super) fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: posix_openpt(3) takes flags.
    let master = unsafe { libc::posix_openpt(flags) };
    if master == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: posix_openpt(3) returned a new descriptor.
    let master = unsafe { OwnedFd::from_raw_fd(master) };
    // SAFETY: it is a master's end.
    check(unsafe { libc::unlockpt(master.as_raw_fd()) });
    // SAFETY: this request (Linux 4.13) takes flags and returns a new descriptor.
    let own = check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) });
    // SAFETY: as said.
    Ok((master, unsafe { OwnedFd::from_raw_fd(own) }))
}

/// The foreground group of a terminal.
pub(super) fn foreground(terminal: &impl AsRawFd) -> i32 {
    // SAFETY: tcgetpgrp(3) takes a number.
    check(unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) })
}

/// Makes this process's group the foreground again.
pub(super) fn take_foreground(terminal: &impl AsRawFd) {
    // SAFETY: getpgrp(2) has no preconditions.
    put_in_foreground(terminal, unsafe { libc::getpgrp() });
}

/// Makes this group the foreground, also from the background.
pub(super) fn put_in_foreground(terminal: &impl AsRawFd, group: i32) {
    // SAFETY: signal(2) with this disposition has no handler to be wrong about.
    let before = unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
    // SAFETY: tcsetpgrp(3) takes numbers.
    check(unsafe { libc::tcsetpgrp(terminal.as_raw_fd(), group) });
    // SAFETY: `before` is what the kernel gave us.
    unsafe { libc::signal(libc::SIGTTOU, before) };
}

/// Kills a process.
pub(super) fn end(pid: i32) {
    // SAFETY: kill(2) takes numbers.
    check(unsafe { libc::kill(pid, libc::SIGKILL) });
}

/// Kills a process group.
pub(super) fn end_group(group: i32) {
    // SAFETY: kill(2) takes two numbers.
    check(unsafe { libc::kill(-group, libc::SIGKILL) });
}

/// Does this in a forked copy of this process, which ends then.
pub(super) fn in_a_copy(act: impl FnOnce()) {
    // SAFETY: this process has one thread.
    let copy = check(unsafe { libc::fork() });
    if copy == 0 {
        act();
        // SAFETY: _exit(2) takes a number.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: `status` has room for the answer.
    check(unsafe { libc::waitpid(copy, &raw mut status, 0) });
    assert_eq!(status, 0, "the copy");
}

/// How often `count` has run, and in how many processes that are not this one.
pub(super) static HANDLED: AtomicU32 = AtomicU32::new(0);
pub(super) static HANDLED_ELSEWHERE: AtomicU32 = AtomicU32::new(0);
static OWN_PID: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_signal: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: getpid(2) has no preconditions; the raw call, as a library's could remember the number.
    let pid = unsafe { libc::syscall(libc::SYS_getpid) };
    if pid as u32 != OWN_PID.load(Ordering::Relaxed) {
        HANDLED_ELSEWHERE.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts this signal from here on.
pub(super) fn handle(signal: libc::c_int) {
    OWN_PID.store(std::process::id(), Ordering::Relaxed);
    let handler: extern "C" fn(libc::c_int) = count;
    // SAFETY: zero is valid for a sigaction: the default action, no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler only uses atomics and getpid(2).
    check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) });
}

/// Ignores this signal from here on.
pub(super) fn ignore(signal: libc::c_int) {
    // SAFETY: signal(2) with this disposition has no handler to be wrong about.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Blocks these signals on this thread, and returns what is blocked now.
pub(super) fn block(signals: &[libc::c_int]) -> u64 {
    // SAFETY: sigset_t is plain numbers.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in signals {
        // SAFETY: `set` is a whole set.
        check(unsafe { libc::sigaddset(&raw mut set, *signal) });
    }
    // SAFETY: as above.
    check(unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) });
    let text = std::fs::read_to_string("/proc/thread-self/status").expect("its status");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))
        .expect("a mask");
    u64::from_str_radix(line.trim(), 16).expect("a number")
}

/// Whether this signal waits to be unblocked.
pub(super) fn is_pending(signal: libc::c_int) -> bool {
    // SAFETY: sigset_t is plain numbers.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` has room for the answer.
    check(unsafe { libc::sigpending(&raw mut set) });
    // SAFETY: `set` is a whole set.
    check(unsafe { libc::sigismember(&raw const set, signal) }) == 1
}

/// Signals this process.
pub(super) fn raise(signal: libc::c_int) {
    // SAFETY: raise(3) takes a number.
    check(unsafe { libc::raise(signal) });
}

/// Signals every process of this one's group.
pub(super) fn signal_own_group(signal: libc::c_int) {
    // SAFETY: kill(2) takes numbers.
    check(unsafe { libc::kill(0, signal) });
}

/// Sends a signal through a pidfd.
pub(super) fn signal_pidfd(pidfd: &impl AsRawFd, signal: libc::c_int) -> io::Result<()> {
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for that of kill(2).
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            nothing,
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Waits until a descriptor is readable.
pub(super) fn wait_readable(fd: &impl AsRawFd) {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one whole structure.
    assert_eq!(check(unsafe { libc::poll(&raw mut poll, 1, -1) }), 1);
}

/// The effective user.
pub(super) fn user() -> u32 {
    // SAFETY: geteuid(2) has no preconditions.
    unsafe { libc::geteuid() }
}

/// Sets the supplementary groups of this process.
pub(super) fn set_groups(groups: &[u32]) {
    // SAFETY: the list is as long as told.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) });
}

/// Becomes this user and group for good, in a way that leaves the files under `/proc/self` its own.
pub(super) fn become_user(id: u32) {
    set_groups(&[]);
    // SAFETY: setresgid(2) takes numbers.
    check(unsafe { libc::setresgid(id, id, id) });
    // SAFETY: setresuid(2) takes numbers.
    check(unsafe { libc::setresuid(id, id, id) });
    set_dumpable(1);
}

/// Whether this process may be traced and dumped.
pub(super) fn dumpable() -> i32 {
    // SAFETY: prctl(2) with this option only reads.
    check(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) })
}

pub(super) fn set_dumpable(to: i32) {
    // SAFETY: prctl(2) with this option takes a number.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, to) });
}

/// The signal that this process gets at its parent's death.
pub(super) fn death_signal() -> i32 {
    let mut signal = -1;
    // SAFETY: prctl(2) with this option writes one int.
    check(unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) });
    signal
}

/// Takes back what `block` did.
pub(super) fn unblock(signals: &[libc::c_int]) {
    // SAFETY: sigset_t is plain numbers.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in signals {
        // SAFETY: `set` is a whole set.
        check(unsafe { libc::sigaddset(&raw mut set, *signal) });
    }
    // SAFETY: as above.
    check(unsafe {
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut())
    });
}

/// Gives these signals their default action.
pub(super) fn reset(signals: &[libc::c_int]) {
    for signal in signals {
        // SAFETY: signal(2) with this disposition has no handler to be wrong about.
        unsafe { libc::signal(*signal, libc::SIG_DFL) };
    }
}
