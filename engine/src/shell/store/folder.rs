//! The files of blobs: written, then synced, then named by their digest. For the loop and for workers on
//! other threads, which only add files.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use wayfare_protocol::ids::{Blob, Digest};

use super::files;

#[derive(Debug, Clone)]
pub(crate) struct BlobFolder(Arc<PathBuf>);

/// A file with all of a blob's bytes, not yet synced. Its handle is as old as the bytes, so that an error of
/// writing them back is not missed, whoever else syncs the file.
#[derive(Debug)]
pub(crate) struct Unsynced {
    pub(super) file: Arc<File>,
    path: PathBuf,
}

/// A blob's bytes, for a worker: they stay readable whatever happens to the file's name.
#[derive(Debug, Clone)]
pub(crate) enum BlobSource {
    Memory(Bytes),
    File { file: Arc<File>, blob: Blob },
}

impl BlobSource {
    /// The bytes; those of a file are checked against the digest first.
    pub(crate) fn read(&self) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::File { file, blob } => {
                let mut bytes = vec![0; to_usize(blob.bytes)?];
                file.read_exact_at(&mut bytes, 0)?;
                if Digest::of(&bytes) == blob.digest {
                    Ok(bytes.into())
                } else {
                    Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("stored blob {} is damaged", blob.digest.short()),
                    ))
                }
            }
        }
    }
}

impl Unsynced {
    /// A second handle, to begin writing the bytes to the disk before somebody waits for it.
    pub(crate) fn to_sync_early(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    pub(super) fn remove(&self) {
        files::remove_quietly(&self.path);
    }

    pub(super) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)
    }
}

impl BlobFolder {
    pub(super) fn new(folder: &Path) -> Self {
        Self(Arc::new(folder.to_owned()))
    }

    pub(super) fn open(&self, digest: Digest) -> io::Result<Arc<File>> {
        Ok(Arc::new(File::open(self.path(digest))?))
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.0.join(digest.to_string())
    }

    pub(super) fn remove(&self, digest: Digest) {
        files::remove_quietly(&self.path(digest));
    }

    /// An empty file to write a blob to.
    pub(super) fn begin(&self, digest: Digest) -> io::Result<Unsynced> {
        let path = files::unfinished(&self.0, &digest.to_string());
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Unsynced {
            file: Arc::new(file),
            path,
        })
    }

    /// Written, not synced: a full disk is noticed here.
    pub(crate) fn write(&self, digest: Digest, bytes: &[u8]) -> io::Result<Unsynced> {
        let unsynced = self.begin(digest)?;
        match unsynced.append(bytes) {
            Ok(()) => Ok(unsynced),
            Err(error) => {
                unsynced.remove();
                Err(error)
            }
        }
    }

    /// Durable when it returns.
    pub(crate) fn make_durable(&self, digest: Digest, unsynced: &Unsynced) -> io::Result<()> {
        unsynced.file.sync_data()?;
        files::publish(&self.0, &unsynced.path, &digest.to_string())
    }
}

pub(super) fn to_usize(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}
