//! EVFILT_READ and EVFILT_WRITE, and the flags that every filter has.
//! Unaware of processes, timers and races.

mod common;

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use common::*;
use kqueue_shim::*;

#[test]
fn a_pipe_is_reported_with_its_bytes_as_long_as_they_are_there() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    queue.change(kevent::new(
        ident(&read_end),
        EVFILT_READ,
        EV_ADD,
        0,
        0,
        udata(7),
    ));
    assert!(queue.now().is_empty());
    assert!(!queue.is_readable());
    write(&write_end, b"12345");
    for _ in 0..3 {
        assert!(queue.is_readable());
        let told = queue.next();
        assert_eq!((told.ident, told.filter), (ident(&read_end), EVFILT_READ));
        assert_eq!((told.flags, told.fflags, told.data), (0, 0, 5));
        assert_eq!(told.udata, udata(7));
    }
    read(&read_end, 2);
    assert_eq!(queue.next().data, 3);
    read(&read_end, 3);
    assert!(queue.now().is_empty());
    assert!(!queue.is_readable());
}

#[test]
fn with_clear_each_change_is_told_once() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    write(&write_end, b"1");
    queue.change(set(ident(&read_end), EVFILT_READ, EV_ADD | EV_CLEAR));
    let told = queue.next();
    assert_eq!((told.flags, told.data), (EV_CLEAR, 1));
    assert!(queue.now().is_empty());
    assert!(!queue.is_readable());
    write(&write_end, b"2");
    assert_eq!(queue.next().data, 2);
    assert!(queue.now().is_empty());
}

#[test]
fn a_oneshot_is_gone_once_told() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    queue.change(set(ident(&read_end), EVFILT_READ, EV_ADD | EV_ONESHOT));
    write(&write_end, b"1");
    assert_eq!(queue.next().flags, EV_ONESHOT);
    assert!(queue.now().is_empty());
    let gone = set(ident(&read_end), EVFILT_READ, EV_DELETE);
    assert_eq!(queue.refusal(gone), libc::ENOENT);
}

#[test]
fn a_dispatched_one_is_disabled_until_enabled() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    let event = |flags| set(ident(&read_end), EVFILT_READ, flags);
    queue.change(event(EV_ADD | EV_DISPATCH));
    write(&write_end, b"1");
    assert_eq!(queue.next().flags, EV_DISPATCH);
    write(&write_end, b"2");
    assert!(queue.now().is_empty());
    assert!(!queue.is_readable());
    queue.change(event(EV_ENABLE));
    assert_eq!(queue.next().data, 2);
    assert!(queue.now().is_empty());
}

#[test]
fn a_disabled_one_keeps_what_it_has_for_later() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    let event = |flags| set(ident(&read_end), EVFILT_READ, flags);
    queue.change(event(EV_ADD | EV_DISABLE));
    write(&write_end, b"1");
    assert!(queue.now().is_empty());
    queue.change(event(EV_ENABLE));
    assert_eq!(queue.now().len(), 1);
    queue.change(event(EV_DISABLE));
    assert!(queue.now().is_empty());
    assert!(!queue.is_readable());
    // Adding alone does not enable.
    queue.change(event(EV_ADD));
    assert!(queue.now().is_empty());
    queue.change(event(EV_ADD | EV_ENABLE));
    assert_eq!(queue.now().len(), 1);
    assert_eq!(queue.refusal(event(EV_ENABLE | EV_DISABLE)), libc::EINVAL);
}

#[test]
fn a_deleted_one_takes_its_event_along() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    queue.change(set(ident(&read_end), EVFILT_READ, EV_ADD));
    write(&write_end, b"1");
    assert!(queue.is_readable());
    queue.change(set(ident(&read_end), EVFILT_READ, EV_DELETE));
    assert!(!queue.is_readable());
    assert!(queue.now().is_empty());
}

#[test]
fn adding_again_changes_udata_and_not_the_flags() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    let event =
        |flags, number| kevent::new(ident(&read_end), EVFILT_READ, flags, 0, 0, udata(number));
    write(&write_end, b"1");
    queue.change(event(EV_ADD, 1));
    queue.change(event(EV_ADD | EV_CLEAR, 2));
    let told = queue.now();
    assert_eq!(told.len(), 1, "one knote");
    assert_eq!((told[0].udata, told[0].flags), (udata(2), 0));
    assert_eq!(queue.now().len(), 1, "still told as long as it is so");
    queue.change(event(EV_ADD | EV_KEEPUDATA, 3));
    assert_eq!(queue.next().udata, udata(2));
}

#[test]
fn adding_again_tells_again_what_clear_has_told() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    queue.change(set(ident(&read_end), EVFILT_READ, EV_ADD | EV_CLEAR));
    write(&write_end, b"1");
    assert_eq!(queue.now().len(), 1);
    queue.change(set(ident(&read_end), EVFILT_READ, EV_ADD | EV_CLEAR));
    assert_eq!(queue.now().len(), 1);
    assert!(queue.now().is_empty());
}

#[test]
fn the_end_of_the_writers_is_told_with_what_is_left() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    queue.change(set(ident(&read_end), EVFILT_READ, EV_ADD | EV_CLEAR));
    write(&write_end, b"rest");
    drop(write_end);
    let told = queue.next();
    assert_eq!((told.flags, told.data), (EV_CLEAR | EV_EOF, 4));
}

#[test]
fn the_end_of_a_pipe_without_bytes_is_told_as_long_as_nobody_closes_it() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    queue.change(set(ident(&read_end), EVFILT_READ, EV_ADD));
    drop(write_end);
    for _ in 0..2 {
        let told = queue.next();
        assert_eq!((told.flags, told.data), (EV_EOF, 0));
    }
}

#[test]
fn room_to_write_is_told_in_bytes() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    queue.change(set(ident(&write_end), EVFILT_WRITE, EV_ADD));
    let empty = queue.next();
    assert_eq!((empty.filter, empty.data), (EVFILT_WRITE, 65_536));
    write(&write_end, &[0; 4096]);
    assert_eq!(queue.next().data, 65_536 - 4096);
    while write(&write_end, &[0; 4096]) > 0 {}
    assert!(queue.now().is_empty());
    assert!(!queue.is_readable());
    read(&read_end, 4096);
    assert_eq!(queue.next().data, 4096);
}

#[test]
fn the_end_of_the_readers_is_told_and_refused() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    let event = set(ident(&write_end), EVFILT_WRITE, EV_ADD | EV_CLEAR);
    queue.change(event);
    queue.now();
    drop(read_end);
    let told = queue.next();
    assert_eq!((told.flags, told.data), (EV_CLEAR | EV_EOF, 0));
    queue.change(set(ident(&write_end), EVFILT_WRITE, EV_DELETE));
    assert_eq!(queue.refusal(event), libc::EPIPE);
}

#[test]
fn both_filters_of_one_descriptor_have_flags_of_their_own() {
    let queue = Queue::new();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    queue.change(set(ident(&ours), EVFILT_READ, EV_ADD));
    queue.change(set(ident(&ours), EVFILT_WRITE, EV_ADD | EV_CLEAR));
    assert_eq!(queue.next().filter, EVFILT_WRITE);
    assert!(queue.now().is_empty());
    write(&theirs.into(), b"1");
    let mut filters: Vec<i16> = queue.now().iter().map(|event| event.filter).collect();
    filters.sort_unstable();
    assert!(filters.contains(&EVFILT_READ));
    queue.change(set(ident(&ours), EVFILT_READ, EV_DELETE));
    let write = set(ident(&ours), EVFILT_WRITE, EV_DELETE);
    queue.change(write);
    assert_eq!(queue.refusal(write), libc::ENOENT);
}

#[test]
fn a_closed_descriptor_takes_its_knote_along() {
    // A number that no other test's descriptor gets.
    const NUMBER: usize = 700;
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    let placed = place(&read_end, NUMBER);
    queue.change(set(NUMBER, EVFILT_READ, EV_ADD));
    write(&write_end, b"1");
    // `read_end` keeps the file open, as a child's copy does.
    drop(placed);
    assert!(queue.now().is_empty());
    assert!(!queue.is_readable(), "it is told once at most");
    // Whatever has that number next is not known.
    let (next, _writer) = pipe();
    let placed = place(&next, NUMBER);
    let gone = set(NUMBER, EVFILT_READ, EV_DELETE);
    assert_eq!(queue.refusal(gone), libc::ENOENT);
    queue.change(set(NUMBER, EVFILT_READ, EV_ADD));
    assert!(queue.now().is_empty());
    drop(placed);
    for flags in [EV_ADD, EV_DELETE] {
        let closed = set(NUMBER, EVFILT_READ, flags);
        assert_eq!(queue.refusal(closed), libc::EBADF);
    }
}

/// A copy at this number.
fn place(fd: &OwnedFd, number: usize) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: two numbers; the second is that of the test.
    let copy = unsafe { libc::dup2(fd.as_raw_fd(), number as i32) };
    // SAFETY: dup2(2) made it.
    unsafe { OwnedFd::from_raw_fd(copy) }
}

#[test]
fn what_is_no_queue_or_no_descriptor_is_ebadf() {
    let queue = Queue::new();
    let (read_end, _write_end) = pipe();
    let read = |number| set(number, EVFILT_READ, EV_ADD);
    assert_eq!(call(-1, &[], 1, NOW).unwrap_err(), libc::EBADF);
    assert_eq!(
        call(read_end.as_raw_fd(), &[], 1, NOW).unwrap_err(),
        libc::EBADF
    );
    assert_eq!(queue.refusal(read(999_999)), libc::EBADF);
    assert_eq!(queue.refusal(read(usize::MAX)), libc::EBADF);
}

#[test]
fn what_makes_no_sense_is_einval() {
    let queue = Queue::new();
    assert_eq!(queue.refusal(set(0, 1, EV_ADD)), libc::EINVAL);
    assert_eq!(queue.refusal(set(0, -99, EV_ADD)), libc::EINVAL);
    let itself = set(queue.number() as usize, EVFILT_READ, EV_ADD);
    assert_eq!(queue.refusal(itself), libc::EINVAL);
    for (tv_sec, tv_nsec) in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
        let time = libc::timespec { tv_sec, tv_nsec };
        assert_eq!(queue.call(&[], 1, Some(time)).unwrap_err(), libc::EINVAL);
    }
    // SAFETY: null pointers are refused, not followed.
    let told = unsafe {
        kevent(
            queue.number(),
            std::ptr::null(),
            1,
            std::ptr::null_mut(),
            0,
            std::ptr::null(),
        )
    };
    assert_eq!(told, -1);
}

#[test]
fn a_file_that_cannot_be_polled_is_refused() {
    let queue = Queue::new();
    let file = File::open(file!())
        .or_else(|_| File::open("Cargo.toml"))
        .expect("a file");
    let event = set(ident(&file), EVFILT_READ, EV_ADD);
    assert_eq!(queue.refusal(event), libc::EPERM);
    let gone = set(ident(&file), EVFILT_READ, EV_DELETE);
    assert_eq!(queue.refusal(gone), libc::ENOENT);
}

#[test]
fn a_receipt_is_an_error_of_zero_and_takes_no_event() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    write(&write_end, b"1");
    let event = set(ident(&read_end), EVFILT_READ, EV_ADD | EV_RECEIPT);
    let told = queue.call(&[event], 4, None).expect("a queue");
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].flags, told[0].data), (EV_ERROR, 0));
    let told = queue.next();
    assert_eq!((told.flags, told.data), (EV_RECEIPT, 1));
}

#[test]
fn errors_fill_the_event_list_and_the_rest_is_not_done() {
    let queue = Queue::new();
    let (read_end, write_end) = pipe();
    write(&write_end, b"1");
    let missing = |number| set(number, EVFILT_USER, EV_DELETE);
    let read = set(ident(&read_end), EVFILT_READ, EV_ADD);
    // Room for one error of two: the call fails with the second, and what comes after it is not done.
    let changes = [missing(1), missing(2), read];
    assert_eq!(queue.call(&changes, 1, NOW).unwrap_err(), libc::ENOENT);
    assert!(queue.now().is_empty());
    // Room for both: all is done, and no event is taken.
    let told = queue.call(&changes, 3, NOW).expect("room");
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].ident, told[1].ident), (1, 2));
    assert!(
        told.iter()
            .all(|event| event.data == i64::from(libc::ENOENT))
    );
    assert_eq!(queue.now().len(), 1);
}

#[test]
fn one_list_may_serve_for_changes_and_events() {
    let queue = Queue::new();
    let mut list = [
        set(1, EVFILT_USER, EV_DELETE),
        set(2, EVFILT_USER, EV_ADD),
        set(3, EVFILT_USER, EV_DELETE),
    ];
    let (count, start) = (list.len() as i32, list.as_mut_ptr());
    // SAFETY: the count is the list's.
    let told = unsafe { kevent(queue.number(), start, count, start, count, std::ptr::null()) };
    assert_eq!(told, 2);
    assert_eq!((list[0].ident, list[1].ident), (1, 3));
    queue.change(set(2, EVFILT_USER, EV_DELETE));
}

#[test]
fn a_change_without_a_filter_is_skipped() {
    let queue = Queue::new();
    queue.change(set(9999, 0, EV_DELETE));
}

#[test]
fn flags_that_are_the_kernels_are_not_taken_from_a_change() {
    let (queue, (read_end, write_end)) = (Queue::new(), pipe());
    write(&write_end, b"1");
    queue.change(set(
        ident(&read_end),
        EVFILT_READ,
        EV_ADD | EV_EOF | EV_ERROR,
    ));
    assert_eq!(queue.next().flags, 0);
}

#[test]
fn no_room_for_events_means_no_waiting() {
    let queue = Queue::new();
    assert_eq!(queue.call(&[], 0, None).expect("a queue").len(), 0);
}

#[test]
fn what_does_not_fit_is_told_by_the_next_call() {
    let queue = Queue::new();
    let pipes: Vec<_> = (0..20).map(|_| pipe()).collect();
    for (read_end, write_end) in &pipes {
        queue.change(set(ident(read_end), EVFILT_READ, EV_ADD | EV_CLEAR));
        write(write_end, b"1");
    }
    let mut seen = Vec::new();
    for expected in [7, 7, 6, 0] {
        let told = queue.call(&[], 7, NOW).expect("a queue");
        assert_eq!(told.len(), expected);
        seen.extend(told.iter().map(|event| event.ident));
        assert_eq!(queue.is_readable(), seen.len() < 20);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 20);
}

#[test]
fn a_queue_nests_in_an_epoll_and_in_a_queue() {
    let (inner, outer) = (Queue::new(), Queue::new());
    outer.change(set(inner.number() as usize, EVFILT_READ, EV_ADD | EV_CLEAR));
    // SAFETY: epoll_create1(2) takes a number.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLET) as u32,
        u64: 0,
    };
    // SAFETY: a whole event.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, inner.number(), &raw mut event) };
    // SAFETY: room for one event.
    let edge =
        |timeout| unsafe { libc::epoll_wait(epoll, (&raw const event).cast_mut(), 1, timeout) };
    assert_eq!(edge(0), 0);
    assert!(outer.now().is_empty());
    inner.change(set(1, EVFILT_USER, EV_ADD | EV_CLEAR));
    for _ in 0..3 {
        inner.change(with(1, EVFILT_USER, 0, NOTE_TRIGGER, 0));
        assert_eq!(edge(-1), 1);
        assert_eq!(outer.next().ident, inner.number() as usize);
        assert_eq!(inner.now().len(), 1);
        assert_eq!(edge(0), 0);
    }
    // SAFETY: made above.
    unsafe { libc::close(epoll) };
}
