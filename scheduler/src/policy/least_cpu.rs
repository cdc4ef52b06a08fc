//! The engine with the idlest processors.

use super::Load;

/// Thousandths of the engine's processors that are taken.
pub(crate) fn least_cpu(load: &Load) -> i64 {
    load.processor_millicores.per_mille()
}
