//! How much one stream moves before the others get their turn, and how often a pipe's "try again" is believed: what copied
//! streams and the caller's own pipes have in common, with the last read of both. Unaware of who reads.

use std::io;

use crate::sys::Kernel;

/// How much one stream may move before the others get their turn.
pub(crate) const STREAM_BYTES_PER_TURN_MAX: usize = 64 * 1024;
/// How often one stream is read or written before the others get their turn: a child may write byte by byte as we read,
/// and a caller's reader may give byte by byte.
pub(crate) const PIECES_PER_TURN_MAX: usize = 16;
/// The most that is read of a pipe before it is cut: the largest that an unprivileged user can make a pipe.
pub(crate) const LAST_DRAIN_BYTES_MAX: usize = 1024 * 1024;
/// An edge comes once, and a call can fail for reasons of its own: that a pipe is empty or full is believed only when
/// it is said so often in a row.
pub(crate) const REFUSALS_BELIEVED: u32 = 2;

/// What came of one try to take something of what a pipe holds.
pub(crate) enum Piece {
    /// So many bytes; none: its end.
    Read(usize),
    Empty,
    /// Who would take it does not.
    Refused,
}

/// Before a pipe is cut: takes what it holds, piece by piece. Whether it has ended, which is that nobody holds it.
pub(crate) fn take_rest<K: Kernel, E>(
    kernel: &mut K,
    pipe: &K::Pipe,
    mut take: impl FnMut(&mut K) -> Result<Piece, E>,
) -> Result<bool, E> {
    let mut budget = LAST_DRAIN_BYTES_MAX;
    let mut refusals = 0;
    loop {
        match take(kernel)? {
            Piece::Read(0) => return Ok(true),
            Piece::Read(read) => {
                refusals = 0;
                budget = budget.saturating_sub(read);
            }
            Piece::Empty => {
                refusals += 1;
                // The pipe's last writer may have gone since, and have written before.
                if refusals >= REFUSALS_BELIEVED && !kernel.is_abandoned(pipe) {
                    return Ok(false);
                }
            }
            Piece::Refused => return Ok(kernel.is_abandoned(pipe)),
        }
        // Only who still writes could make this go on for ever.
        if budget == 0 && !kernel.is_abandoned(pipe) {
            return Ok(false);
        }
    }
}

/// One read, whatever interrupts it.
pub(crate) fn read_retrying<K: Kernel>(
    kernel: &mut K,
    pipe: &K::Pipe,
    into: &mut Vec<u8>,
    bytes_max: usize,
) -> io::Result<usize> {
    loop {
        match kernel.read(pipe, into, bytes_max) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
