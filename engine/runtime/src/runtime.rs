//! What all programs of an engine share, and modules made ready for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::{Config, ExternType, Module, Mutability, ValType};
use wayfare_abi::rewritten as abi;
#[cfg(feature = "compiler")]
use wayfare_compiler::Form;
use wayfare_devices::Devices;
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;
use wayfare_protocol::snapshot::PAGE_BYTES;

use super::address_space::AddressSpace;
use super::backend::{Backend, Tier};
#[cfg(feature = "compiler")]
use super::compiled::Piece;
use super::compiled::{Compiled, Provenance, Trust};
use super::image::Image;
use super::memory::Budget;
use super::resuming::{ResumeModule, Resuming, Waited};
use super::rooms::{self, Housed, Rooms};
use super::variables::Variables;

/// Code checks addresses anyway.
const GUARD_BYTES_SCARCE: u64 = 64 << 10;
/// A memory that grows beyond what it has beside it is copied.
const GROWTH_BYTES_SCARCE: u64 = 1 << 20;

/// Whether resuming code can be in a module of its own. What others compiled has it in the program's: a build that loads only
/// that has no use for the rest of `resuming`, and the linker leaves it out.
pub const MAY_COME_APART: bool = cfg!(feature = "compiler");

/// Bounds for all programs of an engine. The defaults fit a board with 512 MB.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Stack of a fresh program. One that is resumed has as much besides what its calls take.
    pub stack_bytes_max: usize,
    /// Linear memory of one program; its `ProgramSpec` may ask for less, not for more.
    pub memory_bytes_max: u64,
    pub table_elements_max: usize,
    /// Memory of all programs together.
    pub budget: Arc<Budget>,
    /// That programs can be granted.
    pub variables: Variables,
    /// Code that others compiled is for [`AddressSpace::Ample`] only.
    pub address_space: AddressSpace,
    /// What is compiled for the first time may start on the baseline tier: see [`Runtime::compile_first`].
    pub baseline: bool,
    pub devices: Arc<Devices>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            stack_bytes_max: 2 << 20,
            memory_bytes_max: 64 << 20,
            table_elements_max: 100_000,
            budget: Arc::default(),
            variables: Variables::default(),
            address_space: AddressSpace::probe(),
            baseline: true,
            devices: Arc::default(),
        }
    }
}

/// wasmtime's engines and the host functions.
pub struct Runtime {
    optimised: Backend,
    #[cfg(feature = "compiler")]
    baseline: super::baseline::Baseline,
    compilations: AtomicU64,
    resuming_compilations: AtomicU64,
    #[cfg(feature = "compiler")]
    pub(super) optimisations: AtomicU64,
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

/// A module, rewritten and compiled: as many programs as wanted are launched from it. Without its resuming code they can
/// begin, and neither go on from a snapshot nor go on where they were captured.
pub struct Loaded {
    pub(super) digest: Digest,
    pub(super) tier: Tier,
    pub(super) housed: Housed,
    pub(super) resuming: Resuming,
    pub(super) image: Image,
    pub(super) shape: Shape,
    #[cfg(feature = "compiler")]
    pub(super) succession: super::succession::Succession,
}

/// What a rewritten module exports for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) globals: usize,
    pub(super) memories: usize,
    /// The least that the memories have together.
    pub(super) memory_bytes_min: u64,
    pub(super) save_bytes: u64,
    /// It has its own resuming code.
    pub(super) resumes: bool,
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
            baseline: Default::default(),
            compilations: AtomicU64::new(0),
            resuming_compilations: AtomicU64::new(0),
            #[cfg(feature = "compiler")]
            optimisations: AtomicU64::new(0),
        })
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
        let rewritten = super::ahead::rewrite(digest, wasm, Form::Program)?;
        self.compile_rewritten(digest, &rewritten)
    }

    /// What a program needs to start, as soon as can be: on the baseline tier where that gains time, and then
    /// there is nothing to keep of it, but something to follow ([`Runtime::optimise`]).
    #[cfg(feature = "compiler")]
    pub fn compile_first(
        &self,
        digest: Digest,
        wasm: &[u8],
    ) -> Result<(Arc<Loaded>, Option<Compiled>), Failure> {
        let rewritten = super::ahead::rewrite(digest, wasm, Form::Program)?;
        if let Some(loaded) = self.baseline.compile_first(digest, &rewritten)? {
            return Ok((loaded, None));
        }
        let (loaded, compiled) = self.compile_rewritten(digest, &rewritten)?;
        Ok((loaded, Some(compiled)))
    }

    #[cfg(feature = "compiler")]
    fn compile_rewritten(
        &self,
        digest: Digest,
        rewritten: &[u8],
    ) -> Result<(Arc<Loaded>, Compiled), Failure> {
        self.compilations.fetch_add(1, Ordering::Relaxed);
        let module = self.optimised.compile(digest, rewritten)?;
        let compiled = Compiled::of(digest, Piece::Program, &module).map_err(internal)?;
        let loaded = self.optimised.ready(digest, &module)?;
        Ok((loaded, compiled))
    }

    /// The rest, unless it is there or somebody is making it; with what to keep of it for
    /// [`Runtime::revive_resuming`], which is nothing of the baseline tier's.
    #[cfg(feature = "compiler")]
    pub fn compile_resuming(&self, loaded: &Loaded, wasm: &[u8]) -> Result<Option<Compiled>, Failure> {
        let Some(making) = loaded.resuming.begin() else {
            return Ok(None);
        };
        let made = match loaded.tier {
            Tier::Baseline => self.baseline.compile_resuming(loaded, wasm).map(|()| None),
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
    fn compile_optimised_resuming(&self, loaded: &Loaded, wasm: &[u8]) -> Result<Compiled, Failure> {
        self.resuming_compilations.fetch_add(1, Ordering::Relaxed);
        let rewritten = super::ahead::rewrite(loaded.digest, wasm, Form::Resuming)?;
        let module = self.optimised.compile(loaded.digest, &rewritten)?;
        let compiled = Compiled::of(loaded.digest, Piece::Resuming, &module).map_err(internal)?;
        loaded.take_resuming(module)?;
        Ok(compiled)
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
    pub fn trust(&self, keys: Vec<PublicKey>) -> Provenance {
        Provenance::Signed(Trust {
            target: super::ahead::here(),
            keys,
        })
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

/// The settings that compiled code depends on.
pub(super) fn config() -> Config {
    #[cfg_attr(
        not(feature = "compiler"),
        expect(unused_mut, reason = "they are the compiler's")
    )]
    let mut config = Config::new();
    #[cfg(feature = "compiler")]
    super::settings::apply(&mut config);
    config
}

/// What linear memories reserve.
pub(super) fn reserve(config: &mut Config, options: &RuntimeOptions) {
    if options.address_space == AddressSpace::Scarce {
        config
            .memory_reservation(0)
            .memory_guard_size(GUARD_BYTES_SCARCE)
            .memory_reservation_for_growth(GROWTH_BYTES_SCARCE);
    }
}

impl Loaded {
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether programs can go on from a snapshot.
    pub fn can_resume(&self) -> bool {
        !MAY_COME_APART || self.resuming.is_here() || self.better().is_some()
    }

    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// What succeeds code of the baseline tier, once it is all here.
    pub fn better(&self) -> Option<Arc<Self>> {
        #[cfg(feature = "compiler")]
        return self.succession.better();
        #[cfg(not(feature = "compiler"))]
        None
    }

    /// Its resuming code, compiled for the engine that it is in itself.
    #[cfg(feature = "compiler")]
    pub(super) fn take_resuming(&self, module: Module) -> Result<(), Failure> {
        let program = self.housed.pre(rooms::FRESH)?;
        let resuming =
            ResumeModule::new(module, program.module()).map_err(|reason| Failure::Internal { reason })?;
        self.housed.take_resuming(resuming)
    }

    /// Why its resuming code cannot be made, if that is known.
    pub fn never_resumes(&self) -> Option<Failure> {
        self.resuming.failure().filter(|_| MAY_COME_APART)
    }

    /// Waits as long as somebody is making its resuming code.
    pub fn wait_resuming(&self) -> Result<Waited, Failure> {
        self.resuming.wait()
    }

    /// A page of a memory before the program ran: what `Snapshot::relative_to` asks for.
    pub fn initial_page(&self, memory: usize, number: u64) -> Box<[u8; PAGE_BYTES]> {
        Box::new(*self.image.page(memory, number))
    }
}

impl Shape {
    pub(super) fn of(module: &Module) -> Result<Self, String> {
        let has_function = |name| {
            let export = module.get_export(name);
            matches!(export, Some(ExternType::Func(ty)) if ty.params().len() + ty.results().len() == 0)
        };
        if !has_function(abi::START) {
            return Err(format!("its rewritten form lacks the function '{}'", abi::START));
        }
        match module.get_export(abi::UNWINDING) {
            Some(ExternType::Global(ty))
                if matches!(ty.content(), ValType::I32) && ty.mutability() == Mutability::Var => {}
            _ => {
                return Err(format!(
                    "its rewritten form lacks the global '{}'",
                    abi::UNWINDING
                ));
            }
        }
        let save_bytes = match module.get_export(abi::SAVE_MEMORY) {
            Some(ExternType::Memory(ty)) if ty.maximum() == Some(ty.minimum()) && ty.minimum() > 0 => {
                ty.minimum() * ty.page_size()
            }
            _ => {
                return Err(format!(
                    "its rewritten form lacks the memory '{}' of fixed size",
                    abi::SAVE_MEMORY
                ));
            }
        };
        let globals = numbered(module, abi::GLOBAL_PREFIX);
        let memories = numbered(module, abi::MEMORY_PREFIX);
        let mut memory_bytes_min = 0u64;
        for ty in &memories {
            let ExternType::Memory(ty) = ty else {
                return Err(format!("its export '{}..' is no memory", abi::MEMORY_PREFIX));
            };
            memory_bytes_min = memory_bytes_min.saturating_add(ty.minimum().saturating_mul(ty.page_size()));
        }
        Ok(Self {
            globals: globals.len(),
            memories: memories.len(),
            memory_bytes_min,
            save_bytes,
            resumes: has_function(abi::RESUME),
        })
    }
}

/// The exports `prefix` 0, 1, 2 and so on.
fn numbered(module: &Module, prefix: &str) -> Vec<ExternType> {
    (0..)
        .map_while(|number| module.get_export(&format!("{prefix}{number}")))
        .collect()
}

pub(super) fn internal(error: impl Into<wasmtime::Error>) -> Failure {
    let error = error.into();
    address_space(&error).unwrap_or_else(|| Failure::Internal {
        reason: format!("{error:#}"),
    })
}

/// What to say if it is the kernel that gave no memory.
pub(super) fn address_space(error: &wasmtime::Error) -> Option<Failure> {
    let text = format!("{error:#}");
    (text.contains("mmap failed") || text.contains("Cannot allocate memory")).then(|| Failure::Internal {
        reason: format!(
            "no address space for the program's memory: raise its limit (ulimit -v, or LimitAS= of the service), or end \
             other programs ({text})"
        ),
    })
}
