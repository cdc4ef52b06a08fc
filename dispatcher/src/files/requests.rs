//! Which changes were made for whom, so that each is made once. Reading is not remembered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::files::{FileAnswer, FileAsk, FileRequest, Place};
use wayfare_protocol::ids::{Digest, Generation, ProgramId};

use super::entry::Entry;

/// Numbers of a program's changes that are remembered, up to its highest. A program that is set back further
/// than that is told so.
pub(super) const RECORDS_MAX: u64 = 1024;
/// Of all programs; of more, those of the program that has not asked for longest are forgotten.
const RECORDS_IN_ALL_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Requests {
    programs: BTreeMap<ProgramId, Program>,
    /// Changes so far.
    changes: u64,
    records: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Program {
    generation: Option<Generation>,
    /// By number.
    records: BTreeMap<u64, Record>,
    /// After which of all changes it asked last.
    asked: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    signature: u64,
    answer: FileAnswer,
}

/// What is known of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    New,
    Done(FileAnswer),
    /// Of a copy that was replaced, or too old to be known.
    Stale,
}

impl Requests {
    pub(super) fn known(&self, request: &FileRequest) -> Known {
        let Some(program) = self.programs.get(&request.program) else {
            return Known::New;
        };
        if Some(request.generation) < program.generation {
            return Known::Stale;
        }
        if !request.what.is_change() {
            return Known::New;
        }
        // A program that was set back may have taken another way since: that is another request.
        let done = program.records.get(&request.number);
        if let Some(done) = done.filter(|done| done.signature == signature(&request.what)) {
            return Known::Done(done.answer.clone());
        }
        let highest = program.records.keys().next_back().copied().unwrap_or(0);
        match request.number.saturating_add(RECORDS_MAX) <= highest {
            true => Known::Stale,
            false => Known::New,
        }
    }

    pub(super) fn remember(&mut self, entry: &Entry, answer: &FileAnswer) {
        self.changes += 1;
        let program = self.programs.entry(entry.program).or_default();
        program.asked = self.changes;
        program.generation = program.generation.max(Some(entry.generation));
        let record = Record {
            signature: entry.signature,
            answer: answer.clone(),
        };
        let before = program.records.len();
        program.records.insert(entry.number, record);
        let highest = program.records.keys().next_back().copied().unwrap_or(0);
        let kept = highest.saturating_add(1).saturating_sub(RECORDS_MAX);
        program.records = program.records.split_off(&kept);
        self.records = self.records - before + program.records.len();
        while self.records > RECORDS_IN_ALL_MAX {
            let oldest = self.programs.iter().min_by_key(|(_, program)| program.asked);
            let Some(oldest) = oldest.map(|(id, _)| *id) else {
                break;
            };
            let forgotten = self.programs.remove(&oldest);
            self.records -= forgotten.map_or(0, |program| program.records.len());
        }
    }
}

/// What a repeat must agree with. Not the bytes, nor what was known of the file: a program that was set back
/// may say the time in them, and finds the file as it is now.
pub(super) fn signature(what: &FileAsk) -> u64 {
    let text = match what {
        FileAsk::Write {
            node,
            writer,
            place,
            data,
        } => {
            let place = match place {
                Place::At { offset, .. } => format!("at {offset}"),
                Place::End { .. } => "end".to_owned(),
            };
            format!("write {node} {writer} {place} {}", data.as_bytes().len())
        }
        FileAsk::SetLength {
            node, writer, length, ..
        } => format!("set-length {node} {writer} {length}"),
        other => serde_json::to_string(other).expect("plain data serialises"),
    };
    let digest = Digest::of(text.as_bytes());
    u64::from_le_bytes(digest.0[..8].try_into().expect("eight bytes"))
}
