//! Files that are never there by half.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes a file: what is there afterwards is the old one or the new one.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    made(path, content)?.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The same, locked before anybody sees it and until the answer is dropped.
pub(crate) fn write_locked(path: &Path, content: &[u8]) -> io::Result<File> {
    let file = made(path, content)?;
    file.as_file().try_lock()?;
    file.persist(path).map_err(|error| error.error)
}

fn made(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}
