//! Names of things. Each is a type of its own, checked where it is made, and printed the way people
//! type it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::limits::{NAME_BYTES_MAX, REPLACING_GENERATIONS};

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum IdError {
    #[error(
        "'{0}' is not a usable name: 1 to {NAME_BYTES_MAX} of a-z A-Z 0-9 . _ -, beginning with a letter or digit"
    )]
    Name(String),
    #[error("'{0}' is not an id: 32 hexadecimal digits expected")]
    Uuid(String),
    #[error("'{0}' is not a digest: 64 hexadecimal digits expected")]
    Digest(String),
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// From 16 random bytes: randomness is the caller's.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            pub fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// The first eight digits, as tables show it.
            pub fn short(&self) -> String {
                self.to_string()[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.simple().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError::Uuid(shorten(text)))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

uuid_id! {
    /// One running program; survives every move.
    ProgramId
}
uuid_id! {
    /// One command in progress. Repeating a command with the same id is harmless.
    OperationId
}
uuid_id! {
    /// One start of an engine's process.
    BootId
}
uuid_id! {
    /// What an engine wants to see in orders, so that old ones do not count: drawn anew now and then.
    Challenge
}

/// The name under which whoever acts gives commands and gets answers: there is one at a time, so that a
/// successor hears the answers to what its predecessor began.
pub const ACTING_NAME: &str = "dispatcher";

/// A name that can stand in a topic: an engine's or a client's. Engines and clients are both *peers* in
/// a transfer of blobs, so they share one space of names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerName(String);

/// An engine's name; unique in a fleet.
pub type EngineId = PeerName;
/// A connected front end's name.
pub type ClientId = PeerName;

impl PeerName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` can name an engine, a client or a program.
pub fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl FromStr for PeerName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Name(shorten(text)))
        }
    }
}

impl TryFrom<String> for PeerName {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<PeerName> for String {
    fn from(name: PeerName) -> String {
        name.0
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Counts a program's owners. Only the highest is real; whatever an older one says is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    pub const FIRST: Self = Self(1);
    /// No program comes so far: what claims a higher one is broken or forged, and would leave none to count
    /// on with.
    pub const HIGHEST: Self = Self(u64::MAX / 2);

    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The generation of a copy that replaces one of this generation which may live after all.
    pub fn replacing(self) -> Self {
        Self(self.0.saturating_add(REPLACING_GENERATIONS))
    }

    /// Whether copies of an earlier generation may be left somewhere: this one, or one that it goes on from,
    /// has replaced another.
    pub fn has_replaced(self) -> bool {
        self >= Self::FIRST.replacing()
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the times that acting as the dispatcher has passed from one process to the next, or begun anew. It
/// only grows; an engine refuses commands of a lower one than it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u64);

impl Term {
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// BLAKE3 of a blob's bytes: modules, standard inputs and snapshots are known by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        hexadecimal(text)
            .map(Self)
            .ok_or_else(|| IdError::Digest(shorten(text)))
    }
}

/// 64 hexadecimal digits.
pub(crate) fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

impl TryFrom<String> for Digest {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// Bytes known by their digest, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Blob {
    pub digest: Digest,
    pub bytes: u64,
}

impl Blob {
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
        }
    }
}

/// What came from outside goes into an error message no longer than this.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text_and_refuse_nonsense() {
        let id = ProgramId::random();
        assert_eq!(id.to_string().parse::<ProgramId>(), Ok(id));
        assert!("p-1".parse::<ProgramId>().is_err());
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        assert!("é".repeat(32).parse::<Digest>().is_err());
    }

    #[test]
    fn names_that_could_change_a_topic_are_refused() {
        for bad in ["", "a/b", "a+b", "#", "$x", "-a", "a b", &"a".repeat(65)] {
            assert!(bad.parse::<PeerName>().is_err(), "{bad}");
        }
        assert!("pi-3.local".parse::<PeerName>().is_ok());
    }
}
