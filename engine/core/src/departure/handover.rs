//! A departure from its offer on: the verdict, the silence, and the ways back.

use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{MoveReport, Outcome, Phase};
use wayfare_protocol::ids::{Generation, OperationId, PeerName, ProgramId};
use wayfare_protocol::peer::PeerMessage;

use crate::Core;
use crate::programs::{Life, Process};
use crate::timing::{IN_DOUBT_AFTER_US, Repeat, SETTLING_US};
use crate::types::{Effect, Now, RecordKey, Saved};

use super::{Departure, Doubt, Kind, OfferMessage, Stage};

/// What becomes of a departure whose command's time is up.
enum Late {
    /// It ends by itself.
    Waits,
    /// The target is asked to refuse.
    Asks,
    /// Nothing is committed: the program runs on in place.
    Ends(Failure),
}

impl Departure {
    fn late(&mut self, now: Now) -> Late {
        let silent = self.silent(now);
        match (&mut self.stage, self.kind) {
            (Stage::Settling { .. }, _)
            | (
                Stage::Offered {
                    message: OfferMessage::Cancel,
                    ..
                },
                Kind::Move,
            ) => return Late::Waits,
            (Stage::Offered { message, .. }, Kind::Move) => *message = OfferMessage::Cancel,
            (Stage::Offered { .. }, Kind::Spawn) => {
                self.stage = Stage::Settling {
                    failure: silent,
                    until: now.plus(SETTLING_US),
                };
            }
            (Stage::Copying | Stage::Freezing { .. }, _) => {
                return Late::Ends(Failure::Silent {
                    peer: format!("program {}", self.program.short()),
                    waited_ms: self.waited_ms(now),
                });
            }
            (Stage::Asking | Stage::Sending { .. }, _) => return Late::Ends(silent),
        }
        self.repeat = Repeat::new(now);
        Late::Asks
    }

    /// Whether it is in doubt from now on, which is made public once.
    fn comes_into_doubt(&mut self, now: Now) -> bool {
        let is_silent = now.since(self.heard) >= IN_DOUBT_AFTER_US;
        match &mut self.stage {
            Stage::Offered {
                message,
                doubt: doubt @ Doubt::No,
                ..
            } if self.kind == Kind::Move && (is_silent || *message == OfferMessage::Cancel) => {
                *doubt = Doubt::Said;
                true
            }
            _ => false,
        }
    }
}

impl Core {
    /// The program stands still and its last snapshot is stored: past this it is the target's to decide. The
    /// snapshot is on its way while the record is written; the word that makes it count is not.
    pub(crate) fn offer_move(&mut self, operation: OperationId, program: ProgramId, saved: Saved) {
        let Some(since) = self.departures.get(&operation).and_then(|d| match d.stage {
            Stage::Freezing { since } => Some(since),
            _ => None,
        }) else {
            return;
        };
        self.send_new(operation, saved.snapshot);
        let (Some(departure), Some(here)) = (
            self.departures.get_mut(&operation),
            self.programs.get_mut(&program),
        ) else {
            return;
        };
        here.life = Life::Offered {
            operation,
            target: departure.target.clone(),
            was: departure.on_target.standing,
            process: Process::Here,
        };
        here.saved = Some(saved);
        departure.heard = self.now;
        departure.offer(saved, since);
        self.store(program);
        self.ask(operation);
        self.tell_progress(operation);
    }

    pub(crate) fn departure_adopted(
        &mut self,
        operation: OperationId,
        from: &PeerName,
        generation: Generation,
    ) {
        let settled = self
            .heard_departure(operation, from)
            .is_some_and(|d| d.is_committed() && d.on_target.generation == generation);
        if settled {
            self.adopted(operation);
        }
    }

    /// The target has it. The answer is stored before the record goes, so that a restart in between knows
    /// where the program is.
    pub(crate) fn adopted(&mut self, operation: OperationId) {
        let Some(departure) = self.departures.remove(&operation) else {
            return;
        };
        self.blobs.stale = true;
        let now = self.now;
        let target = departure.target;
        let program = departure.program;
        let (Kind::Move, Stage::Offered { since, .. }) = (departure.kind, &departure.stage) else {
            let copy = departure.on_target.program;
            return self.finish(operation, Ok(Outcome::Spawned { copy, target }));
        };
        // After a restart, both times count from there: the clock began anew as well.
        let report = MoveReport {
            total_us: now.since(departure.accepted_at),
            downtime_us: now.since(*since),
            precopied_bytes: departure.precopied_bytes,
            final_bytes: departure.final_bytes,
        };
        let outcome = Outcome::Moved {
            program,
            generation: departure.on_target.generation,
            target,
            report,
        };
        self.finish(operation, Ok(outcome));
        let in_memory = self.programs.get(&program).is_some_and(|here| {
            matches!(
                here.life,
                Life::Offered {
                    process: Process::Here,
                    ..
                }
            )
        });
        self.effects.push(Effect::Erase(RecordKey::Program(program)));
        if in_memory {
            self.effects.push(Effect::Discard { program });
        }
        self.remove_program(program);
    }

    /// The target will not take it: it runs on in place.
    pub(crate) fn departure_refused(&mut self, operation: OperationId, from: &PeerName, failure: Failure) {
        if self.heard_departure(operation, from).is_none() {
            return;
        }
        let Some(departure) = self.departures.remove(&operation) else {
            return;
        };
        self.blobs.stale = true;
        let failure = match departure.stage {
            Stage::Settling { failure, .. } => failure,
            Stage::Offered {
                message: OfferMessage::Cancel,
                ..
            } if failure == Failure::Cancelled => departure.silent(self.now),
            _ => Failure::Refused {
                engine: departure.target.clone(),
                failure: Box::new(failure),
            },
        };
        let program = departure.program;
        let offered = self.programs.get(&program).and_then(|here| match &here.life {
            Life::Offered {
                operation: by,
                was,
                process,
                ..
            } if *by == operation => Some((*was, *process)),
            _ => None,
        });
        if let Some((was, process)) = offered {
            self.resume_in_place(program, was, process);
        }
        self.release_program(operation, program);
        self.finish(operation, Err(failure));
    }

    /// Gives up a departure that has not been committed, if `operation` is one.
    pub(crate) fn cancel_departure(&mut self, operation: OperationId) {
        let uncommitted = self
            .departures
            .get(&operation)
            .is_some_and(|departure| !departure.is_committed());
        if uncommitted {
            self.drop_departure(operation);
        }
    }

    /// Gives up a committed departure by force.
    pub(crate) fn forsake(&mut self, operation: OperationId) {
        if let Some(departure) = self.drop_departure(operation) {
            let failure = departure.silent(self.now);
            self.finish(operation, Err(failure));
        }
    }

    pub(super) fn drop_departure(&mut self, operation: OperationId) -> Option<Departure> {
        let departure = self.departures.remove(&operation)?;
        self.say(&departure.target, operation, PeerMessage::Cancel);
        self.blobs.stale = true;
        Some(departure)
    }

    /// The command's time is up. True if `operation` is a departure: then all is seen to.
    pub(crate) fn departure_late(&mut self, operation: OperationId) -> bool {
        let now = self.now;
        let Some(departure) = self.departures.get_mut(&operation) else {
            return false;
        };
        let program = departure.program;
        match departure.late(now) {
            Late::Waits => {}
            Late::Asks => self.ask(operation),
            Late::Ends(failure) => {
                let held = self.held_up(program, operation);
                self.abort(operation, held.unwrap_or(failure));
            }
        }
        true
    }

    pub(crate) fn departures_due(&mut self) {
        let now = self.now;
        let ids: Vec<OperationId> = self.departures.keys().copied().collect();
        for id in ids {
            let Some(departure) = self.departures.get_mut(&id) else {
                continue;
            };
            if now >= departure.deadline {
                self.departure_late(id);
            }
            self.departure_due(id);
        }
    }

    pub(super) fn departure_due(&mut self, id: OperationId) {
        let now = self.now;
        let Some(departure) = self.departures.get_mut(&id) else {
            return;
        };
        if let Stage::Settling { failure, until } = &departure.stage
            && now >= *until
        {
            let failure = failure.clone();
            self.departures.remove(&id);
            self.blobs.stale = true;
            return self.finish(id, Err(failure));
        }
        departure.sender.tick(now);
        let again = departure.repeat.is_due(now);
        let new_doubt = departure.comes_into_doubt(now);
        if again {
            self.ask(id);
        }
        self.pump_departure(id);
        if new_doubt {
            self.progress(id, Phase::InDoubt, 0, 0);
        }
    }
}
