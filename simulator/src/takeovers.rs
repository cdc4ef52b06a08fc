//! Two dispatchers alive, and a dispatcher whose store fails or is lost.
//!
//! One that is held up or cut off goes on when another acts already. It has no session, and the store is the
//! other's: the first thing that it is to store ends it. What it had sent, and what it orders without storing
//! anything, may reach engines all the same, late: they obey the later term only, if they have heard of that.
//!
//! A store that is full costs time: nothing is decided, what engines answer waits, and a new core goes on
//! from what is stored. A store that is lost costs what was in it: applications are not there, people ask for
//! them again, and nobody ends what runs of the old ones. Terms do not go back all the same while anything
//! but the store remembers them.

pub(crate) mod state;

use wayfare_dispatcher_core::apps::state::State;
use wayfare_dispatcher_core::apps::{Core, Effect, Ids, Input};
use wayfare_protocol::command::{Action, Command};
use wayfare_protocol::ids::{BootId, EngineId, OperationId, ProgramId, Term};

use crate::acting::state::Acts;
use crate::acting::{TICK, options};
use crate::happening::Happening;
use crate::time::{MS, SECOND};
use crate::world::World;

/// What was sent on a connection reaches engines so late at most.
const LATE_ORDER: u64 = 15 * SECOND;
/// One that was succeeded notices that within this.
const NOTICED: u64 = 10 * SECOND;
/// A store that could not be written to is tried again after this, as by the service.
const STORE_RETRY: u64 = SECOND;

impl World {
    /// In some worlds each.
    pub(super) fn plan_takeovers(&mut self) {
        if matches!(self.seed % 5, 1 | 3) {
            for _ in 0..1 + self.random.below(3) {
                let at = self.base + self.random.below(60 * SECOND);
                self.at(at, Happening::AnotherActs);
            }
        }
        if matches!(self.seed % 6, 2 | 5) {
            for _ in 0..1 + self.random.below(3) {
                let at = self.base + self.random.below(60 * SECOND);
                self.at(at, Happening::StoreFills);
            }
        }
        if self.loses_store() && self.base == 0 {
            let at = 10 * SECOND + self.random.below(50 * SECOND);
            self.at(at, Happening::StoreLost);
        }
    }

    pub(super) fn loses_store(&self) -> bool {
        self.acting.is_some() && self.seed % 10 == 7
    }

    pub(super) fn another_acts(&mut self) {
        let Some(acting) = &mut self.acting else { return };
        let Some(process) = acting.up.take() else { return };
        let (number, term) = (process.number, process.term);
        let sent: Vec<_> = process.orders.values().map(|order| order.to_send()).collect();
        acting.former = Some(process);
        acting.former_until = self.now + NOTICED;
        self.note(|| format!("the dispatcher of term {term} is succeeded, and goes on"));
        self.count("dispatchers that were succeeded alive");
        for (engine, command) in sent {
            self.reaches_late(number, engine, command);
        }
        let first = self.now + self.random.below(2 * SECOND);
        self.at(first, Happening::FormerDecides);
        self.dispatcher_starts();
    }

    fn reaches_late(&mut self, process: u64, engine: EngineId, command: Command) {
        let at = self.now + self.random.below(LATE_ORDER);
        let acts = Acts::Reaches(engine, Box::new(command));
        self.at(at, Happening::Dispatcher { process, acts });
    }

    /// By what it has seen until it was succeeded.
    pub(super) fn former_decides(&mut self) {
        let now = self.now;
        let former = self.acting.as_mut().and_then(|acting| acting.former.take());
        let Some(mut former) = former else { return };
        let (number, term) = (former.number, former.term);
        let effects = former.core.handle(Input::Tick, former.now(now));
        if effects.iter().any(is_stored) {
            self.note(|| format!("the dispatcher of term {term} can store nothing any more"));
            return self.count("dispatchers that were refused by their store");
        }
        for effect in effects {
            if let Effect::Begin {
                operation,
                engine,
                action,
                boot,
            } = effect
            {
                let command = self.command_in_term(term, (operation, boot), *action);
                self.note(|| format!("dispatcher of term {term} orders {engine}: {command:?}"));
                self.reaches_late(number, engine, command);
            }
        }
        if let Some(acting) = self.acting.as_mut().filter(|acting| now < acting.former_until) {
            acting.former = Some(former);
            self.at(now + TICK, Happening::FormerDecides);
        }
    }

    pub(super) fn command_in_term(
        &self,
        term: u64,
        (operation, boot): (OperationId, Option<BootId>),
        action: Action,
    ) -> Command {
        Command {
            operation,
            boot,
            client: self.client.name.clone(),
            time_limit_ms: crate::orders::ORDER_TIME_LIMIT / MS,
            term: Some(Term(term)),
            action,
        }
    }

    /// An engine has heard of a later term than the one who acts: it begins a higher one.
    pub(super) fn is_behind(&mut self, actual: Term) {
        let Some(acting) = &mut self.acting else { return };
        if acting.up.as_ref().is_none_or(|up| up.term >= actual.0) {
            return;
        }
        acting.terms.heard_of = acting.terms.heard_of.max(actual.0);
        acting.up = None;
        self.count("terms that went back");
        self.note(|| format!("engines know term {actual}: the dispatcher begins a higher one"));
        self.after(2 * SECOND, Happening::DispatcherStarts);
    }

    pub(super) fn store_fills(&mut self) {
        let until = self.now + 1 + self.random.below(15 * SECOND);
        if let Some(acting) = &mut self.acting {
            acting.store_full_until = until;
        }
        self.note(|| "the dispatcher's disk is full".into());
    }

    pub(super) fn is_store_full(&self) -> bool {
        let acting = self.acting.as_ref();
        acting.is_some_and(|acting| self.now < acting.store_full_until)
    }

    /// Nothing is decided from now on, until something can be stored again.
    pub(super) fn store_fails(&mut self) {
        let at = self.now + STORE_RETRY;
        let Some(process) = self.process_of_dispatcher() else {
            return;
        };
        process.is_failing = true;
        let process = process.number;
        self.count("dispatchers that could store nothing");
        self.note(|| "the dispatcher cannot store: it decides nothing".into());
        self.at(at, Happening::StoreTried { process });
    }

    /// A new core goes on from what is stored, and hears what came meanwhile.
    pub(super) fn store_tried(&mut self, process: u64) {
        let is_full = self.is_store_full();
        let seed = [self.random.bytes(), self.random.bytes()].concat();
        let again = self.now + STORE_RETRY;
        let now = self.dispatcher_now();
        let Some(acting) = &mut self.acting else { return };
        let Some(up) = acting.up.as_mut().filter(|up| up.number == process) else {
            return;
        };
        if is_full {
            return self.at(again, Happening::StoreTried { process });
        }
        let ids = Ids::new(seed.try_into().expect("twice sixteen bytes"));
        let (core, effects) = Core::new(options(up.term), State::read(&acting.records), ids, now);
        up.core = core;
        (up.is_failing, up.looked) = (false, 0);
        let waiting = std::mem::take(&mut up.waiting);
        self.note(|| "the dispatcher can store again".into());
        self.dispatcher_does(effects);
        self.dispatcher_looks();
        for input in waiting {
            self.feed_dispatcher(input);
        }
    }

    /// Whatever runs by then, or was ordered, is nobody's from now on.
    pub(super) fn store_lost(&mut self) {
        self.dispatcher_dies();
        self.note(|| "the dispatcher's store is lost".into());
        self.count("dispatchers' stores lost");
        let ordered = self
            .client
            .sent
            .iter()
            .map(|(_, command)| command.action.program());
        let nobodys: Vec<ProgramId> = ordered.collect();
        let Some(acting) = &mut self.acting else { return };
        acting.nobodys.extend(nobodys);
        acting.records.clear();
        acting.terms.stored = 0;
        acting.wanted.drained.clear();
        self.at(self.now + 2 * SECOND, Happening::PeopleAsk { first: true });
    }
}

/// What is durable before anything else is done.
pub(super) fn is_stored(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Store { .. } | Effect::Tombstone { stands: false, .. }
    )
}
