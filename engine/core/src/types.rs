//! What goes into the core and what comes out: the whole contract between the part that decides and the
//! part that acts.
//!
//! The shell carries the effects of one input out *in order*; [`Effect::Store`] and [`Effect::Erase`] are
//! durable before the next one begins. So "store, then say" is simply the order of two effects. Bytes never
//! enter the core: it speaks of blobs by digest and length, and the shell has them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wayfare_protocol::command::{Command, ProgramSpec};
use wayfare_protocol::device::{Alias, DeviceKind};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{Event, EventBody};
use wayfare_protocol::health::Claims;
use wayfare_protocol::ids::{
    Blob, BootId, ClientId, Digest, EngineId, Generation, OperationId, PeerName, ProgramId,
};
use wayfare_protocol::log::Follower;
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::status::{ProgramState, ProgramStatus};

/// Microseconds since the engine's process began; never the wall clock, which may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

/// Who and what this engine is.
#[derive(Debug, Clone)]
pub struct Identity {
    pub engine: EngineId,
    pub boot: BootId,
    /// Processes before this one whose records these are. Whoever commands names the process that it knew of
    /// ([`Command::boot`]): what was meant for any other is not for what is here.
    pub earlier_boots: BTreeSet<BootId>,
    pub programs_max: usize,
    pub program_memory_bytes_max: u64,
    /// Of all programs together.
    pub programs_memory_bytes_max: u64,
    /// What programs can be granted here.
    pub devices: BTreeMap<Alias, DeviceKind>,
    /// How often a running program is checkpointed; `None`: only when it moves, pauses or is asked.
    pub checkpoint_interval_us: Option<u64>,
}

/// What the engine's disk takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    HasRoom,
    /// Records still have room of their own, new programs have none.
    Full,
    /// The last try to store something failed.
    Stalled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A command from a client; already bounded by `Command::check`'s caller or not: the core checks.
    Command(Command),
    /// A message of a transfer, other than a chunk.
    Peer(Envelope),
    /// A chunk whose bytes the shell holds until this input's effects are done.
    Chunk {
        operation: OperationId,
        from: PeerName,
        blob: Blob,
        offset: u64,
        bytes: u64,
    },
    /// The last byte of a blob was kept; `intact` says whether it matches its digest. If it does, it is
    /// stored durably, otherwise the shell has thrown it away.
    BlobComplete { blob: Blob, intact: bool },
    /// What arrived of a blob could not be kept, as on a full disk, and is gone.
    BlobFailed { blob: Blob, failure: Failure },
    /// Answer to [`Effect::LoadModule`].
    ModuleLoaded {
        operation: OperationId,
        result: Result<(), Failure>,
    },
    /// Answer to [`Effect::VerifySnapshot`].
    SnapshotVerified {
        operation: OperationId,
        result: Result<(), Failure>,
    },
    /// Answer to [`Effect::Start`].
    Started {
        program: ProgramId,
        result: Result<(), Failure>,
    },
    /// Answer to [`Effect::Capture`]: encoded, and stored durably when that was asked.
    Captured {
        program: ProgramId,
        capture: CaptureId,
        result: Result<Blob, Failure>,
    },
    /// A [`Effect::Capture`] waits, while the program runs, until the code is compiled that lets it go on
    /// afterwards.
    CaptureCompiles { program: ProgramId, capture: CaptureId },
    /// A program exited or trapped by itself. May come instead of an answer to any of the above.
    Ended { program: ProgramId, state: ProgramState },
    /// A program has said something of itself.
    Claimed { program: ProgramId, claims: Claims },
    /// Linear memory in use, as the shell last saw it; for statuses.
    MemoryBytes { program: ProgramId, bytes: u64 },
    /// A program has been sent so much since its last stored snapshot that another should be made soon.
    CheckpointWanted { program: ProgramId },
    /// Another engine's status says that it has `program` at `generation`. The shell feeds every such status
    /// for a program that this core names in its statuses: of a higher generation than here, the copy here
    /// ends; of a lower one, the status from here is published again, so that the other hears of it.
    Fenced {
        program: ProgramId,
        generation: Generation,
    },
    /// What stands at the broker in the place of a program's status: what this core published last of it, or
    /// something else, which is not to stay there. Of another engine's status that is believed,
    /// [`Input::Fenced`] is fed instead.
    StatusHeard { program: ProgramId, stands: bool },
    /// The link is up: statuses must be published again.
    Connected,
    /// Somebody asked for a report of the status.
    Report {
        operation: OperationId,
        client: ClientId,
    },
    /// Something has changed that the shell adds to the engine's status.
    StatusChanged,
    /// The engine is about to end in good order: programs that run are stored, and stand still from there on,
    /// so that the next start goes on exactly where they were.
    Stopping,
    /// Time has passed.
    Tick,
}

/// Names one capture, so that an answer finds the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaptureId(pub u64);

#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a few at a time, and carried out at once"
)]
pub enum Effect {
    /// Durable before the next effect, and so are the blobs that a program's record names.
    Store(Record),
    Erase(RecordKey),

    /// To the reply topic of `client` and the engine's event topic.
    Reply {
        client: ClientId,
        event: Event,
    },
    /// A message of a transfer without bytes.
    Peer {
        to: PeerName,
        operation: OperationId,
        message: PeerMessage,
    },
    /// `PeerMessage::Chunk` with `bytes` bytes of a blob that the shell has.
    SendChunk {
        to: PeerName,
        operation: OperationId,
        blob: Blob,
        offset: u64,
        bytes: u64,
    },
    /// The retained status of the engine: the shell adds what it knows about the machine.
    PublishEngine {
        sequence: u64,
        /// Of before the connection: those of all programs are higher.
        statuses_after: u64,
        /// Programs that have not ended, and those of them that run.
        live: u32,
        running: u32,
        /// All programs, or none if they would take too much of a message.
        listed: Vec<ProgramStatus>,
    },
    PublishProgram(ProgramStatus),
    /// Clears the retained status of a program that is gone, or replaces it: where an engine that is away may
    /// have an older copy, a tombstone tells it so when it is back.
    ClearProgram {
        program: ProgramId,
        tombstone: Option<Box<ProgramStatus>>,
    },

    /// Append the bytes of the chunk in hand to the blob's partial file (`offset` 0 begins it anew). After
    /// the last byte the shell feeds `BlobComplete`.
    KeepChunk {
        blob: Blob,
        offset: u64,
    },
    /// Rewrite and compile it, or find that done already; answers `ModuleLoaded`. With `resumes` also what
    /// programs need to go on from a snapshot.
    LoadModule {
        operation: OperationId,
        module: Digest,
        resumes: bool,
    },
    /// Decode, join with its base, check against module and limits; answers `SnapshotVerified`. Both blobs
    /// are here, complete and durable; a `Start` from the same `saved` usually follows at once.
    VerifySnapshot {
        operation: OperationId,
        saved: Saved,
        module: Digest,
    },

    /// Start a program from its stored snapshot or from the beginning; `frozen`: do not run it yet, hold
    /// it at its site. Answers `Started`.
    Start {
        program: ProgramId,
        spec: ProgramSpec,
        generation: Generation,
        /// See [`ProgramRecord::begun`].
        begun: Generation,
        saved: Option<Saved>,
        frozen: bool,
        /// It has been here, and is started again: it is not refused for what the machine is like now.
        is_known: bool,
        /// Follows its log from the first line on.
        follower: Option<Box<Follower>>,
    },
    /// Bring it to a stop unless it is stopped, copy its state, and let it run on at once if that is its
    /// standing then. Encode as `purpose` says and keep the blob; answers `Captured`. At most one is under
    /// way per program.
    Capture {
        program: ProgramId,
        capture: CaptureId,
        purpose: Purpose,
        then: Standing,
    },
    /// Let a frozen program run on in place; nothing if it runs.
    Unfreeze {
        program: ProgramId,
        generation: Generation,
        /// See [`ProgramRecord::begun`].
        begun: Generation,
    },
    /// End it without a trace, wherever it is; no answer follows, not even `Ended`.
    Discard {
        program: ProgramId,
    },
    /// The last lines of its log from `since`, to `client` as the operation's final event, which the shell
    /// makes because it has the lines.
    ReplyLogs {
        client: ClientId,
        operation: OperationId,
        program: ProgramId,
        since: u64,
        follower: Option<Follower>,
    },
}

/// Whether a program is meant to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Running,
    Paused,
}

/// The purpose of a capture, from which follows how it is encoded and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Checkpoint,
    Pause(OperationId),
    /// For a client.
    Snapshot(OperationId),
    /// For a spawn.
    Copy(OperationId),
    /// What a move sends while the program runs on.
    Base(OperationId),
    /// What a move sends while the program stands still: relative to its base where there is one.
    Final(OperationId, Option<Blob>),
}

impl Purpose {
    pub fn operation(self) -> Option<OperationId> {
        match self {
            Self::Checkpoint => None,
            Self::Pause(id) | Self::Snapshot(id) | Self::Copy(id) | Self::Base(id) | Self::Final(id, _) => {
                Some(id)
            }
        }
    }

    /// An earlier capture of the same program that this one is encoded relative to; a shell that has it no
    /// more makes a whole one.
    pub fn base(self) -> Option<Blob> {
        match self {
            Self::Final(_, base) => base,
            Self::Checkpoint | Self::Pause(_) | Self::Snapshot(_) | Self::Copy(_) | Self::Base(_) => None,
        }
    }

    /// Whether a record will name it, so that it must survive a restart.
    pub fn is_durable(self) -> bool {
        match self {
            Self::Checkpoint | Self::Pause(_) | Self::Base(_) | Self::Final(..) => true,
            Self::Snapshot(_) | Self::Copy(_) => false,
        }
    }

    /// Whether the program is about to move away: room is kept for that when the disk is full.
    pub fn is_leaving(self) -> bool {
        matches!(self, Self::Base(_) | Self::Final(..))
    }

    /// Whether the program goes on only when somebody says so.
    pub fn stops(self) -> bool {
        matches!(self, Self::Pause(_) | Self::Final(..))
    }
}

/// What survives `kill -9`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "one at a time, and taken apart at once")]
pub enum Record {
    Operation(OperationRecord),
    Program(ProgramRecord),
    Arrival(ArrivalRecord),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey {
    Operation(OperationId),
    Program(ProgramId),
    Arrival(OperationId),
}

impl Record {
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Operation(record) => RecordKey::Operation(record.command.operation),
            Self::Program(record) => RecordKey::Program(record.program),
            Self::Arrival(record) => RecordKey::Arrival(record.operation),
        }
    }
}

/// A command that was accepted, and its final answer once there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRecord {
    pub command: Command,
    /// Order of acceptance, for throwing away the oldest.
    pub sequence: u64,
    pub answer: Option<EventBody>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRecord {
    pub program: ProgramId,
    pub spec: ProgramSpec,
    pub generation: Generation,
    /// As which generation its life began, if it began here: what the program numbers has numbers of this
    /// life from then on (see [`wayfare_protocol::life`]), though `saved` may be of an earlier one. 0: it
    /// goes on with the life that `saved` is of.
    #[serde(default = "no_generation")]
    pub begun: Generation,
    /// `None`: from the beginning.
    pub saved: Option<Saved>,
    pub disposition: Disposition,
    /// The operation that brought it here. This record is the moment of adoption: while it names an
    /// operation, that operation's verdict is `Adopted`, whether or not an `ArrivalRecord` says so too.
    pub arrived: OperationId,
}

fn no_generation() -> Generation {
    Generation(0)
}

/// A program's state in blobs that were stored durably: a snapshot that is whole, or one that joins with its
/// base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub snapshot: Blob,
    pub base: Option<Blob>,
}

/// What a restarted engine does with a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Disposition {
    Running,
    Paused,
    /// Handed over under `operation` with the record's `saved`: stands still until `target` has given its
    /// verdict.
    Offered {
        operation: OperationId,
        target: EngineId,
        was_paused: bool,
    },
    Ended {
        state: ProgramState,
    },
}

/// The target's verdict, given once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrivalRecord {
    pub operation: OperationId,
    pub sequence: u64,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    Adopted { generation: Generation },
    Refused { failure: Failure },
}
