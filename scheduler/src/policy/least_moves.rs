//! The engine that is furthest from running short of anything.

use super::Load;

/// Thousandths taken of what the engine is shortest of: memory, processors or places.
pub(crate) fn least_moves(load: &Load) -> i64 {
    let shares = [load.programs, load.memory_bytes, load.processor_millicores];
    shares.iter().map(|share| share.per_mille()).max().unwrap_or(0)
}
