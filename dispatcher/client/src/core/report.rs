//! A status poll in flight: one question to all, an answer from each.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::command::ReportRequest;
use wayfare_protocol::ids::{ClientId, EngineId, OperationId};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

use super::{Effect, Report, Ticket};
use crate::fleet::Fleet;

#[derive(Debug)]
pub(super) struct ReportInFlight {
    ticket: Ticket,
    /// Who is asked; none named: all.
    wanted: BTreeSet<EngineId>,
    since_ms: u64,
    deadline_ms: u64,
    answered: BTreeMap<EngineId, u64>,
}

/// The question to these engines, or with none named to all.
pub(super) fn ask(operation: OperationId, client: &ClientId, engines: Vec<EngineId>) -> Effect {
    let client = client.clone();
    Effect::Publish {
        topic: Topic::Report,
        payload: wire::encode(&ReportRequest {
            operation,
            client,
            engines,
        }),
    }
}

impl ReportInFlight {
    pub(super) fn new(ticket: Ticket, wanted: BTreeSet<EngineId>, time_limit_ms: u64, now_ms: u64) -> Self {
        Self {
            ticket,
            wanted,
            since_ms: now_ms,
            deadline_ms: now_ms.saturating_add(time_limit_ms),
            answered: BTreeMap::new(),
        }
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    pub(super) fn send(&self, operation: OperationId, client: &ClientId) -> Effect {
        ask(operation, client, self.wanted.iter().cloned().collect())
    }

    /// It has answered, or has published its status meanwhile.
    pub(super) fn heard(&mut self, engine: &EngineId, now_ms: u64) {
        let after_ms = now_ms.saturating_sub(self.since_ms);
        self.answered.entry(engine.clone()).or_insert(after_ms);
    }

    /// Everybody who is there has answered, or the time is up. Until it is known who is there, nobody is no
    /// answer.
    pub(super) fn is_complete(&self, fleet: &Fleet, is_known: bool, now_ms: u64) -> bool {
        let is_asked = is_known || !self.answered.is_empty();
        now_ms >= self.deadline_ms || (is_asked && self.silent(fleet).next().is_none())
    }

    pub(super) fn result(&self, fleet: &Fleet) -> Report {
        Report {
            answered: self.answered.clone(),
            silent: self.silent(fleet).cloned().collect(),
        }
    }

    fn silent<'a>(&'a self, fleet: &'a Fleet) -> impl Iterator<Item = &'a EngineId> {
        let is_asked = |engine: &EngineId| self.wanted.is_empty() || self.wanted.contains(engine);
        fleet
            .online()
            .filter(move |engine| is_asked(engine) && !self.answered.contains_key(*engine))
    }
}
