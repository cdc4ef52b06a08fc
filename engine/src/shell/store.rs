//! The engine's folder: everything that survives `kill -9` and a pulled plug.
//!
//! ```text
//!  lock       held while an engine uses the folder
//!  format     which version of this layout, and whose
//!  boots      the last processes that used the folder
//!  begun      when the process began that uses it now
//!  roster     whose orders count, as it was signed (`shell/trust.rs`)
//!  places/    by which orders the programs are here (`shell/places.rs`)
//!  journal    the core's records
//!  reserve    room kept for what must be written when the disk is full
//!  blobs/     modules, standard inputs and snapshots by digest
//!  inbox/     messages that programs were sent since their last stored snapshot
//!  tails/     last log lines of ended programs
//!  compiled/  compiled modules, which can be made again
//!  damaged/   what could not be read at a start, for whoever wants to look
//! ```
//! What always holds: a record that names a blob is committed only after that blob is durable.

mod arriving;
mod blobs;
mod boots;
mod cache;
mod files;
mod folder;
mod inbox;
mod journal;
mod kills;
mod line;
mod reserve;
mod tails;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;
use wayfare_core::types::{Record, RecordKey};
use wayfare_protocol::ids::{BootId, Digest, EngineId};

pub(crate) use self::blobs::{Blobs, Reception};
pub use self::cache::Cache;
pub(crate) use self::files::write_durably;
pub(crate) use self::folder::{BlobFolder, BlobSource, Unsynced};
pub(crate) use self::inbox::{InboxJournal, Inboxes};
use self::journal::{Journal, Recovered};
pub(crate) use self::reserve::Reserve;
pub(crate) use self::tails::{Tail, Tails};

const FORMAT: u32 = 1;
/// Free besides the reserve, or nothing new is begun: what there is needs room to be stored again, to move
/// away and to end.
const FREE_BYTES_MIN: u64 = 1 << 20;
/// Files in `damaged/`: more are not kept.
const DAMAGED_FILES_MAX: usize = 16;

#[derive(Debug, Error)]
pub enum OpenError {
    #[error("another engine uses {}", .0.display())]
    InUse(PathBuf),
    #[error("{} has format {found}, this engine reads format {FORMAT}", folder.display())]
    Format { folder: PathBuf, found: u32 },
    #[error("{} belongs to engine {owner}, not to {engine}", folder.display())]
    Owner {
        folder: PathBuf,
        owner: EngineId,
        engine: EngineId,
    },
    #[error("cannot use {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

pub(crate) struct Store {
    folder: PathBuf,
    journal: Journal,
    pub(crate) blobs: Blobs,
    pub(crate) tails: Tails,
    pub(crate) inboxes: Inboxes,
    pub(crate) reserve: Reserve,
    /// Blobs that records put since the last commit name.
    named: Vec<Digest>,
    _lock: File,
}

impl Store {
    /// Opens or makes the folder. Damaged records are moved aside with a warning; the others are returned.
    pub(crate) fn open(folder: &Path, engine: &EngineId) -> Result<(Self, Vec<Record>), OpenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| OpenError::Io { path, error }
        };
        wayfare_link::open_own_folder(folder).map_err(failed(folder))?;
        let lock = lock(folder)?;
        files::remove_unfinished(folder).map_err(failed(folder))?;
        check_format(folder, engine)?;
        let blobs = Blobs::open(&folder.join("blobs")).map_err(failed(&folder.join("blobs")))?;
        let tails = Tails::open(&folder.join("tails")).map_err(failed(&folder.join("tails")))?;
        let inboxes = Inboxes::open(&folder.join("inbox")).map_err(failed(&folder.join("inbox")))?;
        let (journal, recovered) = Journal::open(folder).map_err(failed(&folder.join("journal")))?;
        let records = report(folder, recovered);
        let store = Self {
            folder: folder.to_owned(),
            journal,
            blobs,
            tails,
            inboxes,
            reserve: Reserve::new(folder),
            named: Vec::new(),
            _lock: lock,
        };
        store.reserve.keep();
        Ok((store, records))
    }

    /// The processes that used the folder before, of which this is the next.
    pub(crate) fn note_boot(&self, boot: BootId) -> BTreeSet<BootId> {
        boots::note(&self.folder, boot).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot note this start in the engine's folder");
            BTreeSet::new()
        })
    }

    /// How many processes before this one the kernel has ended for want of memory, in a row.
    pub(crate) fn note_begin(&self) -> u32 {
        kills::note(&self.folder).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot note in the engine's folder when this process began");
            0
        })
    }

    /// This process ends in good order.
    pub(crate) fn note_end(&self) {
        kills::forget(&self.folder);
    }

    /// Durable with the next [`Store::commit`].
    pub(crate) fn put(&mut self, record: &Record) {
        self.named.extend(blobs_of(record));
        self.journal.put(record);
    }

    pub(crate) fn erase(&mut self, key: RecordKey) {
        self.journal.erase(key);
    }

    /// Makes durable whatever was put and erased, and the blobs that it names. After an error nothing counts
    /// as durable; what was put is not forgotten, and another try may succeed.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        for digest in &self.named {
            self.reserve.behind(|| self.blobs.make_durable(*digest))?;
        }
        self.reserve.behind(|| self.journal.commit())?;
        self.named.clear();
        Ok(())
    }

    /// Whether there is room for new work. Where nobody knows, there is.
    pub(crate) fn has_room(&self) -> bool {
        self.reserve.is_there() && self.disk_bytes().is_none_or(|(free, _)| free >= FREE_BYTES_MIN)
    }

    /// What may still be written to the disk that holds the folder, and its size. `None` where the system
    /// does not tell.
    pub(crate) fn disk_bytes(&self) -> Option<(u64, u64)> {
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Some((bytes(disk.f_bavail), bytes(disk.f_blocks)))
    }

    /// Takes the room again that had to be used, where there is some.
    pub(crate) fn keep_room(&mut self) {
        self.journal.keep_room();
        self.reserve.keep();
    }
}

fn blobs_of(record: &Record) -> Vec<Digest> {
    let Record::Program(program) = record else {
        return Vec::new();
    };
    let saved = program
        .saved
        .into_iter()
        .flat_map(|saved| [Some(saved.snapshot), saved.base])
        .flatten();
    program
        .spec
        .blobs()
        .chain(saved)
        .map(|blob| blob.digest)
        .collect()
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let io = |error| OpenError::Io {
        path: path.clone(),
        error,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Refuses a folder that a newer version, or another engine, has written.
fn check_format(folder: &Path, engine: &EngineId) -> Result<(), OpenError> {
    let path = folder.join("format");
    let io = |error| OpenError::Io {
        path: path.clone(),
        error,
    };
    let text = match std::fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(io(error)),
    };
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let found = field("format ").and_then(|text| text.parse().ok());
    let owner: Option<EngineId> = field("engine ").and_then(|text| text.parse().ok());
    let folder = folder.to_owned();
    match (found, owner) {
        (Some(found), _) if found != FORMAT => Err(OpenError::Format { folder, found }),
        (_, Some(owner)) if owner != *engine => Err(OpenError::Owner {
            folder,
            owner,
            engine: engine.clone(),
        }),
        (Some(_), Some(_)) => Ok(()),
        _ => {
            if !text.is_empty() {
                tracing::warn!(path = %path.display(), "damaged format file: written anew");
            }
            let text = format!("format {FORMAT}\nengine {engine}\n");
            files::write_durably(&folder, "format", text.as_bytes()).map_err(io)
        }
    }
}

/// Says loudly what could not be read, and moves it aside.
fn report(folder: &Path, recovered: Recovered) -> Vec<Record> {
    if recovered.torn_bytes > 0 {
        let bytes = recovered.torn_bytes;
        tracing::warn!(
            bytes,
            "the journal's last line was cut off by a crash; it was never in force"
        );
    }
    for (key, _) in &recovered.damaged {
        match key {
            Some(key) => tracing::error!(
                ?key,
                "DAMAGED RECORD: moved aside; what it was about is lost here"
            ),
            None => {
                tracing::error!("DAMAGED RECORD of unknown key: moved aside; an older one may be in force")
            }
        }
    }
    if !recovered.damaged.is_empty()
        && let Err(error) = move_aside(folder, &recovered)
    {
        tracing::error!(%error, "could not move the damaged records aside");
    }
    recovered.records
}

fn move_aside(folder: &Path, recovered: &Recovered) -> io::Result<()> {
    let folder = folder.join("damaged");
    std::fs::create_dir_all(&folder)?;
    for number in 1..=DAMAGED_FILES_MAX {
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(folder.join(format!("journal-{number}")))
        {
            Ok(mut file) => {
                for (_, line) in &recovered.damaged {
                    file.write_all(line)?;
                }
                return file.sync_all();
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("{} is full", folder.display())))
}

#[cfg(test)]
mod tests;
