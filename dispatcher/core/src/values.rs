//! What values there are, and which requests were carried out: decided in memory, kept as records by key.
//!
//! ```text
//!  v-<digest of the key>              the value, and whose request set it last
//!  p-<program>-<number mod window>    a request that changed or could not change something, and its answer
//!  g-<program>                        its highest generation
//!  serial                             the highest version at the last removal
//! ```
//! Versions count all changes of all values, so that none is ever used twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::{Digest, Generation, ProgramId};
use wayfare_protocol::values::{Key, Listed, Value, ValueAnswer, ValueAsk, ValueRequest};
use wayfare_protocol::wire;

/// Keys and values together.
pub const BYTES_MAX: usize = 64 << 20;
pub const VALUES_MAX: usize = 100_000;
/// Numbers of a program's requests that are remembered, up to its highest. A program that is set back further than that is told so.
pub const RECORDS_MAX: u64 = 1024;
/// Programs whose requests are remembered; of more, the one that has not asked for longest is forgotten.
pub const PROGRAMS_MAX: usize = 4096;
/// Of a list in one answer.
const LIST_BYTES_MAX: usize = 48 * 1024;
const SERIAL: &str = "serial";

/// A record to be kept, or, without JSON, erased.
pub type Change = (String, Option<String>);

#[derive(Debug, Default)]
pub struct Values {
    values: BTreeMap<Digest, Stored>,
    programs: BTreeMap<ProgramId, Program>,
    serial: u64,
    bytes: usize,
    requests: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    key: Key,
    version: u64,
    value: Value,
    /// The request that set it, so that it is known even if its own record was torn by a crash.
    program: ProgramId,
    number: u64,
    verb: String,
}

#[derive(Debug, Default)]
struct Program {
    generation: Option<Generation>,
    /// By number.
    records: BTreeMap<u64, Record>,
    /// When it asked last, in requests.
    asked: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    number: u64,
    /// What was asked, as far as a repeat must agree with it.
    key: Digest,
    verb: String,
    answer: ValueAnswer,
}

impl Values {
    /// From what the journal has. A request whose change was torn off by a crash was never answered, and is forgotten.
    pub fn load(records: &BTreeMap<String, String>) -> Self {
        let mut all = Self::default();
        let parsed = |json: &str| serde_json::from_str::<Stored>(json).ok();
        for (_, json) in records
            .range("v-".to_owned()..)
            .take_while(|(key, _)| key.starts_with("v-"))
        {
            let Some(stored) = parsed(json) else { continue };
            all.serial = all.serial.max(stored.version);
            all.bytes += stored.bytes();
            all.values.insert(digest(&stored.key), stored);
        }
        let removed = records
            .get(SERIAL)
            .and_then(|json| json.parse().ok())
            .unwrap_or(0);
        all.serial = all.serial.max(removed);
        for (key, json) in records {
            if let Some(program) = key.strip_prefix("g-").and_then(|program| program.parse().ok()) {
                let generation = json.parse().ok().map(Generation);
                all.programs.entry(program).or_default().generation = generation;
            } else if let Some((program, record)) = read_record(key, json) {
                let lost = match record.answer {
                    ValueAnswer::Set { version } => {
                        let there = all.values.get(&record.key).map_or(0, |stored| stored.version);
                        there.max(removed) < version
                    }
                    _ => false,
                };
                if !lost {
                    let program = all.programs.entry(program).or_default();
                    program.records.insert(record.number, record);
                }
            }
        }
        for (key, stored) in &all.values {
            let program = all.programs.entry(stored.program).or_default();
            let highest = program.records.keys().next_back().copied().unwrap_or(0);
            if stored.number + RECORDS_MAX > highest {
                program
                    .records
                    .entry(stored.number)
                    .or_insert_with(|| stored.record(*key));
            }
        }
        all
    }

    /// The answer to a request that needs no change: it only reads, comes too late, or was carried out before.
    pub fn known(&self, request: &ValueRequest) -> Option<ValueAnswer> {
        let program = self.programs.get(&request.program);
        if program.is_some_and(|program| Some(request.generation) < program.generation) {
            return Some(ValueAnswer::Stale);
        }
        let key = match &request.what {
            ValueAsk::Get { key } => return Some(self.get(digest(key))),
            ValueAsk::List { prefix, after } => return Some(self.list(prefix, after.as_ref())),
            ValueAsk::Set { key, .. } | ValueAsk::CompareAndSet { key, .. } | ValueAsk::Remove { key } => {
                digest(key)
            }
        };
        let records = &program?.records;
        // A program that was set back may have taken another way since: that is another request.
        let done = records.get(&request.number);
        if let Some(done) = done.filter(|done| done.key == key && done.verb == request.what.verb()) {
            return Some(done.answer.clone());
        }
        let highest = records.keys().next_back().copied().unwrap_or(0);
        (request.number.saturating_add(RECORDS_MAX) <= highest).then_some(ValueAnswer::Stale)
    }

    pub fn ask(&mut self, request: ValueRequest) -> (ValueAnswer, Vec<Change>) {
        let mut changes = Vec::new();
        self.requests += 1;
        let known = self.known(&request);
        let ValueRequest {
            program: id,
            generation,
            number,
            what,
        } = request;
        let key = match &what {
            ValueAsk::Get { .. } | ValueAsk::List { .. } => None,
            ValueAsk::Set { key, .. } | ValueAsk::CompareAndSet { key, .. } | ValueAsk::Remove { key } => {
                Some(digest(key))
            }
        };
        let Some(key) = key else {
            return (known.unwrap_or(ValueAnswer::Absent), changes);
        };
        self.make_room_for(id, &mut changes);
        let program = self.programs.entry(id).or_default();
        program.asked = self.requests;
        if Some(generation) > program.generation {
            program.generation = Some(generation);
            changes.push((format!("g-{id}"), Some(generation.0.to_string())));
        }
        if let Some(answer) = known {
            return (answer, changes);
        }
        let verb = what.verb();
        let answer = self.change(id, number, key, what, &mut changes);
        if answer != ValueAnswer::Full {
            let record = Record {
                number,
                key,
                verb: verb.into(),
                answer: answer.clone(),
            };
            self.remember(id, record, &mut changes);
        }
        (answer, changes)
    }

    fn get(&self, key: Digest) -> ValueAnswer {
        match self.values.get(&key) {
            Some(stored) => ValueAnswer::Value {
                version: stored.version,
                value: stored.value.clone(),
            },
            None => ValueAnswer::Absent,
        }
    }

    /// As many as fit a message, in the order of their keys.
    fn list(&self, prefix: &str, after: Option<&Key>) -> ValueAnswer {
        let wanted = |stored: &&Stored| {
            stored.key.as_str().starts_with(prefix) && after.is_none_or(|after| stored.key > *after)
        };
        let mut all: Vec<&Stored> = self.values.values().filter(wanted).collect();
        all.sort_by_key(|stored| &stored.key);
        let mut bytes = 0;
        let values = all.into_iter().map(|stored| Listed {
            key: stored.key.clone(),
            version: stored.version,
            bytes: stored.value.as_bytes().len() as u64,
        });
        let values = values.take_while(|listed| {
            bytes += wire::to_json(listed).len() + 1;
            bytes <= LIST_BYTES_MAX
        });
        ValueAnswer::Listed {
            values: values.collect(),
        }
    }

    fn change(
        &mut self,
        program: ProgramId,
        number: u64,
        at: Digest,
        what: ValueAsk,
        changes: &mut Vec<Change>,
    ) -> ValueAnswer {
        let there = self.values.get(&at).map_or(0, |stored| stored.version);
        let verb = what.verb().to_owned();
        let (key, value) = match what {
            ValueAsk::Get { .. } | ValueAsk::List { .. } => unreachable!("these change nothing"),
            ValueAsk::Remove { .. } => {
                if let Some(removed) = self.values.remove(&at) {
                    self.bytes -= removed.bytes();
                    changes.push((SERIAL.into(), Some(self.serial.to_string())));
                    changes.push((format!("v-{at}"), None));
                }
                return ValueAnswer::Removed;
            }
            ValueAsk::CompareAndSet { expected, .. } if expected != there => {
                return ValueAnswer::Conflict { version: there };
            }
            ValueAsk::Set { key, value } | ValueAsk::CompareAndSet { key, value, .. } => (key, value),
        };
        let stored = Stored {
            key,
            version: self.serial + 1,
            value,
            program,
            number,
            verb,
        };
        let old = self.values.get(&at).map_or(0, Stored::bytes);
        let is_room = old > 0 || self.values.len() < VALUES_MAX;
        if !is_room || self.bytes - old + stored.bytes() > BYTES_MAX {
            return ValueAnswer::Full;
        }
        self.serial += 1;
        self.bytes = self.bytes - old + stored.bytes();
        let json = serde_json::to_string(&stored).expect("plain data serialises");
        changes.push((format!("v-{at}"), Some(json)));
        self.values.insert(at, stored);
        ValueAnswer::Set { version: self.serial }
    }

    fn remember(&mut self, id: ProgramId, record: Record, changes: &mut Vec<Change>) {
        let json = serde_json::to_string(&record).expect("plain data serialises");
        changes.push((record_name(id, record.number), Some(json)));
        let program = self.programs.entry(id).or_default();
        program.records.insert(record.number, record);
        let highest = program.records.keys().next_back().copied().unwrap_or(0);
        // Their places in the journal were taken over, or will be.
        program.records = program
            .records
            .split_off(&(highest + 1).saturating_sub(RECORDS_MAX));
    }

    /// Forgets a program if there are too many for another one.
    fn make_room_for(&mut self, id: ProgramId, changes: &mut Vec<Change>) {
        if self.programs.contains_key(&id) || self.programs.len() < PROGRAMS_MAX {
            return;
        }
        let oldest = self.programs.iter().min_by_key(|(_, program)| program.asked);
        let Some(oldest) = oldest.map(|(id, _)| *id) else {
            return;
        };
        if let Some(forgotten) = self.programs.remove(&oldest) {
            changes.push((format!("g-{oldest}"), None));
            let names = forgotten
                .records
                .keys()
                .map(|number| record_name(oldest, *number));
            changes.extend(names.map(|name| (name, None)));
        }
    }
}

impl Stored {
    fn bytes(&self) -> usize {
        self.key.as_str().len() + self.value.as_bytes().len()
    }

    fn record(&self, key: Digest) -> Record {
        Record {
            number: self.number,
            key,
            verb: self.verb.clone(),
            answer: ValueAnswer::Set {
                version: self.version,
            },
        }
    }
}

fn digest(key: &Key) -> Digest {
    Digest::of(key.as_str().as_bytes())
}

fn record_name(program: ProgramId, number: u64) -> String {
    format!("p-{program}-{}", number % RECORDS_MAX)
}

fn read_record(name: &str, json: &str) -> Option<(ProgramId, Record)> {
    let (program, _) = name.strip_prefix("p-")?.rsplit_once('-')?;
    Some((program.parse().ok()?, serde_json::from_str(json).ok()?))
}
