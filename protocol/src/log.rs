//! Lines a program wrote to its standard output and error, numbered from its life's first number on
//! ([`crate::life`]), moves and restarts included. Numbers let a reader drop what it has seen: after a move
//! or crash, lines may be sent twice, never skipped.

use serde::{Deserialize, Serialize};

use crate::ids::{EngineId, Generation, OperationId, ProgramId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub line: u64,
    pub stream: Stream,
    pub text: LogText,
    /// No newline followed: the program ended, or the line was longer than a message may be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Milliseconds since 1970 by the clock of the engine that ran it.
    pub at_ms: u64,
}

/// A line's bytes without the newline: as text where they are text, otherwise unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogText {
    Text(String),
    Bytes(Vec<u8>),
}

impl LogText {
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// What a line costs apart from its text, in memory and on the wire.
const LINE_OVERHEAD_BYTES: usize = 104;

impl LogLine {
    /// What it counts for where lines are kept.
    pub fn cost_bytes(&self) -> usize {
        self.text.as_bytes().len() + LINE_OVERHEAD_BYTES
    }

    /// What the program wrote, byte for byte.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.as_bytes());
        if !self.open {
            out.push(b'\n');
        }
    }
}

/// Whoever reads a program's log as it grows. The engine keeps the lines that it has not received, and when
/// these are many the program waits with printing: until it says that it received more, or has said nothing
/// for `lease_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    pub id: OperationId,
    /// All lines before this one are where they should be, and need not be kept for it.
    pub received_below: u64,
    /// From when the engine reads this; 0 ends it. An engine believes no more than
    /// [`FOLLOW_LEASE_MS`](crate::limits::FOLLOW_LEASE_MS).
    pub lease_ms: u64,
}

/// What travels on a program's log topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBatch {
    pub program: ProgramId,
    pub generation: Generation,
    pub engine: EngineId,
    pub lines: Vec<LogLine>,
}
