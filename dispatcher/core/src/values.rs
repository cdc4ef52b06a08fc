//! What values there are, and which requests were carried out: decided in memory, kept as records by key.
//!
//! ```text
//!  v-<digest of the key>              the value, and whose request set it last
//!  p-<program>-<number mod window>    a request that changed or could not change something, and its answer
//!  g-<program>                        its highest generation
//!  serial                             the highest version at the last removal
//!  many                               the last changes that were made together, ahead of each of them
//! ```
//! A commit that is torn off in the middle may have some of the changes that were made together: `many` has
//! all of them, and is done again.
//!
//! Versions count all changes of all values, so that none is ever used twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::{Digest, Generation, ProgramId};
use wayfare_protocol::limits::PAGE_BYTES_MAX;
use wayfare_protocol::pattern::Pattern;
use wayfare_protocol::values::{
    Changed, Key, Listed, OneChange, TOGETHER_BYTES_MAX, TOGETHER_MAX, Value, ValueAnswer, ValueAsk,
    ValueRequest,
};
use wayfare_protocol::wire;

/// Keys and values together.
pub const BYTES_MAX: usize = 64 << 20;
pub const VALUES_MAX: usize = 100_000;
/// Numbers of a program's requests that are remembered, up to its highest. A program that is set back further
/// than that is told so.
pub const RECORDS_MAX: u64 = 1024;
/// Programs whose requests are remembered; of more, the one that has not asked for longest is forgotten.
/// People, who ask as nobody's program in generation 0 and do not ask again later, are forgotten before all
/// programs.
pub const PROGRAMS_MAX: usize = 4096;
const SERIAL: &str = "serial";
const MANY: &str = "many";
const SET_MANY: &str = "set-many";

/// A record to be kept, or, without JSON, erased.
pub type Change = (String, Option<String>);

#[derive(Debug, Default)]
pub struct Values {
    values: BTreeMap<Digest, Stored>,
    programs: BTreeMap<ProgramId, Program>,
    serial: u64,
    bytes: usize,
    requests: u64,
    /// What has changed since this was last asked.
    changed: Vec<Changed>,
    /// The version of the last removal, as far as it is known.
    removed: u64,
    repairs: Vec<Change>,
}

/// Changes that were made together, and the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Many {
    set: Vec<Stored>,
    /// With the version of the removal.
    removed: Vec<(Key, u64)>,
    program: ProgramId,
    record: Record,
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
    /// From what the journal has. A request whose change was torn off by a crash was never answered, and is
    /// forgotten.
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
        all.removed = removed;
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
        if let Some(many) = records.get(MANY).and_then(|json| serde_json::from_str(json).ok()) {
            all.redo(many);
        }
        let single = all.values.iter().filter(|(_, stored)| stored.verb != SET_MANY);
        for (key, stored) in single {
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

    /// As far as it was not done, and nothing later was.
    fn redo(&mut self, many: Many) {
        let (before, mut changes) = (self.removed, Vec::new());
        for (key, version) in many.removed {
            self.serial = self.serial.max(version);
            if self
                .values
                .get(&digest(&key))
                .is_some_and(|there| there.version < version)
            {
                self.remove(&key, version, &mut changes);
            }
        }
        for stored in many.set {
            self.serial = self.serial.max(stored.version);
            // What is not there was not set yet, or was removed since: then there was a later removal.
            let is_later = |there: &Stored| there.version >= stored.version;
            let there = self.values.get(&digest(&stored.key));
            if !there.map_or(before >= stored.version, is_later) {
                self.set(stored, &mut changes);
            }
        }
        if !changes.is_empty() {
            changes.push((
                record_name(many.program, many.record.number),
                Some(json(&many.record)),
            ));
        }
        let program = self.programs.entry(many.program).or_default();
        program.records.entry(many.record.number).or_insert(many.record);
        // Next time there is nothing to be done.
        changes.push((MANY.into(), None));
        self.repairs = changes;
        self.changed.clear();
    }

    /// What is to be stored before anything else: changes that a crash tore off.
    pub fn take_repairs(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.repairs)
    }

    /// The answer to a request that needs no change: it only reads, comes too late, or was carried out
    /// before.
    pub fn known(&self, request: &ValueRequest) -> Option<ValueAnswer> {
        let program = self.programs.get(&request.program);
        if program.is_some_and(|program| Some(request.generation) < program.generation) {
            return Some(ValueAnswer::Stale);
        }
        let key = match &request.what {
            ValueAsk::Get { key } => return Some(self.get(digest(key))),
            ValueAsk::List { prefix, after } => return Some(self.list(prefix, after.as_ref())),
            ValueAsk::Matching { pattern, after } => return Some(self.matching(pattern, after.as_ref())),
            change => subject(change)?,
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
        let Some(key) = subject(&what) else {
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
        let answer = match what {
            ValueAsk::SetMany { changes: asked } => {
                self.change_many((id, number, key, verb), &asked, &mut changes)
            }
            ValueAsk::SetMatching { pattern, value } => {
                let asked = self.all_matching(&pattern, &value);
                self.change_many((id, number, key, verb), &asked, &mut changes)
            }
            what => self.change(id, number, key, what, &mut changes),
        };
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
            bytes <= PAGE_BYTES_MAX
        });
        ValueAnswer::Listed {
            values: values.collect(),
        }
    }

    /// As many as fit a message, in the order of their keys; at least one.
    fn matching(&self, pattern: &Pattern, after: Option<&Key>) -> ValueAnswer {
        let wanted =
            |stored: &&Stored| pattern.matches(&stored.key) && after.is_none_or(|after| stored.key > *after);
        let mut all: Vec<&Stored> = self.values.values().filter(wanted).collect();
        all.sort_by_key(|stored| &stored.key);
        let (mut bytes, count) = (0, all.len());
        let values: Vec<Changed> = all
            .into_iter()
            .map(|stored| Changed {
                key: stored.key.clone(),
                version: stored.version,
                value: Some(stored.value.clone()),
            })
            .enumerate()
            .take_while(|(at, one)| {
                bytes += wire::to_json(one).len() + 1;
                *at == 0 || bytes <= PAGE_BYTES_MAX
            })
            .map(|(_, one)| one)
            .collect();
        let is_all = values.len() == count;
        ValueAnswer::Matching { values, is_all }
    }

    fn all_matching(&self, pattern: &Pattern, value: &Value) -> Vec<OneChange> {
        let all = self.values.values().filter(|stored| pattern.matches(&stored.key));
        let changes = all.map(|stored| OneChange {
            key: stored.key.clone(),
            value: Some(value.clone()),
            expected: None,
        });
        changes.take(TOGETHER_MAX + 1).collect()
    }

    /// The first that expects another version than the key has, and which one it has.
    fn conflict(&self, asked: &[OneChange]) -> Option<(Key, u64)> {
        asked.iter().find_map(|one| {
            let stored = self.values.get(&digest(&one.key));
            let version = stored.map_or(0, |stored| stored.version);
            let is_other = one.expected.is_some_and(|expected| expected != version);
            is_other.then(|| (one.key.clone(), version))
        })
    }

    /// All of them, or none.
    fn change_many(
        &mut self,
        (program, number, subject, verb): (ProgramId, u64, Digest, &str),
        asked: &[OneChange],
        changes: &mut Vec<Change>,
    ) -> ValueAnswer {
        if asked.len() > TOGETHER_MAX {
            return ValueAnswer::Full;
        }
        if let Some((key, version)) = self.conflict(asked) {
            return ValueAnswer::ConflictAt { key, version };
        }
        // A key that is named twice has the last of its values.
        let asked: BTreeMap<&Key, Option<&Value>> =
            asked.iter().map(|one| (&one.key, one.value.as_ref())).collect();
        let there = |key: &Key| self.values.get(&digest(key)).map_or(0, Stored::bytes);
        let before: usize = asked.keys().map(|key| there(key)).sum();
        let set = || asked.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
        let after: usize = set()
            .map(|(key, value)| key.as_str().len() + value.as_bytes().len())
            .sum();
        let new = set().filter(|(key, _)| there(key) == 0).count();
        // They are stored twice, in one piece.
        if after > TOGETHER_BYTES_MAX {
            return ValueAnswer::Full;
        }
        if self.values.len() + new > VALUES_MAX || self.bytes - before + after > BYTES_MAX {
            return ValueAnswer::Full;
        }
        let (mut many, count) = (Vec::new(), asked.len() as u64);
        let mut removed = Vec::new();
        let last = self.serial + count;
        // Removals first: so what is set has a later version than they, by which it is told from what was
        // removed since.
        let mut asked: Vec<_> = asked.into_iter().collect();
        asked.sort_by_key(|(_, value)| value.is_some());
        for ((key, value), version) in asked.into_iter().zip(self.serial + 1..) {
            match value {
                None => removed.push((key.clone(), version)),
                Some(value) => many.push(Stored {
                    key: key.clone(),
                    version,
                    value: value.clone(),
                    program,
                    number,
                    verb: SET_MANY.into(),
                }),
            }
        }
        let answer = ValueAnswer::SetMany { count, version: last };
        let many = Many {
            set: many,
            removed,
            program,
            record: Record {
                number,
                key: subject,
                verb: verb.to_owned(),
                answer: answer.clone(),
            },
        };
        changes.push((MANY.into(), Some(json(&many))));
        for (key, version) in many.removed {
            self.remove(&key, version, changes);
        }
        for stored in many.set {
            self.set(stored, changes);
        }
        self.serial = last;
        answer
    }

    fn set(&mut self, stored: Stored, changes: &mut Vec<Change>) {
        let at = digest(&stored.key);
        let old = self.values.get(&at).map_or(0, Stored::bytes);
        self.bytes = self.bytes - old + stored.bytes();
        changes.push((format!("v-{at}"), Some(json(&stored))));
        self.changed.push(Changed {
            key: stored.key.clone(),
            version: stored.version,
            value: Some(stored.value.clone()),
        });
        self.values.insert(at, stored);
    }

    /// `version`: that of the removal, which is the highest from then on.
    fn remove(&mut self, key: &Key, version: u64, changes: &mut Vec<Change>) {
        let at = digest(key);
        let Some(removed) = self.values.remove(&at) else {
            return;
        };
        self.bytes -= removed.bytes();
        self.removed = self.removed.max(version);
        changes.push((SERIAL.into(), Some(self.removed.to_string())));
        changes.push((format!("v-{at}"), None));
        self.changed.push(Changed {
            key: key.clone(),
            version,
            value: None,
        });
    }

    /// What was changed since this was last asked, in order.
    pub fn take_changed(&mut self) -> Vec<Changed> {
        std::mem::take(&mut self.changed)
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
            ValueAsk::Remove { key } => {
                if there > 0 {
                    self.serial += 1;
                    self.remove(&key, self.serial, changes);
                }
                return ValueAnswer::Removed;
            }
            ValueAsk::CompareAndSet { expected, .. } if expected != there => {
                return ValueAnswer::Conflict { version: there };
            }
            ValueAsk::Set { key, value } | ValueAsk::CompareAndSet { key, value, .. } => (key, value),
            ValueAsk::Get { .. }
            | ValueAsk::List { .. }
            | ValueAsk::Matching { .. }
            | ValueAsk::SetMany { .. }
            | ValueAsk::SetMatching { .. } => unreachable!("these change nothing, or several values"),
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
        self.set(stored, changes);
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
        let is_program = |program: &Program| program.generation > Some(Generation(0));
        let by_age = |(_, program): &(&ProgramId, &Program)| (is_program(program), program.asked);
        let oldest = self.programs.iter().min_by_key(by_age);
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

fn json<T: Serialize>(data: &T) -> String {
    serde_json::to_string(data).expect("plain data serialises")
}

/// What a change is of, as far as a repeat must agree with it; `None`: it only reads.
fn subject(what: &ValueAsk) -> Option<Digest> {
    match what {
        ValueAsk::Get { .. } | ValueAsk::List { .. } | ValueAsk::Matching { .. } => None,
        ValueAsk::Set { key, .. } | ValueAsk::CompareAndSet { key, .. } | ValueAsk::Remove { key } => {
            Some(digest(key))
        }
        ValueAsk::SetMany { changes } => {
            let keys: Vec<&str> = changes.iter().map(|one| one.key.as_str()).collect();
            Some(Digest::of(keys.join("\0").as_bytes()))
        }
        ValueAsk::SetMatching { pattern, .. } => Some(Digest::of(pattern.as_str().as_bytes())),
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
