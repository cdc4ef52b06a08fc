//! Modules that are loaded: rewritten and compiled once, however many programs run from them or ask at once; or from
//! signed code that others compiled.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Digest, EngineId};

use super::store::BlobSource;
use super::store::Cache;
use crate::process::{Compiled, Loaded, Provenance, ReviveError, Runtime, Trust};

/// Loaded modules without a program that are kept: compiling takes far longer than anything else in a move.
const UNUSED_MAX: usize = 8;

pub(crate) struct Modules {
    runtime: Runtime,
    engine: EngineId,
    slots: Mutex<BTreeMap<Digest, Slot>>,
    cache: Option<Cache>,
    supply: Supply,
}

/// Where code comes from that is not in the cache.
enum Supply {
    #[cfg(feature = "compiler")]
    Compiler,
    /// Somebody whose key is trusted; what has come waits here to be loaded.
    Signed {
        trust: Trust,
        come: Mutex<BTreeMap<Digest, Compiled>>,
    },
}

struct Slot {
    /// Held while the module is being loaded, so that a second asker waits for the first.
    loaded: Arc<Mutex<Option<Arc<Loaded>>>>,
    used: Instant,
}

impl Modules {
    /// With the compiler, which must be in this build.
    #[cfg(feature = "compiler")]
    pub(crate) fn new(runtime: Runtime, engine: EngineId, cache: Option<Cache>) -> Self {
        Self::with(runtime, engine, cache, Supply::Compiler)
    }

    /// Without: `cache` is for the same trust.
    pub(crate) fn signed(runtime: Runtime, engine: EngineId, cache: Option<Cache>, trust: Trust) -> Self {
        let come = Mutex::default();
        Self::with(runtime, engine, cache, Supply::Signed { trust, come })
    }

    fn with(runtime: Runtime, engine: EngineId, cache: Option<Cache>, supply: Supply) -> Self {
        Self {
            runtime,
            engine,
            slots: Mutex::default(),
            cache,
            supply,
        }
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
    fn make_ready(&self, digest: Digest, source: Option<BlobSource>) -> Result<Arc<Loaded>, Failure> {
        if let Some(compiled) = self.come(digest) {
            return self.runtime.revive(&compiled).map_err(|error| match error {
                ReviveError::Module(failure) => failure,
                ReviveError::Code(reason) => self.no_code(digest, reason),
            });
        }
        let cache = self.cache.as_ref();
        if let Some((cache, compiled)) = cache.and_then(|cache| Some((cache, cache.find(digest)?))) {
            match self.runtime.revive(&compiled) {
                Ok(loaded) => return Ok(loaded),
                Err(ReviveError::Module(failure)) => return Err(failure),
                Err(ReviveError::Code(reason)) => cache.refuse(digest, &reason),
            }
        }
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler => self.compile(digest, source),
            Supply::Signed { .. } => {
                drop(source);
                Err(self.no_code(digest, "what was kept of it is gone: try again".into()))
            }
        }
    }

    #[cfg(feature = "compiler")]
    fn compile(&self, digest: Digest, source: Option<BlobSource>) -> Result<Arc<Loaded>, Failure> {
        let wasm = read(&self.engine, "module", digest, source)?;
        let (loaded, compiled) = self.runtime.compile(digest, &wasm)?;
        if let Some(cache) = &self.cache {
            cache.keep(compiled);
        }
        Ok(loaded)
    }

    /// What has come of it and was not loaded yet.
    fn come(&self, digest: Digest) -> Option<Compiled> {
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler => None,
            Supply::Signed { come, .. } => come
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&digest),
        }
    }

    /// Whether the module's code has to be fetched before it can be loaded.
    pub(crate) fn lacks_code(&self, digest: Digest) -> bool {
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler => false,
            Supply::Signed { come, .. } => {
                let come = come.lock().unwrap_or_else(PoisonError::into_inner);
                !come.contains_key(&digest)
                    && !self.cache.as_ref().is_some_and(|cache| cache.holds(digest))
                    && self.ready(digest).is_none()
            }
        }
    }

    /// What code must be, to be taken.
    pub(crate) fn trust(&self) -> Trust {
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler => Trust {
                target: crate::process::ahead::here(),
                keys: Vec::new(),
            },
            Supply::Signed { trust, .. } => trust.clone(),
        }
    }

    /// Signed code that has come: checked, and kept for this start and the next ones.
    pub(crate) fn take_code(&self, digest: Digest, bytes: Vec<u8>) -> Result<(), Failure> {
        let provenance = Provenance::Signed(self.trust());
        let compiled = Compiled::verify(bytes, digest, &provenance)
            .map_err(|error| self.no_code(digest, format!("what came was refused: {error}")))?;
        if let Some(cache) = &self.cache {
            cache.keep_now(&compiled);
        }
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler => {}
            Supply::Signed { come, .. } => {
                let mut come = come.lock().unwrap_or_else(PoisonError::into_inner);
                come.insert(digest, compiled);
            }
        }
        Ok(())
    }

    fn no_code(&self, module: Digest, reason: String) -> Failure {
        Failure::NoCode {
            engine: self.engine.clone(),
            module,
            reason,
        }
    }

    /// What can be made again gives its room to what cannot, if `error` says that the disk is full. Whether that was any:
    /// then it is worth another try. Signed code stays: without a dispatcher it cannot be had again.
    pub(crate) fn give_way(&self, error: &io::Error) -> bool {
        if error.kind() == io::ErrorKind::StorageFull
            && !matches!(self.supply, Supply::Signed { .. })
            && let Some(cache) = &self.cache
        {
            let bytes = cache.give_way();
            if bytes > 0 {
                tracing::warn!(bytes, "disk is full: gave up all cached compiled code");
            }
            return bytes > 0;
        }
        false
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
