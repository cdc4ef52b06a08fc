//! The journal: which commands were accepted, and what was answered. A command sent twice is done once and
//! answered twice with the same answer.
//!
//! ```text
//!  command --known--> answered as before
//!           |
//!           `------> refused: answer stored, then said
//!           `------> accepted: stored, then said  ...  finished: answer stored, then said
//! ```

use std::collections::BTreeMap;

use wayfare_protocol::command::{Action, Command};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{Event, EventBody, Outcome, Phase};
use wayfare_protocol::ids::{BootId, EngineId, OperationId, ProgramId, Term};
use wayfare_protocol::journal::{ENTRIES_PER_ANSWER, JournalEntry, JournalPage};
use wayfare_protocol::limits::TIME_LIMIT_MS_MAX;

use super::timing::{FINISHED_OPERATIONS_MAX, OPEN_OPERATIONS_MAX, PROGRESS_US, RESEND_FIRST_US};
use super::types::{Effect, Identity, Now, OperationRecord, Record, RecordKey};

#[derive(Debug)]
pub(super) struct Journal {
    /// Who answers.
    engine: EngineId,
    boot: BootId,
    /// The highest of a dispatcher that has commanded here, as far as this remembers.
    term: Term,
    open: BTreeMap<OperationId, Open>,
    finished: BTreeMap<OperationId, OperationRecord>,
    /// With when it ended, unless that was before the engine began.
    finished_by_age: BTreeMap<u64, (OperationId, Option<Now>)>,
    next_sequence: u64,
}

/// An operation that has not been answered.
#[derive(Debug)]
struct Open {
    command: Command,
    sequence: u64,
    accepted_at: Now,
    deadline: Now,
    progress: Option<(Phase, Now)>,
}

impl Journal {
    /// From the records of an earlier life.
    pub(super) fn restored(identity: &Identity, records: Vec<OperationRecord>, now: Now) -> Self {
        let mut journal = Self {
            engine: identity.engine.clone(),
            boot: identity.boot,
            term: Term::default(),
            open: BTreeMap::new(),
            finished: BTreeMap::new(),
            finished_by_age: BTreeMap::new(),
            next_sequence: 0,
        };
        for record in records {
            journal.term = journal.term.max(record.command.term.unwrap_or_default());
            journal.next_sequence = journal.next_sequence.max(record.sequence + 1);
            if record.answer.is_some() {
                journal.keep(record, None);
            } else {
                journal.add(record.command, record.sequence, now);
            }
        }
        journal
    }

    /// A dispatcher that has been succeeded is not obeyed any more. Who commands in its own name has no term.
    pub(super) fn obey(&mut self, term: Option<Term>) -> Result<(), Failure> {
        let Some(term) = term else { return Ok(()) };
        if term < self.term {
            return Err(Failure::StaleTerm {
                engine: self.engine.clone(),
                term,
                actual: self.term,
            });
        }
        self.term = term;
        Ok(())
    }

    /// What is said to a command that came before.
    pub(super) fn known(&self, command: &Command) -> Option<EventBody> {
        if let Some(open) = self.open.get(&command.operation) {
            return Some(match open.command.action == command.action {
                true => EventBody::Accepted,
                false => reused(),
            });
        }
        let record = self.finished.get(&command.operation)?;
        Some(match &record.answer {
            Some(answer) if record.command.action == command.action => answer.clone(),
            _ => reused(),
        })
    }

    /// Stores the command, then says that it is accepted.
    pub(super) fn accept(&mut self, command: Command, now: Now) -> [Effect; 2] {
        let sequence = self.take_sequence();
        let record = OperationRecord {
            command: command.clone(),
            sequence,
            answer: None,
        };
        let reply = self.reply(&command, EventBody::Accepted);
        self.add(command, sequence, now);
        [Effect::Store(Record::Operation(record)), reply]
    }

    /// The answer is stored, then said. Nothing if the operation was answered before.
    pub(super) fn finish(
        &mut self,
        operation: OperationId,
        result: Result<Outcome, Failure>,
        now: Now,
    ) -> Vec<Effect> {
        let Some(open) = self.open.remove(&operation) else {
            return Vec::new();
        };
        let answer = match result {
            Ok(outcome) => EventBody::Done { outcome },
            Err(failure) => EventBody::Failed { failure },
        };
        self.conclude(open.command, open.sequence, answer, now)
    }

    /// Answers a command that is not accepted, and remembers that.
    pub(super) fn refuse(&mut self, command: Command, failure: Failure, now: Now) -> Vec<Effect> {
        let sequence = self.take_sequence();
        self.conclude(command, sequence, EventBody::Failed { failure }, now)
    }

    /// Tells how far an operation is: at each new phase, and now and then within one.
    pub(super) fn progress(
        &mut self,
        operation: OperationId,
        phase: Phase,
        (done_bytes, total_bytes): (u64, u64),
        now: Now,
    ) -> Option<Effect> {
        let open = self.open.get_mut(&operation)?;
        if open
            .progress
            .is_some_and(|(last, at)| last == phase && now.since(at) < PROGRESS_US)
        {
            return None;
        }
        open.progress = Some((phase, now));
        let body = EventBody::Progress {
            phase,
            done_bytes,
            total_bytes,
        };
        Some(self.reply(&self.open.get(&operation)?.command, body))
    }

    /// Gives an operation its whole time limit anew; until when that is.
    pub(super) fn extend(&mut self, operation: OperationId, now: Now) -> Option<Now> {
        let open = self.open.get_mut(&operation)?;
        let limit_us = limit_us(&open.command).max(RESEND_FIRST_US);
        open.deadline = open.deadline.max(now.plus(limit_us));
        Some(open.deadline)
    }

    /// What was last told of an operation.
    pub(super) fn phase(&self, operation: OperationId) -> Option<Phase> {
        let (phase, _) = self.open.get(&operation)?.progress?;
        Some(phase)
    }

    pub(super) fn reply(&self, command: &Command, body: EventBody) -> Effect {
        let (verb, program) = (command.action.verb(), command.action.program());
        Effect::Reply {
            client: command.client.clone(),
            event: self.event(command.operation, verb, Some(program), body),
        }
    }

    pub(super) fn event(
        &self,
        operation: OperationId,
        verb: &str,
        program: Option<ProgramId>,
        body: EventBody,
    ) -> Event {
        Event {
            operation,
            engine: self.engine.clone(),
            boot: self.boot,
            verb: verb.into(),
            program,
            body,
        }
    }

    /// The command of an operation that is under way.
    pub(super) fn command(&self, operation: OperationId) -> Option<&Command> {
        Some(&self.open.get(&operation)?.command)
    }

    /// When an operation that is under way was accepted, and when its time is up.
    pub(super) fn times(&self, operation: OperationId) -> Option<(Now, Now)> {
        let open = self.open.get(&operation)?;
        Some((open.accepted_at, open.deadline))
    }

    /// The commands of all operations that are under way.
    pub(super) fn commands(&self) -> impl Iterator<Item = &Command> {
        self.open.values().map(|open| &open.command)
    }

    /// When each operation's time is up.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = (OperationId, Now)> + '_ {
        self.open.iter().map(|(id, open)| (*id, open.deadline))
    }

    /// Operations whose time is up, their programs, and how many milliseconds they took.
    pub(super) fn late(&self, now: Now) -> Vec<(OperationId, ProgramId, u64)> {
        let late = self.open.iter().filter(|(_, open)| open.deadline <= now);
        late.map(|(id, open)| {
            let waited_ms = now.since(open.accepted_at) / 1000;
            (*id, open.command.action.program(), waited_ms)
        })
        .collect()
    }

    /// What is remembered of orders that change something, the newest first; of those before a sequence
    /// number.
    pub(super) fn page(&self, before: Option<u64>, now: Now) -> JournalPage {
        let before = before.unwrap_or(u64::MAX);
        let open = self.open.iter();
        let mut all: Vec<(u64, OperationId)> = open
            .filter(|(_, open)| open.sequence < before && is_order(&open.command))
            .map(|(id, open)| (open.sequence, *id))
            .collect();
        let finished = self.finished_by_age.range(..before).rev();
        let orders = finished.filter(|(_, (id, _))| {
            let command = self.finished.get(id).map(|record| &record.command);
            command.is_some_and(is_order)
        });
        all.extend(
            orders
                .take(ENTRIES_PER_ANSWER + 1)
                .map(|(sequence, (id, _))| (*sequence, *id)),
        );
        // As `open_by_age` sorts: sorting anything else takes boards kilobytes.
        all.sort_unstable();
        all.reverse();
        let is_all = all.len() <= ENTRIES_PER_ANSWER;
        all.truncate(ENTRIES_PER_ANSWER);
        JournalPage {
            engine: self.engine.clone(),
            boot: self.boot,
            next: all.last().map(|(sequence, _)| *sequence).filter(|_| !is_all),
            entries: all
                .into_iter()
                .filter_map(|(sequence, id)| self.told(sequence, id, now))
                .collect(),
        }
    }

    fn told(&self, sequence: u64, operation: OperationId, now: Now) -> Option<JournalEntry> {
        if let Some(open) = self.open.get(&operation) {
            return Some(self.entry(&open.command, EventBody::Accepted, None));
        }
        let record = self.finished.get(&operation)?;
        let (_, ended_at) = self.finished_by_age.get(&sequence)?;
        let ended_ago_ms = ended_at.map(|at| now.since(at) / 1000);
        Some(self.entry(&record.command, record.answer.clone()?, ended_ago_ms))
    }

    fn entry(&self, command: &Command, body: EventBody, ended_ago_ms: Option<u64>) -> JournalEntry {
        let (verb, program) = (command.action.verb(), command.action.program());
        let (name, target, copy) = match &command.action {
            Action::Run { spec, .. } => (Some(spec.name.clone()), None, None),
            Action::Move { target, .. } => (None, Some(target.clone()), None),
            Action::Spawn { target, copy, .. } => (None, Some(target.clone()), Some(*copy)),
            _ => (None, None, None),
        };
        JournalEntry {
            client: command.client.clone(),
            term: command.term,
            name,
            target,
            copy,
            ended_ago_ms,
            event: self.event(command.operation, verb, Some(program), body),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= OPEN_OPERATIONS_MAX
    }

    pub(super) fn answer(&self, operation: OperationId) -> Option<&EventBody> {
        self.finished.get(&operation)?.answer.as_ref()
    }

    pub(super) fn finished_command(&self, operation: OperationId) -> Option<&Command> {
        Some(&self.finished.get(&operation)?.command)
    }

    pub(super) fn knows(&self, operation: OperationId) -> bool {
        self.open.contains_key(&operation) || self.finished.contains_key(&operation)
    }

    /// Open operations, the oldest first.
    pub(super) fn open_by_age(&self) -> Vec<OperationId> {
        let mut open: Vec<_> = self.open.iter().map(|(id, o)| (o.sequence, *id)).collect();
        open.sort_unstable();
        open.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether a later command about the same program was accepted, which only those are that put an end
    /// to this one.
    pub(super) fn is_overtaken(&self, operation: OperationId) -> bool {
        self.open.get(&operation).is_some_and(|this| {
            self.open.values().any(|that| {
                that.sequence > this.sequence
                    && that.command.action.program() == this.command.action.program()
            })
        })
    }

    fn add(&mut self, command: Command, sequence: u64, now: Now) {
        let limit_us = limit_us(&command);
        self.open.insert(
            command.operation,
            Open {
                sequence,
                accepted_at: now,
                deadline: now.plus(limit_us),
                progress: None,
                command,
            },
        );
    }

    fn conclude(&mut self, command: Command, sequence: u64, answer: EventBody, now: Now) -> Vec<Effect> {
        let reply = self.reply(&command, answer.clone());
        let record = OperationRecord {
            command,
            sequence,
            answer: Some(answer),
        };
        let mut effects = vec![Effect::Store(Record::Operation(record.clone())), reply];
        self.keep(record, Some(now));
        while self.finished.len() > FINISHED_OPERATIONS_MAX
            && let Some((_, (oldest, _))) = self.finished_by_age.pop_first()
        {
            self.finished.remove(&oldest);
            effects.push(Effect::Erase(RecordKey::Operation(oldest)));
        }
        effects
    }

    fn keep(&mut self, record: OperationRecord, ended_at: Option<Now>) {
        self.finished_by_age
            .insert(record.sequence, (record.command.operation, ended_at));
        self.finished.insert(record.command.operation, record);
    }

    fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }
}

/// Snapshots are made all the time, and reading is not remembered at all.
fn is_order(command: &Command) -> bool {
    !matches!(command.action, Action::Snapshot { .. } | Action::Logs { .. })
}

fn reused() -> EventBody {
    EventBody::Failed {
        failure: Failure::BadRequest {
            reason: "this operation's id was used for another command".into(),
        },
    }
}

fn limit_us(command: &Command) -> u64 {
    command.time_limit_ms.min(TIME_LIMIT_MS_MAX) * 1000
}
