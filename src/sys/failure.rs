//! Why a start failed: the step, what it was about, the error number, and what the loop makes of them.
//! Unaware of how children are started.

use std::fmt;
use std::io;
use std::path::Path;

/// A start that failed: at which step, and with which error number.
#[derive(Debug)]
pub(crate) struct StartFailure {
    pub(crate) step: StartStep,
    pub(crate) error: io::Error,
    /// What the step was about, where the launch does not say.
    pub(crate) path: Option<Box<Path>>,
    /// The way of starting was refused, and not the command: the next attempt goes another way.
    pub(crate) has_another_way: bool,
}

impl StartFailure {
    #[cold]
    pub(crate) fn new(step: StartStep, error: io::Error) -> StartFailure {
        StartFailure {
            step,
            error,
            path: None,
            has_another_way: false,
        }
    }

    /// The system is short of something that other commands may give back: descriptors, processes, memory. No limit on
    /// namespaces (`ENOSPC`, clone(2)) and none of the child's own (`EMFILE` of an exec) is that.
    pub(crate) fn is_shortage(&self) -> bool {
        let numbers: &[i32] = match self.step {
            StartStep::Open | StartStep::Pipe | StartStep::Clone | StartStep::Descriptors => {
                &[libc::EAGAIN, libc::EMFILE, libc::ENFILE, libc::ENOMEM]
            }
            StartStep::Exec => &[libc::EAGAIN, libc::ENFILE, libc::ENOMEM],
            // ENOSPC: there are as many terminals as there may be (/proc/sys/kernel/pty/max).
            StartStep::Pty => &[
                libc::EAGAIN,
                libc::EMFILE,
                libc::ENFILE,
                libc::ENOMEM,
                libc::ENOSPC,
            ],
            _ => &[],
        };
        let number = self.error.raw_os_error();
        number.is_some_and(|number| numbers.contains(&number))
    }

    /// The program's file is open for writing somewhere: it will not be for long.
    pub(crate) fn is_text_busy(&self) -> bool {
        self.step == StartStep::Exec && self.error.raw_os_error() == Some(libc::ETXTBSY)
    }
}

/// The process is gone, so there is nothing left to signal. A callback may have wrapped that (Go: `errors.Is`).
pub(crate) fn is_process_gone(error: &io::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        next = match error.downcast_ref::<io::Error>() {
            Some(error) if error.raw_os_error() == Some(libc::ESRCH) => return true,
            Some(error) => error.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    false
}

/// The error of a signal to a process that is gone.
pub(crate) fn process_gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}

/// Exec failed in a way that may be about the interpreter of a script and not about the script.
pub(crate) fn may_be_of_interpreter(step: StartStep, error: &io::Error) -> bool {
    let numbers = [libc::ENOENT, libc::ENOTDIR, libc::EACCES];
    step == StartStep::Exec
        && error
            .raw_os_error()
            .is_some_and(|number| numbers.contains(&number))
}

/// Exec found the arguments and the environment too large together, or one string too long.
pub(crate) fn is_argument_list_too_long(step: StartStep, error: &io::Error) -> bool {
    step == StartStep::Exec && error.raw_os_error() == Some(libc::E2BIG)
}

/// dup2(2) has no such number for this process. What was to be put there was open when the child was made.
pub(crate) fn is_number_too_large(step: StartStep, error: &io::Error) -> bool {
    step == StartStep::Layout && error.raw_os_error() == Some(libc::EBADF)
}

/// Exec found a file that may be executed and is no program.
pub(crate) fn is_unknown_format(step: StartStep, error: &io::Error) -> bool {
    step == StartStep::Exec && error.raw_os_error() == Some(libc::ENOEXEC)
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The step at which a start failed.
        ///
        /// Printed as the name of the system call or action behind it, for example `chdir` or `exec`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum StartStep {
            $($(#[$doc])* $name,)*
        }

        impl StartStep {
            /// All steps, numbered as the child reports them.
            const ALL: &[StartStep] = &[$(StartStep::$name,)*];

            fn text(self) -> &'static str {
                match self { $(StartStep::$name => $text,)* }
            }
        }
    };
}

steps! {
    /// Opening `/dev/null` or placing a descriptor, in the parent.
    Open = "open",
    /// Making a pipe, in the parent.
    Pipe = "pipe",
    /// Making a terminal for the child, in the parent.
    Pty = "pty",
    /// Making the process.
    Clone = "clone",
    /// Giving the child a descriptor table of its own.
    Descriptors = "close_range",
    /// Joining the cgroup.
    Cgroup = "cgroup",
    /// Becoming the leader of a new session.
    Session = "setsid",
    /// Entering the process group.
    ProcessGroup = "setpgid",
    /// Taking the terminal's foreground.
    Foreground = "tcsetpgrp",
    /// Putting the signal dispositions and the mask in place.
    Signals = "sigaction",
    /// Entering new namespaces.
    Unshare = "unshare",
    /// Writing the user and group maps of a new user namespace.
    IdMaps = "write id maps",
    /// Making mounts private in a new mount namespace.
    Mount = "mount",
    /// Changing the root directory.
    Chroot = "chroot",
    /// Setting the supplementary groups.
    Groups = "setgroups",
    /// Setting the group.
    Gid = "setgid",
    /// Setting the user.
    Uid = "setuid",
    /// Raising ambient capabilities.
    Capabilities = "capabilities",
    /// Changing the working directory.
    Chdir = "chdir",
    /// Asking for the signal at the parent's death.
    ParentDeath = "prctl(PR_SET_PDEATHSIG)",
    /// Putting the descriptors at their numbers.
    Layout = "dup2",
    /// Giving up or taking a controlling terminal.
    Terminal = "controlling terminal",
    /// Setting a resource limit.
    Rlimit = "setrlimit",
    /// Executing the program.
    Exec = "exec",
}

impl StartStep {
    /// The step with this number, as a child reported it.
    pub(in crate::sys) fn from_number(number: u32) -> Option<StartStep> {
        StartStep::ALL.get(number as usize).copied()
    }
}

impl fmt::Display for StartStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text())
    }
}
