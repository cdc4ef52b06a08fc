//! The acting dispatcher's orders to engines: said again until they are answered or their time is up.

pub(crate) mod state;

use wayfare_dispatcher_core::apps::{Input, Trouble};
use wayfare_protocol::command::{Action, Command};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{Event, EventBody};
use wayfare_protocol::ids::{BootId, EngineId, OperationId};

use crate::acting::state::Acts;
use crate::packet::Packet;
use crate::time::SECOND;
use crate::world::World;

use state::Order;

/// An order that was not answered is said again.
const SAY_AGAIN: u64 = SECOND;
pub(super) const ORDER_TIME_LIMIT: u64 = 120 * SECOND;

impl World {
    pub(super) fn begin_order(
        &mut self,
        operation: OperationId,
        (engine, boot): (EngineId, Option<BootId>),
        action: Action,
    ) {
        let now = self.now;
        let up = self.process_of_dispatcher();
        let Some(term) = up
            .filter(|up| !up.orders.contains_key(&operation))
            .map(|up| up.term)
        else {
            return;
        };
        let command = self.command_in_term(term, (operation, boot), action);
        let order = Order {
            engine: engine.clone(),
            command: command.clone(),
            until: now + ORDER_TIME_LIMIT,
        };
        if let Some(process) = self.process_of_dispatcher() {
            process.orders.insert(operation, order);
        }
        self.oracle.commanded(&command);
        self.note(|| format!("dispatcher orders {engine}: {command:?}"));
        self.client.sent.push((engine, command));
        self.say_again(operation);
    }

    pub(super) fn say_again(&mut self, operation: OperationId) {
        let now = self.now;
        let Some(process) = self.process_of_dispatcher() else {
            return;
        };
        let Some(order) = process.orders.get(&operation) else {
            return;
        };
        if order.until <= now {
            process.orders.remove(&operation);
            let result = Err(Trouble::Unknown("no answer".into()));
            return self.feed_dispatcher(Input::Settled { operation, result });
        }
        let (engine, command) = (order.engine.clone(), order.command.clone());
        if !self.random.per_mille(self.faults.lost) {
            let late = self.random.below(SECOND);
            self.act_in(late, Acts::Reaches(engine, Box::new(command)));
        }
        self.act_in(SAY_AGAIN, Acts::SaysAgain(operation));
    }

    /// Engines have clean sessions: what comes while one is away is lost.
    pub(super) fn order_reaches(&mut self, engine: &EngineId, command: Command) {
        let index = self.engines.iter().position(|at| at.name == *engine);
        if let Some(index) = index
            && self.engines[index].up.is_some()
            && !self.is_cut_off(index)
        {
            self.engine_hears(index, Packet::Command(command));
        }
    }

    pub(super) fn engine_is_asked(&mut self, index: usize) {
        if self.engines[index].up.is_none() || self.is_cut_off(index) {
            return;
        }
        let operation = OperationId::from_random(self.random.bytes());
        let client = self.client.name.clone();
        self.feed(index, wayfare_core::types::Input::Report { operation, client });
    }

    pub(super) fn answered(&mut self, event: Event) {
        let Some(process) = self.process_of_dispatcher() else {
            return;
        };
        let result = match event.body {
            EventBody::Done { outcome } => Ok(outcome),
            // A predecessor's order comes behind this one's: it is told again.
            EventBody::Failed {
                failure: Failure::StaleTerm { actual, .. },
            } => return self.is_behind(actual),
            EventBody::Failed { failure } => Err(Trouble::Failed(failure)),
            _ => return,
        };
        let operation = event.operation;
        if process.orders.remove(&operation).is_some() {
            self.feed_dispatcher(Input::Settled { operation, result });
        }
    }
}
