//! How a message is handed to a program, and what a program says about one that it publishes
//! (`guest/wayfare.h`).
//!
//! ```text
//!  length of topic | of reply topic | of payload | flags | sender | number | topic | reply topic | payload
//!        u32              u32            u32        u32     16 B     u64
//! ```
//! All numbers are little-endian.

/// What `publish` and `subscribe` are told with their flags.
pub const AT_LEAST_ONCE: i32 = 1;
pub const RETAIN: i32 = 2;
/// Without a stamp, for receivers that know nothing of Wayfare.
pub const PLAIN: i32 = 4;

/// The lengths of topic, reply topic and payload, the flags, the sender's id and the message's number.
pub const HEAD_BYTES: usize = 4 * 4 + 16 + 8;
/// The broker had kept it from before the subscription.
pub const RETAINED: u32 = 1;
/// It has a sender and a number.
pub const STAMPED: u32 = 2;
/// It is a call: the topic is the address that was called and the function, with a space between them.
pub const CALL: u32 = 4;
/// It is no message: a call that the program has taken, with this sender, number and reply topic, was
/// cancelled. Only for programs that attend to that.
pub const CANCELLED: u32 = 8;
/// The topic is followed by the message's type and by the key that it is ordered by, each behind a newline.
/// Only for programs that attend to that.
pub const ABOUT: u32 = 16;

/// In place of the kind of an outcome: what follows is how far the call is. Only of calls that ask for it.
pub const PROGRESS: u32 = 100;

/// What precedes a call's outcome: the call's number, the kind (0: done), and the length of what follows, the
/// result or why there is none.
pub const OUTCOME_HEAD_BYTES: usize = 8 + 4 + 4;

/// A message as a program gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed<'a> {
    pub topic: &'a str,
    /// Empty: nobody waits for a reply.
    pub reply_to: &'a str,
    pub payload: &'a [u8],
    /// [`RETAINED`], [`CALL`], [`CANCELLED`] and [`ABOUT`].
    pub flags: u32,
    /// The sender's id, and the message's number among all of that sender's.
    pub stamp: Option<([u8; 16], u64)>,
}

impl Handed<'_> {
    pub fn encode(&self) -> Vec<u8> {
        let lengths = [self.topic.len(), self.reply_to.len(), self.payload.len()];
        let mut flags = self.flags;
        if self.stamp.is_some() {
            flags |= STAMPED;
        }
        let (sender, number) = self.stamp.unwrap_or_default();
        let mut out = Vec::with_capacity(HEAD_BYTES + lengths.iter().sum::<usize>());
        for length in lengths {
            out.extend((length as u32).to_le_bytes());
        }
        out.extend(flags.to_le_bytes());
        out.extend(sender);
        out.extend(number.to_le_bytes());
        out.extend_from_slice(self.topic.as_bytes());
        out.extend_from_slice(self.reply_to.as_bytes());
        out.extend_from_slice(self.payload);
        out
    }
}

/// What became of a call, as a program gets it.
pub fn encode_outcome(call: u64, kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(OUTCOME_HEAD_BYTES + payload.len());
    out.extend(call.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that `wayfare-guest` reads in its own test.
    #[test]
    fn a_message_is_its_head_and_then_its_parts() {
        let message = Handed {
            topic: "a/b",
            reply_to: "r2",
            payload: b"load",
            flags: RETAINED,
            stamp: Some(([7; 16], 9)),
        };
        let mut expected = Vec::new();
        for word in [3u32, 2, 4, 3] {
            expected.extend(word.to_le_bytes());
        }
        expected.extend([7; 16]);
        expected.extend(9u64.to_le_bytes());
        expected.extend(b"a/br2load");
        assert_eq!(message.encode(), expected);
        assert_eq!(expected.len(), HEAD_BYTES + 9);
    }
}
