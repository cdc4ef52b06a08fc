//! Units of simulated time, in microseconds.

pub(crate) const MS: u64 = 1000;
pub(crate) const SECOND: u64 = 1000 * MS;
