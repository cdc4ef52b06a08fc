//! Modules that are loaded: rewritten and compiled once, however many programs run from them or ask at once;
//! or from signed code that others compiled. Where a key is trusted, an engine that compiles asks whose it is
//! first: what the dispatcher has made once need not be made by every engine.
//!
//! What is compiled here comes in two pieces: what a program begins with, and *resuming code*, which is
//! larger. The second is compiled when programs run already (`background`), or by whoever needs it before
//! that; once it is in the cache, it is not even read before somebody needs it.
//!
//! What is compiled for the first time may begin on the baseline tier. Its successor is compiled behind it
//! and then loaded in its place: programs that start afterwards begin on that, and those that run change over
//! (`wayfare_runtime::Loaded::better`).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, Digest, EngineId};

use super::background::Background;
use super::code_workshop::{CodeWorkshop, SignedCode, Supply};
use super::store::BlobSource;
use super::store::Cache;
use wayfare_runtime::{Compiled, Loaded, MAY_COME_APART, Piece, Provenance, Runtime, Trust};

/// Loaded modules without a program that are kept: compiling takes far longer than anything else in a move.
const UNUSED_MAX: usize = 8;
/// Smaller modules are compiled here before a dispatcher could have sent their code.
const ASKED_BYTES_MIN: u64 = 128 << 10;

pub(crate) struct Modules {
    workshop: Arc<CodeWorkshop>,
    background: Background,
    slots: Mutex<BTreeMap<Digest, Slot>>,
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
        Self::with(runtime, engine, cache, Supply::Compiler { signed: None })
    }

    /// The same, and code that somebody else has compiled is taken where it can be had: `signed_cache` is for
    /// that.
    #[cfg(feature = "compiler")]
    pub(crate) fn trusting(
        runtime: Runtime,
        engine: EngineId,
        cache: Option<Cache>,
        (trust, signed_cache): (Trust, Option<Cache>),
    ) -> Self {
        let signed = Some(SignedCode::new(trust, signed_cache));
        Self::with(runtime, engine, cache, Supply::Compiler { signed })
    }

    /// Without: `cache` is for the same trust.
    pub(crate) fn signed(runtime: Runtime, engine: EngineId, cache: Option<Cache>, trust: Trust) -> Self {
        let supply = Supply::Signed(SignedCode::new(trust, cache));
        Self::with(runtime, engine, None, supply)
    }

    fn with(runtime: Runtime, engine: EngineId, cache: Option<Cache>, supply: Supply) -> Self {
        let workshop = Arc::new(CodeWorkshop {
            runtime,
            engine,
            cache,
            supply,
        });
        Self {
            background: Background::new(workshop.clone()),
            workshop,
            slots: Mutex::default(),
        }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.workshop.runtime
    }

    /// Without waiting: `None` if it is not loaded yet.
    pub(crate) fn ready(&self, digest: Digest) -> Option<Arc<Loaded>> {
        let slot = Arc::clone(&self.slots().get(&digest)?.loaded);
        let mut slot = slot.try_lock().ok()?;
        latest(&mut slot)
    }

    /// Loads what a program begins with, unless that is done; takes up to seconds if it has to be compiled.
    /// What it needs besides to go on from a capture is then compiled in the background.
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
        if let Some(loaded) = latest(&mut slot) {
            return Ok(loaded);
        }
        let loaded = self.workshop.make_ready(digest, source.clone())?;
        *slot = Some(Arc::clone(&loaded));
        if MAY_COME_APART {
            let is_kept = self.workshop.keeps_resuming(&loaded);
            self.background.make(&loaded, source, is_kept);
        }
        Ok(loaded)
    }

    /// Loads all of it, for programs that go on from a snapshot; takes up to minutes.
    pub(crate) fn load_whole(
        &self,
        digest: Digest,
        source: Option<BlobSource>,
    ) -> Result<Arc<Loaded>, Failure> {
        let loaded = self.load(digest, source.clone())?;
        self.workshop.finish(&loaded, source)?;
        Ok(loaded)
    }

    /// Sees to it that programs of a module can go on from a capture, on a thread of its own.
    pub(crate) fn hurry(
        &self,
        loaded: &Arc<Loaded>,
        source: Option<BlobSource>,
    ) -> impl Future<Output = Result<(), Failure>> + use<> {
        let made = self.background.hurry(loaded, source);
        async {
            made.await.unwrap_or_else(|_| {
                let reason = "nobody compiles the code that resumes the program: the engine ends, or has no thread for it"
                    .into();
                Err(Failure::Internal { reason })
            })
        }
    }

    /// As [`Modules::load_whole`], without holding a thread for work while resuming code is made.
    pub(crate) async fn load_whole_later(
        self: Arc<Self>,
        digest: Digest,
        source: Option<BlobSource>,
    ) -> Result<(), Failure> {
        let (modules, its_source) = (self.clone(), source.clone());
        let loading = tokio::task::spawn_blocking(move || modules.load(digest, its_source));
        let loaded = loading.await.unwrap_or_else(|_| {
            let reason = "the engine's work on it panicked".into();
            Err(Failure::Internal { reason })
        })?;
        match loaded.can_resume() {
            true => Ok(()),
            false => self.hurry(&loaded, source).await,
        }
    }

    /// The engine ends: nobody waits any more for what is being made, and nothing more is begun.
    pub(crate) fn close(&self) {
        self.background.close();
    }

    /// Whether the module's code is to be asked for before it is loaded: what cannot be compiled here, and
    /// what takes long to.
    pub(crate) fn lacks_code(&self, module: Blob) -> bool {
        let Some(signed) = self.workshop.supply.signed() else {
            return false;
        };
        let is_asked_for = !self.compiles() || module.bytes >= ASKED_BYTES_MIN;
        let cache = self.workshop.cache.as_ref();
        is_asked_for
            && !signed.holds(module.digest)
            && !cache.is_some_and(|cache| cache.holds(module.digest, Piece::Program))
            && self.ready(module.digest).is_none()
    }

    /// Whether what nobody else has compiled can be had all the same.
    pub(crate) fn compiles(&self) -> bool {
        self.workshop.supply.compiles()
    }

    /// What code must be, to be taken. `None`: nobody's is.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        Some(&self.workshop.supply.signed()?.trust)
    }

    /// Signed code that has come: checked, and kept for this start and the next ones.
    pub(crate) fn take_code(&self, digest: Digest, bytes: Vec<u8>) -> Result<(), Failure> {
        let refused = |reason: String| {
            self.workshop
                .no_code(digest, format!("what came was refused: {reason}"))
        };
        let signed = self.workshop.supply.signed();
        let signed = signed.ok_or_else(|| refused("no key is trusted".into()))?;
        let provenance = Provenance::Signed(signed.trust.clone());
        let compiled = Compiled::verify(bytes, digest, Piece::Program, &provenance);
        signed.take(compiled.map_err(|error| refused(error.to_string()))?);
        Ok(())
    }

    /// What can be made again gives its room to what cannot, if `error` says that the disk is full. Whether
    /// that was any: then it is worth another try. Signed code stays: without a dispatcher it cannot be had
    /// again.
    pub(crate) fn give_way(&self, error: &io::Error) -> bool {
        if error.kind() != io::ErrorKind::StorageFull || !self.compiles() {
            return false;
        }
        let signed = self.workshop.supply.signed();
        let caches = [
            self.workshop.cache.as_ref(),
            signed.and_then(|signed| signed.cache.as_ref()),
        ];
        let bytes: u64 = caches.into_iter().flatten().map(Cache::give_way).sum();
        if bytes > 0 {
            tracing::warn!(bytes, "disk is full: gave up all cached compiled code");
        }
        bytes > 0
    }

    #[cfg(test)]
    pub(crate) fn finish_background(&self) {
        self.background.finish();
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

/// What is loaded, replaced by its successor if that has come.
fn latest(slot: &mut Option<Arc<Loaded>>) -> Option<Arc<Loaded>> {
    if let Some(better) = slot.as_ref()?.better() {
        *slot = Some(better);
    }
    slot.clone()
}

impl Drop for Modules {
    fn drop(&mut self) {
        self.background.close();
        if let Some(cache) = &self.workshop.cache {
            cache.flush();
        }
    }
}
