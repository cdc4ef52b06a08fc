//! What a program has at the broker for those who come later: its retained messages, counted.
//!
//! The broker keeps one for each topic, for ever, and nobody else's limit holds a program to any number of
//! topics. What always holds: of topics and bytes a program has no more than the limits, as far as its
//! snapshots remember; a message in the place of an earlier one counts once, and one that is taken away, with
//! an empty message, no more.

use std::collections::BTreeMap;

use wayfare_protocol::ids::Digest;

/// Topics with a retained message of the program's.
pub const RETAINED_TOPICS_MAX: usize = 1_000;
/// Bytes of all of them.
pub const RETAINED_BYTES_MAX: u64 = 16 << 20;
/// So many need not be remembered where the program goes on.
const TOPICS_FEW: usize = 100;
const BYTES_FEW: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Retained {
    /// By the beginning of the topic's digest: bytes of its message.
    topics: BTreeMap<u64, u32>,
    bytes: u64,
}

impl Retained {
    /// Whether a message of so many bytes may be retained there.
    pub(super) fn takes(&self, topic: &str, bytes: usize) -> bool {
        let before = self.topics.get(&key(topic));
        let topics = self.topics.len() + usize::from(before.is_none());
        let all = self.bytes - before.map_or(0, |bytes| u64::from(*bytes)) + bytes as u64;
        bytes == 0 || topics <= RETAINED_TOPICS_MAX && all <= RETAINED_BYTES_MAX
    }

    /// It is on its way.
    pub(super) fn put(&mut self, topic: &str, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let before = match bytes {
            0 => self.topics.remove(&key(topic)),
            _ => self.topics.insert(key(topic), bytes),
        };
        self.bytes = self.bytes + u64::from(bytes) - u64::from(before.unwrap_or(0));
    }

    /// Nothing unless they are many: engines of earlier releases take no program with this.
    pub(super) fn save(&self) -> Vec<(u64, u32)> {
        let is_much = self.topics.len() > TOPICS_FEW || self.bytes > BYTES_FEW;
        self.topics
            .iter()
            .filter(|_| is_much)
            .map(|(topic, bytes)| (*topic, *bytes))
            .collect()
    }

    /// Of a snapshot that says more, the rest is not counted: it may be there all the same.
    pub(super) fn restore(saved: Vec<(u64, u32)>) -> Self {
        let topics: BTreeMap<u64, u32> = saved.into_iter().take(RETAINED_TOPICS_MAX).collect();
        let bytes = topics.values().map(|bytes| u64::from(*bytes)).sum();
        Self { topics, bytes }
    }
}

fn key(topic: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = Digest::of(topic.as_bytes()).0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
