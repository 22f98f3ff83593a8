//! The races that `force` makes happen, and a signal that comes while somebody waits.
//! Unaware of what the flags do otherwise.

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::*;
use kqueue_shim::*;

/// The switches are the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn force(what: Force) {
    assert_eq!(kqueue_shim_force(what as i32, 1), 0);
}

fn exit_of(pid: u32) -> kevent {
    with(pid as usize, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0)
}

fn still_runs(child: &mut std::process::Child) -> bool {
    child.try_wait().expect("a child").is_none()
}

#[test]
fn gone_refuses_a_child_once() {
    let (_turn, queue, mut child) = (alone(), Queue::new(), sleeper());
    let before = kqueue_shim_forced(Force::Gone as i32);
    force(Force::Gone);
    let told = queue.call(&[exit_of(child.id())], 1, NOW).expect("room");
    assert_eq!(told[0].data, i64::from(libc::ESRCH));
    assert_eq!(kqueue_shim_forced(Force::Gone as i32), before + 1);
    assert!(still_runs(&mut child));
    queue.change(exit_of(child.id()));
    child.kill().expect("a child");
    assert_eq!(queue.next().data, 9);
    child.wait().expect("a child");
}

#[test]
fn early_tells_an_exit_that_is_not_there() {
    let (_turn, queue, mut child) = (alone(), Queue::new(), sleeper());
    force(Force::Early);
    queue.change(exit_of(child.id()));
    assert!(queue.is_readable());
    let told = queue.next();
    assert_eq!(told.flags, EV_CLEAR | EV_EOF | EV_ONESHOT);
    assert_eq!((told.fflags, told.data), (NOTE_EXIT, 0));
    assert!(still_runs(&mut child));
    child.kill().expect("a child");
    await_exit(&child);
    assert!(
        queue.now().is_empty(),
        "the knote is gone, as a kernel's is"
    );
    child.wait().expect("a child");
}

#[test]
fn an_early_exit_comes_on_demand() {
    let (_turn, queue, mut child) = (alone(), Queue::new(), sleeper());
    let pid = child.id() as i32;
    assert_eq!(kqueue_shim_exit_early(pid), 0);
    queue.change(exit_of(child.id()));
    assert!(queue.now().is_empty());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.next().ident);
        assert_eq!(kqueue_shim_exit_early(pid), 1);
        assert_eq!(waiting.join().expect("woken"), pid as usize);
    });
    assert!(still_runs(&mut child));
    child.kill().expect("a child");
    child.wait().expect("a child");
}

#[test]
fn a_disabled_one_is_told_of_an_early_exit_when_enabled() {
    let (_turn, queue, mut child) = (alone(), Queue::new(), sleeper());
    let mut event = exit_of(child.id());
    event.flags |= EV_DISABLE;
    queue.change(event);
    assert_eq!(kqueue_shim_exit_early(child.id() as i32), 1);
    assert!(queue.now().is_empty());
    event.flags = EV_ENABLE;
    queue.change(event);
    assert_eq!(queue.now().len(), 1);
    child.kill().expect("a child");
    child.wait().expect("a child");
}

#[test]
fn a_stale_timer_fires_now_and_at_its_time() {
    let (_turn, queue) = (alone(), Queue::new());
    let timer = |flags, data| with(1, EVFILT_TIMER, EV_ADD | flags, NOTE_MSECONDS, data);
    for flags in [0, EV_ONESHOT] {
        force(Force::Stale);
        queue.change(timer(flags, 3_600_000));
        assert_eq!(queue.next().data, 1);
        assert!(queue.now().is_empty());
        force(Force::Stale);
        queue.change(timer(flags, 5));
        assert_eq!(queue.next().data, 1);
        assert!(queue.next().data >= 1);
        queue
            .call(&[set(1, EVFILT_TIMER, EV_DELETE)], 1, NOW)
            .expect("room");
    }
}

#[test]
fn setting_a_timer_anew_forgets_a_stale_one() {
    let (_turn, queue) = (alone(), Queue::new());
    let timer = with(1, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, 3600);
    force(Force::Stale);
    queue.change(timer);
    assert!(queue.is_readable());
    queue.change(timer);
    assert!(queue.now().is_empty());
}

#[test]
fn what_is_forced_and_does_not_fit_is_told_by_the_next_call() {
    let (_turn, queue) = (alone(), Queue::new());
    let mut children = [sleeper(), sleeper()];
    for child in &children {
        queue.change(exit_of(child.id()));
        kqueue_shim_exit_early(child.id() as i32);
    }
    assert_eq!(queue.next().ident, children[0].id() as usize);
    assert!(queue.is_readable());
    assert_eq!(queue.next().ident, children[1].id() as usize);
    assert!(!queue.is_readable());
    for child in &mut children {
        child.kill().expect("a child");
        child.wait().expect("a child");
    }
}

#[test]
fn interrupted_fails_after_the_changes() {
    let (_turn, queue) = (alone(), Queue::new());
    force(Force::Interrupted);
    let add = set(5, EVFILT_USER, EV_ADD);
    assert_eq!(queue.call(&[add], 4, NOW).unwrap_err(), libc::EINTR);
    queue.change(with(5, EVFILT_USER, 0, NOTE_TRIGGER, 0));
    assert_eq!(queue.now().len(), 1);
}

#[test]
fn no_memory_refuses_what_is_new() {
    let (_turn, queue) = (alone(), Queue::new());
    let add = set(5, EVFILT_USER, EV_ADD);
    queue.change(add);
    force(Force::NoMemory);
    queue.change(add);
    let told = queue
        .call(&[set(6, EVFILT_USER, EV_ADD)], 1, NOW)
        .expect("room");
    assert_eq!(told[0].data, i64::from(libc::ENOMEM));
}

#[test]
fn an_unknown_switch_is_refused() {
    assert_eq!(kqueue_shim_force(99, 1), -1);
    assert_eq!(kqueue_shim_force(-1, 1), -1);
    assert_eq!(kqueue_shim_forced(99), 0);
}

#[test]
fn a_pid_and_a_descriptor_of_one_number_are_two_things() {
    let _turn = alone();
    let queue = Queue::new();
    let (read_end, write_end) = pipe();
    // Raised as far as it goes: a pid may be a large number.
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: room for the limit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: a whole limit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let mut child = sleeper();
    let number = child.id() as i32;
    if number as u64 >= limit.rlim_max {
        eprintln!("skipped: no descriptor may have the number {number} of the child here");
        child.kill().expect("a child");
        child.wait().expect("a child");
        return;
    }
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    // SAFETY: two numbers; nothing else has the second.
    assert_eq!(unsafe { libc::dup2(read_end.as_raw_fd(), number) }, number);
    // SAFETY: dup2(2) made it.
    let copy = unsafe { OwnedFd::from_raw_fd(number) };
    queue.change(exit_of(child.id()));
    queue.change(set(number as usize, EVFILT_READ, EV_ADD));
    write(&write_end, b"1");
    assert_eq!(queue.next().filter, EVFILT_READ);
    queue.change(set(number as usize, EVFILT_READ, EV_DELETE));
    child.kill().expect("a child");
    assert_eq!(queue.next().filter, EVFILT_PROC);
    child.wait().expect("a child");
    drop(copy);
}

#[test]
fn a_signal_ends_the_wait() {
    extern "C" fn nothing(_: i32) {}
    let _turn = alone();
    // SAFETY: zero is a valid sigaction; SA_RESTART is asked for, as it must not matter.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: a whole action.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    let queue = Queue::new();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            // SAFETY: it has no preconditions.
            tell.send(unsafe { libc::pthread_self() })
                .expect("a listener");
            queue.call(&[], 1, None).map(|told| told.len())
        });
        let thread = told.recv().expect("a thread");
        while !waiting.is_finished() {
            // SAFETY: not joined yet.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
            std::thread::yield_now();
        }
        assert_eq!(waiting.join().expect("a thread"), Err(libc::EINTR));
    });
}
