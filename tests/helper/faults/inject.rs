//! Makes chosen system calls of this thread, or of its children, fail, and counts them.
//! Unaware of what the calls are for.
//!
//! A seccomp filter hands each call of a kind to another thread of this process (`SECCOMP_RET_USER_NOTIF`), which
//! lets it go on or answers for the kernel. Unlike a filter that answers by itself, this one can count, and can
//! be switched off; unlike a tracer it is always there.
#![allow(unsafe_code, reason = "seccomp has no safe wrapper")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Which of the calls fail, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    first: u64,
    /// 0: the first alone.
    step: u64,
    in_children: bool,
}

impl Rule {
    pub(super) fn every(first: u64, step: u64) -> Rule {
        assert!(first > 0);
        Rule {
            first,
            step,
            in_children: false,
        }
    }

    /// Counts the calls of children, of all together, in place of this thread's.
    pub(super) fn in_children(self) -> Rule {
        Rule {
            in_children: true,
            ..self
        }
    }

    pub(super) fn is_in_children(self) -> bool {
        self.in_children
    }

    fn names(self, count: u64) -> bool {
        match count.checked_sub(self.first) {
            Some(0) => true,
            Some(after) => self.step > 0 && after.is_multiple_of(self.step),
            None => false,
        }
    }
}

#[derive(Debug, Default)]
struct Progress {
    rule: Option<Rule>,
    calls: u64,
    injected: u64,
}

/// The filter, which cannot be taken back, and its switch.
#[derive(Debug)]
pub(super) struct Injector(Arc<Mutex<Progress>>);

impl Injector {
    /// Sets the filter for this thread and all its future children. `None` where seccomp does not do that.
    pub(super) fn install(call: &str, errno: i32) -> Option<Injector> {
        let progress = Arc::new(Mutex::new(Progress::default()));
        let (sender, receiver) = channel();
        let judge = Judge {
            progress: Arc::clone(&progress),
            // SAFETY: gettid(2) has no preconditions.
            thread: unsafe { libc::gettid() } as u32,
            errno,
        };
        // Before the filter: this thread is not to be its own judge's prisoner.
        std::thread::spawn(move || judge.serve(&receiver));
        sender
            .send(install(&numbers(call))?)
            .expect("the judge waits");
        Some(Injector(progress))
    }

    pub(super) fn begin(&self, rule: Rule) {
        *lock(&self.0) = Progress {
            rule: Some(rule),
            calls: 0,
            injected: 0,
        };
    }

    /// Lets all calls through again. Returns how many failed.
    pub(super) fn end(&self) -> u64 {
        let mut progress = lock(&self.0);
        progress.rule = None;
        progress.injected
    }
}

fn lock(progress: &Mutex<Progress>) -> std::sync::MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The numbers under which this architecture has a call.
fn numbers(call: &str) -> Vec<libc::c_long> {
    match call {
        "pipe2" => vec![libc::SYS_pipe2],
        "clone" => vec![libc::SYS_clone, libc::SYS_clone3],
        "clone3" => vec![libc::SYS_clone3],
        "epoll_create1" => vec![libc::SYS_epoll_create1],
        "epoll_ctl" => vec![libc::SYS_epoll_ctl],
        #[cfg(target_arch = "x86_64")]
        "epoll_wait" => vec![libc::SYS_epoll_pwait, libc::SYS_epoll_wait],
        #[cfg(not(target_arch = "x86_64"))]
        "epoll_wait" => vec![libc::SYS_epoll_pwait],
        #[cfg(target_arch = "x86_64")]
        "poll" => vec![libc::SYS_poll, libc::SYS_ppoll],
        #[cfg(not(target_arch = "x86_64"))]
        "poll" => vec![libc::SYS_ppoll],
        "eventfd2" => vec![libc::SYS_eventfd2],
        "openat" => vec![libc::SYS_openat],
        "read" => vec![libc::SYS_read],
        "write" => vec![libc::SYS_write],
        "pwritev2" => vec![libc::SYS_pwritev2],
        "waitid" => vec![libc::SYS_waitid],
        "pidfd_send_signal" => vec![libc::SYS_pidfd_send_signal],
        "timerfd_create" => vec![libc::SYS_timerfd_create],
        "timerfd_settime" => vec![libc::SYS_timerfd_settime],
        "fcntl" => vec![libc::SYS_fcntl],
        "dup3" => vec![libc::SYS_dup3],
        "close" => vec![libc::SYS_close],
        "close_range" => vec![libc::SYS_close_range],
        "execve" => vec![libc::SYS_execve],
        "mmap" => vec![libc::SYS_mmap],
        "rt_sigaction" => vec![libc::SYS_rt_sigaction],
        _ => panic!("unknown call {call:?}"),
    }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

/// The filter's listener, for the judge.
fn install(calls: &[libc::c_long]) -> Option<OwnedFd> {
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for (position, call) in calls.iter().enumerate() {
        let to_the_last = calls.len() - position;
        let mut jump = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32);
        jump.jt = u8::try_from(to_the_last).expect("few calls");
        program.push(jump);
    }
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ALLOW,
    ));
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_USER_NOTIF,
    ));
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("a short program"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: prctl(2) with this option takes numbers.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: `program` and the statements that it leads to live across the call.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER as libc::c_long,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    let listener = i32::try_from(listener)
        .ok()
        .filter(|listener| *listener >= 0)?;
    // SAFETY: seccomp(2) returned a new descriptor that nobody else owns.
    Some(unsafe { OwnedFd::from_raw_fd(listener) })
}

/// Answers for the kernel, on a thread of its own.
struct Judge {
    progress: Arc<Mutex<Progress>>,
    /// Whose calls count.
    thread: u32,
    errno: i32,
}

impl Judge {
    fn serve(&self, listener: &Receiver<OwnedFd>) {
        // Without a listener, nothing was filtered.
        let Ok(listener) = listener.recv() else {
            return;
        };
        let listener = File::from(listener);
        loop {
            // SAFETY: the structure is plain numbers, for which zero is valid, and the kernel wants it zeroed.
            let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            let request = libc::_IOWR::<libc::seccomp_notif>(b'!'.into(), 0);
            // SAFETY: the structure is as large as the request's number says.
            let result = unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut notice) };
            if result == -1 {
                // The caller was killed before its call could be looked at.
                let error = io::Error::last_os_error().raw_os_error();
                assert!(
                    matches!(error, Some(libc::EINTR | libc::ENOENT)),
                    "{error:?}"
                );
                continue;
            }
            let mut answer = libc::seccomp_notif_resp {
                id: notice.id,
                val: 0,
                error: 0,
                flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            };
            if self.fails(notice.pid) {
                self.do_what_fails(&notice);
                answer.error = -self.errno;
                answer.flags = 0;
            }
            let request = libc::_IOWR::<libc::seccomp_notif_resp>(b'!'.into(), 1);
            // SAFETY: as above. An error means that the caller was killed meanwhile.
            unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut answer) };
        }
    }

    fn fails(&self, caller: u32) -> bool {
        let mut progress = lock(&self.progress);
        let Some(rule) = progress.rule else {
            return false;
        };
        if rule.in_children == (caller == self.thread) {
            return false;
        }
        progress.calls += 1;
        let fails = rule.names(progress.calls);
        progress.injected += u64::from(fails);
        fails
    }

    /// A close(2) that fails has closed the descriptor all the same (Linux, whatever the error). The table is ours, too.
    fn do_what_fails(&self, notice: &libc::seccomp_notif) {
        let is_close = libc::c_long::from(notice.data.nr) == libc::SYS_close;
        if is_close && notice.pid == self.thread {
            // SAFETY: the descriptor is the one that its owner, who waits for the answer, is closing.
            unsafe { libc::close(notice.data.args[0] as i32) };
        }
    }
}
