//! Modules, standard inputs and snapshots, known by their digests.
//!
//! ```text
//!  arriving --last chunk, digest right--> in memory --write_out--> in a file --make_durable--> durable
//!                                  `----- longer ones --------------^
//! ```
//! What is pre-copied in a move is often outdated before it would have reached the disk: so each step is
//! taken only when somebody needs it, and syncing can begin on another thread before somebody waits for it.
//!
//! What always holds: a file named by a digest alone was whole and synced before it got that name. Unfinished
//! files do not survive a start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wayfare_protocol::ids::{Blob, Digest};

use super::arriving::{Arriving, Content};
use super::files;
use super::folder::{BlobFolder, BlobSource, Unsynced, to_usize};

/// Blobs in memory that have no file; more go to files.
const MEMORY_BYTES_MAX: u64 = 32 << 20;
/// Blobs that arrive at the same time. More means that somebody begins and does not finish.
const ARRIVING_MAX: usize = 64;
/// What arrives is given up when no chunk came for so long.
const ARRIVING_SILENCE: Duration = Duration::from_secs(600);
/// A copy in memory of what is in a file as well goes when nobody read it for so long.
const COPY_IDLE: Duration = Duration::from_secs(10);

pub(crate) struct Blobs {
    folder: BlobFolder,
    kept: BTreeMap<Digest, Kept>,
    arriving: BTreeMap<Digest, Arriving>,
}

struct Kept {
    bytes: u64,
    copy: Option<Bytes>,
    file: FileState,
    used: Instant,
}

#[derive(Debug)]
enum FileState {
    /// Then there is a copy in memory.
    Absent,
    Unsynced(Unsynced),
    Durable,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reception {
    More,
    Complete {
        intact: bool,
    },
    /// Not the next one: ignored.
    OutOfOrder,
}

impl Blobs {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        files::remove_unfinished(folder)?;
        let mut kept = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let Some(digest) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            match entry.metadata() {
                Ok(file) => drop(kept.insert(digest, Kept::new(file.len(), FileState::Durable))),
                Err(error) => {
                    tracing::warn!(path = %entry.path().display(), %error, "unreadable blob: ignored")
                }
            }
        }
        Ok(Self {
            folder: BlobFolder::new(folder),
            kept,
            arriving: BTreeMap::new(),
        })
    }

    pub(crate) fn folder(&self) -> &BlobFolder {
        &self.folder
    }

    /// How long a blob is that is here.
    pub(crate) fn bytes_of(&self, digest: Digest) -> Option<u64> {
        self.kept.get(&digest).map(|kept| kept.bytes)
    }

    #[cfg(test)]
    pub(crate) fn list(&self) -> impl Iterator<Item = Blob> + '_ {
        self.kept.iter().map(|(digest, kept)| Blob {
            digest: *digest,
            bytes: kept.bytes,
        })
    }

    /// Takes a chunk that begins at `offset`; offset 0 begins the blob anew.
    pub(crate) fn keep_chunk(&mut self, blob: Blob, offset: u64, chunk: &[u8]) -> io::Result<Reception> {
        let end = offset + chunk.len() as u64;
        if self.kept.contains_key(&blob.digest) {
            let is_last = end == blob.bytes;
            return Ok(if is_last {
                Reception::Complete { intact: true }
            } else {
                Reception::More
            });
        }
        if offset == 0 {
            self.begin(blob)?;
        }
        let Some(arriving) = self.arriving.get_mut(&blob.digest).filter(|a| a.blob == blob) else {
            return Ok(Reception::OutOfOrder);
        };
        if arriving.received != offset || end > blob.bytes {
            return Ok(Reception::OutOfOrder);
        }
        if let Err(error) = arriving.append(chunk) {
            self.give_up(blob.digest);
            return Err(error);
        }
        if end < blob.bytes {
            return Ok(Reception::More);
        }
        let intact = self.finish(blob);
        Ok(Reception::Complete { intact })
    }

    fn begin(&mut self, blob: Blob) -> io::Result<()> {
        self.give_up(blob.digest);
        if self.arriving.len() >= ARRIVING_MAX {
            return Err(io::Error::other(format!(
                "{ARRIVING_MAX} blobs are arriving already"
            )));
        }
        self.arriving
            .insert(blob.digest, Arriving::begin(blob, &self.folder)?);
        Ok(())
    }

    fn finish(&mut self, blob: Blob) -> bool {
        match self.arriving.remove(&blob.digest).and_then(Arriving::finish) {
            Some(Content::Memory(bytes)) => self.hold(blob, bytes.into()),
            Some(Content::File(file)) => {
                self.kept
                    .insert(blob.digest, Kept::new(blob.bytes, FileState::Unsynced(file)));
            }
            None => return false,
        }
        true
    }

    fn give_up(&mut self, digest: Digest) {
        if let Some(arriving) = self.arriving.remove(&digest) {
            arriving.give_up();
        }
    }

    /// Keeps a blob in memory.
    pub(crate) fn hold(&mut self, blob: Blob, bytes: Bytes) {
        let kept = self.kept.entry(blob.digest);
        let kept = kept.or_insert_with(|| Kept::new(blob.bytes, FileState::Absent));
        kept.copy = Some(bytes);
        kept.used = Instant::now();
        self.spill();
    }

    /// Takes a blob that a worker has written, with a copy for whoever sends it soon.
    pub(crate) fn take_written(&mut self, blob: Blob, copy: Bytes, file: Unsynced) {
        let kept = self.kept.entry(blob.digest);
        let kept = kept.or_insert_with(|| Kept::new(blob.bytes, FileState::Absent));
        kept.copy = Some(copy);
        kept.used = Instant::now();
        match kept.file {
            FileState::Durable => file.remove(),
            FileState::Absent | FileState::Unsynced(_) => kept.replace_file(FileState::Unsynced(file)),
        }
    }

    /// Takes a blob that a worker has made durable.
    pub(crate) fn take_durable(&mut self, blob: Blob, copy: Bytes) {
        let kept = self.kept.entry(blob.digest);
        let kept = kept.or_insert_with(|| Kept::new(blob.bytes, FileState::Absent));
        kept.copy = Some(copy);
        kept.used = Instant::now();
        kept.replace_file(FileState::Durable);
    }

    /// Too much in memory alone: the longest unused goes to files. A full disk leaves it where it is.
    fn spill(&mut self) {
        let alone = |kept: &Kept| matches!(kept.file, FileState::Absent);
        let mut bytes: u64 = self
            .kept
            .values()
            .filter(|kept| alone(kept))
            .map(|kept| kept.bytes)
            .sum();
        while bytes > MEMORY_BYTES_MAX {
            let oldest = self
                .kept
                .iter()
                .filter(|(_, kept)| alone(kept))
                .min_by_key(|(_, k)| k.used);
            let Some((digest, freed)) = oldest.map(|(digest, kept)| (*digest, kept.bytes)) else {
                return;
            };
            if let Err(error) = self.write_out(digest) {
                tracing::warn!(%error, "could not move a snapshot from memory to a file");
                return;
            }
            if let Some(kept) = self.kept.get_mut(&digest) {
                kept.copy = None;
            }
            bytes -= freed;
        }
    }

    /// Sees to it that the blob is in a file; that is where a full disk is noticed. Returns a handle by which
    /// syncing can begin early, if it is not durable.
    pub(crate) fn write_out(&mut self, digest: Digest) -> io::Result<Option<File>> {
        let Some(kept) = self.kept.get_mut(&digest) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let (FileState::Absent, Some(copy)) = (&kept.file, &kept.copy) {
            kept.file = FileState::Unsynced(self.folder.write(digest, copy)?);
        }
        match &kept.file {
            FileState::Unsynced(file) => file.to_sync_early().map(Some),
            FileState::Absent | FileState::Durable => Ok(None),
        }
    }

    /// Before a record may name it.
    pub(crate) fn make_durable(&mut self, digest: Digest) -> io::Result<()> {
        if self.kept.contains_key(&digest) {
            self.write_out(digest)?;
        }
        let Some(kept) = self.kept.get_mut(&digest) else {
            return Ok(());
        };
        if let FileState::Unsynced(file) = &kept.file {
            if let Err(error) = self.folder.make_durable(digest, file) {
                // What the file holds is uncertain now; the copy is not.
                if kept.copy.is_some() {
                    kept.replace_file(FileState::Absent);
                }
                return Err(error);
            }
            kept.file = FileState::Durable;
        }
        Ok(())
    }

    /// `None` if the blob is not here.
    pub(crate) fn source(&mut self, digest: Digest) -> Option<BlobSource> {
        let kept = self.kept.get_mut(&digest)?;
        kept.used = Instant::now();
        if let Some(copy) = &kept.copy {
            return Some(BlobSource::Memory(copy.clone()));
        }
        let file = match &kept.file {
            FileState::Unsynced(unsynced) => Ok(Arc::clone(&unsynced.file)),
            FileState::Durable => self.folder.open(digest),
            FileState::Absent => Err(io::ErrorKind::NotFound.into()),
        };
        let blob = Blob {
            digest,
            bytes: kept.bytes,
        };
        file.inspect_err(|error| tracing::error!(blob = digest.short(), %error, "a stored blob is gone"))
            .ok()
            .map(|file| BlobSource::File { file, blob })
    }

    /// A part of a blob, for a chunk. The receiver checks the whole against its digest.
    pub(crate) fn read_at(&mut self, digest: Digest, offset: u64, bytes: u64) -> io::Result<Bytes> {
        let source = self.source(digest).ok_or(io::ErrorKind::NotFound)?;
        let (start, bytes) = (to_usize(offset)?, to_usize(bytes)?);
        match source {
            BlobSource::Memory(all) if start.checked_add(bytes).is_some_and(|end| end <= all.len()) => {
                Ok(all.slice(start..start + bytes))
            }
            BlobSource::Memory(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            BlobSource::File { file, .. } => {
                let mut chunk = vec![0; bytes];
                file.read_exact_at(&mut chunk, offset)?;
                Ok(chunk.into())
            }
        }
    }

    /// Throws away what nobody needs. Not while a worker writes blobs: it might write what is being removed.
    pub(crate) fn sweep(&mut self, in_use: &BTreeSet<Digest>, now: Instant) {
        let idle = |since: Instant, limit| now.saturating_duration_since(since) > limit;
        let arriving = std::mem::take(&mut self.arriving);
        for (digest, arriving) in arriving {
            if idle(arriving.touched, ARRIVING_SILENCE) {
                arriving.give_up();
            } else {
                self.arriving.insert(digest, arriving);
            }
        }
        let kept = std::mem::take(&mut self.kept);
        for (digest, mut kept) in kept {
            if in_use.contains(&digest) {
                if idle(kept.used, COPY_IDLE) && !matches!(kept.file, FileState::Absent) {
                    kept.copy = None;
                }
                self.kept.insert(digest, kept);
            } else if let FileState::Durable = kept.file {
                self.folder.remove(digest);
            } else {
                kept.replace_file(FileState::Absent);
            }
        }
    }
}

impl Kept {
    fn new(bytes: u64, file: FileState) -> Self {
        Self {
            bytes,
            copy: None,
            file,
            used: Instant::now(),
        }
    }

    /// An unfinished file goes with its state.
    fn replace_file(&mut self, file: FileState) {
        if let FileState::Unsynced(unsynced) = std::mem::replace(&mut self.file, file) {
            unsynced.remove();
        }
    }
}

#[cfg(test)]
mod tests;
