//! Values under keys that outlive programs: what engines ask of the acting dispatcher's service for their
//! programs.
//!
//! Each change that a program asks for has a number, which travels with the program: asked again by another
//! engine, or by a program that a crash has set back, what was done is answered and not done again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::ids::{Generation, ProgramId};
pub use crate::key::{KEY_BYTES_MAX, Key, is_key, is_shared_key};
use crate::pattern::Pattern;

/// The service's name.
pub const SERVICE: &str = "values";
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Keys that are changed together.
pub const TOGETHER_MAX: usize = 1024;
/// Bytes of keys and values that are changed together.
pub const TOGETHER_BYTES_MAX: usize = 8 << 20;

/// At most [`VALUE_BYTES_MAX`] bytes, in base64 on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Value(Vec<u8>);

impl Value {
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= VALUE_BYTES_MAX).then_some(Self(bytes))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for Value {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(text).map_err(|_| "a value is not in base64")?;
        Self::new(bytes).ok_or("a value is too long")
    }
}

impl From<Value> for String {
    fn from(value: Value) -> Self {
        STANDARD.encode(value.0)
    }
}

/// One request of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueRequest {
    pub program: ProgramId,
    /// Those of a generation below the highest that was heard are refused.
    pub generation: Generation,
    /// Counts the program's changes, of values and files together. What only reads has the number of the next
    /// change, and leaves it to that.
    pub number: u64,
    pub what: ValueAsk,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum ValueAsk {
    Get {
        key: Key,
    },
    Set {
        key: Key,
        value: Value,
    },
    /// If its version is that; 0: if there is none.
    CompareAndSet {
        key: Key,
        expected: u64,
        value: Value,
    },
    Remove {
        key: Key,
    },
    /// Values with their keys, in the order of the keys.
    Matching {
        pattern: Pattern,
        after: Option<Key>,
    },
    /// All of it or nothing.
    SetMany {
        changes: Vec<OneChange>,
    },
    /// Whatever matches, at most [`TOGETHER_MAX`] keys, and [`TOGETHER_BYTES_MAX`].
    SetMatching {
        pattern: Pattern,
        value: Value,
    },
    /// What there is, in the order of the keys. Asked by people.
    List {
        /// What keys begin with.
        prefix: String,
        after: Option<Key>,
    },
}

/// One of changes that are made together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneChange {
    pub key: Key,
    /// `None`: it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The version that it must have; 0: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

/// A value as it is, or was set: also what is published of each change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub key: Key,
    /// Higher than all before, of whatever key. That of what was removed is the one of the removal.
    pub version: u64,
    /// `None`: it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// A value in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub key: Key,
    pub version: u64,
    pub bytes: u64,
}

impl ValueAsk {
    /// `None`: it is about many.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::List { .. } | Self::Matching { .. } | Self::SetMany { .. } | Self::SetMatching { .. } => {
                None
            }
            Self::Get { key }
            | Self::Set { key, .. }
            | Self::CompareAndSet { key, .. }
            | Self::Remove { key } => Some(key),
        }
    }

    pub fn verb(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Set { .. } => "set",
            Self::CompareAndSet { .. } => "compare-and-set",
            Self::Remove { .. } => "remove",
            Self::Matching { .. } => "get-matching",
            Self::SetMany { .. } => "set-many",
            Self::SetMatching { .. } => "set-matching",
            Self::List { .. } => "list",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum ValueAnswer {
    Value {
        version: u64,
        value: Value,
    },
    Absent,
    Set {
        version: u64,
    },
    Removed,
    /// The next of them, if any.
    Listed {
        values: Vec<Listed>,
    },
    /// It has this version; 0: there is none.
    Conflict {
        version: u64,
    },
    /// The next of them, and whether there may be more.
    Matching {
        values: Vec<Changed>,
        is_all: bool,
    },
    /// So many, the last with this version.
    SetMany {
        count: u64,
        version: u64,
    },
    /// One of those that were to be changed together has this version, so none was.
    ConflictAt {
        key: Key,
        version: u64,
    },
    /// There is no room for another value, or a longer one.
    Full,
    /// The program lives in a higher generation, or has asked so much since that it is not known whether this
    /// was done.
    Stale,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::NAME_BYTES_MAX;
    use crate::limits::PAYLOAD_BYTES_MAX;
    use crate::wire;

    #[test]
    fn the_longest_request_and_answer_fit_a_message() {
        let key = Key::of_program(&"n".repeat(NAME_BYTES_MAX), &"\u{1}".repeat(KEY_BYTES_MAX)).unwrap();
        let value = Value::new(vec![255; VALUE_BYTES_MAX]).unwrap();
        let request = ValueRequest {
            program: ProgramId::random(),
            generation: Generation(u64::MAX),
            number: u64::MAX,
            what: ValueAsk::CompareAndSet {
                key,
                expected: u64::MAX,
                value: value.clone(),
            },
        };
        // With room for what a request to a service is put in.
        assert!(wire::to_json(&request).len() + 1024 < PAYLOAD_BYTES_MAX);
        assert_eq!(wire::from_json(&wire::to_json(&request)), Ok(request));
        let answer = ValueAnswer::Value { version: 1, value };
        assert!(wire::to_json(&answer).len() + 1024 < PAYLOAD_BYTES_MAX);
    }

    #[test]
    fn keys_are_shared_or_the_programs_own() {
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for (key, expected) in [
            ("a", Some("p/a")),
            ("a/b", Some("p/a/b")),
            ("/a", Some("/a")),
            ("", None),
            ("a\0", None),
            (&long, None),
        ] {
            let found = Key::of_program("p", key);
            assert_eq!(found.as_ref().map(Key::as_str), expected, "{key:.20}");
        }
        for bad in ["", "noslash", "a/\0"] {
            assert!(Key::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(
            Value::try_from("%".to_owned()).is_err() && Value::new(vec![0; VALUE_BYTES_MAX + 1]).is_none()
        );
    }
}
