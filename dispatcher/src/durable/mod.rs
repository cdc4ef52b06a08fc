//! Everything that the dispatcher keeps goes through here: files of its own folder, or a store of objects
//! that several hosts reach.
//!
//! ```text
//!                          in a folder                            in a store of objects (--store s3://...)
//!  applications, values -> records: a file for each term          batches, put on condition
//!  events ---------------> append: one file of checksummed lines  segments
//!  blobs ----------------> files that never change                objects
//!  the fleet's files ----> objects, batches                       objects, batches
//! ```
//! # Keeping something more
//! A service gets a [`Place`] (`context.place`), and opens by it a [`RecordLog`] for what it changes, under
//! keys; [`KeptBlobs`] for what never changes; both work the same wherever the place is. They wait for the
//! disk or the store: they are for code that is not asynchronous, and may be called from anywhere. What is
//! put into a record log is durable after `commit`, or was never put. For a long log give its entries keys
//! that sort as they come, and erase the oldest; lines that may be lost at a power cut go to a
//! [`WriteAheadLog`], which is for folders alone.
//!
//! What always holds: what was committed is read back, whatever became of any later write. A write that
//! failed half-way is cut back before the next one. A file that the kernel could not sync is not appended to
//! any more: its content is written to a new file.

mod append;
mod backend;
mod batches;
mod blobs;
mod blocking;
mod disk;
mod folder_records;
#[cfg(test)]
pub(super) mod fragile;
mod object_records;
#[cfg(test)]
mod object_tests;
mod objects;
mod place;
mod records;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use wayfare_protocol::error::Failure;

pub(crate) use append::{Line, WriteAheadLog, read_lines};
pub(crate) use batches::{BatchLog, LogError, PARALLEL, Replayed, delete_all, opening, parse, put_again};
pub(crate) use blobs::KeptBlobs;
pub(crate) use blocking::BlockingObjects;
#[cfg(test)]
pub(crate) use disk::faults;
pub(crate) use objects::{Kind, Objects, StoreError};
pub(crate) use place::Place;
pub(crate) use records::RecordLog;

/// Ending of a file that is still being written.
const UNFINISHED: &str = "new";

/// A file that could not be read or written, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {reason}", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    reason: String,
    /// Somebody else has opened the store since: nothing can be stored by who had it before.
    is_succeeded: bool,
    /// There is no room.
    is_full: bool,
}

impl FileError {
    pub(crate) fn new(path: &Path, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!("the disk is full ({error}): free space on it, and it goes on by itself")
            }
            _ => error.to_string(),
        };
        Self {
            path: path.to_owned(),
            reason,
            is_succeeded: false,
            is_full: matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn is_succeeded(&self) -> bool {
        self.is_succeeded
    }
}

/// What a client is answered whose change could not be stored.
pub(crate) fn cannot_store(error: &FileError) -> Failure {
    Failure::Internal {
        reason: format!("the dispatcher cannot store the change: {error}"),
    }
}

/// A synced file that has not got its name yet; removed if it never does.
struct Unpublished {
    file: File,
    unfinished: PathBuf,
    path: PathBuf,
}

impl Unpublished {
    fn write(path: &Path, content: &[u8]) -> Result<Self, FileError> {
        let unfinished = unfinished(path);
        let written = (|| {
            // For appending: what is written after a piece was cut back goes to the new end.
            let mut file = File::options().create_new(true).append(true).open(&unfinished)?;
            disk::write_all(&mut file, content)?;
            disk::sync(&file)?;
            Ok(file)
        })();
        match written {
            Ok(file) => Ok(Self {
                file,
                unfinished,
                path: path.to_owned(),
            }),
            Err(error) => {
                let _ = std::fs::remove_file(&unfinished);
                Err(FileError::new(path, &error))
            }
        }
    }

    /// After an error the name may belong to either file.
    fn publish(self) -> Result<File, FileError> {
        let published =
            std::fs::rename(&self.unfinished, &self.path).and_then(|()| sync_folder_of(&self.path));
        published.map_err(|error| FileError::new(&self.path, &error))?;
        Ok(self.file)
    }
}

/// Writes a file that is whole or not there, whatever happens meanwhile, and durable when this returns.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<(), FileError> {
    Unpublished::write(path, content)?.publish().map(drop)
}

/// The same for a file that nobody has yet: fails with [`io::ErrorKind::AlreadyExists`] otherwise.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<(), (io::ErrorKind, FileError)> {
    let unfinished = unfinished(path);
    let written = (|| {
        let mut file = File::create_new(&unfinished)?;
        disk::write_all(&mut file, content)?;
        // Before it has its name: whoever finds it can rely on it.
        disk::sync(&file)?;
        std::fs::hard_link(&unfinished, path)
    })();
    let _ = std::fs::remove_file(&unfinished);
    let named = written.and_then(|()| sync_folder_of(path));
    named.map_err(|error| (error.kind(), FileError::new(path, &error)))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => disk::sync(&File::open(folder)?),
        None => Ok(()),
    }
}

/// Where to write what will have that name: another one for each write, since two dispatchers may share a
/// folder for a moment.
fn unfinished(path: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    path.with_extension(format!("{}-{number}.{UNFINISHED}", std::process::id()))
}

/// Whether a write that did not finish left it.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == UNFINISHED)
}
