//! Decisions of a simulated world: from a seed, or from the bytes of a fuzzer until they are used up.
//! Unaware of what is decided.

/// A source of decisions (xorshift64*). The same seed or the same bytes decide the same.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
    /// What a fuzzer decides, the next byte last.
    bytes: Vec<u8>,
}

impl Random {
    pub(crate) fn of_seed(seed: u64) -> Random {
        // Zero would stay zero, and small seeds would begin alike.
        let mut random = Random {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d | 1,
            bytes: Vec::new(),
        };
        for _ in 0..4 {
            random.next();
        }
        random
    }

    /// Decides by these bytes, and by a seed made of them afterwards.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Random {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        Random {
            bytes: bytes.iter().rev().copied().collect(),
            ..Random::of_seed(hash)
        }
    }

    /// A source for the other side: half of a fuzzer's bytes go to it.
    pub(crate) fn halve(&mut self) -> Random {
        Random {
            bytes: self.bytes.split_off(self.bytes.len() / 2),
            ..self.split()
        }
    }

    /// A source for somebody else.
    pub(crate) fn split(&mut self) -> Random {
        Random::of_seed(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        if end <= 1 {
            return 0;
        }
        // One byte decides small choices, so that a fuzzer's change of one byte changes one decision.
        match self.bytes.pop() {
            Some(byte) if end <= 256 => usize::from(byte) % end,
            Some(byte) => {
                let low = self.bytes.pop().unwrap_or(0);
                (usize::from(byte) << 8 | usize::from(low)) % end
            }
            None => (self.next() >> 33) as usize % end,
        }
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}
