//! The tightest engine.

use super::Load;

/// Bytes of free memory: the fewest that are enough, which keeps the large gaps whole.
pub(crate) fn best_fit(load: &Load) -> i64 {
    load.memory_bytes.free()
}
