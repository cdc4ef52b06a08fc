//! What must hold whatever happens. Checked after every effect and every event.

pub(crate) mod state;

use std::collections::BTreeMap;

use wayfare_core::types::{Disposition, OperationRecord, Record, RecordKey};
use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{Event, EventBody, Outcome};
use wayfare_protocol::ids::ProgramId;

use crate::world::World;

use state::Known;

impl World {
    /// No program runs twice. Checked whenever one begins to run.
    pub(super) fn check_single(&mut self) {
        let mut seen = BTreeMap::new();
        for (index, engine) in self.engines.iter().enumerate() {
            for (program, _) in engine.running() {
                let other = seen.insert(program, index);
                let forced = self.oracle.programs.get(&program).is_some_and(|k| k.forced);
                if let Some(other) = other
                    && !forced
                {
                    let text = format!("{program:?} runs on e{other} and e{index}");
                    self.oracle.violations.push(text);
                }
            }
        }
    }

    /// Notes how far the running programs have come.
    pub(super) fn follow(&mut self) {
        let running: Vec<(ProgramId, u64)> = self.engines.iter().flat_map(|e| e.running()).collect();
        for (program, counter) in running {
            let known = self.oracle.known(program);
            known.counter = known.counter.max(counter);
        }
    }

    pub(super) fn oracle_hears(&mut self, event: Event) {
        let oracle = &mut self.oracle;
        let engine = self.engines.iter().find(|engine| engine.name == event.engine);
        let is_forgotten = engine.is_some_and(|engine| engine.disk.forgotten.contains(&event.operation));
        if event.body == EventBody::Accepted {
            oracle.accepted.insert(event.operation);
            if is_forgotten {
                let text = format!(
                    "{:?} is carried out once more by {}",
                    event.operation, event.engine
                );
                oracle.violation(text);
            }
        }
        // That one who ordered was succeeded is no answer to the order.
        let is_about_who_asks = matches!(
            &event.body,
            EventBody::Failed {
                failure: Failure::StaleTerm { .. }
            }
        );
        if !event.body.is_final() || is_about_who_asks {
            return;
        }
        let word = match &event.body {
            EventBody::Failed { failure } => {
                let text = format!("{failure:?}");
                text.split([' ', '{']).next().unwrap_or_default().to_owned()
            }
            _ => "done".to_owned(),
        };
        if let Some(before) = oracle.answers.insert(event.operation, event.body.clone()) {
            // An engine that lost its disk with it may be asked again, and knows nothing of it.
            if before != event.body && !is_forgotten {
                let text = format!(
                    "{:?} was answered {before:?}, then {:?}",
                    event.operation, event.body
                );
                oracle.violation(text);
            }
            return;
        }
        *oracle
            .outcomes
            .entry(format!("{} {word}", event.verb))
            .or_default() += 1;
        match event.body {
            EventBody::Done { outcome } => match outcome {
                Outcome::Running { program, generation } => {
                    // Of a life that another was ordered to replace meanwhile, the answer may come late.
                    let known = oracle.known(program);
                    known.acknowledged |= Some(generation) >= known.ordered;
                }
                Outcome::Spawned { copy: program, .. } => oracle.known(program).acknowledged = true,
                Outcome::Killed { program } => {
                    let known = oracle.known(program);
                    known.killed = true;
                    let forced = known.forced || known.wiped;
                    // A source that has not heard of the adoption may still hold its frozen copy.
                    let runs = self
                        .engines
                        .iter()
                        .flat_map(|e| e.running())
                        .any(|(p, _)| p == program);
                    if !forced && runs {
                        self.oracle.violation(format!("{program:?} outlives its end"));
                    }
                }
                _ => {}
            },
            EventBody::Failed { .. } if matches!(event.verb.as_str(), "run" | "restore") => {
                let program = event.program.expect("a run is of a program");
                let known = oracle.known(program);
                known.never = !known.forced && !known.wiped;
            }
            _ => {}
        }
    }

    /// A move that is about to be recorded as failed leaves its program where it was, unless it ended.
    pub(super) fn check_failed_move(&mut self, index: usize, record: &OperationRecord) {
        let (Action::Move { on, .. }, Some(EventBody::Failed { failure })) =
            (&record.command.action, &record.answer)
        else {
            return;
        };
        let program = on.program;
        let accepted = self.oracle.accepted.contains(&record.command.operation);
        let stays = match self.engines[index].records.get(&RecordKey::Program(program)) {
            Some(Record::Program(record)) => !matches!(record.disposition, Disposition::Offered { .. }),
            _ => false,
        };
        let wrong = match failure {
            Failure::Silent { .. } | Failure::Refused { .. } | Failure::Internal { .. } => !stays,
            Failure::UnknownProgram { .. } => accepted,
            _ => false,
        };
        let forced = self.oracle.programs.get(&program).is_some_and(|k| k.forced);
        let forgotten = &self.engines[index].disk.forgotten;
        if wrong && !forced && !forgotten.contains(&record.command.operation) {
            let text = format!("{program:?} was not left where it was: {failure:?}");
            self.oracle.violation(text);
        }
    }

    /// When faults have stopped for long: nothing is open, and each program is where it should be, once.
    pub(super) fn check_end(&mut self) -> Result<(), String> {
        let mut wrong = Vec::new();
        for (_, command) in &self.client.sent {
            if !self.oracle.is_answered(command.operation) {
                wrong.push(format!("{command:?} was never answered"));
            }
        }
        for (program, known) in &self.oracle.programs {
            let alive = self.engines_with(*program);
            let ended = self.engines.iter().any(|e| {
                matches!(e.records.get(&RecordKey::Program(*program)),
                    Some(Record::Program(p)) if matches!(p.disposition, Disposition::Ended { .. }))
            });
            let expected = match known {
                Known {
                    forced: true,
                    killed: true,
                    ..
                } => continue,
                Known { forced: true, .. } if ended => continue,
                Known { wiped: true, .. } => 0..=1,
                Known { killed: true, .. } | Known { never: true, .. } => 0..=0,
                _ if ended => 0..=0,
                Known {
                    acknowledged: true, ..
                } => 1..=1,
                _ => 0..=1,
            };
            if !expected.contains(&alive.len()) {
                wrong.push(format!("{program:?} is on {alive:?} at the end: {known:?}"));
            }
            for engine in &self.engines {
                if let Some(Record::Program(p)) = engine.records.get(&RecordKey::Program(*program))
                    && matches!(p.disposition, Disposition::Offered { .. })
                {
                    wrong.push(format!("{program:?} is in doubt for good on {}", engine.name));
                }
            }
        }
        match wrong.first() {
            Some(first) => Err(format!("seed {}: {first}", self.seed)),
            None => Ok(()),
        }
    }
}
