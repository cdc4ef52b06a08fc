//! Room that is kept for what must be written though the disk is full: programs that move away. Records have
//! room of their own, in the journal, and take this where a file system gives none.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files;

const NAME: &str = "reserve";
const BYTES: usize = 1 << 20;

/// For the loop and for workers on other threads.
#[derive(Debug, Clone)]
pub(crate) struct Reserve(Arc<PathBuf>);

impl Reserve {
    pub(super) fn new(folder: &Path) -> Self {
        Self(Arc::new(folder.join(NAME)))
    }

    /// What `write` does, if need be in place of the reserve.
    pub(crate) fn behind<T>(&self, mut write: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match write() {
            Err(error) if self.gives_way(&error) => write(),
            result => result,
        }
    }

    /// Whether `error` says that the disk is full and there is room now: then it is worth another try.
    pub(super) fn gives_way(&self, error: &io::Error) -> bool {
        let given = error.kind() == io::ErrorKind::StorageFull && std::fs::remove_file(&*self.0).is_ok();
        if given {
            tracing::warn!(reserve = %self.0.display(), "disk is full: using the reserve");
        }
        given
    }

    pub(super) fn is_there(&self) -> bool {
        std::fs::metadata(&*self.0).is_ok_and(|file| file.len() == BYTES as u64)
    }

    /// Takes it again, if there is room.
    pub(super) fn keep(&self) {
        if !self.is_there() && std::fs::write(&*self.0, vec![0xaa; BYTES]).is_err() {
            files::remove_quietly(&self.0);
        }
    }
}
