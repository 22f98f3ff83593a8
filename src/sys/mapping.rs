//! A child's descriptors: where each comes from, and which numbers between them are to be closed. Pure functions.
//! Unaware of what the descriptors are.

/// One descriptor of the child: where it comes from (`None`: closed), and its number.
pub(super) type Mapping = (Option<i32>, i32);

/// Everything from 3 to `last` that is none of these numbers, as ranges with both ends.
pub(super) fn gaps(
    numbers: impl Iterator<Item = i32> + Clone,
    last: u32,
    ranges: &mut Vec<(u32, u32)>,
) {
    ranges.clear();
    let mut next = 3;
    let from = |next: u32| {
        let numbers = numbers
            .clone()
            .filter_map(|number| u32::try_from(number).ok());
        numbers
            .filter(|number| (next..=last).contains(number))
            .min()
    };
    while let Some(number) = from(next) {
        if number > next {
            ranges.push((next, number - 1));
        }
        next = number + 1;
    }
    if next <= last {
        ranges.push((next, last));
    }
}

/// The numbers that the child has at the end.
pub(super) fn targets(mappings: &[Mapping]) -> impl Iterator<Item = i32> + Clone {
    mappings.iter().map(|(_, target)| *target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps_of(numbers: &[i32], last: u32) -> Vec<(u32, u32)> {
        let mut ranges = vec![(7, 7)];
        gaps(numbers.iter().copied(), last, &mut ranges);
        ranges
    }

    #[test]
    fn gaps_are_all_numbers_from_3_to_the_last_that_are_not_named() {
        assert_eq!(gaps_of(&[0, 1, 2], u32::MAX), [(3, u32::MAX)]);
        assert_eq!(
            gaps_of(&[0, 1, 2, 9, 3, 6], u32::MAX),
            [(4, 5), (7, 8), (10, u32::MAX)]
        );
        assert_eq!(gaps_of(&[3, 4], 4), []);
        assert_eq!(gaps_of(&[0, 1, 2], 2), []);
        assert_eq!(gaps_of(&[3, 11, 12, 12, 13, 14], 14), [(4, 10)]);
        assert_eq!(gaps_of(&[5, 9], 11), [(3, 4), (6, 8), (10, 11)]);
        assert_eq!(gaps_of(&[70, 5], 19), [(3, 4), (6, 19)]);
    }
}
