//! What a start on Linux has to mind of a child's attributes, as the child shares our memory and our terminal.
//! Unaware of how it minds it.

use crate::sys::{Attributes, Namespaces};

impl Attributes {
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
}

impl Namespaces {
    /// The bits for clone3(2) and unshare(2).
    pub(super) const fn flags(self) -> u64 {
        self.0
    }
}
