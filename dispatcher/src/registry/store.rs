//! Modules and signed code on disk, and the code that is being served in memory.
//!
//! What always holds: a file has its name only when it was whole and synced; and its bytes are checked when
//! they are read, by digest (modules) or by the engine that gets them (code). What was not used for longest
//! makes room.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use wayfare_protocol::ids::{Blob, Digest};
use wayfare_protocol::limits::{CODE_BYTES_MAX, MODULE_BYTES_MAX};

use super::jobs::Job;
use crate::durable::{FileError, write_whole};

/// Of each kind.
const FOLDER_BYTES_MAX: u64 = 2 << 30;
/// Code in memory while engines pull it.
const SERVED_BYTES_MAX: usize = 128 << 20;

#[derive(Debug)]
pub(super) struct CodeStore {
    modules: PathBuf,
    code: PathBuf,
    served: Mutex<Served>,
}

#[derive(Debug, Default)]
struct Served {
    code: BTreeMap<Digest, (Arc<[u8]>, u64)>,
    uses: u64,
}

impl CodeStore {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let store = Self {
            modules: folder.join("modules"),
            code: folder.join("code"),
            served: Mutex::default(),
        };
        for folder in [&store.modules, &store.code] {
            std::fs::create_dir_all(folder)?;
            make_room(folder, 0)?;
        }
        Ok(store)
    }

    pub(super) fn has_module(&self, module: Blob) -> bool {
        std::fs::metadata(self.modules.join(module.digest.to_string()))
            .is_ok_and(|file| file.len() == module.bytes)
    }

    /// A module's bytes, if they are here and whole; others are removed.
    pub(super) fn module(&self, digest: Digest) -> Option<Vec<u8>> {
        let path = self.modules.join(digest.to_string());
        let bytes = read(&path, MODULE_BYTES_MAX)?;
        if Digest::of(&bytes) == digest {
            return Some(bytes);
        }
        tracing::warn!(module = digest.short(), "a damaged module was removed");
        let _ = std::fs::remove_file(path);
        None
    }

    /// Checked by the caller. It can be had again: a disk that is full costs a warning.
    pub(super) fn keep_module(&self, digest: Digest, wasm: &[u8]) {
        if let Err(error) = write(&self.modules, &digest.to_string(), wasm) {
            tracing::warn!(module = digest.short(), %error, "could not keep a module");
        }
    }

    /// Code that was made before, ready to be served.
    pub(super) fn find(&self, job: &Job, compiler: &str) -> Option<Blob> {
        let path = self.code.join(name(job, compiler));
        let signed = read(&path, CODE_BYTES_MAX)?;
        if let Ok(file) = File::open(&path) {
            // Only an order is lost where this is not possible.
            let _ = file.set_modified(SystemTime::now());
        }
        Some(self.serve(signed))
    }

    /// Keeps what was made, and serves it.
    pub(super) fn keep(&self, job: &Job, compiler: &str, signed: Vec<u8>) -> Blob {
        if let Err(error) = write(&self.code, &name(job, compiler), &signed) {
            let module = job.module.digest.short();
            tracing::warn!(module, %error, "could not keep compiled code");
        }
        self.serve(signed)
    }

    fn serve(&self, signed: Vec<u8>) -> Blob {
        let blob = Blob::of(&signed);
        let mut served = self.lock();
        served.uses += 1;
        let uses = served.uses;
        served.code.insert(blob.digest, (signed.into(), uses));
        let bytes = |served: &Served| served.code.values().map(|(code, _)| code.len()).sum::<usize>();
        while bytes(&served) > SERVED_BYTES_MAX && served.code.len() > 1 {
            let oldest = served.code.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(digest, _)| *digest) else {
                break;
            };
            served.code.remove(&oldest);
        }
        blob
    }

    pub(super) fn served(&self, code: Digest) -> Option<Arc<[u8]>> {
        let mut served = self.lock();
        served.uses += 1;
        let uses = served.uses;
        let (code, used) = served.code.get_mut(&code)?;
        *used = uses;
        Some(Arc::clone(code))
    }

    fn lock(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What code is known by: everything that it depends on.
fn name(job: &Job, compiler: &str) -> String {
    let header = job.target.header(job.module.digest);
    Digest::of(format!("{header}compiler {compiler}\nkey {}\n", job.key).as_bytes()).to_string()
}

fn read(path: &Path, bytes_max: u64) -> Option<Vec<u8>> {
    let length = std::fs::metadata(path).ok()?.len();
    if length > bytes_max {
        return None;
    }
    std::fs::read(path).ok()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), FileError> {
    make_room(folder, bytes.len() as u64).map_err(|error| FileError::new(folder, &error))?;
    write_whole(&folder.join(name), bytes)
}

/// Removes what was not used for longest, until `bytes` more are within the limit.
fn make_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        files.push((about.modified()?, entry.path(), about.len()));
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
    for (_, path, length) in files {
        if total.saturating_add(bytes) <= FOLDER_BYTES_MAX {
            break;
        }
        std::fs::remove_file(path)?;
        total -= length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wayfare_protocol::code::{CodeTarget, SecretKey};

    fn job(architecture: &str) -> Job {
        Job {
            module: Blob::of(b"module"),
            target: CodeTarget {
                architecture: architecture.into(),
                wasmtime: "1".into(),
                abi: "2".into(),
            },
            key: SecretKey::from_random([1; 32]).public(),
        }
    }

    #[test]
    fn code_is_found_again_by_all_that_it_depends_on() {
        let folder = tempfile::tempdir().unwrap();
        let kept = CodeStore::open(folder.path())
            .unwrap()
            .keep(&job("x"), "c", b"code".to_vec());
        let store = CodeStore::open(folder.path()).unwrap();
        assert!(store.served(kept.digest).is_none(), "another start");
        assert_eq!(store.find(&job("x"), "c"), Some(kept));
        assert_eq!(store.served(kept.digest).as_deref(), Some(&b"code"[..]));
        assert_eq!(store.find(&job("y"), "c"), None);
        assert_eq!(store.find(&job("x"), "d"), None);
    }

    #[test]
    fn a_damaged_module_is_no_module() {
        let folder = tempfile::tempdir().unwrap();
        let store = CodeStore::open(folder.path()).unwrap();
        let module = Blob::of(b"module");
        assert!(!store.has_module(module));
        store.keep_module(module.digest, b"module");
        assert!(store.has_module(module));
        assert_eq!(store.module(module.digest).as_deref(), Some(&b"module"[..]));
        std::fs::write(store.modules.join(module.digest.to_string()), "modulo").unwrap();
        assert_eq!(store.module(module.digest), None);
        assert!(!store.has_module(module), "removed");
    }
}
