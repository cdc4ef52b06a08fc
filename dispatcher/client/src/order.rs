//! What a front end asks for, in its own words: programs and engines by what people type. [`Order`] is
//! resolved against the fleet view and checked before anything is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use wayfare_protocol::bundle;
use wayfare_protocol::command::{Action, ProgramSpec, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::folder::{FOLDER_BYTES_MAX, FolderName};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::{Blob, Digest, Generation, OperationId, ProgramId};
use wayfare_protocol::limits::{
    FOLLOW_LEASE_MS, MODULE_BYTES_MAX, NAME_BYTES_MAX, STDIN_BYTES_MAX, TIME_LIMIT_MS,
};
use wayfare_protocol::log::Follower;
use wayfare_protocol::ports::Ports;
use wayfare_protocol::{command::check_bytes, limits::TIME_LIMIT_MS_MAX};

use wayfare_fleet::module::check_wasm;
use wayfare_fleet::placing;

use crate::app::manifest::Made;
use crate::error::CommandError;
use crate::fleet::{self, EngineView, ProgramView};
use crate::operations::Queueing;
use crate::transfer::Content;
use crate::view::FleetView;

/// A program that was captured has moved at most so often since, if the clock cannot tell.
const MOVES_MAX: u64 = 1000;

/// The longest that an order may wait to be given.
pub const EXPIRY_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long to wait, and for whom.
#[derive(Debug, Clone)]
pub struct CommandOptions {
    pub time_limit: Duration,
    pub offline: Offline,
    pub busy: Busy,
    pub marked: Marked,
    /// The operation's id, where that is chosen beforehand: for one order only.
    pub operation: Option<OperationId>,
    /// Until when it waits for engines. `None`: for the time limit.
    pub expires: Option<Expiry>,
    /// What it has to do with other orders that wait, which the acting dispatcher sees to.
    pub queueing: Option<Queueing>,
}

/// When an order that was not given by then is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    pub(crate) after: Duration,
    at: Instant,
}

impl Expiry {
    /// So long from now on.
    pub fn after(after: Duration) -> Self {
        let now = Instant::now();
        let after = after.min(EXPIRY_MAX);
        Self {
            after,
            at: now + after,
        }
    }
}

/// What to do about an engine that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offline {
    Fail,
    /// Wait for it, within the time limit.
    Wait,
}

/// What to do about a program that is busy with another operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    Fail,
    /// Wait for its end, within the time limit.
    Wait,
}

/// What to do about an engine that is named for something new, and is cordoned, being emptied or about to
/// stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    Refuse,
    /// Give it the program all the same.
    Take,
}

impl Default for CommandOptions {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_millis(TIME_LIMIT_MS),
            offline: Offline::Fail,
            busy: Busy::Fail,
            marked: Marked::Refuse,
            operation: None,
            expires: None,
            queueing: None,
        }
    }
}

impl CommandOptions {
    /// Those of one order, whose id is known from now on.
    pub(crate) fn of_one(&self) -> Self {
        Self {
            operation: self.operation.or_else(|| Some(OperationId::random())),
            ..self.clone()
        }
    }

    /// For how long it waits for engines that are offline, from now on.
    pub(crate) fn waits(&self) -> Duration {
        let left = |expiry: Expiry| expiry.at.saturating_duration_since(Instant::now());
        self.expires.map_or(self.time_limit, left)
    }

    pub(crate) fn id(&self) -> OperationId {
        self.operation.unwrap_or_else(OperationId::random)
    }

    pub(crate) fn time_limit_ms(&self) -> u64 {
        u64::try_from(self.time_limit.as_millis())
            .unwrap_or(TIME_LIMIT_MS_MAX)
            .clamp(1, TIME_LIMIT_MS_MAX)
    }
}

#[derive(Debug, Clone)]
pub enum Order {
    Run(Box<Run>),
    Restore(Restore),
    Move {
        program: String,
        to: String,
    },
    /// A copy under a new id, which is in the outcome; the original runs on.
    Spawn {
        program: String,
        to: String,
        name: Option<String>,
    },
    Pause {
        program: String,
    },
    Resume {
        program: String,
        mode: ResumeMode,
    },
    /// It ends the program and forgets it; one that is lost is only forgotten. The beginning of a name is not
    /// enough.
    Kill {
        program: String,
    },
    /// It captures the program; [`Finished::into_bundle`] makes a file of the result.
    ///
    /// [`Finished::into_bundle`]: crate::Finished::into_bundle
    Snapshot {
        program: String,
    },
}

/// Each by what people type.
impl Order {
    pub fn run(run: Run) -> Self {
        Self::Run(Box::new(run))
    }

    pub fn move_to(program: &str, to: &str) -> Self {
        let (program, to) = (program.to_owned(), to.to_owned());
        Self::Move { program, to }
    }

    pub fn spawn(program: &str, to: &str, name: Option<String>) -> Self {
        let (program, to) = (program.to_owned(), to.to_owned());
        Self::Spawn { program, to, name }
    }

    pub fn pause(program: &str) -> Self {
        let program = program.to_owned();
        Self::Pause { program }
    }

    pub fn resume(program: &str, mode: ResumeMode) -> Self {
        let program = program.to_owned();
        Self::Resume { program, mode }
    }

    pub fn kill(program: &str) -> Self {
        let program = program.to_owned();
        Self::Kill { program }
    }

    pub fn snapshot(program: &str) -> Self {
        let program = program.to_owned();
        Self::Snapshot { program }
    }
}

impl Order {
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Restore(_) => "restore",
            Self::Move { .. } => "move",
            Self::Spawn { .. } => "spawn",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Kill { .. } => "kill",
            Self::Snapshot { .. } => "snapshot",
        }
    }

    /// The program and the engine that it names.
    pub(crate) fn names(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Run(run) => (Some(&run.name), run.on.as_deref()),
            Self::Restore(restore) => (restore.name.as_deref(), restore.on.as_deref()),
            Self::Move { program, to } | Self::Spawn { program, to, .. } => (Some(program), Some(to)),
            Self::Pause { program }
            | Self::Resume { program, .. }
            | Self::Kill { program }
            | Self::Snapshot { program } => (Some(program), None),
        }
    }
}

/// A program to be started.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub name: String,
    pub module: Vec<u8>,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub stdin: Option<Vec<u8>>,
    pub memory_bytes_max: Option<u64>,
    pub grants: Grants,
    /// What it declares of its messages.
    pub ports: Ports,
    /// What it may read besides, packed.
    pub folders: BTreeMap<FolderName, Vec<u8>>,
    /// `None`: the scheduler chooses.
    pub on: Option<String>,
    /// Who will [follow](crate::Client::follow) its log: all that it prints until then is kept for it.
    pub follower: Option<OperationId>,
}

impl Run {
    /// What is run is the interpreter of source text, with that as its data: its arguments come before the
    /// program's own, and what the program is given goes before what its language has.
    pub fn set_made(&mut self, made: Made) {
        let Made {
            module,
            mut args,
            env,
            memory_bytes,
            folders,
            ports,
        } = made;
        args.append(&mut self.args);
        (self.module, self.args, self.folders) = (module, args, folders);
        for (name, value) in env {
            self.env.entry(name).or_insert(value);
        }
        self.memory_bytes_max = self.memory_bytes_max.or(memory_bytes);
        if !ports.is_empty() {
            self.ports = ports;
        }
    }
}

/// A program to go on with from a snapshot file.
#[derive(Debug, Clone)]
pub struct Restore {
    pub file: Vec<u8>,
    pub on: Option<String>,
    pub name: Option<String>,
    pub id: IdChoice,
}

/// Under which id a restored program lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdChoice {
    New,
    /// The one in the file: only if the original is gone.
    Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeMode {
    Normal,
    /// Take back a program whose move is in doubt: for a target that is gone for good.
    Force,
}

/// A program to be started, checked: what remains is where.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) program: ProgramId,
    pub(crate) spec: ProgramSpec,
    pub(crate) snapshot: Option<Blob>,
    /// `None`: the first.
    pub(crate) generation: Option<Generation>,
    pub(crate) blobs: BTreeMap<Digest, Content>,
    pub(crate) on: Option<String>,
    pub(crate) follower: Option<OperationId>,
}

impl Prepared {
    pub(crate) fn action(&self) -> Action {
        Action::Run {
            program: self.program,
            spec: self.spec.clone(),
            snapshot: self.snapshot,
            generation: self.generation,
            follower: self.follower.map(|id| {
                Box::new(Follower {
                    id,
                    received_below: 0,
                    lease_ms: FOLLOW_LEASE_MS,
                })
            }),
        }
    }

    /// Takes the place of a program that the fleet knows under its id. One that lives would end, and lose
    /// what it did since.
    pub(crate) fn succeed(&mut self, view: &ProgramView) -> Result<(), CommandError> {
        let status = &view.status;
        if view.presence == fleet::Presence::Known && !status.state.is_ended() {
            let (program, engine) = (status.program.short(), &status.engine);
            let reason = format!(
                "program {program} is here already, on '{engine}': kill it first, or restore the snapshot under an id of its own"
            );
            return Err(CommandError::Refused(Failure::BadRequest { reason }));
        }
        self.generation = self.generation.max(Some(later_than(status.generation)));
        Ok(())
    }
}

impl Run {
    /// Refuses at once what no engine would take.
    pub(crate) fn prepare(self) -> Result<Prepared, CommandError> {
        // Lengths before digests: nobody waits for the digest of a file that is too long anyway.
        check_bytes("module", self.module.len() as u64, MODULE_BYTES_MAX).map_err(CommandError::Refused)?;
        check_wasm(&self.module)?;
        let stdin_bytes = self.stdin.as_ref().map_or(0, Vec::len) as u64;
        check_bytes("standard input", stdin_bytes, STDIN_BYTES_MAX).map_err(CommandError::Refused)?;
        let mut blobs = BTreeMap::new();
        let mut grants = self.grants;
        for (name, packed) in self.folders {
            check_bytes(name.mount(), packed.len() as u64, FOLDER_BYTES_MAX)
                .map_err(CommandError::Refused)?;
            grants.folders.insert(name, keep(&mut blobs, packed));
        }
        let spec = ProgramSpec {
            name: self.name,
            module: keep(&mut blobs, self.module),
            args: self.args,
            env: self.env,
            stdin: self.stdin.map(|bytes| keep(&mut blobs, bytes)),
            memory_bytes_max: self.memory_bytes_max,
            grants: Box::new(grants),
            ports: Box::new(self.ports),
            health_every_ms: None,
        };
        spec.check().map_err(CommandError::Refused)?;
        Ok(Prepared {
            program: ProgramId::random(),
            spec,
            snapshot: None,
            generation: None,
            blobs,
            on: self.on,
            follower: self.follower,
        })
    }
}

impl Restore {
    pub(crate) fn prepare(self) -> Result<Prepared, CommandError> {
        let (header, parts) = bundle::decode(&self.file)?;
        let mut blobs = BTreeMap::new();
        for (_, bytes) in parts {
            keep(&mut blobs, bytes.to_vec());
        }
        let mut spec = header.spec;
        if let Some(name) = self.name {
            spec.name = name;
        }
        spec.check().map_err(CommandError::Refused)?;
        let (program, generation) = match self.id {
            IdChoice::New => (ProgramId::random(), None),
            IdChoice::Kept => (header.program, Some(later_than(header.generation))),
        };
        Ok(Prepared {
            program,
            spec,
            snapshot: Some(header.snapshot),
            generation,
            blobs,
            on: self.on,
            follower: None,
        })
    }
}

/// A generation above all that a program has had since it was captured as `captured`, on whatever engines and
/// in whatever lives: of its copies only the highest is listened to. Nobody keeps what became of a program
/// that was killed, so the time tells.
fn later_than(captured: Generation) -> Generation {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |since| since.as_secs());
    Generation(seconds.max(captured.0.saturating_add(MOVES_MAX)))
}

fn keep(blobs: &mut BTreeMap<Digest, Content>, bytes: Vec<u8>) -> Blob {
    let blob = Blob::of(&bytes);
    blobs.insert(blob.digest, Arc::new(bytes));
    blob
}

/// The engine for a program that may run anywhere: by the rules that applications are placed by.
pub(crate) fn choose(fleet: &FleetView, spec: &ProgramSpec) -> Result<EngineView, CommandError> {
    let chosen = placing::choose(&fleet.engines, &fleet.programs, spec);
    chosen.cloned().map_err(|reason| CommandError::NoPlace {
        name: spec.name.clone(),
        reason,
    })
}

/// What a copy is called unless it is given a name: never as its original, which is still to be found by its
/// own.
pub(crate) fn copy_name(original: &str) -> String {
    const SUFFIX: &str = "-copy";
    let original = original.strip_suffix(SUFFIX).unwrap_or(original);
    let kept: String = original.chars().take(NAME_BYTES_MAX - SUFFIX.len()).collect();
    kept + SUFFIX
}

/// The program as the view has it, to be addressed.
pub(crate) fn target(view: &ProgramView) -> Target {
    Target {
        program: view.status.program,
        generation: Some(view.status.generation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(module: &[u8]) -> Run {
        Run {
            name: "p".into(),
            module: module.to_vec(),
            ..Run::default()
        }
    }

    #[test]
    fn what_is_not_a_module_is_refused_before_anything_is_sent() {
        for (module, says) in [
            (b"".as_slice(), "it begins with nothing"),
            (b"\x7fELF....", "it begins with '\\x7fELF'"),
            (b"(mod", "it begins with '(mod'"),
            (b"\0asm", "truncated"),
            (b"\0asm\x02\0\0\0", "unknown version"),
            (b"\0asm\x0d\0\x01\0", "component"),
        ] {
            let error = run(module).prepare().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(run(b"\0asm\x01\0\0\0").prepare().is_ok());
    }

    #[test]
    fn what_is_too_large_is_refused_with_the_limit() {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.resize(200 << 20, 0);
        let error = run(&module).prepare().unwrap_err().to_string();
        assert_eq!(error, "module has 209715200 bytes, the limit is 67108864");
    }

    #[test]
    fn copies_have_names_of_their_own() {
        let long = "x".repeat(NAME_BYTES_MAX);
        for (original, copy) in [("p", "p-copy"), ("p-copy", "p-copy")] {
            assert_eq!(copy_name(original), copy);
        }
        assert!(wayfare_protocol::ids::is_name(&copy_name(&long)));
    }

    #[test]
    fn damaged_snapshot_files_are_refused() {
        let restore = |file: &[u8]| Restore {
            file: file.to_vec(),
            on: None,
            name: None,
            id: IdChoice::New,
        };
        let error = restore(b"nonsense").prepare().unwrap_err();
        assert_eq!(error.to_string(), "not a wayfare snapshot file");
        assert!(restore(b"WAYFPROG\xff\0\0\0").prepare().is_err());
    }
}
