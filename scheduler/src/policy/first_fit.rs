//! The first engine by name.

use super::Load;

/// All engines are equal, so the first that fits is taken.
pub(crate) fn first_fit(_: &Load) -> i64 {
    0
}
