//! How much one stream moves before the others get their turn, and how often a pipe's "try again" is believed: what copied
//! streams and the caller's own pipes have in common. Unaware of both.

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
