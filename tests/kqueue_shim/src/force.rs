//! Switches that make a race happen which the real kernels show once in a while.
//! Unaware of how a queue carries them out.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, c_uint};

/// What can be forced. The numbers are those of `kqueue_shim.h`.
#[derive(Clone, Copy, Debug)]
pub enum Force {
    /// `EV_ADD` of `EVFILT_PROC` answers ESRCH: the child has exited, or is about to. macOS, NetBSD and OpenBSD say so
    /// of a child that can be waited for, and of one that soon can.
    Gone = 0,
    /// The `NOTE_EXIT` of a knote that is added comes at once, whatever the child does. Its status is 0 then.
    Early = 1,
    /// A timer that is set is reported as if it had been set before, and had just fired. It fires at its own time as well.
    Stale = 2,
    /// kevent() fails with EINTR where it would look for events. Its changes are made.
    Interrupted = 3,
    /// `EV_ADD` of something new fails with ENOMEM.
    NoMemory = 4,
}

impl Force {
    const ALL: [(Force, &str); 5] = [
        (Force::Gone, "gone"),
        (Force::Early, "early"),
        (Force::Stale, "stale"),
        (Force::Interrupted, "interrupted"),
        (Force::NoMemory, "no_memory"),
    ];

    /// Whether to do it this time; called once for each occasion.
    pub fn is_due(self) -> bool {
        let switch = &SWITCHES[self as usize];
        let seen = switch.seen.fetch_add(1, Ordering::Relaxed) + 1;
        let left = switch
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        let every = every()[self as usize];
        let due = left.is_ok() || (every != 0 && seen.is_multiple_of(every));
        if due {
            switch.done.fetch_add(1, Ordering::Relaxed);
        }
        due
    }
}

struct Switch {
    left: AtomicU32,
    seen: AtomicU32,
    done: AtomicU32,
}

static SWITCHES: [Switch; Force::ALL.len()] = [const {
    Switch {
        left: AtomicU32::new(0),
        seen: AtomicU32::new(0),
        done: AtomicU32::new(0),
    }
}; Force::ALL.len()];

/// How often each is forced for the whole of the process: every nth occasion, as `KQUEUE_SHIM_FORCE` says, for example
/// `early/3,interrupted/7`.
///
/// # Panics
/// On a word that names nothing: a test that asks for what does not exist must not pass.
fn every() -> &'static [u32; Force::ALL.len()] {
    static EVERY: OnceLock<[u32; Force::ALL.len()]> = OnceLock::new();
    EVERY.get_or_init(|| {
        let mut every = [0; Force::ALL.len()];
        let text = std::env::var("KQUEUE_SHIM_FORCE").unwrap_or_default();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let known = item.split_once('/').and_then(|(name, number)| {
                let (force, _) = Force::ALL.iter().find(|(_, known)| *known == name)?;
                Some((*force, number.parse().ok().filter(|number| *number > 0)?))
            });
            let Some((force, number)) = known else {
                panic!("KQUEUE_SHIM_FORCE: {item:?} is not NAME/NUMBER");
            };
            every[force as usize] = number;
        }
        every
    })
}

/// Forces `what` the next `times` times; 0 ends it. -1 and EINVAL for an unknown number.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue_shim_force(what: c_int, times: c_uint) -> c_int {
    let Some(switch) = usize::try_from(what)
        .ok()
        .and_then(|what| SWITCHES.get(what))
    else {
        return super::fail(libc::EINVAL);
    };
    switch.left.store(times, Ordering::Relaxed);
    0
}

/// How many times `what` was forced so far; 0 for an unknown number.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue_shim_forced(what: c_int) -> c_uint {
    usize::try_from(what)
        .ok()
        .and_then(|what| SWITCHES.get(what))
        .map_or(0, |switch| switch.done.load(Ordering::Relaxed))
}
