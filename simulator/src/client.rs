//! A front end that sends commands without much sense, some of them twice, and takes part in transfers.

pub(crate) mod state;

use std::collections::BTreeMap;

use wayfare_core::types::RecordKey;
use wayfare_protocol::command::{Action, Command, ProgramSpec, Target};
use wayfare_protocol::event::{Event, EventBody, Outcome, Phase};
use wayfare_protocol::ids::{Blob, ClientId, EngineId, Generation, OperationId, PeerName, ProgramId};
use wayfare_protocol::limits::CHUNK_BYTES;
use wayfare_protocol::peer::{Envelope, PeerMessage};

use crate::packet::{Content, Packet};
use crate::shell::state::Engine;
use crate::world::World;

impl World {
    pub(super) fn client_acts(&mut self) {
        let engines: Vec<EngineId> = self.engines.iter().map(|e| e.name.clone()).collect();
        let mut to = self.random.pick(&engines).clone();
        let target = self.random.pick(&engines).clone();
        let known = self.client.programs();
        let share = if known.len() < 3 { 300 } else { 50 };
        let action = if known.is_empty() || self.random.per_mille(share) {
            self.make_run()
        } else {
            let program = *self.random.pick(&known);
            if !self.random.per_mille(100) {
                let there = self.engines_with(program).into_iter().next();
                to = there.map_or(self.client.known[&program].clone(), |e| {
                    self.engines[e].name.clone()
                });
            }
            let target = match engines.iter().filter(|e| **e != to).collect::<Vec<_>>() {
                others if !self.random.per_mille(50) => (*self.random.pick(&others)).clone(),
                _ => target,
            };
            let on = Target {
                program,
                generation: None,
            };
            let anew = match self.begins_anew {
                true => self.random.below(4),
                false => 1,
            };
            match self.random.below(24) {
                _ if anew == 0 => return self.begin_anew(program),
                0..=13 => Action::Move { on, target },
                14..=15 => Action::Spawn {
                    on,
                    target,
                    copy: ProgramId::from_random(self.random.bytes()),
                    copy_name: "copy".into(),
                },
                16..=17 => Action::Pause { on },
                18..=19 => Action::Resume { on, force: false },
                20 => Action::Resume {
                    on,
                    force: self.by_force,
                },
                21 => Action::Kill { on },
                _ => Action::Snapshot { on },
            }
        };
        self.command(to, action);
    }

    fn command(&mut self, to: EngineId, action: Action) {
        let engine = self.engines.iter().position(|engine| engine.name == to);
        let command = Command {
            boot: engine.and_then(|engine| self.boot_id(engine)),
            operation: OperationId::from_random(self.random.bytes()),
            client: self.client.name.clone(),
            time_limit_ms: 1000 + self.random.below(30_000),
            term: None,
            action,
        };
        self.oracle.commanded(&command);
        self.note(|| format!("client commands {to:?}: {command:?}"));
        self.client.sent.push((to.clone(), command.clone()));
        for _ in 0..1 + self.random.below(2) {
            self.send(to.clone(), Packet::Command(command.clone()));
        }
    }

    fn make_run(&mut self) -> Action {
        let module = self.new_blob(Content::Plain);
        let stdin = self.random.per_mille(300).then(|| self.new_blob(Content::Plain));
        let snapshot = self.random.per_mille(200).then(|| {
            let content = Content::Snapshot {
                counter: 5,
                base: None,
                talk: None,
            };
            self.new_blob(content)
        });
        Action::Run {
            program: ProgramId::from_random(self.random.bytes()),
            spec: ProgramSpec {
                name: "p".into(),
                module,
                args: vec![],
                env: BTreeMap::new(),
                stdin,
                memory_bytes_max: None,
                grants: Default::default(),
                ports: Default::default(),
                health_every_ms: None,
            },
            snapshot,
            generation: None,
            follower: None,
        }
    }

    /// Under the id that it has or had, above all its generations: from the beginning, or from any snapshot
    /// there is of it.
    fn begin_anew(&mut self, program: ProgramId) {
        let holds = |engine: &&Engine| {
            engine.has_process(program) || engine.records.contains_key(&RecordKey::Program(program))
        };
        let free: Vec<EngineId> = self
            .engines
            .iter()
            .filter(|engine| !holds(engine))
            .map(|engine| engine.name.clone())
            .collect();
        if free.is_empty() {
            return;
        }
        let to = self.random.pick(&free).clone();
        let mine = self.client.captured.iter().filter(|(of, _)| *of == program);
        let mine: Vec<Option<Blob>> = mine.map(|(_, blob)| Some(*blob)).chain([None]).collect();
        let from = *self.random.pick(&mine);
        let Action::Run { spec, .. } = self.make_run() else {
            return;
        };
        self.client.lives += 1;
        let action = Action::Run {
            program,
            spec,
            snapshot: from,
            generation: Some(Generation(self.client.lives * 100_000)),
            follower: None,
        };
        self.command(to, action);
    }

    pub(super) fn hear_event(&mut self, client: &ClientId, event: Event) {
        assert_eq!(*client, self.client.name);
        self.answer_dispatcher(&event);
        match &event.body {
            EventBody::Done {
                outcome: Outcome::Running { program, .. },
            } => {
                self.client.known.insert(*program, event.engine.clone());
            }
            EventBody::Done {
                outcome: Outcome::Moved { program, target, .. },
            } => {
                self.client.known.insert(*program, target.clone());
            }
            EventBody::Done {
                outcome: Outcome::Spawned { copy, target },
            } => {
                self.client.known.insert(*copy, target.clone());
            }
            EventBody::Done {
                outcome: Outcome::Captured { spec, snapshot, .. },
            } => {
                if let Some(program) = event.program {
                    self.client.captured.push((program, *snapshot));
                }
                let blobs: BTreeMap<Blob, u64> = spec.blobs().chain([*snapshot]).map(|b| (b, 0)).collect();
                let missing = blobs.keys().map(|b| b.digest).collect();
                self.client.downloads.insert(event.operation, blobs);
                self.client_says(&event.engine, event.operation, PeerMessage::Want { missing });
            }
            EventBody::Progress {
                phase: Phase::InDoubt,
                ..
            } if self.by_force && self.random.per_mille(300) => {
                let program = event.program.expect("a move is of a program");
                let on = Target {
                    program,
                    generation: None,
                };
                self.command(event.engine.clone(), Action::Resume { on, force: true });
            }
            _ => {}
        }
        self.oracle_hears(event);
    }

    fn client_says(&mut self, to: &PeerName, operation: OperationId, message: PeerMessage) {
        let from = self.client.name.clone();
        let envelope = Envelope {
            operation,
            from,
            message,
        };
        self.send(to.clone(), Packet::Message(envelope));
    }

    pub(super) fn client_hears(&mut self, packet: Packet) {
        match packet {
            Packet::Message(Envelope {
                operation,
                from,
                message: PeerMessage::Want { missing },
            }) => {
                let sent = self.client.sent.iter().find(|(_, c)| c.operation == operation);
                let Some((_, command)) = sent else {
                    return;
                };
                let Action::Run { spec, snapshot, .. } = &command.action else {
                    return;
                };
                let blobs: Vec<Blob> = spec.blobs().chain(*snapshot).collect();
                for blob in blobs.into_iter().filter(|b| missing.contains(&b.digest)) {
                    self.upload(&from, operation, blob);
                }
            }
            Packet::Chunk {
                operation,
                from,
                blob,
                offset,
                bytes,
                ..
            } => {
                let place = self
                    .client
                    .downloads
                    .get_mut(&operation)
                    .and_then(|blobs| blobs.get_mut(&blob));
                let Some(place) = place else {
                    return;
                };
                if *place == offset {
                    *place += bytes;
                }
                let (digest, received) = (blob.digest, *place);
                self.client_says(&from, operation, PeerMessage::Ack { digest, received });
            }
            Packet::Message(_) | Packet::Command(_) | Packet::Status { .. } => {}
        }
    }

    fn upload(&mut self, to: &PeerName, operation: OperationId, blob: Blob) {
        let mut offset = 0;
        loop {
            let bytes = (blob.bytes - offset).min(CHUNK_BYTES as u64);
            let packet = Packet::Chunk {
                operation,
                from: self.client.name.clone(),
                blob,
                offset,
                bytes,
                damaged: false,
            };
            self.send(to.clone(), packet);
            offset += bytes;
            if offset == blob.bytes {
                return;
            }
        }
    }
}
