//! The core on a bench: inputs by hand, effects looked through.

use std::sync::Arc;

use wayfare_protocol::command::{Command, ProgramSpec, Target};
use wayfare_protocol::event::EventBody;
use wayfare_protocol::ids::{Blob, BootId, Generation};
use wayfare_protocol::peer::PeerMessage;
use wayfare_protocol::status::{EngineState, ProgramState};

use super::super::*;
use crate::order::Busy;

pub(super) const TICKET: Ticket = Ticket(1);

pub(super) fn operation(number: u8) -> OperationId {
    OperationId::from_random([number; 16])
}

pub(super) fn boot() -> BootId {
    BootId::from_random([0; 16])
}

pub(super) fn program() -> ProgramId {
    ProgramId::from_random([9; 16])
}

pub(super) fn on(generation: u64) -> Target {
    Target {
        program: program(),
        generation: Some(Generation(generation)),
    }
}

pub(super) fn request(engine: &str, action: Action, contents: &[&[u8]]) -> Request {
    let content = |bytes: &&[u8]| (Digest::of(bytes), Arc::new(bytes.to_vec()));
    Request {
        engine: engine.parse().unwrap(),
        action,
        blobs: contents.iter().map(content).collect(),
        time_limit_ms: 30_000,
        known: [].into(),
        term: None,
        boot: None,
        by: None,
        batch: None,
        busy: Busy::Fail,
    }
}

pub(super) fn run_of(module: &[u8]) -> Request {
    let spec = ProgramSpec {
        name: "p".into(),
        module: Blob::of(module),
        args: vec![],
        env: [].into(),
        stdin: None,
        memory_bytes_max: None,
        grants: Default::default(),
        ports: Default::default(),
        health_every_ms: None,
    };
    request(
        "a",
        Action::Run {
            program: program(),
            spec,
            snapshot: None,
            generation: None,
            follower: None,
        },
        &[module],
    )
}

pub(super) struct Bench {
    pub(super) core: Core,
    fresh: u8,
}

impl Bench {
    pub(super) fn connected() -> Self {
        let mut bench = Self {
            core: Core::new("client".parse().unwrap()),
            fresh: 100,
        };
        bench.handle(Input::Connected, 0);
        bench
    }

    pub(super) fn handle(&mut self, input: Input, now_ms: u64) -> Vec<Effect> {
        let fresh = &mut self.fresh;
        self.core.handle(input, now_ms, &mut || {
            *fresh += 1;
            operation(*fresh)
        })
    }

    pub(super) fn start(&mut self, request: Request) -> Vec<Effect> {
        self.handle(
            Input::Start {
                ticket: TICKET,
                operation: operation(1),
                request: Box::new(request),
            },
            0,
        )
    }

    pub(super) fn event(&mut self, number: u8, engine: &str, body: EventBody, now_ms: u64) -> Vec<Effect> {
        let event = Event {
            operation: operation(number),
            engine: engine.parse().unwrap(),
            boot: boot(),
            verb: "x".into(),
            program: None,
            body,
        };
        let topic = Topic::Reply("client".parse().unwrap());
        self.handle(
            Input::Message {
                topic,
                payload: wire::encode(&event),
            },
            now_ms,
        )
    }

    pub(super) fn peer(&mut self, message: PeerMessage, bytes: &[u8], now_ms: u64) -> Vec<Effect> {
        let envelope = Envelope {
            operation: operation(1),
            from: "a".parse().unwrap(),
            message,
        };
        let topic = Topic::Peer(operation(1), "client".parse().unwrap());
        self.handle(
            Input::Message {
                topic,
                payload: envelope.encode(bytes),
            },
            now_ms,
        )
    }

    pub(super) fn engine(&mut self, engine: &str, boot: u8, state: EngineState, now_ms: u64) -> Vec<Effect> {
        let engine: EngineId = engine.parse().unwrap();
        let status = EngineStatus {
            sequence: 1,
            ..EngineStatus::new(engine.clone(), BootId::from_random([boot; 16]), state)
        };
        self.handle(
            Input::Message {
                topic: Topic::EngineStatus(engine),
                payload: wire::encode(&status),
            },
            now_ms,
        )
    }

    pub(super) fn program_on(&mut self, engine: &str, generation: u64) -> Vec<Effect> {
        let engine: EngineId = engine.parse().unwrap();
        let status = EngineStatus {
            sequence: generation,
            programs: vec![ProgramStatus {
                program: program(),
                name: "p".into(),
                engine: engine.clone(),
                boot: boot(),
                generation: Generation(generation),
                sequence: 1,
                state: ProgramState::Running,
                module: Digest([0; 32]),
                memory_bytes: 0,
                ports: Default::default(),
                place: None,
                health: None,
                hold: None,
            }],
            ..EngineStatus::new(engine.clone(), boot(), EngineState::Online)
        };
        self.handle(
            Input::Message {
                topic: Topic::EngineStatus(engine),
                payload: wire::encode(&status),
            },
            0,
        )
    }
}

pub(super) fn commands(effects: &[Effect]) -> Vec<(String, Command)> {
    let command = |effect: &Effect| match effect {
        Effect::Publish {
            topic: Topic::EngineCommand(engine),
            payload,
        } => Some((engine.to_string(), wire::decode(payload).unwrap())),
        _ => None,
    };
    effects.iter().filter_map(command).collect()
}

pub(super) fn peer_messages(effects: &[Effect]) -> Vec<(PeerMessage, Vec<u8>)> {
    let message = |effect: &Effect| match effect {
        Effect::Publish {
            topic: Topic::Peer(..),
            payload,
        } => {
            let (envelope, bytes) = Envelope::decode(payload).unwrap();
            Some((envelope.message, bytes.to_vec()))
        }
        _ => None,
    };
    effects.iter().filter_map(message).collect()
}

pub(super) fn settled(effects: Vec<Effect>) -> Option<Result<Finished, CommandError>> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Settle {
            ticket: TICKET,
            result,
        } => Some(result),
        _ => None,
    })
}

pub(super) fn paused() -> EventBody {
    EventBody::Done {
        outcome: Outcome::Paused { program: program() },
    }
}
