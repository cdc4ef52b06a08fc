//! Keys of values: how programs name them, and what they are for the whole fleet.

use serde::{Deserialize, Serialize};

use crate::limits::NAME_BYTES_MAX;

/// Bytes of a key as a program names it.
pub const KEY_BYTES_MAX: usize = 256;

/// A key of the whole fleet's: a shared one begins with a slash, a program's own with the program's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// Whether a program can name a value so.
pub fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= KEY_BYTES_MAX && !key.contains('\0')
}

/// Keys that begin with a slash are shared, and have to be granted.
pub fn is_shared_key(key: &str) -> bool {
    is_key(key) && key.starts_with('/')
}

impl Key {
    /// What a program of this name means by `key`.
    pub fn of_program(name: &str, key: &str) -> Option<Self> {
        match is_key(key) {
            true if is_shared_key(key) => Some(Self(key.to_owned())),
            true => Self::try_from(format!("{name}/{key}")).ok(),
            false => None,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_good = !text.is_empty()
            && text.len() <= NAME_BYTES_MAX + 1 + KEY_BYTES_MAX
            && !text.contains('\0')
            && text.contains('/');
        is_good.then_some(Self(text)).ok_or("no key of a value")
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}
