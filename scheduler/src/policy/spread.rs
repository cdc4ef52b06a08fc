//! The engine with the fewest programs.

use super::Load;

/// Programs, whosever they are.
pub(crate) fn spread(load: &Load) -> i64 {
    load.programs.taken
}
