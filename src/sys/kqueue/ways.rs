//! The one table of ways: what a command may ask for, and whether posix_spawn(3) can do it, or fork(2), or nothing here.
//! Unaware of how either is done.

use std::io;

use super::posix::Abilities;
use crate::sys::attributes::Attributes;
use crate::sys::fd::fd_limit_before_raise;
use crate::sys::{Launch, StartFailure, StartStep};

/// How a child is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Spawn,
    Fork,
}

/// By what something that is asked for can be had.
enum By {
    /// posix_spawn, where it can do this here; else fork.
    Spawn(fn(&Abilities, &Launch) -> bool),
    Fork,
    /// Nothing on this system. The start fails at this step.
    Nothing(StartStep),
}

struct Line {
    asked: fn(&Launch) -> bool,
    by: By,
}

const fn line(asked: fn(&Launch) -> bool, by: By) -> Line {
    Line { asked, by }
}

/// macOS looks for a relative program before it changes the directory, and then says that it did not find it although
/// it runs. NetBSD looks for it in the parent, before any action. Go's rule, and ours, is to look after the change.
const LOOKS_AFTER_CHDIR: bool = cfg!(not(any(target_vendor = "apple", target_os = "netbsd")));

/// TIOCNOTTY of tty(4).
const LEAVE_TERMINAL: By = if cfg!(target_os = "freebsd") {
    By::Nothing(StartStep::Terminal)
} else {
    By::Fork
};

/// PROC_PDEATHSIG_CTL of procctl(2).
const PARENT_DEATH: By = if cfg!(any(target_os = "freebsd", target_os = "dragonfly")) {
    By::Fork
} else {
    By::Nothing(StartStep::ParentDeath)
};

/// A command goes by posix_spawn if each line that it asks for can, and by fork otherwise.
///
/// Standard streams, extra descriptors, SIGPIPE's default and the signal mask are not in here: both ways do them.
const TABLE: &[Line] = &[
    line(
        |of| attributes(of).process_group.is_some(),
        By::Spawn(|_, _| true),
    ),
    line(
        |of| attributes(of).session,
        By::Spawn(|can, _| can.session()),
    ),
    line(
        |of| of.program.directory.is_some(),
        By::Spawn(|can, of| {
            let is_absolute = of.program.path().is_absolute();
            can.chdir() && (LOOKS_AFTER_CHDIR || is_absolute)
        }),
    ),
    // Hermetic, which is the default.
    line(
        |of| !attributes(of).inherit_fds,
        By::Spawn(|can, of| can.close_others(of)),
    ),
    line(|of| attributes(of).uid.is_some(), By::Fork),
    line(|of| attributes(of).gid.is_some(), By::Fork),
    line(|of| attributes(of).groups_to_set().is_some(), By::Fork),
    line(|of| !attributes(of).rlimits.is_empty(), By::Fork),
    // This process's limit of descriptors was raised, and the child gets the former one.
    line(|_| fd_limit_before_raise().is_some(), By::Fork),
    line(|of| attributes(of).chroot.is_some(), By::Fork),
    line(|of| of.foreground().is_some(), By::Fork),
    line(|of| attributes(of).controlling_terminal.is_some(), By::Fork),
    line(|of| attributes(of).leave_terminal, LEAVE_TERMINAL),
    line(
        |of| attributes(of).parent_death_signal.is_some(),
        PARENT_DEATH,
    ),
    line(
        |of| attributes(of).cgroup.is_some() || attributes(of).own_cgroup.is_some(),
        By::Nothing(StartStep::Cgroup),
    ),
    line(
        |of| !attributes(of).namespaces.is_empty(),
        By::Nothing(StartStep::Clone),
    ),
    line(
        |of| !attributes(of).unshare.is_empty(),
        By::Nothing(StartStep::Unshare),
    ),
    line(
        |of| attributes(of).has_id_maps(),
        By::Nothing(StartStep::IdMaps),
    ),
    line(
        |of| !attributes(of).ambient_capabilities.is_empty(),
        By::Nothing(StartStep::Capabilities),
    ),
];

fn attributes(launch: &Launch) -> &Attributes {
    &launch.program.attributes
}

/// The way for this command.
///
/// # Errors
/// `Unsupported` at the step that this system does not have.
pub(super) fn way(launch: &Launch, abilities: &Abilities) -> Result<Way, StartFailure> {
    let mut way = Way::Spawn;
    for line in TABLE.iter().filter(|line| (line.asked)(launch)) {
        match line.by {
            By::Spawn(can) if can(abilities, launch) => {}
            By::Spawn(_) | By::Fork => way = Way::Fork,
            By::Nothing(step) => return Err(StartFailure::new(step, unsupported())),
        }
    }
    Ok(way)
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "not supported on this system")
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::sync::Arc;

    use super::*;
    use crate::sys::attributes::{Groups, IdMap, Program};
    use crate::sys::names::{Capability, Namespaces};
    use crate::sys::{CStrings, Signal, Stdio};

    /// `/bin/true`, which is to be like this.
    #[derive(Default)]
    struct Wanted {
        directory: Option<CString>,
        attributes: Attributes,
    }

    fn launch(change: impl FnOnce(&mut Wanted)) -> Launch {
        let mut wanted = Wanted::default();
        change(&mut wanted);
        let program = Program {
            found: Some(CString::from(c"/bin/true")),
            argv: CStrings::default(),
            directory: wanted.directory,
            attributes: Arc::new(wanted.attributes),
        };
        Launch {
            program: Arc::new(program),
            environment: Arc::default(),
            stdio: [Stdio::Null, Stdio::Null, Stdio::Null],
            extra: Vec::new(),
            cgroup: None,
            console: None,
        }
    }

    fn way_of(abilities: &Abilities, change: impl FnOnce(&mut Wanted)) -> Result<Way, StartStep> {
        way(&launch(change), abilities).map_err(|failure| {
            assert_eq!(failure.error.kind(), io::ErrorKind::Unsupported);
            failure.step
        })
    }

    #[test]
    fn posix_spawn_serves_what_it_can_and_fork_the_rest() {
        let (all, none) = (Abilities::all(), Abilities::none());
        type Change = fn(&mut Wanted);
        let changes: [(Change, Way, Way); 6] = [
            (|_| {}, Way::Spawn, Way::Fork),
            (
                |of| of.attributes.inherit_fds = true,
                Way::Spawn,
                Way::Spawn,
            ),
            (
                |of| {
                    of.attributes.inherit_fds = true;
                    of.attributes.process_group = Some(0);
                },
                Way::Spawn,
                Way::Spawn,
            ),
            (
                |of| {
                    of.attributes.inherit_fds = true;
                    of.attributes.session = true;
                },
                Way::Spawn,
                Way::Fork,
            ),
            (
                |of| {
                    of.attributes.inherit_fds = true;
                    of.directory = Some(CString::from(c"/"));
                },
                Way::Spawn,
                Way::Fork,
            ),
            (|of| of.attributes.uid = Some(1), Way::Fork, Way::Fork),
        ];
        for (index, (change, with_all, with_none)) in changes.into_iter().enumerate() {
            assert_eq!(way_of(&all, change), Ok(with_all), "{index}");
            assert_eq!(way_of(&none, change), Ok(with_none), "{index}");
        }
    }

    #[test]
    fn what_only_a_forked_child_can_do_goes_by_fork() {
        let all = Abilities::all();
        let changes: [fn(&mut Wanted); 6] = [
            // Each alone: a user or a group that changes clears the others' list, too.
            |of| {
                of.attributes.gid = Some(1);
                of.attributes.groups = Groups::Keep;
            },
            |of| {
                of.attributes.uid = Some(1);
                of.attributes.groups = Groups::Keep;
            },
            |of| of.attributes.groups = Groups::Set(vec![1]),
            |of| of.attributes.chroot = Some(CString::from(c"/")),
            |of| of.attributes.controlling_terminal = Some(0),
            |of| {
                of.attributes.rlimits.push(crate::sys::Rlimit {
                    resource: crate::sys::Resource::CORE,
                    soft: 0,
                    hard: 0,
                });
            },
        ];
        for (index, change) in changes.into_iter().enumerate() {
            assert_eq!(way_of(&all, change), Ok(Way::Fork), "{index}");
        }
    }

    #[test]
    fn what_the_system_lacks_is_refused_at_its_step() {
        let all = Abilities::all();
        let map = IdMap {
            inside: 0,
            outside: 0,
            count: 1,
        };
        let cgroup = Arc::new(std::fs::File::open("/dev/null").expect("/dev/null").into());
        let own = Arc::new(crate::sys::CgroupPlan {
            under: "/".into(),
            settings: Vec::new(),
        });
        let refused = [
            way_of(&all, |of| of.attributes.namespaces = Namespaces::USER),
            way_of(&all, |of| of.attributes.unshare = Namespaces::USER),
            way_of(&all, |of| of.attributes.uid_maps.push(map)),
            way_of(&all, |of| of.attributes.gid_maps.push(map)),
            way_of(&all, |of| {
                of.attributes.ambient_capabilities.push(Capability::KILL);
            }),
            way_of(&all, |of| of.attributes.cgroup = Some(cgroup)),
            way_of(&all, |of| of.attributes.own_cgroup = Some(own)),
        ];
        let steps = [
            StartStep::Clone,
            StartStep::Unshare,
            StartStep::IdMaps,
            StartStep::IdMaps,
            StartStep::Capabilities,
            StartStep::Cgroup,
            StartStep::Cgroup,
        ];
        assert_eq!(refused.map(Result::err), steps.map(Some));
        let dies = way_of(&all, |of| {
            of.attributes.parent_death_signal = Some(Signal::KILL);
        });
        assert_eq!(dies.is_err(), matches!(PARENT_DEATH, By::Nothing(_)));
        let leaves = way_of(&all, |of| of.attributes.leave_terminal = true);
        let is_refused = matches!(LEAVE_TERMINAL, By::Nothing(_));
        assert_eq!(leaves.ok(), (!is_refused).then_some(Way::Fork));
    }
}
