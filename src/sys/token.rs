//! Which command and which of its sources an event is for, as the number that mio hands back.
//! Unaware of descriptors and of what happened.

use mio::Token;

use super::{Source, Stream, Tenant};

pub(super) const WAKER: Token = Token(usize::MAX);
/// What a kernel watches for itself: its timer, or the queue of its timer and exits.
pub(super) const INTERNAL: Token = Token(usize::MAX - 1);

const SOURCE_BITS: u32 = 2;
/// The source after the three streams.
const EXIT: usize = Stream::ALL.len();
/// 30 bits of slot and 32 of generation on 64-bit machines, 14 and 16 on others.
const SLOT_BITS: u32 = usize::BITS / 2 - SOURCE_BITS;

/// How many slots a token can tell apart.
pub(crate) const SLOTS_MAX: usize = (1 << SLOT_BITS) - 1;

/// The bits of a generation that come back with an event.
pub(super) const GENERATION_MASK: u32 = (usize::MAX >> (SLOT_BITS + SOURCE_BITS)) as u32;

pub(super) fn token(tenant: Tenant, source: Source) -> Token {
    let slot = tenant.slot as usize;
    debug_assert!(slot < SLOTS_MAX);
    let generation = (tenant.generation as usize) << (SLOT_BITS + SOURCE_BITS);
    let source = match source {
        Source::Stream(stream) => stream as usize,
        Source::Exit => EXIT,
    };
    Token(generation | slot << SOURCE_BITS | source)
}

pub(super) fn untoken(Token(token): Token) -> Option<(Tenant, Source)> {
    if Token(token) == WAKER || Token(token) == INTERNAL {
        return None;
    }
    let stream = Stream::ALL.get(token & ((1 << SOURCE_BITS) - 1));
    let source = stream.map_or(Source::Exit, |stream| Source::Stream(*stream));
    let tenant = Tenant {
        slot: ((token >> SOURCE_BITS) & SLOTS_MAX) as u32,
        generation: (token >> (SLOT_BITS + SOURCE_BITS)) as u32,
    };
    Some((tenant, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_give_back_what_they_were_made_of() {
        for slot in [0, 1, 77_777, SLOTS_MAX as u32 - 1] {
            for generation in [0, 1, GENERATION_MASK] {
                let streams = Stream::ALL.map(Source::Stream);
                for source in streams.into_iter().chain([Source::Exit]) {
                    let tenant = Tenant { slot, generation };
                    assert_eq!(untoken(token(tenant, source)), Some((tenant, source)));
                }
            }
        }
        assert_eq!(untoken(WAKER), None);
        assert_eq!(untoken(INTERNAL), None);
    }
}
