//! Which terms there have been, as far as anybody remembers.

/// The highest term that each remembers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    /// The dispatcher's store.
    pub(crate) stored: u64,
    /// The dispatcher that acted last, of an engine that had refused its orders.
    pub(super) heard_of: u64,
}

impl Terms {
    /// Above all that is known of.
    pub(crate) fn next(&self, lease: Option<u64>) -> u64 {
        self.stored.max(self.heard_of).max(lease.unwrap_or(0)) + 1
    }
}
