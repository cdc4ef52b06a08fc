//! The files of the cache, and what is known of them.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use wayfare_protocol::ids::Digest;

use crate::shell::store::files;
use wayfare_runtime::{Compiled, Piece, Provenance};

const FOLDER_MODE: u32 = 0o700;
pub(super) const FILE_MODE: u32 = 0o600;
/// What the name of a file with resuming code ends with.
const RESUMING: &str = ".resuming";
/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;

/// The folder, and what is known to be in it.
pub(super) struct CacheFolder {
    folder: PathBuf,
    provenance: Provenance,
    bytes_max: u64,
    owner: u32,
    entries: Mutex<Entries>,
}

/// What of which module.
pub(super) type Key = (Digest, Piece);

#[derive(Default)]
struct Entries {
    known: BTreeMap<Key, Entry>,
    /// The last count that was given.
    uses: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    used: u64,
    /// `used` was written to the file since the start.
    is_marked: bool,
}

impl CacheFolder {
    pub(super) fn open(folder: &Path, bytes_max: u64, provenance: Provenance) -> io::Result<Self> {
        match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Not following a link: it could lead to where others can write.
        let about = std::fs::symlink_metadata(folder)?;
        if !about.is_dir() {
            return Err(io::Error::other("it is not a folder"));
        }
        let owner = who_we_are(folder)?;
        if about.uid() != owner {
            let other = about.uid();
            return Err(io::Error::other(format!(
                "it belongs to user {other}, not to {owner}"
            )));
        }
        if about.mode() & OTHERS != 0 {
            std::fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))?;
            remove_all(folder)?;
            tracing::warn!(folder = %folder.display(), "others had access to the cache of compiled modules: emptied");
        }
        files::remove_unfinished(folder)?;
        let opened = Self {
            folder: folder.to_owned(),
            provenance,
            bytes_max,
            owner,
            entries: Mutex::default(),
        };
        opened.take_stock()?;
        opened.make_room(0);
        Ok(opened)
    }

    /// What another version left is no damage: it goes without a warning.
    fn take_stock(&self) -> io::Result<()> {
        let mut entries = lock(&self.entries);
        let mut removed = 0;
        for (path, key) in files_of(&self.folder)? {
            match self.is_current(&path, key) {
                Ok(Some(about)) => {
                    let used = count_of(&about);
                    entries.uses = entries.uses.max(used);
                    let bytes = about.len();
                    let is_marked = false;
                    let entry = Entry {
                        bytes,
                        used,
                        is_marked,
                    };
                    entries.known.insert(key, entry);
                }
                Ok(None) | Err(_) => {
                    files::remove_quietly(&path);
                    removed += 1;
                }
            }
        }
        if removed > 0 {
            tracing::info!(files = removed, "removed compiled code that another version made");
        }
        Ok(())
    }

    /// Whether it begins as a file of ours does. What follows is looked at when it is needed.
    fn is_current(&self, path: &Path, (module, piece): Key) -> io::Result<Option<Metadata>> {
        if !std::fs::symlink_metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        let header = self.provenance.header(module, piece);
        let mut begin = vec![0; header.len()];
        file.read_exact(&mut begin)?;
        Ok((self.is_ours(&about) && begin == header.as_bytes()).then_some(about))
    }

    fn is_ours(&self, about: &Metadata) -> bool {
        about.is_file() && about.uid() == self.owner && about.mode() & OTHERS == 0
    }

    pub(super) fn holds(&self, key: Key) -> bool {
        lock(&self.entries).known.contains_key(&key)
    }

    /// `None`: it is not here. An error is why what is here is no good.
    pub(super) fn read(&self, key: Key) -> Option<Result<Compiled, String>> {
        if !self.holds(key) {
            return None;
        }
        let (module, piece) = key;
        let file = match File::open(self.path(key)) {
            Ok(file) => file,
            Err(error) => return Some(Err(error.to_string())),
        };
        let verified = self.read_whole(&file).and_then(|bytes| {
            Compiled::verify(bytes, module, piece, &self.provenance).map_err(|error| error.to_string())
        });
        if verified.is_ok() {
            self.mark_used(key, &file);
        }
        Some(verified)
    }

    fn read_whole(&self, file: &File) -> Result<Vec<u8>, String> {
        let about = file.metadata().map_err(|error| error.to_string())?;
        if !self.is_ours(&about) {
            return Err(format!(
                "it belongs to user {}, with permissions {:o}",
                about.uid(),
                about.mode()
            ));
        }
        if about.len() > self.bytes_max {
            return Err(format!("{} bytes are more than a file of ours has", about.len()));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
        // What grows meanwhile is cut off, which its checksum shows.
        file.take(about.len())
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn mark_used(&self, key: Key, file: &File) {
        let mut entries = lock(&self.entries);
        let is_last = entries
            .known
            .get(&key)
            .is_some_and(|entry| entry.used == entries.uses);
        let used = if is_last { entries.uses } else { entries.next_use() };
        let Some(entry) = entries.known.get_mut(&key) else {
            return;
        };
        entry.used = used;
        if !entry.is_marked && !is_last {
            mark(file, used);
        }
        entry.is_marked = true;
    }

    pub(super) fn write(&self, compiled: &Compiled) -> io::Result<()> {
        let (module, bytes) = (compiled.module(), compiled.bytes_written(&self.provenance));
        if bytes > self.bytes_max {
            let bytes_max = self.bytes_max;
            tracing::info!(
                module = module.short(),
                bytes,
                bytes_max,
                "compiled code is larger than the cache"
            );
            return Ok(());
        }
        self.make_room(bytes);
        let key = (module, compiled.piece());
        let used = lock(&self.entries).next_use();
        let path = files::unfinished(&self.folder, &name(key));
        let written = self
            .write_unfinished(&path, compiled, used)
            .and_then(|()| std::fs::rename(&path, self.path(key)));
        if let Err(error) = written {
            files::remove_quietly(&path);
            return Err(error);
        }
        // The folder is not synced: a name that a crash forgets is a miss.
        let is_marked = true;
        let entry = Entry {
            bytes,
            used,
            is_marked,
        };
        lock(&self.entries).known.insert(key, entry);
        tracing::debug!(module = module.short(), bytes, "compiled code kept");
        Ok(())
    }

    pub(super) fn write_unfinished(&self, path: &Path, compiled: &Compiled, used: u64) -> io::Result<()> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        let mut out = BufWriter::new(&file);
        compiled.write_to(&self.provenance, &mut out)?;
        out.flush()?;
        drop(out);
        mark(&file, used);
        file.sync_all()
    }

    /// Removes what was not used for longest, until `bytes` more are within the limit.
    fn make_room(&self, bytes: u64) {
        let mut entries = lock(&self.entries);
        let mut total: u64 = entries.known.values().map(|entry| entry.bytes).sum();
        while total.saturating_add(bytes) > self.bytes_max {
            let oldest = entries.known.iter().min_by_key(|(_, entry)| entry.used);
            let Some((key, freed)) = oldest.map(|(key, entry)| (*key, entry.bytes)) else {
                return;
            };
            let (module, piece) = (key.0.short(), key.1.name());
            tracing::debug!(module, piece, "compiled code removed to make room");
            entries.known.remove(&key);
            files::remove_quietly(&self.path(key));
            total -= freed;
        }
    }

    pub(super) fn clear(&self) -> u64 {
        let known = std::mem::take(&mut lock(&self.entries).known);
        for key in known.keys() {
            files::remove_quietly(&self.path(*key));
        }
        known.values().map(|entry| entry.bytes).sum()
    }

    pub(super) fn remove(&self, key: Key) {
        lock(&self.entries).known.remove(&key);
        files::remove_quietly(&self.path(key));
    }

    fn path(&self, key: Key) -> PathBuf {
        self.folder.join(name(key))
    }
}

impl Entries {
    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file's name: the module's digest, and what it is if that is not its program.
fn name((module, piece): Key) -> String {
    match piece {
        Piece::Program => module.to_string(),
        Piece::Resuming => format!("{module}{RESUMING}"),
    }
}

fn key_of(name: &str) -> Option<Key> {
    let (module, piece) = match name.strip_suffix(RESUMING) {
        Some(module) => (module, Piece::Resuming),
        None => (name, Piece::Program),
    };
    Some((module.parse().ok()?, piece))
}

/// Files that are named as ours.
fn files_of(folder: &Path) -> io::Result<Vec<(PathBuf, Key)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(key) = entry.file_name().to_str().and_then(key_of) {
            files.push((entry.path(), key));
        }
    }
    Ok(files)
}

pub(super) fn remove_all(folder: &Path) -> io::Result<()> {
    for (path, _) in files_of(folder)? {
        files::remove_quietly(&path);
    }
    files::remove_unfinished(folder)
}

/// The user to whom belongs what we write here.
fn who_we_are(folder: &Path) -> io::Result<u32> {
    let path = files::unfinished(folder, "owner");
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&path)?;
    let about = file.metadata();
    files::remove_quietly(&path);
    Ok(about?.uid())
}

fn mark(file: &File, used: u64) {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(used));
    let marked = time.map_or(Ok(()), |time| file.set_modified(time));
    if let Err(error) = marked {
        tracing::debug!(%error, "could not note the use of compiled code");
    }
}

fn count_of(about: &Metadata) -> u64 {
    u64::try_from(about.mtime()).unwrap_or(0)
}
