//! What a child does between its birth and its exec, as data that the parent prepares.
//! Unaware of system calls; the layout of descriptors is a pure function.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::names::{Capability, Namespaces, Resource};
use super::{CStrings, Signal};

/// Prepared once for each `Command`, shared by all its starts.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: CString,
    pub(crate) argv: CStrings,
    pub(crate) directory: Option<CString>,
    pub(crate) attributes: Attributes,
}

/// How the child differs from a plain one. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Groups,
    pub(crate) session: bool,
    /// 0 makes a group of the child's own.
    pub(crate) process_group: Option<i32>,
    /// Who is left of the child's group is killed before the child is reaped.
    pub(crate) sweeps_group: bool,
    /// Descriptors above 2 that lack close-on-exec are inherited.
    pub(crate) inherit_fds: bool,
    /// The parent's terminal, whose foreground the child's group takes.
    pub(crate) foreground: Option<Arc<OwnedFd>>,
    /// The child's descriptor that becomes its controlling terminal.
    pub(crate) controlling_terminal: Option<i32>,
    pub(crate) leave_terminal: bool,
    pub(crate) chroot: Option<CString>,
    pub(crate) parent_death_signal: Option<Signal>,
    /// The child is born in these.
    pub(crate) namespaces: Namespaces,
    /// The child enters these.
    pub(crate) unshare: Namespaces,
    pub(crate) uid_maps: Vec<IdMap>,
    pub(crate) gid_maps: Vec<IdMap>,
    /// setgroups(2) stays allowed in a user namespace with maps.
    pub(crate) setgroups_in_namespace: bool,
    pub(crate) ambient_capabilities: Vec<Capability>,
    pub(crate) cgroup: Option<Arc<OwnedFd>>,
    /// A cgroup is made for each start.
    pub(crate) own_cgroup: Option<Arc<CgroupPlan>>,
    pub(crate) rlimits: Vec<Rlimit>,
}

/// The supplementary groups of the child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Groups {
    /// None, when a user or group is set; else those of the parent.
    #[default]
    Automatic,
    /// Those of the parent, whatever else is set.
    Keep,
    /// These.
    Set(Vec<u32>),
}

/// One line of `/proc/PID/uid_map` or `gid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdMap {
    pub(crate) inside: u32,
    pub(crate) outside: u32,
    pub(crate) count: u32,
}

/// A cgroup to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupPlan {
    pub(crate) under: PathBuf,
    /// What to write into which of its files.
    pub(crate) settings: Vec<(String, String)>,
}

/// A resource limit for the child alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rlimit {
    pub(crate) resource: Resource,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl Attributes {
    /// The child leads a process group of its own.
    pub(crate) fn leads_group(&self) -> bool {
        match self.process_group {
            Some(group) => group == 0,
            None => self.session || self.foreground.is_some(),
        }
    }

    /// The child is to be out of the terminal's reach before a stop can hit it.
    pub(super) fn changes_group(&self) -> bool {
        self.session || self.process_group.is_some() || self.foreground.is_some()
    }

    /// The child takes other credentials, which changes flags of the memory that it shares with us.
    pub(super) fn changes_credentials(&self) -> bool {
        let enters = !self.namespaces.is_empty() || !self.unshare.is_empty();
        self.uid.is_some() || self.gid.is_some() || enters
    }

    /// The child asks whether its parent still lives.
    pub(super) fn knows_parent(&self) -> bool {
        self.parent_death_signal.is_some() || self.has_id_maps()
    }

    /// Somebody outside has to write the child's id maps while it waits.
    pub(crate) fn has_id_maps(&self) -> bool {
        !self.uid_maps.is_empty() || !self.gid_maps.is_empty()
    }

    /// The list for setgroups(2), or `None` to leave the groups alone.
    pub(in crate::sys) fn groups_to_set(&self) -> Option<&[u32]> {
        let denied = self.has_id_maps() && !self.setgroups_in_namespace;
        match &self.groups {
            Groups::Set(groups) => Some(groups),
            Groups::Automatic if (self.uid.is_some() || self.gid.is_some()) && !denied => Some(&[]),
            Groups::Automatic | Groups::Keep => None,
        }
    }
}

/// One act on the child's descriptor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Copy to a number that nothing else uses, closed by exec.
    Stash { from: i32, to: i32 },
    /// Copy to its final number, kept by exec.
    Dup { from: i32, to: i32 },
    /// It is at its number already: only keep it at exec.
    Keep { fd: i32 },
    /// Nothing is to be there.
    Close { fd: i32 },
}

/// One descriptor of the child: where it comes from (`None`: closed), and its number.
pub(in crate::sys) type Mapping = (Option<i32>, i32);

/// How many sources are some other mapping's target, and so need a spare number in `layout`.
pub(super) fn stashes(mappings: &[Mapping]) -> usize {
    mappings
        .iter()
        .filter(|mapping| needs_stash(mappings, mapping))
        .count()
}

fn needs_stash(mappings: &[Mapping], (source, target): &Mapping) -> bool {
    source.is_some_and(|source| {
        source != *target && mappings.iter().any(|(_, other)| *other == source)
    })
}

/// Orders the moves so that no source is overwritten before it was copied: first, each source that is some other
/// mapping's target goes out of the way, to one of `spares`; then each goes to its number.
pub(super) fn layout(mappings: &[Mapping], spares: &[i32], moves: &mut Vec<Move>) {
    moves.clear();
    let mut stash = spares.iter();
    for mapping @ (source, _) in mappings {
        if let Some(from) = source
            && needs_stash(mappings, mapping)
            && let Some(to) = stash.next()
        {
            moves.push(Move::Stash {
                from: *from,
                to: *to,
            });
        }
    }
    let mut stash = spares.iter();
    for mapping @ (source, target) in mappings {
        moves.push(match *source {
            None => Move::Close { fd: *target },
            Some(source) if source == *target => Move::Keep { fd: *target },
            Some(source) => {
                let stashed = if needs_stash(mappings, mapping) {
                    stash.next()
                } else {
                    None
                };
                Move::Dup {
                    from: *stashed.unwrap_or(&source),
                    to: *target,
                }
            }
        });
    }
}

/// The descriptors to close once the layout stands: everything above 2 that is no target, as ranges with both ends.
pub(in crate::sys) fn gaps(mappings: &[Mapping], ranges: &mut Vec<(u32, u32)>) {
    ranges.clear();
    let mut next = 3;
    let above = |next: u32| {
        let targets = mappings
            .iter()
            .filter_map(|(_, target)| u32::try_from(*target).ok());
        targets.filter(|target| *target >= next).min()
    };
    while let Some(target) = above(next) {
        if target > next {
            ranges.push((next, target - 1));
        }
        next = target + 1;
    }
    ranges.push((next, u32::MAX));
}

/// The descriptors from 3 up to `first`, without it, that are none of `own`: ranges with both ends.
pub(super) fn foreign(own: &[i32], first: u32) -> Vec<(u32, u32)> {
    let mut own: Vec<u32> = own
        .iter()
        .filter_map(|fd| u32::try_from(*fd).ok())
        .filter(|fd| (3..first).contains(fd))
        .collect();
    own.sort_unstable();
    own.dedup();
    let mut ranges = Vec::new();
    let mut next = 3;
    for fd in own {
        if fd > next {
            ranges.push((next, fd - 1));
        }
        next = fd + 1;
    }
    if first > next {
        ranges.push((next, first - 1));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// What each number leads to, after the moves, starting from `before`.
    fn apply(before: &BTreeMap<i32, i32>, moves: &[Move]) -> BTreeMap<i32, i32> {
        let mut table = before.clone();
        for step in moves {
            match *step {
                Move::Stash { from, to } | Move::Dup { from, to } => {
                    assert_ne!(from, to, "dup3 refuses equal numbers");
                    let file = table[&from];
                    table.insert(to, file);
                }
                Move::Keep { fd } => assert!(table.contains_key(&fd)),
                Move::Close { fd } => {
                    table.remove(&fd);
                }
            }
        }
        table
    }

    /// Every assignment of the sources 0..6 (or nothing) to `targets`, with repetition.
    fn check_all(targets: &[i32]) {
        let before: BTreeMap<i32, i32> = (0..6).map(|fd| (fd, 100 + fd)).collect();
        let mut moves = Vec::new();
        for code in 0..7_usize.pow(targets.len() as u32) {
            let mut rest = code;
            let mut mappings = Vec::new();
            for target in targets {
                let source = (rest % 7) as i32;
                rest /= 7;
                mappings.push(((source < 6).then_some(source), *target));
            }
            let spares: Vec<i32> = (6..).take(stashes(&mappings)).collect();
            layout(&mappings, &spares, &mut moves);
            let after = apply(&before, &moves);
            for (source, target) in &mappings {
                let expected = source.map(|source| 100 + source);
                assert_eq!(
                    after.get(target).copied(),
                    expected,
                    "{mappings:?} by {moves:?}"
                );
            }
        }
    }

    #[test]
    fn every_assignment_of_sources_to_targets_over_0_to_5_lands() {
        check_all(&[0, 1, 2]);
        check_all(&[0, 1, 2, 3]);
        check_all(&[0, 1, 2, 3, 4, 5]);
        check_all(&[5, 0, 3, 1]);
    }

    #[test]
    fn a_plain_command_needs_three_moves_and_no_stash() {
        let mut moves = Vec::new();
        layout(&[(Some(3), 0), (Some(4), 1), (Some(4), 2)], &[], &mut moves);
        let expected = [
            Move::Dup { from: 3, to: 0 },
            Move::Dup { from: 4, to: 1 },
            Move::Dup { from: 4, to: 2 },
        ];
        assert_eq!(moves, expected);
    }

    #[test]
    fn gaps_are_all_numbers_above_2_that_are_no_target() {
        let mut ranges = Vec::new();
        gaps(&[(None, 0), (None, 1), (None, 2)], &mut ranges);
        assert_eq!(ranges, [(3, u32::MAX)]);
        gaps(
            &[
                (None, 0),
                (None, 1),
                (None, 2),
                (None, 9),
                (None, 3),
                (None, 6),
            ],
            &mut ranges,
        );
        assert_eq!(ranges, [(4, 5), (7, 8), (10, u32::MAX)]);
    }

    #[test]
    fn what_is_foreign_is_all_between_3_and_the_first_that_is_not_copied_but_ones_own() {
        assert_eq!(foreign(&[3, 4], 5), []);
        assert_eq!(foreign(&[0, 1, 2], 3), []);
        assert_eq!(foreign(&[3, 11, 12, 12, 13, 14], 15), [(4, 10)]);
        assert_eq!(foreign(&[5, 9], 12), [(3, 4), (6, 8), (10, 11)]);
        assert_eq!(foreign(&[70, 5], 20), [(3, 4), (6, 19)]);
    }
}
