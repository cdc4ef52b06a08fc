//! What records are made durable by, whatever they are of.

use std::collections::BTreeMap;

use super::FileError;

/// Records in force, as JSON.
pub(super) type Live = BTreeMap<String, String>;
/// A record as it is to be; `None` erases it.
pub(super) type Change = (String, Option<String>);

/// Where records are made durable.
pub(super) trait Backend: std::fmt::Debug + Send {
    /// Makes all of these changes durable, or says why not; `live` is what is in force with them. After a
    /// failure whatever is stored next stands for itself: what failed is not there when it is read back.
    fn store(&mut self, changes: &[Change], live: &Live) -> Result<(), FileError>;
}
