//! The engine with the most free memory.

use super::Load;

/// Bytes of free memory, negative so that more is lower.
pub(crate) fn most_free_memory(load: &Load) -> i64 {
    -load.memory_bytes.free()
}
