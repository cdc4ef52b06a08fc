//! What the other side says about an arrival: that it comes, that it is final, that it shall not be.

use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, Generation, OperationId, PeerName, ProgramId};

use crate::Core;
use crate::programs::{Life, Program};
use crate::timing::ARRIVALS_MAX;
use crate::types::{Saved, Verdict};

use super::{Arrival, Goal, Offer, Origin, Stage, check_blobs};
use crate::verdicts;

impl Core {
    pub(crate) fn prepare(&mut self, operation: OperationId, from: &PeerName, offer: &Offer) {
        if self.say_verdict(operation, from) {
            return;
        }
        if let Some(arrival) = self.arrivals.get_mut(&operation) {
            if arrival.origin != Origin::Engine(from.clone()) {
                return;
            }
            let same = arrival.program == offer.program
                && arrival.generation == offer.generation
                && arrival.spec == offer.spec;
            if !same || check_blobs(&offer.blobs).is_err() {
                let reason = "the same operation announced something else before".into();
                return self.refuse_arrival(operation, Failure::BadRequest { reason });
            }
            arrival.expect(offer.blobs.iter().copied());
            arrival.heard = self.now;
        } else if let Err(failure) = self.admit(from, offer) {
            return self.give_verdict(operation, from, Verdict::Refused { failure });
        } else {
            let origin = Origin::Engine(from.clone());
            let arrival = Arrival::new(origin, offer, None, self.now);
            self.arrivals.insert(operation, arrival);
        }
        self.answer_arrival(operation);
        self.advance_arrival(operation);
    }

    /// Whether something was offered under this operation before, and is on its way or decided.
    pub fn knows_arrival(&self, operation: OperationId) -> bool {
        self.arrivals.contains_key(&operation) || self.verdicts.message(operation).is_some()
    }

    /// Whether a program may come, by what its source says about it.
    pub(super) fn admit(&mut self, from: &PeerName, offer: &Offer) -> Result<(), Failure> {
        offer.spec.check()?;
        check_blobs(&offer.blobs)?;
        let program = offer.program;
        if let Some(here) = self.programs.get(&program)
            && here.is_ended()
            && here.generation >= offer.generation
        {
            return Err(Failure::StaleGeneration {
                program,
                expected: offer.generation,
                actual: here.generation,
            });
        }
        let replaced = self
            .arrivals
            .iter()
            .find(|(_, a)| {
                a.program == program && a.is_replaceable_by(from) && a.generation <= offer.generation
            })
            .map(|(id, _)| *id);
        if let Some(replaced) = replaced {
            self.abandon_arrival(replaced);
        }
        self.check_kinds(&offer.devices)?;
        if self.comes_back(program, from, offer.generation) {
            // Its copy here goes when the one that comes is known to be good.
            return self.check_limits(program, &offer.spec, offer.memory_bytes);
        }
        self.check_room(program, &offer.spec, offer.memory_bytes)
    }

    /// Whether `from` was handed the program by this engine, and has not been heard to have taken it. Nobody
    /// else is believed to own what is here: a `Prepare` is only somebody's word.
    pub(super) fn comes_back(&self, program: ProgramId, from: &PeerName, generation: Generation) -> bool {
        // Its source owns the generation before the one it offers.
        let owned = Generation(generation.0.saturating_sub(1));
        self.programs.get(&program).is_some_and(|here| {
            matches!(&here.life, Life::Offered { target, .. } if target == from) && here.generation < owned
        })
    }

    /// Ends the copy here of a program that has come back, and is verified; refuses one that somebody else
    /// brings.
    pub(super) fn make_way(&mut self, operation: OperationId) -> Result<(), Failure> {
        let Some(arrival) = self.arrivals.get(&operation) else {
            return Ok(());
        };
        let (program, generation) = (arrival.program, arrival.generation);
        if self.programs.get(&program).is_none_or(Program::is_ended) {
            return Ok(());
        }
        if !self.comes_back(program, arrival.peer(), generation) {
            return Err(Failure::AlreadyHere { program });
        }
        self.fenced(program, Generation(generation.0.saturating_sub(1)));
        Ok(())
    }

    pub(crate) fn check_room(
        &self,
        program: ProgramId,
        spec: &ProgramSpec,
        memory_bytes: u64,
    ) -> Result<(), Failure> {
        if self.programs.get(&program).is_some_and(|here| !here.is_ended()) {
            return Err(Failure::AlreadyHere { program });
        }
        self.check_limits(program, spec, memory_bytes)
    }

    fn check_limits(&self, program: ProgramId, spec: &ProgramSpec, memory_bytes: u64) -> Result<(), Failure> {
        if let Some((operation, _)) = self.arrivals.iter().find(|(_, a)| a.program == program) {
            return Err(Failure::Busy {
                program,
                operation: *operation,
            });
        }
        let needed = memory_bytes;
        let memory_bytes_max = self.identity.program_memory_bytes_max;
        let memory_bytes = spec.memory_bytes_max.unwrap_or(0).max(memory_bytes);
        if memory_bytes > memory_bytes_max {
            return Err(self.no_room(format!(
                "the program needs {memory_bytes} bytes of memory, the limit is {memory_bytes_max}"
            )));
        }
        let used = self
            .programs
            .iter()
            .filter(|(id, here)| **id != program && !here.is_ended());
        let used = used.map(|(_, here)| here.memory_bytes).sum::<u64>();
        let coming = self
            .arrivals
            .values()
            .map(|coming| coming.memory_bytes)
            .sum::<u64>();
        let left = self
            .identity
            .programs_memory_bytes_max
            .saturating_sub(used.saturating_add(coming));
        if needed > left {
            return Err(self.no_room(format!(
                "the program has {needed} bytes of memory, and beside the programs that are here {left} are left"
            )));
        }
        let others = self.programs.iter().filter(|(id, _)| **id != program);
        let alive = others.filter(|(_, here)| !here.is_ended()).count();
        let programs_max = self.identity.programs_max;
        if alive + self.arrivals.len() >= programs_max {
            return Err(self.no_room(format!("it runs {programs_max} programs at most")));
        }
        if self.arrivals.len() >= ARRIVALS_MAX {
            return Err(self.no_room(format!("{ARRIVALS_MAX} programs are on their way to it")));
        }
        self.check_devices(program, &spec.grants)
    }

    pub(crate) fn no_room(&self, reason: String) -> Failure {
        Failure::NoRoom {
            engine: self.identity.engine.clone(),
            reason,
        }
    }

    /// Refuses what would come at a lower generation than the program has elsewhere.
    pub(crate) fn fence_arrivals(&mut self, program: ProgramId, actual: Generation) {
        let stale: Vec<(OperationId, Generation)> = self
            .arrivals
            .iter()
            .filter(|(_, a)| a.program == program && a.generation < actual)
            .map(|(id, a)| (*id, a.generation))
            .collect();
        for (operation, expected) in stale {
            let failure = Failure::StaleGeneration {
                program,
                expected,
                actual,
            };
            self.refuse_arrival(operation, failure);
        }
    }

    pub(crate) fn commit(&mut self, operation: OperationId, from: &PeerName, saved: Saved) {
        if self.say_verdict(operation, from) {
            return;
        }
        let Some(arrival) = self.arrivals.get_mut(&operation) else {
            return self.refuse_unknown(operation, from);
        };
        if arrival.origin != Origin::Engine(from.clone()) {
            return;
        }
        arrival.heard = self.now;
        let blobs: Vec<Blob> = saved.base.into_iter().chain([saved.snapshot]).collect();
        if let Stage::Gathering { goal: goal @ None } = &mut arrival.stage {
            if let Err(failure) = check_blobs(&blobs) {
                return self.refuse_arrival(operation, failure);
            }
            *goal = Some(Goal::From(saved));
            arrival.expect(blobs);
        }
        self.answer_arrival(operation);
        self.advance_arrival(operation);
    }

    pub(crate) fn query(&mut self, operation: OperationId, from: &PeerName) {
        if self.say_verdict(operation, from) {
            return;
        }
        match self.arrivals.get(&operation) {
            Some(arrival) if arrival.peer() == from => self.answer_arrival(operation),
            Some(_) => {}
            None => self.refuse_unknown(operation, from),
        }
    }

    pub(crate) fn cancel(&mut self, operation: OperationId, from: &PeerName) {
        if self.say_verdict(operation, from) {
            return;
        }
        let failure = Failure::Cancelled;
        match self.arrivals.get(&operation) {
            Some(arrival) if arrival.peer() == from => self.refuse_arrival(operation, failure),
            Some(_) => {}
            None => self.give_verdict(operation, from, Verdict::Refused { failure }),
        }
    }

    /// Decides about an operation that this engine knows nothing of, or nothing any more.
    pub(super) fn refuse_unknown(&mut self, operation: OperationId, from: &PeerName) {
        let failure = Failure::Interrupted {
            engine: self.identity.engine.clone(),
        };
        self.give_verdict(operation, from, Verdict::Refused { failure });
    }

    /// A client that cannot give what its run needs says so.
    pub(crate) fn client_refused(&mut self, operation: OperationId, from: &PeerName, failure: Failure) {
        let theirs = self
            .arrivals
            .get(&operation)
            .is_some_and(|a| a.origin == Origin::Client(from.clone()));
        if theirs {
            self.refuse_arrival(operation, failure);
        }
    }

    /// Says the verdict if there is one.
    fn say_verdict(&mut self, operation: OperationId, to: &PeerName) -> bool {
        let Some(message) = self.verdicts.message(operation) else {
            return false;
        };
        self.say(to, operation, message);
        true
    }

    /// Decides, and says so.
    pub(super) fn give_verdict(&mut self, operation: OperationId, to: &PeerName, verdict: Verdict) {
        let message = verdicts::message(&verdict);
        self.record_verdict(operation, verdict);
        self.say(to, operation, message);
    }

    pub(crate) fn record_verdict(&mut self, operation: OperationId, verdict: Verdict) {
        let arrived: Vec<OperationId> = self.programs.values().map(|here| here.arrived).collect();
        self.effects
            .extend(self.verdicts.give(operation, verdict, &arrived));
    }
}
