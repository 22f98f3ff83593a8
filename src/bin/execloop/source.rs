//! Where commands come from: a list that is read as it is needed, or the combinations of arguments in memory.
//! Unaware of what a command is made of them.

use crate::count::Count;
use crate::cut::Item;
use crate::lines::{Lines, Next};
use crate::report::NeverStarted;

#[derive(Debug)]
pub(crate) enum Source {
    /// With the count of what is in it, if somebody wants to know and can.
    List(Lines, Option<Count>),
    Fixed(Combinations),
}

impl Source {
    /// The next item, if it is there.
    pub(crate) fn next(&mut self) -> Next {
        match self {
            Source::List(lines, _) => lines.next(),
            Source::Fixed(combinations) => match combinations.next() {
                Some(item) => Next::Item(item),
                None => Next::End(Ok(())),
            },
        }
    }

    /// How many items there are, if that is known before the last is taken.
    pub(crate) fn total(&self) -> Option<u64> {
        match self {
            Source::List(_, count) => count.as_ref()?.total(),
            Source::Fixed(combinations) => Some(combinations.total()),
        }
    }

    /// No further one is wanted.
    pub(crate) fn stop(&mut self) {
        match self {
            Source::List(lines, _) => lines.stop(),
            Source::Fixed(combinations) => combinations.is_stopped = true,
        }
    }

    /// How many were not wanted; `None` while that is found out.
    pub(crate) fn never_started(&self) -> Option<NeverStarted> {
        match self {
            Source::List(lines, _) => lines.never_started(),
            Source::Fixed(combinations) => Some(combinations.never_started()),
        }
    }

    /// The same, of a count that may not be complete.
    pub(crate) fn never_started_as_known(&self) -> NeverStarted {
        match self {
            Source::List(lines, _) => lines.never_started_as_known(),
            Source::Fixed(combinations) => combinations.never_started(),
        }
    }
}

/// Each value of the first list with each of the second and so on, the last changing fastest.
#[derive(Debug)]
pub(crate) struct Combinations {
    lists: Vec<Vec<Vec<u8>>>,
    /// So many values are for one command. More than one only of a single list.
    max: usize,
    next: u64,
    is_stopped: bool,
}

impl Combinations {
    pub(crate) fn new(lists: Vec<Vec<Vec<u8>>>, max: usize) -> Combinations {
        Combinations {
            lists,
            max,
            next: 0,
            is_stopped: false,
        }
    }

    /// How many commands they are.
    pub(crate) fn total(&self) -> u64 {
        let product = self
            .lists
            .iter()
            .map(|list| list.len() as u64)
            .fold(1, u64::saturating_mul);
        product.div_ceil(self.max as u64)
    }

    fn never_started(&self) -> NeverStarted {
        NeverStarted::Exactly(self.total() - self.next)
    }

    fn next(&mut self) -> Option<Item> {
        if self.is_stopped || self.next >= self.total() {
            return None;
        }
        let at = self.next;
        self.next += 1;
        Some(Item {
            number: self.next,
            values: self.values(at),
            fault: None,
        })
    }

    fn values(&self, at: u64) -> Vec<Vec<u8>> {
        if let [list] = &self.lists[..] {
            let from = at as usize * self.max;
            return list[from..list.len().min(from + self.max)].to_vec();
        }
        let mut rest = at;
        let mut values: Vec<Vec<u8>> = Vec::with_capacity(self.lists.len());
        for list in self.lists.iter().rev() {
            let length = list.len() as u64;
            values.push(list[(rest % length) as usize].clone());
            rest /= length;
        }
        values.reverse();
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[&str]) -> Vec<Vec<u8>> {
        values
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect()
    }

    fn all(combinations: &mut Combinations) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(item) = combinations.next() {
            assert_eq!(item.number, all.len() as u64 + 1);
            all.push(String::from_utf8(item.values.join(&b' ')).expect("text"));
        }
        all
    }

    #[test]
    fn the_last_list_changes_fastest_and_an_empty_one_leaves_nothing() {
        let lists = vec![list(&["a", "b"]), list(&["1", "2", "3"])];
        let mut combinations = Combinations::new(lists, 1);
        assert_eq!(combinations.total(), 6);
        assert_eq!(
            all(&mut combinations),
            ["a 1", "a 2", "a 3", "b 1", "b 2", "b 3"]
        );
        assert_eq!(
            all(&mut Combinations::new(vec![list(&["a"]), list(&[])], 1)),
            [""; 0]
        );
    }

    #[test]
    fn one_list_gives_so_many_at_a_time_and_what_is_left_is_counted() {
        let mut combinations = Combinations::new(vec![list(&["a", "b", "c"])], 2);
        assert_eq!(combinations.never_started(), NeverStarted::Exactly(2));
        assert_eq!(
            combinations.next().map(|item| item.values),
            Some(list(&["a", "b"]))
        );
        combinations.is_stopped = true;
        assert_eq!(combinations.next(), None);
        assert_eq!(combinations.never_started(), NeverStarted::Exactly(1));
    }
}
