//! Where the code of modules comes from: the cache, the compiler of this build, or somebody whose signature
//! is trusted.
//!
//! What always holds: whatever was compiled here and is optimised is kept in the cache, as soon as it is
//! made.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Digest, EngineId};
use wayfare_runtime::{Compiled, Loaded, Piece, ReviveError, Runtime, Tier, Trust, Waited};

use super::store::{BlobSource, Cache};

/// Makes code, or finds it in the cache.
pub(super) struct CodeWorkshop {
    pub(super) runtime: Runtime,
    pub(super) engine: EngineId,
    pub(super) cache: Option<Cache>,
    pub(super) supply: Supply,
}

/// Where code comes from that is not in the cache.
pub(super) enum Supply {
    #[cfg(feature = "compiler")]
    Compiler,
    /// Somebody whose key is trusted; what has come waits here to be loaded.
    Signed {
        trust: Trust,
        come: Mutex<BTreeMap<Digest, Compiled>>,
    },
}

impl CodeWorkshop {
    /// From the cache, or else compiled and kept there.
    pub(super) fn make_ready(
        &self,
        digest: Digest,
        source: Option<BlobSource>,
    ) -> Result<Arc<Loaded>, Failure> {
        if let Some(compiled) = self.come(digest) {
            return self.runtime.revive(&compiled).map_err(|error| match error {
                ReviveError::Module(failure) => failure,
                ReviveError::Code(reason) => self.no_code(digest, reason),
            });
        }
        if let Some((cache, compiled)) = self.kept(digest, Piece::Program) {
            match self.runtime.revive(&compiled) {
                Ok(loaded) => return Ok(loaded),
                Err(ReviveError::Module(failure)) => return Err(failure),
                Err(ReviveError::Code(reason)) => cache.refuse(digest, Piece::Program, &reason),
            }
        }
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler => {
                let wasm = read(&self.engine, "module", digest, source)?;
                let (loaded, compiled) = self.runtime.compile_first(digest, &wasm)?;
                if let Some(compiled) = compiled {
                    self.keep(compiled);
                }
                Ok(loaded)
            }
            Supply::Signed { .. } => {
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
            && let Some((cache, compiled)) = self.kept(digest, Piece::Resuming)
        {
            match self.runtime.revive_resuming(loaded, &compiled) {
                Ok(()) => return Ok(()),
                Err(ReviveError::Module(failure)) => return Err(failure),
                Err(ReviveError::Code(reason)) => cache.refuse(digest, Piece::Resuming, &reason),
            }
        }
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler => {
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
            Supply::Signed { .. } => {
                drop(source);
                Err(self.no_code(digest, "its code lacks what resumes programs".into()))
            }
        }
    }

    /// Makes what succeeds code of the baseline tier.
    pub(super) fn optimise(&self, loaded: &Loaded, source: Option<BlobSource>) -> Result<(), Failure> {
        match &self.supply {
            #[cfg(feature = "compiler")]
            Supply::Compiler => {
                let wasm = read(&self.engine, "module", loaded.digest(), source)?;
                self.runtime
                    .optimise(loaded, &wasm, |compiled| self.keep(compiled))
            }
            Supply::Signed { .. } => {
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

    fn kept(&self, digest: Digest, piece: Piece) -> Option<(&Cache, Compiled)> {
        let cache = self.cache.as_ref()?;
        Some((cache, cache.find(digest, piece)?))
    }

    #[cfg(feature = "compiler")]
    fn keep(&self, compiled: Compiled) {
        if let Some(cache) = &self.cache {
            cache.keep(compiled);
        }
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
