//! What programs send to each other's addresses: calls and their answers, and messages. Each has a header ahead of its payload.
//!
//! ```text
//!   stamp (crate::stamp) | {"type":"call","to":"service/calc","function":"add",...} '\n' | payload
//! ```
//! The stamp has the sender, the number of the call, and where the answer goes; repeats are told by it. A call is a stamped request to the
//! provider's inbox, an answer a stamped reply. Headers change as all messages do ([`crate::wire`]).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::wire;

/// Bytes of a function's name.
pub const FUNCTION_BYTES_MAX: usize = 128;
/// Bytes of a header with its newline.
pub const HEADER_BYTES_MAX: usize = 1024;
/// Calls of one program that are open.
pub const OPEN_CALLS_MAX: usize = 128;
/// How long a call may take where it does not say.
pub const DEADLINE_MS: u64 = 30_000;

/// Ahead of what is sent to a program's inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Sent {
    Call {
        /// The address that was called: a program has several.
        to: Address,
        function: String,
        /// How long the caller waited when it sent this, by its own clock.
        deadline_ms: u64,
    },
    Message {
        to: Address,
    },
}

/// Ahead of what a call is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Answered {
    /// The payload is the result.
    Done,
    /// The payload is a text that says why.
    Failed { kind: FailureKind },
}

/// Why a call has no result. The numbers are what programs are handed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Nobody serves the address, or the provider has no such function. Nothing was done.
    NotFound = 1,
    /// The provider has ended, or was killed: whether it was done is not known.
    Unavailable = 2,
    /// No answer came in time: whether it was done is not known.
    DeadlineExceeded = 3,
    Cancelled = 4,
    /// The provider does not do it for this caller or with these arguments.
    Refused = 5,
    Conflict = 6,
    TooLarge = 7,
    Expired = 8,
    /// It went wrong, or a kind that is not known here.
    #[serde(other)]
    Failed = 9,
}

impl FailureKind {
    pub const ALL: [Self; 9] = [
        Self::NotFound,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Refused,
        Self::Conflict,
        Self::TooLarge,
        Self::Expired,
        Self::Failed,
    ];

    pub fn code(self) -> u32 {
        self as u32
    }

    pub fn of_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// As it stands on the wire and in lines.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::TooLarge => "too-large",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done(Vec<u8>),
    Failed(FailureKind, String),
}

impl Outcome {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Done(result) => encode(&Answered::Done, result),
            Self::Failed(kind, text) => encode(&Answered::Failed { kind: *kind }, text.as_bytes()),
        }
    }

    /// What is no answer to a call is a failure of whoever sent it.
    pub fn decode(bytes: &[u8]) -> Self {
        match decode::<Answered>(bytes) {
            Some((Answered::Done, result)) => Self::Done(result.to_vec()),
            Some((Answered::Failed { kind }, text)) => {
                Self::Failed(kind, String::from_utf8_lossy(text).into_owned())
            }
            None => Self::Failed(
                FailureKind::Failed,
                "the provider's answer cannot be read".to_owned(),
            ),
        }
    }
}

/// Whether a function can be called so.
pub fn is_function(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= FUNCTION_BYTES_MAX
        && !name.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '\\'))
}

pub fn encode<H: Serialize>(header: &H, payload: &[u8]) -> Vec<u8> {
    let mut bytes = wire::to_json(header);
    bytes.push(b'\n');
    bytes.extend_from_slice(payload);
    bytes
}

/// The header and the payload behind it.
pub fn decode<H: DeserializeOwned>(bytes: &[u8]) -> Option<(H, &[u8])> {
    let end = bytes
        .iter()
        .take(HEADER_BYTES_MAX)
        .position(|byte| *byte == b'\n')?;
    let header = serde_json::from_slice(&bytes[..end]).ok()?;
    Some((header, &bytes[end + 1..]))
}

/// The same of what came to an inbox, if it is well formed.
pub fn decode_sent(bytes: &[u8]) -> Option<(Sent, &[u8])> {
    let (sent, payload) = decode(bytes)?;
    match &sent {
        Sent::Call { function, .. } if !is_function(function) => None,
        _ => Some((sent, payload)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_stand_ahead_of_any_payload_and_the_longest_fits() {
        let to: Address = format!("service/{}", "n".repeat(64)).parse().unwrap();
        let function = "é".repeat(FUNCTION_BYTES_MAX / 2);
        assert!(is_function(&function));
        let deadline_ms = u64::MAX;
        let call = Sent::Call {
            to: to.clone(),
            function,
            deadline_ms,
        };
        for (sent, payload) in [(call, &b"\n{}\n"[..]), (Sent::Message { to }, b"")] {
            let bytes = encode(&sent, payload);
            assert!(bytes.len() - payload.len() <= HEADER_BYTES_MAX);
            assert_eq!(decode_sent(&bytes), Some((sent, payload)));
        }
        for bad in [
            &b""[..],
            b"{}",
            b"{}\n",
            b"{\"type\":\"call\",\"to\":\"x\",\"function\":\"f\",\"deadline_ms\":1}\n",
        ] {
            assert_eq!(decode_sent(bad), None);
        }
        let call = |function: &str| {
            format!(
                "{{\"type\":\"call\",\"to\":\"service/a\",\"function\":\"{function}\",\"deadline_ms\":1,\"new\":2}}\n"
            )
        };
        assert!(
            decode_sent(call("f").as_bytes()).is_some(),
            "fields of later releases are ignored"
        );
        assert_eq!(decode_sent(call("a b").as_bytes()), None);
    }

    #[test]
    fn outcomes_are_read_as_they_were_written_and_kinds_of_later_releases_are_failures() {
        for kind in FailureKind::ALL {
            let outcome = Outcome::Failed(kind, "why".into());
            assert_eq!(Outcome::decode(&outcome.encode()), outcome);
            assert_eq!(FailureKind::of_code(kind.code()), Some(kind));
            assert_eq!(FailureKind::of_word(kind.word()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
        let done = Outcome::Done(b"1\n2".to_vec());
        assert_eq!(Outcome::decode(&done.encode()), done);
        let later = Outcome::decode(b"{\"type\":\"failed\",\"kind\":\"tired\"}\nwhy");
        assert_eq!(later, Outcome::Failed(FailureKind::Failed, "why".into()));
        assert!(matches!(
            Outcome::decode(b"42"),
            Outcome::Failed(FailureKind::Failed, _)
        ));
    }
}
