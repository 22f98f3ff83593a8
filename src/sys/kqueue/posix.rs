//! A child by posix_spawn(3): no copy of this process is made, and on macOS it is the only way without traps.
//! Unaware of when it is used; it says what it can do.
#![allow(unsafe_code, reason = "posix_spawn has no safe wrapper")]

use std::ffi::{CStr, c_char};
use std::io;
use std::mem::{self, MaybeUninit};

use libc::{c_int, c_short, c_void};

use crate::sys::Launch;
use crate::sys::fd::is_open;
use crate::sys::mapping::Mapping;

type Native = libc::posix_spawn_file_actions_t;
type AddChdir = unsafe extern "C" fn(*mut Native, *const c_char) -> c_int;
type AddCloseFrom = unsafe extern "C" fn(*mut Native, c_int) -> c_int;

/// What this system's posix_spawn can do beyond POSIX. The functions are younger than the systems that this crate is
/// compiled for, so they are looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    chdir: Option<AddChdir>,
    close_from: Option<AddCloseFrom>,
    session: Option<c_int>,
}

/// `POSIX_SPAWN_SETSID`. On macOS it is as old as the directory action (10.15).
#[cfg(target_vendor = "apple")]
const SESSION: Option<c_int> = Some(0x400);
#[cfg(target_os = "linux")]
const SESSION: Option<c_int> = Some(libc::POSIX_SPAWN_SETSID as c_int);
#[cfg(not(any(target_vendor = "apple", target_os = "linux")))]
const SESSION: Option<c_int> = None;

/// NetBSD tells what went wrong in the child by the exit status 127, unless it is asked to fail.
#[cfg(target_os = "netbsd")]
const FAIL: c_int = libc::POSIX_SPAWN_RETURNERROR;
#[cfg(not(target_os = "netbsd"))]
const FAIL: c_int = 0;

/// Closes what no action names.
#[cfg(target_vendor = "apple")]
const CLOSE_OTHERS: Option<c_int> = Some(libc::POSIX_SPAWN_CLOEXEC_DEFAULT);
#[cfg(not(target_vendor = "apple"))]
const CLOSE_OTHERS: Option<c_int> = None;

/// Between the child's numbers each is closed by an action. With a higher number than this, fork does it better.
const HIGHEST_TARGET_MAX: c_int = 255;

impl Abilities {
    pub(super) fn find() -> Abilities {
        let chdir = look_up(c"posix_spawn_file_actions_addchdir_np")
            .or_else(|| look_up(c"posix_spawn_file_actions_addchdir"));
        let close_from = look_up(c"posix_spawn_file_actions_addclosefrom_np");
        Abilities {
            // SAFETY: every system that has a function of this name has it with this signature.
            chdir: chdir.map(|found| unsafe { mem::transmute::<*mut c_void, AddChdir>(found) }),
            close_from: close_from
                // SAFETY: as above.
                .map(|found| unsafe { mem::transmute::<*mut c_void, AddCloseFrom>(found) }),
            session: SESSION.filter(|_| chdir.is_some() || cfg!(target_os = "linux")),
        }
    }

    pub(super) fn session(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn chdir(&self) -> bool {
        self.chdir.is_some()
    }

    /// A child of this launch gets no descriptor but its own.
    pub(super) fn close_others(&self, launch: &Launch) -> bool {
        let highest = launch.extra.iter().map(|(number, _)| *number).max();
        CLOSE_OTHERS.is_some()
            || (self.close_from.is_some()
                && highest.is_none_or(|number| number <= HIGHEST_TARGET_MAX))
    }
}

fn look_up(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name is a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// Starts the child. No source of `mappings` is a target; `gaps` are to be closed.
///
/// # Errors
/// An error number that does not say which step it is about.
pub(super) fn spawn(
    launch: &Launch,
    mappings: &[Mapping],
    gaps: &[(u32, u32)],
    abilities: &Abilities,
) -> io::Result<libc::pid_t> {
    let program = &launch.program;
    let mut actions = Actions::new()?;
    if let (Some(directory), Some(add)) = (&program.directory, abilities.chdir) {
        // SAFETY: the actions are initialised, and copy the string.
        done(unsafe { add(&raw mut *actions.0, directory.as_ptr()) })?;
    }
    let is_hermetic = !program.attributes.inherit_fds;
    for (source, target) in mappings {
        match source {
            Some(source) => {
                // SAFETY: the actions are initialised.
                done(unsafe {
                    libc::posix_spawn_file_actions_adddup2(&raw mut *actions.0, *source, *target)
                })?;
            }
            // Some systems mind closing what is not open.
            None if is_open(*target) && !(is_hermetic && CLOSE_OTHERS.is_some()) => {
                actions.close(*target)?;
            }
            None => {}
        }
    }
    if is_hermetic && CLOSE_OTHERS.is_none() {
        actions.close_ranges(gaps, abilities)?;
    }
    let settings = Settings::new(launch, abilities, is_hermetic)?;
    let mut pid = 0;
    // SAFETY: all is initialised and whole; argv and envp end with null pointers, and are only read.
    done(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const *actions.0,
            &raw const *settings.0,
            program.argv.as_ptr().cast(),
            launch.environment.as_ptr().cast(),
        )
    })?;
    Ok(pid)
}

/// These functions return the error number.
fn done(number: c_int) -> io::Result<()> {
    if number == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(number))
    }
}

/// File actions. They must not move once they are initialised.
struct Actions(Box<Native>);

impl Actions {
    fn new() -> io::Result<Actions> {
        let mut actions = Box::new(MaybeUninit::<Native>::uninit());
        // SAFETY: there is room for the actions.
        done(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: they were initialised.
        Ok(Actions(unsafe { actions.assume_init() }))
    }

    fn close(&mut self, fd: c_int) -> io::Result<()> {
        // SAFETY: the actions are initialised.
        done(unsafe { libc::posix_spawn_file_actions_addclose(&raw mut *self.0, fd) })
    }

    /// The systems that close by range do not mind what is not open.
    fn close_ranges(&mut self, gaps: &[(u32, u32)], abilities: &Abilities) -> io::Result<()> {
        for (first, last) in gaps {
            let first = c_int::try_from(*first).unwrap_or(c_int::MAX);
            match (c_int::try_from(*last), abilities.close_from) {
                (Ok(last), _) => {
                    for fd in first..=last {
                        self.close(fd)?;
                    }
                }
                (Err(_), Some(add)) => {
                    // SAFETY: the actions are initialised.
                    done(unsafe { add(&raw mut *self.0, first) })?;
                }
                (Err(_), None) => return Err(io::ErrorKind::Unsupported.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: they were initialised.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut *self.0) };
    }
}

/// Attributes, which must not move either.
struct Settings(Box<libc::posix_spawnattr_t>);

impl Settings {
    fn empty() -> io::Result<Settings> {
        let mut settings = Box::new(MaybeUninit::<libc::posix_spawnattr_t>::uninit());
        // SAFETY: there is room for the attributes.
        done(unsafe { libc::posix_spawnattr_init(settings.as_mut_ptr()) })?;
        // SAFETY: they were initialised.
        Ok(Settings(unsafe { settings.assume_init() }))
    }

    /// The mask is inherited, exec resets what is caught, and SIGPIPE, which Rust ignores, gets its default.
    fn new(launch: &Launch, abilities: &Abilities, is_hermetic: bool) -> io::Result<Settings> {
        let attributes = &launch.program.attributes;
        let mut settings = Settings::empty()?;
        let mut flags = libc::POSIX_SPAWN_SETSIGDEF as c_int | FAIL;
        let mut default = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset(3) fills the set.
        unsafe { libc::sigemptyset(default.as_mut_ptr()) };
        // SAFETY: as said.
        let mut default = unsafe { default.assume_init() };
        // SAFETY: the set is whole.
        unsafe { libc::sigaddset(&raw mut default, libc::SIGPIPE) };
        // SAFETY: both are initialised.
        done(unsafe {
            libc::posix_spawnattr_setsigdefault(&raw mut *settings.0, &raw const default)
        })?;
        if attributes.session {
            flags |= abilities.session.unwrap_or(0);
        }
        // A session's leader leads its group already.
        if let Some(group) = attributes.process_group.filter(|_| !attributes.session) {
            flags |= libc::POSIX_SPAWN_SETPGROUP as c_int;
            // SAFETY: the attributes are initialised.
            done(unsafe { libc::posix_spawnattr_setpgroup(&raw mut *settings.0, group) })?;
        }
        if is_hermetic {
            flags |= CLOSE_OTHERS.unwrap_or(0);
        }
        // SAFETY: the attributes are initialised.
        done(unsafe { libc::posix_spawnattr_setflags(&raw mut *settings.0, flags as c_short) })?;
        Ok(settings)
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        // SAFETY: they were initialised.
        unsafe { libc::posix_spawnattr_destroy(&raw mut *self.0) };
    }
}

/// An exec that keeps only the descriptors named, prepared before the fork: macOS has no other way to close the rest.
#[cfg(target_vendor = "apple")]
pub(super) struct ExecInPlace {
    actions: Actions,
    settings: Settings,
}

#[cfg(target_vendor = "apple")]
unsafe extern "C" {
    fn posix_spawn_file_actions_addinherit_np(actions: *mut Native, fd: c_int) -> c_int;
}

#[cfg(target_vendor = "apple")]
impl ExecInPlace {
    pub(super) fn new(mappings: &[Mapping]) -> io::Result<ExecInPlace> {
        let mut actions = Actions::new()?;
        for (_, target) in mappings.iter().filter(|(source, _)| source.is_some()) {
            // SAFETY: the actions are initialised.
            done(unsafe { posix_spawn_file_actions_addinherit_np(&raw mut *actions.0, *target) })?;
        }
        let mut settings = Settings::empty()?;
        let flags = libc::POSIX_SPAWN_SETEXEC | libc::POSIX_SPAWN_CLOEXEC_DEFAULT;
        // SAFETY: the attributes are initialised.
        done(unsafe { libc::posix_spawnattr_setflags(&raw mut *settings.0, flags as c_short) })?;
        Ok(ExecInPlace { actions, settings })
    }

    /// Executes; what comes back is the error number.
    ///
    /// # Safety
    /// `argv` and `environment` end with null pointers.
    pub(super) unsafe fn exec(
        &self,
        path: *const c_char,
        argv: *const *const c_char,
        environment: *const *const c_char,
    ) -> c_int {
        // SAFETY: all is initialised; with POSIX_SPAWN_SETEXEC no pid is stored.
        unsafe {
            libc::posix_spawn(
                std::ptr::null_mut(),
                path,
                &raw const *self.actions.0,
                &raw const *self.settings.0,
                argv.cast(),
                environment.cast(),
            )
        }
    }
}

#[cfg(test)]
impl Abilities {
    pub(super) fn none() -> Abilities {
        Abilities {
            chdir: None,
            close_from: None,
            session: None,
        }
    }

    /// Everything; not to be called.
    pub(super) fn all() -> Abilities {
        unsafe extern "C" fn chdir(_: *mut Native, _: *const c_char) -> c_int {
            libc::ENOSYS
        }
        unsafe extern "C" fn close_from(_: *mut Native, _: c_int) -> c_int {
            libc::ENOSYS
        }
        Abilities {
            chdir: Some(chdir),
            close_from: Some(close_from),
            session: Some(0),
        }
    }
}
