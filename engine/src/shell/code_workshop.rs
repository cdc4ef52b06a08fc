//! Where the code of modules comes from: the cache, the compiler of this build, or somebody whose signature
//! is trusted.
//!
//! What always holds: whatever was compiled here and is optimised is kept in the cache, as soon as it is
//! made.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Digest, EngineId};
use wayfare_runtime::{Compiled, Loaded, Piece, ReviveError, Runtime, Tier, Trust, Waited};

use super::store::{BlobSource, Cache};

/// Makes code, or finds it in a cache.
pub(super) struct CodeWorkshop {
    pub(super) runtime: Runtime,
    pub(super) engine: EngineId,
    /// What was compiled here.
    pub(super) cache: Option<Cache>,
    pub(super) supply: Supply,
}

/// Where code comes from that was not compiled here before.
pub(super) enum Supply {
    /// This build's compiler; somebody else's first, where a key is trusted.
    #[cfg(feature = "compiler")]
    Compiler {
        signed: Option<SignedCode>,
    },
    Signed(SignedCode),
}

/// Code of somebody whose key is trusted. It is always all of a module.
pub(super) struct SignedCode {
    pub(super) trust: Trust,
    pub(super) cache: Option<Cache>,
    /// What has come waits here to be loaded.
    come: Mutex<BTreeMap<Digest, Compiled>>,
}

impl SignedCode {
    pub(super) fn new(trust: Trust, cache: Option<Cache>) -> Self {
        let come = Mutex::default();
        Self { trust, cache, come }
    }

    /// Whether a module of it can be loaded.
    pub(super) fn holds(&self, module: Digest) -> bool {
        let cache = self.cache.as_ref();
        self.come().contains_key(&module) || cache.is_some_and(|cache| cache.holds(module, Piece::Program))
    }

    /// Keeps what was checked, for this start and the next ones.
    pub(super) fn take(&self, compiled: Compiled) {
        if let Some(cache) = &self.cache {
            cache.keep_now(&compiled);
        }
        self.come().insert(compiled.module(), compiled);
    }

    fn come(&self) -> MutexGuard<'_, BTreeMap<Digest, Compiled>> {
        self.come.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supply {
    /// `None`: nobody's key is trusted.
    pub(super) fn signed(&self) -> Option<&SignedCode> {
        match self {
            #[cfg(feature = "compiler")]
            Self::Compiler { signed } => signed.as_ref(),
            Self::Signed(signed) => Some(signed),
        }
    }

    /// Whether there is code without anybody's signature.
    pub(super) fn compiles(&self) -> bool {
        !matches!(self, Self::Signed(_))
    }
}

impl CodeWorkshop {
    /// From the cache, or else compiled and kept there.
    pub(super) fn make_ready(
        &self,
        digest: Digest,
        source: Option<BlobSource>,
    ) -> Result<Arc<Loaded>, Failure> {
        let signed = self.supply.signed();
        if let Some(compiled) = signed.and_then(|signed| signed.come().remove(&digest)) {
            match self.runtime.revive(&compiled) {
                Ok(loaded) => return Ok(loaded),
                Err(ReviveError::Module(failure)) => return Err(failure),
                Err(ReviveError::Code(reason)) if self.supply.compiles() => {
                    tracing::warn!(
                        module = digest.short(),
                        reason,
                        "signed code is no good here: compiles"
                    );
                }
                Err(ReviveError::Code(reason)) => return Err(self.no_code(digest, reason)),
            }
        }
        let caches = [
            self.cache.as_ref(),
            signed.and_then(|signed| signed.cache.as_ref()),
        ];
        for cache in caches.into_iter().flatten() {
            let Some(compiled) = cache.find(digest, Piece::Program) else {
                continue;
            };
            match self.runtime.revive(&compiled) {
                Ok(loaded) => return Ok(loaded),
                Err(ReviveError::Module(failure)) => return Err(failure),
                Err(ReviveError::Code(reason)) => cache.refuse(digest, Piece::Program, &reason),
            }
        }
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler { .. } => {
                let wasm = read(&self.engine, "module", digest, source)?;
                let (loaded, compiled) = self.runtime.compile_first(digest, &wasm)?;
                if let Some(compiled) = compiled {
                    self.keep(compiled);
                }
                Ok(loaded)
            }
            Supply::Signed(_) => {
                drop(source);
                Err(self.no_code(digest, "what was kept of it is gone: try again".into()))
            }
        }
    }

    /// Makes a module's resuming code, or waits for who is making it.
    pub(super) fn finish(&self, loaded: &Loaded, source: Option<BlobSource>) -> Result<(), Failure> {
        while !loaded.can_resume() {
            if loaded.wait_resuming()? == Waited::Absent {
                self.make_resuming(loaded, source.clone())?;
            }
        }
        Ok(())
    }

    /// As [`CodeWorkshop::make_ready`]. Nothing if somebody else is making it.
    fn make_resuming(&self, loaded: &Loaded, source: Option<BlobSource>) -> Result<(), Failure> {
        let digest = loaded.digest();
        if loaded.tier() == Tier::Optimised
            && let Some(cache) = &self.cache
            && let Some(compiled) = cache.find(digest, Piece::Resuming)
        {
            match self.runtime.revive_resuming(loaded, &compiled) {
                Ok(()) => return Ok(()),
                Err(ReviveError::Module(failure)) => return Err(failure),
                Err(ReviveError::Code(reason)) => cache.refuse(digest, Piece::Resuming, &reason),
            }
        }
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler { .. } => {
                let wasm = read(&self.engine, "module", digest, source)?;
                match self.runtime.compile_resuming(loaded, &wasm) {
                    Ok(Some(compiled)) => self.keep(compiled),
                    Ok(None) => {}
                    // What succeeds it resumes its programs.
                    Err(failure) if loaded.tier() == Tier::Baseline => {
                        tracing::debug!(module = digest.short(), %failure, "no resuming code of the baseline tier");
                        self.runtime
                            .optimise(loaded, &wasm, |compiled| self.keep(compiled))?;
                    }
                    Err(failure) => return Err(failure),
                }
                Ok(())
            }
            // What is signed is all of a module.
            Supply::Signed(_) => {
                drop(source);
                Err(self.no_code(digest, "its code lacks what resumes programs".into()))
            }
        }
    }

    /// Makes what succeeds code of the baseline tier.
    pub(super) fn optimise(&self, loaded: &Loaded, source: Option<BlobSource>) -> Result<(), Failure> {
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler { .. } => {
                let wasm = read(&self.engine, "module", loaded.digest(), source)?;
                self.runtime
                    .optimise(loaded, &wasm, |compiled| self.keep(compiled))
            }
            Supply::Signed(_) => {
                drop(source);
                debug_assert_eq!(
                    loaded.tier(),
                    Tier::Optimised,
                    "nothing that is signed is of the other tier"
                );
                Ok(())
            }
        }
    }

    /// Whether the cache has resuming code, so that it need not be made before somebody wants it.
    pub(super) fn keeps_resuming(&self, loaded: &Loaded) -> bool {
        let cache = self.cache.as_ref().filter(|_| loaded.tier() == Tier::Optimised);
        cache.is_some_and(|cache| cache.holds(loaded.digest(), Piece::Resuming))
    }

    #[cfg(feature = "compiler")]
    fn keep(&self, compiled: Compiled) {
        if let Some(cache) = &self.cache {
            cache.keep(compiled);
        }
    }

    pub(super) fn no_code(&self, module: Digest, reason: String) -> Failure {
        Failure::NoCode {
            engine: self.engine.clone(),
            module,
            reason,
        }
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
