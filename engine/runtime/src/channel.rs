//! What a program has said and heard through `/wayfare`, as a pure core: the line that it has begun to write
//! to `out`, the one that it has begun to read from `in`, and the answers that it has not read. All of it is
//! in a snapshot, with the program's files.
//!
//! ```text
//!   write(out) --complete line--> Action --perform--> the code of the imports      one after the other
//!   read(in)  <-- line begun <-- answers <-- reply awaited <-- ends of calls <-- moved <-- inbox     the first that is there
//! ```
//! Always: an action is carried out within the call that completes its line, so that its effect and its
//! answer are in the same snapshot; everything is bounded, and a program that reads none of its answers can
//! give no more actions.

pub(super) mod format;
pub(super) mod perform;
pub(super) mod receive;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use wayfare_protocol::call::OPEN_CALLS_MAX;

use self::format::Number;

/// Bytes of a line that a program writes: the largest payload with every byte escaped.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;
/// Answers that were not read, and their bytes; the last may go over.
const ANSWERS_MAX: usize = 256;
const ANSWERS_BYTES_MAX: usize = 1 << 20;
/// What a line to be read can have: a message, every byte escaped, beside its topics.
const READ_BYTES_MAX: usize = 2 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Channel {
    /// Written since the last newline.
    pub(super) begun: Vec<u8>,
    /// The rest of the line that is being read.
    pub(super) reading: Vec<u8>,
    pub(super) noted: Noted,
}

/// What of it is a part of the document in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Noted {
    /// Lines to be read, without their newlines.
    answers: VecDeque<String>,
    /// The line that is being written is longer than any may be: what comes of it is dropped.
    is_too_long: bool,
    /// Bytes of a write that was left for a capture whose lines are done with. The same write is issued
    /// again.
    written: u64,
    awaiting: Option<Awaiting>,
    /// Calls that are open, by the mail's numbers, with those of the actions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    calls: BTreeMap<u64, Number>,
}

/// A request whose reply is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Awaiting {
    number: Option<Number>,
    /// By the program's clock.
    until_ns: u64,
}

impl Channel {
    pub(super) fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// What came from a snapshot is within the bounds.
    pub(super) fn is_sound(&self) -> bool {
        let answers = &self.noted.answers;
        self.begun.len() <= LINE_BYTES_MAX
            && self.reading.len() <= READ_BYTES_MAX
            && answers.len() <= ANSWERS_MAX
            && answers.iter().all(|answer| answer.len() <= READ_BYTES_MAX)
            && self.noted.calls.len() <= OPEN_CALLS_MAX
    }

    fn is_full(&self) -> bool {
        let bytes: usize = self.noted.answers.iter().map(String::len).sum();
        self.noted.answers.len() >= ANSWERS_MAX || bytes >= ANSWERS_BYTES_MAX
    }

    /// The bytes of a line come, up to its newline if that `is_end`. The whole line, if it is to be carried
    /// out.
    fn take(&mut self, bytes: &[u8], is_end: bool) -> Taken {
        if self.noted.is_too_long || self.begun.len() + bytes.len() > LINE_BYTES_MAX {
            self.begun = Vec::new();
            self.noted.is_too_long = !is_end;
            return if is_end { Taken::TooLong } else { Taken::Begun };
        }
        self.begun.extend_from_slice(bytes);
        match is_end {
            true => Taken::Line(std::mem::take(&mut self.begun)),
            false => Taken::Begun,
        }
    }

    /// The program reads on in its line.
    pub(super) fn read(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.reading.len());
        let rest = self.reading.split_off(count);
        std::mem::replace(&mut self.reading, rest)
    }

    fn answer(&mut self, line: String) {
        self.noted.answers.push_back(line);
    }

    /// `line` is read next.
    fn begin_reading(&mut self, line: String) {
        self.reading = line.into_bytes();
        self.reading.push(b'\n');
    }
}

enum Taken {
    /// It goes on.
    Begun,
    Line(Vec<u8>),
    TooLong,
}
