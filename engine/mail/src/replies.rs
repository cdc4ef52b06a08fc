//! Replies: to the request that the program waits for, and to those that it will make again.
//!
//! After a crash a program goes on from an older snapshot and is sent again what came since, replies
//! included: to requests that it has yet to make again, under the numbers that they had. Those are kept for
//! it. Others that nobody waits for came too late; they do not enter the journal either, so that the program
//! finds them as late when it is sent that again.

use std::collections::BTreeMap;

use wayfare_protocol::stamp::{Purpose, Stamp};

use crate::message::{Reader, ReceivedMessage};

/// Replies that came before their requests. After a crash that is all that the journal has: it takes up to
/// 16 MiB, and short replies count for less than twice as much here.
pub(super) const EARLY_BYTES_MAX: usize = 32 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Replies {
    awaited: Option<Awaited>,
    /// By the number of the request that each answers.
    early: BTreeMap<u64, ReceivedMessage>,
    early_bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Awaited {
    request: u64,
    reply: Option<ReceivedMessage>,
}

impl Replies {
    /// The request of this number was made, and is the only one waited for from now on.
    pub(super) fn request(&mut self, request: u64) {
        let reply = self.take_early(request);
        self.awaited = Some(Awaited { request, reply });
    }

    /// The reply to the request or call of this number, which is made again, if it came before.
    pub(super) fn take_early(&mut self, number: u64) -> Option<ReceivedMessage> {
        let reply = self.early.remove(&number);
        // What it has made by now it does not make again.
        self.early = self.early.split_off(&number);
        self.early_bytes = self.early.values().map(ReceivedMessage::bytes).sum();
        reply
    }

    /// Whether a reply is awaited; the reply if it is there.
    pub(super) fn awaited(&self) -> Option<Option<&ReceivedMessage>> {
        self.awaited.as_ref().map(|awaited| awaited.reply.as_ref())
    }

    /// The request that is waited for, while there is no reply.
    pub(super) fn unanswered(&self) -> Option<u64> {
        let awaited = self.awaited.as_ref()?;
        awaited.reply.is_none().then_some(awaited.request)
    }

    /// The reply was handed over, or is not waited for any longer.
    pub(super) fn end_request(&mut self) {
        self.awaited = None;
    }

    /// Whether a reply to this number is of use to a program that has published so many messages.
    pub(super) fn wants(&self, answers: u64, published: u64) -> bool {
        match &self.awaited {
            Some(awaited) if awaited.request == answers => awaited.reply.is_none(),
            _ => {
                let is_nearer = || self.early.keys().next_back().is_some_and(|last| answers < *last);
                answers >= published
                    && (self.early_bytes < EARLY_BYTES_MAX || is_nearer())
                    && !self.early.contains_key(&answers)
            }
        }
    }

    pub(super) fn put(&mut self, answers: u64, message: ReceivedMessage) {
        match &mut self.awaited {
            Some(awaited) if awaited.request == answers => awaited.reply = Some(message),
            _ => {
                self.early_bytes += message.bytes();
                self.early.insert(answers, message);
                // The last may go over the limit; those to requests far ahead make room for nearer ones.
                while self.early.len() > 1
                    && let Some((last, message)) = self.early.pop_last()
                {
                    if self.early_bytes - message.bytes() < EARLY_BYTES_MAX {
                        self.early.insert(last, message);
                        break;
                    }
                    self.early_bytes -= message.bytes();
                }
            }
        }
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        match &self.awaited {
            None => out.push(0),
            Some(Awaited { request, reply }) => {
                out.push(1 + u8::from(reply.is_some()));
                out.extend(request.to_le_bytes());
                if let Some(reply) = reply {
                    reply.encode(out);
                }
            }
        }
        out.extend((self.early.len() as u32).to_le_bytes());
        self.early.values().for_each(|message| message.encode(out));
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let awaited = match from.u8()? {
            0 => None,
            kind @ (1 | 2) => Some(Awaited {
                request: from.u64()?,
                reply: match kind {
                    2 => Some(ReceivedMessage::decode(from)?),
                    _ => None,
                },
            }),
            _ => return None,
        };
        let mut replies = Self {
            awaited,
            ..Self::default()
        };
        for _ in 0..from.u32()? {
            let message = ReceivedMessage::decode(from)?;
            let answers = answered(&message)?;
            // The last may have gone over the limit, as in `wants`.
            (replies.early_bytes < EARLY_BYTES_MAX).then_some(())?;
            replies.early_bytes += message.bytes();
            replies.early.insert(answers, message).is_none().then_some(())?;
        }
        Some(replies)
    }
}

/// The number of the request that this answers, if it is a reply.
pub(super) fn answered(message: &ReceivedMessage) -> Option<u64> {
    match message.stamp {
        Some(Stamp {
            purpose: Purpose::Reply { answers },
            ..
        }) => Some(answers),
        _ => None,
    }
}
