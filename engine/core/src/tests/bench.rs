//! A core on a bench: inputs in short, effects as words. Statuses are left out of the words.

use wayfare_protocol::command::{Action, Command, ProgramSpec, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::EventBody;
use wayfare_protocol::ids::{Blob, BootId, Digest, Generation, OperationId, PeerName, ProgramId};
use wayfare_protocol::peer::{Envelope, PeerMessage};

use crate::Core;
use crate::types::{
    CaptureId, Disposition, Effect, Identity, Input, Now, Record, RecordKey, Standing, Verdict,
};

pub(super) const SECOND: u64 = 1_000_000;

pub(super) struct Bench {
    pub(super) core: Core,
    pub(super) now: u64,
    /// What survives a restart.
    pub(super) records: std::collections::BTreeMap<RecordKey, Record>,
    pub(super) effects: Vec<Effect>,
}

pub(super) fn peer(name: &str) -> PeerName {
    name.parse().unwrap()
}

pub(super) fn operation(number: u8) -> OperationId {
    OperationId::from_random([number; 16])
}

pub(super) fn program(number: u8) -> ProgramId {
    ProgramId::from_random([number; 16])
}

pub(super) fn blob(name: &str) -> Blob {
    Blob {
        digest: Digest::of(name.as_bytes()),
        bytes: 10,
    }
}

pub(super) fn spec() -> ProgramSpec {
    ProgramSpec {
        name: "p".into(),
        module: blob("module"),
        args: vec![],
        env: [].into(),
        stdin: None,
        memory_bytes_max: None,
        grants: Default::default(),
        ports: Default::default(),
        health_every_ms: None,
    }
}

pub(super) fn on(number: u8) -> Target {
    Target {
        program: program(number),
        generation: None,
    }
}

pub(super) fn command(number: u8, action: Action) -> Input {
    Input::Command(Command {
        operation: operation(number),
        client: peer("client"),
        time_limit_ms: 30_000,
        term: None,
        boot: None,
        action,
    })
}

/// As it was given when that process was known.
pub(super) fn command_for(boot: Option<u8>, number: u8, action: Action) -> Input {
    let Input::Command(command) = command(number, action) else {
        unreachable!("it is one");
    };
    let boot = boot.map(|number| BootId::from_random([number; 16]));
    Input::Command(Command { boot, ..command })
}

pub(super) fn move_to(number: u8, target: &str) -> Input {
    command(
        number,
        Action::Move {
            on: on(1),
            target: peer(target),
        },
    )
}

pub(super) fn says(from: &str, number: u8, message: PeerMessage) -> Input {
    Input::Peer(Envelope {
        operation: operation(number),
        from: peer(from),
        message,
    })
}

pub(super) fn acknowledges(from: &str, number: u8, name: &str) -> Input {
    let message = PeerMessage::Ack {
        digest: blob(name).digest,
        received: blob(name).bytes,
    };
    says(from, number, message)
}

pub(super) fn chunk(from: &str, number: u8, name: &str) -> Input {
    Input::Chunk {
        operation: operation(number),
        from: peer(from),
        blob: blob(name),
        offset: 0,
        bytes: blob(name).bytes,
    }
}

pub(super) fn complete(name: &str) -> Input {
    Input::BlobComplete {
        blob: blob(name),
        intact: true,
    }
}

pub(super) fn loaded(number: u8) -> Input {
    Input::ModuleLoaded {
        operation: operation(number),
        result: Ok(()),
    }
}

pub(super) fn started() -> Input {
    Input::Started {
        program: program(1),
        result: Ok(()),
    }
}

pub(super) fn captured(capture: u64, name: &str) -> Input {
    Input::Captured {
        program: program(1),
        capture: CaptureId(capture),
        result: Ok(blob(name)),
    }
}

pub(super) fn refused() -> PeerMessage {
    PeerMessage::Refused {
        failure: Failure::Cancelled,
    }
}

pub(super) fn adopted(generation: u64) -> PeerMessage {
    PeerMessage::Adopted {
        generation: Generation(generation),
    }
}

/// Program 1 is about to come from `e1`.
pub(super) fn prepare(generation: u64) -> PeerMessage {
    PeerMessage::Prepare {
        program: program(1),
        generation: Generation(generation),
        spec: spec(),
        memory_bytes: 0,
        paused: false,
        devices: Default::default(),
        blobs: vec![blob("module"), blob("base")],
    }
}

pub(super) fn commit() -> PeerMessage {
    PeerMessage::Commit {
        snapshot: blob("final"),
        base: Some(blob("base")),
    }
}

pub(super) fn run() -> Action {
    Action::Run {
        program: program(1),
        spec: spec(),
        snapshot: None,
        generation: None,
        follower: None,
    }
}

impl Bench {
    pub(super) fn new(name: &str) -> Self {
        let (core, effects) = Core::new(identity(name), vec![], Now(0));
        assert!(effects.is_empty());
        Self {
            core,
            now: 0,
            records: [].into(),
            effects,
        }
    }

    /// Engine `e1`, where operation 1 has started program 1.
    pub(super) fn running() -> Self {
        let mut bench = Self::new("e1");
        bench.feed(command(1, run()));
        bench.feed(chunk("client", 1, "module"));
        bench.feed(complete("module"));
        bench.feed(loaded(1));
        assert_eq!(
            bench.words(started()),
            ["store running", "unfreeze", "store done", "reply done"]
        );
        bench
    }

    /// ... and operation 2 has offered it to `e2`.
    pub(super) fn offered() -> Self {
        let mut bench = Self::running();
        bench.feed(move_to(2, "e2"));
        bench.feed(acknowledges("e2", 2, "module"));
        bench.feed(captured(1, "base"));
        bench.feed(acknowledges("e2", 2, "base"));
        bench.feed(captured(2, "final"));
        assert!(bench.effects.iter().any(|e| word(e) == "say commit"));
        bench
    }

    pub(super) fn feed(&mut self, input: Input) -> &[Effect] {
        let effects = self.core.handle(input, Now(self.now));
        self.keep(effects)
    }

    fn keep(&mut self, effects: Vec<Effect>) -> &[Effect] {
        for effect in &effects {
            match effect {
                Effect::Store(record) => {
                    self.records.insert(record.key(), record.clone());
                }
                Effect::Erase(key) => {
                    self.records.remove(key);
                }
                _ => {}
            }
        }
        self.effects = effects;
        &self.effects
    }

    pub(super) fn words(&mut self, input: Input) -> Vec<String> {
        let effects = self.feed(input);
        effects.iter().map(word).filter(|w| !w.is_empty()).collect()
    }

    /// Time passes, with every wakeup taken.
    pub(super) fn wait(&mut self, us: u64) -> Vec<String> {
        let end = self.now + us;
        let mut words = Vec::new();
        while let Some(at) = self.core.next_wakeup().filter(|at| at.0 <= end) {
            assert!(at.0 > self.now, "a wakeup that changes nothing");
            self.now = at.0;
            words.extend(self.words(Input::Tick));
        }
        self.now = end;
        words
    }

    /// The engine is killed and starts again from what was written.
    pub(super) fn restart(&mut self) -> Vec<String> {
        let identity = self.core.identity.clone();
        let written = self.records.values().map(|r| serde_json::to_string(r).unwrap());
        let records = written.map(|text| serde_json::from_str(&text).unwrap()).collect();
        let (core, effects) = Core::new(identity, records, Now(0));
        (self.core, self.now) = (core, 0);
        let effects = self.keep(effects);
        effects.iter().map(word).filter(|w| !w.is_empty()).collect()
    }

    pub(super) fn state(&self) -> &'static str {
        let statuses = self.core.statuses();
        statuses.first().map_or("gone", |status| status.state.word())
    }

    /// Why the last answer was a failure.
    pub(super) fn failure(&self) -> Failure {
        self.effects
            .iter()
            .find_map(|effect| match effect {
                Effect::Reply { event, .. } => match &event.body {
                    EventBody::Failed { failure } => Some(failure.clone()),
                    _ => None,
                },
                _ => None,
            })
            .expect("nothing failed")
    }
}

fn identity(name: &str) -> Identity {
    Identity {
        engine: peer(name),
        boot: BootId::from_random([7; 16]),
        earlier_boots: [BootId::from_random([6; 16])].into(),
        programs_max: 4,
        program_memory_bytes_max: 1 << 20,
        programs_memory_bytes_max: 3 << 19,
        devices: Default::default(),
        checkpoint_interval_us: None,
    }
}

pub(super) fn word(effect: &Effect) -> String {
    match effect {
        Effect::Store(Record::Operation(record)) => match &record.answer {
            None => "store accepted".into(),
            Some(EventBody::Done { .. }) => "store done".into(),
            Some(_) => "store failed".into(),
        },
        Effect::Store(Record::Program(record)) => match &record.disposition {
            Disposition::Running => "store running".into(),
            Disposition::Paused => "store paused".into(),
            Disposition::Offered { .. } => "store offered".into(),
            Disposition::Ended { .. } => "store ended".into(),
        },
        Effect::Store(Record::Arrival(record)) => match record.verdict {
            Verdict::Adopted { .. } => "store adopted".into(),
            Verdict::Refused { .. } => "store refused".into(),
        },
        Effect::Erase(RecordKey::Program(_)) => "erase program".into(),
        Effect::Erase(RecordKey::Operation(_)) => "erase operation".into(),
        Effect::Erase(RecordKey::Arrival(_)) => "erase arrival".into(),
        Effect::Reply { event, .. } => match event.body {
            EventBody::Accepted => "reply accepted".into(),
            EventBody::Progress { phase, .. } => format!("progress {phase:?}").to_lowercase(),
            EventBody::Done { .. } => "reply done".into(),
            EventBody::Failed { .. } => "reply failed".into(),
        },
        Effect::Peer { message, .. } => {
            let text = format!("{message:?}").to_lowercase();
            let word = text.split([' ', '{']).next().unwrap_or_default();
            format!("say {word}")
        }
        Effect::SendChunk { .. } => "send chunk".into(),
        Effect::KeepChunk { .. } => "keep chunk".into(),
        Effect::LoadModule { .. } => "load module".into(),
        Effect::VerifySnapshot { .. } => "verify".into(),
        Effect::Start { frozen: true, .. } => "start frozen".into(),
        Effect::Start { .. } => "start".into(),
        Effect::Capture {
            then: Standing::Running,
            ..
        } => "capture".into(),
        Effect::Capture { .. } => "freeze and capture".into(),
        Effect::Unfreeze { .. } => "unfreeze".into(),
        Effect::Discard { .. } => "discard".into(),
        Effect::ClearProgram { tombstone: None, .. } => "clear".into(),
        Effect::ClearProgram { .. } => "clear, leaving a tombstone".into(),
        Effect::ReplyLogs { .. } => "reply logs".into(),
        Effect::PublishEngine { .. } | Effect::PublishProgram(_) => String::new(),
    }
}
