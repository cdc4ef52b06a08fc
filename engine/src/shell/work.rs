//! Work that takes longer than the loop may stand still: compiling, encoding, decoding, large writes. Each
//! piece runs on a thread of its own, owns what it needs, and answers exactly once.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::task::JoinSet;
use wayfare_core::types::{CaptureId, Purpose, Saved};
use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::device::Reading;
use wayfare_protocol::dispatcher::Asker;
use wayfare_protocol::error::Failure;
use wayfare_protocol::folder::FolderName;
use wayfare_protocol::ids::{Blob, Digest, EngineId, OperationId, ProgramId};
use wayfare_protocol::snapshot::{Snapshot, SnapshotError};

use super::code_workshop::read;
use super::modules::Modules;
use super::spans;
use super::store::{BlobFolder, BlobSource, Reserve, Unsynced};
use wayfare_runtime::Loaded;

/// What came of a piece of work.
pub(crate) enum Done {
    ModuleLoaded {
        operation: OperationId,
        result: Result<(), Failure>,
    },
    /// Code that was fetched was checked and kept.
    CodeTaken {
        operation: OperationId,
        result: Result<(), Failure>,
    },
    Verified {
        operation: OperationId,
        saved: Saved,
        result: Result<Arc<Snapshot>, Failure>,
    },
    /// Everything that a program is launched from.
    Gathered {
        program: ProgramId,
        incarnation: u64,
        result: Result<Gathered, Failure>,
    },
    Encoded {
        program: ProgramId,
        incarnation: u64,
        capture: CaptureId,
        result: Result<Encoded, Failure>,
    },
    /// A program can go on after a capture, which was delayed for that.
    CanResume {
        program: ProgramId,
        incarnation: u64,
        result: Result<(), Failure>,
    },
    /// A blob that arrived is a snapshot, which somebody will want to read soon.
    Decoded {
        digest: Digest,
        snapshot: Option<Arc<Snapshot>>,
    },
    DeviceAnswered {
        asker: Asker,
        result: Result<Reading, Failure>,
    },
    /// A blob that arrived was synced, or not.
    Synced {
        blob: Blob,
        result: std::io::Result<()>,
        /// The core has not heard that it is here.
        is_awaited: bool,
    },
}

/// What a program reads besides its module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Data {
    pub(crate) stdin: Option<Blob>,
    pub(crate) folders: BTreeMap<FolderName, Blob>,
}

impl Data {
    pub(crate) fn of(spec: &ProgramSpec) -> Self {
        Self {
            stdin: spec.stdin,
            folders: spec.grants.folders.clone(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stdin.is_none() && self.folders.is_empty()
    }
}

pub(crate) struct Gathered {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) stdin: Option<Arc<[u8]>>,
    pub(crate) folders: BTreeMap<FolderName, Arc<[u8]>>,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
}

pub(crate) struct Encoded {
    pub(crate) blob: Blob,
    pub(crate) bytes: Bytes,
    pub(crate) written: Written,
    /// For a later capture to be relative to, if this one is not relative itself.
    pub(crate) whole: Option<Arc<Snapshot>>,
    /// How many messages the program had been sent.
    pub(crate) mail_arrived: u64,
}

/// How far an encoded snapshot is on its way to the disk.
pub(crate) enum Written {
    InMemory,
    /// Somebody waits for this one: it is synced while it is being sent, and named before a record names it.
    Unsynced(Unsynced),
    Durable,
}

/// How far it should be before anybody hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    None,
    Soon,
    Now,
}

impl Durability {
    fn of(purpose: Purpose) -> Self {
        match purpose {
            // The last part of a move: the program stands still until it is there.
            Purpose::Final(_, Some(_)) => Self::Soon,
            purpose if purpose.is_durable() => Self::Now,
            _ => Self::None,
        }
    }
}

/// Where a snapshot is to be had: decoded already, or as a blob.
pub(crate) enum SnapshotSource {
    Decoded(Arc<Snapshot>),
    Blob(Digest, Option<BlobSource>),
}

/// Snapshot and base of a [`Saved`].
pub(crate) struct SavedSource {
    pub(crate) snapshot: SnapshotSource,
    pub(crate) base: Option<SnapshotSource>,
}

#[derive(Clone)]
pub(crate) struct Workshop {
    pub(crate) engine: EngineId,
    pub(crate) modules: Arc<Modules>,
    pub(crate) folder: BlobFolder,
    pub(crate) reserve: Reserve,
    /// What a snapshot can come to that a program of this engine can be in.
    pub(crate) unpacked_bytes_max: u64,
    pub(crate) decoding: Turn,
}

/// Large snapshots are unpacked one after the other: one of a few kilobytes can come to all that a program
/// may have, and what it is unpacked to is there twice for a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn(Arc<Mutex<()>>);

/// Below, nobody waits.
const UNPACKED_BYTES_SMALL: u64 = 8 << 20;

impl Turn {
    fn decode(&self, bytes: &[u8], unpacked_bytes_max: u64) -> Result<Snapshot, SnapshotError> {
        self.with(Snapshot::unpacked_bytes(bytes), || {
            Snapshot::decode_within(bytes, unpacked_bytes_max)
        })
    }

    fn with<T>(&self, unpacked_bytes: u64, decode: impl FnOnce() -> T) -> T {
        let is_small = unpacked_bytes < UNPACKED_BYTES_SMALL;
        let _turn = (!is_small).then(|| self.0.lock().unwrap_or_else(PoisonError::into_inner));
        decode()
    }
}

/// Starts `work`; a panic in it becomes `answer(Err(Failure::Internal))`.
pub(crate) fn start<T: Send + 'static>(
    under_way: &mut JoinSet<Done>,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    answer: impl FnOnce(Result<T, Failure>) -> Done + Send + 'static,
) {
    let work = spans::carried(work);
    under_way.spawn_blocking(move || {
        let result = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(Failure::Internal {
                reason: "the engine's work on it panicked".into(),
            })
        });
        answer(result)
    });
}

impl Workshop {
    /// Joins a snapshot with its base and checks whom it is for.
    pub(crate) fn decode(&self, source: SavedSource, module: Digest) -> Result<Arc<Snapshot>, Failure> {
        let snapshot = self.decoded(source.snapshot)?;
        let snapshot = match (snapshot.base, source.base) {
            (None, _) => snapshot,
            (Some(base), None) => return Err(refused(SnapshotError::Base(base))),
            (Some(_), Some(base)) => {
                let base = self.decoded(base)?;
                let joined = Arc::unwrap_or_clone(snapshot).rebase(Arc::unwrap_or_clone(base));
                Arc::new(joined.map_err(refused)?)
            }
        };
        snapshot
            .check(module, wayfare_abi::rewritten::ABI)
            .map_err(refused)?;
        Ok(snapshot)
    }

    /// A snapshot's first reader, while the rest of the transfer goes on. What is not one, nobody misses.
    pub(crate) fn decode_early(&self, source: &BlobSource) -> Option<Arc<Snapshot>> {
        self.decoding
            .decode(&source.read().ok()?, self.unpacked_bytes_max)
            .ok()
            .map(Arc::new)
    }

    fn decoded(&self, source: SnapshotSource) -> Result<Arc<Snapshot>, Failure> {
        match source {
            SnapshotSource::Decoded(snapshot) => Ok(snapshot),
            SnapshotSource::Blob(digest, source) => {
                let bytes = read(&self.engine, "snapshot", digest, source)?;
                self.decoding
                    .decode(&bytes, self.unpacked_bytes_max)
                    .map(Arc::new)
                    .map_err(refused)
            }
        }
    }

    /// Encodes a captured program, relative to `base` if that can still be had, and writes it.
    pub(crate) fn encode(
        &self,
        snapshot: Snapshot,
        loaded: &Loaded,
        base: Option<(Digest, SnapshotSource)>,
        purpose: Purpose,
    ) -> Result<Encoded, Failure> {
        let durability = Durability::of(purpose);
        let mail_arrived = snapshot.host.mail_arrived;
        let snapshot = Arc::new(snapshot);
        // A snapshot relative to one that is itself relative could not be joined again: then a whole one is
        // made.
        let base = base
            .and_then(|(digest, source)| Some((digest, self.decoded(source).ok()?)))
            .filter(|(_, base)| base.base.is_none());
        let bytes = match &base {
            Some((digest, base)) => snapshot
                .relative_to(base, *digest, |memory, page| loaded.initial_page(memory, page))
                .encode(),
            None => snapshot.encode(),
        };
        let whole = base.is_none().then_some(snapshot);
        let blob = Blob::of(&bytes);
        let write = || self.write(blob.digest, &bytes, durability);
        let written = write()
            .or_else(|error| match self.modules.give_way(&error) {
                true => write(),
                false => Err(error),
            })
            .or_else(|error| match purpose.is_leaving() {
                true => self.reserve.behind(write),
                false => Err(error),
            })
            .map_err(|error| Failure::Storage {
                engine: self.engine.clone(),
                reason: format!("snapshot of {} bytes: {error}", bytes.len()),
            })?;
        Ok(Encoded {
            blob,
            bytes: bytes.into(),
            written,
            whole,
            mail_arrived,
        })
    }

    fn write(&self, digest: Digest, bytes: &[u8], durability: Durability) -> std::io::Result<Written> {
        if durability == Durability::None {
            return Ok(Written::InMemory);
        }
        let unsynced = self.folder.write(digest, bytes)?;
        if durability == Durability::Soon {
            return Ok(Written::Unsynced(unsynced));
        }
        self.folder.make_durable(digest, &unsynced)?;
        Ok(Written::Durable)
    }
}

fn refused(error: SnapshotError) -> Failure {
    Failure::Snapshot {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn large_snapshots_are_unpacked_one_after_the_other() {
        let (turn, inside) = (Turn::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        turn.with(UNPACKED_BYTES_SMALL, || {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                });
            }
        });
        // Small ones wait for nobody.
        turn.with(UNPACKED_BYTES_SMALL, || {
            turn.with(UNPACKED_BYTES_SMALL - 1, || ())
        });
    }
}
