//! What all programs of an engine share, and modules made ready for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::{Config, ExternType, InstancePre, Linker, Module, Mutability, ValType};
use wayfare_abi::rewritten as abi;
#[cfg(feature = "compiler")]
use wayfare_compiler::Form;
use wayfare_devices::Devices;
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;
use wayfare_protocol::snapshot::PAGE_BYTES;

use super::address_space::AddressSpace;
#[cfg(feature = "compiler")]
use super::compiled::Piece;
use super::compiled::{Compiled, Provenance, Trust};
use super::context::Context;
use super::image::Image;
use super::memory::Budget;
#[cfg(feature = "compiler")]
use super::processors;
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
            devices: Arc::default(),
        }
    }
}

/// wasmtime's engines and the host functions.
pub struct Runtime {
    pub(super) rooms: Arc<Rooms>,
    fresh: Linker<Context>,
    compilations: AtomicU64,
    resuming_compilations: AtomicU64,
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
    digest: Digest,
    pub(super) housed: Housed,
    pub(super) resuming: Resuming,
    pub(super) image: Image,
    pub(super) shape: Shape,
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
        Self::with_settings(options, |options| {
            let mut config = config();
            if options.address_space == AddressSpace::Scarce {
                config
                    .memory_reservation(0)
                    .memory_guard_size(GUARD_BYTES_SCARCE)
                    .memory_reservation_for_growth(GROWTH_BYTES_SCARCE);
            }
            config
        })
    }

    pub(super) fn with_settings(
        options: RuntimeOptions,
        make: fn(&RuntimeOptions) -> Config,
    ) -> Result<Self, Failure> {
        let rooms = Rooms::new(options, make).map_err(internal)?;
        let fresh = rooms.linker(rooms::FRESH).map_err(internal)?;
        Ok(Self {
            rooms: Arc::new(rooms),
            fresh,
            compilations: AtomicU64::new(0),
            resuming_compilations: AtomicU64::new(0),
        })
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
        let module = self.compile_form(digest, wasm, Form::Program)?;
        let compiled = Compiled::of(digest, Piece::Program, &module).map_err(internal)?;
        let loaded = self.ready(digest, &module)?;
        Ok((loaded, compiled))
    }

    /// The rest, unless it is there or somebody is making it; with what to keep of it for [`Runtime::revive_resuming`].
    #[cfg(feature = "compiler")]
    pub fn compile_resuming(&self, loaded: &Loaded, wasm: &[u8]) -> Result<Option<Compiled>, Failure> {
        let Some(making) = loaded.resuming.begin() else {
            return Ok(None);
        };
        self.resuming_compilations.fetch_add(1, Ordering::Relaxed);
        let made = || {
            let module = self.compile_form(loaded.digest, wasm, Form::Resuming)?;
            let compiled = Compiled::of(loaded.digest, Piece::Resuming, &module).map_err(internal)?;
            let program = loaded.housed.pre(rooms::FRESH)?;
            let resuming =
                ResumeModule::new(module, program.module()).map_err(|reason| Failure::Internal { reason })?;
            loaded.housed.take_resuming(resuming)?;
            Ok(compiled)
        };
        let made = made();
        making.settle(&made.as_ref().map(drop).map_err(Clone::clone));
        made.map(Some)
    }

    #[cfg(feature = "compiler")]
    fn compile_form(&self, digest: Digest, wasm: &[u8], form: Form) -> Result<Module, Failure> {
        let rewritten = super::ahead::rewrite(digest, wasm, form)?;
        let module = processors::on_all(|| Module::new(self.fresh.engine(), &rewritten));
        module.map_err(|error| {
            address_space(&error).unwrap_or_else(|| Failure::Module {
                module: digest,
                reason: format!("{error:#}"),
            })
        })
    }

    /// Loads what was compiled before, in milliseconds.
    pub fn revive(&self, compiled: &Compiled) -> Result<Arc<Loaded>, ReviveError> {
        let module = super::raw::load_code(self.fresh.engine(), compiled)
            .map_err(|error| ReviveError::Code(format!("{error:#}")))?;
        self.ready(compiled.module(), &module)
            .map_err(ReviveError::Module)
    }

    /// The same for resuming code, unless it is there or somebody is making it.
    pub fn revive_resuming(&self, loaded: &Loaded, compiled: &Compiled) -> Result<(), ReviveError> {
        let Some(making) = loaded.resuming.begin() else {
            return Ok(());
        };
        let code = |reason: String| ReviveError::Code(reason);
        let module = super::raw::load_code(self.fresh.engine(), compiled)
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
        Provenance::of(self.fresh.engine())
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

    fn ready(&self, digest: Digest, module: &Module) -> Result<Arc<Loaded>, Failure> {
        let refuse = |reason: String| Failure::Module {
            module: digest,
            reason,
        };
        self.check_imports(module).map_err(refuse)?;
        let shape = Shape::of(module).map_err(refuse)?;
        if !MAY_COME_APART && !shape.resumes {
            return Err(refuse(format!(
                "its rewritten form lacks the function '{}'",
                abi::RESUME
            )));
        }
        let memory_bytes_max = self.rooms.options().memory_bytes_max;
        if shape.memory_bytes_min > memory_bytes_max {
            return Err(Failure::TooLarge {
                what: "the module's memory".into(),
                bytes: shape.memory_bytes_min,
                bytes_max: memory_bytes_max,
            });
        }
        let fresh = self
            .fresh
            .instantiate_pre(module)
            .map_err(|error| refuse(format!("{error:#}")))?;
        let image = self
            .initial_image(&fresh, &shape)
            .map_err(|error| address_space(&error).unwrap_or_else(|| refuse(format!("{error:#}"))))?;
        let housed = Housed::new(self.rooms.clone(), fresh);
        if shape.resumes {
            housed.prepare()?;
        }
        Ok(Arc::new(Loaded {
            digest,
            housed,
            resuming: Resuming::new(shape.resumes),
            image,
            shape,
        }))
    }

    /// By name, which is more than the linker's message says for a type that differs.
    fn check_imports(&self, module: &Module) -> Result<(), String> {
        let store = self.rooms.idle_store(self.fresh.engine(), 0);
        let mut store = store.map_err(|error| format!("its imports cannot be checked: {error}"))?;
        for import in module.imports() {
            let name = format!("'{}' from '{}'", import.name(), import.module());
            if !matches!(import.ty(), ExternType::Func(_)) {
                return Err(format!(
                    "it imports {name}, which is no function: only functions are offered"
                ));
            }
            if self
                .fresh
                .get(&mut store, import.module(), import.name())
                .is_err()
            {
                return Err(format!("it imports {name}, which this engine does not offer"));
            }
        }
        Ok(())
    }

    /// A rewritten module runs nothing when it is instantiated, so the memories are as its data segments say.
    fn initial_image(&self, module: &InstancePre<Context>, shape: &Shape) -> wasmtime::Result<Image> {
        let mut store = self.rooms.idle_store(self.fresh.engine(), shape.save_bytes)?;
        let instance = module.instantiate(&mut store)?;
        let mut image = Image::default();
        for number in 0..shape.memories {
            let memory = instance
                .get_memory(&mut store, &format!("{}{number}", abi::MEMORY_PREFIX))
                .expect("the shape was checked");
            image.add(memory.data(&store));
        }
        Ok(image)
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

impl Loaded {
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether programs can go on from a snapshot.
    pub fn can_resume(&self) -> bool {
        !MAY_COME_APART || self.resuming.is_here()
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
    fn of(module: &Module) -> Result<Self, String> {
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
fn address_space(error: &wasmtime::Error) -> Option<Failure> {
    let text = format!("{error:#}");
    (text.contains("mmap failed") || text.contains("Cannot allocate memory")).then(|| Failure::Internal {
        reason: format!(
            "no address space for the program's memory: raise its limit (ulimit -v, or LimitAS= of the service), or end \
             other programs ({text})"
        ),
    })
}
