//! A child's descriptors: where each comes from, and which numbers between them are to be closed. Pure functions.
//! Unaware of what the descriptors are.

/// One descriptor of the child: where it comes from (`None`: closed), and its number.
pub(super) type Mapping = (Option<i32>, i32);

/// The descriptors to close once the layout stands: everything above 2 that is no target, as ranges with both ends.
pub(super) fn gaps(mappings: &[Mapping], ranges: &mut Vec<(u32, u32)>) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
