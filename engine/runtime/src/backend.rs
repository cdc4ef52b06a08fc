//! wasmtime's engines for one tier of compiled code, with the host functions, and modules made ready in them.
//!
//! ```text
//!                 in the cache, signed, or where the baseline tier is off
//!   (module) --------------------------------------------------------------> Tier::Optimised
//!      |                                                                           ^
//!      | compiled for the first time here                                          | compiled behind it: see `succession`
//!      `-----------------------------------------------> Tier::Baseline -----------'
//! ```
//! The baseline tier is Winch, which compiles in one pass: about ten times as fast as Cranelift, to code that
//! is larger and slower. Only engines with a compiler have it, on the processors that Winch knows. Nothing of
//! it is kept on disk.
//!
//! What always holds: both tiers run the same rewritten program, so frames and snapshots are the same in
//! both.

use std::sync::Arc;

use wasmtime::{ExternType, InstancePre, Linker, Module};
use wayfare_abi::rewritten as abi;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;

use super::address_space;
use super::context::Context;
use super::image::Image;
use super::loaded::{Loaded, MAY_COME_APART, Shape, Tier};
#[cfg(feature = "compiler")]
use super::processors;
use super::resuming::Resuming;
use super::rooms::{self, Housed, Rooms};

pub(super) struct Backend {
    pub(super) tier: Tier,
    pub(super) rooms: Arc<Rooms>,
    pub(super) fresh: Linker<Context>,
}

impl Backend {
    pub(super) fn new(tier: Tier, rooms: Rooms) -> wasmtime::Result<Self> {
        let fresh = rooms.linker(rooms::FRESH)?;
        Ok(Self {
            tier,
            rooms: Arc::new(rooms),
            fresh,
        })
    }

    /// Compiles what was rewritten, on all processors.
    #[cfg(feature = "compiler")]
    pub(super) fn compile(&self, digest: Digest, rewritten: &[u8]) -> Result<Module, Failure> {
        let module = processors::on_all(|| Module::new(self.fresh.engine(), rewritten));
        module.map_err(|error| {
            address_space::lacking(&error).unwrap_or_else(|| Failure::Module {
                module: digest,
                reason: format!("{error:#}"),
            })
        })
    }

    pub(super) fn ready(&self, digest: Digest, module: &Module) -> Result<Arc<Loaded>, Failure> {
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
        let image = self.initial_image(&fresh, &shape).map_err(|error| {
            address_space::lacking(&error).unwrap_or_else(|| refuse(format!("{error:#}")))
        })?;
        let housed = Housed::new(self.rooms.clone(), fresh);
        if shape.resumes {
            housed.prepare()?;
        }
        Ok(Arc::new(Loaded {
            digest,
            tier: self.tier,
            housed,
            resuming: Resuming::new(shape.resumes),
            image,
            shape,
            #[cfg(feature = "compiler")]
            succession: Default::default(),
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
                    "it imports {name}, which is not a function: only functions are offered"
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
