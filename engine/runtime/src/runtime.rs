//! What all programs of an engine share, and modules made ready for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::Config;
#[cfg(feature = "compiler")]
use wasmtime::Module;
#[cfg(feature = "compiler")]
use wayfare_compiler::Form;
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::error::Failure;
#[cfg(feature = "compiler")]
use wayfare_protocol::ids::Digest;

use super::address_space::internal;
use super::backend::Backend;
use super::compiled::{Compiled, Trust};
#[cfg(feature = "compiler")]
use super::compiled::{Piece, Provenance};
use super::loaded::{Loaded, Tier};
use super::options::{RuntimeOptions, config, reserve};
use super::resuming::ResumeModule;
use super::rooms::{self, Rooms};

/// Makes code of a piece of a module somewhere else: in a process that can be held to limits, which a thread
/// cannot. It is asked and answers as [`Runtime::make`].
#[cfg(feature = "compiler")]
pub type CompileApart = dyn Fn(Digest, Piece, Tier, &[u8]) -> Result<(Tier, Compiled), Failure> + Send + Sync;

/// wasmtime's engines and the host functions.
pub struct Runtime {
    optimised: Backend,
    /// `None`: it compiles in this process.
    #[cfg(feature = "compiler")]
    apart: Option<Box<CompileApart>>,
    #[cfg(feature = "compiler")]
    baseline: super::baseline::Baseline,
    compilations: AtomicU64,
    resuming_compilations: AtomicU64,
    #[cfg(feature = "compiler")]
    optimisations: AtomicU64,
}

/// Why compiled code was not revived.
#[derive(Debug, thiserror::Error)]
pub enum ReviveError {
    /// It has to be compiled again.
    #[error("{0}")]
    Code(String),
    /// It would be refused just the same if it was compiled again.
    #[error("{0}")]
    Module(Failure),
}

impl Runtime {
    pub fn new(options: RuntimeOptions) -> Result<Self, Failure> {
        #[cfg(feature = "compiler")]
        let baseline = super::baseline::Baseline::new(&options);
        let runtime = Self::with_settings(options, |options| {
            let mut config = config();
            reserve(&mut config, options);
            config
        })?;
        #[cfg(feature = "compiler")]
        let runtime = Self { baseline, ..runtime };
        Ok(runtime)
    }

    /// Without a baseline tier.
    pub(super) fn with_settings(
        options: RuntimeOptions,
        make: fn(&RuntimeOptions) -> Config,
    ) -> Result<Self, Failure> {
        let rooms = Rooms::new(options, make, 1);
        let optimised = rooms.and_then(|rooms| Backend::new(Tier::Optimised, rooms));
        Ok(Self {
            optimised: optimised.map_err(internal)?,
            #[cfg(feature = "compiler")]
            apart: None,
            #[cfg(feature = "compiler")]
            baseline: Default::default(),
            compilations: AtomicU64::new(0),
            resuming_compilations: AtomicU64::new(0),
            #[cfg(feature = "compiler")]
            optimisations: AtomicU64::new(0),
        })
    }

    /// All code is made by `make`, which calls [`Runtime::make`] of the same build, with the same address
    /// space.
    #[cfg(feature = "compiler")]
    pub fn compiling_apart(self, make: Box<CompileApart>) -> Self {
        Self {
            apart: Some(make),
            ..self
        }
    }

    pub(super) fn options(&self) -> &RuntimeOptions {
        self.optimised.rooms.options()
    }

    /// Of the stack of a thread on which a program runs, whichever tier it comes to.
    pub(super) fn thread_stack_bytes(&self, loaded: &Loaded) -> Result<usize, Failure> {
        let later = self.optimised.rooms.thread_stack_bytes().map_err(internal)?;
        let first = loaded.housed.rooms().thread_stack_bytes().map_err(internal)?;
        Ok(first.max(later))
    }

    /// Rewrites and compiles all of it; takes up to minutes, so call it off the async workers. Fails with
    /// [`Failure::Module`], saying what is wrong: not Wasm, truncated, an import that nobody offers.
    #[cfg(feature = "compiler")]
    pub fn load(&self, digest: Digest, wasm: &[u8]) -> Result<Arc<Loaded>, Failure> {
        let (loaded, _) = self.compile(digest, wasm)?;
        self.compile_resuming(&loaded, wasm)?;
        Ok(loaded)
    }

    /// As [`Runtime::load`], what a program needs to start, with what to keep of it for [`Runtime::revive`].
    #[cfg(feature = "compiler")]
    pub fn compile(&self, digest: Digest, wasm: &[u8]) -> Result<(Arc<Loaded>, Compiled), Failure> {
        self.compilations.fetch_add(1, Ordering::Relaxed);
        let (module, compiled) = self.optimised_piece(digest, wasm, Piece::Program)?;
        let loaded = self.optimised.ready(digest, &module)?;
        Ok((loaded, compiled))
    }

    /// What a program needs to start, as soon as can be: on the baseline tier where that gains time, and then
    /// there is nothing to keep of it, but something to follow ([`Runtime::optimise`]).
    #[cfg(feature = "compiler")]
    pub fn compile_first(
        &self,
        digest: Digest,
        wasm: &[u8],
    ) -> Result<(Arc<Loaded>, Option<Compiled>), Failure> {
        if !self.baseline.is_on() {
            let (loaded, compiled) = self.compile(digest, wasm)?;
            return Ok((loaded, Some(compiled)));
        }
        let (tier, compiled) = match &self.apart {
            Some(make) => make(digest, Piece::Program, Tier::Baseline, wasm)?,
            None => self.make(digest, Piece::Program, Tier::Baseline, wasm)?,
        };
        match tier {
            Tier::Baseline => Ok((self.baseline.revive(&compiled)?, None)),
            Tier::Optimised => {
                self.compilations.fetch_add(1, Ordering::Relaxed);
                let module = self.load_optimised(&compiled)?;
                Ok((self.optimised.ready(digest, &module)?, Some(compiled)))
            }
        }
    }

    /// Code of a piece as bytes, of this tier: what [`Runtime::compiling_apart`] is to come to. A program
    /// that is not for the baseline tier is optimised.
    #[cfg(feature = "compiler")]
    pub fn make(
        &self,
        digest: Digest,
        piece: Piece,
        tier: Tier,
        wasm: &[u8],
    ) -> Result<(Tier, Compiled), Failure> {
        let (tier, module) = match (piece, tier) {
            (Piece::Program, Tier::Baseline) => {
                let rewritten = super::ahead::rewrite(digest, wasm, Form::Program)?;
                match self.baseline.program(digest, &rewritten) {
                    Some(module) => (Tier::Baseline, module),
                    None => (Tier::Optimised, self.optimised.compile(digest, &rewritten)?),
                }
            }
            (Piece::Resuming, Tier::Baseline) => (tier, self.baseline.resuming(digest, wasm)?),
            (_, Tier::Optimised) => (tier, self.optimised_here(digest, wasm, piece)?),
        };
        let compiled = Compiled::of(digest, piece, &module).map_err(internal)?;
        Ok((tier, compiled))
    }

    #[cfg(feature = "compiler")]
    fn load_optimised(&self, compiled: &Compiled) -> Result<Module, Failure> {
        super::raw::load_code(self.optimised.fresh.engine(), compiled).map_err(internal)
    }

    #[cfg(feature = "compiler")]
    fn optimised_piece(
        &self,
        digest: Digest,
        wasm: &[u8],
        piece: Piece,
    ) -> Result<(Module, Compiled), Failure> {
        let Some(make) = &self.apart else {
            let module = self.optimised_here(digest, wasm, piece)?;
            let compiled = Compiled::of(digest, piece, &module).map_err(internal)?;
            return Ok((module, compiled));
        };
        let (_, compiled) = make(digest, piece, Tier::Optimised, wasm)?;
        Ok((self.load_optimised(&compiled)?, compiled))
    }

    #[cfg(feature = "compiler")]
    fn optimised_here(&self, digest: Digest, wasm: &[u8], piece: Piece) -> Result<Module, Failure> {
        let form = match piece {
            Piece::Program => Form::Program,
            Piece::Resuming => Form::Resuming,
        };
        let rewritten = super::ahead::rewrite(digest, wasm, form)?;
        self.optimised.compile(digest, &rewritten)
    }

    /// The rest, unless it is there or somebody is making it; with what to keep of it for
    /// [`Runtime::revive_resuming`], which is nothing of the baseline tier's.
    #[cfg(feature = "compiler")]
    pub fn compile_resuming(&self, loaded: &Loaded, wasm: &[u8]) -> Result<Option<Compiled>, Failure> {
        let Some(making) = loaded.resuming.begin() else {
            return Ok(None);
        };
        let made = match loaded.tier {
            Tier::Baseline => self.compile_baseline_resuming(loaded, wasm).map(|()| None),
            Tier::Optimised => self.compile_optimised_resuming(loaded, wasm).map(Some),
        };
        match (&made, loaded.tier) {
            // What baseline code's successor resumes it by may be made all the same.
            (Err(_), Tier::Baseline) => drop(making),
            _ => making.settle(&made.as_ref().map(drop).map_err(Clone::clone)),
        }
        made
    }

    #[cfg(feature = "compiler")]
    fn compile_baseline_resuming(&self, loaded: &Loaded, wasm: &[u8]) -> Result<(), Failure> {
        let module = match &self.apart {
            Some(make) => {
                let (_, compiled) = make(loaded.digest, Piece::Resuming, Tier::Baseline, wasm)?;
                self.baseline.load(&compiled)?
            }
            None => self.baseline.resuming(loaded.digest, wasm)?,
        };
        loaded.take_resuming(module)
    }

    #[cfg(feature = "compiler")]
    fn compile_optimised_resuming(&self, loaded: &Loaded, wasm: &[u8]) -> Result<Compiled, Failure> {
        self.resuming_compilations.fetch_add(1, Ordering::Relaxed);
        let (module, compiled) = self.optimised_piece(loaded.digest, wasm, Piece::Resuming)?;
        loaded.take_resuming(module)?;
        Ok(compiled)
    }

    /// Compiles what succeeds code of the baseline tier, unless that is done, and has its programs change
    /// over. `keep` gets what to keep for [`Runtime::revive`] and [`Runtime::revive_resuming`].
    #[cfg(feature = "compiler")]
    pub fn optimise(
        &self,
        baseline: &Loaded,
        wasm: &[u8],
        mut keep: impl FnMut(Compiled),
    ) -> Result<(), Failure> {
        let succession = &baseline.succession;
        let _making = succession.making();
        if baseline.better().is_some() {
            return Ok(());
        }
        let (better, compiled) = self.compile(baseline.digest(), wasm)?;
        keep(compiled);
        if let Some(compiled) = self.compile_resuming(&better, wasm)? {
            keep(compiled);
        }
        succession.succeed(better);
        self.optimisations.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// How often this runtime has made a successor of baseline code.
    #[cfg(feature = "compiler")]
    pub fn optimisations(&self) -> u64 {
        self.optimisations.load(Ordering::Relaxed)
    }

    /// Loads what was compiled before, in milliseconds.
    pub fn revive(&self, compiled: &Compiled) -> Result<Arc<Loaded>, ReviveError> {
        let module = super::raw::load_code(self.optimised.fresh.engine(), compiled)
            .map_err(|error| ReviveError::Code(format!("{error:#}")))?;
        self.optimised
            .ready(compiled.module(), &module)
            .map_err(ReviveError::Module)
    }

    /// The same for resuming code, unless it is there or somebody is making it.
    pub fn revive_resuming(&self, loaded: &Loaded, compiled: &Compiled) -> Result<(), ReviveError> {
        let Some(making) = loaded.resuming.begin() else {
            return Ok(());
        };
        let code = |reason: String| ReviveError::Code(reason);
        let module = super::raw::load_code(self.optimised.fresh.engine(), compiled)
            .map_err(|error| code(format!("{error:#}")))?;
        let program = loaded.housed.pre(rooms::FRESH).map_err(ReviveError::Module)?;
        let resuming = ResumeModule::new(module, program.module()).map_err(code)?;
        let taken = loaded.housed.take_resuming(resuming);
        making.settle(&taken);
        taken.map_err(ReviveError::Module)
    }

    /// What the code that this runtime compiles and revives depends on, besides the module.
    #[cfg(feature = "compiler")]
    pub fn provenance(&self) -> Provenance {
        Provenance::of(self.optimised.fresh.engine())
    }

    /// What signed code must be for this runtime to load it.
    pub fn trust(&self, keys: Vec<PublicKey>) -> Trust {
        Trust {
            target: super::ahead::here(),
            keys,
        }
    }

    /// Whether code that others compiled can run in this process, since it reserves what memories may grow
    /// to.
    #[cfg(feature = "compiler")]
    pub fn takes_signed_code(&self) -> bool {
        self.options().address_space == super::address_space::AddressSpace::Ample
    }

    /// How often this runtime has compiled a module.
    pub fn compilations(&self) -> u64 {
        self.compilations.load(Ordering::Relaxed)
    }

    /// How often it has compiled a module's resuming code.
    pub fn resuming_compilations(&self) -> u64 {
        self.resuming_compilations.load(Ordering::Relaxed)
    }
}
