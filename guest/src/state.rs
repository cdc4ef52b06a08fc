//! Values under keys, which outlive the program: kept by the fleet's dispatcher, durably.
//!
//! A key is the program's own, by the program's name, so that whoever is run under that name later finds it; or, beginning with `/`, shared,
//! and granted by `wayfare run --allow-state '/counters/'`. A key has at most 256 bytes, a value 64 KiB.
//!
//! What was set is on the dispatcher's disk when the call returns. It is set once, however often the program was moved while it waited, or
//! its engine was killed and the program went on from an earlier point: what it then sets again under the same circumstances is recognised.
//! Where no dispatcher answers for 30 s, calls fail with [`Error::NoAnswer`], and what was being set may have been set or not.

use crate::Result;
use crate::error::Error;
use crate::imports;

/// The version of a value that is not there, for [`compare_and_set`].
pub const ABSENT: u64 = 0;

/// A value as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Another one whenever the value has been set; never that of an earlier value of the key.
    pub version: u64,
    pub bytes: Vec<u8>,
}

impl Value {
    /// The bytes, if they are UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

/// The value, if there is one.
///
/// # Errors
/// [`Error::Malformed`], [`Error::NotGranted`], [`Error::NoAnswer`].
pub fn get(key: &str) -> Result<Option<Value>> {
    match imports::state_get(key) {
        Ok((version, bytes)) => Ok(Some(Value { version, bytes })),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets the value, whatever it was. Returns its version.
///
/// # Errors
/// Those of [`get`], [`Error::TooLarge`], and [`Error::TooMany`] where the dispatcher keeps no more.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<u64> {
    imports::state_set(key, value.as_ref())
}

/// Sets the value if its version is still `version`; [`ABSENT`]: if there is none. Returns the new version.
///
/// # Errors
/// [`Error::Conflict`] where the version is another by now; those of [`set`].
pub fn compare_and_set(key: &str, version: u64, value: impl AsRef<[u8]>) -> Result<u64> {
    imports::state_compare_and_set(key, version, value.as_ref())
}

/// Removes the value, if there is one.
///
/// # Errors
/// Those of [`get`].
pub fn remove(key: &str) -> Result<()> {
    imports::state_remove(key)
}
