//! EVFILT_PROC, EVFILT_TIMER and EVFILT_USER.
//! Unaware of descriptors and races.

mod common;

use std::process::Command;

use common::*;
use kqueue_shim::*;

fn exit_of(pid: u32, flags: u16) -> kevent {
    with(pid as usize, EVFILT_PROC, EV_ADD | flags, NOTE_EXIT, 0)
}

#[test]
fn the_layout_is_freebsds() {
    assert_eq!(size_of::<kevent>(), 64);
    assert_eq!(std::mem::offset_of!(kevent, filter), 8);
    assert_eq!(std::mem::offset_of!(kevent, flags), 10);
    assert_eq!(std::mem::offset_of!(kevent, fflags), 12);
    assert_eq!(std::mem::offset_of!(kevent, data), 16);
    assert_eq!(std::mem::offset_of!(kevent, udata), 24);
    assert_eq!(std::mem::offset_of!(kevent, ext), 32);
}

#[test]
fn an_exit_is_told_once_with_its_status_and_nothing_is_reaped() {
    let queue = Queue::new();
    let mut child = sleeper();
    let mut event = exit_of(child.id(), 0);
    event.udata = udata(9);
    queue.change(event);
    assert!(queue.now().is_empty());
    drop(child.stdin.take());
    let told = queue.next();
    assert_eq!(
        (told.ident, told.filter),
        (child.id() as usize, EVFILT_PROC)
    );
    assert_eq!(told.flags, EV_CLEAR | EV_EOF | EV_ONESHOT);
    assert_eq!((told.fflags, told.data), (NOTE_EXIT, 0));
    assert_eq!(told.udata, udata(9));
    assert!(queue.now().is_empty());
    let gone = set(child.id() as usize, EVFILT_PROC, EV_DELETE);
    assert_eq!(queue.refusal(gone), libc::ENOENT);
    assert!(child.wait().expect("still there").success());
}

#[test]
fn the_status_is_that_of_wait() {
    for (script, status) in [("exit 3", 3 << 8), ("kill -9 $$", 9), ("kill -15 $$", 15)] {
        let queue = Queue::new();
        let mut child = shell(script);
        queue.change(exit_of(child.id(), 0));
        assert_eq!(queue.next().data, status, "{script}");
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(
            i64::from(child.wait().expect("still there").into_raw()),
            status
        );
    }
}

#[test]
fn a_child_that_has_exited_is_told_at_once() {
    let queue = Queue::new();
    let mut child = shell("exit 4");
    await_exit(&child);
    queue.change(exit_of(child.id(), 0));
    assert_eq!(queue.now()[0].data, 4 << 8);
    child.wait().expect("still there");
}

#[test]
fn a_reaped_child_is_no_process() {
    let queue = Queue::new();
    let mut child = shell("exit 0");
    child.wait().expect("a child");
    assert_eq!(queue.refusal(exit_of(child.id(), 0)), libc::ESRCH);
    let nobody = with(usize::MAX, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0);
    assert_eq!(queue.refusal(nobody), libc::ESRCH);
}

#[test]
fn a_stop_is_no_exit() {
    let queue = Queue::new();
    let mut child = sleeper();
    queue.change(exit_of(child.id(), 0));
    let pid = child.id() as i32;
    // SAFETY: an unreaped child's pid.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    let mut status = 0;
    // SAFETY: room for the status.
    unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) };
    assert!(libc::WIFSTOPPED(status));
    assert!(queue.now().is_empty());
    child.kill().expect("a child");
    assert_eq!(queue.next().data, 9);
    child.wait().expect("a child");
}

#[test]
fn an_exit_that_nobody_wants_is_dropped() {
    let queue = Queue::new();
    let mut child = shell("exit 0");
    queue.change(with(child.id() as usize, EVFILT_PROC, EV_ADD, 0, 0));
    await_exit(&child);
    assert!(queue.now().is_empty());
    let gone = set(child.id() as usize, EVFILT_PROC, EV_DELETE);
    assert_eq!(queue.refusal(gone), libc::ENOENT);
    child.wait().expect("a child");
}

#[test]
fn forks_and_execs_are_not_watched_and_it_says_so() {
    let queue = Queue::new();
    let own = std::process::id() as usize;
    for note in [NOTE_FORK, NOTE_EXEC, NOTE_TRACK] {
        let event = with(own, EVFILT_PROC, EV_ADD, note, 0);
        assert_eq!(queue.refusal(event), libc::EOPNOTSUPP);
    }
}

#[test]
fn a_disabled_exit_is_told_when_enabled() {
    let queue = Queue::new();
    let mut child = shell("exit 1");
    queue.change(exit_of(child.id(), EV_DISABLE));
    await_exit(&child);
    assert!(queue.now().is_empty());
    queue.change(exit_of(child.id(), EV_ENABLE));
    assert_eq!(queue.now().len(), 1);
    child.wait().expect("a child");
}

#[test]
fn two_queues_are_told_of_one_exit() {
    let queues = [Queue::new(), Queue::new()];
    let mut child = Command::new("/bin/true").spawn().expect("true");
    for queue in &queues {
        queue.change(exit_of(child.id(), 0));
    }
    for queue in &queues {
        assert_eq!(queue.next().ident, child.id() as usize);
    }
    child.wait().expect("a child");
}

fn timer(ident: usize, flags: u16, fflags: u32, data: i64) -> kevent {
    with(ident, EVFILT_TIMER, EV_ADD | flags, fflags, data)
}

#[test]
fn each_unit_of_a_timer_is_its_own() {
    let queue = Queue::new();
    // Half a minute apart at least, were a unit taken for another; all of them are over at once.
    for (ident, unit, count) in [
        (1, NOTE_SECONDS, 1),
        (2, NOTE_MSECONDS, 20),
        (3, NOTE_USECONDS, 10_000),
        (4, NOTE_NSECONDS, 1_000_000),
        (5, 0, 30),
    ] {
        queue.change(timer(ident, EV_ONESHOT, unit, count));
    }
    let order: Vec<usize> = (0..5).map(|_| queue.next().ident).collect();
    assert_eq!(order[4], 1, "{order:?}");
    queue.change(timer(6, EV_ONESHOT, NOTE_SECONDS, 3600));
    queue.change(timer(7, EV_ONESHOT, 0, 3_600_000));
    queue.change(timer(8, EV_ONESHOT, NOTE_USECONDS, 3_600_000_000));
    queue.change(timer(9, EV_ONESHOT, NOTE_NSECONDS, 3_600_000_000_000));
    assert!(queue.now().is_empty());
}

#[test]
fn a_oneshot_timer_fires_once() {
    let queue = Queue::new();
    queue.change(timer(1, EV_ONESHOT, NOTE_USECONDS, 1));
    let told = queue.next();
    assert_eq!(told.flags, EV_ONESHOT | EV_CLEAR);
    assert_eq!((told.fflags, told.data), (0, 1));
    let gone = set(1, EVFILT_TIMER, EV_DELETE);
    assert_eq!(queue.refusal(gone), libc::ENOENT);
    queue.change(timer(1, EV_ONESHOT, 0, 0));
    assert_eq!(queue.next().data, 1, "nothing at all is at once");
}

#[test]
fn a_periodic_timer_counts_what_nobody_took() {
    let queue = Queue::new();
    queue.change(timer(1, EV_DISABLE, NOTE_MSECONDS, 1));
    // Another timer that takes ten times as long is the clock of this test.
    queue.change(timer(2, EV_ONESHOT, NOTE_MSECONDS, 20));
    assert_eq!(queue.next().ident, 2);
    queue.change(set(1, EVFILT_TIMER, EV_ENABLE));
    let told = queue.next();
    assert_eq!((told.ident, told.flags), (1, EV_CLEAR));
    assert!(told.data >= 10, "{told:?}");
    assert_eq!(queue.next().ident, 1, "and again");
    queue.change(set(1, EVFILT_TIMER, EV_DELETE));
    assert!(queue.now().is_empty());
}

#[test]
fn a_period_of_nothing_is_one_of_a_unit() {
    let queue = Queue::new();
    queue.change(timer(1, 0, NOTE_USECONDS, 0));
    for _ in 0..3 {
        assert_eq!(queue.next().ident, 1);
    }
}

#[test]
fn a_timer_that_is_added_again_forgets_what_it_fired() {
    let queue = Queue::new();
    queue.change(timer(1, EV_ONESHOT, NOTE_USECONDS, 1));
    while !queue.is_readable() {}
    queue.change(timer(1, EV_ONESHOT, NOTE_SECONDS, 3600));
    assert!(!queue.is_readable());
    assert!(queue.now().is_empty());
    queue.change(timer(1, EV_ONESHOT, NOTE_USECONDS, 1));
    assert_eq!(queue.next().data, 1);
}

#[test]
fn an_absolute_time_is_one_of_the_wall_clock() {
    let queue = Queue::new();
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: room for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    let now = std::time::Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    let hour = 3600;
    let later = now.as_secs() as i64 + hour;
    queue.change(timer(1, EV_ONESHOT, NOTE_ABSTIME | NOTE_SECONDS, later));
    assert!(queue.now().is_empty());
    let soon = now.as_millis() as i64 + 5;
    queue.change(timer(2, EV_ONESHOT, NOTE_ABSTIME | NOTE_MSECONDS, soon));
    assert_eq!(queue.next().ident, 2);
    // What is past fires at once; without a flag that ends it, it goes on being told.
    let past = now.as_millis() as i64 - 1;
    queue.change(timer(3, 0, NOTE_ABSTIME | NOTE_MSECONDS, past));
    for _ in 0..2 {
        let told = queue.next();
        assert_eq!((told.ident, told.flags, told.data), (3, 0, 1));
    }
    let before_boot = timer(4, 0, NOTE_ABSTIME | NOTE_SECONDS, 1);
    assert_eq!(queue.refusal(before_boot), libc::EINVAL);
}

#[test]
fn a_timer_of_nonsense_is_refused() {
    let queue = Queue::new();
    for event in [
        timer(1, 0, 0, -1),
        timer(1, 0, NOTE_SECONDS | NOTE_USECONDS, 1),
        timer(1, 0, 0x100, 1),
    ] {
        assert_eq!(queue.refusal(event), libc::EINVAL);
    }
    let gone = set(1, EVFILT_TIMER, EV_DELETE);
    assert_eq!(queue.refusal(gone), libc::ENOENT);
}

#[test]
fn a_user_event_is_told_when_triggered_with_its_flags_and_data() {
    let queue = Queue::new();
    let change = |flags, fflags, data| with(5, EVFILT_USER, flags, fflags, data);
    // FreeBSD takes no trigger from the change that adds.
    queue.change(change(EV_ADD, NOTE_TRIGGER | 0b1, 0));
    assert!(queue.now().is_empty());
    queue.change(change(0, NOTE_FFCOPY | 0b1100, 0));
    assert!(queue.now().is_empty());
    queue.change(change(0, NOTE_TRIGGER | NOTE_FFOR | 0b0011, 77));
    for _ in 0..2 {
        let told = queue.next();
        assert_eq!((told.fflags, told.data, told.flags), (0b1111, 77, 0));
    }
    queue.change(change(0, NOTE_FFAND | 0b0110, 78));
    assert_eq!((queue.next().fflags, queue.next().data), (0b0110, 78));
    queue.change(change(0, NOTE_FFNOP | 0b1, 78));
    assert_eq!(queue.next().fflags, 0b0110);
    // EV_CLEAR in a change takes the trigger back.
    queue.change(change(EV_CLEAR, NOTE_FFNOP, 0));
    assert!(queue.now().is_empty());
}

#[test]
fn a_user_event_with_clear_is_told_once_for_each_trigger() {
    let queue = Queue::new();
    queue.change(set(5, EVFILT_USER, EV_ADD | EV_CLEAR));
    for _ in 0..2 {
        queue.change(with(5, EVFILT_USER, 0, NOTE_TRIGGER, 0));
        assert_eq!(queue.next().flags, EV_CLEAR);
        assert!(queue.now().is_empty());
    }
}

#[test]
fn a_oneshot_user_event_is_copied_without_its_flags() {
    let queue = Queue::new();
    queue.change(with(5, EVFILT_USER, EV_ADD | EV_ONESHOT, 0b1, 3));
    queue.change(with(5, EVFILT_USER, 0, NOTE_TRIGGER, 3));
    let told = queue.next();
    assert_eq!((told.fflags, told.data), (0, 0));
    assert_eq!(queue.refusal(set(5, EVFILT_USER, EV_DELETE)), libc::ENOENT);
}

#[test]
fn a_dispatched_user_event_is_still_triggered_when_enabled() {
    let queue = Queue::new();
    queue.change(set(5, EVFILT_USER, EV_ADD | EV_DISPATCH));
    queue.change(with(5, EVFILT_USER, 0, NOTE_TRIGGER, 0));
    assert_eq!(queue.now().len(), 1);
    assert!(queue.now().is_empty());
    queue.change(set(5, EVFILT_USER, EV_ENABLE));
    assert_eq!(queue.now().len(), 1);
}

#[test]
fn a_forced_oneshot_is_told_at_once_and_is_gone() {
    let queue = Queue::new();
    queue.change(timer(1, 0, NOTE_SECONDS, 3600));
    queue.change(set(1, EVFILT_TIMER, EV_FORCEONESHOT));
    assert_eq!(queue.now().len(), 1);
    assert_eq!(queue.refusal(set(1, EVFILT_TIMER, EV_DELETE)), libc::ENOENT);
}

#[test]
fn the_extensions_come_back() {
    let queue = Queue::new();
    let mut event = set(5, EVFILT_USER, EV_ADD);
    event.ext = [1, 2, 3, 4];
    queue.change(event);
    queue.change(with(5, EVFILT_USER, 0, NOTE_TRIGGER, 0));
    assert_eq!(queue.next().ext, [1, 2, 3, 4]);
}

#[test]
fn a_thread_that_waits_is_woken_by_another() {
    let queue = Queue::new();
    queue.change(set(5, EVFILT_USER, EV_ADD | EV_CLEAR));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.next().ident);
        queue.change(with(5, EVFILT_USER, 0, NOTE_TRIGGER, 0));
        assert_eq!(waiting.join().expect("woken"), 5);
    });
}

#[test]
fn each_of_many_triggers_reaches_one_of_two_threads() {
    let queue = Queue::new();
    const EVENTS: usize = 500;
    for ident in 1..=EVENTS {
        queue.change(set(ident, EVFILT_USER, EV_ADD | EV_ONESHOT));
    }
    let take = || {
        let mut seen = Vec::new();
        // The last one, which is told for ever, ends both.
        loop {
            let told = queue.call(&[], 3, None).expect("a queue");
            seen.extend(
                told.iter()
                    .map(|event| event.ident)
                    .filter(|ident| *ident != 0),
            );
            if told.iter().all(|event| event.ident == 0) {
                return seen;
            }
        }
    };
    let mut seen = std::thread::scope(|scope| {
        let threads = [scope.spawn(take), scope.spawn(take)];
        for ident in 1..=EVENTS {
            queue.change(with(ident, EVFILT_USER, 0, NOTE_TRIGGER, 0));
        }
        queue.change(set(0, EVFILT_USER, EV_ADD));
        queue.change(with(0, EVFILT_USER, 0, NOTE_TRIGGER, 0));
        threads
            .map(|thread| thread.join().expect("a thread"))
            .concat()
    });
    // Both may have left while the rest was still there.
    seen.extend(std::iter::from_fn(|| {
        queue
            .now()
            .iter()
            .map(|event| event.ident)
            .find(|ident| *ident != 0)
    }));
    seen.sort_unstable();
    assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
}
