//! The frame of every message: bounded JSON with a tag that says what it is, so that the protocol can change.
//!
//! ```text
//!  {"type":"event", ...}      the tag stands first where we write, and anywhere where we read
//!  {...}                      of a release without tags: what its topic carries, told apart by its fields
//! ```
//! One rule holds for all messages. *Readers ignore fields that they do not know* and take a default for one
//! that is missing. *Writers never change a meaning*: what means something else gets another name. What a
//! reader has to understand is a new kind, never a new field: a kind that is not known is refused or dropped
//! by its name. Types whose fields must not be lost say so where they are defined
//! ([`Grants`](crate::grants::Grants), [`HostState`](crate::snapshot::HostState)).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::limits::{NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum WireError {
    #[error("message has {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("message ends in the middle")]
    Truncated,
    #[error("message is malformed: {0}")]
    Malformed(String),
    #[error("message is of type '{found}', not '{expected}'")]
    OtherType { found: String, expected: &'static str },
}

impl WireError {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// What travels as a whole: a JSON object under a tag of its own.
pub trait Message: Serialize + DeserializeOwned {
    /// Its tag, which is never given to anything else.
    const TYPE: &'static str;
}

pub fn encode<T: Message>(message: &T) -> Vec<u8> {
    tagged(T::TYPE, &to_json(message))
}

/// What is there, of this type or of a release that wrote no tags.
pub fn decode<T: Message>(payload: &[u8]) -> Result<T, WireError> {
    check_length(payload)?;
    check_type(T::TYPE, payload)?;
    serde_json::from_slice(payload).map_err(WireError::json)
}

/// JSON without a tag: a part of a message, or something that is measured.
pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data serialises")
}

/// As much of a message as this type has, whatever it is.
pub fn from_json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, WireError> {
    check_length(payload)?;
    serde_json::from_slice(payload).map_err(WireError::json)
}

pub(crate) fn check_length(payload: &[u8]) -> Result<(), WireError> {
    match payload.len() {
        bytes if bytes > PAYLOAD_BYTES_MAX => Err(WireError::TooLong { bytes }),
        _ => Ok(()),
    }
}

/// An object with its tag in front.
pub(crate) fn tagged(tag: &'static str, object: &[u8]) -> Vec<u8> {
    debug_assert!(
        object.starts_with(b"{") && object.len() > 2,
        "a message is an object with fields"
    );
    let mut out = Vec::with_capacity(object.len() + tag.len() + 10);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(&object[1..]);
    out
}

/// `object`, a JSON object with fields, with one more: for what only some readers look at.
pub(crate) fn with_field<T: Serialize>(object: &[u8], name: &str, value: &T) -> Vec<u8> {
    debug_assert!(
        object.starts_with(b"{") && object.ends_with(b"}"),
        "a message is an object"
    );
    let mut out = object[..object.len().saturating_sub(1)].to_vec();
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(&to_json(value));
    out.push(b'}');
    out
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, default, rename = "type")]
    tag: Option<Cow<'a, str>>,
}

pub(crate) fn check_type(expected: &'static str, object: &[u8]) -> Result<(), WireError> {
    let Tag { tag } = serde_json::from_slice(object).map_err(WireError::json)?;
    match tag {
        Some(found) if found != expected => Err(WireError::OtherType {
            found: found.chars().take(NAME_BYTES_MAX).collect(),
            expected,
        }),
        _ => Ok(()),
    }
}

/// For `deserialize_with`: the entries of a map that this release can read. Those of kinds that came later
/// are left out, so that whoever lists them can still be read.
pub(crate) fn known_entries<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: DeserializeOwned,
{
    let all = BTreeMap::<K, serde_json::Value>::deserialize(deserializer)?;
    let known = all
        .into_iter()
        .filter_map(|(key, value)| Some((key, V::deserialize(value).ok()?)));
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ReportRequest;
    use crate::dispatcher::Lease;
    use crate::ids::OperationId;

    fn request() -> ReportRequest {
        ReportRequest {
            operation: OperationId::from_bytes([1; 16]),
            client: "c".parse().unwrap(),
            engines: Vec::new(),
        }
    }

    #[test]
    fn a_message_is_read_with_its_tag_and_without_one_and_with_fields_of_later_releases() {
        let tagged = encode(&request());
        assert!(tagged.starts_with(b"{\"type\":\"report-request\",\"operation\""));
        assert_eq!(decode(&tagged), Ok(request()));
        assert_eq!(
            decode(&to_json(&request())),
            Ok(request()),
            "of an earlier release"
        );
        let text = String::from_utf8(to_json(&request())).unwrap();
        let body = text.strip_suffix('}').unwrap();
        let later = format!("{body},\"new\":{{\"a\":[1]}},\"type\":\"report-request\"}}");
        assert_eq!(decode(later.as_bytes()), Ok(request()));
    }

    #[test]
    fn a_message_of_another_type_is_refused_by_its_name() {
        let refused = decode::<Lease>(&encode(&request())).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "message is of type 'report-request', not 'lease'"
        );
        for bad in [
            &b""[..],
            b"[]",
            b"1",
            b"{",
            b"{\"type\":1}",
            b"{\"type\":\"lease\"}",
        ] {
            assert!(decode::<Lease>(bad).is_err(), "{bad:?}");
        }
        let long = vec![b' '; PAYLOAD_BYTES_MAX + 1];
        assert!(matches!(decode::<Lease>(&long), Err(WireError::TooLong { .. })));
    }
}
