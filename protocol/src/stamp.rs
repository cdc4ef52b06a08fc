//! What a program's message carries ahead of its payload: who sent it and its number, so that whoever
//! receives it through the guest API drops repeats, and what a request and its reply need to find each other.
//!
//! ```text
//!  00 'W' 'F' 01 | kind u8 | sender 16 | number u64 | length u16 | topic or number answered | payload
//! ```
//! Numbers are little-endian. It stands in the payload because MQTT 3.1.1 has nowhere else. The zero in front
//! keeps it from being taken for text. A payload without it is a message of somebody else's.

use crate::ids::ProgramId;

const MAGIC: [u8; 4] = [0, b'W', b'F', 1];
const FIXED_BYTES: usize = 4 + 1 + 16 + 8 + 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    pub sender: ProgramId,
    /// Counts what the sender has published, in numbers of its life ([`crate::life`]).
    pub number: u64,
    pub purpose: Purpose,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    Message,
    /// Wants a reply on this topic.
    Request {
        reply_to: String,
    },
    /// To the sender's request of this number.
    Reply {
        answers: u64,
    },
}

impl Stamp {
    /// The payload with the stamp ahead of it.
    pub fn put_on(&self, payload: &[u8]) -> Vec<u8> {
        let answers;
        let (kind, extra): (u8, &[u8]) = match &self.purpose {
            Purpose::Message => (0, &[]),
            Purpose::Request { reply_to } => (1, reply_to.as_bytes()),
            Purpose::Reply { answers: number } => {
                answers = number.to_le_bytes();
                (2, &answers)
            }
        };
        let length = u16::try_from(extra.len()).expect("a topic is far shorter");
        let mut bytes = Vec::with_capacity(FIXED_BYTES + extra.len() + payload.len());
        bytes.extend(MAGIC);
        bytes.push(kind);
        bytes.extend(self.sender.to_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend_from_slice(extra);
        bytes.extend_from_slice(payload);
        bytes
    }

    /// How many bytes [`Stamp::put_on`] adds.
    pub fn bytes(&self) -> usize {
        FIXED_BYTES
            + match &self.purpose {
                Purpose::Message => 0,
                Purpose::Request { reply_to } => reply_to.len(),
                Purpose::Reply { .. } => 8,
            }
    }

    /// The stamp, if there is one, and the rest. What is not a whole stamp belongs to the payload.
    pub fn take_off(bytes: &[u8]) -> (Option<Self>, &[u8]) {
        Self::parse(bytes).map_or((None, bytes), |(stamp, payload)| (Some(stamp), payload))
    }

    fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (&kind, rest) = rest.split_first()?;
        let (sender, rest) = rest.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (extra, payload) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let purpose = match kind {
            0 if extra.is_empty() => Purpose::Message,
            1 => Purpose::Request {
                reply_to: std::str::from_utf8(extra).ok()?.to_owned(),
            },
            2 => Purpose::Reply {
                answers: u64::from_le_bytes(extra.try_into().ok()?),
            },
            _ => return None,
        };
        let stamp = Self {
            sender: ProgramId::from_bytes(*sender),
            number: u64::from_le_bytes(*number),
            purpose,
        };
        Some((stamp, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_off_as_they_were_put_on() {
        for purpose in [
            Purpose::Message,
            Purpose::Request {
                reply_to: "a/b".into(),
            },
            Purpose::Reply { answers: u64::MAX },
        ] {
            let stamp = Stamp {
                sender: ProgramId::random(),
                number: 7,
                purpose,
            };
            let bytes = stamp.put_on(b"payload");
            assert_eq!(bytes.len(), stamp.bytes() + 7);
            assert_eq!(Stamp::take_off(&bytes), (Some(stamp.clone()), &b"payload"[..]));
            for end in 0..stamp.bytes() {
                assert_eq!(
                    Stamp::take_off(&bytes[..end]),
                    (None, &bytes[..end]),
                    "cut at {end}"
                );
            }
        }
        for plain in [&b""[..], b"21.5", b"\0WF\x02", b"{\"a\":1}"] {
            assert_eq!(Stamp::take_off(plain), (None, plain));
        }
    }
}
