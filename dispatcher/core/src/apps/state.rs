//! What the service remembers across restarts, each piece a record of the journal.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wayfare_fleet::app::ask::{Lasts, Mark};
use wayfare_fleet::app::hold::HoldRecord;
use wayfare_fleet::app::schedule::Schedule;
use wayfare_fleet::app::{AppSpec, ComponentSpec};
use wayfare_protocol::ids::{Blob, BootId, Digest, EngineId, Generation, OperationId, ProgramId};
use wayfare_scheduler::application::{ComponentId, InstanceId};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub apps: BTreeMap<String, App>,
    pub instances: BTreeMap<InstanceId, Instance>,
    pub marks: BTreeMap<EngineId, Mark>,
    pub orphans: BTreeMap<ProgramId, Orphan>,
    pub hold: Option<HoldRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// In order of their numbers, from 1.
    pub versions: Vec<Version>,
    /// The number of the one that is wanted.
    pub current: u64,
    /// Grows with every change that somebody makes.
    pub serial: u64,
    pub standing: Standing,
    /// The version to go back to, while the current one is being rolled out.
    pub fallback: Option<u64>,
    /// Who wants it to be there, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holders: BTreeMap<String, Holder>,
    /// It was begun by a holder, and is removed with the last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_with_holders: bool,
    /// How far that is, if it has been further than at its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roll_out: Option<RollOut>,
}

/// One holder of an application, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub lasts: Lasts,
}

/// A program that may still live on engines that were given up for lost, and is not wanted there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// Where it may be.
    pub engines: BTreeSet<EngineId>,
    /// Its tombstone stands. Kept under its first name.
    #[serde(rename = "buried")]
    pub has_tombstone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RollOut {
    /// The stage that is under way; after the last one come all other engines.
    pub stage: u32,
    /// Since when all that this stage has reached is well, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well_since_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_halted: bool,
    /// It goes back: neither in stages nor at times.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_at_once: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Running,
    Paused,
    /// Forgotten once nothing of it is left.
    Removing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub number: u64,
    pub at_ms: u64,
    pub note: String,
    /// Who asked for it, as that said itself; `None`: nobody did, or a release wrote it that did not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub spec: AppSpec,
}

/// One instance of a component, from its first start until it is not wanted any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub placed: Option<Placed>,
    pub pending: Option<Pending>,
    /// `None`: it was never started, or a release wrote this that did not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Starts>,
    /// Of one that is begun by a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Due>,
    /// Of a component that runs on every engine: the only one that this instance may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<EngineId>,
    /// The engine that its successor is to run on, if that takes it: a stage replaces it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays: Option<EngineId>,
}

/// How far an instance is with its schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// The schedule that this is about.
    pub of: Schedule,
    /// Up to this time, in milliseconds since 1970, its times are seen to.
    pub seen_ms: u64,
    /// It is to be begun, and has not been.
    pub is_due: bool,
}

/// How often an instance was started as it is made now, for people to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    pub revision: Digest,
    /// Not counting the first.
    pub again: u32,
    /// The last, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Starts {
    /// With one more; made in another way, it begins anew.
    pub fn after(before: Option<Self>, revision: Digest, at_ms: u64) -> Self {
        let same = before.filter(|before| before.revision == revision);
        Self {
            revision,
            again: same.map_or(0, |before| before.again.saturating_add(1)),
            at_ms,
        }
    }
}

/// Changes of revision under one program id that are remembered: each needs an engine to be lost in between.
const EARLIER_MAX: usize = 16;

/// The program that an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub program: ProgramId,
    /// Where it is, as far as is known; `None`: nowhere, and to be started again.
    pub seat: Option<EngineId>,
    /// Of the copy there.
    pub generation: Generation,
    /// The highest that any copy has had or was to have: what is started anew goes above it.
    pub highest: Generation,
    pub revision: Digest,
    /// What copies of earlier generations were made as, where that was another revision: those below each of
    /// these, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<(Generation, Digest)>,
    pub checkpoint: Option<Checkpoint>,
    /// It has ended as it should.
    pub complete: bool,
    /// It was paused because its application is.
    pub paused: bool,
    /// Every engine that it has been on hears what it says of itself: only then does silence say something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_heard: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub snapshot: Blob,
    pub at_ms: u64,
}

/// A command that was decided on: given again, under the same id, until it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub operation: OperationId,
    pub doing: Doing,
    /// The process of its engine that was known when it was decided on; `None`: a release decided that did
    /// not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "doing", rename_all = "kebab-case")]
pub enum Doing {
    Start {
        engine: EngineId,
        spec: Box<wayfare_protocol::command::ProgramSpec>,
        snapshot: Option<Blob>,
    },
    Move {
        source: EngineId,
        target: EngineId,
    },
    Kill {
        engine: EngineId,
    },
    Pause {
        engine: EngineId,
    },
    Resume {
        engine: EngineId,
        force: bool,
    },
}

impl Doing {
    /// The engine that is asked.
    pub fn engine(&self) -> &EngineId {
        match self {
            Self::Start { engine, .. }
            | Self::Move { source: engine, .. }
            | Self::Kill { engine }
            | Self::Pause { engine }
            | Self::Resume { engine, .. } => engine,
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Self::Start { .. } => "starting",
            Self::Move { .. } => "moving",
            Self::Kill { .. } => "ending",
            Self::Pause { .. } => "pausing",
            Self::Resume { .. } => "resuming",
        }
    }
}

impl Instance {
    /// The engine that it is on, as far as is known.
    pub fn seat(&self) -> Option<&EngineId> {
        self.placed.as_ref()?.seat.as_ref()
    }

    pub fn is_on(&self, engine: &EngineId) -> bool {
        self.seat() == Some(engine)
    }

    /// It is there, and has not ended.
    pub fn is_alive_on(&self, engine: &EngineId) -> bool {
        self.is_on(engine) && self.placed.as_ref().is_some_and(|placed| !placed.complete)
    }

    /// As what it was made last.
    pub fn last_revision(&self) -> Option<Digest> {
        let placed = self.placed.as_ref().map(|placed| placed.revision);
        placed.or(self.starts.map(|starts| starts.revision))
    }
}

impl Placed {
    /// Its copy of this generation is what counts. That may be one of a revision that was given up meanwhile:
    /// then it is replaced, and no newer one is judged by it.
    pub fn sits(&mut self, seat: EngineId, generation: Generation) {
        self.is_made_as(self.revision_of(generation), self.highest.replacing());
        self.seat = Some(seat);
        self.generation = generation;
        self.highest = self.highest.max(generation);
    }

    /// What its copy of this generation was made as.
    pub fn revision_of(&self, generation: Generation) -> Digest {
        let earlier = self.earlier.iter().find(|(below, _)| generation < *below);
        earlier.map_or(self.revision, |(_, revision)| *revision)
    }

    /// Its copies are of this revision from that generation on, which is above all before.
    pub fn is_made_as(&mut self, revision: Digest, from: Generation) {
        if revision != self.revision {
            self.earlier.push((from, self.revision));
            let too_many = self.earlier.len().saturating_sub(EARLIER_MAX);
            self.earlier.drain(..too_many);
        }
        self.revision = revision;
    }
}

impl App {
    pub fn spec(&self) -> Option<&AppSpec> {
        self.version(self.current).map(|version| &version.spec)
    }

    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }
}

impl State {
    /// From the journal. A record that cannot be read is left out, loudly.
    pub fn read(records: &BTreeMap<String, String>) -> Self {
        let mut state = Self::default();
        for (key, json) in records {
            if state.read_one(key, json).is_none() {
                tracing::error!(key, "cannot read a record");
            }
        }
        state
    }

    fn read_one(&mut self, key: &str, json: &str) -> Option<()> {
        let (kind, name) = key.split_once(':')?;
        match kind {
            "app" => {
                self.apps
                    .insert(name.to_owned(), serde_json::from_str(json).ok()?);
            }
            "instance" => {
                self.instances
                    .insert(instance_id(name)?, serde_json::from_str(json).ok()?);
            }
            "mark" => {
                self.marks
                    .insert(name.parse().ok()?, serde_json::from_str(json).ok()?);
            }
            "hold" => self.hold = Some(serde_json::from_str(json).ok()?),
            "ghost" => {
                self.orphans
                    .insert(name.parse().ok()?, serde_json::from_str(json).ok()?);
            }
            _ => return None,
        }
        Some(())
    }

    /// What an instance is to be made of, if it is wanted.
    pub fn wanted(&self, id: &InstanceId) -> Option<&ComponentSpec> {
        let app = self.apps.get(&id.of.application)?;
        let component = app.spec()?.components.get(&id.of.component)?;
        let is_one = match component.is_everywhere() {
            true => self.home(id).is_some(),
            false => id.ordinal < component.count,
        };
        (app.standing != Standing::Removing && is_one).then_some(component)
    }

    /// What the version before makes of an instance, while another one is rolled out; `None`: it had none.
    pub fn before(&self, id: &InstanceId) -> Option<&ComponentSpec> {
        let app = self.apps.get(&id.of.application)?;
        let version = app.version(app.fallback?)?;
        let component = version.spec.components.get(&id.of.component)?;
        (component.is_everywhere() || id.ordinal < component.count).then_some(component)
    }

    /// Every blob that a version or checkpoint names.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        let versions = self.apps.values().flat_map(|app| &app.versions);
        let components = versions.flat_map(|version| version.spec.components.values());
        let made_of = components.flat_map(ComponentSpec::blobs);
        let placed = self
            .instances
            .values()
            .filter_map(|instance| instance.placed.as_ref());
        let checkpoints = placed.filter_map(|placed| placed.checkpoint.map(|point| point.snapshot));
        let started = self
            .instances
            .values()
            .filter_map(|instance| match &instance.pending {
                Some(Pending {
                    doing: Doing::Start { spec, snapshot, .. },
                    ..
                }) => Some(spec.blobs().chain(*snapshot)),
                _ => None,
            });
        made_of
            .chain(checkpoints)
            .chain(started.flatten())
            .map(|blob| blob.digest)
    }
}

fn instance_id(text: &str) -> Option<InstanceId> {
    let mut parts = text.splitn(3, '/');
    let of = ComponentId::new(parts.next()?, parts.next()?);
    let ordinal = parts.next()?.parse().ok()?;
    Some(InstanceId { of, ordinal })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was made as 1, then as 2 above a copy that may live, went on as the copy of 1 after all, and was
    /// made as 3 above both.
    #[test]
    fn a_copy_of_before_is_of_the_revision_that_it_was_made_as() {
        let revision = |number| Digest([number; 32]);
        let mut placed = Placed {
            program: ProgramId::from_bytes([1; 16]),
            seat: None,
            generation: Generation(1),
            highest: Generation(1),
            revision: revision(1),
            earlier: Vec::new(),
            checkpoint: None,
            complete: false,
            paused: false,
            is_heard: false,
        };
        placed.is_made_as(revision(1), Generation(1001));
        assert!(placed.earlier.is_empty());
        placed.is_made_as(revision(2), Generation(2001));
        placed.highest = Generation(2001);
        assert_eq!(placed.revision_of(Generation(1)), revision(1));
        assert_eq!(placed.revision_of(Generation(2001)), revision(2));
        placed.is_made_as(revision(1), Generation(2002));
        placed.is_made_as(revision(3), Generation(3001));
        for (generation, number) in [(1, 1), (1001, 1), (2001, 2), (2002, 1), (3001, 3), (4001, 3)] {
            assert_eq!(
                placed.revision_of(Generation(generation)),
                revision(number),
                "{generation}"
            );
        }
        for generation in 4..40 {
            placed.is_made_as(revision(generation), Generation(u64::from(generation) * 1000 + 1));
        }
        assert_eq!(placed.earlier.len(), EARLIER_MAX);
        assert_eq!(placed.revision_of(Generation(38_500)), revision(38));
    }
}
