//! Somebody with the login of an engine that has nothing: what it says in its own name ends no program, and
//! takes no program's place.

use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::ids::{Blob, EngineId, Generation, OperationId};
use wayfare_protocol::peer::{Envelope, PeerMessage};

use crate::happening::Happening;
use crate::packet::{Content, Packet};
use crate::time::SECOND;
use crate::world::World;

impl World {
    /// In some worlds.
    pub(super) fn plan_strangers(&mut self) {
        if matches!(self.seed % 10, 4 | 8) {
            for _ in 0..5 + self.random.below(20) {
                let at = self.random.below(65 * SECOND);
                self.at(at, Happening::StrangerSpeaks);
            }
        }
    }

    /// It offers a program of others as its own, or meddles with an operation of others.
    pub(super) fn stranger_speaks(&mut self) {
        let programs = self.client.programs();
        let operations: Vec<OperationId> = self.client.sent.iter().map(|(_, c)| c.operation).collect();
        if programs.is_empty() || operations.is_empty() {
            return;
        }
        let engines: Vec<EngineId> = self.engines.iter().map(|engine| engine.name.clone()).collect();
        let to = self.random.pick(&engines).clone();
        let operation = match self.random.per_mille(700) {
            true => OperationId::from_random(self.random.bytes()),
            false => *self.random.pick(&operations),
        };
        let (spec, snapshot) = (self.stranger_spec(), self.new_blob(Content::Plain));
        let offer = PeerMessage::Prepare {
            program: *self.random.pick(&programs),
            generation: Generation(*self.random.pick(&[1, 2, 3, 5, 1_000_000, u64::MAX])),
            spec,
            memory_bytes: 0,
            paused: false,
            devices: Default::default(),
            blobs: vec![snapshot],
        };
        let commit = PeerMessage::Commit { snapshot, base: None };
        let meddles = [PeerMessage::Query, PeerMessage::Cancel, commit.clone()];
        let said = match self.random.per_mille(700) {
            true => vec![offer, commit],
            false => vec![self.random.pick(&meddles).clone()],
        };
        *self.oracle.outcomes.entry("strangers' words".into()).or_default() += said.len() as u64;
        for message in said {
            let envelope = Envelope {
                operation,
                from: "stranger".parse().expect("a good name"),
                message,
            };
            self.send(to.clone(), Packet::Message(envelope));
        }
    }

    fn stranger_spec(&mut self) -> ProgramSpec {
        let module: Blob = self.new_blob(Content::Plain);
        ProgramSpec {
            name: "theirs".into(),
            module,
            args: vec![],
            env: [].into(),
            stdin: None,
            memory_bytes_max: None,
            grants: Default::default(),
            ports: Default::default(),
            health_every_ms: None,
        }
    }
}
