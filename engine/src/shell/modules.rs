//! Modules that are loaded: rewritten and compiled once, however many programs run from them or ask at once.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Digest, EngineId};

use super::store::BlobSource;
#[cfg(feature = "compiler")]
use super::store::Cache;
#[cfg(feature = "compiler")]
use crate::process::ReviveError;
use crate::process::{Loaded, Runtime};

/// Loaded modules without a program that are kept: compiling takes far longer than anything else in a move.
const UNUSED_MAX: usize = 8;

pub(crate) struct Modules {
    runtime: Runtime,
    engine: EngineId,
    slots: Mutex<BTreeMap<Digest, Slot>>,
    #[cfg(feature = "compiler")]
    cache: Option<Cache>,
}

struct Slot {
    /// Held while the module is being loaded, so that a second asker waits for the first.
    loaded: Arc<Mutex<Option<Arc<Loaded>>>>,
    used: Instant,
}

impl Modules {
    pub(crate) fn new(runtime: Runtime, engine: EngineId) -> Self {
        Self {
            runtime,
            engine,
            slots: Mutex::default(),
            #[cfg(feature = "compiler")]
            cache: None,
        }
    }

    #[cfg(feature = "compiler")]
    pub(crate) fn with_cache(self, cache: Option<Cache>) -> Self {
        Self { cache, ..self }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Without waiting: `None` if it is not loaded yet.
    pub(crate) fn ready(&self, digest: Digest) -> Option<Arc<Loaded>> {
        let slot = Arc::clone(&self.slots().get(&digest)?.loaded);
        slot.try_lock().ok()?.clone()
    }

    /// Loads it unless that is done; takes up to seconds if it has to be compiled.
    pub(crate) fn load(&self, digest: Digest, source: Option<BlobSource>) -> Result<Arc<Loaded>, Failure> {
        let slot = {
            let mut slots = self.slots();
            let slot = slots.entry(digest).or_insert_with(|| Slot {
                loaded: Arc::default(),
                used: Instant::now(),
            });
            slot.used = Instant::now();
            Arc::clone(&slot.loaded)
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*slot {
            return Ok(Arc::clone(loaded));
        }
        let loaded = self.make_ready(digest, source)?;
        *slot = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// From the cache, or else compiled and kept there.
    #[cfg(feature = "compiler")]
    fn make_ready(&self, digest: Digest, source: Option<BlobSource>) -> Result<Arc<Loaded>, Failure> {
        let cache = self.cache.as_ref();
        if let Some((cache, compiled)) = cache.and_then(|cache| Some((cache, cache.find(digest)?))) {
            match self.runtime.revive(&compiled) {
                Ok(loaded) => return Ok(loaded),
                Err(ReviveError::Module(failure)) => return Err(failure),
                Err(ReviveError::Code(reason)) => cache.refuse(digest, &reason),
            }
        }
        let wasm = read(&self.engine, "module", digest, source)?;
        let (loaded, compiled) = self.runtime.compile(digest, &wasm)?;
        if let Some(cache) = cache {
            cache.keep(compiled);
        }
        Ok(loaded)
    }

    /// What can be made again gives its room to what cannot, if `error` says that the disk is full. Whether that was any:
    /// then it is worth another try.
    pub(crate) fn give_way(&self, error: &io::Error) -> bool {
        #[cfg(feature = "compiler")]
        if error.kind() == io::ErrorKind::StorageFull
            && let Some(cache) = &self.cache
        {
            let bytes = cache.give_way();
            if bytes > 0 {
                tracing::warn!(bytes, "disk is full: gave up all cached compiled code");
            }
            return bytes > 0;
        }
        let _ = error;
        false
    }

    #[cfg(not(feature = "compiler"))]
    fn make_ready(&self, digest: Digest, source: Option<BlobSource>) -> Result<Arc<Loaded>, Failure> {
        let wasm = read(&self.engine, "module", digest, source)?;
        self.runtime.load(digest, &wasm)
    }

    /// Drops what no program runs from, but for the last used.
    pub(crate) fn sweep(&self) {
        let mut slots = self.slots();
        let mut unused: Vec<(Instant, Digest)> = slots
            .iter()
            .filter(|(_, slot)| match slot.loaded.try_lock() {
                Ok(loaded) => loaded
                    .as_ref()
                    .is_none_or(|loaded| Arc::strong_count(loaded) == 1),
                Err(_) => false,
            })
            .map(|(digest, slot)| (slot.used, *digest))
            .collect();
        unused.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        for (_, digest) in unused.into_iter().skip(UNUSED_MAX) {
            slots.remove(&digest);
        }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Digest, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob's bytes, or why they cannot be had.
pub(crate) fn read(
    engine: &EngineId,
    what: &str,
    digest: Digest,
    source: Option<BlobSource>,
) -> Result<bytes::Bytes, Failure> {
    let storage = |reason| Failure::Storage {
        engine: engine.clone(),
        reason,
    };
    let source = source.ok_or_else(|| storage(format!("{what} {} is not here", digest.short())))?;
    source
        .read()
        .map_err(|error| storage(format!("{what} {}: {error}", digest.short())))
}
