//! What programs send to each other's addresses: calls and their answers, and messages. Each has a header
//! ahead of its payload.
//!
//! ```text
//!   stamp (crate::stamp) | {"type":"call","to":"service/calc","function":"add",...} '\n' | payload
//! ```
//! The stamp has the sender, the number of the call, and where the answer goes; repeats are told by it. A
//! call is a stamped request to the provider's inbox, an answer a stamped reply. Headers change as all
//! messages do ([`crate::wire`]).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::ids::ProgramId;
use crate::wire;

/// Bytes of a function's name.
pub const FUNCTION_BYTES_MAX: usize = 128;
/// Bytes of a header with its newline.
pub const HEADER_BYTES_MAX: usize = 1024;
/// Calls of one program that are open.
pub const OPEN_CALLS_MAX: usize = 128;
/// How long a call may take where it does not say.
pub const DEADLINE_MS: u64 = 30_000;
/// Bytes of a message's type, and of the key that it is ordered by.
pub const WORD_BYTES_MAX: usize = 64;
/// Bytes of the schemas of all services of one program.
pub const SCHEMAS_BYTES_MAX: usize = 32 << 10;

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
        /// The caller takes notices of progress.
        #[serde(default, skip_serializing_if = "is_false")]
        progress: bool,
    },
    Message {
        to: Address,
        #[serde(flatten)]
        about: About,
    },
    /// The sender does not wait any longer for the end of its call of this number. Releases before ignore it.
    Cancel { to: Address, call: u64 },
}

/// What is said about a message. Readers of releases before ignore all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct About {
    /// What the sender calls messages of this sort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The receiver handles one message of this key at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<String>,
    /// It is of no use to a receiver that it reaches later than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expiry>,
    /// The sender waits for a [`Notice::Delivered`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub receipt: bool,
}

/// By wall clocks: a sender whose clock is not set says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// When it was sent, in milliseconds since 1970.
    pub sent_ms: u64,
    pub after_ms: u64,
}

impl Expiry {
    /// Whether it is over at `now_ms`. A receiver whose clock is behind the sender's finds it to be young.
    pub fn is_over(self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.sent_ms) > self.after_ms
    }
}

impl About {
    /// Within the bounds.
    pub fn is_sound(&self) -> bool {
        [&self.kind, &self.ordered]
            .into_iter()
            .flatten()
            .all(|word| is_word(word))
    }
}

/// What the engines of a sender and of a receiver tell each other about calls and messages, ahead of a
/// payload. It has no stamp but for [`Notice::Progress`], because programs do not number it: told twice, it
/// is as if told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", try_from = "NoticeFields")]
pub enum Notice {
    /// To an inbox: which of these numbers of the sender's has the program never received? The payload has
    /// them ([`encode_numbers`]).
    Inquiry { from: ProgramId },
    /// To the sender's replies: those, in the same way.
    Unknown { by: ProgramId },
    /// To the sender's replies: the program has taken the message.
    Delivered { by: ProgramId, number: u64 },
    /// To the sender's replies: the message came too late.
    Expired { by: ProgramId, number: u64 },
    /// To the caller's replies, stamped by the provider: the payload is how far the call is.
    Progress { call: u64 },
    /// To one's own replies: what was retained about the address has come before it.
    Barrier { address: Address },
    /// To an inbox: what schema has the program given its service? Releases before ignore it.
    Describe { from: ProgramId, service: String },
    /// To the replies of who asked: the payload is the schema, as JSON; empty, there is none.
    Description { by: ProgramId, service: String },
}

/// A notice as it is read: the fields of all, which takes a board a third of the code that a reader for each
/// kind does.
#[derive(Deserialize)]
struct NoticeFields {
    #[serde(rename = "type")]
    kind: String,
    from: Option<ProgramId>,
    by: Option<ProgramId>,
    number: Option<u64>,
    call: Option<u64>,
    address: Option<Address>,
    service: Option<String>,
}

impl TryFrom<NoticeFields> for Notice {
    type Error = &'static str;
    fn try_from(fields: NoticeFields) -> Result<Self, Self::Error> {
        fields.notice().ok_or("no notice that is known here")
    }
}

impl NoticeFields {
    fn notice(self) -> Option<Notice> {
        Some(match self.kind.as_str() {
            "inquiry" => Notice::Inquiry { from: self.from? },
            "unknown" => Notice::Unknown { by: self.by? },
            "delivered" => Notice::Delivered {
                by: self.by?,
                number: self.number?,
            },
            "expired" => Notice::Expired {
                by: self.by?,
                number: self.number?,
            },
            "progress" => Notice::Progress { call: self.call? },
            "barrier" => Notice::Barrier {
                address: self.address?,
            },
            "describe" => Notice::Describe {
                from: self.from?,
                service: self.service?,
            },
            "description" => Notice::Description {
                by: self.by?,
                service: self.service?,
            },
            _ => return None,
        })
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Whether it can be a message's type or key.
pub fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= WORD_BYTES_MAX
        && !word.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '\\'))
}

/// Numbers as the payload of a notice.
pub fn encode_numbers(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    numbers.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// At most [`OPEN_CALLS_MAX`] of them.
pub fn decode_numbers(payload: &[u8]) -> Option<Vec<u64>> {
    let (numbers, rest) = payload.as_chunks::<8>();
    (rest.is_empty() && numbers.len() <= OPEN_CALLS_MAX)
        .then(|| numbers.iter().copied().map(u64::from_le_bytes).collect())
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
    /// The receiver of a message has ended before it took it.
    Ended = 10,
    /// It went wrong, or a kind that is not known here.
    #[serde(other)]
    Failed = 9,
}

impl FailureKind {
    pub const ALL: [Self; 10] = [
        Self::NotFound,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Refused,
        Self::Conflict,
        Self::TooLarge,
        Self::Expired,
        Self::Ended,
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
            Self::Ended => "ended",
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
    let is_sound = match &sent {
        Sent::Call { function, .. } => is_function(function),
        Sent::Message { about, .. } => about.is_sound(),
        Sent::Cancel { .. } => true,
    };
    is_sound.then_some((sent, payload))
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
            progress: true,
        };
        let about = About {
            kind: Some("k".repeat(WORD_BYTES_MAX)),
            ordered: Some("o".repeat(WORD_BYTES_MAX)),
            expires: Some(Expiry {
                sent_ms: u64::MAX,
                after_ms: u64::MAX,
            }),
            receipt: true,
        };
        let cancel = Sent::Cancel {
            to: to.clone(),
            call: u64::MAX,
        };
        for (sent, payload) in [
            (call, &b"\n{}\n"[..]),
            (Sent::Message { to, about }, b""),
            (cancel, b""),
        ] {
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
    fn a_message_of_which_nothing_is_said_is_as_releases_before_wrote_it() {
        let to: Address = "service/a".parse().unwrap();
        let plain = Sent::Message {
            to: to.clone(),
            about: About::default(),
        };
        let text = "{\"type\":\"message\",\"to\":\"service/a\"}\n";
        assert_eq!(encode(&plain, b""), text.as_bytes());
        assert_eq!(decode_sent(text.as_bytes()), Some((plain, &b""[..])));
        let call = Sent::Call {
            to,
            function: "f".into(),
            deadline_ms: 1,
            progress: false,
        };
        let text = "{\"type\":\"call\",\"to\":\"service/a\",\"function\":\"f\",\"deadline_ms\":1}\n";
        assert_eq!(encode(&call, b""), text.as_bytes());
        let bad = "{\"type\":\"message\",\"to\":\"service/a\",\"kind\":\"a b\"}\n";
        assert_eq!(decode_sent(bad.as_bytes()), None);
    }

    #[test]
    fn a_message_is_too_late_by_the_senders_clock_and_a_clock_that_is_behind_finds_it_young() {
        let expiry = Expiry {
            sent_ms: 1_000,
            after_ms: 500,
        };
        for (now_ms, expected) in [(0, false), (1_000, false), (1_500, false), (1_501, true)] {
            assert_eq!(expiry.is_over(now_ms), expected, "{now_ms}");
        }
    }

    #[test]
    fn notices_have_as_many_numbers_as_calls_can_be_open() {
        let all: Vec<u64> = (0..OPEN_CALLS_MAX as u64)
            .map(|number| u64::MAX - number)
            .collect();
        assert_eq!(decode_numbers(&encode_numbers(all.clone())), Some(all.clone()));
        assert_eq!(decode_numbers(&encode_numbers(all.into_iter().chain([0]))), None);
        assert_eq!(decode_numbers(&[0; 7]), None);
    }

    #[test]
    fn notices_are_read_as_they_were_written_and_those_of_later_releases_are_none() {
        let (from, by, number) = (
            ProgramId::from_bytes([6; 16]),
            ProgramId::from_bytes([7; 16]),
            u64::MAX,
        );
        let (address, service): (Address, String) = ("service/a".parse().unwrap(), "a".into());
        for notice in [
            Notice::Inquiry { from },
            Notice::Unknown { by },
            Notice::Delivered { by, number },
            Notice::Expired { by, number },
            Notice::Progress { call: number },
            Notice::Barrier { address },
            Notice::Describe {
                from,
                service: service.clone(),
            },
            Notice::Description { by, service },
        ] {
            assert_eq!(decode(&encode(&notice, b"x")), Some((notice, &b"x"[..])));
        }
        let with_more = format!("{{\"type\":\"unknown\",\"by\":\"{by}\",\"new\":{{\"a\":1}}}}\n");
        assert_eq!(
            decode(with_more.as_bytes()),
            Some((Notice::Unknown { by }, &b""[..]))
        );
        for bad in [
            "{\"type\":\"unknown\"}\n",
            "{\"type\":\"news\"}\n",
            "{\"type\":\"call\",\"to\":\"service/a\",\"function\":\"f\",\"deadline_ms\":1}\n",
        ] {
            assert_eq!(decode::<Notice>(bad.as_bytes()), None, "{bad}");
        }
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
