//! Writing files so that they are whole or not there, whatever happens between two steps.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Ending of a file that is still being written: whatever bears it at a start is thrown away.
pub(super) const UNFINISHED: &str = "part";

/// Two threads may write the same file; each writes an unfinished one of its own.
static WRITES: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
thread_local! {
    /// For tests: the disk of this thread.
    pub(super) static FAILS_SYNC_FOLDER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Content first, then the name, then the folder: after a crash at any point `name` holds either what it held
/// before or all of `content`.
pub(crate) fn write_durably(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let unfinished = write_unfinished(folder, name, content)?;
    publish(folder, &unfinished, name)
}

/// The first step: a synced file that has not got its name yet. After an error `name` holds what it held
/// before.
pub(super) fn write_unfinished(folder: &Path, name: &str, content: &[u8]) -> io::Result<PathBuf> {
    let unfinished = unfinished(folder, name);
    let written = (|| {
        let mut file = File::create(&unfinished)?;
        file.write_all(content)?;
        file.sync_data()
    })();
    if let Err(error) = written {
        remove_quietly(&unfinished);
        return Err(error);
    }
    Ok(unfinished)
}

/// Where to write what will be `name`: a path of its own for each call.
pub(super) fn unfinished(folder: &Path, name: &str) -> PathBuf {
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{name}.{number}.{UNFINISHED}"))
}

/// Gives a synced file its name, durably. After an error the name may belong to either.
pub(super) fn publish(folder: &Path, unfinished: &Path, name: &str) -> io::Result<()> {
    std::fs::rename(unfinished, folder.join(name))?;
    sync_folder(folder)
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    if FAILS_SYNC_FOLDER.get() {
        return Err(io::Error::other("input/output error"));
    }
    File::open(folder)?.sync_all()
}

/// For files that nobody will miss: one that stays is thrown away at the next start.
pub(super) fn remove_quietly(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "could not remove a file");
    }
}

/// What a crash left behind.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == UNFINISHED) {
            remove_quietly(&path);
        }
    }
    Ok(())
}
