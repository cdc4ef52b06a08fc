//! Signed messages: the one envelope of orders and of the roster.
//!
//! ```text
//!  {"type":"command", ... ,"answers":{"attic":"<challenge>"},"signed":"<public key, 64 digits><signature, 128 digits>"}
//!  \______________________ what is signed, behind the topic ______________________/
//! ```
//! The signature is the last field of the message's own JSON, and covers the exact bytes before it. So
//! nothing needs a canonical form, whoever knows nothing of signatures reads the message as ever, and a
//! message without one is the same message. The topic is signed with it: a message counts where it was sent
//! to, and so to one fleet, one engine and one kind.
//!
//! Why not COSE or JWS: engines of earlier releases have to go on reading the same payload, and either would
//! wrap it, at the price of a second encoding (CBOR or base64) on boards. Why not biscuits: rights that are
//! narrowed without asking, which nobody needs here, cost a Datalog interpreter in each engine. What is
//! signed and how is Ed25519 as for compiled code ([`crate::code`]).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::code::{PublicKey, SecretKey};
use crate::ids::{Challenge, EngineId, hexadecimal};
use crate::wire;

/// Signatures of Wayfare's messages are for nothing else.
const DOMAIN: &[u8] = b"wayfare signed message 1\0";
const FIELD: &[u8] = b",\"signed\":\"";
const END: &[u8] = b"\"}";
const KEY_DIGITS: usize = 64;
const SIGNATURE_DIGITS: usize = 128;
const SUFFIX_BYTES: usize = FIELD.len() + KEY_DIGITS + SIGNATURE_DIGITS + END.len();

/// The challenges that a message answers, by the engines that gave them.
pub type Answers = BTreeMap<EngineId, Challenge>;

/// `object`, a JSON object with fields, signed for `topic`.
pub fn sign(key: &SecretKey, topic: &str, object: &[u8], answers: &Answers) -> Vec<u8> {
    debug_assert!(
        object.starts_with(b"{") && object.ends_with(b"}"),
        "a message is an object"
    );
    let mut out = match answers.is_empty() {
        true => object.to_vec(),
        false => wire::with_field(object, "answers", answers),
    };
    out.truncate(out.len().saturating_sub(1));
    let signature = Detached::sign(key, &signed_bytes(topic, &out));
    out.extend_from_slice(FIELD);
    out.extend_from_slice(signature.to_string().as_bytes());
    out.extend_from_slice(END);
    out
}

/// A signature that a message has, not verified yet.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'a> {
    /// Whose it claims to be.
    pub key: PublicKey,
    bytes: [u8; 64],
    text: &'a [u8],
}

impl<'a> Signature<'a> {
    /// That of `payload`; `None`: it is not signed.
    pub fn of(payload: &'a [u8]) -> Option<Self> {
        let (text, suffix) = payload.split_at_checked(payload.len().checked_sub(SUFFIX_BYTES)?)?;
        let digits = suffix.strip_prefix(FIELD)?.strip_suffix(END)?;
        let (key, bytes) = parse_digits(std::str::from_utf8(digits).ok()?)?;
        Some(Self { key, bytes, text })
    }

    /// Whether its key has signed this message, for this topic.
    pub fn is_good(&self, topic: &str) -> bool {
        self.key.verifies(&signed_bytes(topic, self.text), &self.bytes)
    }
}

/// A signature that stands for itself, as 192 digits of key and signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Detached {
    pub key: PublicKey,
    signature: [u8; 64],
}

impl Detached {
    /// Under bytes that begin with what they are.
    pub(super) fn sign(key: &SecretKey, bytes: &[u8]) -> Self {
        Self {
            key: key.public(),
            signature: key.sign(bytes),
        }
    }

    pub(super) fn is_good(&self, bytes: &[u8]) -> bool {
        self.key.verifies(bytes, &self.signature)
    }
}

impl fmt::Display for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)?;
        self.signature.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Detached {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = parse_digits(text).map(|(key, signature)| Self { key, signature });
        parsed.ok_or("a signature with its key is 192 hexadecimal digits")
    }
}

impl TryFrom<String> for Detached {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Detached> for String {
    fn from(signature: Detached) -> String {
        signature.to_string()
    }
}

/// Key and signature, each in hexadecimal digits.
fn parse_digits(text: &str) -> Option<(PublicKey, [u8; 64])> {
    let (key, signature) = text.split_at_checked(KEY_DIGITS)?;
    let (first, second) = signature.split_at_checked(SIGNATURE_DIGITS / 2)?;
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&hexadecimal(first)?);
    bytes[32..].copy_from_slice(&hexadecimal(second)?);
    Some((key.parse().ok()?, bytes))
}

/// The challenges that `payload` answers; only what is signed counts.
pub fn answers(payload: &[u8]) -> Answers {
    #[derive(Deserialize)]
    struct Answering {
        #[serde(default)]
        answers: Answers,
    }
    wire::from_json(payload).map_or_else(|_| Answers::new(), |found: Answering| found.answers)
}

fn signed_bytes(topic: &str, text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(topic.len()).unwrap_or(u32::MAX);
    [DOMAIN, &length.to_le_bytes(), topic.as_bytes(), text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> SecretKey {
        SecretKey::from_random([number; 32])
    }

    const TOPIC: &str = "wayfare/v1/engine/a/command";

    fn signed() -> Vec<u8> {
        let answers = [("a".parse().unwrap(), Challenge::from_bytes([7; 16]))].into();
        sign(&key(1), TOPIC, br#"{"type":"x","n":1}"#, &answers)
    }

    #[test]
    fn a_signed_message_is_the_same_json_with_two_fields_more() {
        let payload = signed();
        let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&value["type"], &value["n"]), (&"x".into(), &1.into()));
        let signature = Signature::of(&payload).unwrap();
        assert_eq!(signature.key, key(1).public());
        assert!(signature.is_good(TOPIC));
        assert_eq!(
            answers(&payload)[&"a".parse().unwrap()],
            Challenge::from_bytes([7; 16])
        );
        assert!(answers(b"{\"answers\":[]}").is_empty());
    }

    #[test]
    fn no_byte_of_it_and_no_topic_can_be_changed() {
        let payload = signed();
        for topic in ["wayfare/v1/engine/b/command", "other/v1/engine/a/command", ""] {
            assert!(!Signature::of(&payload).unwrap().is_good(topic), "{topic}");
        }
        for at in 0..payload.len() {
            for flip in [1, 0x20] {
                let mut changed = payload.clone();
                changed[at] ^= flip;
                let is_good = Signature::of(&changed).is_some_and(|signature| signature.is_good(TOPIC));
                // A digit may be written in capitals.
                let same_digits = flip == 0x20 && at >= payload.len() - SUFFIX_BYTES + FIELD.len();
                assert!(!is_good || same_digits, "byte {at} by {flip}");
            }
        }
        for cut in 0..payload.len() {
            let signature = Signature::of(&payload[..cut]);
            assert!(
                signature.is_none_or(|signature| !signature.is_good(TOPIC)),
                "{cut}"
            );
        }
    }

    #[test]
    fn what_is_not_signed_has_no_signature() {
        for unsigned in [&b""[..], b"{}", br#"{"type":"x","signed":"00"}"#, &[b'x'; 400]] {
            assert!(Signature::of(unsigned).is_none(), "{unsigned:?}");
        }
    }
}
