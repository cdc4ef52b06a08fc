//! The journal: which commands were accepted, and what was answered. A command sent twice is done once and
//! answered twice with the same answer.
//!
//! ```text
//!  command --check--> refused: answer stored, then said
//!             `-----> accepted: stored, then said -> begin ... finish: answer stored, then said
//! ```

use std::collections::BTreeMap;

use wayfare_protocol::command::{Action, Command};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{Event, EventBody, Outcome, Phase};
use wayfare_protocol::ids::{OperationId, ProgramId, Term};
use wayfare_protocol::limits::TIME_LIMIT_MS_MAX;

use super::Core;
use super::timing::{FINISHED_OPERATIONS_MAX, OPEN_OPERATIONS_MAX, PROGRESS_US};
use super::types::{Effect, Now, OperationRecord, Record, RecordKey};

#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) open: BTreeMap<OperationId, Open>,
    finished: BTreeMap<OperationId, OperationRecord>,
    finished_by_age: BTreeMap<u64, OperationId>,
    next_sequence: u64,
}

/// An operation that has not been answered.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) command: Command,
    sequence: u64,
    pub(super) accepted_at: Now,
    pub(super) deadline: Now,
    progress: Option<(Phase, Now)>,
}

impl Journal {
    /// From the records of an earlier life.
    pub(super) fn restored(records: Vec<OperationRecord>, now: Now) -> Self {
        let mut journal = Self::default();
        for record in records {
            journal.next_sequence = journal.next_sequence.max(record.sequence + 1);
            if record.answer.is_some() {
                journal.keep(record);
            } else {
                journal.add(record.command, record.sequence, now);
            }
        }
        journal
    }

    fn add(&mut self, command: Command, sequence: u64, now: Now) {
        let limit_us = command.time_limit_ms.min(TIME_LIMIT_MS_MAX) * 1000;
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

    fn keep(&mut self, record: OperationRecord) {
        self.finished_by_age
            .insert(record.sequence, record.command.operation);
        self.finished.insert(record.command.operation, record);
    }

    fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    /// The highest term of all commands that it knows.
    pub(super) fn term(&self) -> Term {
        let open = self.open.values().map(|open| &open.command);
        let finished = self.finished.values().map(|record| &record.command);
        open.chain(finished)
            .filter_map(|command| command.term)
            .max()
            .unwrap_or_default()
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

    fn oldest_too_many(&self) -> Option<u64> {
        let too_many = self.finished.len() > FINISHED_OPERATIONS_MAX;
        too_many.then(|| self.finished_by_age.keys().next().copied())?
    }
}

impl Core {
    pub(super) fn command(&mut self, command: Command) {
        let operation = command.operation;
        // Not an answer to be remembered: it is about who asks, not about what is asked.
        if let Err(failure) = self.obey(command.term) {
            return self.reply(&command, EventBody::Failed { failure });
        }
        if let Some(open) = self.journal.open.get(&operation) {
            let body = if open.command.action == command.action {
                EventBody::Accepted
            } else {
                reused()
            };
            return self.reply(&command, body);
        }
        if let Some(record) = self.journal.finished.get(&operation) {
            let body = match &record.answer {
                Some(answer) if record.command.action == command.action => answer.clone(),
                _ => reused(),
            };
            return self.reply(&command, body);
        }
        match self.check(&command) {
            Err(failure) => self.refuse_command(command, failure),
            Ok(()) => match command.action {
                // Reading twice is harmless: no need to remember it.
                Action::Logs { on, since, follower } => self.effects.push(Effect::ReplyLogs {
                    client: command.client,
                    operation,
                    program: on.program,
                    since,
                    follower,
                }),
                _ => {
                    self.accept(command);
                    self.begin(operation);
                }
            },
        }
    }

    /// A dispatcher that has been succeeded is not obeyed any more. Who commands in its own name has no term.
    fn obey(&mut self, term: Option<Term>) -> Result<(), Failure> {
        let Some(term) = term else { return Ok(()) };
        if term < self.term {
            return Err(Failure::StaleTerm {
                engine: self.identity.engine.clone(),
                term,
                actual: self.term,
            });
        }
        self.term = term;
        Ok(())
    }

    /// Whether the command can be begun as things stand.
    pub(super) fn check(&self, command: &Command) -> Result<(), Failure> {
        command.check()?;
        if self.journal.open.len() >= OPEN_OPERATIONS_MAX {
            return Err(self.no_room(format!("{OPEN_OPERATIONS_MAX} operations are under way")));
        }
        match &command.action {
            Action::Run {
                program,
                spec,
                snapshot: _,
                generation: _,
                follower: _,
            } => self.check_room(*program, spec, 0),
            Action::Move { on, target } => self.check_move(*on, target),
            Action::Spawn { on, target, copy, .. } => self.check_spawn(*on, target, *copy),
            Action::Pause { on } => self.check_pause(*on),
            Action::Resume { on, force } => self.check_resume(*on, *force),
            Action::Kill { on } => self.check_kill(*on),
            Action::Snapshot { on } => self.check_free(*on, "snapshot"),
            Action::Logs { on, .. } => self.here(*on).map(|_| ()),
        }
    }

    fn accept(&mut self, command: Command) {
        let sequence = self.journal.take_sequence();
        self.effects
            .push(Effect::Store(Record::Operation(OperationRecord {
                command: command.clone(),
                sequence,
                answer: None,
            })));
        self.reply(&command, EventBody::Accepted);
        self.journal.add(command, sequence, self.now);
    }

    /// Begins an accepted operation; called again for those that a restart interrupted.
    pub(super) fn begin(&mut self, operation: OperationId) {
        let Some(open) = self.journal.open.get(&operation) else {
            return;
        };
        match open.command.action.clone() {
            Action::Run {
                program,
                spec,
                snapshot,
                generation,
                follower: _,
            } => self.begin_run(operation, (program, generation), spec, snapshot),
            Action::Move { on, target } => self.begin_move(operation, on.program, target),
            Action::Spawn {
                on,
                target,
                copy,
                copy_name,
            } => self.begin_spawn(operation, on.program, target, (copy, copy_name)),
            Action::Pause { on } => self.begin_pause(operation, on.program),
            Action::Resume { on, .. } => self.resume(operation, on.program),
            Action::Kill { on } => self.kill(operation, on.program),
            Action::Snapshot { on } => self.begin_snapshot(operation, on.program),
            Action::Logs { .. } => {}
        }
    }

    /// The answer is stored, then said. Nothing if the operation was answered before.
    pub(super) fn finish(&mut self, operation: OperationId, result: Result<Outcome, Failure>) {
        let Some(open) = self.journal.open.remove(&operation) else {
            return;
        };
        let answer = match result {
            Ok(outcome) => EventBody::Done { outcome },
            Err(failure) => EventBody::Failed { failure },
        };
        self.conclude(open.command, open.sequence, answer);
    }

    fn refuse_command(&mut self, command: Command, failure: Failure) {
        let answer = EventBody::Failed { failure };
        match command.action {
            Action::Logs { .. } => self.reply(&command, answer),
            _ => {
                let sequence = self.journal.take_sequence();
                self.conclude(command, sequence, answer);
            }
        }
    }

    fn conclude(&mut self, command: Command, sequence: u64, answer: EventBody) {
        let record = OperationRecord {
            command: command.clone(),
            sequence,
            answer: Some(answer.clone()),
        };
        self.effects
            .push(Effect::Store(Record::Operation(record.clone())));
        self.reply(&command, answer);
        self.journal.keep(record);
        while let Some(oldest) = self.journal.oldest_too_many() {
            if let Some(id) = self.journal.finished_by_age.remove(&oldest) {
                self.journal.finished.remove(&id);
                self.effects.push(Effect::Erase(RecordKey::Operation(id)));
            }
        }
    }

    /// Tells how far an operation is: at each new phase, and now and then within one.
    pub(super) fn progress(
        &mut self,
        operation: OperationId,
        phase: Phase,
        done_bytes: u64,
        total_bytes: u64,
    ) {
        let now = self.now;
        let Some(open) = self.journal.open.get_mut(&operation) else {
            return;
        };
        if open
            .progress
            .is_some_and(|(last, at)| last == phase && now.since(at) < PROGRESS_US)
        {
            return;
        }
        open.progress = Some((phase, now));
        let command = open.command.clone();
        self.reply(
            &command,
            EventBody::Progress {
                phase,
                done_bytes,
                total_bytes,
            },
        );
    }

    fn reply(&mut self, command: &Command, body: EventBody) {
        let event = self.event(
            command.operation,
            command.action.verb(),
            Some(command.action.program()),
            body,
        );
        self.effects.push(Effect::Reply {
            client: command.client.clone(),
            event,
        });
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
            engine: self.identity.engine.clone(),
            boot: self.identity.boot,
            verb: verb.into(),
            program,
            body,
        }
    }
}

fn reused() -> EventBody {
    EventBody::Failed {
        failure: Failure::BadRequest {
            reason: "this operation's id was used for another command".into(),
        },
    }
}
