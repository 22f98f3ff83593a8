//! How a child brings its descriptors to their numbers (dup3(2)), and which copies it has to close. Pure functions.
//! Unaware of what the descriptors are, and of who carries the moves out.

use crate::sys::mapping::Mapping;

/// One act on the child's descriptor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Copy to a number that nothing else uses, closed by exec.
    Stash { from: i32, to: i32 },
    /// Copy to its final number, kept by exec.
    Dup { from: i32, to: i32 },
    /// The descriptor is at its number already: only keep it at exec.
    Keep { fd: i32 },
    /// Nothing is to be there.
    Close { fd: i32 },
}

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
}
