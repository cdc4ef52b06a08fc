//! What a dispatcher asks of an engine. Each command carries an operation id, so that sending it twice
//! does what sending it once does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::folder::FOLDER_BYTES_MAX;
use crate::grants::Grants;
use crate::ids::{Blob, BootId, ClientId, EngineId, Generation, OperationId, ProgramId, Term, is_name};
use crate::limits::*;
use crate::log::Follower;
use crate::ports::Ports;
use crate::wire;

/// One request to one engine. Answers go to [`crate::topics::Topic::Reply`] of `client`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub operation: OperationId,
    pub client: ClientId,
    /// Relative, because clocks differ: counts from when the engine accepts the command.
    pub time_limit_ms: u64,
    pub action: Action,
    /// That of the acting dispatcher, where that commands: an engine refuses it if it has heard a higher one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Term>,
    /// The engine's process that whoever commands knew of when the command was given; it stays through all
    /// repetitions. An engine whose data folder no such process has used has lost what it was told before,
    /// and refuses the command: it may have carried it out already. Of earlier releases, neither clients nor
    /// engines know of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootId>,
}

/// A command as clients write it: with who gave it, for those who listen. Engines read it as a [`Command`],
/// without that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenCommand {
    #[serde(flatten)]
    pub command: Command,
    /// `user@host`, at most [`GIVEN_BY_BYTES_MAX`], as the client says itself: nothing proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The operation that it is a part of, of which nobody but those who listen knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<OperationId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Start a program; with a snapshot, go on from there. What the engine lacks of the module,
    /// standard input and snapshot it asks the client for (see [`crate::peer`]).
    Run {
        program: ProgramId,
        spec: ProgramSpec,
        snapshot: Option<Blob>,
        /// At least this generation: above that of a copy which may still live somewhere else, so that it is
        /// fenced off. `None`: the first.
        generation: Option<Generation>,
        /// Follows its log from the first line on. Engines of earlier releases know nothing of followers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follower: Option<Box<Follower>>,
    },
    Move {
        on: Target,
        target: EngineId,
    },
    /// Copy a running program to `target` under a new id; the original runs on.
    Spawn {
        on: Target,
        target: EngineId,
        copy: ProgramId,
        copy_name: String,
    },
    Pause {
        on: Target,
    },
    /// Run on after a pause. `force` also takes back a program whose move is in doubt: it runs here
    /// again although the target never answered. Only for a target that is gone for good.
    Resume {
        on: Target,
        force: bool,
    },
    /// End a program and forget it.
    Kill {
        on: Target,
    },
    /// Make a snapshot; the client then fetches the blobs that the answer names.
    Snapshot {
        on: Target,
    },
    /// The last lines of a program's log, from line `since` on; from `u64::MAX` on only the number of the
    /// next line.
    Logs {
        on: Target,
        since: u64,
        /// Whoever asks goes on reading.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follower: Option<Follower>,
    },
}

/// A program, and the generation the sender believes in: `None` asks for whichever is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub program: ProgramId,
    pub generation: Option<Generation>,
}

/// Everything that says what a program is; travels with it unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramSpec {
    pub name: String,
    pub module: Blob,
    /// Arguments after the program's name, which is argument 0.
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub stdin: Option<Blob>,
    /// Largest linear memory in bytes; `None` is the engine's default.
    pub memory_bytes_max: Option<u64>,
    /// What it may do besides computing and printing.
    #[serde(default)]
    pub grants: Box<Grants>,
    /// What it declares of its messages. Engines of earlier releases neither keep nor show it.
    #[serde(default, skip_serializing_if = "Ports::is_empty")]
    pub ports: Box<Ports>,
    /// Once it is ready, it says that it is well at least this often, or it is unhealthy. Engines of earlier
    /// releases do not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_every_ms: Option<u64>,
}

impl ProgramSpec {
    /// Checks what came from outside against the limits.
    pub fn check(&self) -> Result<(), Failure> {
        if !is_name(&self.name) {
            return Err(Failure::BadRequest {
                reason: format!("'{}' cannot name a program", self.name),
            });
        }
        let text = self.args.iter().map(|a| a.len() + 1).sum::<usize>()
            + self.env.iter().map(|(k, v)| k.len() + v.len() + 2).sum::<usize>();
        if text > ARGUMENT_BYTES_MAX || self.args.len() + self.env.len() > ARGUMENTS_MAX {
            return Err(Failure::TooLarge {
                what: "arguments and environment".into(),
                bytes: text as u64,
                bytes_max: ARGUMENT_BYTES_MAX as u64,
            });
        }
        if self
            .args
            .iter()
            .chain(self.env.keys())
            .chain(self.env.values())
            .any(|t| t.contains('\0'))
            || self.env.keys().any(|k| k.is_empty() || k.contains('='))
        {
            return Err(Failure::BadRequest {
                reason: "an argument or variable holds a NUL, or is unnamed".into(),
            });
        }
        self.grants.check()?;
        self.ports.check()?;
        let spec_bytes = wire::to_json(self).len() as u64;
        check_bytes("the program's description", spec_bytes, SPEC_BYTES_MAX as u64)?;
        check_bytes("module", self.module.bytes, MODULE_BYTES_MAX)?;
        for (name, folder) in &self.grants.folders {
            check_bytes(name.mount(), folder.bytes, FOLDER_BYTES_MAX)?;
        }
        self.stdin.map_or(Ok(()), |stdin| {
            check_bytes("standard input", stdin.bytes, STDIN_BYTES_MAX)
        })
    }

    /// The blobs a program needs apart from its snapshot.
    pub fn blobs(&self) -> impl Iterator<Item = Blob> + '_ {
        std::iter::once(self.module).chain(self.data())
    }

    /// What it reads besides its module.
    pub fn data(&self) -> impl Iterator<Item = Blob> + '_ {
        self.stdin
            .into_iter()
            .chain(self.grants.folders.values().copied())
    }
}

/// Refuses `bytes` over `bytes_max`, naming `what`.
pub fn check_bytes(what: &str, bytes: u64, bytes_max: u64) -> Result<(), Failure> {
    if bytes <= bytes_max {
        Ok(())
    } else {
        Err(Failure::TooLarge {
            what: what.into(),
            bytes,
            bytes_max,
        })
    }
}

impl Command {
    /// Checks what the types alone cannot promise.
    pub fn check(&self) -> Result<(), Failure> {
        match &self.action {
            Action::Run { spec, snapshot, .. } => {
                spec.check()?;
                snapshot.map_or(Ok(()), |blob| {
                    check_bytes("snapshot", blob.bytes, SNAPSHOT_BYTES_MAX)
                })
            }
            Action::Spawn { copy_name, .. } if !is_name(copy_name) => Err(Failure::BadRequest {
                reason: format!("'{copy_name}' cannot name a program"),
            }),
            _ => Ok(()),
        }
    }
}

impl Action {
    /// The program this is about: for `Run` the one to be made, for the others the one that exists.
    pub fn program(&self) -> ProgramId {
        match self {
            Self::Run { program, .. } => *program,
            Self::Move { on, .. }
            | Self::Spawn { on, .. }
            | Self::Pause { on }
            | Self::Resume { on, .. }
            | Self::Kill { on }
            | Self::Snapshot { on }
            | Self::Logs { on, .. } => on.program,
        }
    }

    pub fn verb(&self) -> &'static str {
        match self {
            Self::Run { snapshot: None, .. } => "run",
            Self::Run { .. } => "restore",
            Self::Move { .. } => "move",
            Self::Spawn { .. } => "spawn",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Kill { .. } => "kill",
            Self::Snapshot { .. } => "snapshot",
            Self::Logs { .. } => "logs",
        }
    }
}

/// The status poll, broadcast on [`crate::topics::Topic::Report`]: every engine publishes its status
/// and says so to `client`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRequest {
    pub operation: OperationId,
    pub client: ClientId,
    /// Only these are asked; none: all. (An engine of an earlier release answers in any case.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<EngineId>,
}

impl ReportRequest {
    pub fn is_for(&self, engine: &EngineId) -> bool {
        self.engines.is_empty() || self.engines.contains(engine)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::device::{Alias, DEVICES_MAX, DeviceKind};
    use crate::event::{Event, EventBody, Outcome};
    use crate::ids::BootId;
    use crate::peer::{Envelope, PeerMessage};

    fn spec(arguments_bytes: usize) -> ProgramSpec {
        let alias = |number| -> Alias { format!("{number:032}").parse().unwrap() };
        ProgramSpec {
            name: "n".repeat(NAME_BYTES_MAX),
            module: Blob::of(b"module"),
            // Each byte takes six of JSON.
            args: vec!["\u{1}".repeat(arguments_bytes)],
            env: BTreeMap::new(),
            stdin: Some(Blob::of(b"stdin")),
            memory_bytes_max: Some(u64::MAX),
            grants: Box::new(Grants {
                devices: (0..DEVICES_MAX).map(alias).collect::<BTreeSet<_>>(),
                ..Grants::default()
            }),
            ports: Box::default(),
            health_every_ms: None,
        }
    }

    #[test]
    fn who_gave_a_command_is_read_by_listeners_and_ignored_by_engines() {
        let command = Command {
            operation: OperationId::from_bytes([1; 16]),
            client: "c".parse().unwrap(),
            time_limit_ms: u64::MAX,
            action: Action::Kill {
                on: Target {
                    program: ProgramId::from_bytes([2; 16]),
                    generation: Some(Generation(u64::MAX)),
                },
            },
            term: Some(Term(7)),
            boot: Some(BootId::from_random([3; 16])),
        };
        let given = GivenCommand {
            command: command.clone(),
            by: Some("ann@desk".into()),
            batch: Some(OperationId::from_bytes([2; 16])),
        };
        let payload = wire::encode(&given);
        assert!(payload.starts_with(br#"{"type":"command","operation""#));
        assert_eq!(
            wire::decode(&payload),
            Ok(command.clone()),
            "as an engine reads it"
        );
        assert_eq!(wire::decode(&payload), Ok(given));
        let of_an_earlier_release = GivenCommand {
            command: command.clone(),
            by: None,
            batch: None,
        };
        assert_eq!(wire::encode(&of_an_earlier_release), wire::encode(&command));
        assert_eq!(wire::decode(&wire::encode(&command)), Ok(of_an_earlier_release));
    }

    /// Whatever carries a description: a program that was taken can be moved and captured too.
    #[test]
    fn the_longest_description_fits_every_message_and_a_longer_one_is_refused_with_the_limit() {
        let longest = (0..)
            .map(|less| spec(19_000 - less))
            .find(|spec| spec.check().is_ok());
        let spec = longest.expect("one of them fits");
        assert!(wire::to_json(&spec).len() > SPEC_BYTES_MAX - 16);
        let (peer, blob): (EngineId, Blob) = ("e".repeat(NAME_BYTES_MAX).parse().unwrap(), spec.module);
        let (program, generation) = (ProgramId::random(), Generation(u64::MAX));
        let command = Command {
            operation: OperationId::random(),
            client: peer.clone(),
            time_limit_ms: u64::MAX,
            action: Action::Run {
                program,
                spec: spec.clone(),
                snapshot: Some(blob),
                generation: Some(generation),
                follower: None,
            },
            term: Some(Term(u64::MAX)),
            boot: Some(BootId::random()),
        };
        let prepare = Envelope {
            operation: OperationId::random(),
            from: peer.clone(),
            message: PeerMessage::Prepare {
                program,
                generation,
                spec: spec.clone(),
                memory_bytes: u64::MAX,
                paused: false,
                devices: spec
                    .grants
                    .devices
                    .iter()
                    .map(|alias| (alias.clone(), DeviceKind::GpioOut))
                    .collect(),
                blobs: vec![blob; 4],
            },
        };
        let key = crate::code::SecretKey::from_random([1; 32]);
        let warrant = crate::trust::warrant::Warrant::sign(&key, &Default::default(), &spec);
        let captured = Event {
            operation: OperationId::random(),
            engine: peer,
            boot: BootId::random(),
            verb: "snapshot".into(),
            program: Some(program),
            body: EventBody::Done {
                outcome: Outcome::Captured {
                    program,
                    generation,
                    spec: spec.clone(),
                    snapshot: blob,
                },
            },
        };
        for bytes in [
            wire::encode(&command).len(),
            prepare
                .encode_with_order(&"\"".repeat(1500), Some(&warrant))
                .len(),
            wire::encode(&captured).len(),
        ] {
            assert!(bytes < PAYLOAD_BYTES_MAX, "{bytes}");
        }
        let refused = self::spec(20_000).check().unwrap_err().to_string();
        assert!(
            refused.contains("the program's description has ") && refused.ends_with("the limit is 114688")
        );
    }
}
