//! A queue: its knotes, the epolls that say which of them have something to tell, and the table of all queues.
//! Unaware of what the filters mean.
//!
//! The number that `kqueue()` returns is an epoll. In it are: a flag for what is forced, the descriptors of the knotes
//! that have one of their own, and, once they are needed, an epoll for the descriptors that are read and one for those
//! that are written (an epoll has room for each descriptor once). So it is readable when any knote has something to tell,
//! and it can be polled in turn. Linux lets epolls nest four deep.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::abi::*;
use super::force::Force;
use super::note::{Note, Told};
use super::sys::{self, Answer};

/// Tokens in the outer epoll; knotes have the numbers above.
const READS: u64 = 0;
const WRITES: u64 = 1;
const FORCED: u64 = 2;

pub struct Queue {
    number: RawFd,
    /// Queues are not inherited by fork(2).
    owner: u32,
    reads: OnceLock<OwnedFd>,
    writes: OnceLock<OwnedFd>,
    forced: OwnedFd,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    by_key: HashMap<(i16, usize), u64>,
    by_id: HashMap<u64, Entry>,
    last_id: u64,
    /// Knotes that have something to tell although their source has not.
    forced: VecDeque<u64>,
}

struct Entry {
    note: Note,
    is_disabled: bool,
    forced: Option<Forced>,
}

/// What a knote tells although its source has nothing.
#[derive(Clone, Copy)]
enum Forced {
    /// Its event.
    Event,
    /// That of a timer which it replaces.
    Stale,
}

/// All queues of this process, by number. One that was closed is taken out when somebody looks.
static QUEUES: Mutex<BTreeMap<RawFd, Arc<Queue>>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new queue's number.
pub fn open() -> Answer<RawFd> {
    sweep();
    let outer = sys::epoll_anywhere()?;
    let queue = Queue {
        number: outer.as_raw_fd(),
        owner: std::process::id(),
        reads: OnceLock::new(),
        writes: OnceLock::new(),
        forced: sys::flag()?,
        notes: Mutex::default(),
    };
    queue.watch_own(libc::EPOLL_CTL_ADD, queue.forced.as_raw_fd(), FORCED)?;
    let number = outer.into_raw_fd();
    lock(&QUEUES).insert(number, Arc::new(queue));
    Ok(number)
}

/// The queue with this number; EBADF for anything else.
pub fn find(number: RawFd) -> Answer<Arc<Queue>> {
    let queue = lock(&QUEUES).get(&number).cloned();
    queue.filter(|queue| queue.is_open()).ok_or(libc::EBADF)
}

/// Frees what queues had whose number was closed meanwhile.
pub fn sweep() {
    lock(&QUEUES).retain(|_, queue| queue.is_open());
}

/// Marks the knotes of a process as having exited. Says how many there are.
pub fn exit_early(pid: usize) -> usize {
    let queues: Vec<_> = lock(&QUEUES).values().cloned().collect();
    let marked = queues.iter().filter(|queue| {
        let mut notes = lock(&queue.notes);
        let id = notes.by_key.get(&(EVFILT_PROC, pid)).copied();
        id.is_some_and(|id| {
            queue.force(&mut notes, id, Forced::Event);
            true
        })
    });
    marked.count()
}

impl Queue {
    /// The number still leads to this queue: to an epoll in which our own flag is.
    fn is_open(&self) -> bool {
        self.owner == std::process::id()
            && self
                .watch_own(libc::EPOLL_CTL_MOD, self.forced.as_raw_fd(), FORCED)
                .is_ok()
    }

    fn watch_own(&self, operation: i32, fd: RawFd, token: u64) -> Answer<()> {
        sys::control(self.number, operation, fd, libc::EPOLLIN as u32, token)
    }

    pub fn number(&self) -> RawFd {
        self.number
    }

    /// Makes one change.
    pub fn change(&self, change: &kevent) -> Answer<()> {
        let both = EV_ENABLE | EV_DISABLE;
        if change.flags & both == both {
            return Err(libc::EINVAL);
        }
        match change.filter {
            EVFILT_READ | EVFILT_WRITE => {
                let fd = RawFd::try_from(change.ident).map_err(|_| libc::EBADF)?;
                sys::identity(fd)?;
                if fd == self.number {
                    return Err(libc::EINVAL);
                }
            }
            EVFILT_PROC | EVFILT_TIMER | EVFILT_USER => {}
            _ => return Err(libc::EINVAL),
        }
        let mut notes = lock(&self.notes);
        match self.known(&mut notes, change) {
            None if change.flags & EV_ADD != 0 => self.add(&mut notes, change),
            None => Err(libc::ENOENT),
            Some(id) if change.flags & EV_DELETE != 0 => {
                self.remove(&mut notes, id);
                Ok(())
            }
            Some(id) => self.touch(&mut notes, id, change),
        }
    }

    /// The knote that a change is about. One whose descriptor was closed is no more.
    fn known(&self, notes: &mut Notes, change: &kevent) -> Option<u64> {
        let id = *notes.by_key.get(&(change.filter, change.ident))?;
        if notes.by_id.get(&id)?.note.is_stale() {
            self.remove(notes, id);
            return None;
        }
        Some(id)
    }

    fn add(&self, notes: &mut Notes, change: &kevent) -> Answer<()> {
        if Force::NoMemory.is_due() {
            return Err(libc::ENOMEM);
        }
        let is_process = change.filter == EVFILT_PROC;
        let note = Note::attach(change)?;
        if is_process && Force::Gone.is_due() {
            return Err(libc::ESRCH);
        }
        let entry = Entry {
            note,
            is_disabled: change.flags & EV_DISABLE != 0,
            forced: None,
        };
        let id = FORCED + 1 + notes.last_id;
        if !entry.is_disabled {
            self.arm(&entry.note, id)?;
        }
        notes.last_id += 1;
        notes.by_key.insert((change.filter, change.ident), id);
        notes.by_id.insert(id, entry);
        if is_process && Force::Early.is_due() {
            self.force(notes, id, Forced::Event);
        }
        if change.filter == EVFILT_TIMER && Force::Stale.is_due() {
            self.force(notes, id, Forced::Stale);
        }
        Ok(())
    }

    fn touch(&self, notes: &mut Notes, id: u64, change: &kevent) -> Answer<()> {
        let Some(entry) = notes.by_id.get_mut(&id) else {
            return Err(libc::ENOENT);
        };
        let restarts = change.filter == EVFILT_TIMER && change.flags & EV_ADD != 0;
        entry.note.touch(change)?;
        if restarts {
            entry.forced = None;
        }
        let oneshot = change.flags & EV_FORCEONESHOT != 0;
        if oneshot {
            entry.note.make_oneshot();
        }
        if change.flags & EV_ENABLE != 0 {
            entry.is_disabled = false;
        } else if change.flags & EV_DISABLE != 0 {
            entry.is_disabled = true;
        }
        if entry.is_disabled {
            self.disarm(&entry.note);
        } else {
            self.arm(&entry.note, id)?;
        }
        let forced = if oneshot {
            Some(Forced::Event)
        } else if restarts && Force::Stale.is_due() {
            Some(Forced::Stale)
        } else {
            entry.forced
        };
        if let Some(forced) = forced {
            self.force(notes, id, forced);
        }
        Ok(())
    }

    /// From now on the knote has something to tell, once.
    fn force(&self, notes: &mut Notes, id: u64, what: Forced) {
        if let Some(entry) = notes.by_id.get_mut(&id) {
            entry.forced = Some(what);
            notes.forced.push_back(id);
            sys::raise(&self.forced);
        }
    }

    /// Makes the outer epoll readable when the knote has something to tell; now, if it has.
    ///
    /// The caller's descriptors are watched so that whoever holds a closed one open elsewhere can wake us once at most:
    /// by edges with `EV_CLEAR`, otherwise once, until `settle` asks again.
    fn arm(&self, note: &Note, id: u64) -> Answer<()> {
        let (epoll, fd, events) = match (note.callers_fd(), note.own_fd()) {
            (Some(fd), _) => {
                let once = if note.has(EV_CLEAR) {
                    libc::EPOLLET
                } else {
                    libc::EPOLLONESHOT
                };
                let kind = if note.is_read() {
                    libc::EPOLLIN | libc::EPOLLRDHUP
                } else {
                    libc::EPOLLOUT
                };
                (self.inner(note)?, fd, (kind | once) as u32)
            }
            (None, Some(fd)) => (self.number, fd, libc::EPOLLIN as u32),
            (None, None) => return Ok(()),
        };
        match sys::control(epoll, libc::EPOLL_CTL_ADD, fd, events, id) {
            Err(libc::EEXIST) => sys::control(epoll, libc::EPOLL_CTL_MOD, fd, events, id),
            answer => answer,
        }
    }

    fn disarm(&self, note: &Note) {
        let (epoll, fd) = match (note.callers_fd(), note.own_fd()) {
            (Some(fd), _) => match self.inner(note) {
                Ok(inner) => (inner, fd),
                Err(_) => return,
            },
            (None, Some(fd)) => (self.number, fd),
            (None, None) => return,
        };
        // It may not be there, as it is disabled or was closed.
        let _ = sys::control(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    fn inner(&self, note: &Note) -> Answer<RawFd> {
        let (place, token) = if note.is_read() {
            (&self.reads, READS)
        } else {
            (&self.writes, WRITES)
        };
        // Under the lock of the knotes: nobody else makes it meanwhile.
        if place.get().is_none() {
            let epoll = sys::epoll()?;
            self.watch_own(libc::EPOLL_CTL_ADD, epoll.as_raw_fd(), token)?;
            let _ = place.set(epoll);
        }
        place.get().map(AsRawFd::as_raw_fd).ok_or(libc::ENOMEM)
    }

    fn remove(&self, notes: &mut Notes, id: u64) {
        if let Some(entry) = notes.by_id.remove(&id) {
            notes.by_key.remove(&entry.note.key());
            self.disarm(&entry.note);
        }
    }

    /// Takes the events that are there, `room` at most.
    pub fn collect(&self, room: usize) -> Answer<Vec<kevent>> {
        let mut events = Vec::new();
        let mut notes = lock(&self.notes);
        // Besides knotes, three of our own may be ready. What does not fit stays ready.
        for token in sys::ready(self.number, room.saturating_add(3))? {
            let left = room - events.len();
            if left == 0 {
                break;
            }
            match token {
                READS | WRITES => {
                    let inner = if token == READS {
                        &self.reads
                    } else {
                        &self.writes
                    };
                    let Some(inner) = inner.get() else {
                        continue;
                    };
                    for id in sys::ready(inner.as_raw_fd(), left)? {
                        self.deliver(&mut notes, id, false, &mut events);
                    }
                }
                FORCED => self.deliver_forced(&mut notes, room, &mut events),
                id => self.deliver(&mut notes, id, false, &mut events),
            }
        }
        Ok(events)
    }

    fn deliver_forced(&self, notes: &mut Notes, room: usize, events: &mut Vec<kevent>) {
        sys::take(&self.forced);
        while events.len() < room {
            let Some(id) = notes.forced.pop_front() else {
                return;
            };
            let Some(entry) = notes.by_id.get_mut(&id) else {
                continue;
            };
            if entry.is_disabled {
                continue;
            }
            match entry.forced.take() {
                None => {}
                Some(Forced::Event) => self.deliver(notes, id, true, events),
                Some(Forced::Stale) => events.push(entry.note.stale_event()),
            }
        }
        if !notes.forced.is_empty() {
            sys::raise(&self.forced);
        }
    }

    fn deliver(&self, notes: &mut Notes, id: u64, forced: bool, events: &mut Vec<kevent>) {
        // Of a knote that is gone, an event may still be under way.
        let Some(entry) = notes.by_id.get_mut(&id) else {
            return;
        };
        match entry.note.tell(forced) {
            Told::Over => self.remove(notes, id),
            Told::Nothing => self.settle(&entry.note, id),
            Told::Event(event) => {
                if event.flags & EV_ONESHOT != 0 {
                    self.remove(notes, id);
                } else if event.flags & EV_DISPATCH != 0 {
                    entry.is_disabled = true;
                    self.disarm(&entry.note);
                } else {
                    self.settle(&entry.note, id);
                }
                events.push(event);
            }
        }
    }

    /// A caller's descriptor without `EV_CLEAR` is reported as long as it is ready.
    fn settle(&self, note: &Note, id: u64) {
        if note.callers_fd().is_some() && !note.has(EV_CLEAR) {
            // It was open a moment ago; if it no longer is, there is nothing to watch.
            let _ = self.arm(note, id);
        }
    }
}
