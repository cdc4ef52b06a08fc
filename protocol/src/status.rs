//! What engines retain on the broker about themselves and their programs.
//!
//! An engine's status, its *presence*, is one small message whose size does not depend on what the engine
//! has. Each program has a status of its own, which outlives the engine's. What always holds: on every
//! connection an engine publishes the statuses of all its programs before its presence. So of an engine that
//! is there, whatever has a status of another boot is lost, and nobody needs a list to know that.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::code::{CodeTarget, PublicKey};
use crate::device::{Alias, DeviceAbout};
use crate::health::Health;
use crate::ids::{BootId, Challenge, Digest, EngineId, Generation, OperationId, PeerName, ProgramId};
use crate::labels::Labels;
use crate::ports::Ports;
use crate::trust::place::Place;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    pub engine: EngineId,
    pub boot: BootId,
    /// Grows with each status of one boot: the newest wins whatever order they arrive in.
    pub sequence: u64,
    pub state: EngineState,
    /// Published by the engine itself as it stops in good order. A last will, which any broken connection
    /// publishes, leaves it out, and so do engines that do not know of it: then offline proves nothing yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// The engine is about to stop, and asks the acting dispatcher under this id to move elsewhere what can
    /// be moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<OperationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<EngineAbout>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<MachineLoad>,
    /// Programs that have not ended. Engines of earlier releases do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_programs: Option<u32>,
    /// The statuses of all its programs have higher numbers: they were published on the engine's present
    /// connection. One of its boot that has not is of a program that is gone; a broker that was set back has
    /// brought it back. Engines of earlier releases do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuses_after: Option<u64>,
    /// Another process that has the same id, as two boards with copies of one card have. Of one that is
    /// online: it holds still. Of one that is offline: this engine holds still because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<Rival>,
    /// What orders to it have to answer, where it looks at signatures (see [`crate::trust`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
    /// The key that the engine signs with; nothing but a card of the roster's proves that it is its (see
    /// [`crate::trust::card`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<PublicKey>,
    /// All of the engine's programs, for clients of earlier releases, which know of no other source; empty
    /// where that would take more than [`LISTED_BYTES_MAX`](crate::limits::LISTED_BYTES_MAX).
    #[serde(default)]
    pub programs: Vec<ProgramStatus>,
}

impl EngineStatus {
    /// A status that says nothing but this.
    pub fn new(engine: EngineId, boot: BootId, state: EngineState) -> Self {
        Self {
            engine,
            boot,
            sequence: 0,
            state,
            stopped: false,
            leaving: None,
            about: None,
            load: None,
            live_programs: None,
            statuses_after: None,
            rival: None,
            challenge: None,
            identity: None,
            programs: Vec::new(),
        }
    }
}

/// Another engine under the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rival {
    pub boot: BootId,
    /// The machine that it runs on, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl std::fmt::Display for Rival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = self.host.as_deref().unwrap_or("unknown");
        let host = host.escape_debug();
        write!(f, "another process on host '{host}', boot {}", self.boot.short())
    }
}

/// How busy the engine's machine is, with everything that runs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineLoad {
    pub memory_available_bytes: u64,
    /// Thousandths of a processor that were asked for, over the last minute; may be above what there is.
    pub processor_millicores: u64,
    /// `None` where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskWear>,
}

/// What the engine itself has written to its disk: cards bear only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskWear {
    /// Since the engine's start, in whole pages, as the system counts them.
    pub written_bytes: u64,
    /// Since the engine's start.
    pub seconds: u64,
}

impl DiskWear {
    /// Bytes a day at the pace since the start.
    pub fn written_bytes_per_day(&self) -> u64 {
        let day = u128::from(self.written_bytes) * 86_400 / u128::from(self.seconds.max(1));
        u64::try_from(day).unwrap_or(u64::MAX)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineState {
    Online,
    /// Published by the engine when it stops in good order ([`EngineStatus::stopped`]), or by the broker as
    /// its last will.
    Offline,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineAbout {
    pub version: String,
    /// Like `x86_64-linux`.
    pub platform: String,
    /// Which compiled code it runs.
    pub code: CodeTarget,
    /// Takes WebAssembly as it is; without, it needs code compiled elsewhere.
    pub compiles: bool,
    /// Its programs' statuses have what they say of their health.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tells_health: bool,
    /// It signs its programs' statuses with its own key: one in its name that is not signed is somebody
    /// else's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signs_statuses: bool,
    pub processors: u32,
    pub memory_bytes: u64,
    pub programs_max: u32,
    pub program_memory_bytes_max: u64,
    /// The machine that it runs on: engines of one host fail together.
    pub host: String,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Of one that does not compile: the keys whose signed code it loads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusts: Vec<PublicKey>,
    /// What programs that are granted an alias can use here.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "crate::wire::known_entries"
    )]
    pub devices: BTreeMap<Alias, DeviceAbout>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStatus {
    pub program: ProgramId,
    pub name: String,
    pub engine: EngineId,
    pub boot: BootId,
    pub generation: Generation,
    /// Grows with each status of one generation on one boot.
    pub sequence: u64,
    #[serde(flatten)]
    pub state: ProgramState,
    pub module: Digest,
    /// Linear memory as of the last report; 0 while unknown.
    pub memory_bytes: u64,
    /// What it declares of its messages; bounded by [`PORTS_BYTES_MAX`](crate::ports::PORTS_BYTES_MAX).
    #[serde(default, skip_serializing_if = "Ports::is_empty")]
    pub ports: Box<Ports>,
    /// That a member of the roster has ordered it to be here, as its engine shows ([`Place::show_in`]);
    /// nobody has verified it.
    #[serde(default, skip_serializing, deserialize_with = "place")]
    pub place: Option<Box<Place>>,
    /// As it says itself; `None`: it has said nothing, or something that a later release knows.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "health")]
    pub health: Option<Health>,
    /// Why it is not to be moved or replaced now, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

/// What is no place proves nothing, and makes the rest no worse.
fn place<'de, D: Deserializer<'de>>(read: D) -> Result<Option<Box<Place>>, D::Error> {
    let found = serde_json::Value::deserialize(read)?;
    Ok(serde_json::from_value(found).ok().map(Box::new))
}

/// A word of later releases makes the rest no worse.
fn health<'de, D: Deserializer<'de>>(read: D) -> Result<Option<Health>, D::Error> {
    let word = serde_json::Value::deserialize(read)?;
    Ok(serde_json::from_value(word).ok())
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ProgramState {
    /// Being compiled or restored.
    Starting,
    Running,
    Paused,
    /// On its way to another engine; runs here until frozen for the handover.
    Moving {
        target: EngineId,
    },
    /// Frozen: handed over to `target`, which has not said yet whether it took it.
    InDoubt {
        target: EngineId,
    },
    Exited {
        code: i32,
    },
    /// Trapped, or could not be started.
    Failed {
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
}

/// What of a program's status can have any length, in memory: its name, a reason and what it declares are
/// bounded where they arise, and come to less.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Above that of every program.
pub const TOMBSTONE: Generation = Generation(u64::MAX);
/// What a tombstone is called, and the digest of no module, which it has.
const TOMBSTONE_NAME: &str = "ended";
const NO_MODULE: Digest = Digest([0; 32]);

impl ProgramStatus {
    /// Stands for a program that is no more, as a dispatcher says: whoever still has a copy of it ends that.
    pub fn tombstone(program: ProgramId, name: PeerName) -> Self {
        Self {
            program,
            name: TOMBSTONE_NAME.into(),
            engine: name,
            boot: BootId::from_random([0; 16]),
            generation: TOMBSTONE,
            sequence: 0,
            state: ProgramState::Exited { code: 0 },
            module: NO_MODULE,
            memory_bytes: 0,
            ports: Box::default(),
            place: None,
            health: None,
            hold: None,
        }
    }

    /// Stands for the program that has ended with the copy of this status, as the engine says that had it:
    /// whoever still has an older copy ends that. One that is begun later under this id, in a higher
    /// generation, is none. Readers that know nothing of such tombstones take it for a program that has
    /// ended.
    pub fn into_tombstone(self, sequence: u64) -> Self {
        Self {
            name: TOMBSTONE_NAME.into(),
            sequence,
            state: ProgramState::Exited { code: 0 },
            module: NO_MODULE,
            memory_bytes: 0,
            ports: Box::default(),
            ..self
        }
    }

    /// Whether an engine can say this of a program: of a generation that one can come to, and in no more
    /// words than it has.
    pub fn is_possible(&self) -> bool {
        let can_be = self.generation <= Generation::HIGHEST || self.generation == TOMBSTONE;
        can_be && self.text_bytes() <= TEXT_BYTES_MAX
    }

    /// Bytes of all that others choose the length of.
    fn text_bytes(&self) -> usize {
        let reason = match &self.state {
            ProgramState::Failed { reason } => reason.len(),
            _ => 0,
        };
        let hold = self.hold.as_ref().map_or(0, String::len);
        self.name.len() + reason + hold + self.ports.bytes()
    }

    pub fn is_tombstone(&self) -> bool {
        self.generation == TOMBSTONE || (self.module == NO_MODULE && self.name == TOMBSTONE_NAME)
    }

    /// A tombstone that the engine has left with which the program ended: the acting dispatcher sees to it
    /// that it is taken away.
    pub fn is_tombstone_of_an_engine(&self) -> bool {
        self.is_tombstone() && self.generation != TOMBSTONE
    }
}

impl ProgramState {
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Exited { .. } | Self::Failed { .. })
    }

    /// It is neither about to be somewhere else nor to be something else.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Moving { .. } => "moving",
            Self::InDoubt { .. } => "in doubt",
            Self::Exited { .. } => "exited",
            Self::Failed { .. } => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{ALIAS_BYTES_MAX, Backend, DEVICES_MAX, DeviceKind};
    use crate::labels::LABELS_MAX;
    use crate::limits::{LISTED_BYTES_MAX, NAME_BYTES_MAX, TRUSTED_KEYS_MAX};
    use crate::wire;

    /// What an engine's configuration allows at most: a last will holds no more than 64 KiB.
    #[test]
    fn the_largest_presence_is_small_whatever_the_engine_has() {
        let name = "n".repeat(NAME_BYTES_MAX);
        let label = |number| (format!("{number:064}"), name.clone());
        let about = DeviceAbout {
            kind: DeviceKind::GpioOut,
            backend: Backend::Simulated,
        };
        let device = |number| (format!("{number:0ALIAS_BYTES_MAX$}").parse().unwrap(), about);
        let boot = BootId::from_random([1; 16]);
        let status = EngineStatus {
            sequence: u64::MAX,
            about: Some(EngineAbout {
                version: name.clone(),
                platform: name.clone(),
                code: CodeTarget {
                    architecture: "x".repeat(400),
                    wasmtime: "x".repeat(400),
                    abi: "x".repeat(400),
                },
                compiles: false,
                tells_health: true,
                signs_statuses: true,
                processors: u32::MAX,
                memory_bytes: u64::MAX,
                programs_max: u32::MAX,
                program_memory_bytes_max: u64::MAX,
                host: name.clone(),
                labels: (0..LABELS_MAX).map(label).collect(),
                trusts: vec![crate::code::SecretKey::from_random([1; 32]).public(); TRUSTED_KEYS_MAX],
                devices: (0..DEVICES_MAX).map(device).collect(),
            }),
            live_programs: Some(u32::MAX),
            rival: Some(Rival {
                boot,
                host: Some(name.clone()),
            }),
            ..EngineStatus::new(name.parse().unwrap(), boot, EngineState::Online)
        };
        let bytes = wire::encode(&status).len() + LISTED_BYTES_MAX;
        assert!(bytes < 32 * 1024, "{bytes}");
    }

    #[test]
    fn a_status_of_more_text_than_any_program_has_is_impossible() {
        use crate::health::HOLD_REASON_BYTES_MAX;
        use crate::limits::REASON_BYTES_MAX;
        use crate::ports::{PORTS_BYTES_MAX, Port, Ports};

        let port = Port {
            topic: "t".into(),
            media_type: None,
        };
        let mut ports = Ports::default();
        while wire::to_json(&ports).len() + wire::to_json(&port).len() < PORTS_BYTES_MAX {
            ports.inputs.push(port.clone());
        }
        assert_eq!(ports.check(), Ok(()));
        let largest = ProgramStatus {
            program: ProgramId::from_bytes([1; 16]),
            name: "n".repeat(NAME_BYTES_MAX),
            engine: "a".parse().unwrap(),
            boot: BootId::from_random([1; 16]),
            generation: Generation::HIGHEST,
            sequence: 1,
            state: ProgramState::Failed {
                reason: "r".repeat(REASON_BYTES_MAX),
            },
            module: NO_MODULE,
            memory_bytes: 0,
            ports: Box::new(ports),
            place: None,
            health: None,
            hold: Some("h".repeat(HOLD_REASON_BYTES_MAX)),
        };
        assert!(largest.is_possible());
        let with = |changes: fn(&mut ProgramStatus)| {
            let mut status = largest.clone();
            changes(&mut status);
            status
        };
        for impossible in [
            with(|status| status.name = "n".repeat(TEXT_BYTES_MAX)),
            with(|status| status.hold = Some("h".repeat(TEXT_BYTES_MAX))),
            with(|status| {
                status.state = ProgramState::Failed {
                    reason: "r".repeat(TEXT_BYTES_MAX),
                }
            }),
            with(|status| {
                let port = status.ports.inputs[0].clone();
                status.ports.outputs = vec![port; 1_000];
            }),
            with(|status| status.generation = Generation(Generation::HIGHEST.0 + 1)),
        ] {
            assert!(!impossible.is_possible(), "{impossible:?}");
        }
    }

    /// A status as engines of the last release write it, and one of the next that says more.
    #[test]
    fn statuses_of_other_releases_are_read() {
        let old = r#"{"engine":"a","boot":"00000000000040008000000000000001","sequence":3,"state":"online","programs":[]}"#;
        let status: EngineStatus = wire::decode(old.as_bytes()).unwrap();
        assert_eq!((status.live_programs, status.rival), (None, None));
        let next = old.replace("\"programs\":[]", "\"color\":1");
        assert!(wire::decode::<EngineStatus>(next.as_bytes()).is_ok());
    }
}
